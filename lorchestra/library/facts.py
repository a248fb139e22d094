"""What is known of one listed file: from its header and its sidecars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import LorchestraError
from ..files.hashes import find_hash
from ..files.header import read_header_text
from .natures import Natures
from .sidecars import Sidecars, read_sidecars

UNREADABLE = "unreadable"
"""The kind of files that are not sound safetensors files."""

_MOST_TRIGGERS = 16
_MOST_TAGS = 32


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
    nsfw: bool = False
    """Whether a sidecar says that its pictures are not safe for work."""
    tags: tuple[str, ...] = ()
    """Those that a sidecar says."""
    favourite: bool | None = None
    """Whether a sidecar says that it is one; None if none says anything."""


@dataclass(frozen=True, slots=True)
class File:
    """One listed file."""

    name: str
    """As ComfyUI lists it."""
    path: str
    size: int
    modified_ns: int
    images: int = 0
    """How many preview images are beside it."""
    videos: int = 0
    """How many preview videos."""
    beside: tuple[str, ...] = field(repr=False, default=())
    """The sidecars that are there."""
    stamp: tuple[int, ...] = field(repr=False, default=())
    """Changes when the file or a sidecar does."""


_HASHES = ("sshs_model_hash", "modelspec.hash_sha256")


def with_hash(facts: Facts, sha256: str | None) -> Facts:
    if sha256 is None or facts.sha256 == sha256:
        return facts
    return replace(facts, sha256=sha256)


def read_facts(file: File, natures: Natures) -> Facts:
    """Reads the header and the sidecars; total. `natures` remembers what names and shapes tell, for other files."""
    beside = read_sidecars(file.path, file.beside)
    from ..lora.metadata import claims

    try:
        text = read_header_text(file.path)
        said = claims(text.metadata) if text.metadata else ()
        nature = natures.read(text, said)
    except (LorchestraError, OSError):
        return facts_of(UNREADABLE, beside, {})
    facts = facts_of(nature.kind, beside, text.metadata, nature.architectures, nature.family)
    return replace(facts, algorithm=nature.algorithm, rank=nature.rank)


def facts_of(
    kind: str,
    beside: Sidecars,
    metadata: Mapping[str, str],
    architectures: tuple[str, ...] = (),
    family: tuple[str, ...] = (),
) -> Facts:
    """The facts as the sidecars, the metadata and what was found in the tensors tell them."""
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
        nsfw=beside.nsfw is True,
        tags=beside.tags[:_MOST_TAGS],
        favourite=beside.favourite,
        words=words,
    )
