"""Finding a ComfyUI, and what happens when one cannot be started. Talking to a running one is tested in tests/e2e."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lorchestra.demo.comfyui import (
    PACK_FOLDER,
    Client,
    ComfyUI,
    ComfyUIError,
    Server,
    find_comfyui,
    pack_root,
    put_pack,
)


def make_comfyui(folder: Path, main: str = "") -> Path:
    """A folder that looks like a ComfyUI from outside."""
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").write_text(main)
    (folder / "comfyui_version.py").write_text('# generated\n__version__ = "0.33.0"\n')
    return folder


def test_variable_names_the_folder_and_the_version_is_read(tmp_path: Path) -> None:
    root = make_comfyui(tmp_path / "here")
    found = find_comfyui({"COMFYUI_PATH": str(root)})
    assert found == ComfyUI(root, Path(sys.executable), "0.33.0")


@pytest.mark.parametrize("python", [".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe"])
def test_own_environment_is_used(tmp_path: Path, python: str) -> None:
    root = make_comfyui(tmp_path / "here")
    (root / python).parent.mkdir(parents=True)
    (root / python).touch()
    found = find_comfyui({"COMFYUI_PATH": str(root)})
    assert found is not None
    assert found.python == root / python


def test_portable_python_lies_beside_the_folder(tmp_path: Path) -> None:
    root = make_comfyui(tmp_path / "portable/ComfyUI")
    (tmp_path / "portable/python_embeded").mkdir()
    (tmp_path / "portable/python_embeded/python.exe").touch()
    found = find_comfyui({"COMFYUI_PATH": str(root)})
    assert found is not None
    assert found.python == tmp_path / "portable/python_embeded/python.exe"


def test_variable_names_the_python(tmp_path: Path) -> None:
    root = make_comfyui(tmp_path / "here")
    (tmp_path / "mine").touch()
    found = find_comfyui({"COMFYUI_PATH": str(root), "COMFYUI_PYTHON": str(tmp_path / "mine")})
    assert found is not None
    assert found.python == tmp_path / "mine"


@pytest.mark.parametrize("variable", ["COMFYUI_PATH", "COMFYUI_PYTHON"])
def test_variable_that_points_at_nothing_is_an_error(tmp_path: Path, variable: str) -> None:
    root = make_comfyui(tmp_path / "here")
    environ = {"COMFYUI_PATH": str(root), variable: str(tmp_path / "gone")}
    with pytest.raises(ComfyUIError, match=f"{variable} is .*gone"):
        find_comfyui(environ)


def test_home_folders_are_tried_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert find_comfyui({}) is None
    make_comfyui(tmp_path / "ComfyUI")
    found = find_comfyui({})
    assert found is not None
    assert found.root == tmp_path / "ComfyUI"
    make_comfyui(tmp_path / "comfy/ComfyUI")
    found = find_comfyui({})
    assert found is not None
    assert found.root == tmp_path / "comfy/ComfyUI"


def test_pack_is_linked_again_and_again_but_never_into_itself(tmp_path: Path) -> None:
    pack = pack_root()
    assert pack is not None
    place = put_pack(pack, tmp_path)
    assert place == put_pack(pack, tmp_path) == tmp_path / PACK_FOLDER
    assert (place / "nodes/__init__.py").is_file()
    itself = tmp_path / "custom_nodes" / PACK_FOLDER
    (itself / "nodes").mkdir(parents=True)
    with pytest.raises(ComfyUIError, match="cannot be linked into its own place"):
        put_pack(itself, tmp_path / "custom_nodes")


def test_pack_is_copied_where_links_are_not_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    pack = pack_root()
    assert pack is not None
    for _ in range(2):
        place = put_pack(pack, tmp_path)
        assert (place / "nodes/__init__.py").is_file()
        assert not place.is_symlink()
        assert not (place / "tests").exists()


def test_server_that_dies_says_why(tmp_path: Path) -> None:
    root = make_comfyui(tmp_path / "here", "raise SystemExit('there is no torch in this environment')")
    comfyui = ComfyUI(root, Path(sys.executable), "0.33.0")
    with (
        pytest.raises(ComfyUIError, match=r"(?s)ended with exit code 1.*there is no torch"),
        Server(comfyui, tmp_path / "base"),
    ):
        pass


def test_server_that_never_answers_is_stopped(tmp_path: Path) -> None:
    root = make_comfyui(tmp_path / "here", "import time\ntime.sleep(600)")
    server = Server(ComfyUI(root, Path(sys.executable), ""), tmp_path / "base", timeout=0.5)
    with pytest.raises(ComfyUIError, match="does not answer"), server:
        pass
    server.stop()


def test_client_without_a_server_says_so() -> None:
    with pytest.raises(ComfyUIError, match="does not answer"):
        Client("http://127.0.0.1:1/").object_info()
