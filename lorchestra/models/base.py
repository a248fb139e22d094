"""A base model to check LoRAs against: a file's headers, an architecture by its name, or a live model's layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from ..architectures.blocks import BlockNames
from ..architectures.encoders import find_encoder
from ..architectures.names import ARCHITECTURES, family_titles, find_architecture
from ..architectures.signatures import find_signature
from ..architectures.sites import Shape, Site, Targets, encoder_sites, model_sites
from ..errors import CheckpointError
from ..spelling.prefixes import MODEL
from . import checkpoint
from .base_file import read_base
from .experts import find_model_expert
from .recognise import identify_base


def _not_known() -> tuple[str, ...]:
    return ()


def _no_sites() -> Mapping[str, Site]:
    return {}


def _no_name() -> str | None:
    return None


@dataclass(frozen=True)
class Base:
    """What LoRAs are checked against and applied to. What takes time to find out is found when it is first needed."""

    name: str
    """The file's name or the architecture's title, for people."""
    targets: Targets
    find_architectures: Callable[[], tuple[str, ...]] = _not_known
    hidden: bool = False
    """True if a quantization renamed or packed layers: what is not found may be there all the same."""
    notes: tuple[str, ...] = ()
    """What is worth knowing about how it was read, in sentences."""
    quantization: str = ""
    """What packed the weights of its file, as people call it; empty if they are plain or nothing is known of them."""
    find_fallback: Callable[[], Mapping[str, Site]] = _no_sites
    find_listed_name: Callable[[], str | None] = _no_name

    @cached_property
    def architectures(self) -> tuple[str, ...]:
        """What it is, the likeliest id first; empty if its layers are those of no model we know."""
        return self.find_architectures()

    @cached_property
    def block_names(self) -> BlockNames:
        """What its layers are called in weights per block."""
        return BlockNames({site.key for site in self.targets.get(MODEL, _no_sites()).values()})

    @cached_property
    def fallback(self) -> Mapping[str, Site]:
        """Places by full module name, for modules that our own names do not place."""
        return self.find_fallback()

    @cached_property
    def expert(self) -> str | None:
        """`HIGH` or `LOW` if it is known to be that one of a pair, by the name under which its file is listed."""
        name = self.find_listed_name()
        return None if name is None else find_model_expert(name, self.architectures)

    @property
    def title(self) -> str:
        """What people call it: `SDXL`, or the name of the file."""
        titles = family_titles(self.architectures, 1)
        return titles[0] if titles else self.name


def read_base_model(path: str | Path) -> Base:
    """The base in a checkpoint, a diffusion model alone, shards or a GGUF file, from headers alone.

    Raises `CheckpointError` or `HeaderError` as `read_base`, and `CheckpointError` if there is no diffusion model.
    """
    found = read_base(path)
    targets = checkpoint.targets(found.shapes)
    if MODEL not in targets:
        raise CheckpointError(path, "this file holds no diffusion model")
    architectures = identify_base(checkpoint.model_tensors(found.shapes))
    name = Path(path).name
    return Base(
        name,
        targets,
        lambda: architectures,
        found.renamed or bool(found.packed),
        found.notes,
        found.quantization,
        find_listed_name=lambda: name,
    )


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
                    layer: Site(f"{encoder.comfyui}.{layer}", shape)
                    for layer, shape in (*encoder.shapes(), *encoder.parameters())
                }
    targets: dict[str, Mapping[str, Site]] = {**encoder_sites(encoders), MODEL: model_sites(tensors)}
    return Base(row.title, targets, lambda: (architecture,))


def architecture_ids() -> tuple[str, ...]:
    """The ids that `base_by_name` knows."""
    return tuple(row.id for row in ARCHITECTURES if find_signature(row.id))
