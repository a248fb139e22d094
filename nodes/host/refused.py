"""Tells the page that queued a prompt which rows of a LoRA Stack were refused, so that each row shows its own sentence.

ComfyUI shows an error as one text of the node; this says the same by rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from comfy_execution.utils import get_executing_context

from ...lorchestra.errors import StackError, shortened
from ...lorchestra.sentences import with_parts
from . import process, server

if TYPE_CHECKING:
    from ...lorchestra.stack import Stack

EVENT = "lorchestra.refused"
_LONGEST = 2000
"""Characters of a sentence."""


def tell_queued(stack: Stack, errors: Iterable[StackError]) -> None:
    """Of the node that is being validated; to be called in `validate_inputs`."""
    request = process.request.get()
    if request is not None:
        _tell(request.get("client_id"), stack, errors)


def tell_run(stack: Stack, error: StackError) -> None:
    """Of the node that runs; `stack` are its own rows, which errors count first."""
    _tell(server.running_client(), stack, [error])


def _tell(client: object, stack: Stack, errors: Iterable[StackError]) -> None:
    context = get_executing_context()
    if context is None:
        return
    rows = [
        with_parts({"lora": stack.entries[row - 1].lora, "sentence": _short(sentence)})
        for error in errors
        for row, sentence in error.rows
        if row <= len(stack.entries)
    ]
    server.tell(client, EVENT, {"prompt_id": context.prompt_id, "node": context.node_id, "rows": rows})


def _short(sentence: str) -> str:
    """The sentence with its parts, where it is short enough."""
    return sentence if len(sentence) <= _LONGEST else shortened(sentence, _LONGEST)
