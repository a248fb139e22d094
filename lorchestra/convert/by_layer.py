"""ComfyUI's and kohya's spelling: one name a layer of ComfyUI's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import torch
from torch import Tensor

from ..architectures.diffusers_names import diffusers_names
from ..architectures.encoders import BERT, LLM, find_encoder
from ..errors import shortened
from ..lora.cache import OpenLora
from ..spelling import slots
from ..spelling.modules import BIAS
from ..spelling.prefixes import MODEL, flatten
from ..spelling.scales import METADATA_KEY
from ..spelling.targets import COMFYUI, KOHYA
from .halves import common_dtype, folded, half_of, joined, update_of
from .items import Item, Written, side, true_metadata, unsaid
from .layers import Layers

READ_PARTS = frozenset({
    "sd3_medium", "sd35_medium", "sd35_large", "flux1_dev", "flux1_schnell", "flux1_fill", "chroma", "z_image",
})  # fmt: skip
"""Architectures of which ComfyUI reads the parts of fused layers by diffusers' names, `transformer.…` and `lycoris_…`.

Lumina 2 and NewBie are not among them: there ComfyUI puts k and v on the wrong rows.
"""


_LINEAR = (slots.LORA, slots.LOHA, slots.LOKR, slots.DIFF, slots.NORM)
"""Algorithms whose update does not depend on the weight, unless there is a magnitude."""

_SUFFIXES: Mapping[tuple[str, str], str] = {
    (slots.LORA, "up"): ".lora_up.weight",
    (slots.LORA, "down"): ".lora_down.weight",
    (slots.LORA, "mid"): ".lora_mid.weight",
    (slots.LORA, "shape"): ".reshape_weight",
    (slots.LOHA, "w1_a"): ".hada_w1_a",
    (slots.LOHA, "w1_b"): ".hada_w1_b",
    (slots.LOHA, "w2_a"): ".hada_w2_a",
    (slots.LOHA, "w2_b"): ".hada_w2_b",
    (slots.LOHA, "t1"): ".hada_t1",
    (slots.LOHA, "t2"): ".hada_t2",
    (slots.LOKR, "w1"): ".lokr_w1",
    (slots.LOKR, "w1_a"): ".lokr_w1_a",
    (slots.LOKR, "w1_b"): ".lokr_w1_b",
    (slots.LOKR, "w2"): ".lokr_w2",
    (slots.LOKR, "w2_a"): ".lokr_w2_a",
    (slots.LOKR, "w2_b"): ".lokr_w2_b",
    (slots.LOKR, "t2"): ".lokr_t2",
    (slots.GLORA, "a1"): ".a1.weight",
    (slots.GLORA, "a2"): ".a2.weight",
    (slots.GLORA, "b1"): ".b1.weight",
    (slots.GLORA, "b2"): ".b2.weight",
    (slots.OFT, "blocks"): ".oft_blocks",
    (slots.OFT, "rescale"): ".rescale",
    (slots.BOFT, "blocks"): ".oft_blocks",
    (slots.BOFT, "rescale"): ".rescale",
    (slots.DIFF, "diff"): ".diff",
    (slots.NORM, "w_norm"): ".w_norm",
    (slots.REPLACEMENT, "value"): ".set_weight",
}
"""What ComfyUI and kohya's programs write for a slot; `.alpha` and `.dora_scale` go with any of them."""


def write_comfyui(file: OpenLora, layers: Layers, items: Sequence[Item]) -> Written:
    """ComfyUI's own layer names."""
    return _written_by_layer(file, layers, items, COMFYUI)


def write_kohya(file: OpenLora, layers: Layers, items: Sequence[Item]) -> Written:
    """kohya's names; ComfyUI's where kohya has none."""
    return _written_by_layer(file, layers, items, KOHYA)


def _written_by_layer(file: OpenLora, layers: Layers, items: Sequence[Item], to: str) -> Written:
    tensors: dict[str, Tensor] = {}
    notes: list[str] = []
    names = LayerNames(layers, to)
    weights: dict[tuple[str, str], list[Item]] = {}
    biases: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        group = biases if item.module.target == BIAS else weights
        group.setdefault((side(item), item.key), []).append(item)
    for group in weights.values():
        _write_weight(file, names, group, tensors, notes)
    for group in biases.values():
        tensors[f"{names.of(group[0].layer, side(group[0]))}.diff_b"] = _bias(file, group)
    metadata = {key: value for key, value in true_metadata(file).items() if key != METADATA_KEY}
    return tensors, metadata, notes


class LayerNames:
    """ComfyUI's and kohya's names of layers."""

    def __init__(self, layers: Layers, to: str) -> None:
        self._to = to
        weights = {name[:-7]: shape for name, shape in layers.shapes.items() if name.endswith(".weight")}
        self._diffusers = diffusers_names(weights)
        self._weights = weights
        self._is_unet = "input_blocks.0.0" in weights
        self._reads_parts = layers.architecture.id in READ_PARTS
        self._encoders = {
            encoder.comfyui: encoder.kind
            for ids in layers.architecture.encoders.values()
            for encoder in map(find_encoder, ids)
            if encoder
        }

    def of(self, layer: str, component: str) -> str:
        """The name of a layer, without a slot; of text encoders the layer is `<ComfyUI's word>.<its name there>`."""
        if component != MODEL:
            encoder, _, path = layer.partition(".")
            prefix = self._kohya_encoder(encoder) if self._to == KOHYA else None
            if prefix is None:
                return f"text_encoders.{encoder}.transformer.{path}"
            for start in ("model.", "bert."):
                path = path.removeprefix(start)
            return prefix + flatten(path)
        if self._to == COMFYUI or layer not in self._weights:  # kohya has no names for other parameters
            return f"diffusion_model.{layer}"
        if self._is_unet and layer in self._diffusers:
            return "lora_unet_" + flatten(self._diffusers[layer][0].foreign)
        return "lora_unet_" + flatten(layer)

    def of_part(self, item: Item) -> str | None:
        """The name that ComfyUI has for just this part of a fused layer, or None."""
        if not self._reads_parts or item.module.component != MODEL:
            return None
        for alias in self._diffusers.get(item.layer, ()):
            if alias.rows and (alias.rows.start, alias.rows.length) == (item.start, item.length):
                if self._to == COMFYUI:
                    return f"transformer.{alias.foreign}"
                return f"lycoris_{flatten(alias.foreign)}"
        return None

    def _kohya_encoder(self, encoder: str) -> str | None:
        """kohya's prefix as far as ComfyUI reads it: CLIPs and T5 are counted, a language model stands alone."""
        words = self._encoders
        clips = [word for word in ("clip_l", "clip_h", "clip_g") if word in words]
        if encoder in clips:
            if len(words) == 1:
                return "lora_te_"
            return f"lora_te{clips.index(encoder) + 1}_"
        if encoder == "t5xxl":
            return "lora_te3_" if clips else "lora_te1_"  # kohya counts Flux' missing CLIP-G too
        if words.get(encoder) == BERT:
            return "lora_te1_"
        return "lora_te_" if len(words) == 1 and words[encoder] == LLM else None


def _write_weight(
    file: OpenLora, names: LayerNames, items: list[Item], tensors: dict[str, Tensor], notes: list[str]
) -> None:
    """All that changes one weight."""
    items = sorted(items, key=lambda item: item.start)
    for item in items:
        for slot in item.parts:
            if slot != "magnitude" and (item.module.algorithm, slot) not in _SUFFIXES:
                raise unsaid(file, item, f"ComfyUI reads no {item.module.algorithm} of this kind ({slot})")
    loras = [item for item in items if item.is_lora]
    others = [item for item in items if not item.is_lora]
    name = names.of(items[0].layer, side(items[0]))
    if len(items) == 1 and items[0].length is None:
        _put(name, items[0], tensors)
        return
    merged = _merged(loras)
    of_parts = [names.of_part(item) for item in items]
    if merged is not None and not others:
        _put(name, merged, tensors)
    elif all(part or item.length is None for part, item in zip(of_parts, items, strict=True)) and (
        sum(item.length is None for item in items) <= 1
    ):
        for item, part in zip(items, of_parts, strict=True):
            _put(part or name, item, tensors)
    elif all(item.module.algorithm in _LINEAR and "magnitude" not in item.parts for item in items) and items[0].shape:
        total = torch.zeros(items[0].shape, dtype=torch.float64)
        for item in items:
            total.narrow(0, item.start, item.rows or 0).add_(update_of(item))
        tensors[f"{name}.diff"] = total.float()
        kinds = " and ".join(dict.fromkeys(item.module.algorithm for item in items))
        notes.append(
            f"{shortened(items[0].layer)}: {kinds} there has no name that ComfyUI reads, "
            "so the whole difference was written, in fp32"
        )
    else:
        item = next((item for item in items if item.length is not None), items[-1])
        kinds = ", ".join(dict.fromkeys(item.module.kind for item in items))
        raise unsaid(file, item, f"no name of ComfyUI's is for this part of {item.layer} ({kinds})")


def _merged(items: Sequence[Item]) -> Item | None:
    """LoRAs on one weight as one; None if that is not the same, with a core or with some magnitudes only."""
    if not items:
        return None
    first = items[0]
    rows = first.shape[0] if first.shape else None
    if rows is None or any("mid" in item.parts or "shape" in item.parts for item in items):
        return None
    parts: dict[str, Tensor] = {}
    if any("magnitude" in item.parts for item in items):
        ordered = sorted(items, key=lambda item: item.start)
        position = 0
        for item in ordered:  # each row's norm is that of one module only, and none is left out
            magnitude = item.parts.get("magnitude")
            if magnitude is None or item.start != position or magnitude.shape[0] != item.rows:
                return None
            position += item.rows or 0
        if position != rows:
            return None
        magnitudes = [item.parts["magnitude"] for item in ordered]
        kind = common_dtype(magnitudes)
        parts["magnitude"] = torch.cat([magnitude.to(kind) for magnitude in magnitudes])
    parts["up"], parts["down"], alpha = joined([half_of(item) for item in items], rows, folds=False)
    scale = Fraction(1) if alpha is None else Fraction(float(alpha.double())) / parts["down"].shape[0]
    return replace(first, parts=parts, alpha=alpha, start=0, length=None, scale=scale)


def _put(name: str, item: Item, tensors: dict[str, Tensor]) -> None:
    """The tensors of one module as they are, with an alpha where a setting told it."""
    parts = dict(item.parts)
    algorithm = item.module.algorithm
    alpha = item.alpha
    if alpha is None and item.scale != 1:
        rank = item.module.rank
        if algorithm == slots.LORA:
            rank = parts["down"].shape[0]
        if rank:
            alpha = torch.tensor(float(item.scale * rank), dtype=torch.float32)
        elif "w1" in parts:  # LoKr without a rank: there is nothing that an alpha could be divided by
            parts["w1"] = folded(parts["w1"], item.scale)
    for slot, tensor in parts.items():
        tensors[name + (".dora_scale" if slot == "magnitude" else _SUFFIXES[algorithm, slot])] = tensor
    if alpha is not None:
        tensors[f"{name}.alpha"] = alpha


def _bias(file: OpenLora, items: Sequence[Item]) -> Tensor:
    """All that changes one bias, as one difference."""
    vectors = [folded(next(iter(_vector(item))), item.scale) for item in items]
    if len(items) == 1 and items[0].length is None:
        return vectors[0]
    if not items[0].shape:
        raise unsaid(file, items[0], "the shape of the model's bias cannot be told")
    total = torch.zeros(items[0].shape, dtype=torch.float64)
    for item, vector in zip(items, vectors, strict=True):
        total.narrow(0, item.start, item.rows or 0).add_(vector.double())
    kind = common_dtype(vectors)
    return total.to(kind) if torch.equal(total.to(kind).double(), total) else total.float()


def _vector(item: Item) -> Iterator[Tensor]:
    return (tensor for slot, tensor in item.parts.items() if slot in ("bias", "diff_b", "b_norm"))
