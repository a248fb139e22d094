"""LoRA files and output files, through ComfyUI's `folder_paths`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths

from ...lorchestra.choices import IGNORE, SKIP, Choices
from ...lorchestra.errors import CheckpointError, StackError, quoted
from ...lorchestra.files.new_file import write_new, write_reason
from ...lorchestra.files.opening import exists
from . import process

if TYPE_CHECKING:
    from ...lorchestra.fit.rows import Files, Located
    from ...lorchestra.library.identify_rows import Identified
    from ...lorchestra.library.resolve import Resolved
    from ...lorchestra.stack import Entry, Stack


SECONDS = 10.0
"""For what is not read yet, in a run that needs it."""


def row_files(seconds: float = 0.0) -> Files:
    """The files of rows, among those that ComfyUI lists; each is opened once for all nodes.

    Names come from prompts and are not trusted: only files that ComfyUI lists in its LoRA folders are found, so that
    `..`, absolute paths and drive letters lead nowhere else.

    For a row that only a hash or an AIR may find, headers and sidecars that are not known yet are read first, for so
    many seconds at most.
    """
    from ...lorchestra.fit.rows import Files

    finder = Finder(seconds)
    return Files(finder.find, process.lora_cache().open, finder.unread)


class Finder:
    """Finds the files of rows; what is not read yet is read once, for so many seconds at most."""

    def __init__(self, seconds: float) -> None:
        self._shelf = process.lora_library()
        self._listing = self._shelf.listing()
        self._seconds = seconds
        self._left: int | None = None

    def find(self, entry: Entry, row: int | None = None) -> Located | None:
        from ...lorchestra.fit.rows import Located, changed
        from ...lorchestra.sentences import say

        found = self.resolve(entry, row)
        path = None if found is None else folder_paths.get_full_path("loras", found.name)
        if found is None or path is None:
            return None
        used = say("used {file}, {how}", file=found.name, how=found.how) if found.how else ""
        return Located(path, used, changed() if found.is_changed else "")

    def resolve(self, entry: Entry, row: int | None = None) -> Resolved | None:
        """The listed name that a row means; raises `StackError` if it may be any of several."""
        from ...lorchestra.library.resolve import resolve
        from ...lorchestra.stack.wanted import wanted_of

        wanted = wanted_of(entry)
        found = resolve(wanted, self._shelf, self._listing, row)
        if found is None and wanted.is_identified and self._seconds and self._left is None:
            self._left = self._shelf.read_now(self._seconds)
            found = resolve(wanted, self._shelf, self._listing, row)
        return found

    def unread(self) -> int:
        return len(self._shelf.unread()) if self._left is None else self._left


def with_listed_names(entries: Iterable[Entry]) -> list[Entry]:
    """The rows under the names by which ComfyUI lists their files, so that other packs find them too."""
    from ...lorchestra.library.resolve import resolve
    from ...lorchestra.stack.wanted import wanted_of

    shelf = process.lora_library()
    listing = shelf.listing()
    result: list[Entry] = []
    for entry in entries:
        found = resolve(wanted_of(entry), shelf, listing) if entry.active else None
        result.append(replace(entry, lora=found.name) if found else entry)
    return result


def identified(stack: Stack) -> Identified:
    """The rows with the AIR and the hash that are known of their files, whose headers and sidecars are read for it."""
    from ...lorchestra.library.identify_rows import identify_rows

    return identify_rows(stack, process.lora_library())


def count_uses(names: Iterable[str]) -> None:
    """Counts that these listed files were applied."""
    process.lora_library().count_use(names)


def fingerprint(stack: Stack) -> str:
    """Changes when the file of an active row appears, goes, or changes on disk, and when other words are stated.

    A digest, because ComfyUI writes it into pictures, which are shared: where files are on this machine is private.
    """
    from ...lorchestra.files.key import find_key
    from ...lorchestra.fit.rows import find_rows
    from .words import find_meant

    found = find_rows(stack, row_files().find, lambda: None, Choices(missing=SKIP, policy=IGNORE), has_clip=True)
    listed = with_listed_names(stack.entries[row - 1] for row in found.paths)
    words = [meant for _, meant in find_meant(listed)]
    told = repr([[find_key(path) for path in found.paths.values()], words])
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def write_outputs(prefix: str, texts: Mapping[str, str]) -> list[dict[str, str]]:
    """Writes texts as `<prefix>_<number>_<suffix>` into ComfyUI's output folder; gives ComfyUI's description of each.

    Each text is under its suffix, which has its dot. The number, which all of them share, is the next free one, also
    where others write at the same time. Raises `StackError` if the prefix leads out of the output folder or cannot be a
    file's name, and if a file cannot be written.
    """
    data = {suffix: _encoded(text) for suffix, text in texts.items()}
    output = folder_paths.get_output_directory()
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, output)
    except Exception as error:  # ComfyUI raises a bare Exception for a path outside of the output folder
        raise StackError(f"files cannot be written under {quoted(prefix)}: {_why(error)}") from error
    for number in range(counter, counter + _MOST_AT_ONCE):
        names = {suffix: f"{name}_{number:05}_{suffix}" for suffix in data}
        if any(exists(Path(folder, file)) for file in names.values()):
            continue
        if all(_write(prefix, Path(folder, names[suffix]), content) for suffix, content in data.items()):
            return [{"filename": file, "subfolder": subfolder, "type": "output"} for file in names.values()]
    raise StackError(f"files cannot be written under {quoted(prefix)}: no number is free")


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        broken = text[max(0, error.start - 20) : error.end]
        raise StackError(f"the text has broken Unicode at {quoted(broken)} and cannot be written") from error


def _write(prefix: str, path: Path, data: bytes) -> bool:
    """False if another prompt was faster with that name."""
    try:
        write_new(path, data)
    except CheckpointError as error:
        if exists(path):
            return False
        raise StackError(f"files cannot be written under {quoted(prefix)}: {error.reason}") from error
    return True


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
