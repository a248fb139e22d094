"""The `loras` of Draw Things' configurations, both ways.

Source: drawthingsai/draw-things-community `Libraries/Scripting/Sources/ScriptModels.swift` (`JSLoRA`: `{"file",
"weight", "mode"}`) and `Libraries/DataModels/Sources/config.fbs` (`weight` is 0.6 where it is not given, `mode` one of
`all`, `base`, `refiner`). A file is one of the app's own, such as `pixel_lora_f16.ckpt`. Weights are 32 bits wide.
"""

from __future__ import annotations

from typing import Any

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
    no_place,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import Item, objects, rows_under

_MODE = "mode"
_MODES = ("all", "base", "refiner")


def is_request(value: Json) -> bool:
    """True for a configuration with `loras` that have a `file`, and for the list of them."""
    rows = objects(value, "loras")
    return bool(rows) and all("file" in row and "lora" not in row for row in rows)


def read(value: Json) -> Reading:
    """A stack from a configuration, its `loras`, or JSON text of these; raises `DialectError` with the field's path.

    `mode` is kept in `Entry.extra`.
    """
    losses: list[Loss] = []
    entries = [_entry(one) for one in rows_under(value, "loras", losses)]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _entry(item: Item) -> Entry:
    name = item.text("file")
    mode = item.find_text(_MODE)
    if mode is not None and mode not in _MODES:
        raise item.fail(_MODE, f"one of {', '.join(_MODES)}")
    if mode not in (None, "all"):
        item.losses.append(Loss(item.row, _MODE, f"Draw Things uses it for the {mode} model alone; here it is for all"))
    entry = Entry(name, model=item.number("weight", DIALECT.limits.default), extra=item.rest(("file", "weight")))
    return item.entry(entry)


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """The active rows as `{"loras": […]}`, in their order, each for all models if its `mode` says nothing else."""
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in written(stack, DIALECT, losses):
        weight = fitted(entry.model, f"loras[{len(rows)}].weight", entry, row, DIALECT, clamp, losses)
        rows.append({"file": entry.lora, "weight": weight})
        said = (_MODE,) if entry.extra.get(_MODE) in _MODES else ()
        rows[-1] |= {key: entry.extra[key] for key in said}
        losses += no_place(entry, row, DIALECT.title)
        losses += one_weight(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, said)
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(as_text({"loras": rows}), {"loras": rows}, tuple(losses))


DIALECT = Dialect(
    "draw-things", "Draw Things", ".json", read, write, write_options=("clamp",), limits=Limits(default=0.6),
    keeps=(FOLDER,), recognises=is_request,
)  # fmt: skip
