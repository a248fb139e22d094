"""Which file a row means: the one answer for nodes, routes and the command line.

In this order: the SHA-256 (or another hash), the AIR, the path, and the only file of that name in any folder; never a
part of a name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..errors import StackError, quoted
from ..sentences import Template, say
from ..stack.air import Air
from ..stack.wanted import Wanted
from .index import CONTENT, SAID, TENSORS, Hit
from .listing import Listing

_MOST_NAMED = 6


@dataclass(frozen=True, slots=True)
class Resolved:
    """The file that is used."""

    name: str
    """As ComfyUI lists it."""
    how: str = ""
    """What it was found by, for `used x.safetensors, …`; empty if it is the path that the row has."""
    is_changed: bool = False
    """True if the file of that path is known to have another SHA-256 than the row."""


class Known(Protocol):
    """What is known of the files that are there."""

    def names_by_hash(self, digits: str, listing: Listing) -> Sequence[tuple[str, Hit]]:
        """Listed names with this hash, the surest first."""
        ...

    def names_by_air(self, air: Air, listing: Listing) -> Sequence[str]:
        """Listed names with this AIR."""
        ...

    def names_by_version(self, version: str, listing: Listing) -> Sequence[str]:
        """Listed names with this number of a version at Civitai."""
        ...

    def sha256_of(self, name: str) -> str | None:
        """The SHA-256 that was taken of a listed file's content as it is now; None if none was."""
        ...


def resolve(wanted: Wanted, known: Known, listing: Listing, row: int | None = None) -> Resolved | None:
    """The file that a row means, or None. Raises `StackError` if several different ones may be meant.

    `listing` has the names as they are now; it is the same for all rows, because asking for it takes longer than this.
    """
    return _Search(wanted, known, listing, row).find()


_HOW: Mapping[str, Template] = {
    CONTENT: "found by its hash",
    SAID: "found by the hash in its sidecar, which was not compared with the file",
    TENSORS: "found by the hash of its tensors",
}


@dataclass(frozen=True, slots=True)
class _Search:
    """One row among the files as they are listed now."""

    wanted: Wanted
    known: Known
    listing: Listing
    row: int | None

    def find(self) -> Resolved | None:
        exact = self.listing.find_exact(self.wanted.lora, self.row) if self.wanted.is_path else None
        return self._by_hash(exact) or self._by_air(exact) or self._by_path(exact) or self._by_name()

    def _by_hash(self, exact: str | None) -> Resolved | None:
        digits = self.wanted.digits
        hits = self.known.names_by_hash(digits, self.listing) if digits else ()
        if not digits or not hits:
            return None
        if exact is not None and any(name == exact for name, _ in hits):
            return Resolved(exact)
        first, hit = hits[0]
        same = [name for name, other in hits if other.rank == hit.rank]
        if len(digits) < 64 and self._differ(same):
            raise self._ambiguous(say("The hash {digits}", digits=digits), same)
        return Resolved(first, say(_HOW[hit.rank]))

    def _by_air(self, exact: str | None) -> Resolved | None:
        air, version = self.wanted.air, self.wanted.version
        if air is not None:
            said, how = air.short, say("found by its AIR {air}", air=air.short)
            found = self.known.names_by_air(air, self.listing)
        elif version is not None:
            said = say("version {version} at Civitai", version=version)
            how = say("found by its version {version} at Civitai", version=version)
            found = self.known.names_by_version(version, self.listing)
        else:
            return None
        names = [name for name in found if not self._is_other(name)]
        if exact is not None and exact in names:
            return Resolved(exact)
        if not names:
            return None
        if self._differ(names):
            raise self._ambiguous(said, names)
        return Resolved(names[0], how)

    def _by_path(self, exact: str | None) -> Resolved | None:
        return None if exact is None else Resolved(exact, is_changed=self._is_other(exact))

    def _by_name(self) -> Resolved | None:
        """A path that leads out of the folders is no relative path at all, and is not guessed about."""
        parts = self.wanted.lora.replace("\\", "/").split("/")
        if not self.wanted.is_path or ".." in parts or "." in parts or not parts[0] or ":" in parts[0]:
            return None
        names = self.listing.named(self.wanted.lora)
        if len(names) > 1:
            raise StackError(
                say(
                    "{lora} is in {count} folders. Choose one: {names}"
                    if _are_apart(names)
                    else "{lora} is the name of {count} files. Choose one: {names}",
                    lora=quoted(self.wanted.lora),
                    count=len(names),
                    names=_some(names),
                ),
                self.row,
            )
        if not names or self._is_other(names[0]):
            return None
        return Resolved(names[0], say("the only file of that name"))

    def _differ(self, names: Sequence[str]) -> bool:
        """True unless the files are known to have one content."""
        contents = {self.known.sha256_of(name) for name in names}
        return len(names) > 1 and (None in contents or len(contents) > 1)

    def _is_other(self, name: str) -> bool:
        """True if the file's content is known not to be the one that is wanted."""
        digits = self.wanted.digits
        if digits is None or len(digits) != 64 or self.known.sha256_of(name) is None:
            return False
        return all(name != other for other, _ in self.known.names_by_hash(digits, self.listing))

    def _ambiguous(self, known: str, names: Sequence[str]) -> StackError:
        return StackError(
            say(
                "{known} belongs to several files that differ: {names}. Choose one of them.",
                known=known,
                names=_some(names),
            ),
            self.row,
        )


def _are_apart(names: Sequence[str]) -> bool:
    return len({name.replace("\\", "/").rpartition("/")[0] for name in names}) == len(names)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (" …" if len(names) > _MOST_NAMED else "")
