"""Which rows will surely be refused, told while a prompt is queued: from headers alone, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable

from ..architectures.sites import Targets
from ..choices import REFUSE, Choices
from ..errors import FileProblem, StackError
from ..lora.file import LoraFile
from ..models.base import Base, base_by_name
from ..models.placing import place
from ..sentences import say
from ..spelling.prefixes import MODEL
from ..stack import Stack, Weighted
from ..stack.wanted import wanted_of
from .outcome import INCOMPATIBLE, Outcome, outcome
from .rows import Files, find_rows, missing_error

_COMFYUI = "model.diffusion_model."
"""Start of the diffusion model's tensors in a checkpoint that ComfyUI loads under these very names."""


def refusals(
    stack: Stack, files: Files, find_base: Callable[[], Base | None], choices: Choices, *, has_clip: bool = True
) -> list[StackError]:
    """The errors, with their numbers, of all rows that `make_plan` would refuse on this base; missing files are one.

    Rows of one file are added up, and the first of them is named. `find_base` gives the base model, or None if it is
    not known, and is asked when a row needs it.
    """
    found = find_rows(stack, files.find, find_base, choices, has_clip=has_clip)
    if choices.policy != REFUSE:
        return list(found.refused)
    unread = files.unread() if found.lost else 0
    # What is not read yet is read by the run, which then says it: nobody waits for it here.
    lost = [(row, entry) for row, entry in found.lost if not (unread and wanted_of(entry).is_identified)]
    missing = [missing_error(lost)] if lost else []
    refused = list(found.refused)
    for path, weighted in stack.combined(found.paths).items():
        try:
            misfit = find_misfit(files.open(path), weighted, find_base)
            reason = misfit.advice if misfit else None
        except FileProblem as error:
            reason = error.reason
        if reason:
            told = say("{lora}: {sentence}", lora=weighted.entry.lora, sentence=reason)
            refused.append(StackError(told, weighted.row))
    return [*missing, *sorted(refused, key=lambda error: error.row or 0)]


def find_misfit(file: LoraFile, weighted: Weighted, find_base: Callable[[], Base | None]) -> Outcome | None:
    """The outcome of a LoRA that cannot be for the base; None if it may be.

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
    return found if is_certain else None


def _outcome(file: LoraFile, weighted: Weighted, base: Base, targets: Targets) -> Outcome:
    """What the diffusion model's modules alone say."""
    modules = [module for module in file.reading.modules if module.component == MODEL]
    return outcome(weighted, place(modules, targets), file.examined, base)


def _is_as_loaded(base: Base) -> bool:
    return any(site.key.startswith(_COMFYUI) for site in base.targets.get(MODEL, {}).values())
