"""Reads JSON that anybody may have sent: bounded by its size, its values and its depth before it is parsed.

Ten million empty lists are 30 MB of text and 700 MB of objects, so a limit of bytes alone is none.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate

from ..errors import JsonError
from ..limits import MAX_NESTING, MAX_TEXT, MAX_VALUES, Json
from ..sentences import say
from . import json_steps

_LARGE = 300_000
"""Characters from which steps are worth it: what `json` does at once is over in a few milliseconds for less."""
_NO_BRACKETS = re.compile(r"[^\[\]{}]+")
_DEPTHS = {"[": 1, "{": 1, "]": -1, "}": -1}


def read_json(
    text: str | bytes | bytearray,
    what: str = "the text",
    *,
    size: int = MAX_TEXT,
    values: int = MAX_VALUES,
    in_steps: bool = False,
) -> Json:
    """The value of JSON text, or of UTF-8 bytes of it.

    `what` names it in sentences: "the request is not JSON: …". `size` is the most characters, or bytes, `values` the
    most objects, lists, keys, texts and numbers. Takes time and memory in proportion to the text, and builds nothing of
    one that is too large. With `in_steps`, other threads run while a large text is read, which takes several times as
    long. Raises `JsonError` and nothing else.
    """
    if len(text) > size:
        raise JsonError(
            say(
                "{what} has {count} characters; at most {most} are read"
                if isinstance(text, str)
                else "{what} has {count} bytes; at most {most} are read",
                what=what,
                count=f"{len(text):,}",
                most=f"{size:,}",
            )
        )
    if not isinstance(text, str):
        try:
            text = json_steps.decode_utf8(text)
        except UnicodeDecodeError as error:
            raise JsonError(say("{what} is not UTF-8 text at byte {start}", what=what, start=error.start)) from error
    in_steps = in_steps and len(text) > _LARGE
    if not in_steps:
        _check(text, what, values)
    try:
        return json_steps.read(text, what, values) if in_steps else json.loads(text)
    except RecursionError as error:
        raise JsonError(say("{what} is nested too deeply", what=what)) from error
    except ValueError as error:  # also a number of more digits than Python reads
        raise JsonError(say("{what} is not JSON: {error}", what=what, error=error)) from error


def _check(text: str, what: str, values: int) -> None:
    """Raises `JsonError` for too many values and for too deep ones, also of what is no JSON."""
    if _values(text) <= values and _opened(text) <= MAX_NESTING:
        return
    bare = text.replace("\\\\", "").replace('\\"', "")
    strings = bare.count('"') // 2
    if strings <= values:  # else there is no need to look, and the pieces would take much memory
        bare = "".join(bare.split('"')[::2])
    if strings > values or _values(bare) > values:
        raise JsonError(say("{what} has more than {values} values", what=what, values=f"{values:,}"))
    if max(accumulate(map(_DEPTHS.__getitem__, _NO_BRACKETS.sub("", bare))), default=0) > MAX_NESTING:
        raise JsonError(say("{what} is nested too deeply: more than {most} levels", what=what, most=MAX_NESTING))


def _values(text: str) -> int:
    """At least as many values as the text has: exactly as many if it is JSON without these signs in its strings."""
    return text.count(",") + text.count(":") + _opened(text) + 1


def _opened(text: str) -> int:
    return text.count("[") + text.count("{")
