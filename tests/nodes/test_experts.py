"""Which one of a pair a model is: by the file that it was loaded from, and only where models come as a pair."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import comfy.model_patcher
import execution
import folder_paths
import pytest
import torch
from comfy_api.latest import io
from support.sparse_files import base_shapes, write_sparse

import nodes
from tools import collect_signatures

pytestmark = pytest.mark.oldest

CPU = torch.device("cpu")
HIGH, LOW = "HighNoise/wan22.safetensors", "wan2.2_t2v_low_noise_14B_fp16.safetensors"
IMAGES = "style_high.safetensors"


@pytest.fixture
def find_expert(pack: ModuleType) -> Callable[..., str | None]:
    """What the base of a live MODEL says it is, with the name that is found for its file."""
    host = importlib.import_module(f"{pack.__name__}.nodes.host.experts")
    model = importlib.import_module(f"{pack.__name__}.nodes.host.model")
    return lambda patcher, *where: model.live_base(patcher, None, lambda: host.find_listed_name(patcher, *where)).expert


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's only folder of diffusion models, inside of one that is called low."""
    place = tmp_path / "low" / "diffusion_models"
    for name in (HIGH, LOW):
        write_sparse(place / name, base_shapes("wan21_t2v_14b", ""))
    write_sparse(place / IMAGES, base_shapes("sd15", ""))
    suffixes = folder_paths.supported_pt_extensions
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "diffusion_models", ([str(place)], suffixes))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "checkpoints", ([str(tmp_path / "no")], suffixes))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return place


def prompt(name: str) -> dict[str, Any]:
    """A loader and a stack."""
    return {
        "1": {"class_type": "UNETLoader", "inputs": {"unet_name": name, "weight_dtype": "default"}},
        "9": {"class_type": "LorchestraLoraStack", "inputs": {"model": ["1", 0], "loras": "[]"}},
        "10": {"class_type": "LorchestraLoraCheck", "inputs": {"model": ["9", 0], "lora_stack": ["9", 2]}},
    }


@pytest.fixture(scope="module")
def wan() -> Any:
    """A MODEL of Wan 14B, without numbers."""
    model = collect_signatures.build(base_shapes("wan21_t2v_14b", ""))
    return comfy.model_patcher.ModelPatcher(model, load_device=CPU, offload_device=CPU)


@pytest.mark.parametrize(("name", "expert"), [(HIGH, "high"), (LOW, "low")])
def test_a_live_model_by_the_prompt(
    find_expert: Callable[..., str | None], folder: Path, wan: Any, name: str, expert: str
) -> None:
    assert find_expert(wan, prompt(name), "9") == expert
    assert find_expert(wan, prompt("gone.safetensors"), "9") is None
    assert find_expert(wan) is None


def test_a_live_model_by_its_loader(find_expert: Callable[..., str | None], folder: Path, wan: Any) -> None:
    """As ComfyUI 0.33 notes it; a clone has it too. It counts more than the prompt."""
    loaded = wan.clone()
    loaded.cached_patcher_init = (print, (str(folder / HIGH), {}))
    assert find_expert(loaded, prompt(LOW), "9") == "high"
    for other in ((print, ()), (print, (None, {})), (print,), None, (print, (str(folder / "wan22.safetensors"), {}))):
        loaded.cached_patcher_init = other
        assert find_expert(loaded) is None


@pytest.mark.parametrize(("name", "expert"), [(HIGH, "high"), (LOW, "low"), (IMAGES, None)])
def test_while_a_prompt_is_queued(
    pack: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, expert: str | None
) -> None:
    """SD 1.5 does not come as a pair, whatever its file is called."""
    bases = importlib.import_module(f"{pack.__name__}.nodes.host.bases")
    found: list[str | None] = []

    class Asking(io.ComfyNode):
        """Takes a model, and asks when it is validated."""

        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                node_id="Asking", is_output_node=True, inputs=[io.Model.Input("model"), io.Int.Input("n")], outputs=[]
            )

        @classmethod
        def validate_inputs(cls, n: int) -> bool:
            base = bases.find_queued_base()
            found.append(base and base.expert)
            return True

        @classmethod
        def execute(cls, model: Any, n: int) -> io.NodeOutput:
            return io.NodeOutput()

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Asking", Asking)
    graph = {"1": prompt(name)["1"], "2": {"class_type": "Asking", "inputs": {"model": ["1", 0], "n": 1}}}
    prompts = importlib.import_module(f"{pack.__name__}.nodes.host.prompt")

    async def validate() -> Any:
        request = prompts.remember({"prompt": graph, "prompt_id": "5f0c8a4e-0000-4000-8000-000000000000"})
        return await execution.validate_prompt(request["prompt_id"], graph, None)

    assert asyncio.run(validate())[0]
    assert found == [expert]
