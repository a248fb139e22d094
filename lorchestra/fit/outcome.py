"""Whether a LoRA fits a model, in one word and one sentence, before anything is changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..architectures.encoders import encoder_titles
from ..architectures.names import are_interchangeable, are_related, family_titles, title, with_article
from ..architectures.sites import Site, has_text_encoders
from ..errors import shortened
from ..lora.examined import Examined, scale_notes
from ..lora.identify import Identity, find_encoders, find_owners
from ..lora.metadata import schedule
from ..models.base import Base
from ..models.placing import Placement, place
from ..models.quantized import words
from ..sentences import Sentence, all_of, any_of, say, together
from ..spelling import kinds
from ..spelling.modules import Module
from ..spelling.prefixes import MODEL
from ..stack import Entry, Weighted
from ..stack.weights import weights_in_words

COMPATIBLE = "compatible"
PARTIAL = "partial"
INCOMPATIBLE = "incompatible"
UNKNOWN = "unknown"
NOT_A_LORA = "not-a-lora"
BROKEN = "broken"
MISSING = "missing"
OFF = "off"

VERDICTS = (COMPATIBLE, PARTIAL, INCOMPATIBLE, UNKNOWN, NOT_A_LORA, BROKEN, MISSING, OFF)
"""`partial`: a part fits. `unknown`: it cannot be told. `off`: the row is off, or its weights are zero."""

REFUSED = frozenset({INCOMPATIBLE, NOT_A_LORA, BROKEN, MISSING})
"""Verdicts under which a row must not be applied."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one LoRA."""

    entry: Entry
    verdict: str
    """One of `VERDICTS`."""
    finding: str
    """What was found, without the LoRA's name and its weight."""
    row: int | None = None
    """The row's number, from 1; None for a file that was checked by itself."""
    weights: str = ""
    """The weights in words with what joins them to the finding: `weight 0.7, `. Empty if they do not matter."""
    hint: str = ""
    """What to do about it: `Choose an SDXL LoRA`. Empty if there is nothing to do."""
    model: float = 0.0
    """Weight that the diffusion model got, all rows of this LoRA added up."""
    clip: float = 0.0
    """Weight that the text encoders got."""
    applied: int = 0
    """Modules that fit."""
    unmatched: int = 0
    """Modules of which the model has no layer."""
    misshapen: int = 0
    """Modules whose layer has another shape."""
    unused: int = 0
    """Modules for text encoders that are not connected."""
    unread: int = 0
    """Tensors of the file that belong to no module."""
    made_for: tuple[str, ...] = ()
    """Ids of the architectures that the file is made for, the likeliest first; empty if that is not known."""
    evidence: tuple[str, ...] = field(default=(), compare=False)
    """Why, in sentences."""
    used: str = ""
    """Which file was used and why, if it is not the one of the row's path; and what changed in it."""

    @property
    def advice(self) -> str:
        """The finding and what to do about it that is not done already."""
        if not self.hint:
            return self.finding
        if self.row is None or not self.entry.on:
            return say("{finding}. {hint}.", finding=self.finding, hint=self.hint)
        return say("{finding}. {hint} or switch this row off.", finding=self.finding, hint=self.hint)

    @property
    def sentence(self) -> str:
        """All of it in words, without the LoRA's name."""
        said = say("{weights}{finding}", weights=self.weights, finding=self.advice) if self.weights else self.advice
        return together((said, self.used))

    @property
    def line(self) -> Sentence:
        """The same with the LoRA's name."""
        return say("{lora}: {sentence}", lora=self.entry.lora, sentence=self.sentence)

    def to_json(self) -> dict[str, Any]:
        """As JSON data; the row by its name."""
        keys = ("verdict", "sentence", "model", "clip", "applied", "unmatched", "misshapen", "unused", "unread",
                "made_for", "evidence")  # fmt: skip
        return {"lora": self.entry.lora, **{key: getattr(self, key) for key in keys}}

    def __str__(self) -> str:
        return str(self.line)


def outcome(weighted: Weighted, placement: Placement, examined: Examined | None, base: Base | None) -> Outcome:
    """The outcome of a row whose LoRA's modules were placed so on this model.

    `examined` is the file, None if nothing is known of it but its modules; `base` is None for a model that is not
    known but for its layers.
    """
    words = weights_in_words(weighted, any(placed.module.component != MODEL for placed in placement.placed))
    joined = say("weight {weight}, " if weighted.is_constant else "weight {weight}; ", weight=words)
    found = finding(weighted.entry, placement, examined, base)
    weights = "" if found.verdict == INCOMPATIBLE else joined
    return replace(found, row=weighted.row, weights=weights, model=weighted.model, clip=weighted.clip)


def check_file(examined: Examined, base: Base, fallback: Mapping[str, Site] | None = None) -> Outcome:
    """Whether a LoRA file fits a base. `fallback` gives places by full module name, as for `place`."""
    entry = Entry(examined.path)
    if examined.problem:
        verdict = NOT_A_LORA if examined.kind != kinds.LORA else BROKEN
        return Outcome(entry, verdict, examined.problem)
    placement = place(examined.reading.modules, base.targets, fallback)
    found = finding(entry, placement, examined, base)
    what = found.finding
    if base.quantization and found.verdict in (COMPATIBLE, PARTIAL) and found.applied:
        by_name = any(placed.site.shape is None for placed in placement.placed)
        how = (
            "{quantized}: shapes are packed and were not compared, and nothing can be baked into this file"
            if by_name
            else "{quantized}: nothing can be baked into this file"
        )
        what = together((what, say(how, quantized=words(base.quantization))))
    return replace(found, finding=what, evidence=tuple(examined.evidence))


def finding(entry: Entry, placement: Placement, examined: Examined | None, base: Base | None) -> Outcome:
    """The outcome without row and weights; as `outcome`."""
    placed = placement.modules
    applied, unmatched, misshapen, unused = (
        len(part) for part in (placed, placement.unmatched, placement.misshapen, placement.unused)
    )
    missing = unmatched + misshapen
    identity = examined.identity if examined else None
    unread = len(examined.reading.leftovers) if examined else 0
    made_for = identity.made_for if identity else ()
    architectures = base.architectures if base else ()
    of_model = _of_model(placed)
    lacking = _of_model([*placement.unmatched, *(module for module, _ in placement.misshapen)])
    if of_model + lacking:
        verdict = _verdict(of_model, lacking, identity, architectures)
        if verdict == COMPATIBLE and missing:
            verdict = PARTIAL
    else:  # text encoders alone
        lost = missing or (unused and base is not None and has_text_encoders(base.targets))
        verdict = PARTIAL if applied and missing else INCOMPATIBLE if lost and not applied else COMPATIBLE
    if base and base.hidden and verdict in (INCOMPATIBLE, PARTIAL):
        verdict = UNKNOWN
    notes = [*_notes(placement, unread), *(_said(examined, placement) if examined else ())]
    hint = ""
    if verdict == INCOMPATIBLE and not of_model + lacking:
        what, hint = _encoder_refusal(placement, examined)
        what = together((what, *notes)) if missing else what
    elif not (applied or missing):
        why = say("nothing is applied") if unused else say("the file has no modules that these weights are for")
        what = together((why, *notes))
    elif verdict == UNKNOWN:
        why = words(base.quantization) if base and base.quantization else say("the model's layers are packed")
        what = together((say("whether it fits cannot be told: {why}", why=why), *notes))
    elif verdict == COMPATIBLE:
        what = together((say("all {count} modules fit", count=applied), *notes))
    elif verdict == PARTIAL:
        owner = _owner(placement, architectures)
        example = _example(placement)
        left_out = (
            say("left out: {example} (layers of {model})", example=example, model=title(owner))
            if owner
            else say("left out: {example}", example=example)
        )
        what = together((say("{modules} fit", modules=placement.fitting), *notes, left_out))
    else:
        fitting = (
            say("{count} of {total} modules", count=of_model, total=of_model + lacking)
            if of_model + lacking
            else placement.fitting
        )
        owner = None if of_model else _owner(placement, architectures)
        if owner:
            what, hint = _variant_refusal(placement, owner, architectures)
        else:
            what, hint = _refusal(placement, fitting, made_for, architectures)
    return Outcome(
        entry, verdict, what, hint=hint, applied=applied, unmatched=unmatched, misshapen=misshapen, unused=unused,
        unread=unread, made_for=made_for,
    )  # fmt: skip


def _notes(placement: Placement, unread: int) -> Iterator[Sentence]:
    """What is left aside."""
    if placement.unused:
        count = len(placement.unused)
        yield say("{count} text encoder modules are not used, no such CLIP is connected", count=count)
    if unread:
        yield say("{count} tensors of the file belong to no LoRA module", count=unread)
    if placement.aside:
        yield say(
            "{count} modules for other parts of a text encoder, e.g. its vision tower, are left aside",
            count=len(placement.aside),
        )


def _said(examined: Examined, placement: Placement) -> Iterator[str]:
    """What the metadata say that changes what is applied, or ought to be known where it is."""
    if examined.scales:
        yield from scale_notes(examined.scales, (placed.module for placed in placement.placed))
    sigmas = schedule(examined.header.metadata)
    if sigmas and placement.placed:
        yield sigmas


def _of_model(modules: Sequence[Module]) -> int:
    return sum(1 for module in modules if module.component == MODEL)


def _verdict(fitting: int, lacking: int, identity: Identity | None, base: Sequence[str]) -> str:
    """From the diffusion model's modules alone: text encoders are shared by models that have nothing else in common."""
    if not fitting:
        return INCOMPATIBLE
    if identity is None or not base:
        return PARTIAL if lacking else COMPATIBLE
    # All of Flux.1's layers are in HunyuanVideo: what has all layers of another model is not for this one.
    made_for = identity.complete
    if lacking:
        made_for = made_for or identity.architectures or identity.made_for
    if made_for and not any(are_related(one, other) for one in made_for for other in base):
        return INCOMPATIBLE
    return PARTIAL if lacking else COMPATIBLE


def _refusal(placement: Placement, fitting: str, made_for: Sequence[str], base: Sequence[str]) -> tuple[str, str]:
    """(what was found, what to do); `fitting` says how many of the modules that count fit, in words."""
    this, others = family_titles(base, 1), family_titles(made_for)
    is_other = not any(are_interchangeable(one, other) for one in made_for for other in base)
    choose = _choose(this[0]) if this else say("Choose a LoRA made for this model")
    if others and is_other:
        is_lucky = not placement.misshapen and not placement.unmatched
        made = (
            say("made for {others}, this model is {model}: {fit}", others=any_of(others), model=this[0],
                fit=say("{modules} fit by name and shape, but only by chance" if is_lucky else "{modules} fit",
                        modules=fitting))
            if this
            else say("made for {others}; {fit}", others=any_of(others),
                     fit=say("{modules} fit this model by name and shape, but only by chance" if is_lucky
                             else "{modules} fit this model", modules=fitting))
        )  # fmt: skip
        return made, choose
    return say("{modules} fit this model ({example})", modules=placement.fitting, example=_example(placement)), choose


def _choose(model: str) -> Sentence:
    is_an = with_article(model).startswith("an ")
    return say("Choose an {model} LoRA" if is_an else "Choose a {model} LoRA", model=model)


def _owner(placement: Placement, base: Sequence[str]) -> str | None:
    """The relative of the base model that has all layers that the base has not; None if there is none."""
    lacking = [*placement.unmatched, *(module for module, _ in placement.misshapen)]
    lacking = [module for module in lacking if module.component == MODEL]
    owners = find_owners(lacking, base) if lacking and base else ()
    return next(iter(owners), None) if not set(owners) & set(base) else None


def _variant_refusal(placement: Placement, owner: str, base: Sequence[str]) -> tuple[str, str]:
    """The same for a file that changes nothing but what a variant of the model has beyond it."""
    count = len(placement.unmatched) + len(placement.misshapen)
    what = say(
        "made for layers of {owner} that this model, {model}, does not have: 0 of {count} modules fit ({example})",
        owner=title(owner), model=title(base[0]), count=count, example=_example(placement),
    )  # fmt: skip
    return what, say("Load {model}", model=title(owner))


def _encoder_refusal(placement: Placement, examined: Examined | None) -> tuple[str, str]:
    """The same for a file that changes text encoders alone, none of which is connected."""
    titles = encoder_titles(find_encoders(examined.reading.modules)) if examined else ""
    total = len(placement.unmatched) + len(placement.misshapen) + len(placement.unused)
    if not titles:
        what = say(
            "0 of {total} text encoder modules fit the connected CLIP ({example})",
            total=total, example=_example(placement),
        )  # fmt: skip
        return what, _other_clip()
    others = family_titles(examined.identity.made_for) if examined else []
    made_for = say("made for the text encoder {titles}", titles=titles)
    if others:
        having = (
            "made for the text encoder {titles}, which {models} has"
            if len(others) == 1
            else "made for the text encoder {titles}, which {models} have"
        )
        made_for = say(having, titles=titles, models=all_of(others))
    return together((made_for, say("0 of {total} modules fit the connected CLIP", total=total))), _other_clip()


def _other_clip() -> Sentence:
    return say("Connect the CLIP that it is for")


def _example(placement: Placement) -> str:
    if placement.misshapen:
        module, reason = placement.misshapen[0]
        count = len(placement.misshapen) + len(placement.unmatched)
    else:
        module, reason, count = placement.unmatched[0], say("the model has no such layer"), len(placement.unmatched)
    first = say("{module}, {reason}", module=shortened(module.name), reason=shortened(reason, 500))
    return first if count == 1 else say("{first}; and {count} more", first=first, count=count - 1)


def report(outcomes: Sequence[Outcome], notes: Sequence[str] = ()) -> str:
    """All rows in lines, notes first; says so when there is nothing to apply."""
    return "\n".join(report_lines(outcomes, notes))


def report_lines(outcomes: Sequence[Outcome], notes: Sequence[str] = ()) -> list[str]:
    """The same line by line."""
    lines = [*notes, *(item.line for item in outcomes)]
    return lines or [say("The stack is empty: the model is unchanged.")]
