"""A base model to check LoRAs against: a file's headers, an architecture by its name, or a live model's layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..architectures.encoders import find_encoder
from ..architectures.names import ARCHITECTURES, family_titles, find_architecture
from ..architectures.signatures import find_signature
from ..errors import CheckpointError
from ..lora.identify import identify_base
from ..spelling.prefixes import MODEL
from . import checkpoint
from .base_file import read_base
from .placing import Shape, Site, Targets, encoder_sites, model_sites


@dataclass(frozen=True, slots=True)
class Base:
    """What LoRAs are checked against."""

    name: str
    """The file's name or the architecture's title, for people."""
    targets: Targets
    architectures: tuple[str, ...]
    """What it is, the likeliest id first; empty where its layers are those of no model we know."""
    hidden: bool = False
    """True where a quantization renamed or packed layers: what is not found may be there all the same."""
    notes: tuple[str, ...] = ()
    """What somebody should know about how it was read, in sentences."""

    @property
    def title(self) -> str:
        """What people call it: `SDXL`, or the name of the file."""
        titles = family_titles(self.architectures, 1)
        return titles[0] if titles else self.name


def read_base_model(path: str | Path) -> Base:
    """The base in a checkpoint, a diffusion model alone, shards or a GGUF file, from headers alone.

    Raises `CheckpointError` or `HeaderError` as `read_base`, and `CheckpointError` where there is no diffusion model.
    """
    found = read_base(path)
    targets = checkpoint.targets(found.shapes)
    if MODEL not in targets:
        raise CheckpointError(path, "this file holds no diffusion model")
    architectures = identify_base(checkpoint.model_tensors(found.shapes))
    return Base(Path(path).name, targets, architectures, found.renamed or bool(found.packed), found.notes)


@cache
def base_by_name(architecture: str) -> Base | None:
    """The base that has all layers of an architecture and of its text encoders; None for an unknown id."""
    signature = find_signature(architecture)
    row = find_architecture(architecture)
    if signature is None or row is None:
        return None
    tensors: Mapping[str, tuple[str, Shape | None]] = {name: (name, shape) for name, shape in signature.shapes.items()}
    encoders: dict[str, dict[str, Site]] = {}
    for ids in row.encoders.values():
        for name in ids:
            encoder = find_encoder(name)
            if encoder and encoder.comfyui not in encoders:
                encoders[encoder.comfyui] = {
                    layer: Site(f"{encoder.comfyui}.{layer}", shape) for layer, shape in encoder.shapes()
                }
    targets: dict[str, Mapping[str, Site]] = {**encoder_sites(encoders), MODEL: model_sites(tensors)}
    return Base(row.title, targets, (architecture,))


def architecture_ids() -> tuple[str, ...]:
    """The ids that `base_by_name` knows."""
    return tuple(row.id for row in ARCHITECTURES if find_signature(row.id))
