"""The `image_loras` of Together AI's image requests, both ways.

Source: the package `together-ai` 0.52.0, `resources/images.d.ts`: `{"path": address, "scale": number}`, both required.
"""

from __future__ import annotations

from typing import Any, cast

from ..limits import Json
from ..stack import Entry, Stack
from .dialect import (
    FOLDER,
    Dialect,
    Limits,
    Loss,
    Reading,
    Writing,
    as_text,
    fitted,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import VERSION_ID, Item, rows_under
from .hosted import address, known_by

_FIELD = "image_loras"


def is_request(value: Json) -> bool:
    """True for an object with `image_loras`."""
    return isinstance(value, dict) and isinstance(cast("dict[str, Json]", value).get(_FIELD), list)


def read(value: Json) -> Reading:
    """A stack from a request, its `image_loras`, or JSON text of these; raises `DialectError` with the field's path."""
    losses: list[Loss] = []
    entries = [_entry(one) for one in rows_under(value, _FIELD, losses)]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _entry(item: Item) -> Entry:
    path = item.text("path", "an address")
    air, extra = known_by(path)
    weight = item.number("scale", DIALECT.limits.default)
    return item.entry(Entry(path, model=weight, air=air, extra={**item.rest(("path", "scale")), **extra}))


def write(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The active rows as `{"image_loras": […]}`, in their order.

    Raises `DialectError` with the field's path for a file that the service cannot see.
    """
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in written(stack, DIALECT, losses):
        at = f"{_FIELD}[{len(rows)}]"
        path = address(entry, row, f"{at}.path", DIALECT.title, allow_names, losses)
        rows.append(
            {"path": path, "scale": fitted(entry.model, f"{at}.scale", entry, row, DIALECT, clamp, losses)},
        )
        losses += one_weight(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, (VERSION_ID,))
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(as_text({_FIELD: rows}), {_FIELD: rows}, tuple(losses))


DIALECT = Dialect(
    "together", "Together AI", ".json", read, write, write_options=("allow_names", "clamp"),
    limits=Limits(default=None), keeps=(FOLDER,), recognises=is_request,
)  # fmt: skip
