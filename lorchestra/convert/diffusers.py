"""diffusers' spelling: PEFT's names with the pipeline's prefixes, fused layers taken apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..algorithms.lora import LoRA, down_matrix
from ..architectures.aliases import Rows
from ..architectures.diffusers_names import diffusers_names
from ..architectures.encoders import CLIP, T5, T5_FIRST, find_encoder
from ..architectures.sites import Shape
from ..lora.cache import OpenLora
from ..spelling import slots
from ..spelling.prefixes import MODEL
from ..spelling.scales import METADATA_KEY
from .halves import Half, folded, half_of, joined
from .items import Item, Written, side, true_metadata, unsaid
from .layers import Layers


def write_diffusers(file: OpenLora, layers: Layers, items: Sequence[Item]) -> Written:
    """The names and settings of diffusers' pipelines; raises `AdapterError` for all that is no LoRA."""
    tensors: dict[str, Tensor] = {}
    settings: dict[str, dict[str, int]] = {}
    dora: set[str] = set()
    plain: dict[str, Item] = {}
    with_bias: set[str] = set()
    weights = {name[:-7]: shape for name, shape in layers.shapes.items() if name.endswith(".weight")}
    known = diffusers_names(weights)
    model_prefix = "unet" if "input_blocks.0.0" in weights or "clf.1" in weights else "transformer"
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        if item.module.algorithm not in (slots.LORA, slots.LORA_BIAS):
            raise unsaid(file, item, f"diffusers loads LoRA only, this is {item.module.algorithm}")
        if "shape" in item.parts:
            raise unsaid(file, item, "diffusers has no word for a layer that becomes wider")
        groups.setdefault((side(item), item.layer), []).append(item)
    for (part, layer), group in groups.items():
        first = group[0]
        if part != MODEL:
            prefix, layer_name = _diffusers_encoder(file, layers, first)
            names = [(layer_name, 0, first.rows or 0, False)]
        else:
            prefix = model_prefix
            aliases = known.get(layer, ())
            whole = weights.get(layer)
            total = whole[0] if whole else first.rows or 0
            parts = [(alias.foreign, alias.rows or Rows(0, total)) for alias in aliases]
            names = [(name, rows.start, rows.length, rows.swapped) for name, rows in parts]
            _require_cover(file, group, names)
        for name, start, length, swapped in names:
            written = _diffusers_tensors(file, group, start, length, swapped, weights.get(layer))
            for end, tensor in written.items():
                tensors[f"{prefix}.{name}.{end}"] = tensor
            if "lora_A.weight" in written:
                settings.setdefault(prefix, {})[name] = written["lora_A.weight"].shape[0]
            if "lora_magnitude_vector" in written:
                dora.add(prefix)
            elif written:
                plain.setdefault(prefix, first)
            if "lora_B.bias" in written:
                with_bias.add(prefix)
    for prefix in dora & plain.keys():  # PEFT would make magnitudes up for these
        raise unsaid(file, plain[prefix], "in diffusers all layers have DoRA or none, and this one has no magnitude")
    metadata = true_metadata(file)
    metadata[METADATA_KEY] = _adapter_metadata(settings, dora, with_bias)
    return tensors, metadata, []


def _require_cover(file: OpenLora, group: Sequence[Item], names: Sequence[tuple[str, int, int, bool]]) -> None:
    for item in group:
        rows = item.rows or 0
        covered = sum(
            max(0, min(item.start + rows, start + length) - max(item.start, start)) for _, start, length, _ in names
        )
        if covered != rows:
            raise unsaid(file, item, f"diffusers has no layer that is {item.layer}")


def _diffusers_tensors(
    file: OpenLora, group: Sequence[Item], start: int, length: int, swapped: bool, shape: Shape | None
) -> dict[str, Tensor]:
    """The tensors of one of diffusers' layers, by what follows its name; none where nothing changes it."""
    halves: list[Half] = []
    magnitudes: list[tuple[int, Tensor]] = []
    biases: list[Tensor] = []
    for item in sorted(group, key=lambda item: item.start):
        rows = item.rows or 0
        low, high = max(start, item.start), min(start + length, item.start + rows)
        if low >= high:
            continue
        here = slice(low - item.start, high - item.start)
        if item.module.algorithm == slots.LORA_BIAS:
            if high - low != length or biases:
                raise unsaid(file, item, "a bias for a part of one of diffusers' layers")
            biases.append(folded(item.parts["bias"][here], item.scale))
            continue
        half = half_of(item)
        down = half.down
        if half.mid is not None:
            core = LoRA(half.up, half.down, half.mid, 1.0)
            kernel = half.mid.shape[2:]
            wide = torch.float64 if half.down.dtype == torch.float64 else torch.float32
            down = down_matrix(core, torch.float64).reshape(half.mid.shape[0], -1, *kernel).to(wide)
        magnitude = item.parts.get("magnitude")
        if magnitude is not None:
            if magnitude.shape[0] != rows:
                raise unsaid(file, item, "a DoRA with a norm per column")
            magnitudes.append((low - start, magnitude[here]))
        up, down = (half.up, down) if high - low == rows else _without_zeros(half.up[here], down)
        halves.append(replace(half, start=low - start, up=up, down=down))
    if not halves:
        if biases:
            raise unsaid(file, group[0], "a bias without the halves of a LoRA")
        return {}
    up, down, _ = joined(halves, length, folds=True)
    if shape and len(shape) != down.dim():  # a linear LoRA for a 1x1 convolution, or the other way round
        down = down.reshape(down.shape[0], *shape[1:])
    up = up.reshape(up.shape[0], up.shape[1], *[1] * (down.dim() - 2))
    result = {"lora_A.weight": down, "lora_B.weight": up}
    if magnitudes:
        if sorted(place for place, _ in magnitudes)[0] != 0 or len(magnitudes) != len(halves):
            raise unsaid(file, group[0], "a DoRA on a part of one of diffusers' layers")
        rows = [tensor.flatten() for _, tensor in sorted(magnitudes, key=lambda pair: pair[0])]
        result["lora_magnitude_vector"] = torch.cat(rows)
        if result["lora_magnitude_vector"].numel() != length:
            raise unsaid(file, group[0], "a DoRA on a part of one of diffusers' layers")
        if down.dim() > 2:
            result["lora_magnitude_vector"] = result["lora_magnitude_vector"].reshape(1, -1, *[1] * (down.dim() - 2))
    if biases:
        result["lora_B.bias"] = biases[0]
    if swapped:
        for end in ("lora_B.weight", "lora_magnitude_vector", "lora_B.bias"):
            if end in result:
                first, second = result[end].chunk(2)
                result[end] = torch.cat([second, first])
    return result


def _without_zeros(up: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """Without the ranks that do nothing for these rows: those of the other blocks on a diagonal of blocks."""
    live = up.float().flatten(1).any(0)
    return (up, down) if live.all() or not live.any() else (up[:, live], down[live])


def _diffusers_encoder(file: OpenLora, layers: Layers, item: Item) -> tuple[str, str]:
    """The pipeline's word for a text encoder, and the layer."""
    word, _, path = item.layer.partition(".")
    for component, ids in layers.architecture.encoders.items():
        encoder = find_encoder(ids[0])
        if component == "te" or encoder is None or encoder.comfyui != word:
            continue
        if encoder.kind in (CLIP, T5, T5_FIRST):
            number = component.removeprefix("te")
            return "text_encoder" if number == "1" else f"text_encoder_{number}", path
    raise unsaid(file, item, f"diffusers loads no LoRA for the text encoder {word}")


def _adapter_metadata(settings: Mapping[str, Mapping[str, int]], dora: set[str], with_bias: set[str]) -> str:
    """PEFT's settings: all scales are in the tensors, so that every alpha is its rank."""
    result: dict[str, object] = {}
    for prefix, ranks in settings.items():
        common = Counter(ranks.values()).most_common(1)[0][0]
        rest = {name: rank for name, rank in sorted(ranks.items()) if rank != common}
        values: dict[str, object] = {
            "r": common,
            "lora_alpha": common,
            "rank_pattern": rest,
            "alpha_pattern": rest,
            "target_modules": sorted(ranks),
            "use_dora": prefix in dora,
            "use_rslora": False,
            "lora_bias": prefix in with_bias,
            "bias": "none",
            "peft_type": "LORA",
        }
        result.update({f"{prefix}.{key}": value for key, value in values.items()})
    return json.dumps(result, sort_keys=True)
