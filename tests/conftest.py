"""Puts the repository's root at the end of sys.path: in front, our `nodes/` would hide ComfyUI's `nodes.py`."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    sys.path.append(ROOT)
