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

# A few examples of each property for `make quick`, 50 for `make test`; HYPOTHESIS_PROFILE=default looks at 100.
with contextlib.suppress(ImportError):
    from hypothesis import HealthCheck, settings

    # How long a busy machine takes, for one example or to make them, says nothing.
    patient = [HealthCheck.too_slow]
    settings.register_profile("quick", max_examples=10, deadline=None, suppress_health_check=patient)
    settings.register_profile("test", max_examples=50, deadline=None, suppress_health_check=patient)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "test"))
