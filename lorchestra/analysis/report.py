"""A measured balance for people and for programs: a table in text, and JSON data."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..architectures.blocks import PARTS
from ..limits import Json
from .balance import Balance, Compared, Group
from .findings import find, named
from .weights import SUGGESTIONS, suggested

_LONGEST_NAME = 40
_MOST_PAIRS = 12


def report(balance: Balance) -> str:
    """Strengths, pairs, what they mean, and suggested weights, in lines."""
    if not balance.loras:
        return "No LoRA does anything here: none is on, or no weight is other than 0."
    names = [_fitted(named(balance, lora)) for lora in range(len(balance.loras))]
    lines = [*_strengths(balance, names), ""]
    if len(names) > 1:
        lines += [*_pairs(balance, names), ""]
    findings = [finding.sentence(balance) for finding in find(balance)]
    lines += findings or ["None of them dominates, none is lost, and no two do the same work."]
    lines += [_left_out(balance, *item) for item in balance.left_out]
    lines += [
        f"{named(balance, lora)}: its weight changes over the steps; it counts with its weight without the schedule."
        for lora, item in enumerate(balance.loras)
        if item.changes
    ]
    if len(balance.rows()) > 1:
        lines += ["", *_suggestions(balance, names)]
    return "\n".join(lines)


def _strengths(balance: Balance, names: Sequence[str]) -> list[str]:
    strengths, spectral = balance.strengths(), balance.spectral()
    total, base = float(strengths.sum()) or 1.0, balance.base()
    width = max(4, *map(len, names))
    head = f"{'LoRA':{width}}  {'weight':>13}  {'strength':>8}  share" + ("  of model" if base else "")
    rows = [f"{head}  largest  strongest in"]
    for lora, (name, strength) in enumerate(zip(names, map(float, strengths), strict=True)):
        item = balance.loras[lora]
        weight = f"{item.model:g}" if item.model == item.clip else f"{item.model:g} / {item.clip:g}"
        of_model = f"  {strength / base:>8.2%}" if base else ""
        rows.append(
            f"{name:{width}}  {weight:>13}  {strength:>8.3g}  {strength / total:>5.0%}{of_model}"
            f"  {float(spectral[lora]):>7.3g}  {_strongest(balance, lora)}"
        )
    return rows


def _strongest(balance: Balance, lora: int) -> str:
    """The two blocks in which a LoRA does most."""
    blocks = {block: float(balance.strengths(groups=groups)[lora]) for block, groups in balance.blocks().items()}
    most = sorted((block for block in blocks if blocks[block] > 0), key=lambda block: -blocks[block])[:2]
    return ", ".join(most) or "nothing"


def _pairs(balance: Balance, names: Sequence[str]) -> list[str]:
    cosines, pairs = balance.cosines(), balance.pairs
    width = max(4, *map(len, names))
    found = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    found.sort(key=lambda pair: -abs(float(cosines[pair])))
    rows = [f"{'Pair':{2 * width + 3}}  cosine  same inputs  same outputs  opposite signs"]
    rows += [
        f"{names[i]:{width}} + {names[j]:{width}}  {float(cosines[i, j]):>6.3f}  {_percent(pairs.inputs[i, j]):>11}"
        f"  {_percent(pairs.outputs[i, j]):>12}  {_percent(pairs.conflicts[i, j])}{_error(pairs.errors[i, j])}"
        for i, j in found[:_MOST_PAIRS]
    ]
    more = len(found) - _MOST_PAIRS
    return [*rows, f"and {more} more pairs"] if more > 0 else rows


def _suggestions(balance: Balance, names: Sequence[str]) -> list[str]:
    lines, rows = ["Suggested weights:"], set(balance.rows())
    for suggestion in SUGGESTIONS:
        weights = suggested(balance, suggestion)
        told = ", ".join(
            f"{name} {_weights(balance, lora, weights[lora])}" for lora, name in enumerate(names) if lora in rows
        )
        lines.append(f"  {suggestion.id}: {told}. {suggestion.rule}")
    return lines


def _weights(balance: Balance, lora: int, pair: Tensor) -> str:
    model, clip = (f"{float(weight):.3g}" for weight in pair)
    item = balance.loras[lora]
    return model if item.model == item.clip else f"{model} / {clip}"


def _left_out(balance: Balance, lora: int, why: str, count: int) -> str:
    return f"{named(balance, lora)}: {count} {'layer is' if count == 1 else 'layers are'} not counted: {why}."


def _percent(share: Tensor) -> str:
    value = float(share)
    return "not known" if math.isnan(value) else f"{value:.0%}"


def _error(error: Tensor) -> str:
    value = float(error)
    return "" if math.isnan(value) else f" ± {value:.1%}"


def _fitted(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def to_json(balance: Balance) -> dict[str, Json]:
    """All that was measured, at the rows' weights; what is not known is null."""
    strengths, spectral, cosines = balance.strengths(), balance.spectral(), balance.cosines()
    count = len(balance.loras)
    return {
        "loras": [
            {
                "row": _row(item),
                "lora": item.name,
                "model": item.model,
                "clip": item.clip,
                "strength": float(strengths[lora]),
                "of_model": _of(float(strengths[lora]), balance.base()),
                "largest": float(spectral[lora]),
                "blocks": {block: _parts(balance, lora, groups) for block, groups in balance.blocks().items()},
            }
            for lora, item in enumerate(balance.loras)
        ],
        "pairs": [
            {
                "rows": [_row(balance.loras[i]), _row(balance.loras[j])],
                "cosine": float(cosines[i, j]),
                "same_inputs": _known(balance.pairs.inputs[i, j]),
                "same_outputs": _known(balance.pairs.outputs[i, j]),
                "opposite_signs": _known(balance.pairs.conflicts[i, j]),
                "opposite_signs_error": _known(balance.pairs.errors[i, j]),
            }
            for i in range(count)
            for j in range(i + 1, count)
        ],
        "findings": [finding.sentence(balance) for finding in find(balance)],
        "suggested": {
            suggestion.id: [
                {"row": item.row, "model": float(pair[0]), "clip": float(pair[1])}
                for item, pair in zip(balance.loras, suggested(balance, suggestion), strict=True)
                if not item.is_before
            ]
            for suggestion in SUGGESTIONS
        },
        "left_out": [
            {"row": _row(balance.loras[lora]), "why": why, "layers": layers} for lora, why, layers in balance.left_out
        ],
    }


def _row(item: Compared) -> Json:
    """Of what came in with the model, its label."""
    return item.label if item.is_before else item.row


def _parts(balance: Balance, lora: int, groups: Sequence[Group]) -> dict[str, float]:
    """Strength by what a layer does in its block."""
    return {
        part: float(balance.strengths(groups=chosen)[lora])
        for part in PARTS
        if (chosen := [group for group in groups if group.part == part])
    }


def _of(strength: float, base: float | None) -> float | None:
    return strength / base if base else None


def _known(value: Tensor) -> float | None:
    return None if math.isnan(float(value)) else float(value)
