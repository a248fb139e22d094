"""The blocks of the model that a prompt connects to a node, and those that one of its rows changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...lorchestra.errors import FileProblem, StackError
from ...lorchestra.sentences import say, with_parts
from . import bases, process, prompt
from .files import Finder

if TYPE_CHECKING:
    from ...lorchestra.lora.file import LoraFile


def find(queued: Mapping[str, object], node: str, row: object) -> dict[str, object]:
    """`blocks` as `BlockLayout.to_json` has them; without a model or a file that tells them, a sentence in `error`.

    `is_model` says whether they are those of the model that is connected, `note` why nothing is known of the file.
    """
    from ...lorchestra.fit.block_layout import find_layout  # loads all that is known of models

    path = prompt.find_base(queued, node)
    base = None if path is None else bases.read(path)
    note = ""
    file: LoraFile | None = None
    try:
        file = _find_file(row)
    except (FileProblem, StackError) as error:
        note = error.reason
    layout = find_layout(base, file)
    if layout is None:
        reason = say("neither the model nor what the LoRA was made for is known here")
        return with_parts({"error": reason, "note": note})
    return with_parts({**layout.to_json(), "is_model": base is not None, "note": note})


def _find_file(row: object) -> LoraFile:
    from ...lorchestra.fit.badge import read_rows

    entry = read_rows([row])[0]
    if isinstance(entry, StackError):
        raise entry
    with process.lora_library().background.attended():
        located = Finder(0.0).find(entry)
    if located is None:
        raise StackError(say("the LoRA's file is not on this machine"))
    cache = process.lora_cache()
    return cache.open(located.path)
