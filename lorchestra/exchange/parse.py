"""Reads a stack from whatever was pasted, without being told the dialect: the one reader of all doors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from ..errors import JsonError, StackError, quoted
from ..files.json_text import read_json
from ..limits import MAX_TEXT, Json
from ..sentences import say
from ..stack import Entry, Schedules, Stack, read_row
from .a1111 import read as read_prompt
from .a1111 import read_rows, read_tags
from .civitai import DIALECT as CIVITAI
from .civitai_orchestration import DIALECT as CIVITAI_ORCHESTRATION
from .comfyui import DIALECT as COMFYUI
from .dialect import Dialect, Loss, Reading
from .diffusers_script import is_script
from .diffusers_script import read as read_script
from .draw_things import DIALECT as DRAW_THINGS
from .fal import FAL, FAL_WAN
from .fields import fields_of, objects
from .infotext import DIALECT as INFOTEXT
from .infotext import is_infotext
from .infotext import read as read_infotext
from .invokeai import DIALECT as INVOKEAI
from .invokeai import GRAPH as INVOKEAI_GRAPH
from .lightx2v import DIALECT as LIGHTX2V
from .lora_manager import DIALECT as LORA_MANAGER
from .lora_manager_recipe import DIALECT as RECIPE
from .lora_manager_recipe import MARK
from .prompt import has_tags
from .replicate import DIALECT as REPLICATE
from .replicate import MULTI as REPLICATE_MULTI
from .rgthree import DIALECT as RGTHREE
from .runware import DIALECT as RUNWARE
from .runware import read_row as read_runware_row
from .sglang import DIALECT as SGLANG
from .swarmui import DIALECT as SWARMUI
from .tag import ORDERS
from .together import DIALECT as TOGETHER
from .vllm_omni import DIALECT as VLLM_OMNI

RECOGNISED: tuple[Dialect, ...] = (
    RGTHREE, LORA_MANAGER, INFOTEXT, COMFYUI, INVOKEAI_GRAPH, INVOKEAI, RECIPE, CIVITAI_ORCHESTRATION, CIVITAI, SWARMUI,
    FAL_WAN, FAL, TOGETHER, REPLICATE, REPLICATE_MULTI, DRAW_THINGS, SGLANG, VLLM_OMNI, LIGHTX2V, RUNWARE,
)  # fmt: skip
"""The dialects that JSON is told to be, in this order: by names of fields that only one of them has.

What stands before Runware's also has a `lora` or a `model`, in another shape. A bare list of `{"path", "scale"}` may be
fal's or Together's and means the same; fal's LoRAInput is fal's with narrower limits. Those that are not listed are
read by their word alone. Of texts, LoRA-Manager's recipe in a picture's text comes first, then a script for diffusers,
an infotext (whose JSON is Fooocus'), and a prompt.
"""
_MOST_WRAPPED = 4
"""How often JSON text may hold JSON text, or `__value__` another one."""


def read_any(text: str, *, order: str = ORDERS[0]) -> Reading:
    """The stack in a text of any form that can be told from the others: see `RECOGNISED`; our own forms come first.

    `order` is for the tags of a prompt, as in `a1111.read`. Raises `StackError`, which names the row, for anything
    else.
    """
    if len(text) > MAX_TEXT:
        raise StackError(
            say(
                "the text has {count} characters; at most {most} are read",
                count=f"{len(text):,}",
                most=f"{MAX_TEXT:,}",
            )
        )
    try:
        value = read_json(text)
    except JsonError:
        return _read_text(text, order)
    if isinstance(value, str):
        return read_any(value, order=order) if value != text and len(value) < len(text) else Reading(parse_stack(value))
    try:
        dialect = None if _is_ours(value) else find_recognised(value)
    except RecursionError as error:
        raise StackError(say("the JSON is nested too deeply")) from error
    return Reading(parse_stack(value)) if dialect is None else dialect.read(value)


def find_recognised(value: Json) -> Dialect | None:
    """The dialect that JSON data is told to be; None if it is none of `RECOGNISED`."""
    return next((one for one in RECOGNISED if one.recognises is not None and one.recognises(value)), None)


def _is_ours(value: Json) -> bool:
    """True for our stack, whatever other keys it has, and for the list of its rows; rgthree's rows have a strength."""
    data = fields_of(value)
    if "version" in data and "full_prompt" not in data and isinstance(data.get("loras"), list):
        return not any("name" in row or "strength" in row for row in objects(value, "loras"))
    rows = objects(value, "loras")
    return bool(rows) and all(isinstance(row.get("lora"), str) and "strength" not in row for row in rows)


def _read_text(text: str, order: str) -> Reading:
    """The stack in a text that is no JSON; a prompt may begin with a bracket."""
    if MARK in text:
        return RECIPE.read(text)
    if is_script(text):
        return read_script(text)
    if is_infotext(text):
        return read_infotext(text, order=order)
    if has_tags(text):
        return read_prompt(text, order=order)
    return Reading(parse_stack(text))  # says what is wrong with it


def parse_stack(value: object) -> Stack:
    """A stack from any form that loses nothing.

    None and blank text are the empty stack. Text is JSON, or A1111's `<lora:name:0.7>` tags with nothing else but
    commas and white space around them. JSON data is `{"loras": […]}`, `{"__value__": …}` around any other form, a
    request with a `lora` array (Runware), a list of rows of ours, of Runware's (`{"model": AIR, "weight": 1}`), or
    of `(name, model, clip)` triples (the common LORA_STACK).

    Raises `StackError`, which names the row, for anything else, for weights outside -100 … 100 and for more than
    `MAX_ROWS` rows.
    """
    return _parse(value, 0, None)


def read_stack(value: object) -> Reading:
    """A stack from any form that `parse_stack` takes; of tags, those that can be read, and what is lost of the others.

    Raises `StackError` as `parse_stack` does for everything that is not a text of tags.
    """
    losses: list[Loss] = []
    return Reading(_parse(value, 0, losses), tuple(losses))


def parse_row(value: Json, row: int, schedules: Schedules | None = None) -> Entry:
    """A row of ours or of Runware's; raises `StackError` with the row's number. `schedules` as for `read_row`."""
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        if "lora" not in data and isinstance(data.get("model"), str):
            return read_runware_row(data, row, schedules)
    return read_row(value, row, schedules)


def _parse(value: object, depth: int, losses: list[Loss] | None) -> Stack:
    """The stack; what is lost of tags is added to `losses`, or is an error without these."""
    if isinstance(value, Stack):
        return value.checked()
    if value is None:
        return Stack()
    if isinstance(value, str):
        return _parse_text(value, depth, losses)
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        if set(data) == {"__value__"}:
            if depth > _MOST_WRAPPED:
                raise StackError(say("the stack is wrapped in __value__ too often"))
            return _parse(data["__value__"], depth + 1, losses)
        if "loras" in data:
            return Stack.from_json(data, parse_row)
        if isinstance(data.get("lora"), list):
            return Stack.of_rows(data["lora"], parse_row)
        raise StackError(say('the stack is a JSON object without "loras"; expected {"version": 1, "loras": [...]}'))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return Stack.of_rows(cast("Sequence[Json]", value), parse_row)
    raise StackError(say("a stack is JSON or <lora:name:weight> text, not {name}", name=type(value).__name__))


def _parse_text(text: str, depth: int, losses: list[Loss] | None) -> Stack:
    stripped = text.strip()
    if not stripped:
        return Stack()
    if len(text) > MAX_TEXT:
        raise StackError(
            say(
                "the stack's text has {count} characters; at most {most} are read",
                count=f"{len(text):,}",
                most=f"{MAX_TEXT:,}",
            )
        )
    if stripped[0] in '{["':
        if depth > _MOST_WRAPPED:
            raise StackError(say("the stack is JSON inside JSON too often"))
        try:
            data = read_json(stripped, say("the stack"))
        except JsonError as error:
            if losses is not None and stripped[0] == "[" and has_tags(stripped):
                return _parse_tags(stripped, losses)
            raise StackError(str(error)) from error
        return _parse(data, depth + 1, losses)
    if has_tags(stripped):
        return read_tags(stripped) if losses is None else _parse_tags(stripped, losses)
    raise StackError(
        say(
            "the stack is neither JSON nor <lora:name:weight> text; it starts with {start}",
            start=quoted(stripped),
        )
    )


def _parse_tags(text: str, losses: list[Loss]) -> Stack:
    reading = read_rows(text)
    losses += reading.losses
    return reading.stack
