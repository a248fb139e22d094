"""Which blocks a model has, what their layers are called in weights per block, and which of them a LoRA changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..architectures.blocks import in_order, numbered
from ..architectures.sites import Targets, has_text_encoders
from ..lora.file import LoraFile
from ..models.base import Base, base_by_name
from ..models.placing import place
from ..spelling.prefixes import MODEL


@dataclass(frozen=True, slots=True)
class Kind:
    """Layers of one block that no pattern can tell apart."""

    labels: Mapping[str, int | None]
    """What they are called: see `architectures/blocks.py`."""
    layers: int
    touched: int
    """How many of them the LoRA changes."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the diffusion model, or one that stands in a text encoder, or what stands outside of all blocks."""

    name: str
    """`double_blocks`; of a text encoder with its name: `clip_l.layers`."""
    number: int | None
    encoder: str
    """The text encoder that it is of; empty for the diffusion model's."""
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class BlockLayout:
    """All blocks of one model, as data flows through a UNet, else by name and number; text encoders last."""

    base: Base
    blocks: tuple[Block, ...]
    lacking: int | None
    """Modules of the LoRA that have no layer here; None if there is no file to look into."""

    def to_json(self) -> dict[str, object]:
        """For the face; `of` are the labels, `n` the layers and `on` those that the LoRA changes."""
        return {
            "title": self.base.title,
            "lacking": self.lacking,
            "blocks": [
                {
                    "name": block.name,
                    "number": block.number,
                    "encoder": block.encoder,
                    "kinds": [{"of": dict(kind.labels), "n": kind.layers, "on": kind.touched} for kind in block.kinds],
                }
                for block in self.blocks
            ],
        }


def find_layout(base: Base | None, file: LoraFile | None) -> BlockLayout | None:
    """The blocks of a model and what a LoRA's file changes in them; None if nothing is known of either.

    Without a model, they are those of the model that the file is made for. The text encoders are those that the model
    is used with, where its own file has none.
    """
    if base is None:
        made_for = file.examined.identity.likeliest if file else None
        base = base_by_name(made_for) if made_for else None
    if base is None:
        return None
    targets = _with_encoders(base)
    touched: set[str] = set()
    lacking = None
    if file is not None:
        placement = place(file.reading.modules, targets)
        touched = {placed.site.key for placed in placement.placed}
        lacking = len(placement.unmatched) + len(placement.misshapen)
    counts: dict[tuple[bool, str], dict[tuple[tuple[str, int | None], ...], list[int]]] = {}
    for key, is_encoder in _layers(targets, touched):
        labels = base.block_names.labels(key, is_encoder)
        kinds = counts.setdefault((is_encoder, _block_of(labels)), {})
        count = kinds.setdefault(tuple(labels.items()), [0, 0])
        count[0] += 1
        count[1] += key in touched
    blocks = sorted(counts, key=lambda at: (at[0], in_order(at[1])))
    return BlockLayout(
        base, tuple(_block(name, is_encoder, counts[is_encoder, name]) for is_encoder, name in blocks), lacking
    )


def _block_of(labels: Mapping[str, int | None]) -> str:
    """The block's whole name, from the first of its labels: `double_blocks.3`."""
    name, number = next(iter(labels.items()))
    return name if number is None else f"{name}.{number}"


def _block(whole: str, is_encoder: bool, kinds: Mapping[tuple[tuple[str, int | None], ...], list[int]]) -> Block:
    name, number = numbered(whole)
    encoder = name.partition(".")[0] if is_encoder else ""
    return Block(
        name, number, encoder, tuple(Kind(dict(labels), layers, touched) for labels, (layers, touched) in kinds.items())
    )


def _layers(targets: Targets, touched: set[str]) -> list[tuple[str, bool]]:
    """(key, whether it is a text encoder's) of all matrices, and of norms and biases that the LoRA changes."""
    found: dict[str, bool] = {}
    for component, sites in targets.items():
        for site in sites.values():
            if site.key in touched or site.shape is None or len(site.shape) > 1:
                found.setdefault(site.key, component != MODEL)
    return list(found.items())


def _with_encoders(base: Base) -> Targets:
    loaded = base_by_name(base.architectures[0]) if base.architectures else None
    if loaded is None or has_text_encoders(base.targets):
        return base.targets
    return {**loaded.targets, **base.targets}
