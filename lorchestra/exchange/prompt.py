"""Where the LoRA tags of a prompt stand, and what stands around them: brackets and groups that switch them on and off.

One pass over the text, as long as the text. A `[` that is never closed is text, as in the programs themselves.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..errors import StackError
from ..limits import MAX_PROMPT, MAX_ROWS
from .dialect import Place

MAX_SIGNS = 20_000
"""Most brackets, colons and the like of a prompt with tags in it."""
MAX_TAGS = 2 * MAX_ROWS
"""Most tags of a prompt, also of those that cannot be read."""
MAX_NESTED = 50
"""How deep brackets may be nested."""

_OPEN, _CLOSE = r"(?:<|＜|&lt;)", r"(?:>|＞|&gt;)"
_TOKEN = re.compile(
    rf"(?P<escape>\\)?{_OPEN}\s*(?P<kind>lora|lyco|loractl)\s*(?P<colon>[:：])"
    rf"(?P<inside>[^<>＜＞&]*(?:&(?![lg]t;)[^<>＜＞&]*)*)(?P<end>{_CLOSE})?"
    r"|\\."
    r"|<(?P<section>base|refiner|video|videoswap|pixeldecoder)\s*>"
    r"|<\s*(?P<group>[A-Za-z]\w{0,30})\s*(?P<pre>\[[^\[\]<>]{0,60}\])?\s*:"
    r"|(?P<sign>[\[\]()|:,>])",
    re.IGNORECASE | re.DOTALL,
)
"""Example: `<lora:pixel:0.7>`, also escaped for HTML or typed in full width; `<fromto[2]:`; the signs of brackets."""
_ANY = re.compile(rf"{_OPEN}\s*(?:lora|lyco|loractl)\s*[:：]", re.IGNORECASE)
_SECTIONS = ("segment", "object", "region", "extend", "clear")
"""SwarmUI's tags that begin a part of the prompt which is about a part of the picture."""


@dataclass(slots=True)
class Group:
    """A bracket, or a `<word:…>`, and what it is in."""

    word: str
    """`[`, or the word in small letters."""
    pre: str
    """What stands in brackets after the word: `2` in `<fromto[2]:…>`."""
    start: int
    body: int
    """Where what is in it begins."""
    parent: Group | None
    end: int = -1
    """Where its closing sign stands; -1 if it is never closed."""
    signs: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    """(place, `:` `|` or `,`) of the signs that part it."""
    open_parentheses: int = 0
    is_broken: bool = False
    """True if something in it was opened and never closed: then its signs say nothing."""


@dataclass(frozen=True, slots=True)
class Found:
    """A tag in the text."""

    start: int
    end: int
    inside: str
    """What stands after `<lora:`."""
    group: Group | None
    """The innermost that it is in."""
    section: str
    """The part of the prompt that it is in, empty for the whole picture."""
    is_closed: bool
    is_escaped: bool
    is_wide: bool
    """Typed with full-width signs."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text with its tags."""

    text: str
    tags: tuple[Found, ...]
    _lines: tuple[int, ...]

    def place(self, offset: int) -> Place:
        """Line and column of a character."""
        line = bisect_right(self._lines, offset)
        return Place(line, offset - self._lines[line - 1] + 1)

    def groups(self, tag: Found) -> Sequence[Group]:
        """The closed groups that a tag is in, from the inside."""
        found: list[Group] = []
        group = tag.group
        while group is not None:
            if group.end >= 0:
                found.append(group)
            group = group.parent
        return found


def has_tags(text: str) -> bool:
    """True if a tag begins anywhere in the text."""
    return _ANY.search(text) is not None


def find_tags(text: str) -> Prompt:
    """The tags of a prompt. Raises `StackError` for more signs, or brackets nested deeper, than a prompt has."""
    if not has_tags(text):
        return Prompt(text, (), (0,))
    if len(text) > MAX_PROMPT:
        raise StackError(f"the prompt has {len(text):,} characters; at most {MAX_PROMPT:,} are read")
    tags: list[Found] = []
    stack: list[Group] = []
    section = ""
    for number, token in enumerate(_TOKEN.finditer(text)):
        if number >= MAX_SIGNS:
            raise StackError(f"the text has more than {MAX_SIGNS:,} brackets, colons and tags; no prompt has so many")
        if token["kind"]:
            if len(tags) >= MAX_TAGS:
                sentence = f"the text has more than {MAX_TAGS:,} tags; a stack has at most {MAX_ROWS} rows"
                raise StackError(sentence, MAX_ROWS + 1)
            tags.append(
                Found(
                    token.start(),
                    token.end(),
                    token["inside"],
                    stack[-1] if stack else None,
                    section,
                    token["end"] is not None,
                    token["escape"] is not None,
                    token["colon"] == "：",
                )
            )
        elif token["section"]:
            section = "" if token["section"].lower() == "base" else token["section"].lower()
        elif token["group"]:
            pre = token["pre"][1:-1] if token["pre"] else ""
            _push(stack, Group(token["group"].lower(), pre, token.start(), token.end(), None))
        elif token["sign"]:
            closed = _sign(stack, token["sign"], token.start())
            if closed is not None and closed.word in _SECTIONS and closed.parent is None:
                section = closed.word
    return Prompt(text, tuple(tags), (0, *(found.end() for found in re.finditer("\n", text))))


def _push(stack: list[Group], group: Group) -> None:
    if len(stack) >= MAX_NESTED:
        raise StackError(f"brackets are nested more than {MAX_NESTED} deep")
    group.parent = stack[-1] if stack else None
    stack.append(group)


def _sign(stack: list[Group], sign: str, at: int) -> Group | None:
    """Takes account of one sign; the group that it closes, if it does."""
    if sign == "[":
        _push(stack, Group("[", "", at, at + 1, None))
    elif sign in "]>":
        opened = next((i for i in range(len(stack) - 1, -1, -1) if (stack[i].word == "[") == (sign == "]")), None)
        if opened is not None:
            closed = stack[opened]
            closed.is_broken = len(stack) > opened + 1 or closed.open_parentheses > 0
            del stack[opened:]
            closed.end = at
            return closed
    elif stack:
        group = stack[-1]
        if group.word != "[":
            if sign in "|,":
                group.signs.append((at, sign))
        elif sign in "()":
            group.open_parentheses = max(group.open_parentheses + (1 if sign == "(" else -1), 0)
        elif sign in ":|" and not group.open_parentheses:
            group.signs.append((at, sign))
    return None
