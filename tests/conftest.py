"""Puts the repository's root at the end of sys.path: in front, our `nodes/` would hide ComfyUI's `nodes.py`.

`tests/files` comes after it: what makes files for tests in several folders.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in (str(HERE.parent), str(HERE / "files")):
    if folder not in sys.path:
        sys.path.append(folder)
