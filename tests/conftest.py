"""Puts the repository's root at the end of sys.path: in front, our `nodes/` would hide ComfyUI's `nodes.py`.

`tests` comes after it, for the helpers in `tests/support`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

# Before torch is imported: tests that run side by side do not fight over the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).resolve().parent
for folder in (str(HERE.parent), str(HERE)):
    if folder not in sys.path:
        sys.path.append(folder)

# `make quick` looks at a few examples of each property; all other runs at as many as hypothesis does by itself.
with contextlib.suppress(ImportError):
    from hypothesis import settings

    settings.register_profile("quick", max_examples=10, deadline=None)
    if os.environ.get("HYPOTHESIS_PROFILE"):
        settings.load_profile(os.environ["HYPOTHESIS_PROFILE"])
