"""What a LoRA file is, from its header alone: kind, modules, algorithms, architectures, and why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..architectures.encoders import encoder_titles
from ..architectures.names import are_interchangeable, family_titles
from ..errors import quoted, shortened
from ..files.header import Header, read_header
from ..models.experts import find_model_expert, listed_part
from ..sentences import say
from ..spelling import kinds
from ..spelling.modules import Module, Reading
from ..spelling.prefixes import MODEL
from ..spelling.qkv import FORMAT_KEY, is_known_format
from ..spelling.scales import Scales, read_scales, scales_in_words
from .identify import Identity, explain, find_encoders, identify
from .metadata import Claim, claims, schedule, unread
from .problems import find_problem
from .reading import read

DISTILLED = ("lightning", "lightx2v")
"""Parts of a file's name, in small letters, that say it was distilled: nothing in the tensors does."""


@dataclass(frozen=True)
class Examined:
    """A file and what its header says."""

    header: Header
    reading: Reading
    kind: str
    """`lora`, or what it is instead: see `spelling/kinds.py`."""
    claims: tuple[Claim, ...]
    """What the metadata says the base model was; of the least weight."""
    identity: Identity

    @property
    def path(self) -> str:
        """The file's path."""
        return self.header.path

    @cached_property
    def problem(self) -> str | None:
        """Why the file cannot be applied, in words; None for a sound LoRA. Values are not looked at."""
        if self.kind != kinds.LORA:
            return say("this is {kind}, not a LoRA", kind=kinds.title(self.kind))
        problem = find_problem(self.header, self.reading)
        return problem or (None if self.reading.modules else say("no layer of any model is named in it"))

    @cached_property
    def scales(self) -> Scales | None:
        """The scales that the metadata, or settings beside the file, give to modules without an alpha."""
        return read_scales(self.header)

    @property
    def evidence(self) -> list[str]:
        """The deciding evidence for the likeliest architecture, in sentences."""
        return explain(self.reading.modules, self.identity)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What is worth knowing, in sentences."""
        return tuple(_warnings(self))


def examine(
    header: Header, reading: Reading | None = None, kind: str = "", said: tuple[Claim, ...] | None = None
) -> Examined:
    """Examines a file by its header; pure and total.

    `reading` and `kind`, of `read`, save reading it again, and `said` looking for claims in the metadata.
    """
    if reading is None:
        reading, kind = read(header)
    kind = kind or kinds.kind(header, reading)
    if said is None:
        said = claims(header.metadata) if header.metadata else ()
    claimed = [name for claim in said for name in claim.architectures]
    sound = reading.modules if kind == kinds.LORA else ()
    return Examined(header, reading, kind, said, identify(sound, claimed))


def scale_notes(scales: Scales, modules: Iterable[Module]) -> Iterator[str]:
    """What settings say about the scale of these modules where it is not 1, and what is not applied, in words."""
    said = [scale for module in modules if (scale := scales.scale(module)) is not None]
    if any(scale != 1 for scale in said):
        yield say("{scales} from {where}", scales=scales_in_words(said), where=scales.where)
    yield from scales.warnings


def read_examined(path: str | Path) -> Examined:
    """Reads a file's header and examines it; raises `HeaderError` if it is not a sound safetensors file."""
    return examine(read_header(path))


def _warnings(examined: Examined) -> Iterable[str]:
    reading, identity = examined.reading, examined.identity
    if reading.leftovers and examined.kind == kinds.LORA:
        first = shortened(reading.leftovers[0])
        yield f"{len(reading.leftovers)} tensors belong to no module and are left aside, e.g. {first}"
    if reading.embeddings:
        yield f"bundled embeddings are left aside: {', '.join(map(shortened, reading.embeddings[:8]))}"
    if len(reading.spellings) > 1:
        yield f"the file mixes spellings: {', '.join(reading.spellings)}"
    if examined.kind == kinds.LORA and examined.problem:
        yield f"broken: {examined.problem}"
    for claim in examined.claims:
        if claim.architectures and identity.architectures:
            fits = any(
                are_interchangeable(one, other) for one in claim.architectures for other in identity.architectures
            )
            if not fits:
                said = " or ".join(family_titles(claim.architectures)) or "another model"
                found = " or ".join(family_titles(identity.best))
                yield f"its metadata says {said} ({claim.key}: {shortened(claim.value)}), its tensors say {found}"
    titles = family_titles(identity.best, 6)
    if len(titles) > 1:
        yield f"its names and shapes fit {', '.join(titles)} equally well"
    if reading.modules and examined.kind == kinds.LORA and all(item.component != MODEL for item in reading.modules):
        encoders = encoder_titles(find_encoders(reading.modules))
        which = f", {encoders}" if encoders else ""
        yield f"it changes a text encoder alone{which}: it needs a CLIP, and a CLIP weight"
    expert = find_model_expert(listed_part(examined.path), identity.made_for)
    if expert:
        yield f"by its name: for the {expert}-noise model of a pair such as Wan 2.2"
    if any(word in Path(examined.path).name.lower() for word in DISTILLED):
        yield "by its name: a distillation, for fewer steps and other sampler settings"
    if examined.scales:
        yield from scale_notes(examined.scales, reading.modules)
    if any(module.by_head for module in reading.modules):
        yield "its q, k and v stand head by head, and are brought to the model's order"
    sigmas = schedule(examined.header.metadata)
    if sigmas:
        yield sigmas
    form = examined.header.metadata.get(FORMAT_KEY)
    if form is not None and not is_known_format(form):
        yield f"its metadata entry {FORMAT_KEY} says {quoted(form)}, which is not known; it is read by its names"
    for key in unread(examined.header.metadata):
        yield f"the metadata entry {key} is too long and was not read"
    for note in examined.header.unreadable:
        yield f"the metadata cannot be read in full: {note}"
