"""Finds the files that a row may mean: by hash, by AIR, and by the whole name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..stack.air import find_air
from .facts import Facts
from .listing import Listing

_MOST_CANDIDATES = 8
BY_HASH = "the same content, by its SHA-256"
BY_TENSORS = "the same tensors, by the hash in its metadata"
BY_AIR = "the same AIR"
BY_NAME = "the same file name"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be the one that is missing."""

    name: str
    why: str
    """One sentence without its end."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    candidates: tuple[Candidate, ...]
    left: int = 0
    """Files that were not looked into for want of time."""


class Finder:
    """Files that may be the one that a row means; a value, as things are when it is made."""

    def __init__(self, listing: Listing, known: Iterable[tuple[str, Facts]], left: int) -> None:
        self._listing = listing
        self.left = left
        """Files of which nothing is known."""
        self._by: dict[tuple[str, str], list[str]] = {}
        for name, facts in known:
            air = find_air(facts.air) if facts.air else None
            short = air.key if air else ""
            for why, value in (
                (BY_HASH, facts.sha256),
                *((BY_TENSORS, item) for item in facts.hashes),
                (BY_AIR, short),
                (BY_AIR, short.partition("@")[0]),
            ):
                if value:
                    self._by.setdefault((why, value), []).append(name)

    def find(self, lora: str, sha256: str | None = None, air: str | None = None) -> Found:
        """By hash, by AIR, and by the whole name of the file, in any folder and in any case; never by a part of it."""
        wanted = find_air(air) if air else find_air(lora)
        found: dict[str, str] = {}
        for why, value in (
            (BY_HASH, sha256),
            (BY_TENSORS, sha256),
            (BY_AIR, wanted.short if wanted else None),  # civitai:1 finds its versions too
        ):
            for name in self._by.get((why, value.lower()), ()) if value else ():
                found.setdefault(name, why)
        if wanted is None or air:
            for name in self._listing.named(lora):
                found.setdefault(name, BY_NAME)
        candidates = [Candidate(name, why) for name, why in found.items()]
        return Found(tuple(candidates[:_MOST_CANDIDATES]), self.left)
