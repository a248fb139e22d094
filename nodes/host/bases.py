"""Base models of queued prompts, known by their files' headers before ComfyUI loads them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...lorchestra.errors import LorchestraError
from . import process, prompt
from .experts import listed

if TYPE_CHECKING:
    from ...lorchestra.models.base import Base


def find_queued_base() -> Base | None:
    """The base of the node that is being validated; None if it is not known or its file cannot be read."""
    path = prompt.find_queued_base()
    return None if path is None else read(path)


def read(path: str) -> Base | None:
    """The base in a file, read once while it stays as it is; None if it cannot be read.

    Kept by path, because a link's name tells the format, and by key, so that a file that changed is read anew.
    """
    from ...lorchestra.files.key import find_key

    key = find_key(path)
    return None if key is None else process.bases.find_or_make((path, key), lambda: _read(path))


def _read(path: str) -> Base | None:
    from ...lorchestra.models.base import read_base_model  # loads all that is known of models

    try:
        return replace(read_base_model(path), find_listed_name=lambda: listed(path))
    except (LorchestraError, OSError):  # loading it says what is wrong
        return None
