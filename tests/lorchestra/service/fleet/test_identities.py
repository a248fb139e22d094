"""Files that workers have under other names, or that are named by AIR or hash: found as one ComfyUI finds them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.sparse_files import lora_shapes, write_sparse

from lorchestra.demo.prompt import CHECKPOINT, demo_prompt
from lorchestra.errors import LorchestraError
from lorchestra.library.catalog import Library
from lorchestra.library.identities import identities_of
from lorchestra.service.backend import GraphRefused
from lorchestra.service.fleet import broker
from lorchestra.service.fleet.backend import Fleet
from lorchestra.service.fleet.kept import Kept
from lorchestra.service.fleet.loaded import loaded_by
from lorchestra.service.fleet.needs import ANY, own_queue, queue_of
from lorchestra.service.fleet.table import Table, pack_info

SHAPES = lora_shapes("sd15", "*attn1.to_q*")
AIR = "civitai:120096@135931"


def known_of(folder: Path, names: Mapping[str, str], hashed: bool = False) -> dict[str, Any]:
    """What a ComfyUI tells of LoRAs of these names and contents; the sidecar of `pixel` says an AIR."""
    for name, content in names.items():
        write_sparse(folder / name, SHAPES, {"content": content})
        if content == "pixel":
            (folder / name).with_suffix(".civitai.info").write_text(json.dumps({"modelId": 120096, "id": 135931}))
    shelf = Library(lambda: sorted(names), lambda: [str(folder)])
    if not hashed:
        identities_of(shelf)
    for file in shelf.files() if hashed else ():
        shelf.hashes(file)
    for _ in range(500):
        found = identities_of(shelf)
        if found["is_read"]:
            return json.loads(json.dumps(found))
        time.sleep(0.01)
    raise AssertionError("the background never came to an end")


@pytest.fixture
def fleet(tmp_path: Path) -> Callable[..., Fleet]:
    """A fleet of workers, which have the LoRAs of these files."""

    def make(**workers: Mapping[str, Any]) -> Fleet:
        table = Table(f"sqlite:///{tmp_path / 'fleet.sqlite'}")
        table.make()
        for own, loras in workers.items():
            listed = sorted({item["name"] for item in loras["files"]})
            info = {data["class_type"]: {"input": {}} for data in demo_prompt([]).values()}
            info["CheckpointLoaderSimple"] = {"input": {"required": {"ckpt_name": [[CHECKPOINT], {}]}}}
            info["LoraLoader"] = {"input": {"required": {"lora_name": [listed, {}]}}}
            model = {"name": CHECKPOINT, "kind": "model", "architectures": ["sd15"], "air": "civitai:4384@128713"}
            files: Any = {"loras": loras, "checkpoints": {"files": [model], "is_read": True, "is_hashing": False}}
            queues = [own_queue(own), queue_of(CHECKPOINT), ANY]
            table.join(own, 1, {"queues": queues}, own, pack_info(info, files))
        made = Fleet(table, Kept(str(tmp_path / "kept"), tmp_path), broker.make_app(None, tmp_path), 10, 1)
        made.start()
        return made

    return make


def routed(fleet: Fleet, **row: Any) -> str:
    graph = demo_prompt([{"model": 1, **row}])
    queue = fleet._route(graph, loaded_by(graph))  # pyright: ignore[reportPrivateUsage]
    return queue if queue.startswith("worker.") else "all"


def test_a_row_goes_where_its_file_is_whatever_it_is_called(fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    a = known_of(tmp_path / "a", {"pixel.safetensors": "pixel", "x.safetensors": "one"}, hashed=True)
    b = known_of(tmp_path / "b", {"old/p.safetensors": "other", "x.safetensors": "two"}, hashed=True)
    made = fleet(a=a, b=b)
    other = hashlib.sha256((tmp_path / "b/x.safetensors").read_bytes()).hexdigest()
    assert routed(made, lora=AIR) == "worker.a"
    assert routed(made, lora="gone.safetensors", air=AIR) == "worker.a"
    assert routed(made, lora="x") == "all"
    assert routed(made, lora="p") == "worker.b"
    # The name is at both, the content at one: there it goes, under whatever name.
    assert routed(made, lora="gone", sha256=other) == "worker.b"
    assert routed(made, lora=f"sha256:{other}") == "worker.b" == routed(made, lora=f"autov2:{other[:10]}")
    for row in ({"lora": "civitai:1@2"}, {"lora": "sha256:" + "0" * 64}, {"lora": "gone", "sha256": "0" * 64}):
        with pytest.raises(GraphRefused, match="no worker has"):
            routed(made, **row)
    graph = demo_prompt([{"lora": "gone", "model": 1}])
    stack = next(node for node in graph.values() if node["class_type"] == "LorchestraLoraStack")
    stack["inputs"]["missing"] = "skip"
    assert not made._route(graph, loaded_by(graph)).startswith("worker."), "the stack goes on without it"  # pyright: ignore[reportPrivateUsage]


def test_what_is_not_read_yet_is_not_refused(fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    a = known_of(tmp_path / "a", {"pixel.safetensors": "pixel"})
    b = known_of(tmp_path / "b", {"x.safetensors": "x"})
    for state in ({"is_read": False}, {"is_hashing": True}):
        made = fleet(a=a, b=b | state)
        assert routed(made, lora="sha256:" + "0" * 64) == "worker.b"
        assert made.resolver()("civitai:1@2") == "civitai:1@2"
    assert routed(fleet(a=a, b=b | {"is_read": False}), lora="gone", air=AIR) == "all"


def test_a_call_gets_the_name_that_all_have_or_keeps_the_air(fleet: Callable[..., Fleet], tmp_path: Path) -> None:
    a = known_of(tmp_path / "a", {"pixel.safetensors": "pixel"})
    same = known_of(tmp_path / "b", {"pixel.safetensors": "pixel", "y.safetensors": "y"})
    renamed = known_of(tmp_path / "c", {"p.safetensors": "pixel"})
    taken = known_of(tmp_path / "d", {"pixel.safetensors": "another"})
    assert fleet(a=a, b=same).resolver()(AIR) == "pixel.safetensors"
    assert fleet(a=a, b=renamed).resolver()(AIR) == AIR
    assert fleet(a=a, b=taken).resolver()(AIR) == AIR
    with pytest.raises(LorchestraError, match="no worker has a LoRA that is known as 'civitai:1@2'"):
        fleet(a=a, b=same).resolver()("civitai:1@2")


def test_a_checkpoint_is_found_by_its_air_and_its_architecture_is_known(
    fleet: Callable[..., Fleet], tmp_path: Path
) -> None:
    made = fleet(a=known_of(tmp_path / "a", {"x.safetensors": "x"}))
    for said in ("civitai:4384@128713", CHECKPOINT):
        assert made.find_model(said) == (CHECKPOINT, ("sd15",))
    assert made.find_model("civitai:4384@1") == (None, ())
    assert made.model_of(demo_prompt([])) == (CHECKPOINT, ("sd15",))
