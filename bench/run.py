"""`make bench`: `identify.py`, `catalog.py` and `balance.py`, then the others in a ComfyUI but for `gpu.py`.

Says so where there is no ComfyUI.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lorchestra.demo.comfyui import find_comfyui

HERE = Path(__file__).absolute().parent
TESTS = [HERE.parent / ".venv-comfyui" / place for place in ("bin/python", "Scripts/python.exe")]
"""The environment of the tests in ComfyUI, where it was made."""


def main() -> int:
    """Runs the benchmarks, the one that needs it in ComfyUI's own Python; the exit code is theirs."""
    here = {**os.environ, "PYTHONPATH": str(HERE.parent)}  # this folder's code, whatever is installed
    code = subprocess.call([sys.executable, HERE / "identify.py"], env=here)
    code |= subprocess.call([sys.executable, HERE / "catalog.py"], env=here)
    code |= subprocess.call([sys.executable, HERE / "balance.py"], env=here)
    comfyui = find_comfyui()
    if comfyui is None:
        print("No ComfyUI was found; all other benchmarks need it. Set COMFYUI_PATH.")
        return code
    print(f"\nComfyUI {comfyui.version}\n", flush=True)
    env = {**os.environ, "COMFYUI_PATH": str(comfyui.root)}
    # The service needs jsonschema, and a fleet Celery, which ComfyUI's Python may lack; the tests' has them.
    own = next((path for path in TESTS if path.is_file()), comfyui.python)
    for script in ("service.py", "fleet.py"):
        code |= subprocess.call([own, HERE / script], env={**env, "COMFYUI_PYTHON": str(comfyui.python)})
    for script, argument in (("merge.py", "--fp16-unet"), ("merge.py", "--fp32-unet"), ("live.py", "--fp32-unet")):
        code |= subprocess.call([comfyui.python, HERE / script, argument, *sys.argv[1:]], env=env)
    return code


if __name__ == "__main__":
    sys.exit(main())
