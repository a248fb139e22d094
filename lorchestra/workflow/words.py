"""Whether trigger words are in a prompt, and trigger words as one text; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

MOST_TEXT = 100_000
"""Characters of a prompt that are searched for words."""

_LORA = re.compile(r"<(?:lora|lyco|loractl|hypernet):[^<>]*>", re.IGNORECASE)
"""Example: `<lora:pixel:0.7>`, whose name is no word of the prompt."""
_WEIGHT = re.compile(r":\s{0,9}[+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s{0,9}(?=[)\]])")
"""Example: the `:1.2` of `(pixel art:1.2)`."""
_SIGNS = re.compile(r"[\\()\[\]{}]")
"""What weighs words, and the backslash that escapes it; dropped, because `\\(` and `(` both stand in real prompts."""
_SPACES = re.compile(r"[\s_]+")
_NOTHING_BETWEEN = 0x2E80
"""From this character on, scripts have no spaces between words: CJK and others."""


def spoken(text: str) -> str:
    """A prompt or a word as it is compared: `(Pixel_Art:1.2)` → `pixel art`."""
    text = _WEIGHT.sub(" ", _LORA.sub(" ", text))
    return _SPACES.sub(" ", _SIGNS.sub("", text)).strip().casefold()


def is_said(word: str, prompt: str) -> bool:
    """Whether a trigger word stands in a prompt, both as `spoken` gives them: as a whole phrase.

    A word with commas is there if each of its parts is. False for a word without letters.
    """
    parts = [part for part in (part.strip() for part in word.split(",")) if part]
    return bool(parts) and all(_stands_in(part, prompt) for part in parts)


def _stands_in(phrase: str, prompt: str) -> bool:
    at = prompt.find(phrase)
    while at >= 0:
        end = at + len(phrase)
        starts = at == 0 or not _is_one_word(prompt[at - 1], phrase[0])
        ends = end == len(prompt) or not _is_one_word(phrase[-1], prompt[end])
        if starts and ends:
            return True
        at = prompt.find(phrase, end)
    return False


def _is_one_word(left: str, right: str) -> bool:
    """Whether two characters beside each other are parts of one word."""
    return all(c.isalnum() and ord(c) < _NOTHING_BETWEEN for c in (left, right))


def joined(words: Iterable[str]) -> str:
    """Trigger words as text for a prompt, each once in the way in which it came first."""
    kept: dict[str, str] = {}
    for word in words:
        text = word.strip().strip(",").strip()
        if text:
            kept.setdefault(" ".join(text.casefold().split()), text)
    return ", ".join(kept.values())
