"""LoRA-Manager's recipes, both ways.

Source: willmiao/ComfyUI-Lora-Manager `py/services/recipes/persistence_service.py` and
`py/recipes/parsers/recipe_format.py`: `{"loras": [{"file_name": "pixel", "hash", "strength", "modelVersionId",
"modelName", "modelVersionName", "isDeleted", "exclude"}]}`, as a file, or after `Recipe metadata: ` in a picture's
text. A file's name has no folder and no ending; a hash is the file's SHA-256, or shorter; an excluded LoRA is not used.
"""

from __future__ import annotations

from typing import Any

from ..limits import Json
from ..stack import Entry, Stack
from ..stack.wanted import HASH
from .dialect import (
    OFF,
    SHA256,
    Dialect,
    Loss,
    Reading,
    Writing,
    as_text,
    check_count,
    fitted,
    one_weight,
    unsaid,
    unsaid_of_stack,
)
from .fields import VERSION_ID, Item, find_hash, find_version_id, kept_hash, objects, rows_under
from .hosted import DOWNLOAD, find_air_of, version_id
from .names import no_folder, stem

MARK = "Recipe metadata: "
"""What a recipe begins with in the text of a picture."""
_NAMES = ("modelName", "modelVersionName", "isDeleted")
"""What else a recipe says of a LoRA; kept in `Entry.extra`."""


def is_request(value: Json) -> bool:
    """True for an object whose `loras` have a `file_name`."""
    rows = objects(value, "loras")
    return bool(rows) and all("file_name" in row and "lora" not in row for row in rows)


def read(value: Json) -> Reading:
    """A stack from a recipe, its `loras`, or JSON text of these; raises `DialectError` with the field's path.

    Where only Civitai's number of a version is known, it is kept in `Entry.extra` as `modelVersionId`, and a hash that
    is not the whole SHA-256 as `hash`.
    """
    losses: list[Loss] = []
    text = value.partition(MARK)[2] or value if isinstance(value, str) else value
    entries = [_entry(one) for one in rows_under(text, "loras", losses)]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _entry(item: Item) -> Entry:
    version = item.version_id()
    digits = find_hash(item.find_text(HASH))
    extra = item.rest(("file_name", HASH, "strength", VERSION_ID, "exclude"))
    if version:
        extra[VERSION_ID] = version
    if digits is not None and len(digits) < 64:
        extra[HASH] = digits
    lora = item.find_text("file_name") or (f"{DOWNLOAD}{version}" if version else digits)
    if lora is None:
        raise item.fail("file_name", "the name of a file")
    return item.entry(
        Entry(
            lora,
            on=not item.flag("exclude", False),
            model=item.number("strength", DIALECT.limits.default),
            sha256=digits if digits is not None and len(digits) == 64 else None,
            extra=extra,
        )
    )


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """All rows, those that are off too, as `{"loras": […]}`; of an AIR of Civitai's the number of the version."""
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in stack.checked().rows:
        check_count(row, DIALECT, row)
        weight = fitted(entry.model, f"loras[{row - 1}].strength", entry, row, DIALECT, clamp, losses)
        digits = entry.sha256.lower() if entry.sha256 else kept_hash(entry)
        if not entry.sha256 and digits is not None and len(digits) == 64:
            digits = None  # of another kind
        item: dict[str, Any] = {
            "file_name": stem(entry.lora) or entry.lora,
            HASH: digits or "",
            "strength": weight,
            VERSION_ID: _version(entry, row, losses),
            "exclude": not entry.on,
        }
        item |= {key: entry.extra[key] for key in _NAMES if key in entry.extra}
        rows.append(item)
        losses += no_folder(entry, row, DIALECT.title)
        losses += one_weight(entry, row, DIALECT.title)
        kept = kept_hash(entry) or ""
        said = [HASH] if 0 < len(kept) < 64 and digits == kept else []
        said += [VERSION_ID] if item[VERSION_ID] == entry.extra.get(VERSION_ID) else []
        losses += unsaid(entry, row, DIALECT.title, (*said, *_NAMES))
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(as_text({"loras": rows}), {"loras": rows}, tuple(losses))


def _version(entry: Entry, row: int, losses: list[Loss]) -> int:
    """Civitai's number of the version; 0 if it is not known, as recipes have it."""
    if entry.air is None:
        return find_version_id(entry.extra.get(VERSION_ID)) or 0
    version = version_id(find_air_of(entry, row))
    reason = "no place for it" if version is None else f"the number of the version, {version}, alone"
    losses.append(Loss(row, "air", f"{DIALECT.title} has {reason}"))
    return version or 0


DIALECT = Dialect(
    "lora-manager-recipe", "a recipe of LoRA-Manager's", ".json", read, write, write_options=("clamp",),
    keeps=(OFF, SHA256), recognises=is_request,
)  # fmt: skip
