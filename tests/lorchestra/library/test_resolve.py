"""A row finds its file by hash, by AIR, by path, by its name alone; and says so when several may be meant."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.sparse_files import lora_shapes, write_sparse

from lorchestra.errors import StackError
from lorchestra.files.hashes import read_hashes
from lorchestra.library.catalog import Library
from lorchestra.library.database import Database
from lorchestra.library.identify_rows import identify_rows
from lorchestra.library.resolve import Resolved, resolve
from lorchestra.library.scan import read_folder
from lorchestra.stack import Entry, Stack
from lorchestra.stack.wanted import wanted_of

SHAPES = lora_shapes("sdxl", "middle_block.1.*attn?.to_q*")


class Folder:
    def __init__(self, root: Path, database: Database | None = None) -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        self.database = database
        self.start()

    def start(self) -> None:
        """As if ComfyUI had been started again."""
        self.loras = Library(self.names, lambda: [str(self.root)], database=self.database)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*.safetensors"))

    def write(self, name: str, mark: str = "", **sidecar: Any) -> str:
        path = write_sparse(self.root / name, SHAPES, {"mark": mark or name})
        if sidecar:
            path.with_suffix(".civitai.info").write_text(json.dumps(sidecar))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def hash_all(self) -> None:
        for file in self.loras.files():
            assert self.loras.hashes(file)

    def find(self, lora: str, **more: Any) -> Resolved | None:
        extra = {key: more.pop(key) for key in ("hash", "modelVersionId") if key in more}
        return resolve(wanted_of(Entry(lora, extra=extra, **more)), self.loras, self.loras.listing())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "loras", Database(tmp_path / "catalog.sqlite"))


def info(model: int, version: int, sha256: str | None = None) -> dict[str, Any]:
    return {"modelId": model, "id": version, "files": [{"hashes": {"SHA256": sha256}}] if sha256 else []}


def test_each_way_is_tried_in_its_order(folder: Folder) -> None:
    by_hash, other = folder.write("by hash.safetensors"), folder.write("path.safetensors")
    folder.write("by air.safetensors", **info(1, 2))
    folder.write("deep/name.safetensors")
    folder.hash_all()
    everything = {"sha256": by_hash.upper(), "air": "urn:air:sdxl:lora:civitai:1@2"}
    assert folder.find("path.safetensors", **everything) == Resolved("by hash.safetensors", "found by its hash")
    del everything["sha256"]
    assert folder.find("path.safetensors", **everything) == Resolved(
        "by air.safetensors", "found by its AIR civitai:1@2"
    )
    assert folder.find("path.safetensors", sha256=other) == folder.find("path") == Resolved("path.safetensors")
    for name in ("name", "gone/name.safetensors", "gone\\NAME.safetensors"):
        assert folder.find(name) == Resolved("deep/name.safetensors", "the only file of that name")
    for name in ("nam", "ame", "deep", "gone/nam"):
        assert folder.find(name) is None


@pytest.mark.parametrize("kind", ["sha256", "tensors", "blake3", "autov1", "autov2", "autov3", "crc32"])
def test_by_every_kind_of_hash(folder: Folder, kind: str) -> None:
    folder.write("a.safetensors")
    folder.write("b.safetensors")
    folder.hash_all()
    hashes = read_hashes(folder.root / "b.safetensors")
    text = getattr(hashes, kind)
    if text is None:
        pytest.skip("this file has no such hash, or the package blake3 is not there")
    if kind in ("tensors", "autov3", "autov1"):  # the tensors of both are the same
        with pytest.raises(StackError, match="belongs to several files that differ") if len(text) < 64 else _nothing():
            folder.find("gone", hash=text)
        return
    assert folder.find("gone", hash=text.upper()) == Resolved("b.safetensors", "found by its hash")
    assert folder.find("gone", hash=f"0x{text}") == folder.find("gone", hash=text)


class _nothing:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


def test_a_name_that_is_a_hash(folder: Folder) -> None:
    sha256 = folder.write("a.safetensors")
    folder.hash_all()
    assert folder.find(sha256) == folder.find(f"AutoV2:{sha256[:10]}") == Resolved("a.safetensors", "found by its hash")
    assert folder.find(sha256[:10]) is None  # a file may have such a name


def test_two_files_with_one_content_are_one(folder: Folder) -> None:
    sha256 = folder.write("b.safetensors", "same", **info(1, 2))
    assert folder.write("a.safetensors", "same", **info(1, 2)) == sha256
    with pytest.raises(StackError, match=r"civitai:1@2 belongs to several files that differ: a\.safetensors, b"):
        folder.loras.read_now(10)
        folder.find("civitai:1@2")
    folder.hash_all()
    assert folder.find("civitai:1@2") == Resolved("a.safetensors", "found by its AIR civitai:1@2")
    assert folder.find("b", sha256=sha256) == Resolved("b.safetensors")
    assert folder.find("gone", sha256=sha256) == Resolved("a.safetensors", "found by its hash")


def test_a_version_that_is_not_said_may_be_ambiguous(folder: Folder) -> None:
    folder.write("a.safetensors", **info(1, 2))
    folder.loras.read_now(10)
    assert folder.find("civitai:1") == Resolved("a.safetensors", "found by its AIR civitai:1")
    folder.write("b.safetensors", **info(1, 3))
    folder.loras.read_now(10)
    with pytest.raises(
        StackError, match=r"belongs to several files that differ: a\.safetensors, b\.safetensors\. Choose"
    ):
        folder.find("civitai:1")
    assert folder.find("b", air="civitai:1") == Resolved("b.safetensors")
    assert folder.find("civitai:1@4") is None


def test_one_name_in_several_folders_is_told(folder: Folder) -> None:
    for name in ("x/a.safetensors", "y/a.safetensors"):
        folder.write(name)
    with pytest.raises(StackError, match=r"'z/a' is in 2 folders\. Choose one: x/a\.safetensors, y/a\.safetensors$"):
        folder.find("z/a")


def test_a_file_that_changed_is_told_and_another_one_of_that_name_is_not_taken(folder: Folder) -> None:
    before = folder.write("a.safetensors", "first")
    folder.hash_all()
    assert folder.find("a.safetensors", sha256=before) == Resolved("a.safetensors")
    folder.write("a.safetensors", "second")
    os.utime(folder.root / "a.safetensors", ns=(1, 1))
    assert folder.find("a.safetensors", sha256=before) == Resolved("a.safetensors")  # its hash is not known now
    folder.hash_all()
    assert folder.find("a.safetensors", sha256=before) == Resolved("a.safetensors", is_changed=True)
    assert folder.find("old/a.safetensors", sha256=before) is None


def test_a_sidecar_that_lies_does_not_count_once_the_content_is_known(folder: Folder) -> None:
    real = folder.write("a.safetensors", **info(1, 2, "ab" * 32))
    folder.loras.read_now(10)
    said = "found by the hash in its sidecar, which was not compared with the file"
    assert folder.find("gone", sha256="ab" * 32) == Resolved("a.safetensors", said)
    folder.hash_all()
    assert folder.find("gone", sha256="ab" * 32) is None and folder.find("civitai:1@2") is None
    assert folder.find("gone", sha256=real) == Resolved("a.safetensors", "found by its hash")


def test_what_a_hash_of_the_metadata_says_is_of_the_tensors(folder: Folder) -> None:
    write_sparse(folder.root / "a.safetensors", SHAPES, {"sshs_model_hash": "cd" * 32})
    folder.loras.read_now(10)
    for text in ("cd" * 32, "cd" * 6):
        assert folder.find("gone", hash=text) == Resolved("a.safetensors", "found by the hash of its tensors")


def test_moved_files_are_known_again_without_hashing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = folder.write("a.safetensors")
    folder.write("b.safetensors")
    folder.hash_all()
    (folder.root / "deep").mkdir()
    shutil.move(folder.root / "a.safetensors", folder.root / "deep" / "renamed.safetensors")
    folder.start()
    monkeypatch.setattr("lorchestra.library.catalog.read_hashes", None)
    folder.loras.read_now(10)
    assert folder.find("a.safetensors", sha256=sha256) == Resolved("deep/renamed.safetensors", "found by its hash")
    # of the same size and time, but another content
    state = (folder.root / "b.safetensors").stat()
    folder.write("c.safetensors", "x.safetensors")
    os.utime(folder.root / "c.safetensors", ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (folder.root / "c.safetensors").stat().st_size == state.st_size
    (folder.root / "b.safetensors").unlink()
    folder.start()
    folder.loras.read_now(10)
    assert folder.loras.find_hashes(folder.loras.files(["c.safetensors"])[0]) is None


def test_all_is_there_after_a_restart_and_nothing_is_read(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256 = folder.write("a.safetensors", **info(1, 2))
    folder.loras.read_now(10)
    folder.hash_all()
    folder.start()
    monkeypatch.setattr("lorchestra.library.catalog.read_facts", None)
    monkeypatch.setattr("lorchestra.library.catalog.read_hashes", None)
    assert folder.find("gone", sha256=sha256) == Resolved("a.safetensors", "found by its hash")
    assert folder.find("civitai:1@2") == Resolved("a.safetensors", "found by its AIR civitai:1@2")
    assert folder.loras.read_in_background() == 0 == len(folder.loras.unread())
    (folder.root / "a.safetensors").unlink()
    assert folder.find("gone", sha256=sha256) is None and folder.find("civitai:1@2") is None


def test_a_catalog_that_cannot_be_kept_changes_nothing_but_the_restart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = Folder(tmp_path / "loras", Database(tmp_path / "file" / "catalog.sqlite"))
    sha256 = folder.write("a.safetensors")
    folder.hash_all()
    assert folder.find("gone", sha256=sha256) == Resolved("a.safetensors", "found by its hash")
    assert folder.loras.problem and "lives in memory" in folder.loras.problem


def test_folders_that_hang_are_left_aside(folder: Folder) -> None:
    folder.write("slow/a.safetensors")
    folder.write("b.safetensors")
    answers = threading.Event()

    def read(path: str) -> Any:
        if path.endswith("slow"):
            answers.wait(30)
        return read_folder(path)

    folder.loras.scanner.read, folder.loras.scanner.seconds = read, 0.05
    assert [file.name for file in folder.loras.files()] == ["b.safetensors"]
    assert folder.loras.scanner.hanging == (str(folder.root / "slow"),)
    assert [file.name for file in folder.loras.files()] == ["b.safetensors"]
    answers.set()
    for _ in range(100):
        if not folder.loras.scanner.hanging:
            break
        time.sleep(0.02)
    folder.loras.scanner.seconds = 10
    assert [file.name for file in folder.loras.files()] == ["b.safetensors", "slow/a.safetensors"]


def test_the_short_hashes_of_sidecars(folder: Folder) -> None:
    hashes = {"SHA256": "AB" * 32, "AutoV3": "CD" * 6, "BLAKE3": "EF" * 32}
    folder.write("a.safetensors", modelId=1, id=2, files=[{"hashes": hashes}])
    folder.loras.read_now(10)
    for text in ("ab" * 5, "CD" * 6, "ef" * 32):
        found = folder.find("gone", hash=text)
        assert found and found.name == "a.safetensors" and "in its sidecar" in found.how


def test_by_the_version_alone_as_civitai_s_resources_say_it(folder: Folder) -> None:
    folder.write("a.safetensors", **info(120096, 135931))
    folder.loras.read_now(10)
    assert folder.find("Pixel Art", modelVersionId=135931) == Resolved(
        "a.safetensors", "found by its version 135931 at Civitai"
    )
    for other in (120096, 13593, True, "135931", None):
        assert folder.find("Pixel Art", modelVersionId=other) is None


def test_an_air_that_may_be_another_file_s_is_not_written(folder: Folder) -> None:
    """For other programs a row gets what resolving believes, and no more."""
    real = folder.write("a.safetensors", **info(1, 2, "ab" * 32))
    stack = Stack((Entry("a.safetensors"),))
    (said,) = identify_rows(stack, folder.loras).stack.entries
    assert (said.air, said.sha256) == ("civitai:1@2", "ab" * 32)
    folder.hash_all()
    (taken,) = identify_rows(stack, folder.loras).stack.entries
    assert (taken.air, taken.sha256) == (None, real)
