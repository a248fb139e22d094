"""ComfyUI's `server`, imported into the process of the tests."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType


def import_server() -> ModuleType:
    """ComfyUI's `server`, which takes `utils` for ComfyUI's folder, as `main.py` does, and not for `comfy/utils.py`."""
    if "server" not in sys.modules:
        saved, sys.path = sys.path, [path for path in sys.path if Path(path).name != "comfy"]
        shadowed = sys.modules.pop("utils", None)
        try:
            importlib.import_module("utils.install_util")
            return importlib.import_module("server")
        finally:
            sys.path = saved
            if shadowed:
                sys.modules["utils"] = shadowed
    return sys.modules["server"]
