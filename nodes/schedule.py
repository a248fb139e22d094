"""The LoRA Schedule node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..lorchestra.errors import LorchestraError, ScheduleError, quoted
from ..lorchestra.schedule.presets import PRESETS
from .host import files, prompt
from .host.schema import category, schema
from .sockets import ScheduleSocket

if TYPE_CHECKING:
    from torch import Tensor

    from ..lorchestra.schedule import Schedule, Steps

FROM_TEXT = "from text"
"""The choice of `preset` with which the text counts."""
CHOICES = (FROM_TEXT, *(preset.name for preset in PRESETS))
DEFAULT = "0:0, 1:1"
DEFAULT_STEPS = 20


class LoraSchedule(io.ComfyNode):
    """Makes a schedule out of text or a preset and draws it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended: workflows restore widget values by position."""
        return schema(
            node_id="LorchestraLoraSchedule",
            display_name="LoRA Schedule",
            category=category(),
            description=(
                "A weight that changes over the steps, for the rows of a LoRA Stack: each row's model weight is "
                "multiplied by it. The picture shows it over one run; a dot is the start of a step."
            ),
            search_aliases=["lora schedule", "lora curve", "weight over steps", "keyframes", "fade", "loractl"],
            is_output_node=True,
            inputs=[
                io.Combo.Input(
                    "preset",
                    options=list(CHOICES),
                    default=FROM_TEXT,
                    tooltip=f"A ready-made schedule. With '{FROM_TEXT}', the text below is used.",
                ),
                io.String.Input(
                    "text",
                    multiline=True,
                    default=DEFAULT,
                    tooltip=(
                        "Position:weight, and a word for the way to the next: 0:0, 0.3:1 ease, 1:0.2. Positions are "
                        "progress from 0 to 1, or steps (step 1:1 hold, 3:0), or sigmas (sigma 14.6:0, 7:1). "
                        "Ranges: 0.2-0.6:1. loractl's 0.2@0.2,1@0.5 works too."
                    ),
                ),
                io.Int.Input(
                    "steps",
                    default=DEFAULT_STEPS,
                    min=1,
                    max=10_000,
                    tooltip="How many steps the picture shows. The schedule itself works with any number of steps.",
                ),
                io.Sigmas.Input(
                    "sigmas", optional=True, tooltip="The run in the picture, instead of steps: from a scheduler node."
                ),
            ],
            outputs=[
                ScheduleSocket.Output(display_name="schedule", tooltip="For the schedule input of a LoRA Stack."),
                io.String.Output(display_name="text", tooltip="The same as text, for a row of a LoRA Stack."),
            ],
        )

    @classmethod
    def validate_inputs(cls, text: object = None, *, preset: str | None = None) -> bool | str:
        """Runs when the prompt is queued: text that means no schedule stops it there, with the column.

        ComfyUI passes `text` alone; the preset is read from the queued prompt.
        """
        if preset is None:
            inputs = prompt.find_queued_inputs()
            chosen = FROM_TEXT if inputs is None else inputs.get("preset", FROM_TEXT)
        else:
            chosen = preset
        if not isinstance(chosen, str) or (chosen == FROM_TEXT and not isinstance(text, str)):
            return True  # by a link, so it is known when the node runs
        try:
            _read(chosen, text if isinstance(text, str) else "")
        except LorchestraError as error:
            return str(error)
        return True

    @classmethod
    def execute(cls, preset: str, text: str, steps: int = DEFAULT_STEPS, sigmas: Tensor | None = None) -> io.NodeOutput:
        """The schedule, and its picture over the run."""
        found, run = _read(preset, text), _steps(steps, sigmas)
        levels = {"sigmas": list(run.sigmas)} if run.sigmas else {}  # for the curve on the node
        notes = [found.to_text(), *found.unreached(run)]
        images: list[dict[str, str]] = []
        if found.needs_sigmas and not run.sigmas:
            notes.append("The schedule goes by sigma: connect sigmas to see it drawn.")
        else:
            from ..lorchestra.schedule import plot

            images.append(files.write_preview(plot.png(plot.draw(found, run)), "lorchestra_schedule"))
        return io.NodeOutput(found, found.to_text(), ui={"images": images, "text": ["\n".join(notes)], **levels})


def _read(preset: str, text: str) -> Schedule:
    from ..lorchestra.schedule import Schedule

    if preset == FROM_TEXT:
        return Schedule.parse(text)
    if preset not in CHOICES:  # ComfyUI 0.3.64 does not check choices
        raise ScheduleError(f"preset is {quoted(preset)}; expected one of {', '.join(CHOICES)}")
    return Schedule.parse(preset)


def _steps(count: int, sigmas: Tensor | None) -> Steps:
    """The run of the picture; `sigmas` are empty if a scheduler has nothing to do."""
    from ..lorchestra.schedule import Steps

    levels = [] if sigmas is None else [float(sigma) for sigma in sigmas]
    return Steps.of(levels) if len(levels) > 1 else Steps(count)
