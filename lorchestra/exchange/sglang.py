"""The body of SGLang Diffusion's `POST /v1/set_lora`, both ways.

Source: sgl-project/sglang `docs/diffusion/openai_api.md`: `lora_nickname`, `lora_path`, `target` and `strength`, each
one value or lists of one length. `target` is `all` (the default), `transformer` (of a pair, the one for high noise),
`transformer_2` (for low noise) or `critic`; `strength` is 1 where it is not given. A path is one of the server's
machine, or a repository of Hugging Face; a nickname alone means a LoRA that the server has loaded before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import BOTH, HIGH, LOW, Entry, Stack
from .dialect import (
    EXPERT,
    FOLDER,
    Dialect,
    Loss,
    Reading,
    Writing,
    as_text,
    fitted,
    from_json,
    no_place,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import checked, left_behind, list_of, object_of, weight
from .names import Unique, stem

_NAME, _PATH, _TARGET, _STRENGTH = "lora_nickname", "lora_path", "target", "strength"
_TARGETS = {BOTH: "all", HIGH: "transformer", LOW: "transformer_2"}
_CRITIC = "critic"


def is_request(value: Json) -> bool:
    """True for an object with `lora_nickname`."""
    return isinstance(value, dict) and _NAME in value


def read(value: Json) -> Reading:
    """A stack from the body of a request, or JSON text of it; raises `DialectError` with the field's path.

    A nickname that is not the file's name, and the target `critic`, are kept in `Entry.extra`.
    """
    data = from_json(value, "the request") if isinstance(value, str) else value
    request = object_of(data, f'an object with "{_NAME}"')
    if _NAME not in request:
        raise DialectError("it is missing; expected the names of the LoRAs", None, _NAME)
    losses = list(left_behind(request, (_NAME, _PATH, _TARGET, _STRENGTH)))
    given = request[_NAME]
    names = list_of([given] if isinstance(given, str) else given, _NAME)
    columns = {key: _column(request, key, len(names)) for key in (_PATH, _TARGET, _STRENGTH)}
    entries = [
        _entry(row, name, {key: column[row - 1] for key, column in columns.items()}, losses)
        for row, name in enumerate(names, 1)
    ]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _column(request: Mapping[str, Json], key: str, count: int) -> Sequence[Json]:
    """A value for each LoRA; one that is no list is for all of them."""
    value = request.get(key)
    if not isinstance(value, list):
        return [value] * count
    found = cast("list[Json]", value)
    if len(found) != count:
        raise DialectError(
            f"there are {len(found)} of them for {count} names; the lists must have one length", None, key
        )
    return found


def _entry(row: int, name: Json, said: Mapping[str, Json], losses: list[Loss]) -> Entry:
    path, target, strength = said[_PATH], said[_TARGET], said[_STRENGTH]
    for key, value in ((_NAME, name), (_PATH, path), (_TARGET, target)):
        if value is None and key != _NAME:
            continue
        if not isinstance(value, str) or not value.strip():
            raise DialectError(f"it is {quoted(value)}; expected text", row, f"{key}[{row - 1}]")
    if target not in (None, _CRITIC, *_TARGETS.values()):
        known = ", ".join((*_TARGETS.values(), _CRITIC))
        raise DialectError(f"it is {quoted(target)}; expected one of {known}", row, f"{_TARGET}[{row - 1}]")
    lora = (path or name).strip()
    extra: dict[str, Json] = {}
    if path and name != stem(lora):
        extra[_NAME] = name
    if target == _CRITIC:
        extra[_TARGET] = _CRITIC
        losses.append(Loss(row, _TARGET, "SGLang uses it for the critic alone; here it is for the model"))
    model = 1.0 if strength is None else weight(strength, f"{_STRENGTH}[{row - 1}]", row)
    expert = next((one for one, known in _TARGETS.items() if known == target), None)
    return checked(Entry(lora, model=model, expert=expert, extra=extra), row, f"{_PATH}[{row - 1}]")


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """The active rows as lists, in their order; the server adds up what is for one model."""
    losses: list[Loss] = []
    names: list[str] = []
    paths: list[str] = []
    strengths: list[float] = []
    targets: list[tuple[int, str | None]] = []
    unique = Unique()
    for row, entry in written(stack, DIALECT, losses):
        nickname = entry.extra.get(_NAME)
        own = isinstance(nickname, str) and bool(nickname.strip())
        wanted = cast("str", nickname) if own else stem(entry.lora) or entry.lora
        names.append(unique.name(wanted))
        paths.append(entry.lora)
        strengths.append(fitted(entry.model, f"{_STRENGTH}[{len(strengths)}]", entry, row, DIALECT, clamp, losses))
        critic = entry.extra.get(_TARGET) == _CRITIC and entry.expert is None
        targets.append((row, _CRITIC if critic else _TARGETS.get(entry.expert or "")))
        said = ["expert", *([_TARGET] if critic else []), *([_NAME] if own and names[-1] == wanted else [])]
        losses += no_place(entry, row, DIALECT.title)
        losses += one_weight(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, said)
    losses += unsaid_of_stack(stack, DIALECT.title)
    request: dict[str, Any] = {_NAME: names, _PATH: paths, _STRENGTH: strengths}
    if any(target for _, target in targets):
        request[_TARGET] = [target or "all" for _, target in targets]
        reason = "beside LoRAs for one model of a pair, SGLang takes it for both"
        losses += [Loss(row, "expert", reason) for row, target in targets if target is None]
    return Writing(as_text(request), request, tuple(losses))


DIALECT = Dialect(
    "sglang", "SGLang", ".json", read, write, write_options=("clamp",), keeps=(FOLDER, EXPERT), recognises=is_request
)
