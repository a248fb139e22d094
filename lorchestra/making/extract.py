"""The difference of two models as a LoRA file: each layer by singular values, what is no matrix whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ..architectures.names import family_titles
from ..architectures.sites import WHOLE, Site, Targets
from ..convert.by_layer import LayerNames
from ..convert.layers import Layers, layers_by_name
from ..errors import CheckpointError, LorchestraError, shortened
from ..files.header import read_header
from ..files.key import read_sha256
from ..files.new_file import check_output
from ..lora.reading import read
from ..models import checkpoint
from ..models.base_file import find_files
from ..models.recognise import identify_base
from ..spelling import kinds
from ..spelling.prefixes import MODEL, TEXT_ENCODERS
from ..spelling.targets import COMFYUI
from .low_rank import Limit
from .merge import Made, Progress, write_delta
from .new_lora import DTYPE_NAMES, Errors, HalfNames, new_lora
from .record import METADATA_KEY, extracted_metadata, name_of, record
from .weights import Weights, open_weights

_NO_DIFFERENCE = "their weights are equal, as far as their dtypes can tell: there is nothing to extract"


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer that both models have."""

    name: str
    """In the new file, without a slot."""
    is_bias: bool
    tuned: Site
    base: Site

    @property
    def whole_name(self) -> str:
        """What a whole difference is called."""
        return f"{self.name}.diff_b" if self.is_bias else f"{self.name}.diff"

    def tensor_names(self) -> Iterator[str]:
        """All tensors that it may have."""
        names = HalfNames.of(self.name)
        yield from (self.whole_name, names.up, names.down, names.alpha)


def extract(
    tuned: str | Path,
    base: str | Path,
    output: str | Path,
    limit: Limit,
    *,
    low_rank_only: bool = False,
    dtype: str | None = None,
    architecture: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Writes what `tuned` has that `base` has not as a LoRA for `base`, layer by layer.

    Matrices and kernels become halves within the limit. Biases, norms and other vectors are written whole, or left out
    with `low_rank_only`. Layers are equal where they are so in the narrower of both dtypes. The result has ComfyUI's
    names. Raises `CheckpointError` and `HeaderError` for models that cannot be read or differ in kind or shape,
    and `LorchestraError` if there is no difference.
    """
    path = Path(output)
    inputs = [*find_files(tuned), *find_files(base)]
    check_output(path, inputs, "one of the models", force)
    with open_weights(tuned) as one, open_weights(base) as other:
        layers = _choose_layers(one, other, architecture)
        found, notes = _find_layers(one, other, layers)
        first = next((layer for layer in found if not layer.is_bias), found[0])
        kind = DTYPE_NAMES[dtype] if dtype else _default_dtype(one.dtype(first.tuned))
        word = next(name for name, value in DTYPE_NAMES.items() if value == kind)
        facts = {"rank": limit.rank, "energy": limit.energy, "dtype": word}
        metadata = extracted_metadata(_metadata(one), _metadata(other))
        sources = [
            {"role": role, "name": name_of(name), "sha256": read_sha256(name)}
            for role, weights in (("tuned", one), ("base", other))
            for name in weights.base.files
        ]
        errors, equal, whole, left_out = Errors(), 0, 0, Counter[str]()
        known = {**metadata, METADATA_KEY: record("extract", facts, sources, errors)}
        names = (name for layer in found for name in layer.tensor_names())
        with new_lora(path, force, names, known) as new:
            for done, layer in enumerate(found, 1):
                if progress:
                    progress(done - 1, len(found))
                after, before = one.read(layer.tuned), other.read(layer.base)
                if after.shape != before.shape:
                    if after.numel() != before.numel() or after.shape[0] != before.shape[0]:
                        raise _misshapen(one, other, layer, list(after.shape), list(before.shape))
                    after = after.reshape(before.shape)
                if _is_equal(after, before, one.dtype(layer.tuned), other.dtype(layer.base)):
                    equal += 1
                    continue
                delta = (after.double() - before.double()).reshape(before.shape[0] if before.dim() else 1, -1)
                if low_rank_only and (before.dim() < 2 or min(delta.shape) == 1):
                    left_out["vectors"] += 1
                    continue
                half_names = HalfNames.of(layer.name)
                write_delta(new, layer.name, layer.whole_name, half_names, delta, before.shape, limit, kind, errors)
                whole += layer.whole_name in new.entries
            if not new.entries:
                reason = _NO_DIFFERENCE
                if left_out:
                    reason = "they differ in biases, norms and other vectors alone, which --low-rank-only leaves out"
                raise LorchestraError(f"{Path(tuned).name} and {Path(base).name}: {reason}")
            strange = _strange(one, other, found)
            metadata[METADATA_KEY] = record("extract", facts, sources, errors)
            examined = new.finish(metadata, other.targets)
    notes += strange
    if equal:
        notes.append(f"{equal} layers are equal in both")
    if left_out:
        notes.append(f"{left_out['vectors']} biases, norms and other vectors differ and are left out (--low-rank-only)")
    done_layers = len(found) - equal - left_out["vectors"]
    return Made(
        str(path),
        examined,
        layers.architecture.title,
        done_layers,
        whole,
        tuple(new.ranks),
        word,
        errors,
        notes=tuple(notes),
    )


def _choose_layers(tuned: Weights, base: Weights, architecture: str | None) -> Layers:
    """The layers of the architecture that both models are, or of the one with that id."""
    for weights in (tuned, base):
        if len(weights.base.files) == 1 and read(read_header(weights.base.files[0]))[1] == kinds.LORA:
            raise CheckpointError(weights.path, "this is a LoRA, not a model")
        if MODEL not in weights.targets:
            raise CheckpointError(weights.path, "this file holds no diffusion model")
        if weights.base.quantization:
            raise CheckpointError(
                weights.path,
                f"its weights are quantized ({weights.base.quantization}). Take the fp16, bf16 or fp8 checkpoint",
            )
    if architecture is None:
        ids = [identify_base(checkpoint.model_tensors(weights.base.shapes)) for weights in (tuned, base)]
        for weights, own in zip((tuned, base), ids, strict=True):
            if not own:
                raise CheckpointError(
                    weights.path, "its layers are those of no model that we know; name it: --architecture"
                )
        architecture = next((name for name in ids[0] if name in ids[1]), None)
        if architecture is None:
            titles = [" or ".join(family_titles(own, 2)) for own in ids]
            raise CheckpointError(
                tuned.path,
                f"this is {titles[0]}, and {Path(base.path).name} is {titles[1]}. A difference is taken between two "
                "models of one kind",
            )
    layers = layers_by_name(architecture)
    if layers is None:
        raise CheckpointError(tuned.path, f"nothing is known of the layers of {architecture}")
    return layers


def _find_layers(tuned: Weights, base: Weights, layers: Layers) -> tuple[list[_Layer], list[str]]:
    """All layers that both have, and what is not compared, in sentences."""
    names = LayerNames(layers, COMFYUI)
    result: list[_Layer] = []
    only: dict[str, list[str]] = {"tuned": [], "base": []}
    for component in (MODEL, TEXT_ENCODERS):
        for flat, key in _native(layers.targets, component):
            pair = [weights.targets.get(component, {}).get(flat) for weights in (tuned, base)]
            one, other = pair
            if one is None and other is None:
                continue
            if one is None or other is None:
                only["base" if one is None else "tuned"].append(key)
                continue
            is_bias = key.endswith(".bias")
            layer = key.removesuffix(".bias" if is_bias else ".weight")
            if one.shape is not None and other.shape is not None and one.shape[:1] != other.shape[:1]:
                raise _misshapen(tuned, base, _Layer(layer, is_bias, one, other), list(one.shape), list(other.shape))
            result.append(_Layer(names.of(layer, component), is_bias, one, other))
    if not result:
        raise CheckpointError(tuned.path, f"it has no layer of {layers.architecture.title} that the other model has")
    notes = [
        f"{len(found)} layers that only {Path(weights.path).name} has are left out, e.g. {shortened(found[0])}"
        for weights, found in ((tuned, only["tuned"]), (base, only["base"]))
        if found
    ]
    if any(name.startswith(_VAE) for name in tuned.base.shapes):
        notes.append("the VAE is not compared: a LoRA cannot change it")
    return result, notes


def _strange(tuned: Weights, base: Weights, found: Iterable[_Layer]) -> list[str]:
    """What differs, but is no layer of the architecture, in a sentence."""
    known = {site.key for layer in found for own in (layer.tuned, layer.base) for site in (own.pieces or (own,))}
    different: list[str] = []
    for key, shape in tuned.base.shapes.items():
        if key in known or shape is None or key.startswith(_VAE) or base.base.shapes.get(key) != shape:
            continue
        site = Site(key, shape)
        if not tuned.is_plain(key) or not base.is_plain(key):
            continue
        if not _is_equal(tuned.read(site), base.read(site), tuned.dtype(site), base.dtype(site)):
            different.append(key)
    if not different:
        return []
    count = len(different)
    return [f"tensors that are no layer of this model are left out: {count} differ, e.g. {shortened(different[0])}"]


_VAE = ("first_stage_model.", "vae.")


def _native(targets: Targets, component: str) -> Iterator[tuple[str, str]]:
    """(flattened name, key) of each layer of a component, once."""
    seen: set[str] = set()
    for flat, site in targets.get(component, {}).items():
        if site.place == WHOLE and not site.pieces and site.key not in seen:
            seen.add(site.key)
            yield flat, site.key


def _misshapen(tuned: Weights, base: Weights, layer: _Layer, one: list[int], other: list[int]) -> CheckpointError:
    return CheckpointError(
        tuned.path,
        f"layer {shortened(layer.name)} has shape {one} here and {other} in {Path(base.path).name}. A difference is "
        "taken between two models of one shape",
    )


def _is_equal(one: torch.Tensor, other: torch.Tensor, dtype: torch.dtype, other_dtype: torch.dtype) -> bool:
    """True if two weights are the same number for number in the narrower of the dtypes that they are stored in."""
    if torch.equal(one, other):
        return True
    if dtype == other_dtype or dtype.itemsize == 1 or other_dtype.itemsize == 1:
        return False
    narrow = min((dtype, other_dtype), key=lambda item: (item.itemsize, item != torch.bfloat16))
    return torch.equal(one.to(narrow), other.to(narrow))


def _default_dtype(dtype: torch.dtype) -> torch.dtype:
    if dtype.itemsize >= 4:
        return torch.float32
    return torch.bfloat16 if dtype == torch.bfloat16 else torch.float16


def _metadata(weights: Weights) -> Mapping[str, str]:
    return read_header(weights.base.files[0]).metadata
