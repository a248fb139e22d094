"""The sidecar that Lorchestra writes: `pixel.lorchestra.json` beside `pixel.safetensors`.

It holds what people say of a LoRA in the library. Other tools' sidecars are never changed; ours is read before them.
Keys that a later version wrote are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import FileProblem, JsonError, LorchestraError, quoted
from ..files.json_text import read_json
from ..files.new_file import check_output, new_file
from ..files.opening import exists, read_small
from ..limits import WEIGHT_LIMIT

OWN_SUFFIX = ".lorchestra.json"
VERSION = 1
MAX_WORDS = 64
MAX_WORD = 400
"""Characters of a trigger word."""
MAX_NOTES = 20_000
"""Characters."""
_MAX_FILE = 200_000
"""Bytes of the file."""


class SidecarError(FileProblem):
    """A sidecar of ours that cannot be read or written."""


def own_path(path: str | Path) -> Path:
    """The sidecar of a LoRA file."""
    path = Path(path)
    return path.with_name(path.stem + OWN_SUFFIX)


def read_changes(given: Mapping[str, object]) -> dict[str, object]:
    """What is to be written, checked; None takes a key away. Raises `LorchestraError` for what cannot be."""
    if not given:
        raise LorchestraError("nothing is to be changed")
    result: dict[str, object] = {}
    for key, value in given.items():
        check = _CHECKS.get(key)
        if check is None:
            raise LorchestraError(f"{quoted(key)} cannot be written; expected one of {', '.join(_CHECKS)}")
        result[key] = None if value is None else check(value)
    return result


def write_own(path: str | Path, changes: Mapping[str, object]) -> None:
    """Writes what `read_changes` gives into a LoRA's sidecar, which appears whole or not at all.

    Raises `SidecarError` where what is there is not ours, and `CheckpointError` where it cannot be written.
    """
    place = own_path(path)
    data = {**_read(place), **changes, "version": VERSION}
    kept = {key: value for key, value in data.items() if value is not None}
    check_output(place, (str(path),), "the LoRA", force=True)
    with new_file(place, force=True) as file:
        file.write(json.dumps(kept, indent=1, ensure_ascii=False).encode("utf-8", "replace"))


def _read(place: Path) -> dict[str, Any]:
    if not exists(place):
        return {}
    try:
        value = read_json(read_small(place, _MAX_FILE, SidecarError).decode("utf-8-sig"), size=_MAX_FILE)
    except (JsonError, UnicodeDecodeError) as error:
        raise SidecarError(place, "this is not valid JSON; move it away, then write again") from error
    if not isinstance(value, dict):
        raise SidecarError(place, "this is not a JSON object; move it away, then write again")
    return cast("dict[str, Any]", value)


def _words(value: object) -> list[str]:
    items = cast("list[object]", value) if isinstance(value, list) else None
    if items is None or not all(isinstance(word, str) for word in items):
        raise LorchestraError("trigger_words: expected a list of texts")
    words = [word for word in dict.fromkeys(str(item).strip() for item in items) if word]
    if len(words) > MAX_WORDS or any(len(word) > MAX_WORD for word in words):
        raise LorchestraError(f"trigger_words: at most {MAX_WORDS} words of {MAX_WORD} characters can be written")
    return words


def _notes(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_NOTES:
        raise LorchestraError(f"notes: expected a text of at most {MAX_NOTES:,} characters")
    return value.strip()


def _weight(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= WEIGHT_LIMIT:
        raise LorchestraError(f"weight is {quoted(value)}; expected a number from -{WEIGHT_LIMIT} to {WEIGHT_LIMIT}")
    return float(value)


def _favourite(value: object) -> bool:
    if not isinstance(value, bool):
        raise LorchestraError(f"favourite is {quoted(value)}; expected true or false")
    return value


_CHECKS: dict[str, Callable[[object], object]] = {
    "trigger_words": _words, "notes": _notes, "weight": _weight, "favourite": _favourite,
}  # fmt: skip
"""Key → its check. `notes` and `trigger_words` that are empty say nothing; then other sidecars' count."""
