"""cloneofsimo's numbered names of 2022 (`unet:0:up`): which layer each number is, from the classes in the metadata."""

from __future__ import annotations

from collections.abc import Mapping

from ..header import Header

SPELLING = "cloneofsimo numbers"


def real_names(header: Header) -> Mapping[str, str]:
    """Tensor → the name that a diffusers trainer would give it; empty for files that are not numbered."""
    return {}
