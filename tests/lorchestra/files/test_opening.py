"""There is one way to open a file whose name came from elsewhere, and everything goes through it."""

from __future__ import annotations

import ast
import os
import socket
import time
from pathlib import Path

import pytest

from lorchestra.errors import CheckpointError, HeaderError
from lorchestra.files.gguf import read_gguf
from lorchestra.files.header import read_header
from lorchestra.files.key import find_sha256, read_sha256
from lorchestra.files.opening import exists, is_file, is_folder, open_regular, read_small
from lorchestra.library.card import read_details
from lorchestra.library.sidecars import find_preview, read_image, read_sidecars
from lorchestra.models.base_file import read_base
from lorchestra.spelling.scales import read_adapter_config

ROOT = Path(__file__).resolve().parents[3]

OWN = {
    "architectures/signatures.py": "data of the package",
    "cli/__init__.py": "the end of a broken pipe",
    "cli/demo.py": "files that the demo made",
    "cli/export.py": "the command line may name a pipe of the shell",
    "service/fleet/kept.py": "what jobs have made, in a store that fsspec knows",
    "service/fleet/tickets.py": "the messages of the embedded broker, which it names itself",
    "files/new_file.py": "the writer",
    "files/opening.py": "the opener",
}
"""Modules that may open files by themselves, and why; all of `demo/` has files of its own."""

OPENERS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "safe_open", "fdopen"}
ASKERS = {"is_file", "is_dir", "exists"}
"""Of `Path`: they raise where a name is too long."""


OTHER_OPENS = ("files", "cache", "located", "image", "Image", "_opener")
"""Whose `open` is no file's by name: our opened LoRAs, Pillow's pictures of bytes or open files, an address."""


def calls(path: Path) -> list[str]:
    """What a module calls of what opens files or asks for them, as `open` or `Path.open`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    imported = {a.asname or a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in OPENERS | ASKERS and node.func.id not in own | imported:
                found.append(node.func.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name, owner = node.func.attr, ast.unparse(node.func.value)
            if name in OPENERS | ASKERS and not (name == "open" and owner.split(".")[-1] in OTHER_OPENS):
                found.append(f"{owner}.{name}")
    return found


def test_nobody_else_opens_files() -> None:
    strange: dict[str, list[str]] = {}
    for folder in ("lorchestra", "nodes"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT / folder).as_posix()
            if name not in OWN and not name.startswith("demo/") and (found := calls(path)):
                strange[f"{folder}/{name}"] = found
    assert strange == {}
    assert calls(ROOT / "lorchestra/files/new_file.py") and calls(ROOT / "lorchestra/cli/export.py")


@pytest.fixture(params=["pipe", "device", "directory", "socket", "loop", "missing", "long", "NUL", "half"])
def odd(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of what is no plain file."""
    path = tmp_path / "x.safetensors"
    monkeypatch.chdir(tmp_path)
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "directory":
        path.mkdir()
    elif request.param == "loop":
        path.symlink_to(path.name)
    elif request.param == "socket":
        listening = socket.socket(socket.AF_UNIX)
        request.addfinalizer(listening.close)
        listening.bind(path.name)
    names = {"long": "x" * 300, "NUL": "a\0b", "half": "a\ud800"}
    return names.get(request.param, str(path))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_plain_file_is_told_in_words_and_at_once(odd: str) -> None:
    started = time.monotonic()
    for read in (read_header, read_sha256, open_regular, lambda path: read_small(path, 10)):
        with pytest.raises(HeaderError) as caught:
            read(odd)
        assert caught.value.file == odd and caught.value.reason
    for read in (read_gguf, lambda path: open_regular(path, CheckpointError)):
        with pytest.raises(CheckpointError) as told:
            read(odd)
        assert told.value.file == odd and told.value.reason
    with pytest.raises((CheckpointError, HeaderError)):
        read_base(odd)
    assert not is_file(odd)
    assert exists(odd) or not is_folder(odd)
    assert read_details(odd)["kind"] == "unreadable"
    assert read_image(odd) is None and find_preview(odd) is None
    assert read_sidecars(odd).sources == ()
    assert read_adapter_config(odd) is None
    assert time.monotonic() - started < 30  # by the clock: what waits for a pipe waits for ever


@pytest.mark.parametrize("suffix", [".json", ".civitai.info", ".txt", ".preview.png"])
def test_sidecars_that_are_no_files_say_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "x.safetensors"
    os.mkfifo(tmp_path / f"x{suffix}")
    (tmp_path / "adapter_config.json").symlink_to("/dev/zero")
    assert read_sidecars(path).sources == ()
    assert read_sidecars(path, [f"x{suffix}"]).sources == ()
    assert read_image(tmp_path / f"x{suffix}") is None
    assert read_adapter_config(path) is None


def test_no_more_is_read_than_there_was(tmp_path: Path) -> None:
    """A file that grows while it is read would never end."""
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    with open_regular(path) as file, path.open("ab") as other:
        other.write(b"def")
        other.flush()
        assert file.read(2) == b"ab"
        assert file.read() == b"c" and file.read() == b""
        assert file.has_changed()
        view = memoryview(bytearray(2))
        file.fill(1, view)
        assert bytes(view) == b"bc"
        with pytest.raises(HeaderError, match="became shorter"):
            file.fill(2, view)


def test_what_is_not_wanted_any_more_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.truncate(10**12)  # takes no room
    asked: list[int] = []
    with open_regular(path) as file:
        assert find_sha256(file, lambda: asked.append(1) or len(asked) < 3) is None
    assert len(asked) == 3


def test_a_file_may_be_as_large_as_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert read_small(path, 3) == b"abc"
    with pytest.raises(HeaderError, match="the file has 3 bytes; at most 2 are read"):
        read_small(path, 2)
