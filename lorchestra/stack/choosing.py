"""Rows of a stack by what a person calls them."""

from __future__ import annotations

from pathlib import PurePosixPath

from ..errors import StackError, quoted
from ..sentences import say
from .stack import Stack


def choose_rows(stack: Stack, text: str) -> frozenset[int]:
    """The numbers of the rows that a text names, with commas between: numbers from 1, or names of files.

    Blank text means all rows. A name is the file as the row has it, or without its folder, or also without its ending;
    it names all rows of that file. Raises `StackError` for what names no row.
    """
    if not text.strip():
        return frozenset(row for row, _ in stack.rows)
    chosen: set[int] = set()
    for word in (part.strip() for part in text.split(",")):
        if not word:
            continue
        named = {row for row, entry in stack.rows if word.casefold() in _names(entry.lora)}
        if not named and word.isdecimal() and 1 <= int(word) <= len(stack.entries):
            named = {int(word)}
        if not named:
            raise StackError(
                say(
                    "rows has {word}, which is none of the {count} rows that came in: {names}. Rows that are off don't "
                    "come in. Write a number or a name of these.",
                    word=quoted(word),
                    count=len(stack.entries),
                    names=", ".join(f"{row} {entry.lora}" for row, entry in list(stack.rows)[:_MOST]) or "none",
                )
            )
        chosen |= named
    return frozenset(chosen)


_MOST = 8


def _names(lora: str) -> set[str]:
    path = PurePosixPath(lora.replace("\\", "/").casefold())
    return {str(path), path.name, path.stem}
