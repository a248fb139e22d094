"""Real ComfyUI, imported into the test process: on the CPU, with folders of its own. Nothing is faked."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).absolute().parents[2]


def pytest_configure(config: pytest.Config) -> None:
    """Puts ComfyUI first on the path and lets it parse its own arguments, before a test module imports it."""
    comfyui = os.environ.get("COMFYUI_PATH")
    if not comfyui:
        message = "tests/nodes need a real ComfyUI; run them through `make test`, which finds it"
        if os.environ.get("REQUIRE_COMFYUI") == "1":
            pytest.exit(message, returncode=1)
        return
    sys.path.insert(0, comfyui)
    saved, sys.argv = sys.argv, ["main.py", "--cpu", "--disable-xformers"]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.cli_args
    finally:
        sys.argv = saved


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Without ComfyUI there is nothing to import."""
    return True if collection_path.name.startswith("test_") and not os.environ.get("COMFYUI_PATH") else None


@pytest.fixture(scope="session")
def pack() -> ModuleType:
    """Our pack, imported as ComfyUI imports it."""
    name = "lorchestra_pack"
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    extension = asyncio.run(module.comfy_entrypoint())
    module.node_list = asyncio.run(extension.get_node_list())
    return module


@pytest.fixture(scope="session")
def stack_node(pack: ModuleType) -> Any:
    """The LoRA Stack node class."""
    return next(node for node in pack.node_list if node.__name__ == "LoraStack")


@pytest.fixture(scope="session")
def check_node(pack: ModuleType) -> Any:
    """The LoRA Check node class."""
    return next(node for node in pack.node_list if node.__name__ == "LoraCheck")


@pytest.fixture(scope="session")
def export_node(pack: ModuleType) -> Any:
    """The API Export node class."""
    return next(node for node in pack.node_list if node.__name__ == "ApiExport")


@pytest.fixture(scope="session", autouse=True)
def user_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ComfyUI's user folder, where the catalog is: not that of the ComfyUI that the tests borrow."""
    import folder_paths

    folder = tmp_path_factory.mktemp("user")
    folder_paths.set_user_directory(str(folder))
    return folder


@pytest.fixture
def loras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that is ComfyUI's only LoRA folder."""
    import folder_paths

    folder = tmp_path / "loras"
    folder.mkdir()
    monkeypatch.setitem(
        folder_paths.folder_names_and_paths, "loras", ([str(folder)], folder_paths.supported_pt_extensions)
    )
    folder_paths.filename_list_cache.pop("loras", None)
    yield folder
    folder_paths.filename_list_cache.pop("loras", None)
