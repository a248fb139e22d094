"""The base model's file of a node: only what ComfyUI lists, and also while ComfyUI validates a prompt."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import execution
import folder_paths
import pytest
from comfy_api.latest import io

import nodes

pytestmark = pytest.mark.oldest

PROMPT_ID = "5f0c8a4e-0000-4000-8000-000000000000"


@pytest.fixture
def host(pack: ModuleType) -> ModuleType:
    """The module under test, as part of the pack."""
    return importlib.import_module(f"{pack.__name__}.nodes.host.prompt")


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts an empty model file into a folder of ComfyUI's, which has no other files."""
    for folder, suffixes in (
        ("checkpoints", folder_paths.supported_pt_extensions),
        ("diffusion_models", folder_paths.supported_pt_extensions),
        ("unet_gguf", {".gguf"}),  # as ComfyUI-GGUF registers it
    ):
        (tmp_path / folder).mkdir()
        place = str(tmp_path / ("diffusion_models" if folder == "unet_gguf" else folder))
        monkeypatch.setitem(folder_paths.folder_names_and_paths, folder, ([place], suffixes))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})

    def put_file(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return path

    return put_file


def prompt(class_type: str, **inputs: object) -> dict[str, Any]:
    """A loader, a LoRA, a patch and a node with a model."""
    return {
        "1": {"class_type": class_type, "inputs": inputs},
        "4:1": {"class_type": "LoraLoader", "inputs": {"model": ["1", 0], "clip": ["1", 1], "lora_name": "x"}},
        "4:2": {"class_type": "ModelSamplingDiscrete", "inputs": {"model": ["4:1", 0], "sampling": "eps"}},
        "9": {"class_type": "LorchestraLoraStack", "inputs": {"model": ["4:2", 0], "loras": "[]"}},
    }


@pytest.mark.parametrize(
    ("file", "class_type", "inputs"),
    [
        ("checkpoints/a.safetensors", "CheckpointLoaderSimple", {"ckpt_name": "a.safetensors"}),
        ("checkpoints/sub/a.ckpt", "unCLIPCheckpointLoader", {"ckpt_name": "sub/a.ckpt"}),
        ("diffusion_models/a.safetensors", "UNETLoader", {"unet_name": "a.safetensors", "weight_dtype": "default"}),
        ("diffusion_models/a.gguf", "UnetLoaderGGUF", {"unet_name": "a.gguf"}),
        ("diffusion_models/a.gguf", "Unknown", {"model_name": "a.gguf"}),
    ],
)
def test_the_file_is_found(
    host: ModuleType, put: Callable[..., Path], file: str, class_type: str, inputs: dict[str, str]
) -> None:
    path = put(file)
    put("checkpoints/other.safetensors")
    assert Path(host.find_base(prompt(class_type, **inputs), "9")) == path


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "sub/../../secret.safetensors", "/etc/hostname", "C:\\x", "a\0", "", "b.safetensors"],
)
def test_names_that_comfyui_does_not_list_lead_nowhere(host: ModuleType, put: Callable[..., Path], name: str) -> None:
    put("secret.safetensors")
    put("checkpoints/a.safetensors")
    assert host.find_base(prompt("CheckpointLoaderSimple", ckpt_name=name), "9") is None
    assert host.find_base(prompt("CheckpointLoaderSimple", ckpt_name=str(put("secret.safetensors"))), "9") is None


def test_a_name_in_two_folders_is_not_certain(host: ModuleType, put: Callable[..., Path]) -> None:
    put("checkpoints/a.safetensors")
    put("diffusion_models/a.safetensors")
    assert host.find_base(prompt("Unknown", model_name="a.safetensors"), "9") is None


def test_a_folder_of_a_pack_that_is_not_there(
    host: ModuleType, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("diffusion_models/a.gguf")
    monkeypatch.delitem(folder_paths.folder_names_and_paths, "unet_gguf")
    assert host.find_base(prompt("UnetLoaderGGUF", unet_name="a.gguf"), "9") is None


def test_a_vae_of_another_checkpoint_does_not_count(host: ModuleType, put: Callable[..., Path]) -> None:
    """ComfyUI's types of outputs tell models from other things, also for a node that is not known."""
    path = put("checkpoints/a.safetensors")
    put("checkpoints/b.safetensors")
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "b.safetensors"}},
        "3": {"class_type": "Unknown", "inputs": {"first": ["1", 0], "second": ["2", 2], "third": ["2", 1]}},
        "9": {"class_type": "LorchestraLoraStack", "inputs": {"model": ["3", 0]}},
    }
    assert Path(host.find_base(graph, "9")) == path


def test_types_that_are_equal_to_anything(host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class AnyType(str):
        def __eq__(self, other: object) -> bool:
            return True

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = None

    class Switch:
        RETURN_TYPES = (AnyType("*"), ["a", "b"])

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Switch", Switch)
    assert [host._kind("Switch", output) for output in (0, 1, 2, -1)] == ["*", None, None, None]
    assert host._kind("LoraLoader", 0) == "MODEL"
    assert host._kind("none", 0) is None
    graph = prompt("Switch")
    graph["4:1"]["inputs"]["model"] = ["1", 0]
    assert host.find_base(graph, "9") is None


def test_types_of_inputs(host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        RETURN_TYPES = ("MODEL",)

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            raise RuntimeError("not now")

    class Strange:
        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            return {"required": {"a": (), "b": "MODEL", "c": (5,), "d": (["x"],)}, "optional": None}

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Broken", Broken)
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Strange", Strange)
    assert [host._accepts("LoraLoader", name) for name in ("model", "clip", "lora_name", "strength_model", "none")] == [
        "MODEL", "CLIP", "COMBO", "FLOAT", None,
    ]  # fmt: skip
    assert [host._accepts("Strange", name) for name in "abcd"] == [None, None, None, "COMBO"]
    assert host._accepts("Broken", "model") is None
    assert host._accepts("none", "model") is None


def test_a_weight_from_a_node_that_is_not_known_does_not_count(host: ModuleType, put: Callable[..., Path]) -> None:
    """ComfyUI knows what the LoRA loader takes there; of the node's own `model` it does not."""
    path = put("checkpoints/a.safetensors")
    graph = prompt("CheckpointLoaderSimple", ckpt_name="a.safetensors")
    graph["2"] = {"class_type": "Unknown", "inputs": {"value": 1}}
    graph["4:1"]["inputs"] |= {"clip": ["2", 0], "strength_model": ["2", 1]}
    assert Path(host.find_base(graph, "9")) == path
    graph["4:2"] = {"class_type": "Unknown", "inputs": {"model": ["4:1", 0], "other": ["2", 0]}}
    assert host.find_base(graph, "9") is None


@pytest.fixture
def node(host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Registers a node that is refused with its file; the list is what it found."""
    found: list[str | None] = []

    class Probe(io.ComfyNode):
        @classmethod
        def define_schema(cls) -> io.Schema:
            return io.Schema(
                node_id="Probe",
                inputs=[io.Model.Input("model"), io.String.Input("loras")],
                outputs=[],
                is_output_node=True,
            )

        @classmethod
        def validate_inputs(cls, loras: str) -> bool | str:
            found.append(host.find_queued_base())
            return "this is the sentence"

        @classmethod
        def execute(cls, model: Any, loras: str) -> io.NodeOutput:
            return io.NodeOutput()

    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "Probe", Probe)
    return found


def probe(name: str) -> dict[str, Any]:
    return {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": name}},
        "2": {"class_type": "Probe", "inputs": {"model": ["1", 0], "loras": "[]"}},
    }


async def queue(request: dict[str, Any], handlers: tuple[Callable[..., Any], ...]) -> Any:
    """What ComfyUI's route for prompts does."""
    for handler in handlers:
        request = handler(request)
    await asyncio.sleep(0)
    return await execution.validate_prompt(request.get("prompt_id", "made-by-server"), request["prompt"], None)


def test_the_file_is_found_while_a_prompt_is_validated(
    host: ModuleType, put: Callable[..., Path], node: list[str | None]
) -> None:
    path = put("checkpoints/a.safetensors")
    for request in ({"prompt": probe("a.safetensors")}, {"prompt": probe("a.safetensors"), "prompt_id": PROMPT_ID}):
        valid, _, _, errors = asyncio.run(queue(request, (host.remember,)))
        assert not valid
        assert [error["details"] for error in errors["2"]["errors"]] == ["loras - this is the sentence"]
    assert [Path(item or "") for item in node] == [path, path]


def test_requests_at_the_same_time_do_not_mix(
    host: ModuleType, put: Callable[..., Path], node: list[str | None]
) -> None:
    names = [f"{number}.safetensors" for number in range(5)]
    paths = [put(f"checkpoints/{name}") for name in names]

    async def queue_all() -> None:
        await asyncio.gather(*(queue({"prompt": probe(name)}, (host.remember,)) for name in names))

    asyncio.run(queue_all())
    assert sorted(item or "" for item in node) == [str(path) for path in paths]


def test_a_prompt_that_did_not_come_through_the_route(
    host: ModuleType, put: Callable[..., Path], node: list[str | None]
) -> None:
    put("checkpoints/a.safetensors")
    asyncio.run(queue({"prompt": probe("a.safetensors")}, ()))
    assert node == [None]
    assert host.find_queued_base() is None


def test_an_earlier_request_with_another_id_is_not_taken(
    host: ModuleType, put: Callable[..., Path], node: list[str | None]
) -> None:
    put("checkpoints/a.safetensors")

    async def queue_both() -> None:
        host.remember({"prompt": probe("a.safetensors"), "prompt_id": PROMPT_ID})
        await queue({"prompt": probe("a.safetensors"), "prompt_id": "another"}, ())

    asyncio.run(queue_both())
    assert node == [None]


def test_the_server_is_listened_to_once(host: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    server = pytest.importorskip("server", exc_type=ImportError)
    host.listen()  # without a running server nothing happens

    async def listen_twice() -> None:
        running = server.PromptServer(asyncio.get_running_loop())
        before = list(running.on_prompt_handlers)
        host.listen()
        host.listen()
        assert running.on_prompt_handlers == [*before, host.remember]
        request = {"prompt": {}}
        assert running.trigger_on_prompt(request) is request

    monkeypatch.setattr(server.PromptServer, "instance", None, raising=False)
    asyncio.run(listen_twice())


@pytest.mark.parametrize("request_body", [{}, {"prompt": None}, {"prompt": []}, {"prompt": "x"}])
def test_a_request_without_a_prompt_passes_as_it_is(host: ModuleType, request_body: dict[str, Any]) -> None:
    assert asyncio.run(_remember(host, request_body)) is request_body


async def _remember(host: ModuleType, request_body: dict[str, Any]) -> Any:
    result = host.remember(request_body)
    assert host.find_queued_base() is None
    return result
