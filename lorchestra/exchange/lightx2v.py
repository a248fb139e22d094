"""The `lora_configs` of LightX2V's configuration files, both ways.

Source: ModelTC/LightX2V `docs/EN/source/deploy_guides/lora_deploy.md`: `[{"path", "strength"}]`; for Wan 2.2, `name` is
`high_noise_model` or `low_noise_model` (`docs/…/step_distill.md`). A path is one of the machine that runs it.
"""

from __future__ import annotations

from typing import Any, cast

from ..limits import Json
from ..stack import HIGH, LOW, Entry, Stack
from .dialect import (
    EXPERT,
    FOLDER,
    Dialect,
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
from .fields import Item, rows_under

_FIELD = "lora_configs"
_NAMES = {HIGH: "high_noise_model", LOW: "low_noise_model"}
_KEPT = ("name", "alpha")
"""What else a LoRA may say; kept in `Entry.extra`."""


def is_request(value: Json) -> bool:
    """True for a configuration with `lora_configs`."""
    return isinstance(value, dict) and isinstance(cast("dict[str, Json]", value).get(_FIELD), list)


def read(value: Json) -> Reading:
    """A stack from a configuration, its `lora_configs`, or JSON text of these.

    Raises `DialectError` with the field's path.
    """
    losses: list[Loss] = []
    entries = [_entry(one) for one in rows_under(value, _FIELD, losses)]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _entry(item: Item) -> Entry:
    path = item.text("path")
    name = item.find_text("name")
    expert = next((one for one, said in _NAMES.items() if said == name), None)
    rest = item.rest(("path", "strength", *(["name"] if expert else [])))
    return item.entry(
        Entry(path, model=item.number("strength", DIALECT.limits.default), expert=expert, extra=rest),
    )


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """The active rows as `{"lora_configs": […]}`, in their order."""
    losses: list[Loss] = []
    rows: list[dict[str, Any]] = []
    for row, entry in written(stack, DIALECT, losses):
        weight = fitted(entry.model, f"{_FIELD}[{len(rows)}].strength", entry, row, DIALECT, clamp, losses)
        item: dict[str, Any] = {"path": entry.lora, "strength": weight}
        own = [key for key in _KEPT if key in entry.extra and not (key == "name" and entry.expert)]
        item |= {key: entry.extra[key] for key in own}
        if entry.expert in _NAMES:
            item = {"name": _NAMES[entry.expert], **item}
        rows.append(item)
        losses += no_place(entry, row, DIALECT.title)
        losses += one_weight(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, (*own, *(("expert",) if entry.expert in _NAMES else ())))
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(as_text({_FIELD: rows}), {_FIELD: rows}, tuple(losses))


DIALECT = Dialect(
    "lightx2v", "LightX2V", ".json", read, write, write_options=("clamp",), keeps=(FOLDER, EXPERT),
    recognises=is_request,
)  # fmt: skip
