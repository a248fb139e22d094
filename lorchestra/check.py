"""What became of each row of a stack: counts and one sentence for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .errors import shortened
from .placing import Placement
from .stack import Entry

COMPATIBLE = "compatible"
PARTIAL = "partial"
INCOMPATIBLE = "incompatible"
MISSING = "missing"
OFF = "off"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one LoRA."""

    entry: Entry
    verdict: str
    """`compatible`, `partial`, `incompatible`, `missing` or `off`."""
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

    def __str__(self) -> str:
        return f"{self.entry.lora}: {self.sentence}"


def outcome(entry: Entry, placement: Placement, model: float, clip: float, *, unread: int = 0) -> Outcome:
    """The outcome of a LoRA whose modules were placed so, and of whose tensors `unread` belong to no module."""
    applied, unmatched, misshapen, unused = (
        len(part) for part in (placement.placed, placement.unmatched, placement.misshapen, placement.unused)
    )
    missing = unmatched + misshapen
    weights = f"{model:g}" if model == clip else f"model {model:g}, clip {clip:g}"
    note = f"; {unused} text encoder modules are not used, no such CLIP is connected" if unused else ""
    if unread:
        note += f"; {unread} tensors of the file belong to no LoRA module"
    if not (applied or missing):
        what = "nothing is applied" if unused else "the file has no modules that these weights are for"
        sentence, verdict = f"weight {weights}, {what}{note}", COMPATIBLE
    elif not missing:
        sentence = f"weight {weights}, all {applied} modules fit{note}"
        verdict = COMPATIBLE
    elif applied:
        sentence = f"weight {weights}, {placement.fitting} fit{note}; left out: {_example(placement)}"
        verdict = PARTIAL
    else:
        sentence = (
            f"{placement.fitting} fit this model ({_example(placement)}). "
            "Choose a LoRA made for this model or switch this row off."
        )
        verdict = INCOMPATIBLE
    return Outcome(entry, verdict, sentence, model, clip, applied, unmatched, misshapen, unused, unread)


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
