"""Nodes that hold a list of LoRAs: as rows of a request, and back into the node's inputs. Pure.

A row of a request is `{"model": AIR, hash or name, "weight": 0.8, …}`, whatever node it is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from ..errors import LorchestraError
from ..exchange import comfyui, lora_manager, parse_stack, rgthree
from ..limits import MAX_NAME, MAX_ROWS, WEIGHT_LIMIT, Json
from ..stack import BOTH, CONDITIONINGS, Entry, Stack, blocks
from .loras import OURS

DEFAULT_WEIGHT = 1.0
"""Weight of a row that names none, as hosted services have it."""
MODEL, WEIGHT, CLIP, SCHEDULE, BLOCKS, CONDITIONING = (
    "model", "weight", "clip_weight", "schedule", "blocks", "conditioning",
)  # fmt: skip
MAX_SCHEDULE = 20_000
"""Longest schedule of a row in a request, in characters."""
MAX_BLOCKS = 1000
_CORE_KEY = re.compile(r"loras\.\d+\.\w+", re.ASCII)  # loras.0.lora_name
_CORE_COUNT = "loras"
_RGTHREE_KEY = re.compile(r"lora_\d+", re.ASCII | re.IGNORECASE)  # lora_1


@dataclass(frozen=True, slots=True)
class LoraList:
    """One kind of node with a list."""

    classes: tuple[str, ...]
    fields: tuple[str, ...]
    """What a row may say beside its model and its weight."""
    most: int
    """Rows."""
    widget: str
    """The input that stands for the list."""
    read: Callable[[Mapping[str, Json]], Stack]
    """From the node's inputs; raises `LorchestraError`."""
    write: Callable[[Stack, Mapping[str, Json]], dict[str, Json]]
    """The node's inputs with other rows in them."""

    def rows(self, inputs: Mapping[str, Json]) -> list[Json]:
        """The rows that the node has now and that are on; none if they do not read."""
        try:
            entries = self.read(inputs).entries
        except (LorchestraError, RecursionError):
            return []
        return [self._row(entry) for entry in entries if entry.on][: self.most]

    def _row(self, entry: Entry) -> dict[str, Json]:
        row: dict[str, Json] = {MODEL: entry.lora, WEIGHT: entry.model}
        if CLIP in self.fields and entry.clip is not None:
            row[CLIP] = entry.clip
        if SCHEDULE in self.fields and entry.schedule:
            row[SCHEDULE] = entry.schedule
        if BLOCKS in self.fields and entry.blocks:
            row[BLOCKS] = dict(entry.blocks)
        if CONDITIONING in self.fields and entry.conditioning != BOTH:
            row[CONDITIONING] = entry.conditioning
        return row

    def schema(self) -> dict[str, Json]:
        """JSON Schema of the list."""
        properties = {key: schema for key, schema in _fields().items() if key in (MODEL, WEIGHT, *self.fields)}
        row = {
            "title": "LoRA",
            "description": "One LoRA. Rows of the same file add up.",
            "type": "object",
            "properties": properties,
            "required": [MODEL],
            "additionalProperties": False,
        }
        return {"type": "array", "items": row, "maxItems": self.most}


def _fields() -> dict[str, dict[str, Json]]:
    weight: dict[str, Json] = {"type": "number", "minimum": -WEIGHT_LIMIT, "maximum": WEIGHT_LIMIT}
    return {
        MODEL: {
            "description": "The file: an AIR such as civitai:120096@135931, a hash of it, or its name.",
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME,
            "pattern": r"\S",
        },
        WEIGHT: {"description": "Weight for the diffusion model.", **weight, "default": DEFAULT_WEIGHT},
        CLIP: {"description": "Weight for the text encoders; without it the same as weight.", **weight},
        SCHEDULE: {
            "description": "What weight is multiplied by over the steps: 0:0, 0.3:1 ease, 1:0.2, or a preset's name.",
            "type": "string",
            "maxLength": MAX_SCHEDULE,
        },
        BLOCKS: {
            "description": blocks.DESCRIPTION,
            "type": "object",
            "additionalProperties": weight,
            "maxProperties": MAX_BLOCKS,
        },
        CONDITIONING: {
            "description": "The conditioning that the LoRA acts on.",
            "type": "string",
            "enum": list(CONDITIONINGS),
            "default": BOTH,
        },
    }


def _read_ours(inputs: Mapping[str, Json]) -> Stack:
    return parse_stack(unwrapped(inputs.get("loras")) or [])


def _write_ours(stack: Stack, inputs: Mapping[str, Json]) -> dict[str, Json]:
    return {**inputs, "loras": stack.to_text()}


def _read_manager(inputs: Mapping[str, Json]) -> Stack:
    return lora_manager.read(unwrapped(inputs.get("loras")) or []).stack


def _write_manager(stack: Stack, inputs: Mapping[str, Json]) -> dict[str, Json]:
    text = {"text": ""} if isinstance(inputs.get("text"), str) else {}  # the same list once more, as tags
    return {**inputs, **text, "loras": {"__value__": lora_manager.write(stack).value}}


def _read_rgthree(inputs: Mapping[str, Json]) -> Stack:
    rows = [value for key, value in inputs.items() if _RGTHREE_KEY.fullmatch(key) and rgthree.is_row(value)]
    return rgthree.read(rows).stack


def _write_rgthree(stack: Stack, inputs: Mapping[str, Json]) -> dict[str, Json]:
    rest = {key: value for key, value in inputs.items() if not _RGTHREE_KEY.fullmatch(key)}
    rows = cast("list[Json]", rgthree.write(stack).value)
    return rest | {f"lora_{number}": row for number, row in enumerate(rows, 1)}


def _read_core(inputs: Mapping[str, Json]) -> Stack:
    rows = {key: value for key, value in inputs.items() if _CORE_KEY.fullmatch(key)}
    return comfyui.read(rows).stack if rows else Stack()


def _write_core(stack: Stack, inputs: Mapping[str, Json]) -> dict[str, Json]:
    rest = {key: value for key, value in inputs.items() if not _CORE_KEY.fullmatch(key)}
    if type(rest.get(_CORE_COUNT)) is int:
        rest[_CORE_COUNT] = len(stack.entries)
    for number, entry in enumerate(stack.entries):
        start = f"loras.{number}"
        rest |= {f"{start}.lora_name": entry.lora, f"{start}.strength": entry.model, f"{start}.enabled": True}
    return rest


LORA_LISTS = (
    LoraList(OURS, (CLIP, SCHEDULE, BLOCKS, CONDITIONING), MAX_ROWS, "loras", _read_ours, _write_ours),
    LoraList((comfyui.MODEL, comfyui.TEXT_ENCODER), (), comfyui.DIALECT.limits.most, "loras", _read_core, _write_core),
    LoraList(("Power Lora Loader (rgthree)",), (CLIP,), MAX_ROWS, "loras", _read_rgthree, _write_rgthree),
    LoraList(
        ("Lora Loader (LoraManager)", "Lora Stacker (LoraManager)"),
        (CLIP,), MAX_ROWS, "loras", _read_manager, _write_manager,
    ),
)  # fmt: skip
"""Every node with a list that is known. To add one: its row here, and a graph with it in the tests of `create`."""

_BY_CLASS = {name: item for item in LORA_LISTS for name in item.classes}


def find_lora_list(class_type: str) -> LoraList | None:
    """The list of a node of this class, or None."""
    return _BY_CLASS.get(class_type)


def unwrapped(value: Json) -> Json:
    """A list that is wrapped, so that it is not taken for a link, as itself."""
    data = cast("dict[str, Json]", value) if isinstance(value, dict) else {}
    return data["__value__"] if "__value__" in data else cast("Json", value)


def is_core(item: LoraList) -> bool:
    """True for ComfyUI's own nodes, of which one changes the model and another one the text encoders."""
    return comfyui.MODEL in item.classes


def rows_equal(one: Sequence[Json], other: Sequence[Json]) -> bool:
    """Whether two lists are the same; of two empty ones nothing can be told."""
    return bool(one) and list(one) == list(other)
