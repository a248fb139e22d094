"""By what the files of a library are known, as JSON data, for who looks them up elsewhere as `resolve` does here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

from ..files.hashes import Hashes
from ..limits import Json
from ..stack.air import Air
from .catalog import Library
from .facts import Facts
from .index import Hit, Index
from .listing import Listing


def identities_of(library: Library) -> dict[str, Json]:
    """What is known by now of all files; the rest is read in the background.

    `files` has those that were read, and `is_read` says that these are all. While there are more, or hashes are taken
    (`is_hashing`), a file that is not found may be there all the same.
    """
    with library.background.attended():
        files = library.files()
        pending = library.read_in_background(files)
        found: list[Json] = []
        for file in files:
            facts = library.find_read(file)
            if facts is not None:
                found.append(_to_json(file.name, facts, library.find_hashes(file)))
        return {"files": found, "is_read": not pending, "is_hashing": library.background.hashing.total > 0}


def _to_json(name: str, facts: Facts, hashes: Hashes | None) -> dict[str, Json]:
    known: dict[str, Json] = {
        "sha256": facts.sha256, "tensors": sorted(facts.hashes), "said": sorted(facts.said), "air": facts.air,
        "architectures": list(facts.architectures), "hashes": asdict(hashes) if hashes else None,
    }  # fmt: skip
    return {"name": name, "kind": facts.kind} | {key: value for key, value in known.items() if value}


class Identities:
    """What `identities_of` gave, to be asked as a library is: a `resolve.Known`."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.is_read = data.get("is_read") is True
        """Whether all headers and sidecars were read."""
        self.is_complete = self.is_read and data.get("is_hashing") is False
        """Whether what is not found is not there."""
        self._index = Index()
        self._taken: dict[str, str] = {}
        self._architectures: dict[str, Sequence[str]] = {}
        for item in cast("Sequence[Mapping[str, Any]]", data.get("files", ())):
            name, hashes = str(item["name"]), item.get("hashes")
            taken = Hashes(**hashes) if hashes else None
            facts = Facts(
                item["kind"], tuple(item.get("architectures", ())), sha256=item.get("sha256"),
                hashes=frozenset(item.get("tensors", ())), said=frozenset(item.get("said", ())), air=item.get("air"),
            )  # fmt: skip
            self._index.put(name, facts, taken)
            self._architectures[name] = facts.architectures
            if taken is not None:
                self._taken[name] = taken.sha256

    def architectures_of(self, name: str) -> Sequence[str]:
        """What a file may be of or for; none if that is not known."""
        return self._architectures.get(name, ())

    def names_by_hash(self, digits: str, listing: Listing) -> Sequence[tuple[str, Hit]]:
        """See `resolve.Known`."""
        return [(hit.path, hit) for hit in self._index.by_hash(digits) if hit.path in listing]

    def names_by_air(self, air: Air, listing: Listing) -> Sequence[str]:
        """See `resolve.Known`."""
        return [name for name in self._index.by_air(air) if name in listing]

    def names_by_version(self, version: str, listing: Listing) -> Sequence[str]:
        """See `resolve.Known`."""
        return [name for name in self._index.by_version(version) if name in listing]

    def sha256_of(self, name: str) -> str | None:
        """See `resolve.Known`."""
        return self._taken.get(name)
