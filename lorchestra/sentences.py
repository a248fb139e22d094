"""Sentences that keep the parts that they were made of, so that the face can say them in another language.

A `Sentence` is its English text, for logs, callers and everybody who knows nothing of it. `say` makes one:
`say("{count} of {total} modules fit", count=3, total=8)`. The template is the key of its translations, which are in
`locales/<language>/main.json`; a value may be a sentence itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Template = str
"""A text in a table that goes through `say`: the tests look for its translations there."""

_VALUE = re.compile(r"\{(\w+)\}")
"""Example: `{count}`. The face fills in the same."""


class Sentence(str):
    """An English text that knows its template and its values; what is made of its text by other means does not."""

    template: str
    values: Mapping[str, str]
    """Text for each name in the template; sentences among them keep their own parts."""

    def to_json(self) -> dict[str, Any]:
        """`{"key": template, "values": {name: text or the same of a sentence}}`, for the face."""
        values = {name: as_json(value) for name, value in self.values.items()}
        return {"key": self.template, "values": values}


def say(template: str, **values: object) -> Sentence:
    """The template with its values filled in; each `{name}` in it needs one."""
    texts = {name: _text(value) for name, value in values.items()}
    sentence = Sentence(_VALUE.sub(lambda match: texts[match[1]], template))
    sentence.template, sentence.values = template, texts
    return sentence


def _text(value: object) -> str:
    """An error's own sentence keeps its parts."""
    if isinstance(value, BaseException) and value.args and isinstance(value.args[0], Sentence):
        return value.args[0]
    return value if isinstance(value, str) else str(value)


def any_of(texts: Sequence[str]) -> str:
    """`a or b or c`."""
    return _joined(texts, "{first} or {next}")


def all_of(texts: Sequence[str]) -> str:
    """`a and b and c`."""
    return _joined(texts, "{first} and {next}")


def sum_of(texts: Sequence[str]) -> str:
    """`a + b + c`."""
    return _joined(texts, "{first} + {next}")


def listed(texts: Sequence[str]) -> str:
    """`a, b, c`."""
    return _joined(texts, "{first}, {next}")


def together(texts: Iterable[str]) -> str:
    """`a; b; c`, of those that are not empty."""
    return _joined([text for text in texts if text], "{first}; {next}")


def lines(texts: Sequence[str]) -> str:
    """Each in a line of its own."""
    return _joined(texts, "{first}\n{next}")


def _joined(texts: Sequence[str], template: str) -> str:
    found = next(iter(texts), "")
    for text in texts[1:]:
        found = say(template, first=found, next=text)
    return found


def as_json(text: str) -> str | dict[str, Any]:
    """A text as it is, a sentence in its parts."""
    return text.to_json() if isinstance(text, Sentence) else text


def with_parts(data: Mapping[str, Any]) -> dict[str, Any]:
    """Data for the face; `said` has the parts of those of its values that are sentences."""
    said = {name: value.to_json() for name, value in data.items() if isinstance(value, Sentence)}
    return {**data, "said": said} if said else dict(data)
