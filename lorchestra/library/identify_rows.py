"""Rows with the AIR and the hash that are known of their files, for other programs, which do not know the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from ..errors import StackError
from ..exchange import Loss
from ..stack import Entry, Stack
from ..stack.wanted import wanted_of
from .facts import Facts, File
from .listing import Listing
from .resolve import Known, resolve


class Files(Known, Protocol):
    """What is known of the files that are there, and the files themselves."""

    def listing(self) -> Listing:
        """Their names."""
        ...

    def files(self, names: Iterable[str] | None = None) -> list[File]:
        """The files of listed names."""
        ...

    def facts(self, file: File) -> Facts:
        """What is known of a file, which is read if it was not."""
        ...

    def find_identity(self, file: File) -> tuple[str | None, str | None] | None:
        """SHA-256 and AIR of a file that has been read."""
        ...


@dataclass(frozen=True, slots=True)
class Identified:
    """A stack, and what was added to it."""

    stack: Stack
    added: Mapping[int, frozenset[str]]
    """Row → names of its fields."""

    def without_added(self, losses: Iterable[Loss]) -> tuple[Loss, ...]:
        """The losses of what the rows had themselves: what was added, and the program has no use for, is not lost."""
        return tuple(loss for loss in losses if loss.field not in self.added.get(loss.row or 0, ()))


def identify_rows(stack: Stack, files: Files) -> Identified:
    """The rows with AIR and SHA-256, where they had none and their file is found and known by them.

    Rows whose file is not found, or may be any of several, stay as they are.
    """
    found: dict[int, str] = {}
    listing = files.listing()
    for row, entry in stack.rows:
        try:
            resolved = resolve(wanted_of(entry), files, listing)
        except StackError:
            continue
        if resolved and not resolved.is_changed:
            found[row] = resolved.name
    identities: dict[str, tuple[str | None, str | None]] = {}
    for file in files.files(sorted(set(found.values()))):
        files.facts(file)  # it may not have been read yet
        identities[file.name] = files.find_identity(file) or (None, None)
    entries: list[Entry] = []
    written = list(stack.grouping.rows) if stack.grouping else []
    added: dict[int, frozenset[str]] = {}
    for row, entry in stack.rows:
        sha256, air = identities.get(found.get(row, ""), (None, None))
        news = {
            field: value
            for field, value in (("air", air), ("sha256", sha256))
            if value and getattr(entry, field) is None
        }
        added[row] = frozenset(news)
        entries.append(replace(entry, **news) if news else entry)
        if news and written:
            written[row - 1] = replace(written[row - 1], **news)
    grouping = replace(stack.grouping, rows=tuple(written)) if stack.grouping else None
    return Identified(replace(stack, entries=tuple(entries), grouping=grouping), added)
