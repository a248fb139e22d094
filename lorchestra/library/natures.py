"""What a file's names, shapes and dtypes tell of it; remembered, because many LoRAs of a library have the same ones."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING

from ..files.header import HeaderText, parse_text

if TYPE_CHECKING:
    from ..lora.metadata import Claim
    from ..spelling.modules import Module

BROKEN = "broken"
"""The kind of LoRAs that cannot be applied."""

MOST = 4096
"""Natures that are remembered; one takes less than a kilobyte."""


@dataclass(frozen=True, slots=True)
class Nature:
    """What a file is by its tensors; see `Facts`, which has the same words."""

    kind: str
    architectures: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    algorithm: str | None = None
    rank: int | None = None


class Natures:
    """The natures of the structures that were met last, at most so many; from any thread."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[tuple[bytes, tuple[str, ...]], Nature] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, text: HeaderText, said: tuple[Claim, ...]) -> Nature:
        """The nature of a file, by its structure if that was met before. Raises `HeaderError` as `read_header` does.

        `said` is what the metadata claims. All else that the metadata say must not matter: where it was looked at,
        nothing is remembered.
        """
        structure = text.structure
        if structure is None:
            return _read(text, said)
        key = structure, tuple(dict.fromkeys(name for claim in said for name in claim.architectures))
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        watched = _Watched(text.metadata)
        nature = _read(replace(text, metadata=watched), said)
        if not watched.was_looked_at:
            with self._lock:
                self._known[key] = nature
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return nature

    def __len__(self) -> int:
        return len(self._known)


class _Watched(Mapping[str, str]):
    """Metadata that know whether anybody looked at them."""

    def __init__(self, metadata: Mapping[str, str]) -> None:
        self._metadata = metadata
        self.was_looked_at = False

    def __getitem__(self, key: str) -> str:
        self.was_looked_at = True
        return self._metadata[key]

    def __iter__(self) -> Iterator[str]:
        self.was_looked_at = True
        return iter(self._metadata)

    def __len__(self) -> int:
        self.was_looked_at = True
        return len(self._metadata)


def _read(text: HeaderText, said: tuple[Claim, ...]) -> Nature:
    from ..lora.examined import examine  # it needs all that is known of models, which takes a while to load
    from ..spelling import kinds

    examined = examine(parse_text(text), said=said)
    is_broken = examined.kind == kinds.LORA and examined.problem
    architectures, family = _meant(examined.identity.made_for)
    algorithm, rank = _kind_and_rank(examined.reading.alike)
    return Nature(BROKEN if is_broken else examined.kind, architectures, family, algorithm, rank)


@lru_cache(maxsize=1000)
def _meant(made_for: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids of all that a file for these is meant to work on, and titles of the families, the likeliest first.

    Remembered, because ten thousand LoRAs are for a handful of models.
    """
    from ..architectures.names import ARCHITECTURES, are_interchangeable, family_titles

    meant = [row.id for row in ARCHITECTURES if any(are_interchangeable(row.id, one) for one in made_for)]
    others = [one for one in meant if one not in made_for]
    return (*made_for, *others), tuple(family_titles(made_for, 6))


def _kind_and_rank(groups: Sequence[tuple[Module, int]]) -> tuple[str | None, int | None]:
    """The algorithm of most modules, and the median of their ranks."""
    kinds: Counter[str] = Counter()
    ranks: list[int] = []
    for module, count in groups:
        kinds[module.kind] += count
        ranks += [module.rank] * count if module.rank else []
    return next((kind for kind, _ in kinds.most_common(1)), None), int(median(ranks)) if ranks else None
