"""How strong the files of rows are, kept in the catalog; measured in a thread of ours, and not while ComfyUI works."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ...lorchestra.errors import FileProblem, StackError
from ...lorchestra.sentences import say, with_parts
from . import files, process
from .server import is_running

if TYPE_CHECKING:
    from ...lorchestra.analysis.strengths import Strengths
    from ...lorchestra.files.key import FileKey
    from ...lorchestra.stack import Entry

IsWanted = Callable[[], bool]
_LOOK = 0.3
"""Seconds after which it is looked again whether ComfyUI works."""


def strengths_of(rows: object, is_wanted: IsWanted | None) -> list[dict[str, object] | None]:
    """For each row `{"model": …, "clip": …}`, or `{"why": …}` where nothing can be told.

    None for one that was not measured; with `is_wanted` all are, as long as it is true. Raises `StackError` for what
    are no rows.
    """
    from ...lorchestra.fit.badge import read_rows

    finder = files.Finder(0.0)
    return [_row(entry, number, finder, is_wanted) for number, entry in enumerate(read_rows(rows), 1)]


def _row(
    entry: Entry | StackError, number: int, finder: files.Finder, is_wanted: IsWanted | None
) -> dict[str, object] | None:
    from ...lorchestra.files.key import find_key

    if isinstance(entry, StackError):
        return _why(entry.reason)
    try:
        located = finder.find(entry, number)
    except StackError as error:
        return _why(error.reason)
    key = find_key(located.path) if located else None
    if key is None:
        return _why(say("its file is not on this machine"))
    found = _find(key)
    if found is None and is_wanted is not None:
        found = _measure(key, is_wanted)
    if found is None:
        return None
    if found.problem:
        return _why(found.problem)
    at = found.at(entry.blocks)
    if at is None:
        return _why(say("the model that it is made for is not known, so neither is what its weights per block mean"))
    return {"model": at[0], "clip": at[1]}


def _why(sentence: str) -> dict[str, object]:
    return with_parts({"why": sentence})


def _find(key: FileKey) -> Strengths | None:
    """What was measured, now or by an earlier start."""
    from ...lorchestra.analysis.strengths import read_kept

    found = process.strengths.find(key)
    if found is None:
        kept = process.catalog().find_strengths(key.path, key.size, key.modified_ns)
        found = read_kept(kept) if kept else None
        if found is not None:
            known = found
            process.strengths.find_or_make(key, lambda: known)
    return found


def _measure(key: FileKey, is_wanted: IsWanted) -> Strengths | None:
    from ...lorchestra.analysis.strengths import NotWanted, Strengths, measure_strengths
    from ...lorchestra.files.key import find_key

    while is_running() and is_wanted():
        time.sleep(_LOOK)
    try:
        found = measure_strengths(key.path, is_wanted)
    except NotWanted:
        return None
    except (FileProblem, StackError) as error:
        found = Strengths(problem=error.reason)
    except (MemoryError, RuntimeError):  # PyTorch says so that there is not enough memory
        found = Strengths(problem=say("there is not enough memory to measure it"))
    if find_key(key.path) != key:
        return None  # it changed meanwhile
    process.strengths.find_or_make(key, lambda: found)
    if not found.problem:
        process.catalog().save_strengths(key.path, key.size, key.modified_ns, found.to_text())
    return found
