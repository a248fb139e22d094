"""Reads a stack from whatever somebody pasted, without being told the dialect."""

from __future__ import annotations

import json

from ..errors import StackError
from ..stack import MAX_TEXT, Json, Stack
from . import a1111, lora_manager, rgthree, runware
from .dialect import Reading


def read_any(text: str, *, order: str = a1111.ORDERS[0]) -> Reading:
    """The stack in a text: ours, Runware's, rgthree's or LoRA-Manager's JSON, or a prompt with `<lora:…>` tags in it.

    `order` is for the tags, as in `a1111.read`. Raises `StackError`, which names the row, for anything else.
    """
    if len(text) > MAX_TEXT:
        raise StackError(f"the text has {len(text):,} characters; at most {MAX_TEXT:,} are read")
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError):
        if "<lora:" in text or "<lyco:" in text:
            return a1111.read(text, order=order)
        return Reading(Stack.parse(text))  # says what is wrong with it
    try:
        for dialect in (rgthree, lora_manager):
            if dialect.find_rows(value):
                return dialect.read(value)
    except RecursionError as error:
        raise StackError("the JSON is nested too deeply") from error
    if isinstance(value, str):
        return read_any(value, order=order) if value != text and len(value) < len(text) else Reading(Stack.parse(value))
    return runware.read(value) if runware.is_request(value) else Reading(Stack.parse(value))
