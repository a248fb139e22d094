"""The name of the file that a MODEL was loaded from: it tells one model of a pair from the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import folder_paths

from . import prompt

if TYPE_CHECKING:
    from .protocols import Patcher


def find_listed_name(
    patcher: Patcher, queued: Mapping[str, object] | None = None, node_id: str | None = None
) -> str | None:
    """The name under which ComfyUI lists the file of a live MODEL; None if its file is not known.

    ComfyUI's own loaders say the file since 0.33. For others it is looked for in the prompt that is run (the hidden
    inputs `prompt` and `unique_id` of a node), upstream of the node's `model`.
    """
    path = _find_file(patcher) or (prompt.find_base(queued, node_id) if queued and node_id else None)
    return None if path is None else listed(path)


def _find_file(patcher: Patcher) -> str | None:
    """The file that a patcher would be loaded from again: the first argument of its loader."""
    factory = getattr(patcher, "cached_patcher_init", None)
    if not isinstance(factory, tuple) or len(cast("tuple[object, ...]", factory)) < 2:
        return None
    arguments = cast("tuple[object, ...]", factory)[1]
    first = cast("tuple[object, ...]", arguments)[0] if isinstance(arguments, tuple) and arguments else None
    return first if isinstance(first, str) else None


def listed(path: str) -> str:
    """A file's path inside ComfyUI's folder of models; what is above it says nothing about the model."""
    for roots, _ in folder_paths.folder_names_and_paths.values():
        for root in roots:
            if Path(path).is_relative_to(root):
                return Path(path).relative_to(root).as_posix()
    return Path(path).name
