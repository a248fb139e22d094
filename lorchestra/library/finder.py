"""The files that may be the one that a row means, each with why; a person chooses among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..files.hashes import find_hash
from ..sentences import Template, say
from ..stack.air import find_air
from ..stack.wanted import Wanted
from .index import CONTENT, SAID, TENSORS
from .listing import Listing
from .resolve import Known

_MOST_CANDIDATES = 8
AIR = "air"
NAME = "name"
_WHY: Mapping[str, Template] = {
    CONTENT: "the same content, by its hash",
    SAID: "the same content, by the hash in its sidecar",
    TENSORS: "the same tensors, by their hash",
    AIR: "the same AIR",
    NAME: "the same file name",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be the one that is missing."""

    name: str
    by: str
    """What it was found by: `content`, `said` or `tensors` for a hash, see `index.py`; `air`, or `name`."""

    @property
    def why(self) -> str:
        """The same in words, as a sentence without its end."""
        return say(_WHY[self.by])


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    candidates: tuple[Candidate, ...]
    left: int = 0
    """Files that were not looked into for want of time."""


@dataclass(frozen=True, slots=True)
class Finder:
    """Files that may be the one that a row means."""

    known: Known
    listing: Listing
    left: int
    """Files of which nothing is known."""

    def find(self, lora: str, sha256: str | None = None, air: str | None = None) -> Found:
        """By hash, by AIR, and by the whole name of the file, in any folder and in any case; never by a part of it."""
        wanted = Wanted(lora, find_hash(sha256) if sha256 else None, (find_air(air) if air else None) or find_air(lora))
        return self.find_wanted(wanted)

    def find_wanted(self, wanted: Wanted) -> Found:
        """The same for what a row says; see `find`."""
        found: dict[str, str] = {}
        for name, hit in self.known.names_by_hash(wanted.digits, self.listing) if wanted.digits else ():
            found.setdefault(name, hit.rank)
        for name in self.known.names_by_air(wanted.air, self.listing) if wanted.air else ():
            found.setdefault(name, AIR)
        for name in self.known.names_by_version(wanted.version, self.listing) if wanted.version else ():
            found.setdefault(name, AIR)
        for name in self.listing.named(wanted.lora) if wanted.is_path else ():
            found.setdefault(name, NAME)
        candidates = [Candidate(name, by) for name, by in found.items()]
        return Found(tuple(candidates[:_MOST_CANDIDATES]), self.left)
