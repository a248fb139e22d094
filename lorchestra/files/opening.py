"""Opens files that may be anything, and says in words why one cannot be used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..errors import HeaderError


def open_regular(name: str):
    """Opens a plain file for reading; a directory, pipe or device is refused before anything can block on it."""
    mode = os.stat(name).st_mode
    if stat.S_ISDIR(mode):
        raise HeaderError(name, "this is a directory, not a file")
    if not stat.S_ISREG(mode):
        raise HeaderError(name, "this is not a regular file")
    return open(name, "rb", buffering=0)  # a buffer would read beyond the header


def os_reason(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "the file may not be read (permission denied)"
    return f"the file cannot be read ({error.strerror or error})"


def pickle_reason(name: str) -> str:
    target = Path(name).with_suffix(".safetensors").name
    return (
        "this is a pickle file, which can run code when it is opened; Lorchestra reads only .safetensors. "
        "If you trust its source, convert it: "
        f'python -c "import torch, safetensors.torch as s; d = torch.load({Path(name).name!r}, weights_only=True); '
        f"s.save_file({{k: v.contiguous() for k, v in d.get('state_dict', d).items()}}, {target!r})\""
    )
