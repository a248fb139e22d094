"""Which rows will surely be refused, told while a prompt is queued: from headers alone, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..apply.plan import find_files
from ..errors import FileProblem, MissingLora
from ..lora.file import LoraFile
from ..models.base import Base, base_by_name
from ..models.placing import Targets, place
from ..spelling.prefixes import MODEL
from ..stack import Entry, Stack, Weighted
from ..stack.policies import ERROR, REFUSE, SKIP
from .outcome import INCOMPATIBLE, Outcome, outcome

_MOST = 8
"""Rows that are named."""

_COMFYUI = "model.diffusion_model."
"""Start of the diffusion model's tensors in a checkpoint that ComfyUI loads under these very names."""


def refusals(
    stack: Stack,
    *,
    find: Callable[[Entry, int], str | None],
    open_file: Callable[[str], LoraFile],
    base: Callable[[], Base | None],
    has_clip: bool = True,
    missing: str = ERROR,
    policy: str = REFUSE,
    schedules: bool = False,
    expert: Callable[[], str | None] | None = None,
) -> list[str]:
    """One sentence, with its number, for each row that `make_plan` would refuse on this base; files that lack first.

    Rows of one file are added up, and the first of them is named. `base` gives the base model, or None where nobody
    knows it, and is asked when a row needs it; all else is as for `make_plan`.

    Only what is certain counts. Text encoders are not looked at: their model is not known yet. Where neither the base
    nor what the file is made for is known, and where a quantization hides layers, a row passes, and is checked again
    on the loaded model.

    Raises `StackError` for a row that no policy lets through: a name of several files, a schedule.
    """
    sentences: list[str] = []
    skips = SKIP if policy != REFUSE else missing
    find_all = partial(find_files, stack, find, has_clip=has_clip, schedules=schedules, expert=expert)
    try:
        _, paths = find_all(missing=skips)
    except MissingLora as error:
        sentences.append(str(error))
        _, paths = find_all(missing=SKIP)
    if policy != REFUSE:
        return []
    refused: list[tuple[int, str]] = []
    for path, weighted in stack.combined(lambda entry: paths.get(id(entry))).items():
        if path is None:
            continue
        try:
            reason = _misfit(open_file(path), weighted, base)
        except FileProblem as error:
            reason = f"{weighted.entry.lora}: {error.reason}"
        if reason:
            row = next(row for row, entry in enumerate(stack.entries, 1) if entry is weighted.entry)
            refused.append((row, reason))
    refused.sort()
    sentences += [f"row {row}: {reason}" for row, reason in refused[:_MOST]]
    if len(refused) > _MOST:
        sentences.append(f"… and {len(refused) - _MOST} more rows")
    return sentences


def _misfit(file: LoraFile, weighted: Weighted, find_base: Callable[[], Base | None]) -> str | None:
    """Why a LoRA cannot be for the base, with its name; None where it may be."""
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
    return str(found) if is_certain else None


def _outcome(file: LoraFile, weighted: Weighted, base: Base, targets: Targets) -> Outcome:
    """What the diffusion model's modules alone say."""
    modules = [module for module in file.reading.modules if module.component == MODEL]
    return outcome(
        weighted.entry,
        place(modules, targets),
        weighted.model,
        weighted.model,
        identity=file.examined.identity,
        base=base.architectures,
    )


def _is_as_loaded(base: Base) -> bool:
    return any(site.key.startswith(_COMFYUI) for site in base.targets.get(MODEL, {}).values())
