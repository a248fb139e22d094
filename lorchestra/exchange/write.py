"""Writes a stack in any form, by its word: a dialect, our JSON, or its JSON Schema. The one writer of all doors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import Stack
from ..workflow.stack_schema import stack_schema
from .dialect import Loss, Writing
from .registry import DIALECTS, find_dialect

STACK = "json"
SCHEMA = "schema"
NO_REGION = "a mask is no text; the row acts on the whole picture"
_NAMES = "allow_names"
FORMS = (*(dialect.id for dialect in DIALECTS), STACK, SCHEMA)
"""The words for all forms."""


def write_any(stack: Stack, form: str, options: Mapping[str, Json] | None = None) -> Writing:
    """The stack in the form of that word, with what is lost.

    `options` may hold more than the form takes; see `Dialect.write_options`. Raises `DialectError`, which names the row
    for what the form can never hold, or lists the forms for a word that is not known.
    """
    if form == STACK:
        lost = [Loss(row, "region", NO_REGION) for row, entry in stack.rows if entry.region is not None]
        return replace(_own(stack.to_json()), losses=tuple(lost))
    if form == SCHEMA:
        return _own(stack_schema())
    dialect = find_dialect(form)
    if dialect is None:
        raise DialectError(f"there is no dialect {quoted(form)}; choose one of {', '.join(FORMS)}")
    given = options or {}
    return dialect.write(stack, **{name: given[name] for name in dialect.write_options if name in given})


def find_unnamed(stack: Stack, form: str) -> tuple[int, ...]:
    """Numbers of the rows whose file the program cannot know, so that only `allow_names` would write them."""
    dialect = find_dialect(form)
    if dialect is None or _NAMES not in dialect.write_options:
        return ()
    options = {"clamp": True} if "clamp" in dialect.write_options else {}
    found: list[int] = []
    for row, entry in stack.rows:
        if entry.active:
            one = replace(stack, entries=(entry,))
            try:
                dialect.write(one, **options)
            except DialectError:
                try:
                    dialect.write(one, **options, **{_NAMES: True})
                except DialectError:  # something else is wrong with it
                    continue
                found.append(row)
    return tuple(found)


def suffix(form: str) -> str:
    """How the name of a file in that form ends, e.g. `.runware.json`; raises `DialectError` as `write_any`."""
    if form in (STACK, SCHEMA):
        return ".stack.json" if form == STACK else ".schema.json"
    dialect = find_dialect(form)
    if dialect is None:
        raise DialectError(f"there is no dialect {quoted(form)}; choose one of {', '.join(FORMS)}")
    return f".{dialect.id}{dialect.suffix}"


def _own(value: Json) -> Writing:
    return Writing(json.dumps(value, indent=2, ensure_ascii=False), value)
