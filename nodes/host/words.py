"""The trigger words of rows: those that a row chooses, else all that are stated of its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from comfy_execution.utils import get_executing_context

from . import process, prompt

if TYPE_CHECKING:
    from ...lorchestra.fit.outcome import Outcome
    from ...lorchestra.stack import Entry
    from ...lorchestra.workflow.graph import Prompt

Meant = Sequence[tuple["Entry", tuple[str, ...]]]
"""Rows with the words that are meant."""


def find_meant(entries: Iterable[Entry]) -> Meant:
    """Rows with their words, in the same order; rows have the listed names of their files.

    A file of which nothing is known yet is read: it is about to be applied anyway.
    """
    rows = list(entries)
    stated = _stated({entry.lora for entry in rows if entry.triggers is None})
    return [(entry, stated.get(entry.lora, ()) if entry.triggers is None else entry.triggers) for entry in rows]


def _stated(names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    shelf = process.lora_library()
    return {file.name: shelf.facts(file).words for file in shelf.files(names)}


def find_applied(outcomes: Sequence[Outcome], own: Sequence[Entry], upstream: Sequence[Entry]) -> list[Entry]:
    """The rows that were applied, those from upstream first, as LORA_STACK has them; outcomes count `own` from 1."""
    from ...lorchestra.fit.outcome import COMPATIBLE, PARTIAL, UNKNOWN

    fits = (COMPATIBLE, PARTIAL, UNKNOWN)
    rows = {item.row for item in outcomes if item.verdict in fits or item.applied}
    return [
        *(entry for row, entry in enumerate(upstream, len(own) + 1) if row in rows),
        *(entry for row, entry in enumerate(own, 1) if row in rows),
    ]


def missing_lines(meant: Meant, queued: Prompt | None) -> list[str]:
    """A line for each row whose words are not in the prompt of the node that runs; none for what is not known."""
    from ...lorchestra.exchange.names import stem
    from ...lorchestra.sentences import say

    context = get_executing_context()
    texts = prompt.read_prompts(queued).find(context.node_id) if queued and context else None
    if texts is None or context is None or context.node_id in texts.stacks:
        return []
    lines: dict[str, None] = {}
    for entry, words in meant:
        missing = [word for word in words if texts.find(word) is False]
        if missing:
            said = say("trigger words not in the prompt: {words}", words=", ".join(missing))
            lines[say("{lora}: {sentence}", lora=stem(entry.lora), sentence=said)] = None
    return list(lines)
