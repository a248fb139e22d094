"""What the LoRA Stack refuses while ComfyUI validates a prompt; nothing is loaded, and no file has weights."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import execution
import folder_paths
import pytest
from support.sparse_files import base_shapes, lora_shapes, write_sparse

import nodes

pytestmark = pytest.mark.oldest

SENTENCE = (
    "row 1: flux.safetensors: made for FLUX.1, this model is SDXL: 0 of 304 modules fit. "
    "Choose an SDXL LoRA or switch this row off."
)
CHECKPOINT, UNET = "sdxl.safetensors", "sub/sd15.safetensors"


@pytest.fixture
def files(loras: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LoRAs, and a base in each of ComfyUI's folders."""
    write_sparse(loras / "flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
    write_sparse(loras / "sdxl.safetensors", lora_shapes("sdxl", "*attn?.to_*"))
    write_sparse(loras / "base.safetensors", base_shapes("sd15"))
    for folder, name, shapes in (
        ("checkpoints", CHECKPOINT, base_shapes("sdxl")),
        ("diffusion_models", UNET, base_shapes("sd15", "")),
    ):
        place = loras.parent / folder
        write_sparse(place / name, shapes)
        suffixes = folder_paths.supported_pt_extensions
        monkeypatch.setitem(folder_paths.folder_names_and_paths, folder, ([str(place)], suffixes))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return loras


@pytest.fixture
def ask(pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lets ComfyUI validate a prompt; what it says about node 9, or about the node that is named."""
    for node in pack.node_list:
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.GET_SCHEMA().node_id, node)
    remember = sys.modules[f"{pack.__name__}.nodes.host.prompt"].remember

    async def validate(prompt: dict[str, Any], through_route: bool) -> dict[str, Any]:
        request = {"prompt": prompt, "prompt_id": "5f0c8a4e-0000-4000-8000-000000000000"}
        if through_route:
            request = remember(request)
        return (await execution.validate_prompt(request["prompt_id"], request["prompt"], None))[3]

    def ask(prompt: dict[str, Any], node: str = "9", through_route: bool = True) -> list[str]:
        found = asyncio.run(validate(prompt, through_route))
        assert set(found) <= {node}, found
        return [f"{error['type']}: {error['details']}" for error in found.get(node, {"errors": []})["errors"]]

    return ask


def prompt(loras: Any, *between: dict[str, Any], loader: dict[str, Any] | None = None, **inputs: Any) -> dict[str, Any]:
    """A loader, nodes that take and give a model, a LoRA Stack (9), and the LoRA Check after it."""
    graph = {"1": loader or {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}}}
    for number, node in enumerate(between):
        graph[f"4:{number}"] = {
            **node, "inputs": {"model": ["1", 0] if number == 0 else [f"4:{number - 1}", 0], **node["inputs"]},
        }  # fmt: skip
    model = [f"4:{len(between) - 1}", 0] if between else ["1", 0]
    value = {"__value__": loras} if isinstance(loras, list) else loras
    graph["9"] = {"class_type": "LorchestraLoraStack", "inputs": {"model": model, "loras": value, **inputs}}
    graph["10"] = {"class_type": "LorchestraLoraCheck", "inputs": {"model": ["9", 0], "lora_stack": ["9", 2]}}
    return graph


LOADER = {"class_type": "LoraLoaderModelOnly", "inputs": {"lora_name": "sdxl.safetensors", "strength_model": 1.0}}
STACK = {"class_type": "LorchestraLoraStack", "inputs": {"loras": "<lora:sdxl:1>"}}


@pytest.mark.parametrize(
    "form",
    [
        "<lora:flux.safetensors:1>",
        [{"lora": "flux.safetensors"}],
        json.dumps({"loras": [{"lora": "flux.safetensors"}]}),
    ],
    ids=["tags", "list", "text"],
)
def test_a_lora_for_another_model_is_refused_in_one_sentence(
    ask: Callable[..., list[str]], files: Path, form: Any
) -> None:
    assert ask(prompt(form)) == [f"custom_validation_failed: loras - {SENTENCE}"]
    assert ask(prompt(form, missing="skip", policy="refuse")) == [f"custom_validation_failed: loras - {SENTENCE}"]


@pytest.mark.parametrize("between", [(LOADER,), (STACK,), (LOADER, STACK, STACK)], ids=len)
def test_through_subgraphs_patches_and_other_stacks(
    ask: Callable[..., list[str]], files: Path, between: tuple[dict[str, Any], ...]
) -> None:
    assert ask(prompt("<lora:flux.safetensors:1>", *between)) == [f"custom_validation_failed: loras - {SENTENCE}"]
    assert ask(prompt("<lora:sdxl:1>", *between)) == []


class AnyType(str):
    """Impact's word for any type; older ComfyUIs compare types with `!=`."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


ANY = AnyType("*")


class AnySwitch:
    """Impact's switch, as ComfyUI sees it."""

    RETURN_TYPES = (ANY, "STRING", "INT")
    FUNCTION = "doit"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {"select": ("INT", {"default": 1, "min": 1, "max": 9})},
            "optional": {f"input{number}": (ANY,) for number in (1, 2, 3)},
        }


@pytest.mark.parametrize(
    ("select", "inner", "refused"),
    [
        (1, 1, {"sdxl.safetensors": "SD 1.5"}),
        (2, 1, {"flux.safetensors": "SDXL"}),
        (2, ["7", 0], {}),
        (["7", 0], 1, {}),
    ],
    ids=["the diffusion model", "the checkpoint", "a linked choice inside", "a linked choice"],
)
def test_only_the_model_that_a_switch_surely_gives_refuses(
    ask: Callable[..., list[str]],
    files: Path,
    monkeypatch: pytest.MonkeyPatch,
    select: Any,
    inner: Any,
    refused: dict[str, str],
) -> None:
    """A diffusion model beside another switch over two checkpoints, of which it once was taken for the only one."""
    for name in ("ImpactSwitch", "Any Switch (rgthree)"):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, name, AnySwitch)
    number = type("Number", (), {"RETURN_TYPES": ("INT",), "FUNCTION": "f", "INPUT_TYPES": classmethod(lambda _: {})})
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Number", number)
    for lora in ("flux.safetensors", "sdxl.safetensors"):
        graph = prompt(f"<lora:{lora}:1>")
        graph["9"]["inputs"]["model"] = ["2", 0]
        graph["2"] = {
            "class_type": "ImpactSwitch",
            "inputs": {"select": select, "input1": ["3", 0], "input2": ["5", 0]},
        }
        graph["3"] = {"class_type": "UNETLoader", "inputs": {"unet_name": UNET, "weight_dtype": "default"}}
        graph["5"] = {
            "class_type": "ImpactSwitch",
            "inputs": {"select": inner, "input1": ["1", 0], "input2": ["6", 0]},
        }
        graph["6"] = {"class_type": "UNETLoader", "inputs": {"unet_name": UNET, "weight_dtype": "default"}}
        graph["7"] = {"class_type": "Number", "inputs": {}}
        found = ask(graph)
        other = refused.get(lora) or ("SD 1.5" if refused and lora.startswith("flux") else None)
        assert len(found) == (other is not None)
        assert other is None or f"this model is {other}" in found[0]


def test_each_stack_of_a_chain_is_checked(ask: Callable[..., list[str]], files: Path) -> None:
    first = {**STACK, "inputs": {"loras": "<lora:flux.safetensors:1>"}}
    assert ask(prompt("<lora:sdxl:1>", first, LOADER), node="4:0") == [f"custom_validation_failed: loras - {SENTENCE}"]


def test_a_diffusion_model_alone(ask: Callable[..., list[str]], files: Path) -> None:
    loader = {"class_type": "UNETLoader", "inputs": {"unet_name": UNET, "weight_dtype": "default"}}
    (found,) = ask(prompt("<lora:sdxl:1> <lora:flux:1>", loader=loader))
    assert "\nrow 2: flux: made for FLUX.1, this model is SD 1.5: 0 of 304 modules fit." in found
    assert "row 1: sdxl: made for SDXL, this model is SD 1.5: " in found


def test_all_that_is_wrong_is_one_error(ask: Callable[..., list[str]], files: Path) -> None:
    (files / "empty.safetensors").touch()
    (found,) = ask(prompt("<lora:gone:1> <lora:flux:1> <lora:base:1> <lora:sdxl:1> <lora:empty:1>"))
    lines = found.removeprefix("custom_validation_failed: loras - ").splitlines()
    assert [line.split(":")[0] for line in lines] == ["row 1", "row 2", "row 3", "row 5"]
    assert "row 3: base: this is a whole checkpoint, not a LoRA" in lines[2]


@pytest.mark.parametrize(
    "inputs",
    [
        {"policy": "warn"},
        {"policy": "ignore", "missing": "error"},
        {"policy": ["1", 0]},
        {"loras": "<lora:flux:0> <lora:sdxl:1>"},
        {"loras": [{"lora": "flux", "on": False}, {"lora": "gone", "model": 0, "clip": 1}]},
        {"loras": "<lora:gone:1>", "missing": "skip"},
    ],
    ids=str,
)
def test_what_the_run_lets_pass_is_not_refused(ask: Callable[..., list[str]], files: Path, inputs: Any) -> None:
    loras = inputs.get("loras", "<lora:flux:1> <lora:gone:1> <lora:base:1>")
    found = ask(prompt(loras, **{name: value for name, value in inputs.items() if name != "loras"}))
    assert [text for text in found if "custom_validation" in text] == []


def test_a_choice_that_there_is_not(ask: Callable[..., list[str]], files: Path) -> None:
    """ComfyUI 0.3.64 does not check it."""
    for name in ("missing", "policy", "mode"):
        found = ask(prompt("<lora:flux:1>", **{name: "maybe"}))
        assert found[-1].startswith(f"custom_validation_failed: loras - {name} is 'maybe'; expected one of ")


def test_a_base_that_cannot_be_read_passes_until_it_is_loaded(ask: Callable[..., list[str]], files: Path) -> None:
    base = files.parent / "checkpoints" / CHECKPOINT
    base.write_bytes(b"no safetensors")
    assert ask(prompt("<lora:flux:1>")) == []
    assert "base: this is a whole checkpoint" in ask(prompt("<lora:flux:1> <lora:base:1>"))[0]
    write_sparse(base, base_shapes("flux1_dev"))  # another model under the same name
    assert ask(prompt("<lora:flux:1>")) == []
    assert "this model is FLUX.1" in ask(prompt("<lora:sdxl:1>"))[0]


def test_a_prompt_that_did_not_come_through_the_route_is_left_to_the_run(
    ask: Callable[..., list[str]], files: Path
) -> None:
    assert ask(prompt("<lora:flux:1> <lora:gone:1>"), through_route=False) == []
    (found,) = ask(prompt("nonsense"), through_route=False)
    assert "neither JSON nor" in found
