"""What a row says about its file: a path, hashes, an AIR."""

from __future__ import annotations

from dataclasses import dataclass

from ..files.hashes import find_hash
from .air import Air, find_air
from .entry import Entry

HASH = "hash"
"""The key of a row for a hash that is not a whole SHA-256: AutoV2, AutoV3, BLAKE3 …"""


VERSION_ID = "modelVersionId"
"""The key of a row for Civitai's number of a version, where the number of its model is not said."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a row says about its file."""

    lora: str
    """Path, AIR or hash."""
    digits: str | None = None
    """A hash of any kind, in lower case: 8, 10, 12 or 64 hex digits."""
    air: Air | None = None
    version: str | None = None
    """Civitai's number of the version, if there is no AIR."""

    @property
    def is_path(self) -> bool:
        """False if the row names no file, but an AIR or a hash alone."""
        return find_air(self.lora) is None and not _is_bare_hash(self.lora)

    @property
    def is_identified(self) -> bool:
        """True if a file of another name may be found for it."""
        return self.digits is not None or self.air is not None or self.version is not None


def wanted_of(entry: Entry) -> Wanted:
    """What a row says; a SHA-256 counts before a hash that is shortened, and both before a name that is a hash."""
    other = entry.extra.get(HASH)
    candidates = (entry.sha256, other if isinstance(other, str) else None)
    digits = next((found for text in candidates if text and (found := find_hash(text))), None)
    if digits is None and _is_bare_hash(entry.lora):
        digits = find_hash(entry.lora)
    air = (find_air(entry.air) if entry.air else None) or find_air(entry.lora)
    version = entry.extra.get(VERSION_ID)
    is_number = type(version) is int and version > 0
    return Wanted(entry.lora, digits, air, str(version) if is_number and air is None else None)


def _is_bare_hash(text: str) -> bool:
    """A name that is nothing but a hash: with 64 digits, or with its kind before it. Others may be names of files."""
    return find_hash(text) is not None and (len(text) >= 64 or ":" in text or "=" in text)
