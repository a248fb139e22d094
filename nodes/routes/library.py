"""Routes about LoRA files: which there are, what each is, its picture, and which one a row means."""

from __future__ import annotations

import time
from pathlib import PurePath
from typing import TYPE_CHECKING, cast

from ...lorchestra.errors import FileProblem, LorchestraError, quoted
from ..host import process
from ..host.badges import shown_candidates
from .http import Answer, Body, Query, read_text
from .jobs import IsWanted

if TYPE_CHECKING:
    from ...lorchestra.library.background import Hashing
    from ...lorchestra.library.database import Use
    from ...lorchestra.library.facts import Facts, File

SEARCH_SECONDS = 5.0
FILE_SECONDS = 600.0
"""For the hash of one file: at 100 MB a second the largest LoRAs take a tenth of it."""
FILES_SECONDS = 120.0
"""For the hashes of all files."""


def loras(query: Query) -> dict[str, object]:
    """All LoRAs with what is known of each by now; the rest is read in the background.

    Files with names that a row cannot hold are in `unusable`, each with the reason and its key.
    """
    from ...lorchestra.stack.rows import NAME_PROBLEMS, find_name_problem

    shelf = process.lora_library()
    with shelf.background.attended():
        files = shelf.files()
        pending = shelf.read_in_background(files)
        problems = {file.name: find_name_problem(file.name) for file in files}
        uses, twins = shelf.uses(), shelf.find_twins(files)
        rows = [
            _row(file, shelf.find_read(file), uses.get(file.name), twins.get(file.name))
            for file in files
            if problems[file.name] is None
        ]
        if shelf.problem:
            process.warn_once(shelf.problem)
        unusable = [
            {"name": quoted(name, 300), "problem": key, "why": NAME_PROBLEMS[key]}
            for name, key in problems.items()
            if key
        ]
        return {
            "loras": rows,
            "pending": pending,
            "unusable": unusable,
            "hashing": _shown(shelf.background.hashing),
            "problem": shelf.problem,
        }


def index(body: Body) -> dict[str, object]:
    """Has all files hashed in the background, with `hash` true; ends that, with `hash` false. Says how far it is.

    Hashes are what a row is found by under any name; they are kept in the catalog. `searching` is the same for a search
    by hash that runs.
    """
    shelf, wanted = process.lora_library(), body.get("hash")
    if not isinstance(wanted, bool | None):
        raise LorchestraError(f'"hash" is {quoted(wanted)}; expected true or false')
    if wanted:
        shelf.hash_in_background()
    elif wanted is False:
        shelf.background.stop_hashing()
    return {"hashing": _shown(shelf.background.hashing), "searching": _shown(shelf.searching)}


def identities(query: Query) -> dict[str, object]:
    """By what LoRAs and checkpoints are known by now, for workers; nothing is read or hashed while this is answered."""
    from ...lorchestra.library.identities import identities_of

    shelves = process.lora_library(), process.checkpoint_library()
    return {shelf.folder: identities_of(shelf) for shelf in shelves}


def _shown(progress: Hashing) -> dict[str, int]:
    return {"done": progress.done, "total": progress.total}


def is_hashing(query: Query) -> bool:
    """Whether `info` may take minutes."""
    return query.get("hash") == "1"


def info(query: Query, is_wanted: IsWanted) -> dict[str, object]:
    """All that is known of one LoRA; with `hash=1` its SHA-256 is computed if it is not known yet.

    `path` begins with the folder of LoRAs: what is above it is nobody's business but the server's.
    """
    from ...lorchestra.library.card import read_details

    shelf, file = process.lora_library(), _file(query)
    details = read_details(file.path)
    facts = shelf.find_facts(file)
    hashes = shelf.find_hashes(file)
    if hashes and details["sha256"] not in (None, hashes.sha256):
        warnings = details["warnings"] if isinstance(details["warnings"], list) else []
        lie = "a file beside it says another SHA-256 than the file has, so what it says may be about another file"
        details = {**details, "warnings": [lie, *warnings], "sha256": hashes.sha256, "air": None, "urn": None}
    if is_hashing(query):
        sha256 = shelf.sha256(file, _until(FILE_SECONDS, is_wanted))
    else:
        sha256 = details["sha256"] or (facts and facts.sha256)
    return {
        "lora": file.name,
        "path": shelf.shown_path(file),
        "size": file.size,
        "modified": file.modified_ns // 1_000_000_000,
        **details,
        "sha256": sha256 or details["sha256"],
    }


MOST_EDITED = 1000
"""LoRAs of one request to write sidecars."""


def edit(body: Body) -> dict[str, object]:
    """Writes trigger words, notes, a weight or a favourite into the sidecars of `loras`: our own, never another tool's.

    `changes` are the keys of the sidecar, null takes one away. Each LoRA is a step by itself: `problems` says of which
    it could not be done, and why.
    """
    from ...lorchestra.library.own_sidecar import own_path, read_changes, write_own

    given, changes = body.get("loras"), body.get("changes")
    if not isinstance(given, list) or not 0 < len(given) <= MOST_EDITED:
        raise LorchestraError(f'"loras" has to be a list of 1 to {MOST_EDITED:,} names')
    if not isinstance(changes, dict):
        raise LorchestraError('"changes" has to be a JSON object')
    checked = read_changes(cast("dict[str, object]", changes))
    shelf = process.lora_library()
    written: list[str] = []
    problems: list[dict[str, str]] = []
    for name in cast("list[object]", given):
        try:
            path = _path({"lora": name if isinstance(name, str) else ""})
            write_own(path, checked)
            written.append(own_path(path).name)
        except FileProblem as error:
            problems.append({"lora": str(name), "error": f"{PurePath(error.file).name}: {error.reason}"})
        except LorchestraError as error:
            problems.append({"lora": quoted(name, 300), "error": str(error)})
    for file in shelf.files([name for name in cast("list[object]", given) if isinstance(name, str)]):
        shelf.facts(file)
    shelf.save()
    return {"written": written, "problems": problems}


def preview(query: Query) -> Answer:
    """A picture or video beside a LoRA, and nothing else: its type is that of its bytes, no browser may guess another.

    `number` counts from 0 through the previews that `info` lists; without it the first image.
    """
    from ...lorchestra.library.sidecars import find_preview, read_preview

    path = _find_numbered(query) if "number" in query else find_preview(_path(query))
    image = read_preview(path) if path else None
    if image is None:
        return Answer({"error": NO_PREVIEW}, status=404, headers=_PICTURE_HEADERS)
    data, content_type = image
    return Answer(data, content_type, headers=_PICTURE_HEADERS)


def thumbnail(query: Query) -> Answer:
    """The same image, small, as WebP; the status is 415 where there is one and it cannot be shown, with the reason."""
    from ...lorchestra.library.sidecars import is_video
    from ...lorchestra.library.thumbnails import PictureError

    path = _find_numbered({"number": "0", **query})
    if path is None or is_video(path):
        return Answer({"error": NO_PREVIEW}, status=404, headers=_PICTURE_HEADERS)
    try:
        data = process.thumbnails().read(path)
    except PictureError as error:
        sentence = f"{PurePath(path).name}: {error.reason}"
        return Answer({"error": sentence}, status=415, headers=_PICTURE_HEADERS)
    return Answer(data, "image/webp", headers=_PICTURE_HEADERS)


NO_PREVIEW = "there is no preview image beside this LoRA"
_PICTURE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, max-age=300, stale-while-revalidate=86400",
}


def _find_numbered(query: Query) -> str | None:
    from ...lorchestra.library.sidecars import find_previews

    number, paths = query["number"], find_previews(_path(query))
    return paths[int(number)] if number.isdecimal() and len(number) < 4 and int(number) < len(paths) else None


def is_deep(body: Body) -> bool:
    """Whether `find` may take minutes."""
    return body.get("deep") is True


def find(body: Body, is_wanted: IsWanted) -> dict[str, object]:
    """Files that may be the one that a row means; with `deep`, whole files are hashed."""
    from ...lorchestra.library.index import CONTENT

    lora, sha256, air = (read_text(body, key) for key in ("lora", "sha256", "air"))
    size = body.get("size")
    shelf = process.lora_library()
    found = shelf.finder(SEARCH_SECONDS).find(lora or "", sha256, air)
    by_content = any(item.by == CONTENT for item in found.candidates)
    if is_deep(body) and sha256 and not by_content:
        known_size = size if isinstance(size, int) and not isinstance(size, bool) else None
        hashed = shelf.search_hash(lora or "", sha256, known_size, _until(FILES_SECONDS, is_wanted))
        names = {item.name for item in hashed.candidates}
        rest = tuple(item for item in found.candidates if item.name not in names)
        found = type(found)((*hashed.candidates, *rest), hashed.left)
    return {"candidates": shown_candidates(shelf, found.candidates), "left": found.left}


def _until(seconds: float, is_wanted: IsWanted) -> IsWanted:
    """Wanted for so many seconds at most."""
    end = time.monotonic() + seconds
    return lambda: is_wanted() and time.monotonic() < end


def _row(file: File, facts: Facts | None, use: Use | None, twin: int | None) -> dict[str, object]:
    more: dict[str, object] = {}  # what few have: ten thousand rows are to stay small
    if use:
        more |= {"used": use.last, "uses": use.times}
    if twin is not None:
        more["twin"] = twin
    if facts and facts.nsfw:
        more["nsfw"] = True
    if facts and facts.tags:
        more["tags"] = facts.tags
    if facts and facts.favourite is not None:
        more["favourite"] = facts.favourite
    return {
        "name": file.name,
        "size": file.size,
        "modified": file.modified_ns // 1_000_000_000,
        "title": facts.title if facts else None,
        "triggers": facts.triggers if facts else (),
        "stated": bool(facts and facts.words),
        "architectures": facts.architectures if facts else (),
        "family": facts.family if facts else (),
        "kind": facts.kind if facts else None,
        "algorithm": facts.algorithm if facts else None,
        "preview": file.images > 0,
        "images": file.images,
        "videos": file.videos,
        "known": facts is not None,
        **more,
    }


def _file(query: Query) -> File:
    name = query.get("lora")
    file = process.lora_library().find_file(name) if name else None
    if file is None:
        raise _no_such(name)
    return file


def _path(query: Query) -> str:
    """The same for who needs nothing but the path: its folder is not read."""
    name = query.get("lora")
    path = process.lora_library().find_path(name) if name else None
    if path is None:
        raise _no_such(name)
    return path


def _no_such(name: str | None) -> LorchestraError:
    return LorchestraError(f"there is no LoRA {quoted(name or '', 300)}")
