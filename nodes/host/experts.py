"""Which one of a pair of models a MODEL is, such as Wan 2.2's for high noise and for low noise: by its file's name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import folder_paths

from . import bases, model, prompt

if TYPE_CHECKING:
    from ...lorchestra.models.base import Base


def find_expert(patcher: Any, queued: Mapping[str, Any] | None = None, node_id: str | None = None) -> str | None:
    """`high` or `low` for a live MODEL; None where its file is not known, or it does not come as a pair.

    ComfyUI's own loaders say the file since 0.33. For others it is looked for in the prompt that is run (the hidden
    inputs `prompt` and `unique_id` of a node), upstream of the node's `model`.
    """
    from ...lorchestra.models.experts import find_model_expert  # loads all that is known of models

    path = _find_file(patcher) or (prompt.find_base(queued, node_id) if queued and node_id else None)
    return None if path is None else find_model_expert(_listed(path), model.architectures(patcher))


def find_queued_expert() -> str | None:
    """The same for the base of the node that is being validated."""
    base, path = bases.find_queued_base(), prompt.find_queued_base()
    return None if base is None or path is None else find_file_expert(path, base)


def find_file_expert(path: str, base: Base) -> str | None:
    """The same for a base and the file that it was read from."""
    from ...lorchestra.models.experts import find_model_expert

    return find_model_expert(_listed(path), base.architectures)


def _find_file(patcher: Any) -> str | None:
    """The file that a patcher would be loaded from again: the first argument of its loader."""
    factory = getattr(patcher, "cached_patcher_init", None)
    if not isinstance(factory, tuple) or len(cast("tuple[Any, ...]", factory)) < 2:
        return None
    arguments = cast("tuple[Any, ...]", factory)[1]
    first = cast("tuple[Any, ...]", arguments)[0] if isinstance(arguments, tuple) and arguments else None
    return first if isinstance(first, str) else None


def _listed(path: str) -> str:
    """The path inside ComfyUI's folder of models; what is above it says nothing about the model."""
    for roots, _ in folder_paths.folder_names_and_paths.values():
        for root in roots:
            if Path(path).is_relative_to(root):
                return Path(path).relative_to(root).as_posix()
    return Path(path).name
