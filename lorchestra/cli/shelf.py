"""The library that commands look into, and its catalog: that of the ComfyUI that is found, else the user's own."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..demo.comfyui import find_comfyui
from ..demo.folders import find_folders
from ..errors import LorchestraError
from ..files.opening import is_folder
from ..library.catalog import Library
from ..library.database import Database
from ..library.facts import Facts, File
from ..library.model_facts import MODEL_FOLDERS, MODEL_SUFFIXES
from .files import SUFFIX, find_given
from .terminal import printable


@dataclass(frozen=True, slots=True)
class Shelf:
    """The files that a command looks into, and where what is known of them is kept."""

    loras: Library
    catalog: Path
    models: tuple[Library, ...] = ()
    """Checkpoints and diffusion models, each kind by itself."""


def add_catalog(parser: argparse.ArgumentParser) -> None:
    """Adds `--catalog` and `--folder`."""
    parser.add_argument(
        "--catalog",
        metavar="FILE",
        type=Path,
        help="what is known of files is kept here (default: the catalog of the ComfyUI that is found, else the user's)",
    )
    parser.add_argument(
        "--folder",
        metavar="FOLDER",
        action="append",
        default=[],
        help="look here for LoRAs instead of in ComfyUI's folders; may be given several times",
    )


def open_shelf(args: argparse.Namespace) -> Shelf:
    """The library of the folders that are given, else of ComfyUI's; raises `LorchestraError` if there is none."""
    roots, catalog = tuple(args.folder), args.catalog
    missing = [root for root in roots if not is_folder(root)]
    if missing:
        raise LorchestraError(f"{missing[0]} is not a folder")
    comfyui = find_comfyui() if not roots or catalog is None else None
    folders = find_folders(comfyui) if comfyui else None
    if not roots and folders is None:
        raise LorchestraError("no ComfyUI was found; name a folder of LoRAs with --folder, or set COMFYUI_PATH")
    roots = roots or (folders.loras if folders else ())
    if catalog is None:
        catalog = folders.user / "__lorchestra" / "catalog.sqlite" if folders else own_catalog()
    full = tuple(str(Path(root).absolute()) for root in roots)
    database = Database(catalog)
    loras = Library(_names(full, (SUFFIX,)), lambda: full, database=database)
    kinds = zip(MODEL_FOLDERS, (folders.checkpoints, folders.diffusion_models), strict=True) if folders else ()
    models = (
        Library(_names(roots, MODEL_SUFFIXES), lambda roots=roots: roots, database=database, folder=kind, read=_read)
        for kind, roots in (kinds if not args.folder else ())
    )
    return Shelf(loras, catalog, tuple(models))


def _names(roots: Sequence[str], suffixes: tuple[str, ...]) -> Callable[[], list[str]]:
    given = (item for root in roots if is_folder(root) for item in find_given([root], suffixes))
    names = list(dict.fromkeys(item.shown for item in given if item.problem is None))
    return lambda: names


def _read(file: File) -> Facts:
    from ..library.model_facts import read_model_facts

    return read_model_facts(file)


def own_catalog() -> Path:
    """The catalog of a user without a ComfyUI, where the system keeps data of programs."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base, "lorchestra", "catalog.sqlite")


def read_all(library: Library) -> None:
    """Reads what is not known yet, newest first, with a bar on a terminal where that is much; keeps it."""
    files = library.files()
    for number, file in enumerate(_bar(library.unread(files), "reading")):
        library.facts(file)
        if number % 500 == 499:
            library.save()
    library.read_in_background(files)  # nothing is left: what is gone is forgotten
    library.save()


def hash_all(library: Library) -> int:
    """Hashes what is not hashed yet, newest first, with a bar in bytes. Returns how many files could not be read."""
    waiting = library.unhashed()
    failed = 0
    total = sum(file.size for file in waiting)
    hidden = None if sys.stderr else True
    with tqdm(
        total=total, unit="B", unit_scale=True, desc="hashing", disable=hidden, file=sys.stderr, leave=False
    ) as bar:
        end = 0
        for file in waiting:
            start, end = end, end + file.size
            found = library.hashes(file, progress=lambda done, start=start: _to(bar, start + done))
            failed += found is None
            _to(bar, end)
    return failed


def tell_problem(shelf: Shelf) -> None:
    """Says on standard error why nothing is kept, if nothing is."""
    if shelf.loras.problem:
        print(printable(f"lorchestra: {shelf.loras.problem}"), file=sys.stderr)


def _to(bar: tqdm[Any], position: int) -> None:
    bar.update(position - bar.n)


def _bar(items: Sequence[File], what: str) -> tqdm[File]:
    hidden = True if len(items) < 20 or not sys.stderr else None
    return tqdm(items, desc=what, unit=" files", disable=hidden, file=sys.stderr, leave=False)
