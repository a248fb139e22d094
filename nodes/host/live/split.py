"""Which changes of a plan work beside the model's layers, which are merged, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ....lorchestra.apply.live import Geometry, LiveTerm, is_plain, supports
from ....lorchestra.apply.plan import Change, Part, Plan
from ....lorchestra.apply.region import LAYOUTS, find_layout, unknown_layer
from ....lorchestra.errors import StackError
from ....lorchestra.sentences import listed, say, together
from ....lorchestra.spelling.prefixes import MODEL
from ....lorchestra.stack import NEGATIVE, POSITIVE, Weighted
from .. import process
from ..protocols import Patcher
from .calls import Forwards
from .layers import MODEL_PREFIX, PatchedLayers, find_geometry, is_plain_weight, is_unseen, some_of
from .packing import refusal


def is_quantized(plan: Plan, model: Patcher) -> bool:
    """True if the plan changes layers whose weights are packed: merging would round what it adds."""
    paths = {change.key.rpartition(".")[0] for change in plan.changes if change.component == MODEL}
    layers = PatchedLayers(model)
    weights = (getattr(layers.find(path), "weight", None) for path in paths)
    return any(weight is not None and not is_plain_weight(weight) for weight in weights)


@dataclass(frozen=True, slots=True)
class LayerTerms:
    """What is added to one layer."""

    geometry: Geometry
    weights: list[tuple[Part, LiveTerm]] = field(default_factory=list)
    biases: list[tuple[Part, LiveTerm]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Split:
    """A plan in two: what works beside the layers, and what is merged."""

    live: Mapping[str, LayerTerms]
    """By the path of the layer, `diffusion_model.…`."""
    merged: Mapping[Change, tuple[Part, ...]]
    notes: tuple[str, ...]
    """Sentences about what the live path cannot do in the diffusion model, and is merged instead."""
    reasons: Mapping[str, int]
    """Why layers of the diffusion model are merged → how many of them."""

    def summary(self, idle: Collection[str]) -> str:
        """What becomes of the diffusion model's layers; `idle` had no effect in the last run of the same LoRAs."""
        parts = [say("1 layer live") if len(self.live) == 1 else say("{count} layers live", count=len(self.live))]
        if len(self.reasons) == 1:
            ((reason, count),) = self.reasons.items()
            parts.append(say("{count} merged (because {reason})", count=count, reason=reason))
        elif self.reasons:
            whys = [
                say("{count}, because {reason}", count=number, reason=reason) for reason, number in self.reasons.items()
            ]
            parts.append(say("{count} merged ({whys})", count=sum(self.reasons.values()), whys=together(whys)))
        parts.append(
            say("{count} without effect in the last run ({layers})", count=len(idle), layers=some_of(sorted(idle)))
            if idle
            else say("0 without effect")
        )
        return say("{parts}.", parts=listed(parts))


def split_plan(
    plan: Plan, model: Patcher, one_way: Mapping[Change, str] | None = None, *, merges: bool = False
) -> Split:
    """Reads the tensors of what works beside the layers; raises `AdapterError` if they are not finite.

    `one_way` are the changes that cannot be merged, with the formats of their weights; with `merges` only these are
    live. Raises `StackError` for one of them that has no live path either.
    """
    one_way = one_way or {}
    live: dict[str, LayerTerms] = {}
    merged: dict[Change, tuple[Part, ...]] = {}
    reasons: dict[Change, str] = {}
    is_split = varies_in_batch(plan.entries)
    layers, forwards = PatchedLayers(model), Forwards(process.live_forwards)
    for change, parts in plan.changes.items():
        is_merged = change.component != MODEL or (merges and change not in one_way)
        reason = "" if is_merged else _place(layers, change, parts, live, forwards, is_split)
        regional = [part for part in parts if has_region(part, plan)] if change.component == MODEL else []
        if regional:
            _check_region(model, path_of(change), regional, plan, reason)
        if reason and change in one_way:
            raise refusal(parts, one_way[change], reason)
        if reason is not None:
            merged[change], reasons[change] = parts, reason
    by_layer = {change.key.rpartition(".")[0]: reason for change, reason in reasons.items() if reason}
    notes = _live_notes(plan, one_way) if merges else _notes(plan, merged, reasons)
    return Split(live, merged, tuple(notes), Counter(by_layer.values()))


def has_region(part: Part, plan: Plan) -> bool:
    """True if the LoRA acts on a part of the picture only."""
    return part.entry is not None and plan.entries[part.entry].entry.region is not None


def path_of(change: Change) -> str:
    """The layer in the diffusion model."""
    return change.key.rpartition(".")[0].removeprefix(f"{MODEL_PREFIX}.")


_MERGED = "it has a region, and {layer} would have to be merged, because {reason}"


def _check_region(model: Patcher, path: str, parts: Sequence[Part], plan: Plan, reason: str | None) -> None:
    """Raises `StackError` where a row's region cannot be had on a layer, for which it has a `reason`, or is unknown."""
    inner = model.model.diffusion_model
    layout = find_layout(inner)
    weighted = plan.entries[_entry(parts[0])]
    if layout is None:
        finding = say(
            "it has a region, and regions are not known for this model ({model}). They are for {models}. Take the "
            "region away, or use one of these models",
            model=type(inner).__name__,
            models=", ".join(known.title for known in LAYOUTS),
        )
    elif layout.kind(path) is None:
        finding = unknown_layer(path, layout.title)
    elif reason:
        finding = say(_MERGED, layer=path, reason=reason)
    elif is_unseen(PatchedLayers(model).find(f"{MODEL_PREFIX}.{path}")):
        finding = say(_MERGED, layer=path, reason=say("ComfyUI may use this INT8 weight without running its layer"))
    else:
        return
    raise StackError(say("{lora}: {sentence}", lora=weighted.entry.lora, sentence=finding), weighted.row)


def varies_in_batch(entries: Iterable[Weighted]) -> bool:
    """True if a weight is for the positive or the negative conditioning alone; one call of a model may have both."""
    return any(share.conditioning in (POSITIVE, NEGATIVE) for entry in entries for share in entry.shares)


def _place(
    layers: PatchedLayers,
    change: Change,
    parts: Sequence[Part],
    live: dict[str, LayerTerms],
    forwards: Forwards,
    is_split: bool,
) -> str | None:
    """Adds the parts to the layer of this weight or bias, or gives the reason why the live path cannot do them all."""
    path, _, name = change.key.rpartition(".")
    module = layers.find(path)
    geometry = find_geometry(module) if name in ("weight", "bias") else None
    if geometry is None:
        return say("it is neither a linear layer nor a convolution")
    if unknown := forwards.find(module).unknown:
        return say("its layer takes {names}, which this version of Lorchestra does not know", names=", ".join(unknown))
    terms: list[tuple[Part, LiveTerm]] = []
    for part in parts:
        beside = LiveTerm(part.adapter(), _entry(part), part.place)
        reason = supports(beside, geometry)
        if reason:
            return reason
        if is_unseen(module) and (is_split or name != "weight" or not is_plain(beside)):
            return say("ComfyUI may use this INT8 weight without running its layer")
        terms.append((part, beside))
    layer = live.setdefault(path, LayerTerms(geometry))
    (layer.weights if name == "weight" else layer.biases).extend(terms)
    return None


def _entry(part: Part) -> int:
    if part.entry is None:
        raise ValueError(f"{part.module.name} is part of a diffusion model and has no entry in the plan")
    return part.entry


def _live_notes(plan: Plan, one_way: Mapping[Change, str]) -> Iterator[str]:
    """What is live although all was to be merged, by file and format."""
    for index, weighted in enumerate(plan.entries):
        found: dict[str, int] = {}
        for change, name in one_way.items():
            count = sum(1 for part in plan.changes[change] if part.entry == index)
            if count:
                found[name] = found.get(name, 0) + count
        for name, count in found.items():
            what = say(
                "1 module works live, because {format} weights cannot be packed again"
                if count == 1
                else "{count} modules work live, because {format} weights cannot be packed again",
                count=count,
                format=name,
            )
            yield say("{lora}: {sentence}", lora=weighted.entry.lora, sentence=what)


def _notes(plan: Plan, merged: Mapping[Change, Sequence[Part]], reasons: Mapping[Change, str]) -> Iterator[str]:
    """What was merged of the diffusion model, by file and reason."""
    for index, weighted in enumerate(plan.entries):
        found: dict[str, int] = {}
        for change, parts in merged.items():
            count = sum(1 for part in parts if change.component == MODEL and part.entry == index)
            if count:
                found[reasons[change]] = found.get(reasons[change], 0) + count
        for reason, count in found.items():
            what = say(
                "1 module is merged at weight {weight}, because {reason}"
                if count == 1
                else "{count} modules are merged at weight {weight}, because {reason}",
                count=count,
                weight=f"{weighted.model:g}",
                reason=reason,
            )
            still = "" if weighted.is_constant else say("the schedule does not reach there")
            yield say("{lora}: {sentence}", lora=weighted.entry.lora, sentence=together((what, still)))
