"""The Stack from Request node."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..lorchestra.choices import AUTO, ERROR, MISSING_POLICIES, SKIP
from ..lorchestra.errors import LorchestraError, StackError, all_in_one, quoted
from ..lorchestra.sentences import say, together
from .export import FORMS as WRITTEN
from .host import files, prompt
from .host.schema import category, schema, shown
from .sockets import LoraStackSocket, read_rows, to_rows

if TYPE_CHECKING:
    from ..lorchestra.exchange import Reading
    from ..lorchestra.stack import Entry, Stack

FORMS = (AUTO, *(form for form in WRITTEN if form not in ("json", "schema")))
"""The dialects, and the one that the text is told to be; our own JSON is always told."""


class StackFromRequest(io.ComfyNode):
    """Reads the LoRAs of another program's request."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended: workflows restore widget values by position."""
        return schema(
            node_id="LorchestraStackFromRequest",
            display_name="Stack from Request",
            category=category(),
            description=(
                "Reads the LoRAs out of a request or a prompt of another program: Runware, A1111, rgthree, fal, "
                "diffusers and many more. What can't be kept is listed in the report."
            ),
            search_aliases=[
                "lora from text",
                "import lora",
                "runware",
                "a1111",
                "prompt lora tags",
                "lora stack import",
            ],
            inputs=[
                io.String.Input(
                    "request",
                    multiline=True,
                    default="",
                    tooltip="A request's JSON, a prompt with <lora:…> tags, or a script. Leave it empty for no LoRAs.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMS),
                    default=AUTO,
                    optional=True,
                    tooltip="The program that the text is for; auto tells it from the text.",
                ),
                io.Combo.Input(
                    "missing",
                    options=list(MISSING_POLICIES),
                    default=ERROR,
                    optional=True,
                    tooltip=(
                        "What happens to a LoRA whose file is not there. stop: nothing runs. skip: the others are "
                        "read, and the report names it."
                    ),
                ),
                LoraStackSocket.Input(
                    "lora_stack", optional=True, tooltip="Rows that come before those of the request."
                ),
            ],
            outputs=[
                LoraStackSocket.Output(
                    display_name="LORA_STACK", tooltip="The LoRAs that were found, for the lora_stack of a LoRA Stack."
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="One line per LoRA: the file that was found, and what was lost.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        request: object = None,
        *,
        format: str | None = None,  # noqa: A002
        missing: str | None = None,
    ) -> bool | str:
        """Runs when the prompt is queued: text that cannot be read, and LoRAs that cannot be found, stop it there.

        What comes by a link is left to the run. ComfyUI passes `request` alone, as for the LoRA Stack.
        """
        from ..lorchestra.fit.rows import missing_error
        from ..lorchestra.stack.wanted import wanted_of

        inputs = prompt.find_queued_inputs()
        form = format or prompt.find_choice(inputs, "format", AUTO, unknown="")
        skipping = missing or prompt.find_choice(inputs, "missing", ERROR, unknown=SKIP)
        for name, value, known in (("format", form or AUTO, FORMS), ("missing", skipping, MISSING_POLICIES)):
            if value not in known:  # ComfyUI 0.3.64 does not check choices
                return f"{name} is {quoted(value)}; expected one of {', '.join(known)}"
        if not isinstance(request, str) or not form:
            return True
        try:
            finder = files.Finder(0)
            found = _find(_read(request, form).stack, finder)
        except LorchestraError as error:
            return str(error)
        refused = list(found.refused)
        unread = finder.unread() if found.lost else 0
        # What is not read yet is read by the run, which then says it: nobody waits for it here.
        lost = [(row, entry) for row, entry in found.lost if not (unread and wanted_of(entry).is_identified)]
        if lost and skipping != SKIP:
            refused.append(missing_error(lost))
        return str(all_in_one(refused)) if refused else True

    @classmethod
    def fingerprint_inputs(cls, request: object = None, format: str | None = None, **_: object) -> str:  # noqa: A002
        """The node runs again when a LoRA file appeared, went, or changed on disk."""
        try:
            return files.fingerprint(_read(request, format or AUTO).stack) if isinstance(request, str) else ""
        except LorchestraError as error:
            return str(error)

    @classmethod
    def execute(
        cls,
        request: str,
        format: str = AUTO,  # noqa: A002
        missing: str = ERROR,
        lora_stack: object = None,
    ) -> io.NodeOutput:
        """Reads the text, finds the files, and says what became of each LoRA."""
        from ..lorchestra.fit.rows import missing_error

        reading, upstream = _read(request, format), read_rows(lora_stack)
        finder = files.Finder(files.SECONDS)
        found = _find(reading.stack, finder)
        refused = list(found.refused)
        if found.lost and missing != SKIP:
            refused.append(missing_error(found.lost, finder.unread()))
        if refused:
            raise all_in_one(refused)
        losses = (say("Not kept from the text: {loss}", loss=loss) for loss in reading.losses)
        lines = [*found.lines, *losses] or [say("There is no LoRA in the request.")]
        rows = to_rows([*upstream.entries, *found.entries])
        return io.NodeOutput(rows, "\n".join(lines), ui=shown(lines))


@dataclass(frozen=True, slots=True)
class _Found:
    """The rows of a request."""

    entries: tuple[Entry, ...]
    """Those that have a file, under the name by which ComfyUI lists it."""
    lost: tuple[tuple[int, Entry], ...]
    """Number and row of those without one."""
    refused: tuple[StackError, ...]
    """Rows whose name may be any of several files."""
    lines: tuple[str, ...]
    """What became of each."""


def _read(text: str, form: str) -> Reading:
    """The stack in a text; raises `StackError` that names the row."""
    from ..lorchestra.exchange import Reading, find_dialect_or_raise, read_any
    from ..lorchestra.stack import Stack

    if not text.strip():
        return Reading(Stack())
    return read_any(text) if form == AUTO else find_dialect_or_raise(form).read(text)


def _find(stack: Stack, finder: files.Finder) -> _Found:
    """The files of the rows that are on."""
    entries: list[Entry] = []
    lost: list[tuple[int, Entry]] = []
    refused: list[StackError] = []
    lines: list[str] = []
    for row, entry in stack.rows:
        if not entry.active:
            why = say("weight 0; left out") if entry.on else say("off; left out")
            lines.append(say("{lora}: {sentence}", lora=entry.lora, sentence=why))
            continue
        try:
            resolved = finder.resolve(entry, row)
        except StackError as error:
            refused.append(error)
            continue
        if resolved is None:
            lost.append((row, entry))
            lines.append(say("{lora}: {sentence}", lora=entry.lora, sentence=say("not found; skipped")))
            continue
        entries.append(replace(entry, lora=resolved.name))
        weight = (
            say("weight {model}", model=f"{entry.model:g}")
            if entry.clip is None
            else say("weight {model}, CLIP {clip}", model=f"{entry.model:g}", clip=f"{entry.clip:g}")
        )
        used = say("used {file}, {how}", file=resolved.name, how=resolved.how) if resolved.how else ""
        lines.append(say("{lora}: {sentence}", lora=entry.lora, sentence=together((weight, used))))
    return _Found(tuple(entries), tuple(lost), tuple(refused), tuple(lines))
