"""What is known of one listed file: from its header and its sidecars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING

from ..errors import LorchestraError
from ..files.hashes import find_hash
from .sidecars import Sidecars, read_sidecars

if TYPE_CHECKING:
    from ..spelling.modules import Module

UNREADABLE = "unreadable"
"""The kind of files that are not sound safetensors files."""
BROKEN = "broken"
"""The kind of LoRAs that cannot be applied."""

_MOST_TRIGGERS = 16


@dataclass(frozen=True, slots=True)
class Facts:
    """What a file's header and sidecars say, as far as a list needs it."""

    kind: str
    """`lora`, `broken`, `unreadable`, or what else it is: see `spelling/kinds.py`."""
    architectures: tuple[str, ...] = ()
    """Ids of all that it is meant to work on: those that its tensors tell, and who stands in for them."""
    family: tuple[str, ...] = ()
    """Titles of the families that its tensors tell, the likeliest first."""
    title: str | None = None
    triggers: tuple[str, ...] = ()
    """To search by: its trigger words; where nobody states any, the most frequent tags of its training."""
    sha256: str | None = None
    """Of the whole file, if a sidecar says it or it was asked for."""
    hashes: frozenset[str] = frozenset()
    """Of the tensors alone, as the metadata has them."""
    said: frozenset[str] = frozenset()
    """Other hashes that a sidecar says: AutoV1, AutoV2, AutoV3, BLAKE3, CRC32."""
    air: str | None = None
    algorithm: str | None = None
    """That of most modules: `LoRA`, `LoHa` …"""
    rank: int | None = None
    """The median over the modules."""
    words: tuple[str, ...] = ()
    """The trigger words that a sidecar or the header's `modelspec.trigger_phrase` states; no tags."""


@dataclass(frozen=True, slots=True)
class File:
    """One listed file."""

    name: str
    """As ComfyUI lists it."""
    path: str
    size: int
    modified_ns: int
    has_preview: bool
    beside: tuple[str, ...] = field(repr=False, default=())
    """The sidecars that are there."""
    stamp: tuple[int, ...] = field(repr=False, default=())
    """Changes when the file or a sidecar does."""


_HASHES = ("sshs_model_hash", "modelspec.hash_sha256")


def with_hash(facts: Facts, sha256: str | None) -> Facts:
    if sha256 is None or facts.sha256 == sha256:
        return facts
    return replace(facts, sha256=sha256)


def read_facts(file: File) -> Facts:
    """Reads the header and the sidecars; total."""
    beside = read_sidecars(file.path, file.beside)
    from ..lora.examined import read_examined  # it needs all that is known of models, which takes a while to load

    try:
        examined = read_examined(file.path)
    except (LorchestraError, OSError):
        return _facts(UNREADABLE, beside, {})
    from ..architectures.names import ARCHITECTURES, are_interchangeable, family_titles
    from ..spelling import kinds

    made_for = examined.identity.made_for
    meant = [row.id for row in ARCHITECTURES if any(are_interchangeable(row.id, one) for one in made_for)]
    kind = BROKEN if examined.kind == kinds.LORA and examined.problem else examined.kind
    others = [one for one in meant if one not in made_for]
    architectures = _shared(*made_for, *others)
    facts = _facts(kind, beside, examined.header.metadata, architectures, _shared(*family_titles(made_for, 6)))
    algorithm, rank = _kind_and_rank(examined.reading.modules)
    return replace(facts, algorithm=algorithm, rank=rank)


def _kind_and_rank(modules: Sequence[Module]) -> tuple[str | None, int | None]:
    """The algorithm of most modules, and the median of their ranks; modules of one shape are looked at once."""
    alike: dict[tuple[object, ...], tuple[Module, int]] = {}
    for module in modules:
        key = (module.algorithm, *module.shapes.items())
        first, count = alike.get(key, (module, 0))
        alike[key] = first, count + 1
    kinds: Counter[str] = Counter()
    ranks: list[int] = []
    for module, count in alike.values():
        kinds[module.kind] += count
        ranks += [module.rank] * count if module.rank else []
    return next((kind for kind, _ in kinds.most_common(1)), None), int(median(ranks)) if ranks else None


def _facts(
    kind: str,
    beside: Sidecars,
    metadata: Mapping[str, str],
    architectures: tuple[str, ...] = (),
    family: tuple[str, ...] = (),
) -> Facts:
    from ..lora.metadata import shorten, trigger_phrase, trigger_words

    hashes = (find_hash(metadata.get(key, "")) for key in _HASHES)
    title = beside.title or shorten(metadata.get("modelspec.title", "")) or None
    words = beside.triggers or trigger_phrase(metadata)
    return Facts(
        kind,
        architectures,
        family,
        title,
        (words or trigger_words(metadata))[:_MOST_TRIGGERS],
        beside.sha256,
        frozenset(item for item in hashes if item and len(item) == 64),
        frozenset(beside.hashes),
        beside.air,
        words=words,
    )


@lru_cache(maxsize=1000)
def _shared(*items: str) -> tuple[str, ...]:
    """One tuple for equal ones: ten thousand LoRAs are for a handful of models."""
    return items
