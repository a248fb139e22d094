"""Python tools that tests run in a Python of their own: ComfyUI's packages stay as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).absolute().parents[2]
_PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"
GENERATOR = "openapi_python_client"
SCHEMATHESIS = "schemathesis"
_TYPESCRIPT = """
import { Comfy } from "@comfyorg/sdk";
const client = new Comfy({});
const workflow = await client.workflows.fromFile(process.argv[2]);
try {
  const job = await client.run(workflow);
  const [output] = job.getOutputs("8");
  await output.toFile(process.argv[3]);
  console.log(JSON.stringify({ id: job.id, status: job.status }));
} catch (error) {
  console.log(JSON.stringify({ error: error.constructor.name, details: error.job?.error ?? error }));
}
"""
_PACKAGES = {
    "comfy_sdk": "comfy-sdk>=0.5",
    GENERATOR: "openapi-python-client==0.29.1",
    SCHEMATHESIS: "schemathesis==4.32.5",
}


def sdk_python() -> str:
    """A Python that has the official SDK."""
    return python_with("comfy_sdk")


@cache
def python_with(module: str) -> str:
    """A Python that has a module of `_PACKAGES`: that of the tests, that of the core's, or one that is made for it.

    Where it cannot be installed, the test is skipped with words, or has failed with REQUIRE_COMFYUI=1.
    """
    own = ROOT / f".venv-{module}"
    for python in (sys.executable, str(ROOT / ".venv" / _PYTHON), str(own / _PYTHON)):
        if Path(python).is_file() and _has(python, module):
            return python
    try:
        venv.create(own, with_pip=True)
        pip = [str(own / _PYTHON), "-m", "pip", "install", "--quiet", _PACKAGES[module]]
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        message = f"{_PACKAGES[module]} cannot be installed: {error}"
        if os.environ.get("REQUIRE_COMFYUI") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return str(own / _PYTHON)


def _has(python: str, module: str) -> bool:
    return subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0


def run_with_sdk(code: str, base_url: str, *arguments: str, token: str = "", timeout: float = 600) -> str:
    """What a script with the SDK prints, whose client calls `base_url`."""
    env = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "COMFY_API_KEY")}
    env |= {"COMFY_BASE_URL": base_url, "NO_PROXY": "*"} | ({"COMFY_API_KEY": token} if token else {})
    done = subprocess.run(
        [sdk_python(), "-c", code, *arguments], capture_output=True, text=True, timeout=timeout, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_with_typescript_sdk(base_url: str, graph: Any, output: Path, timeout: float = 60) -> dict[str, Any]:
    """What the official TypeScript SDK says of a run of a graph, whose node 8 makes the file `output`."""
    if not (ROOT / "node_modules/@comfyorg/sdk").is_dir() or shutil.which("node") is None:
        pytest.skip("@comfyorg/sdk is not there. Run `make lint`, which installs it, with Node.")
    workflow = output.with_name("workflow.json")
    workflow.write_text(json.dumps(graph))
    command = ["node", "--input-type=module", "-e", _TYPESCRIPT, "x", str(workflow), str(output)]
    env = {**os.environ, "COMFY_BASE_URL": base_url, "NO_PROXY": "*"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
