"""Where a ComfyUI on this machine has its files: its own Python says it, with `extra_model_paths.yaml` read."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .comfyui import ComfyUI, ComfyUIError

_SECONDS = 60
_CODE = """
import json, logging, os, sys
logging.disable()
root = sys.argv.pop()
sys.path.insert(0, root)
import folder_paths
extra = os.path.join(root, "extra_model_paths.yaml")
if os.path.isfile(extra):
    import utils.extra_config
    utils.extra_config.load_extra_path_config(extra)
kinds = ("loras", "checkpoints", "diffusion_models")
print(json.dumps([[folder_paths.get_folder_paths(kind) for kind in kinds], folder_paths.get_user_directory()]))
"""


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders of an installation; without what is only on the command line that starts it."""

    loras: tuple[str, ...]
    user: Path
    checkpoints: tuple[str, ...] = ()
    diffusion_models: tuple[str, ...] = ()


def find_folders(comfyui: ComfyUI) -> Folders:
    """Asks ComfyUI; raises `ComfyUIError` if it does not answer."""
    command = [str(comfyui.python), "-c", _CODE, str(comfyui.root)]
    try:
        done = subprocess.run(
            command, cwd=comfyui.root, capture_output=True, text=True, timeout=_SECONDS, check=True, encoding="utf-8"
        )
        kinds, user = json.loads(done.stdout.strip().rpartition("\n")[2])
        loras, checkpoints, diffusion_models = (tuple(map(str, kind)) for kind in kinds)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().rpartition("\n")[2]
        raise ComfyUIError(f"ComfyUI in {comfyui.root} does not say where its models are: {said}") from error
    return Folders(loras, Path(str(user)), checkpoints, diffusion_models)
