"""The official Python SDK (`comfy-sdk`) in a Python of its own: ComfyUI's packages stay as they are."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parents[2]
OWN = ROOT / ".venv-sdk"
_PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"


@cache
def sdk_python() -> str:
    """A Python that has the SDK: that of the tests, that of the core's, or one that is made for it.

    Where it cannot be installed, the test is skipped with words, or has failed with REQUIRE_COMFYUI=1.
    """
    for python in (sys.executable, str(ROOT / ".venv" / _PYTHON), str(OWN / _PYTHON)):
        if Path(python).is_file() and _has_sdk(python):
            return python
    try:
        venv.create(OWN, with_pip=True)
        pip = [str(OWN / _PYTHON), "-m", "pip", "install", "--quiet", "comfy-sdk>=0.5"]
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        message = f"comfy-sdk cannot be installed: {error}"
        if os.environ.get("REQUIRE_COMFYUI") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return str(OWN / _PYTHON)


def _has_sdk(python: str) -> bool:
    return subprocess.run([python, "-c", "import comfy_sdk"], capture_output=True, check=False).returncode == 0


def run_with_sdk(code: str, base_url: str, *arguments: str, token: str = "", timeout: float = 600) -> str:
    """What a script with the SDK prints, whose client calls `base_url`."""
    env = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "COMFY_API_KEY")}
    env |= {"COMFY_BASE_URL": base_url, "NO_PROXY": "*"} | ({"COMFY_API_KEY": token} if token else {})
    done = subprocess.run(
        [sdk_python(), "-c", code, *arguments], capture_output=True, text=True, timeout=timeout, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
