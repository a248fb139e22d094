"""The library lists at once, reads in the background, keeps what did not change; files are found by whole names."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.sparse_files import lora_shapes, write_sparse

from lorchestra.library.catalog import Library
from lorchestra.library.facts import File
from lorchestra.library.finder import NAME, Candidate
from lorchestra.library.index import SAID

SDXL = lora_shapes("sdxl", "middle_block.1.*attn?.to_q*")
FLUX = lora_shapes("flux1_dev", "*_blocks.*")


class Folder:
    """A LoRA folder, and its library."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.loras = Library(self.names, lambda: [str(root)])

    def names(self) -> list[str]:
        found = (path for path in self.root.rglob("*.safetensors"))
        return sorted(str(path.relative_to(self.root)) for path in found)

    def write(self, name: str, shapes: Any = SDXL, **metadata: str) -> Path:
        return write_sparse(self.root / name, shapes, metadata)

    def put(self, name: str, **data: Any) -> None:
        (self.root / name).write_text(json.dumps(data))

    def file(self, name: str) -> File:
        found = self.loras.find_file(name)
        assert found
        return found

    def read_all(self) -> None:
        assert self.loras.read_in_background() >= 0
        for _ in range(500):
            if self.loras.read_in_background() == 0:
                return
            time.sleep(0.02)
        raise AssertionError("the background never came to an end")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "loras")


def test_listing_reads_nothing_and_the_background_reads_all(folder: Folder) -> None:
    folder.write("a/flux.safetensors", FLUX, **{"modelspec.title": "Flux thing"})
    folder.write("sdxl.safetensors", ss_tag_frequency='{"d": {"cat": 3}}')
    (folder.root / "empty.safetensors").touch()
    for end in ("preview.png", "webp", "mp4"):
        (folder.root / f"sdxl.{end}").touch()
    files = {file.name: file for file in folder.loras.files()}
    assert set(files) == {"a/flux.safetensors", "sdxl.safetensors", "empty.safetensors"}
    assert [folder.loras.find_facts(file) for file in files.values()] == [None] * 3
    assert {file.name: (file.images, file.videos) for file in files.values() if file.images} == {
        "sdxl.safetensors": (2, 1)
    }
    folder.read_all()
    facts = {name: folder.loras.find_facts(file) for name, file in files.items()}
    flux, sdxl, empty = (facts[name] for name in ("a/flux.safetensors", "sdxl.safetensors", "empty.safetensors"))
    assert flux and sdxl and empty
    assert (flux.kind, flux.title, flux.family) == ("lora", "Flux thing", ("FLUX.1",))
    assert {"flux1_dev", "flux1_schnell"} <= set(flux.architectures)
    assert (sdxl.kind, sdxl.triggers, sdxl.family[0]) == ("lora", ("cat",), "SDXL")
    assert (empty.kind, empty.architectures) == ("unreadable", ())


def test_what_changed_is_read_again(folder: Folder) -> None:
    folder.write("a.safetensors")
    before = folder.file("a.safetensors")
    assert folder.loras.facts(before).family[0] == "SDXL"
    folder.put("a.json", **{"activation text": "pix"})
    with_sidecar = folder.file("a.safetensors")
    assert folder.loras.find_facts(with_sidecar) is None
    assert folder.loras.facts(with_sidecar).triggers == ("pix",)
    folder.write("a.safetensors", FLUX)
    os.utime(folder.root / "a.safetensors", ns=(1, 1))
    assert folder.loras.facts(folder.file("a.safetensors")).family == ("FLUX.1",)
    (folder.root / "a.safetensors").unlink()
    assert folder.loras.find_file("a.safetensors") is None
    assert folder.loras.read_in_background() == 0


def test_names_that_are_not_listed_lead_nowhere(folder: Folder, tmp_path: Path) -> None:
    folder.write("a.safetensors")
    write_sparse(tmp_path / "secret.safetensors", SDXL)
    for name in ("../secret.safetensors", str(tmp_path / "secret.safetensors"), "a", "", "A.safetensors", "a.json"):
        assert folder.loras.find_file(name) is None


def test_found_by_hash_by_air_and_by_whole_name(folder: Folder) -> None:
    for name in ("styles/pixel.safetensors", "other.safetensors", "pixel2.safetensors", "merged.safetensors"):
        folder.write(name, **({"sshs_model_hash": "b" * 64} if name == "merged.safetensors" else {}))
    folder.put("other.civitai.info", modelId=1, id=2, files=[{"hashes": {"SHA256": "A" * 64}}])
    assert folder.loras.finder().find("x", "a" * 64).candidates == ()
    assert folder.loras.finder().left == 4
    found = folder.loras.finder(60)
    assert found.left == 0
    by_hash = Candidate("other.safetensors", SAID)
    by_name = Candidate("styles/pixel.safetensors", NAME)
    assert found.find("old/pixel.safetensors", "a" * 64).candidates == (by_hash, by_name)
    assert found.find("old\\PIXEL").candidates == (by_name,)
    assert found.find("x", "B" * 64).candidates[0].why == "the same tensors, by their hash"
    for air in ("civitai:1@2", "urn:air:sdxl:lora:CivitAI:1@2", "civitai:1"):
        assert [item.why for item in found.find("gone", None, air).candidates] == ["the same AIR"], air
        assert found.find(air).candidates[0].name == "other.safetensors"
    for lora, air in (("gone", "civitai:1@3"), ("pix", None), ("ixel.safetensors", None), ("", None)):
        assert found.find(lora, None, air).candidates == ()


def test_an_air_beside_another_file_s_hash_is_not_the_file_s(folder: Folder) -> None:
    path = folder.write("a.safetensors")
    folder.put("a.civitai.info", modelId=1, id=2, files=[{"hashes": {"SHA256": "A" * 64}}])
    (file,) = folder.loras.files()
    assert folder.loras.find_identity(file) is None
    folder.loras.read_now(10)
    assert folder.loras.find_identity(file) == ("a" * 64, "civitai:1@2")
    sha256 = folder.loras.sha256(file)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert folder.loras.find_identity(file) == (sha256, None)


def test_whole_files_are_hashed_when_asked_and_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = folder.write("moved/a.safetensors")
    folder.write("b.safetensors", FLUX)
    sha256 = hashlib.sha256(wanted.read_bytes()).hexdigest()
    found = folder.loras.search_hash("gone.safetensors", sha256.upper())
    assert [item.name for item in found.candidates] == ["moved/a.safetensors"]
    assert folder.loras.search_hash("gone.safetensors", sha256[:10].upper()) == found
    assert folder.loras.searching.total == 0
    assert folder.loras.finder(60).find("gone", sha256).candidates[0].name == "moved/a.safetensors"
    monkeypatch.setattr(hashlib, "sha256", None)
    assert folder.loras.sha256(folder.file("moved/a.safetensors")) == sha256
    monkeypatch.undo()
    size = wanted.stat().st_size
    assert folder.loras.search_hash("x", "c" * 64, size=size + 1).candidates == ()
    os.utime(wanted, ns=(1, 1))
    late = folder.loras.search_hash("x", sha256, is_wanted=lambda: False)
    assert (late.candidates, late.left) == ((), 2)
