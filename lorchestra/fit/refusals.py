"""Which rows will surely be refused, told while a prompt is queued: from headers alone, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..architectures.sites import Targets
from ..choices import REFUSE, Choices
from ..errors import FileProblem
from ..lora.file import LoraFile
from ..models.base import Base, base_by_name
from ..models.placing import place
from ..sentences import Sentence, say
from ..spelling.prefixes import MODEL
from ..stack import Stack, Weighted
from ..stack.wanted import wanted_of
from .outcome import INCOMPATIBLE, Outcome, outcome
from .rows import Files, find_rows, missing_error

_MOST = 8
"""Rows that are named."""

_COMFYUI = "model.diffusion_model."
"""Start of the diffusion model's tensors in a checkpoint that ComfyUI loads under these very names."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A row that cannot be applied."""

    row: int
    name: str
    reason: str
    """What was found and what to do, without row and name."""

    def __str__(self) -> str:
        return str(self.sentence)

    @property
    def sentence(self) -> Sentence:
        """The same with its parts."""
        reason = say("{lora}: {sentence}", lora=self.name, sentence=self.reason)
        return say("row {row}: {reason}", row=self.row, reason=reason)


def refusals(
    stack: Stack, files: Files, find_base: Callable[[], Base | None], choices: Choices, *, has_clip: bool = True
) -> list[str]:
    """One sentence, with its number, for each row that `make_plan` would refuse on this base; missing files first.

    Rows of one file are added up, and the first of them is named. `find_base` gives the base model, or None if it is
    not known, and is asked when a row needs it.

    Raises `StackError` for a row that no policy lets through: a name of several files, a schedule.
    """
    found = find_rows(stack, files.find, find_base, choices, has_clip=has_clip)
    if choices.policy != REFUSE:
        return []
    unread = files.unread() if found.lost else 0
    # What is not read yet is read by the run, which then says it: nobody waits for it here.
    lost = [(row, entry) for row, entry in found.lost if not (unread and wanted_of(entry).is_identified)]
    sentences = [missing_error(lost).sentence] if lost else []
    refused: list[Refusal] = []
    for path, weighted in stack.combined(found.paths).items():
        try:
            reason = find_misfit(files.open(path), weighted, find_base)
        except FileProblem as error:
            reason = error.reason
        if reason:
            refused.append(Refusal(weighted.row, weighted.entry.lora, reason))
    refused.sort(key=lambda refusal: refusal.row)
    sentences += (refusal.sentence for refusal in refused[:_MOST])
    if len(refused) > _MOST:
        sentences.append(say("… and {count} more rows", count=len(refused) - _MOST))
    return sentences


def find_misfit(file: LoraFile, weighted: Weighted, find_base: Callable[[], Base | None]) -> str | None:
    """Why a LoRA cannot be for the base, and what to do; None if it may be.

    Only what is certain counts. Text encoders are not looked at: their model is not known yet. If neither the base nor
    what the file is made for is known, and if a quantization hides layers, a row passes, and is checked again on the
    loaded model.
    """
    base = find_base() if weighted.shares else None
    if base is None or base.hidden:
        return None
    found = _outcome(file, weighted, base, base.targets)
    if found.verdict != INCOMPATIBLE or not found.made_for:
        return None
    if not base.architectures:
        is_certain = not found.applied and _is_as_loaded(base)
    else:
        # The file may name its layers as ComfyUI does not, and be renamed when it is loaded.
        loaded = base_by_name(base.architectures[0])
        is_certain = loaded is not None and _outcome(file, weighted, base, loaded.targets).verdict == INCOMPATIBLE
    return found.advice if is_certain else None


def _outcome(file: LoraFile, weighted: Weighted, base: Base, targets: Targets) -> Outcome:
    """What the diffusion model's modules alone say."""
    modules = [module for module in file.reading.modules if module.component == MODEL]
    return outcome(weighted, place(modules, targets), file.examined, base)


def _is_as_loaded(base: Base) -> bool:
    return any(site.key.startswith(_COMFYUI) for site in base.targets.get(MODEL, {}).values())
