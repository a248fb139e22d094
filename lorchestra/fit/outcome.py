"""Whether a LoRA fits a model, in one word and one sentence, before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ..architectures.names import are_interchangeable, are_related, family_titles, with_article
from ..errors import shortened
from ..models.placing import Placement
from ..spelling.modules import Module
from ..spelling.prefixes import MODEL
from ..stack import Entry

if TYPE_CHECKING:
    from ..lora.identify import Identity

COMPATIBLE = "compatible"
PARTIAL = "partial"
INCOMPATIBLE = "incompatible"
UNKNOWN = "unknown"
NOT_A_LORA = "not-a-lora"
BROKEN = "broken"
MISSING = "missing"
OFF = "off"

VERDICTS = (COMPATIBLE, PARTIAL, INCOMPATIBLE, UNKNOWN, NOT_A_LORA, BROKEN, MISSING, OFF)
"""`partial`: a part fits. `unknown`: nobody can tell. `off`: the row is off, or its weights are zero."""

REFUSED = frozenset({INCOMPATIBLE, NOT_A_LORA, BROKEN, MISSING})
"""Verdicts with which a row does nothing good."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one LoRA."""

    entry: Entry
    verdict: str
    """One of `VERDICTS`."""
    sentence: str
    """Without the LoRA's name."""
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
    """Ids of the architectures that the file is made for, the likeliest first; empty where that is not known."""
    evidence: tuple[str, ...] = field(default=(), compare=False)
    """Why, in sentences."""

    def to_json(self) -> dict[str, Any]:
        """As JSON data; the row by its name."""
        data = asdict(self)
        del data["entry"]
        return {"lora": self.entry.lora, **data}

    def __str__(self) -> str:
        return f"{self.entry.lora}: {self.sentence}"


def outcome(
    entry: Entry,
    placement: Placement,
    model: float,
    clip: float,
    *,
    unread: int = 0,
    identity: Identity | None = None,
    base: Sequence[str] = (),
    hidden: bool = False,
    weights: str = "",
) -> Outcome:
    """The outcome of a LoRA whose modules were placed so, and of whose tensors `unread` belong to no module.

    `base` is what the model is (ids of architectures, the likeliest first; empty where that is not known); `hidden`
    says that a quantization renamed or packed layers, so that what is not found may be there all the same. `weights`
    tells weights that two numbers cannot.
    """
    applied, unmatched, misshapen, unused = (
        len(part) for part in (placement.placed, placement.unmatched, placement.misshapen, placement.unused)
    )
    missing = unmatched + misshapen
    made_for = identity.made_for if identity else ()
    of_model = _of_model([placed.module for placed in placement.placed])
    lacking = _of_model([*placement.unmatched, *(module for module, _ in placement.misshapen)])
    if of_model + lacking:
        verdict = _verdict(of_model, lacking, identity, base)
        if verdict == COMPATIBLE and missing:
            verdict = PARTIAL
    else:  # text encoders alone
        verdict = COMPATIBLE if not missing else PARTIAL if applied else INCOMPATIBLE
    if hidden and verdict in (INCOMPATIBLE, PARTIAL):
        verdict = UNKNOWN
    between = "; " if weights else ", "
    weights = (weights or (f"{model:g}" if model == clip else f"model {model:g}, clip {clip:g}")) + between
    note = f"; {unused} text encoder modules are not used, no such CLIP is connected" if unused else ""
    if unread:
        note += f"; {unread} tensors of the file belong to no LoRA module"
    if not (applied or missing):
        what = "nothing is applied" if unused else "the file has no modules that these weights are for"
        sentence = f"weight {weights}{what}{note}"
    elif verdict == UNKNOWN:
        sentence = f"weight {weights}nobody can tell whether it fits: the model's layers are packed{note}"
    elif verdict == COMPATIBLE:
        sentence = f"weight {weights}all {applied} modules fit{note}"
    elif verdict == PARTIAL:
        sentence = f"weight {weights}{placement.fitting} fit{note}; left out: {_example(placement)}"
    else:
        fitting = f"{of_model} of {of_model + lacking} modules" if of_model + lacking else placement.fitting
        sentence = _refusal(placement, fitting, made_for, base)
    return Outcome(entry, verdict, sentence, model, clip, applied, unmatched, misshapen, unused, unread, made_for)


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


def _refusal(placement: Placement, fitting: str, made_for: Sequence[str], base: Sequence[str]) -> str:
    """`fitting` says how many of the modules that count fit, in words."""
    this, others = family_titles(base, 1), family_titles(made_for)
    is_other = not any(are_interchangeable(one, other) for one in made_for for other in base)
    choose = f"Choose {with_article(this[0])} LoRA" if this else "Choose a LoRA made for this model"
    if others and is_other:
        which = f", this model is {this[0]}: " if this else "; "
        where = "" if this else " this model"
        lucky = " by name and shape, which is chance" if not placement.misshapen and not placement.unmatched else ""
        made = f"made for {' or '.join(others)}{which}{fitting} fit{where}{lucky}"
        return f"{made}. {choose} or switch this row off."
    return f"{placement.fitting} fit this model ({_example(placement)}). {choose} or switch this row off."


def _example(placement: Placement) -> str:
    if placement.misshapen:
        module, reason = placement.misshapen[0]
        count = len(placement.misshapen) + len(placement.unmatched)
    else:
        module, reason, count = placement.unmatched[0], "the model has no such layer", len(placement.unmatched)
    first = f"{shortened(module.name)}, {shortened(reason, 500)}"
    return first if count == 1 else f"{first}; and {count - 1} more"


def report(outcomes: Sequence[Outcome], notes: Sequence[str] = ()) -> str:
    """All rows in lines, notes first; says so when there is nothing to apply."""
    lines = [*notes, *(str(item) for item in outcomes)]
    return "\n".join(lines) if lines else "The stack is empty: the model is unchanged."
