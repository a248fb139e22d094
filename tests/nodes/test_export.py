"""The API Export node writes whole files, each under a name of its own, and says why where it cannot."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import pytest
from comfy_api.latest import io

import nodes
from lorchestra.demo.loras import layers, write_lora

pytestmark = pytest.mark.oldest

needs_clones = pytest.mark.skipif(
    not hasattr(io.ComfyNode, "PREPARE_CLASS_CLONE"), reason="this ComfyUI prepares nodes otherwise"
)
ROWS = [("a.safetensors", 0.5, 0.5)]


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """ComfyUI's output folder."""
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_files_are_numbered(export_node: Any, output: Path) -> None:
    for _ in range(2):
        done = export_node.execute(ROWS, "json", "lorchestra/stack", False)
    assert written(output) == ["lorchestra/stack_00001_.stack.json", "lorchestra/stack_00002_.stack.json"]
    (found,) = done.ui["files"]
    assert found == {"filename": "stack_00002_.stack.json", "subfolder": "lorchestra", "type": "output"}
    assert json.loads((output / "lorchestra/stack_00002_.stack.json").read_text("utf-8"))["loras"][0]["model"] == 0.5


PREFIXES = {
    "a NUL": "a\0b",
    "half a character": "a\ud800",
    "300 characters": "x" * 300,
    "a folder of 300 characters": "x" * 300 + "/stack",
    "out of the folder": "../stack",
    "a file as a folder": "file/stack",
}


@pytest.mark.parametrize("prefix", PREFIXES.values(), ids=PREFIXES)
def test_a_prefix_that_cannot_be_is_told_in_words(export_node: Any, output: Path, prefix: str) -> None:
    (output / "file").touch()
    with pytest.raises(Exception, match="files cannot be written under '") as caught:
        export_node.execute(ROWS, "json", prefix, False)
    assert type(caught.value).__name__ == "StackError"
    assert len(str(caught.value)) < 700
    assert written(output) == ["file"]


def test_a_text_with_half_a_character_leaves_no_file(export_node: Any, output: Path) -> None:
    """JSON may say `\\ud800`, and no file can."""
    stack = json.dumps({"loras": [{"lora": "a", "model": 0.5, "air": "civitai:1@2", "note": "x\ud800y"}]})
    with pytest.raises(Exception, match=r"has broken Unicode at .* and cannot be written") as caught:
        export_node.execute(rows_of(stack), "json", "stack", False)
    assert type(caught.value).__name__ == "StackError"
    assert written(output) == []


def rows_of(text: str) -> Any:
    """The rows as our own socket carries them."""
    import sys

    package = next(name for name in sys.modules if name.endswith(".nodes.sockets")).rpartition(".nodes.")[0]
    stack = sys.modules[f"{package}.lorchestra.exchange"].parse_stack(text)
    return sys.modules[f"{package}.nodes.sockets"].to_rows(stack.entries)


def test_prompts_at_the_same_time_write_files_of_their_own(
    export_node: Any, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them were given the same number."""
    gate, original = threading.Barrier(8), folder_paths.get_save_image_path

    def together(*args: Any, **more: Any) -> Any:
        found = original(*args, **more)
        gate.wait(10)
        return found

    monkeypatch.setattr(folder_paths, "get_save_image_path", together)

    def write(number: int) -> str:
        done = export_node.execute([(f"{number}.safetensors", 0.5, 0.5)], "json", "stack", False)
        return done.ui["files"][0]["filename"]

    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(write, range(8)))
    assert written(output) == sorted(names) == [f"stack_{number:05}_.stack.json" for number in range(1, 9)]
    for number, name in enumerate(names):
        assert json.loads((output / name).read_text("utf-8"))["loras"][0]["lora"] == f"{number}.safetensors"


RUN = {
    "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/base.safetensors"}},
    "3": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "a cat, \"sitting\""}},
    "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["1", 1], "text": "blurry"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["1", 0], "positive": ["3", 0], "negative": ["4", 0], "latent_image": ["5", 0], "seed": 7,
            "steps": 20, "cfg": 6.5, "sampler_name": "euler", "scheduler": "karras", "denoise": 1.0,
        },
    },
}  # fmt: skip


def test_an_infotext_tells_the_run(pack: ModuleType, loras: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What AUTOMATIC1111 would have written for the same picture; the LoRA's hash is that of its tensors."""
    path = write_lora(loras / "styles" / "ink.safetensors", layers("*attn1.to_q"))
    data = path.read_bytes()
    tensors = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    process = importlib.import_module(f"{pack.__name__}.nodes.host.process")
    process.lora_library.cache_clear()
    shelf = process.lora_library()
    assert shelf.hashes(shelf.files(["styles/ink.safetensors"])[0])
    write = importlib.import_module(f"{pack.__name__}.nodes.host.infotext").write_infotext
    exchange = importlib.import_module(f"{pack.__name__}.lorchestra.exchange")
    stack = exchange.parse_stack([{"lora": "styles/ink.safetensors", "model": 0.5}])
    alone = exchange.write_any(stack, "infotext")
    found = write(stack, RUN, alone)
    assert found.text == (
        'a cat, "sitting" <lora:ink:0.5>\nNegative prompt: blurry\nSteps: 20, Sampler: Euler, Schedule type: Karras, '
        f'CFG scale: 6.5, Seed: 7, Size: 512x768, Model: base, Lora hashes: "ink: {tensors[:12]}"'
    )
    two = write(stack, {**RUN, "7": RUN["6"]}, alone)
    assert two.text == alone.text
    assert "only the LoRAs are written: the prompt has 2 samplers" in str(two.losses[-1])


def test_an_infotext_has_the_hash_of_the_model_that_is_known(
    pack: ModuleType, loras: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AutoV2, once it was taken; a checkpoint is never read for it, and is no LoRA of the list."""
    checkpoints = tmp_path / "checkpoints"
    known = ([str(checkpoints)], folder_paths.supported_pt_extensions)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "checkpoints", known)
    folder_paths.filename_list_cache.pop("checkpoints", None)
    path = write_lora(checkpoints / "sd" / "base.safetensors", layers("*attn1.to_q"))
    process = importlib.import_module(f"{pack.__name__}.nodes.host.process")
    process.lora_library.cache_clear()
    process.model_libraries.cache_clear()
    write = importlib.import_module(f"{pack.__name__}.nodes.host.infotext").write_infotext
    exchange = importlib.import_module(f"{pack.__name__}.lorchestra.exchange")
    stack = exchange.parse_stack([])
    alone = exchange.write_any(stack, "infotext")
    assert "Model hash" not in write(stack, RUN, alone).text
    (library,) = [one for one in process.model_libraries() if one.folder == "checkpoints"]
    assert process.checkpoint_library() is library  # what one keeps of a file, the other one would not
    assert library.hashes(library.find_file("sd/base.safetensors"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"Size: 512x768, Model hash: {digest[:10]}, Model: base" in write(stack, RUN, alone).text
    assert process.lora_library().files() == []
    with path.open("ab") as file:
        file.write(b"more")
    assert "Model hash" not in write(stack, RUN, alone).text


GRAPH = {
    **RUN,
    "2": {"class_type": "LorchestraLoraStack", "inputs": {"model": ["1", 0], "clip": ["1", 1], "loras": "[]"}},
    "3": {**RUN["3"], "_meta": {"title": "$scene"}},
    "6": {"class_type": "KSampler", "inputs": {**RUN["6"]["inputs"], "model": ["2", 0]}},
    "7": {"class_type": "VAEDecode", "inputs": {"samples": ["6", 0], "vae": ["1", 2]}},
    "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "x"}, "is_changed": ["0"]},
    "9": {"class_type": "LorchestraApiExport", "inputs": {"lora_stack": ["2", 2], "documents": True}},
}
SAVED = {
    "nodes": [
        {"id": 1, "type": "LoadImage", "inputs": [], "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}],
         "widgets_values": ["a.png", "image"]},
        {"id": 2, "type": "SaveImage", "inputs": [{"name": "images", "type": "IMAGE", "link": 1}], "outputs": [],
         "widgets_values": ["x"]},
    ],
    "links": [[1, 1, 0, 2, 0, "IMAGE"]],
    "extra": {"lorchestra": {"inputs": [{"node": "1", "widget": "image", "name": "photo"}]}},
}  # fmt: skip


@pytest.fixture
def run(export_node: Any, pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the node as ComfyUI does, within a prompt and what the editor sends with it."""
    for node in pack.node_list:
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.define_schema().node_id, node)

    def execute(prompt: object, pnginfo: object = None, *, form: str = "json", prefix: str = "api/portrait") -> Any:
        hidden = {io.Hidden.prompt: prompt, io.Hidden.extra_pnginfo: pnginfo}
        is_oldest = "hidden_inputs" in inspect.signature(export_node.PREPARE_CLASS_CLONE).parameters
        prepared = export_node.PREPARE_CLASS_CLONE(hidden if is_oldest else {"hidden_inputs": hidden})
        return prepared.execute(ROWS, form, prefix, False, documents=True)

    return execute


@needs_clones
def test_the_workflow_that_is_run_becomes_documents(run: Any, output: Path) -> None:
    """Each under the number of the stack's own file; the programs are shown only."""
    done = run(GRAPH)
    ends = ("openapi.json", "request.json", "schema.json", "stack.json")
    assert written(output) == [f"api/portrait_00001_.{end}" for end in ends]
    schema, openapi, request = (
        json.loads((output / f"api/portrait_00001_.{end}").read_text("utf-8"))
        for end in ("schema.json", "openapi.json", "request.json")
    )
    assert {"scene", "negative_prompt", "seed", "steps", "loras"} <= schema["properties"].keys()
    assert "/workflows/portrait/jobs" in openapi["paths"]
    assert request["scene"] == 'a cat, "sitting"'
    assert [one["id"] for one in done.ui["documents"]] == ["schema", "openapi", "request", "curl", "python"]
    assert "/lorchestra/workflows/portrait/jobs" in done.ui["documents"][3]["text"]
    assert 'Publish it as "portrait" before you call it.' in done.ui["text"][0]
    assert json.loads(done.args[0])["loras"]


@needs_clones
def test_what_a_person_said_of_the_saved_workflow_counts(run: Any, output: Path) -> None:
    run(GRAPH, {"workflow": SAVED})
    schema = json.loads((output / "api/portrait_00001_.schema.json").read_text("utf-8"))
    assert list(schema["properties"]) == ["photo"]


@needs_clones
def test_a_saved_workflow_that_cannot_be_read_leaves_the_prompt(run: Any, output: Path) -> None:
    odd = {**SAVED, "nodes": [*SAVED["nodes"], {"id": 3, "type": "Gone", "inputs": [], "outputs": []}]}
    (text,) = run(GRAPH, {"workflow": odd}).ui["text"]
    assert "Note: App mode and the names that were given to inputs are not used: " in text
    assert "scene" in json.loads((output / "api/portrait_00001_.schema.json").read_text("utf-8"))["properties"]


@needs_clones
@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({}, "there are no nodes in it"),
        (None, "this is None, which is no workflow"),
        ({"1": GRAPH["1"]}, "nothing in the workflow saves or shows a result"),
        ({"1": GRAPH["1"], "2": {"class_type": "Gone", "inputs": {}}}, "this ComfyUI has no such node"),
    ],
)
def test_a_workflow_that_is_no_api_is_a_sentence(run: Any, output: Path, prompt: object, sentence: str) -> None:
    done = run(prompt)
    (text,) = done.ui["text"]
    assert "The workflow was not written as an API: " in text
    assert sentence in text
    assert done.ui["documents"] == []
    assert written(output) == ["api/portrait_00001_.stack.json"]


@needs_clones
def test_both_schemas_have_a_file(run: Any, output: Path) -> None:
    run(GRAPH, form="schema", prefix="1 %date%")
    names = [name.partition("_.")[2] for name in written(output)]
    assert names == ["openapi.json", "request.json", "schema.json", "workflow.schema.json"]


def test_what_depends_on_the_whole_workflow_is_written_each_time(export_node: Any) -> None:
    """ComfyUI keeps the result of a node whose inputs are the same."""
    same = {"format": "json", "filename_prefix": "a", "allow_names": False}
    assert export_node.fingerprint_inputs(**same) == export_node.fingerprint_inputs(**same)
    for changing in ({**same, "documents": True}, {**same, "format": "infotext"}):
        assert export_node.fingerprint_inputs(**changing) != export_node.fingerprint_inputs(**changing)
