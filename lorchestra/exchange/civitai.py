"""Civitai's generation resources, both ways.

Source: civitai/civitai `src/utils/metadata/automatic.metadata.ts` and `src/server/schema/image.schema.ts`: the `meta`
of a picture has `civitaiResources` and `resources`, and an infotext `Civitai resources: […]`. A resource is `{"type":
"lora", "weight": 0.7, "modelVersionId": 135931}`, or has an `air`, or a `name` and a `hash` (AutoV2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import Entry, Stack
from ..stack.air import LORA_TYPES, find_air
from ..stack.wanted import HASH
from .dialect import (
    AIR,
    Dialect,
    Loss,
    Reading,
    Writing,
    as_text,
    fitted,
    from_json,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import VERSION_ID, Item, fields_of, find_hash, find_version_id, items, kept_hash, left_behind, objects
from .hosted import DOWNLOAD, find_air_of, version_id

_FIELDS = ("civitaiResources", "resources")
"""The first that has LoRAs in it counts: it has numbers where the other has names."""
_TYPES = LORA_TYPES | {"locon", "loha", "lokr"}


def is_request(value: Json) -> bool:
    """True for a picture's `meta`, for what has it, and for a list of resources."""
    if isinstance(value, Mapping):
        data = fields_of(value)
        return any(isinstance(one.get(key), list) for one in (data, fields_of(data.get("meta"))) for key in _FIELDS)
    rows = objects(value)
    return bool(rows) and all(
        isinstance(row.get("type"), str)
        and (any(key in row for key in (VERSION_ID, "air", HASH)) or ("name" in row and row["type"].lower() in _TYPES))
        and not {"lora", "model", "path"} & set(row)
        for row in rows
    )


def read(value: Json) -> Reading:
    """A stack from resources, the `meta` of a picture, or JSON text of these; raises `DialectError` with the field's
    path.

    Other resources than LoRAs are left behind. Where only Civitai's number of a version is known, it is kept in
    `Entry.extra` as `modelVersionId`, and a hash as `hash`.
    """
    data = from_json(value, "the resources") if isinstance(value, str) else value
    losses: list[Loss] = []
    if isinstance(data, Mapping):
        outer = fields_of(data)
        meta = outer if any(key in outer for key in _FIELDS) else fields_of(outer.get("meta"))
        if not any(key in meta for key in _FIELDS):
            raise DialectError('the request is an object without "civitaiResources" or "resources"')
        losses += left_behind(meta, _FIELDS)
        numbered, named = _FIELDS
        entries = list(_entries(meta.get(numbered) or [], numbered, losses))
        if not entries:
            entries = list(_entries(meta.get(named) or [], named, losses))
        elif meta.get(named):
            losses.append(Loss(None, named, f"the LoRAs of {numbered} are taken, not these"))
    else:
        entries = list(_entries(data, "resources", losses))
    return Reading(Stack(tuple(entries)), tuple(losses))


def _entries(value: Json, path: str, losses: list[Loss]) -> Iterator[Entry]:
    for one in items(value, path, losses):
        kind = one.find_text("type")
        air = one.find_text("air")
        if kind is None and air is not None:
            parsed = find_air(air)
            kind = parsed.type if parsed else None
        if kind is not None and kind.lower() in _TYPES:
            yield _entry(one, air)
        else:
            what = f"it is a {quoted(kind)}" if kind else "it does not say what it is"
            losses.append(Loss(one.row, one.path, f"{what}, not a LoRA; it is left out"))


def _entry(item: Item, air: str | None) -> Entry:
    if air is not None and find_air(air) is None:
        raise item.fail("air", 'an AIR such as "civitai:120096@135931"')
    version = item.version_id()
    given = item.find_text(HASH)
    digits = find_hash(given)
    name = item.find_text("name") or item.find_text("modelName")
    address = f"{DOWNLOAD}{version}" if version is not None else None
    lora = air or name or address or given
    if lora is None:
        raise item.fail(VERSION_ID, "the number of a version, an AIR, a name or a hash")
    extra = item.rest(("type", "weight", "air", VERSION_ID, HASH, *(["name"] if name == lora else [])))
    if air is None and version is not None:
        extra[VERSION_ID] = version
    if digits is not None:
        extra[HASH] = digits
    return item.entry(Entry(lora, model=item.number("weight", DIALECT.limits.default), air=air, extra=extra))


def write(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The active rows as resources, in their order, by AIR, number of the version, or hash.

    A row that has none of them is a `DialectError`, unless `allow_names`: then the file's name alone is written.
    """
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in written(stack, DIALECT, losses):
        at = f"resources[{len(rows)}]"
        item: dict[str, Any] = {
            "type": "lora",
            "weight": fitted(entry.model, f"{at}.weight", entry, row, DIALECT, clamp, losses),
        }
        rows.append(item | _named(entry, row, at, allow_names, losses))
        losses += one_weight(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, [key for key in (VERSION_ID, HASH) if key in rows[-1]])
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(as_text(rows), rows, tuple(losses))


def _named(entry: Entry, row: int, at: str, allow_names: bool, losses: list[Loss]) -> dict[str, Any]:
    """How a resource says which file it is."""
    air = find_air_of(entry, row)
    if air is not None:
        version = version_id(air)
        text = entry.air if entry.air is not None else entry.lora
        return {"air": text.strip(), **({} if version is None else {VERSION_ID: version})}
    named: dict[str, Any] = {}
    version = find_version_id(entry.extra.get(VERSION_ID))
    if version is not None:
        named[VERSION_ID] = version
    digits = kept_hash(entry) or (entry.sha256.lower()[:10] if entry.sha256 else None)
    if digits is not None:
        named[HASH] = digits
        if entry.sha256 is not None:
            losses.append(
                Loss(row, "sha256", f"{DIALECT.title} takes 10 digits of a hash; the other ones are left out")
            )
    if not named and not allow_names:
        raise DialectError(
            f"{quoted(entry.lora)} has no AIR and no hash, by which Civitai knows a file; give the row an "
            '"air" such as "civitai:120096@135931", switch it off, or allow names',
            row,
            f"{at}.air",
        )
    if not entry.lora.startswith(DOWNLOAD):
        named["name"] = entry.lora
    return named


DIALECT = Dialect(
    "civitai",
    "Civitai's resources",
    ".json",
    read,
    write,
    write_options=("allow_names", "clamp"),
    keeps=(AIR,),
    recognises=is_request,
)
