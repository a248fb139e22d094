"""SwarmUI's LoRA parameters and its prompts, both ways.

Sources: mcmonkeyprojects/SwarmUI `src/Text2Image/T2IParamTypes.cs` (`loras`, `loraweights`, `loratencweights`,
`lorasectionconfinement`; weights -10 … 10), `T2IParamInput.cs` (weights that are missing are 1, those of the text
encoders the model's; the JSON `sui_image_params` and `sui_models` of a picture) and `docs/Features/Prompt Syntax.md`:
`<lora:name:backbone:textenc>`, the model's weight first. Each parameter is a text with commas, or a list. Names have
the folder, and no `.safetensors`. The section 0 is the whole run; others (a refiner's, a video model's, a part of the
picture) are kept in `Entry.extra` as `section`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import Entry, Stack
from ..stack.wanted import HASH
from .a1111 import read as read_tags
from .dialect import (
    CLIP,
    FOLDER,
    Dialect,
    Limits,
    Loss,
    Reading,
    Writing,
    as_text,
    fitted,
    from_json,
    no_place,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import checked, fields_of, find_hash, left_behind, list_of, object_of, weight

_NAMES, _WEIGHTS, _TEXT, _SECTIONS = "loras", "loraweights", "loratencweights", "lorasectionconfinement"
_PICTURE, _MODELS = "sui_image_params", "sui_models"
SECTION = "section"
_SUFFIX = ".safetensors"


def is_request(value: Json) -> bool:
    """True for the parameters of a request with LoRAs, and for those of a picture."""
    if not isinstance(value, dict):
        return False
    data = cast("dict[str, Json]", value)
    if isinstance(data.get(_PICTURE), dict):
        return True
    names = data.get(_NAMES)
    texts = isinstance(names, list) and all(isinstance(name, str) for name in cast("list[Json]", names))
    return (isinstance(names, str) or texts) and any(key in data for key in (_WEIGHTS, _TEXT, _SECTIONS))


def read(value: Json) -> Reading:
    """A stack from a request's parameters, from what a picture says of them, or JSON text of either.

    Raises `DialectError` with the field's path. Hashes of tensors that a picture has are kept as `hash`.
    """
    data = from_json(value, "the request") if isinstance(value, str) else value
    outer = object_of(data, f'an object with "{_NAMES}"')
    inner = outer.get(_PICTURE)
    request = object_of(inner, f'an object with "{_NAMES}"') if inner is not None else outer
    if inner is None and _NAMES not in request:
        raise DialectError(f'the request is an object without "{_NAMES}"')
    losses = list(left_behind(request, (_NAMES, _WEIGHTS, _TEXT, _SECTIONS)))
    names = _column(request, _NAMES)
    columns = {key: _column(request, key) for key in (_WEIGHTS, _TEXT, _SECTIONS)}
    for key, column in columns.items():
        if len(column) > len(names):
            losses.append(
                Loss(None, key, f"there are {len(column)} of them for {len(names)} LoRAs; the last are left out")
            )
    hashes = _hashes(outer)
    entries: list[Entry] = []
    for row, name in enumerate(names, 1):
        if not isinstance(name, str):
            raise DialectError(f"it is {quoted(name)}; expected the name of a file", row, f"{_NAMES}[{row - 1}]")
        model = _number(columns[_WEIGHTS], _WEIGHTS, row, 1.0)
        clip = _number(columns[_TEXT], _TEXT, row, model)
        section = int(_number(columns[_SECTIONS], _SECTIONS, row, 0.0, 10**6))
        extra: dict[str, Json] = {}
        digits = hashes.get(name.strip().removesuffix(_SUFFIX))
        if digits is not None:
            extra[HASH] = digits
        if section:
            extra[SECTION] = section
            losses.append(
                Loss(row, SECTION, f"SwarmUI uses it for section {section} alone; here it acts on the whole run")
            )
        entry = Entry(name.strip(), model=model, clip=None if clip == model else clip, extra=extra)
        entries.append(checked(entry, row, f"{_NAMES}[{row - 1}]"))
    return Reading(Stack(tuple(entries)), tuple(losses))


def _column(request: Mapping[str, Json], key: str) -> Sequence[Json]:
    """The values of a parameter; of a text, what is between the commas."""
    value = request.get(key)
    if value is None or value == "":
        return []
    return list_of(value.split(",") if isinstance(value, str) else value, key)


def _number(column: Sequence[Json], key: str, row: int, default: float, most: float = 0) -> float:
    """The number of a row, which may be text; the default where there is none."""
    if row > len(column):
        return default
    value, path = column[row - 1], f"{key}[{row - 1}]"
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return default
        try:
            value = float(text) if len(text) < 40 and "_" not in text else None
        except ValueError:
            value = None
        if value is None:
            raise DialectError(f"it is {quoted(text)}; expected a number", row, path)
    if not most:
        return weight(value, path, row)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most or value != int(value):
        raise DialectError(f"it is {quoted(value)}; expected a whole number", row, path)
    return float(value)


def _hashes(outer: Mapping[str, Json]) -> dict[str, str]:
    """Name → the first 12 digits of the SHA-256 of the tensors (AutoV3), of the LoRAs of a picture."""
    models = outer.get(_MODELS)
    found: dict[str, str] = {}
    for model in cast("list[Json]", models)[:5000] if isinstance(models, list) else ():
        said = fields_of(model)
        name, digits = said.get("name"), find_hash(said.get("hash"))
        if said.get("param") == _NAMES and isinstance(name, str) and digits is not None and len(digits) == 64:
            found[name.removesuffix(_SUFFIX)] = digits[:12]
    return found


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """The active rows as parameters, with commas between. Raises `DialectError` for a name with a comma in it."""
    losses: list[Loss] = []
    columns: dict[str, list[str]] = {key: [] for key in (_NAMES, _WEIGHTS, _TEXT, _SECTIONS)}
    for row, entry in written(stack, DIALECT, losses):
        number = len(columns[_NAMES])
        name = entry.lora.replace("\\", "/")
        name = name[: -len(_SUFFIX)] if name.lower().endswith(_SUFFIX) else name
        if "," in name or not name.strip():
            reason = f"{quoted(entry.lora)} has a comma in its name, which parts the names; rename the file"
            raise DialectError(reason, row, f"{_NAMES}[{number}]")
        model = fitted(entry.model, f"{_WEIGHTS}[{number}]", entry, row, DIALECT, clamp, losses)
        clip = model
        if entry.clip_weight != entry.model:
            clip = fitted(entry.clip_weight, f"{_TEXT}[{number}]", entry, row, DIALECT, clamp, losses, "clip")
        section = entry.extra.get(SECTION)
        said = (SECTION,) if type(section) is int and 0 < section <= 10**6 else ()
        for key, one in ((_NAMES, name), (_WEIGHTS, _text(model)), (_TEXT, _text(clip))):
            columns[key].append(one)
        columns[_SECTIONS].append(str(section) if said else "0")
        losses += no_place(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title, said)
    losses += unsaid_of_stack(stack, DIALECT.title)
    if columns[_TEXT] == columns[_WEIGHTS]:
        del columns[_TEXT]
    if not any(section != "0" for section in columns[_SECTIONS]):
        del columns[_SECTIONS]
    request: dict[str, Any] = {key: ",".join(column) for key, column in columns.items()}
    return Writing(as_text(request), request, tuple(losses))


def _text(value: float) -> str:
    return repr(value).removesuffix(".0")


def read_prompt(value: Json) -> Reading:
    """The stack of the tags in a prompt, the model's weight first; see `a1111.read`."""
    return read_tags(value, order="model-first")


def write_prompt(stack: Stack, *, clamp: bool = False) -> Writing:
    """The active rows as tags, the model's weight first, with a space between."""
    losses: list[Loss] = []
    tags: list[str] = []
    for row, entry in written(stack, PROMPT, losses):
        name = entry.lora.replace("\\", "/")
        name = name[: -len(_SUFFIX)] if name.lower().endswith(_SUFFIX) else name
        bad = sorted({c for c in name if c in ":<>=&\r\n"})
        if bad or not name.strip():
            signs = " and ".join(map(repr, bad)) or "nothing"
            raise DialectError(
                f"{quoted(entry.lora)} has {signs} in its name, which no tag can hold; rename the file", row
            )
        at = f"<lora:{name}>"
        model = fitted(entry.model, at, entry, row, PROMPT, clamp, losses)
        weights = [model]
        if entry.clip_weight != entry.model:
            weights.append(fitted(entry.clip_weight, at, entry, row, PROMPT, clamp, losses, "clip"))
        tags.append(f"<lora:{name}:{':'.join(map(_text, weights))}>")
        losses += no_place(entry, row, PROMPT.title)
        losses += unsaid(entry, row, PROMPT.title)
    losses += unsaid_of_stack(stack, PROMPT.title)
    text = " ".join(tags)
    return Writing(text, text, tuple(losses))


_LIMITS = Limits(-10.0, 10.0)
DIALECT = Dialect(
    "swarmui", "SwarmUI", ".json", read, write, write_options=("clamp",), limits=_LIMITS, keeps=(CLIP, FOLDER),
    recognises=is_request,
)  # fmt: skip
PROMPT = Dialect(
    "swarmui-prompt", "a prompt of SwarmUI's", ".txt", read_prompt, write_prompt, write_options=("clamp",),
    limits=_LIMITS, keeps=(CLIP, FOLDER),
)  # fmt: skip
