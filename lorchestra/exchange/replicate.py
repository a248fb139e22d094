"""LoRAs in the inputs of Replicate's models, both ways: two fields, or two lists of one length.

Sources: replicate/cog-flux `predict.py` and `weights.py` for flux-dev-lora: `lora_weights` with `lora_scale`, and
`extra_lora` with `extra_lora_scale`, each -1 … 3 and 1 where it is not given; a LoRA is `owner/name`, an address of a
`.safetensors` file, `huggingface.co/owner/name` or `civitai.com/models/<id>`. lucataco's flux-dev-multi-lora takes
`hf_loras` and `lora_scales`; its bounds are not published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import DialectError
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
    from_json,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import VERSION_ID, checked, fields_of, left_behind, list_of, object_of, weight
from .hosted import address, known_by

_PAIRS = (("lora_weights", "lora_scale"), ("extra_lora", "extra_lora_scale"))
_NAMES, _SCALES = "hf_loras", "lora_scales"
_DEFAULT = 1.0


def is_request(value: Json) -> bool:
    """True for the input of a model with `lora_weights`."""
    return isinstance(_input(fields_of(value)).get(_PAIRS[0][0]), str)


def is_multi(value: Json) -> bool:
    """True for the input of a model with `hf_loras`."""
    return isinstance(_input(fields_of(value)).get(_NAMES), list)


def read(value: Json) -> Reading:
    """A stack from the input of a model, or from a request with an `input`, or JSON text of these.

    Raises `DialectError` with the field's path.
    """
    request = _request(value, "lora_weights")
    losses = list(left_behind(request, [key for pair in _PAIRS for key in pair]))
    entries: list[Entry] = []
    for name, scale in _PAIRS:
        if request.get(name) not in (None, ""):
            entries.append(_entry(request[name], name, request.get(scale), scale, len(entries) + 1))
        elif request.get(scale) is not None:
            losses.append(Loss(None, scale, f"there is no {name} that it is the weight of"))
    return Reading(Stack(tuple(entries)), tuple(losses))


def read_multi(value: Json) -> Reading:
    """The same from the two lists; where there are fewer weights than LoRAs, the rest is 1."""
    request = _request(value, _NAMES)
    losses = list(left_behind(request, (_NAMES, _SCALES)))
    names = list_of(request.get(_NAMES) or [], _NAMES)
    scales = list_of(request.get(_SCALES) or [], _SCALES)
    if len(scales) > len(names):
        raise DialectError(f"there are {len(scales)} weights for {len(names)} LoRAs", None, _SCALES)
    given: Sequence[Json] = [*scales, *[None] * (len(names) - len(scales))]
    entries = [
        _entry(name, f"{_NAMES}[{row - 1}]", scale, f"{_SCALES}[{row - 1}]", row)
        for row, (name, scale) in enumerate(zip(names, given, strict=True), 1)
    ]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _request(value: Json, what: str) -> Mapping[str, Json]:
    data = from_json(value, "the request") if isinstance(value, str) else value
    return _input(object_of(data, f'an object with "{what}"'))


def _input(data: Mapping[str, Json]) -> Mapping[str, Json]:
    """The input of a request; the data itself if it is one."""
    inner = data.get("input")
    return object_of(inner, "an input") if isinstance(inner, Mapping) else data


def _entry(name: Json, at: str, scale: Json, scale_at: str, row: int) -> Entry:
    if not isinstance(name, str) or not name.strip():
        raise DialectError("expected an address or a repository such as owner/name", row, at)
    name = name.strip()
    model = _DEFAULT if scale is None else weight(scale, scale_at, row)
    air, extra = known_by(name.removeprefix("https://huggingface.co/").removeprefix("huggingface.co/"))
    return checked(Entry(name, model=model, air=air, extra=extra), row, at)


def write(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The active rows as the fields of flux-dev-lora, one or two of them; none are an empty input.

    Raises `DialectError` with the field's path for a file that the service cannot see, a weight out of range, and a
    third row.
    """
    losses: list[Loss] = []
    request: dict[str, Any] = {}
    pairs = iter(_PAIRS)
    for row, entry in written(stack, DIALECT, losses):
        name, scale = next(pairs)
        request[name] = address(entry, row, name, DIALECT.title, allow_names, losses)
        request[scale] = fitted(entry.model, scale, entry, row, DIALECT, clamp, losses)
        losses += _unsaid(entry, row, DIALECT)
    if request.get("lora_weights") is not None and request.get("lora_weights") == request.get("extra_lora"):
        raise DialectError(
            "Replicate ignores a second LoRA that is the first one; put the sum into one row", None, "extra_lora"
        )
    losses += unsaid_of_stack(stack, DIALECT.title)
    return Writing(as_text(request), request, tuple(losses))


def write_multi(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The active rows as two lists."""
    losses: list[Loss] = []
    names: list[str] = []
    scales: list[float] = []
    for row, entry in written(stack, MULTI, losses):
        names.append(address(entry, row, f"{_NAMES}[{len(names)}]", MULTI.title, allow_names, losses))
        scales.append(fitted(entry.model, f"{_SCALES}[{len(scales)}]", entry, row, MULTI, clamp, losses))
        losses += _unsaid(entry, row, MULTI)
    losses += unsaid_of_stack(stack, MULTI.title)
    request = {_NAMES: names, _SCALES: scales}
    return Writing(as_text(request), request, tuple(losses))


def _unsaid(entry: Entry, row: int, dialect: Dialect) -> list[Loss]:
    return [*one_weight(entry, row, dialect.title), *unsaid(entry, row, dialect.title, (VERSION_ID,))]


_OPTIONS = ("allow_names", "clamp")
DIALECT = Dialect(
    "replicate", "Replicate", ".json", read, write, write_options=_OPTIONS, limits=Limits(-1.0, 3.0, 2),
    keeps=(FOLDER,), recognises=is_request,
)  # fmt: skip
MULTI = Dialect(
    "replicate-multi", "Replicate's multi-LoRA models", ".json", read_multi, write_multi, write_options=_OPTIONS,
    keeps=(FOLDER,), recognises=is_multi,
)  # fmt: skip
