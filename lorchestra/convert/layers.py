"""The layers whose names a conversion takes: those of an architecture, or of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..architectures.encoders import BERT, LLM, XLM_ROBERTA, find_encoder
from ..architectures.names import Architecture, are_related, family_titles, find_architecture, title
from ..architectures.signatures import find_signature
from ..architectures.sites import Place, Shape, Site, Targets, encoder_sites, model_sites
from ..errors import AdapterError, CheckpointError
from ..lora.examined import Examined
from ..models import checkpoint
from ..models.base_file import read_base
from ..models.placing import place
from ..models.recognise import identify_base
from ..spelling.prefixes import MODEL


@dataclass(frozen=True, slots=True)
class Layers:
    """The model that names are taken from."""

    architecture: Architecture
    shapes: Mapping[str, Shape | None]
    """Native tensor name → shape."""
    targets: Targets
    """Sites whose keys are native names, of text encoders `<ComfyUI's word>.<layer as ComfyUI calls it>`."""


def layers_by_name(architecture: str) -> Layers | None:
    """The layers of an architecture; None for an unknown id."""
    row, signature = find_architecture(architecture), find_signature(architecture)
    return _layers(row, dict(signature.shapes)) if row and signature else None


def _layers(row: Architecture, shapes: Mapping[str, Shape | None]) -> Layers:
    encoders: dict[str, dict[str, Site]] = {}
    for ids in row.encoders.values():
        for name in ids:
            encoder = find_encoder(name)
            if encoder and encoder.comfyui not in encoders:
                encoders[encoder.comfyui] = {
                    layer: Site(f"{encoder.comfyui}.{_comfyui_layer(encoder.kind, layer)}", shape)
                    for layer, shape in (*encoder.shapes(), *encoder.parameters())
                }
    sites = model_sites({name: (name, shape) for name, shape in shapes.items()})
    return Layers(row, shapes, {**encoder_sites(encoders), MODEL: sites})


_STARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    LLM: (
        ("model.language_model.layers.", "language_model.model.layers.", "language_model.layers.", "layers."),
        "model.layers.",
    ),
    XLM_ROBERTA: (("encoder.layers.",), "model.encoder.layers."),
    BERT: (("encoder.layer.",), "bert.encoder.layer."),
}
"""Kind of encoder → starts of layer names in use, and ComfyUI's own."""


def _comfyui_layer(kind: str, layer: str) -> str:
    starts, native = _STARTS.get(kind, ((), ""))
    return next((native + layer[len(start) :] for start in starts if layer.startswith(start)), layer)


def choose_layers(examined: Examined, architecture: str | None, model: str | Path | None) -> Layers:
    """The layers of a checkpoint, of the architecture with that id, or of what the file is for by its tensors.

    With both, the shapes are the checkpoint's and the names the architecture's. Raises `AdapterError` if the file
    does not tell what it is for, and `CheckpointError` or `HeaderError` for a checkpoint that cannot be used.
    """
    if model is not None:
        return _read_layers(model, architecture)
    identity = examined.identity
    if architecture is None and not identity.architectures:
        near = identity.partial[0] if identity.partial else None
        most = f"; {family_titles([near.id])[0]} has {near.share:.0%} of them" if near else ""
        raise AdapterError(
            examined.path, "", f"no model that we know has all of its layers{most}. Name what it is for: --architecture"
        )
    found = layers_by_name(architecture or identity.architectures[0])
    if found is None:
        raise AdapterError(examined.path, "", f"{architecture} is not the id of an architecture")
    if architecture is None:
        first = _places(examined, found)
        for other in identity.best[1:]:
            # a relative has other layers too, but the first one is what people mean
            layers = None if are_related(other, found.architecture.id) else layers_by_name(other)
            if layers and _places(examined, layers) != first:
                raise AdapterError(
                    examined.path,
                    "",
                    f"it fits {found.architecture.title} and {title(other)} equally well, which call its layers "
                    f"differently. Say which: --architecture {found.architecture.id} or {other}",
                )
    return found


def _places(examined: Examined, layers: Layers) -> list[tuple[str, str, Place]]:
    placement = place(examined.reading.modules, layers.targets)
    return [(item.module.name, item.site.key, item.site.place) for item in placement.placed]


def _read_layers(model: str | Path, architecture: str | None) -> Layers:
    found = read_base(model)
    shapes = checkpoint.model_tensors(found.shapes)
    name = architecture or next(iter(identify_base(shapes)), "")
    row = find_architecture(name)
    if row is None:
        raise CheckpointError(model, "its layers are those of no model that we know; name it: --architecture")
    return _layers(row, shapes)
