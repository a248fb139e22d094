"""What this is: for workers that put this ComfyUI behind a queue."""

from __future__ import annotations

from ...lorchestra import __version__
from .http import Query


def about(query: Query) -> dict[str, object]:
    """The pack's version."""
    return {"version": __version__}
