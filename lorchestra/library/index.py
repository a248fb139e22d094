"""Files by what they are known by: hashes of any kind, whole or shortened, and AIRs. In memory; a look-up is a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..files.hashes import Hashes
from ..stack.air import Air, find_air
from .facts import Facts

CONTENT = "content"
"""A hash that was taken of the file's content."""
SAID = "said"
"""A hash of the whole file that a sidecar says."""
TENSORS = "tensors"
"""A hash of the tensors alone, which editing the metadata does not change."""
RANKS = (CONTENT, SAID, TENSORS)
"""What a hash can be of, the surest first."""

_SHORT = (8, 10, 12)
"""Digits of the shortened forms: A1111's first one, AutoV2, AutoV3."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A file that a hash belongs to."""

    path: str
    rank: str
    """Of `RANKS`."""


class Index:
    """Paths by hash and by AIR; its owner keeps threads apart."""

    def __init__(self) -> None:
        self._hashes: dict[str, dict[str, str]] = {}
        self._airs: dict[str, dict[str, str]] = {}
        self._keys: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}

    def put(self, path: str, facts: Facts | None, hashes: Hashes | None) -> None:
        """Makes a file known by what its header and sidecars say, and by the hashes taken of it.

        Where a sidecar says another hash than the content has, it is another file's, and so may its AIR be: neither
        counts.
        """
        self.drop(path)
        digests = dict(_digests(facts, hashes))
        air = None if facts is None or contradicts(facts, hashes) else facts.air
        found = find_air(air) if air else None
        airs = () if found is None else (found.key, found.key.partition("@")[0], *_version_key(found))
        for key, rank in digests.items():
            self._hashes.setdefault(key, {})[path] = rank
        for key in airs:
            self._airs.setdefault(key, {})[path] = path
        if digests or airs:
            self._keys[path] = (tuple(digests), airs)

    def drop(self, path: str) -> None:
        """Forgets a file."""
        digests, airs = self._keys.pop(path, ((), ()))
        for kept, keys in ((self._hashes, digests), (self._airs, airs)):
            for key in keys:
                paths = kept.get(key, {})
                paths.pop(path, None)
                if not paths:
                    kept.pop(key, None)

    def by_hash(self, digits: str) -> list[Hit]:
        """The files that have this hash, of any kind, the surest first. `digits` as `files.hashes.find_hash` gives."""
        hits = [Hit(path, rank) for path, rank in self._hashes.get(digits, {}).items()]
        return sorted(hits, key=lambda hit: (RANKS.index(hit.rank), hit.path))

    def by_version(self, version: str) -> list[str]:
        """The paths of files whose AIR has this number of a version at Civitai."""
        return sorted(self._airs.get(f"@{version}", ()))

    def by_air(self, air: Air) -> list[str]:
        """The paths of files with this AIR; where it says no version, of any."""
        return sorted(self._airs.get(air.key, ()))


def digests_of(hashes: Hashes) -> dict[str, str]:
    """All hashes of a content by which it may be asked for, whole and shortened → what each is of."""
    return dict(_digests(None, hashes))


def _version_key(air: Air) -> tuple[str, ...]:
    """Civitai counts the versions of all models together."""
    return (f"@{air.version}",) if air.source.lower() == "civitai" and air.version else ()


def contradicts(facts: Facts, hashes: Hashes | None) -> bool:
    """True if a sidecar says another SHA-256 than the file has."""
    return bool(hashes and facts.sha256 and facts.sha256 != hashes.sha256)


def _digests(facts: Facts | None, hashes: Hashes | None) -> Iterator[tuple[str, str]]:
    """(digits, rank); where one is given twice, the surer one last."""
    tensors = set(facts.hashes) if facts else set[str]()
    if hashes and hashes.tensors:
        tensors.add(hashes.tensors)
    for digest in sorted(tensors):
        yield from _forms(digest, TENSORS)
    if facts and not hashes:
        for digits in sorted(facts.said):
            yield digits, SAID
        if facts.sha256:
            yield from _forms(facts.sha256, SAID)
    if hashes:
        for digest in (hashes.crc32, hashes.autov1, hashes.blake3):
            if digest:
                yield digest, CONTENT
        yield from _forms(hashes.sha256, CONTENT)


def _forms(digest: str, rank: str) -> Iterator[tuple[str, str]]:
    for digits in (*_SHORT, len(digest)):
        yield digest[:digits].lower(), rank
