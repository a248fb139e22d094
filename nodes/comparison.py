"""The LoRA Variants and Contact Sheet nodes: pictures with other LoRAs, side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch
from comfy_api.latest import io, ui

from ..lorchestra.choices import COMPARISONS, ERROR, LIVE, MODES, REFUSE, SKIP, STOP, UNFIT, WARN, Choices
from ..lorchestra.errors import LorchestraError, shortened
from ..lorchestra.sentences import say
from .host.schema import category, combo, schema, shown
from .sockets import LoraStackSocket, read_rows

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..lorchestra.analysis.pictures import Difference
    from ..lorchestra.sentences import Sentence
    from ..lorchestra.stack import Stack
    from .host.protocols import Clip, Patcher

KINDS = COMPARISONS
MOST = 100
"""`analysis.comparison.MOST`."""


class LoraVariants(io.ComfyNode):
    """Makes lists of models that differ in their LoRAs."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended: workflows restore widget values by position."""
        return schema(
            node_id="LorchestraLoraVariants",
            display_name="LoRA Variants",
            category=category(),
            description=(
                "Compares LoRAs: gives lists of models without LoRAs, with each alone, at other weights. What is "
                "connected runs once for each of them; Contact Sheet puts the pictures side by side."
            ),
            search_aliases=["compare loras", "xy plot", "lora grid", "lora test", "sweep", "xyz plot"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model without these LoRAs."),
                LoraStackSocket.Input("lora_stack", tooltip="The rows to compare, from any stack node."),
                io.Clip.Input("clip", optional=True, tooltip="The text encoders, if the LoRAs change them too."),
                io.Combo.Input(
                    "variants",
                    options=list(KINDS),
                    default=KINDS[0],
                    optional=True,
                    tooltip=(
                        "each alone: every LoRA by itself, then all together; with weights, every LoRA at each of "
                        "them. each left out: all, then all but one. weights of a row: one row at each weight beside "
                        "the others. two rows crossed: a table of the weights of two rows. All begin without LoRAs."
                    ),
                ),
                io.String.Input(
                    "weights",
                    default="",
                    optional=True,
                    tooltip="The weights to compare, such as 0.5, 0.75, 1. If empty, each alone takes the rows' own.",
                ),
                io.Int.Input(
                    "row",
                    default=1,
                    min=1,
                    max=1000,
                    optional=True,
                    tooltip="Number of the row whose weights are compared: weights of a row, two rows crossed.",
                ),
                io.String.Input(
                    "second_weights", default="", optional=True, tooltip="Weights of the second row: two rows crossed."
                ),
                io.Int.Input(
                    "second_row",
                    default=2,
                    min=1,
                    max=1000,
                    optional=True,
                    tooltip="Number of the second row: two rows crossed.",
                ),
                io.Int.Input(
                    "most",
                    default=16,
                    min=2,
                    max=MOST,
                    optional=True,
                    tooltip="More variants than this are refused, so that nobody starts 10,000 pictures by accident.",
                ),
                combo(
                    "unfit",
                    options=list(UNFIT),
                    default=STOP,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "If a LoRA is missing or doesn't fit the model: stop with an error, or skip it; the report "
                        "says what was left out."
                    ),
                ),
                combo(
                    "mode",
                    options=list(MODES),
                    default=LIVE,
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "live: the LoRAs work beside one model that stays loaded, so that no variant patches it anew. "
                        "merge: each variant patches the model, as a LoRA Stack in this mode does. auto: as there."
                    ),
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL", is_output_list=True, tooltip="One model for each variant."),
                io.Clip.Output(display_name="CLIP", is_output_list=True, tooltip="Its text encoders."),
                io.String.Output(display_name="labels", is_output_list=True, tooltip="What each variant is called."),
                io.String.Output(display_name="axes", tooltip="Rows and columns of the table, for Contact Sheet."),
                io.String.Output(display_name="report", tooltip="The variants, and what was left out."),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Patcher,
        lora_stack: object,
        clip: Clip | None = None,
        variants: str = KINDS[0],
        weights: str = "",
        row: int = 1,
        second_weights: str = "",
        second_row: int = 2,
        most: int = 16,
        unfit: str = STOP,
        mode: str = LIVE,
    ) -> io.NodeOutput:
        """Makes them all; ComfyUI runs whatever is connected once for each."""
        from ..lorchestra.analysis.comparison import compare, read_weights
        from .host.applying import apply_plan, plan_stack

        choices = Choices(SKIP, WARN, mode) if unfit == SKIP else Choices(ERROR, REFUSE, mode)
        stack, left_out = _without_unfit(read_rows(lora_stack), model, clip, choices)
        comparison = compare(
            stack,
            variants,
            row,
            read_weights(weights, "weights"),
            second_row,
            read_weights(second_weights, "second_weights"),
            min(most, MOST),
        )
        made = [
            apply_plan(plan_stack(variant.stack, model, clip, choices), model, clip, mode)
            for variant in comparison.variants
        ]
        labels = [variant.label for variant in comparison.variants]
        notes = dict.fromkeys(note for one in made for note in one.notes)
        lines = [f"{number}. {label}" for number, label in enumerate(labels, 1)]
        lines += ["", *left_out] if left_out else []
        lines += notes
        axes = json.dumps({"version": 1, "columns": comparison.columns, "rows": comparison.rows}, ensure_ascii=False)
        return io.NodeOutput(
            [one.model for one in made], [one.clip for one in made], labels, axes, "\n".join(lines), ui=shown(lines)
        )


def _without_unfit(stack: Stack, model: Patcher, clip: Clip | None, choices: Choices) -> tuple[Stack, list[Sentence]]:
    """The stack with the rows off that cannot be applied, and why; raises `LorchestraError` where choices refuse it."""
    from .host.applying import plan_stack

    outcomes = plan_stack(stack, model, clip, choices).outcomes
    unfit = {item.row: item.line for item in outcomes if not item.applied and item.entry.active}
    entries = tuple(replace(entry, on=entry.on and number not in unfit) for number, entry in stack.rows)
    return replace(stack, entries=entries), list(unfit.values())


class ContactSheet(io.ComfyNode):
    """Puts the pictures of a comparison side by side, and measures how far each is from the first."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs are only ever appended: workflows restore widget values by position."""
        return schema(
            node_id="LorchestraContactSheet",
            display_name="Contact Sheet",
            category=category(),
            description=(
                "One picture of all pictures of a comparison with what they are called, another one of where they "
                "differ from the first, and numbers: which LoRA changes the picture most. Saved with the workflow."
            ),
            search_aliases=["compare loras", "image grid", "xy plot", "difference map", "grid"],
            is_output_node=True,
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="The pictures, one for each label; or all of them in one batch."),
                io.String.Input(
                    "labels", force_input=True, optional=True, tooltip="What they are called; numbers if not connected."
                ),
                io.String.Input(
                    "axes", force_input=True, optional=True, tooltip="Rows and columns of a table, from LoRA Variants."
                ),
                io.String.Input(
                    "filename_prefix",
                    default="lora_compare",
                    optional=True,
                    tooltip="Where the sheet is saved in ComfyUI's output folder, as in Save Image.",
                ),
            ],
            outputs=[
                io.Image.Output(display_name="sheet", tooltip="All pictures with their labels and numbers."),
                io.Image.Output(
                    display_name="differences", tooltip="Where each differs from the first; white is the most."
                ),
                io.String.Output(display_name="report", tooltip="The numbers, and which changes the picture most."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(
        cls,
        images: list[torch.Tensor],
        labels: list[str] | None = None,
        axes: list[str] | None = None,
        filename_prefix: list[str] | None = None,
    ) -> io.NodeOutput:
        """Draws and saves; every input is a list, because this node waits for all pictures."""
        from ..lorchestra.analysis.contact import in_words
        from ..lorchestra.analysis.pictures import differ, difference_maps, to_bytes
        from ..lorchestra.analysis.sheet import Cell, can_write, draw_sheet

        batches = _batches(images, labels)
        names = labels or [str(number) for number in range(1, len(batches) + 1)]
        columns, rows = _read_axes(axes, len(batches))
        differences = [differ(batch, batches[0]) for batch in batches]
        maps, most = difference_maps([batch[0] for batch in batches])
        notes = ["" if not number else in_words(one) for number, one in enumerate(differences)]
        caption = f"Black is as in the first picture; white differs by {100 * most:.1f} % of the range."

        def sheet(pictures: list[torch.Tensor], said: str) -> Image:
            cells = [
                Cell(name, note, picture.shape[1], picture.shape[0], to_bytes(picture))
                for name, note, picture in zip(names, notes, pictures, strict=True)
            ]
            return draw_sheet(cells, columns, rows, said)

        drawn = _tensor(sheet([batch[0] for batch in batches], ""))
        where = _tensor(sheet(maps, caption))
        lines = _report(names, differences, batches)
        if not can_write([*names, *columns, *rows]):
            lines.append(
                say("This machine has no font for some of these names: the picture shows boxes in their place.")
            )
        prefix = filename_prefix[0] if filename_prefix else "lora_compare"
        saved = ui.ImageSaveHelper.get_save_images_ui(list(drawn), filename_prefix=prefix, cls=cls)
        return io.NodeOutput(drawn, where, "\n".join(lines), ui={**saved.as_dict(), **shown(lines)})


def _batches(images: list[torch.Tensor], labels: list[str] | None) -> list[torch.Tensor]:
    """One batch of pictures for each label; raises `LorchestraError` if their numbers differ."""
    if len(images) == 1 and (not labels or len(labels) == len(images[0])):
        images = list(images[0].unsqueeze(1))
    if labels and len(images) != len(labels):
        raise LorchestraError(
            f"{len(images)} pictures came in and {len(labels)} labels. Connect both to the same LoRA Variants, and "
            "nothing that makes one picture of several between them"
        )
    if len(images) > MOST:
        raise LorchestraError(f"{len(images)} pictures came in; a sheet has at most {MOST}")
    return images


def _read_axes(axes: list[str] | None, count: int) -> tuple[list[str], list[str]]:
    """Columns and rows; both empty without axes."""
    from ..lorchestra.files.json_text import read_json

    if not axes or not axes[0]:
        return [], []
    data = read_json(axes[0], "axes")
    found = [data.get(name) if isinstance(data, dict) else None for name in ("columns", "rows")]
    if not all(isinstance(one, list) and all(isinstance(text, str) for text in one) for one in found):
        raise LorchestraError(f"axes are {shortened(axes[0])}; connect the axes of LoRA Variants")
    columns, rows = cast("list[list[str]]", found)
    if len(columns) * len(rows) + 1 != count:
        raise LorchestraError(
            f"axes are for {len(columns) * len(rows) + 1} pictures, and {count} came in. Connect both to the same LoRA "
            "Variants"
        )
    return columns, rows


def _report(names: list[str], differences: list[Difference | None], batches: list[torch.Tensor]) -> list[str]:
    """Sentences in lines."""
    from ..lorchestra.analysis.contact import in_words

    lines: list[str] = [
        say("Differences from “{name}”: mean of all colours, and 1 - SSIM (0 is the same structure).", name=names[0]),
        f"1. {names[0]}",
    ]
    for number, (name, one) in enumerate(zip(names[1:], differences[1:], strict=True), 2):
        lines.append(say("{number}. {name}: {difference}", number=number, name=name, difference=in_words(one)))
    measured = [(one, name) for name, one in zip(names[1:], differences[1:], strict=True) if one is not None]
    if len(measured) > 1:
        has_all = all(one.perceptual is not None for one, _ in measured)
        one, name = max(measured, key=lambda pair: (pair[0].perceptual or 0.0) if has_all else pair[0].mean)
        most = say("“{name}” changes the picture most: {difference}.", name=name, difference=in_words(one))
        lines += ["", most]
        same = [name for one, name in measured if not one.mean]
        if same:
            lines.append(say("No difference at all: {names}.", names=", ".join(same)))
    if any(len(batch) > 1 for batch in batches):
        lines.append(say("Of each batch the first picture is shown; the numbers are of all its pictures."))
    if any(one is None for one in differences):
        lines.append(say("Pictures of another size than the first are shown and not measured."))
    elif any(one is not None and one.perceptual is None for one in differences):
        lines.append(
            say("1 - SSIM was not measured: kornia cannot be loaded, or the pictures are smaller than 11 pixels.")
        )
    return lines


def _tensor(picture: Image) -> torch.Tensor:
    """A batch of one picture of shape [1, height, width, 3], 0 … 1."""
    data = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return data.view(1, picture.height, picture.width, 3).float() / 255
