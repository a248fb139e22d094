"""The LoRA files that a command is given: named ones, and those of folders."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tqdm import tqdm

from ..files.opening import is_folder

SUFFIX = ".safetensors"
_MOST_LEVELS = 40
"""Folders within folders; links to folders above are not followed twice anyway."""


@dataclass(frozen=True, slots=True)
class Given:
    """A file to look at."""

    path: str
    shown: str
    """Its name in a table: as it was given, or from the folder on that was given."""
    problem: str | None = None
    """Why it cannot be looked at, for a folder that cannot be read or has no LoRA files."""


def find_given(names: Sequence[str], suffixes: tuple[str, ...] = (SUFFIX,)) -> list[Given]:
    """The named files, and all files of the named folders that end so, each folder sorted; what is not there too."""
    found: list[Given] = []
    for name in names:
        if not is_folder(name):
            found.append(Given(name, name))
            continue
        before = len(found)
        found.extend(_walk(name, suffixes))
        if len(found) == before:
            found.append(Given(name, name, f"there are no {suffixes[0]} files in this folder"))
    return found


def _walk(folder: str, suffixes: tuple[str, ...]) -> Iterator[Given]:
    seen: set[str] = set()
    problems: list[Given] = []

    def unreadable(error: OSError) -> None:
        path = str(error.filename)
        problems.append(Given(path, path, f"the folder cannot be read ({error.strerror or error})"))

    for place, folders, files in os.walk(folder, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or os.path.relpath(place, folder).count(os.sep) > _MOST_LEVELS:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(suffixes) and not file.startswith("._"):  # macOS' shadows of files
                path = os.path.join(place, file)  # noqa: PTH118 - quicker, and keeps the spelling that was given
                yield Given(path, os.path.relpath(path, folder))
    yield from problems


def progress(given: Sequence[Given]) -> tqdm[Given]:
    """The files one by one, with a bar on a terminal where there are many; lines go through `tqdm.write`."""
    hidden = True if len(given) < 20 or not sys.stderr else None  # None: shown on terminals alone
    return tqdm(given, unit=" files", disable=hidden, file=sys.stderr, leave=False)


def write(line: str) -> None:
    """One line on standard output, above the progress bar."""
    tqdm.write(line, file=sys.stdout)
