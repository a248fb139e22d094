"""The `loras` of fal's image and video requests, both ways, in their three forms.

Source: the package `@fal-ai/client` 1.10.1, `endpoints.d.ts`. `LoraWeight` is `{"path", "scale" = 1, "force"?}` without
bounds; `LoRAInput` of FLUX.2 and LTX-2 is `{"path", "scale" = 1}` with 0 … 4, at most 3 of them; that of Wan 2.2 and
LTX 13B has `weight_name` and `transformer` (`high`, `low`, `both`), which is `high` where it is not said. A path is an
address, or a repository of Hugging Face.
"""

from __future__ import annotations

from typing import Any

from ..limits import Json
from ..stack import EXPERTS, HIGH, Entry, Stack
from .dialect import (
    EXPERT,
    FOLDER,
    NO_LIMITS,
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
from .fields import VERSION_ID, Item, objects, rows_under
from .hosted import address, known_by

_TRANSFORMER = "transformer"
_FORCE, _WEIGHT_NAME = "force", "weight_name"
_OTHERS = {"strength", "lora", "model"}
"""What rows of other programs have."""


def is_request(value: Json) -> bool:
    """True for `{"loras": [{"path": …}]}` and for the list in it."""
    rows = objects(value, "loras")
    return bool(rows) and all(isinstance(row.get("path"), str) and not _OTHERS & set(row) for row in rows)


def is_wan(value: Json) -> bool:
    """True for a request of which a row says which of two models it is for."""
    return is_request(value) and any(_TRANSFORMER in row for row in objects(value, "loras"))


def read(value: Json) -> Reading:
    """A stack from a request, its `loras`, or JSON text of these; raises `DialectError` with the field's path."""
    return _read(value, None)


def read_wan(value: Json) -> Reading:
    """The same, where a LoRA that does not say it is for the high-noise model."""
    return _read(value, HIGH)


def _read(value: Json, expert: str | None) -> Reading:
    losses: list[Loss] = []
    entries = [_entry(one, expert) for one in rows_under(value, "loras", losses)]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _entry(item: Item, expert: str | None) -> Entry:
    path = item.text("path", "an address, or a repository such as owner/name")
    said = item.find_text(_TRANSFORMER)
    if said is not None and said not in EXPERTS:
        raise item.fail(_TRANSFORMER, f"one of {', '.join(EXPERTS)}")
    air, extra = known_by(path)
    rest = item.rest(("path", "scale", _TRANSFORMER))
    weight = item.number("scale", FAL.limits.default)
    return item.entry(Entry(path, model=weight, expert=said or expert, air=air, extra={**rest, **extra}))


def write(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The active rows as `{"loras": […]}`, in their order.

    Raises `DialectError` with the field's path for a file that a service cannot see, and for weights out of range.
    """
    return _write(stack, FAL, (_FORCE,), allow_names, clamp)


def write_input(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The same, within the limits of FLUX.2 and LTX-2."""
    return _write(stack, FAL_INPUT, (), allow_names, clamp)


def write_wan(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The same, each LoRA for one model of a pair, or for both."""
    return _write(stack, FAL_WAN, (_WEIGHT_NAME,), allow_names, clamp)


def _write(stack: Stack, dialect: Dialect, own: tuple[str, ...], allow_names: bool, clamp: bool) -> Writing:
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in written(stack, dialect, losses):
        at = f"loras[{len(rows)}]"
        item: dict[str, Any] = {"path": address(entry, row, f"{at}.path", dialect.title, allow_names, losses)}
        item["scale"] = fitted(entry.model, f"{at}.scale", entry, row, dialect, clamp, losses)
        losses += one_weight(entry, row, dialect.title)
        if EXPERT in dialect.keeps:
            if entry.expert is not None:
                item[_TRANSFORMER] = entry.expert
            else:
                losses.append(
                    Loss(row, "expert", f"{dialect.title} takes a LoRA that does not say it for the high one")
                )
        item |= {key: entry.extra[key] for key in own if key in entry.extra}
        losses += unsaid(entry, row, dialect.title, (*own, *dialect.keeps, VERSION_ID))
        rows.append(item)
    losses += unsaid_of_stack(stack, dialect.title)
    return Writing(as_text({"loras": rows}), {"loras": rows}, tuple(losses))


_OPTIONS = ("allow_names", "clamp")
FAL = Dialect(
    "fal", "fal", ".json", read, write, write_options=_OPTIONS, limits=NO_LIMITS, keeps=(FOLDER,), recognises=is_request
)  # fmt: skip
FAL_INPUT = Dialect(
    "fal-input",
    "fal's LoRAInput",
    ".json",
    read,
    write_input,
    write_options=_OPTIONS,
    limits=Limits(0.0, 4.0, 3),
    keeps=(FOLDER,),
)
FAL_WAN = Dialect(
    "fal-wan", "fal's Wan 2.2", ".json", read_wan, write_wan, write_options=_OPTIONS, limits=NO_LIMITS,
    keeps=(FOLDER, EXPERT), recognises=is_wan,
)  # fmt: skip
