"""LoRA files and output files, through ComfyUI's `folder_paths`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths

from ...lorchestra.choices import SKIP, Choices
from ...lorchestra.errors import CheckpointError, StackError, quoted
from ...lorchestra.files.new_file import write_new, write_reason
from ...lorchestra.files.opening import exists
from . import process

if TYPE_CHECKING:
    from ...lorchestra.fit.rows import Files
    from ...lorchestra.library.listing import Listing
    from ...lorchestra.stack import Entry, Stack


def read_listing() -> Listing:
    """The LoRA files that ComfyUI lists."""
    from ...lorchestra.library.listing import Listing

    return Listing(folder_paths.get_filename_list("loras"))


def finder(listing: Listing) -> Callable[[Entry, int], str | None]:
    """A function that gives a row's file: the full path, or None if there is none.

    Names come from prompts and are not trusted: only names that ComfyUI lists in its LoRA folders are found, so that
    `..`, absolute paths and drive letters lead nowhere.
    """

    def find(entry: Entry, row: int) -> str | None:
        name = listing.find(entry.lora, row)
        return None if name is None else folder_paths.get_full_path("loras", name)

    return find


def row_files(listing: Listing) -> Files:
    """The files of rows, among those that ComfyUI lists; each is opened once for all nodes."""
    from ...lorchestra.fit.rows import Files

    return Files(finder(listing), process.lora_cache().open)


def with_listed_names(entries: Iterable[Entry], listing: Listing) -> list[Entry]:
    """The rows under the names by which ComfyUI lists their files, so that other packs find them too."""
    result: list[Entry] = []
    for entry in entries:
        name = listing.find(entry.lora) if entry.active else None
        result.append(replace(entry, lora=name) if name else entry)
    return result


def fingerprint(stack: Stack) -> str:
    """Changes when the file of an active row appears, goes, or changes on disk."""
    from ...lorchestra.files.key import find_key
    from ...lorchestra.fit.rows import find_rows

    find = finder(read_listing())
    found = find_rows(stack, find, lambda: None, Choices(missing=SKIP), has_clip=True)
    return repr([find_key(path) for path in found.paths.values()])


def write_output(prefix: str, suffix: str, text: str) -> dict[str, str]:
    """Writes a text as `<prefix>_<number>_<suffix>` into ComfyUI's output folder; gives ComfyUI's description of it.

    `suffix` has its dot. The number is the next free one, also where others write at the same time. Raises
    `StackError` if the prefix leads out of the output folder or cannot be a file's name, and `CheckpointError` if the
    file cannot be written.
    """
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        broken = text[max(0, error.start - 20) : error.end]
        raise StackError(f"the text has broken Unicode at {quoted(broken)} and cannot be written") from error
    output = folder_paths.get_output_directory()
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, output)
    except Exception as error:  # ComfyUI raises a bare Exception for a path outside of the output folder
        raise StackError(f"files cannot be written under {quoted(prefix)}: {_why(error)}") from error
    for number in range(counter, counter + _MOST_AT_ONCE):
        file = f"{name}_{number:05}_{suffix}"
        if exists(Path(folder, file)):
            continue
        try:
            write_new(Path(folder, file), data)
        except CheckpointError as error:
            if exists(Path(folder, file)):  # another prompt was faster
                continue
            raise StackError(f"files cannot be written under {quoted(prefix)}: {error.reason}") from error
        return {"filename": file, "subfolder": subfolder, "type": "output"}
    raise StackError(f"files cannot be written under {quoted(prefix)}: no number is free")


_MOST_AT_ONCE = 1000
"""Numbers that others may have taken since ComfyUI looked for a free one."""


def _why(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "this cannot be the name of a file" if isinstance(error, ValueError) else str(error).strip("* ")


def write_preview(png: bytes, prefix: str) -> dict[str, str]:
    """Writes a picture into ComfyUI's temporary folder, under a name made of its content; gives its description.

    The same picture is one file, however often it is made, and a new picture has a new name: browsers keep pictures.
    """
    folder = Path(folder_paths.get_temp_directory())
    file = f"{prefix}_{hashlib.sha256(png).hexdigest()[:16]}.png"
    if not exists(folder / file):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(folder, write_reason(error)) from error
        write_new(folder / file, png, force=True)
    return {"filename": file, "subfolder": "", "type": "temp"}
