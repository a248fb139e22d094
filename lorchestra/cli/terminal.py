"""What a terminal is shown: names come from files of strangers, and must not steer it."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with a question mark for each character that is not to be seen; line ends stay.

    Example: `a\\x1b[2J` → `a?[2J`.
    """
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)
