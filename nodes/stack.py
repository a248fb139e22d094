"""The LoRA Stack node."""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING

from comfy_api.latest import io

from ..lorchestra.choices import (
    AUTO,
    ERROR,
    IGNORE,
    MISSING_POLICIES,
    MODES,
    POLICIES,
    REFUSE,
    SKIP,
    WARN,
    Choices,
)
from ..lorchestra.errors import LorchestraError, StackError, all_in_one, quoted
from .host import bases, files, prompt, refused, words
from .host.schema import category, combo, schema, shown
from .sockets import Loras, LoraStackSocket, ScheduleSocket, find_schedule, read_rows, to_rows

if TYPE_CHECKING:
    from ..lorchestra.apply.plan import Plan
    from .host.protocols import Clip, Patcher

MAX_SEED = 2**64 - 1
EMPTY = '{"version": 1, "loras": []}'


class LoraStack(io.ComfyNode):
    """Applies a list of LoRAs to a model and its text encoders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended: workflows restore widget values by position."""
        return schema(
            node_id="LorchestraLoraStack",
            display_name="LoRA Stack",
            category=category(),
            description=(
                "Applies a list of LoRAs at once. The order of the rows does not change the result; "
                "rows that are off or at weight 0 cost nothing."
            ),
            search_aliases=["lora", "load lora", "lora loader", "lora stack", "power lora loader", "multi lora"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model that the LoRAs change."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoders. Without them the text encoder parts of the LoRAs are not used.",
                ),
                Loras.Input(
                    "loras",
                    optional=True,
                    tooltip=(
                        "The LoRAs and their weights: our JSON, <lora:name:0.7> text, or a Runware lora array. "
                        "Weights range from -100 to 100."
                    ),
                    extra_dict={"default": EMPTY},
                ),
                combo(
                    "missing",
                    options=list(MISSING_POLICIES),
                    default=ERROR,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "Shown only if missing files are skipped and LoRAs that don't fit are not. stop: "
                        "nothing runs. skip: the other rows are applied, and the report says which one is missing."
                    ),
                ),
                LoraStackSocket.Input(
                    "lora_stack", optional=True, tooltip="Rows from another stack node, of this pack or of another."
                ),
                combo(
                    "policy",
                    options=list(POLICIES),
                    default=REFUSE,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "For a file that is missing, broken or not a LoRA, and for a LoRA that is for another model. "
                        "stop: nothing runs, and the error names the rows. skip and warn: what fits is applied, the "
                        "rest is skipped, and the log says so. skip silently: the same without a word in the log. "
                        "In a prompt, the values are refuse, warn and ignore."
                    ),
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=AUTO,
                    optional=True,
                    tooltip=(
                        "merge: the LoRAs are added to the model's weights, which costs nothing while sampling. "
                        "live: they work beside its layers, so that their weights can change over the steps and the "
                        "model's own stay as exact as they are: better on quantized models. auto: live if a weight "
                        "changes or the model is quantized, else merge."
                    ),
                ),
                ScheduleSocket.Input(
                    "schedule",
                    optional=True,
                    tooltip=(
                        "For all rows of this node: their model weights are multiplied by it over the steps, besides "
                        "the schedules that rows have of their own."
                    ),
                ),
                io.Int.Input(
                    "pick_seed",  # ComfyUI shows what is called "seed" on every subgraph's node
                    display_name="seed",
                    default=0,
                    min=0,
                    max=MAX_SEED,
                    optional=True,
                    control_after_generate=True,
                    tooltip=(
                        "Shown if a group of rows picks one of them: the same seed picks the same row. At random: let "
                        "it be randomized after each run. The next one each run: let it be incremented."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Clip.Output(display_name="CLIP"),
                LoraStackSocket.Output(display_name="LORA_STACK", tooltip="All rows that are on."),
                io.String.Output(display_name="report", tooltip="One line per row: what was applied."),
                io.String.Output(
                    display_name="trigger_words",
                    tooltip=(
                        "The trigger words of all rows that were applied, each once, with commas between: those that a "
                        "row chooses, else all that are known of its file."
                    ),
                ),
            ],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def validate_inputs(
        cls,
        loras: object = None,
        *,
        missing: str | None = None,
        policy: str | None = None,
        mode: str | None = None,
        pick_seed: int | None = None,
    ) -> bool | str:
        """Runs when the prompt is queued: rows that cannot be read, found or used on this model stop it there.

        ComfyUI passes `loras` alone, since it shows the sentence once for each argument that is passed by position;
        the choices are read from the queued prompt. What they decide is left to the run if they are not known.
        """
        from ..lorchestra.exchange import read_stack
        from ..lorchestra.fit.refusals import refusals  # loads all that is known of models

        try:
            inputs = prompt.find_queued_inputs()
            missing = missing or prompt.find_choice(inputs, "missing", ERROR, unknown=SKIP)
            policy = policy or prompt.find_choice(inputs, "policy", REFUSE, unknown=IGNORE)
            mode = mode or prompt.find_choice(inputs, "mode", AUTO, unknown=AUTO)
            # ComfyUI 0.3.64 does not check choices.
            choices = (("missing", missing, MISSING_POLICIES), ("policy", policy, POLICIES), ("mode", mode, MODES))
            for name, value, known in choices:
                if value not in known:
                    return f"{name} is {quoted(value)}; expected one of {', '.join(known)}"
            if pick_seed is None and inputs is not None:
                sent = inputs.get("pick_seed", 0)  # a link, if it is known only in the run
                pick_seed = sent if isinstance(sent, int) else None
            stack = read_stack(loras).stack.with_seed(pick_seed)
            problems = refusals(
                stack,
                files.row_files(),
                bases.find_queued_base,
                Choices(missing, policy, mode),
                has_clip=inputs is None or "clip" in inputs,
            )
        except LorchestraError as error:
            return str(error)
        if not problems:
            return True
        refused.tell_queued(stack, problems)
        return str(all_in_one(problems))

    @classmethod
    def fingerprint_inputs(cls, loras: object = None, **_: object) -> str:
        """The node runs again when a LoRA file changed on disk."""
        from ..lorchestra.exchange import read_stack

        try:
            return files.fingerprint(read_stack(loras).stack.unpicked())
        except LorchestraError as error:
            return str(error)

    @classmethod
    def execute(
        cls,
        model: Patcher,
        clip: Clip | None = None,
        loras: object = None,
        missing: str = ERROR,
        lora_stack: object = None,
        policy: str = REFUSE,
        mode: str = AUTO,
        schedule: object = None,
        pick_seed: int = 0,
    ) -> io.NodeOutput:
        """Parses, finds, checks and applies the rows. What it needs is loaded with the first run, not with ComfyUI."""
        from ..lorchestra.exchange import read_stack
        from ..lorchestra.fit.outcome import MISSING, report_lines
        from ..lorchestra.sentences import say
        from ..lorchestra.workflow.words import joined
        from .host.applying import apply_plan, plan_stack

        reading, upstream = read_stack(loras), read_rows(lora_stack)
        own = picked = reading.stack.with_seed(pick_seed)
        for_all = find_schedule(schedule)
        if for_all is not None:
            own = own.scheduled(for_all)
        stack = own.joined(upstream)  # so that errors count this node's rows from 1
        try:
            plan = plan_stack(stack, model, clip, Choices(missing, policy, mode))
        except StackError as error:
            refused.tell_run(reading.stack, error)
            raise
        notes: list[str] = [say("Not kept from the text: {loss}", loss=loss) for loss in reading.losses]
        warned = len(notes)
        notes += picked.picks_in_words()
        for sentence in (*_warnings(plan, policy), *(notes[:warned] if policy != IGNORE else ())):
            logging.warning("LoRA Stack: %s", sentence)
        if stack.is_newer:
            notes.append(
                say(
                    "Written by a newer version ({version}): what this one does not know is kept.",
                    version=stack.version,
                )
            )
        applied = apply_plan(plan, model, clip, mode)
        notes += applied.notes
        listed = files.with_listed_names([*upstream.entries, *own.entries])
        count = len(upstream.entries)
        skipped = {outcome.row for outcome in plan.outcomes if outcome.verdict == MISSING}
        numbers = [*range(len(own.entries) + 1, len(own.entries) + count + 1), *range(1, len(own.entries) + 1)]
        rows = to_rows(listed, {place for place, number in enumerate(numbers) if number in skipped})
        meant = words.find_meant(words.find_applied(plan.outcomes, listed[count:], listed[:count]))
        lines = [
            *report_lines(plan.outcomes, notes),
            *words.missing_lines(meant, getattr(cls.hidden, "prompt", None)),
        ]
        files.count_uses(entry.lora for entry in listed if entry.active)
        triggers = joined(word for _, of_row in meant for word in of_row)
        ui = {**shown(lines), **_digest(loras)}
        return io.NodeOutput(applied.model, applied.clip, rows, "\n".join(lines), triggers, ui=ui)


def _digest(loras: object) -> dict[str, list[str]]:
    """What tells the face which rows the report is about: the CRC-32 of the node's text; nothing for other values."""
    return {"rows": [f"{zlib.crc32(loras.encode('utf-8', 'replace')):08x}"]} if isinstance(loras, str) else {}


def _warnings(plan: Plan, policy: str) -> list[str]:
    """What a policy wants to be told: LoRAs that fit in part, and with `warn` what is left out; a file's once."""
    from ..lorchestra.fit.outcome import INCOMPATIBLE, PARTIAL, REFUSED

    told = {REFUSE: {PARTIAL}, WARN: {PARTIAL, *REFUSED}}.get(policy, set())
    chosen = {item.weighted.row for item in plan.chosen}
    return [
        str(item)
        for item in plan.outcomes
        if item.verdict in told and (item.row in chosen or item.verdict not in (PARTIAL, INCOMPATIBLE))
    ]
