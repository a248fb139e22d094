"""Our socket types, and the common LORA_STACK that the stackers of other packs speak."""

from __future__ import annotations

from collections.abc import Iterable

from comfy_api.latest import io

from ..lorchestra.stack import Entry, Stack

Loras = io.Custom("LORCHESTRA_LORAS")
"""A stack as text; a widget."""

LoraStackSocket = io.Custom("LORA_STACK")
"""A list of `(name, model weight, clip weight)`."""


class Row(tuple):
    """A LORA_STACK row that remembers the entry it came from.

    To every other pack it is the plain triple; when it comes back to us untouched, its AIR, hash and unknown keys are
    still there.
    """

    entry: Entry

    def __new__(cls, entry: Entry) -> Row:
        """The triple of an entry."""
        row = super().__new__(cls, entry.triple)
        row.entry = entry
        return row


def to_rows(entries: Iterable[Entry]) -> list[Row]:
    """The active entries as a LORA_STACK."""
    return [Row(entry) for entry in entries if entry.active]


def read_rows(value: object) -> Stack:
    """The stack that came in through a LORA_STACK socket; None is the empty stack."""
    return Stack.parse(value)
