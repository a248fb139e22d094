"""Reads a stack from whatever was pasted, without being told the dialect: the one reader of all doors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import cast

from ..errors import StackError, quoted
from ..limits import MAX_TEXT, Json
from ..stack import Entry, Stack, read_row
from .a1111 import ORDERS, read_tags
from .a1111 import read as read_prompt
from .dialect import Reading
from .lora_manager import find_rows as find_lora_manager
from .lora_manager import read as read_lora_manager
from .rgthree import find_rows as find_rgthree
from .rgthree import read as read_rgthree
from .runware import is_request
from .runware import read as read_runware
from .runware import read_row as read_runware_row

_MOST_WRAPPED = 4
"""How often JSON text may hold JSON text, or `__value__` another one."""


def read_any(text: str, *, order: str = ORDERS[0]) -> Reading:
    """The stack in a text: ours, Runware's, rgthree's or LoRA-Manager's JSON, or a prompt with `<lora:…>` tags in it.

    `order` is for the tags, as in `a1111.read`. Raises `StackError`, which names the row, for anything else.
    """
    if len(text) > MAX_TEXT:
        raise StackError(f"the text has {len(text):,} characters; at most {MAX_TEXT:,} are read")
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        if "<lora:" in text or "<lyco:" in text:
            return read_prompt(text, order=order)
        return Reading(parse_stack(text))  # says what is wrong with it
    try:
        if find_rgthree(value):
            return read_rgthree(value)
        if find_lora_manager(value):
            return read_lora_manager(value)
    except RecursionError as error:
        raise StackError("the JSON is nested too deeply") from error
    if isinstance(value, str):
        return read_any(value, order=order) if value != text and len(value) < len(text) else Reading(parse_stack(value))
    return read_runware(value) if is_request(value) else Reading(parse_stack(value))


def parse_stack(value: object) -> Stack:
    """A stack from any form that loses nothing.

    None and blank text are the empty stack. Text is JSON, or A1111's `<lora:name:0.7>` tags with nothing else but
    commas and white space around them. JSON data is `{"loras": […]}`, `{"__value__": …}` around any other form, a
    request with a `lora` array (Runware), a list of rows of ours, of Runware's (`{"model": AIR, "weight": 1}`), or
    of `(name, model, clip)` triples (the common LORA_STACK).

    Raises `StackError`, which names the row, for anything else, for weights outside -100 … 100 and for more than
    `MAX_ROWS` rows.
    """
    return _parse(value, 0)


def parse_row(value: Json, row: int) -> Entry:
    """A row of ours or of Runware's; raises `StackError` with the row's number."""
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        if "lora" not in data and isinstance(data.get("model"), str):
            return read_runware_row(data, row)
    return read_row(value, row)


def _parse(value: object, depth: int) -> Stack:
    if isinstance(value, Stack):
        return value.checked()
    if value is None:
        return Stack()
    if isinstance(value, str):
        return _parse_text(value, depth)
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        if set(data) == {"__value__"}:
            if depth > _MOST_WRAPPED:
                raise StackError("the stack is wrapped in __value__ too often")
            return _parse(data["__value__"], depth + 1)
        if "loras" in data:
            return Stack.from_json(data, parse_row)
        if isinstance(data.get("lora"), list):
            return Stack.of_rows(data["lora"], parse_row)
        raise StackError('the stack is a JSON object without "loras"; expected {"version": 1, "loras": [...]}')
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return Stack.of_rows(cast("Sequence[Json]", value), parse_row)
    raise StackError(f"a stack is JSON or <lora:name:weight> text, not {type(value).__name__}")


def _parse_text(text: str, depth: int) -> Stack:
    stripped = text.strip()
    if not stripped:
        return Stack()
    if len(text) > MAX_TEXT:
        raise StackError(f"the stack's text has {len(text):,} characters; at most {MAX_TEXT:,} are read")
    if stripped[0] in '{["':
        if depth > _MOST_WRAPPED:
            raise StackError("the stack is JSON inside JSON too often")
        try:
            data: Json = json.loads(stripped)
        except RecursionError as error:
            raise StackError("the stack's JSON is nested too deeply") from error
        except ValueError as error:
            raise StackError(f"the stack is not JSON: {error}") from error
        return _parse(data, depth + 1)
    if "<lora:" in stripped or "<lyco:" in stripped:
        return read_tags(stripped).checked()
    raise StackError(f"the stack is neither JSON nor <lora:name:weight> text; it starts with {quoted(stripped)}")
