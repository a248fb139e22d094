"""The Stack: a list of LoRAs with weights, as frozen values; parsed, validated, put in canonical order, serialised.

JSON form: `{"version": 1, "loras": [{"lora": "styles/pixel.safetensors", "model": 0.7}]}`. Keys that this version does
not know are kept and written back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..errors import ScheduleError, StackError, quoted

if TYPE_CHECKING:
    from ..schedule import Moment, Schedule
    from .weights import Share

VERSION = 1
"""Version of the JSON form that this package writes."""
WEIGHT_LIMIT = 100.0
"""Weights lie in -WEIGHT_LIMIT … WEIGHT_LIMIT, as in ComfyUI's own LoRA loader."""
DEFAULT_WEIGHT = 0.75
"""Model weight of a row that names none, and of the first row that somebody adds."""
MAX_ROWS = 1000
MAX_NAME = 1024
"""Longest LoRA name, in characters."""
MAX_TEXT = 4_000_000
"""Longest text that is parsed, in characters."""
MAX_DEPTH = 64
"""How deep the values of unknown keys may be nested."""

BOTH = "both"
POSITIVE, NEGATIVE = "positive", "negative"
CONDITIONINGS = (BOTH, POSITIVE, NEGATIVE)
"""The conditioning that a row acts on: both is the default."""
HIGH, LOW = "high", "low"
EXPERTS = (HIGH, LOW, BOTH)
"""Of models that come as a pair, such as Wan 2.2: the one for high noise, the one for low noise, or both."""

_KNOWN_ENTRY = ("lora", "on", "model", "clip", "blocks", "schedule", "conditioning", "expert", "sha256", "air")
_KNOWN_STACK = ("version", "loras")

Json = Any
"""A value as `json.loads` gives it."""


def _no_extra() -> dict[str, Json]:
    return {}


def _no_blocks() -> dict[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a stack."""

    lora: str
    """The file as ComfyUI lists it (`styles/pixel.safetensors`); or an AIR or a hash where no file is known."""
    on: bool = True
    model: float = DEFAULT_WEIGHT
    """Weight for the diffusion model, -100 … 100."""
    clip: float | None = None
    """Weight for the text encoders, -100 … 100; None means the same as `model`."""
    blocks: Mapping[str, float] = field(default_factory=_no_blocks, hash=False)
    """Factor per block, by a pattern of block names."""
    schedule: str | None = None
    """What `model` is multiplied by over the steps, in the schedule's text form; blank means none."""
    conditioning: str = BOTH
    """Of `CONDITIONINGS`: whether the diffusion model is changed for the positive one, the negative one, or both."""
    expert: str | None = None
    """Of `EXPERTS`: the model of a pair that the row is for; None where the file's name tells it (`experts.py`)."""
    sha256: str | None = None
    """Hash of the whole file, 64 hex digits."""
    air: str | None = None
    """The identifier that hosted services know, e.g. `civitai:120096@135931`."""
    extra: Mapping[str, Json] = field(default_factory=_no_extra, hash=False)
    """Keys of the row that this version does not know, verbatim."""

    @property
    def clip_weight(self) -> float:
        """The weight that the text encoders get."""
        return self.model if self.clip is None else self.clip

    @property
    def active(self) -> bool:
        """False when the row is off or all its weights are zero: then its file need not exist."""
        return self.on and (self.model != 0 or self.clip_weight != 0)

    @property
    def triple(self) -> tuple[str, float, float]:
        """`(name, model weight, clip weight)`, the row of the common LORA_STACK."""
        return self.lora, self.model, self.clip_weight

    def find_schedule(self) -> Schedule | None:
        """The schedule that the text means, None without a text; raises `ScheduleError` where it means none."""
        if not self.schedule or not self.schedule.strip():
            return None
        from ..schedule import Schedule

        return Schedule.parse(self.schedule)

    def to_json(self) -> dict[str, Json]:
        """The row as JSON data: `lora` and `model` always, the rest where it differs from the default."""
        row: dict[str, Json] = {"lora": self.lora}
        if not self.on:
            row["on"] = False
        row["model"] = self.model
        if self.clip is not None:
            row["clip"] = self.clip
        if self.blocks:
            row["blocks"] = dict(self.blocks)
        for key, default in (
            ("schedule", None),
            ("conditioning", BOTH),
            ("expert", None),
            ("sha256", None),
            ("air", None),
        ):
            value = getattr(self, key)
            if value != default:
                row[key] = value
        return {**row, **self.extra}


@dataclass(frozen=True, slots=True)
class Weighted:
    """All active rows of one LoRA, added up."""

    entry: Entry
    """The first of the rows, for its name."""
    model: float
    """Weight for the diffusion model. Rows whose weight changes over the steps count as they are without it."""
    clip: float
    """Weight for the text encoders, which no schedule touches."""
    shares: tuple[Share, ...]
    """What the weight for the diffusion model is made of, in canonical order; empty where it is always 0."""

    @property
    def is_constant(self) -> bool:
        """True when the diffusion model has the weight `model` at every moment and for every conditioning."""
        return all(share.is_constant for share in self.shares)

    def at(self, moment: Moment | float, conditioning: str) -> float:
        """The weight for the diffusion model at a moment, for `POSITIVE` or `NEGATIVE` conditioning.

        Correctly rounded, so that the order of the rows does not change it. A number is a progress, 0 … 1. Raises
        `ScheduleError` where a schedule goes by steps or sigmas and the moment does not say them.
        """
        return math.fsum(share.at(moment) for share in self.shares if share.conditioning in (BOTH, conditioning))


K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Stack:
    """Rows in the order in which a person sees them; the order never changes the result."""

    entries: tuple[Entry, ...] = ()
    version: int = VERSION
    """Version that the text was written with; may be newer than `VERSION`."""
    extra: Mapping[str, Json] = field(default_factory=_no_extra, hash=False)
    """Keys beside `loras` that this version does not know, verbatim."""

    @staticmethod
    def parse(value: object) -> Stack:
        """A stack from any of its forms.

        None and blank text are the empty stack. Text is JSON, or A1111's `<lora:name:0.7>` tags with nothing else but
        commas and white space around them. JSON data is `{"loras": […]}`, `{"__value__": …}` around any other form, a
        request with a `lora` array (Runware), a list of rows of ours, of Runware's (`{"model": AIR, "weight": 1}`), or
        of `(name, model, clip)` triples (the common LORA_STACK).

        Raises `StackError`, which names the row, for anything else, for weights outside -100 … 100 and for more than
        `MAX_ROWS` rows.
        """
        return _parse(value, 0)

    @property
    def is_newer(self) -> bool:
        """True when the text was written by a newer version than this one, whose fields are kept but not understood."""
        return self.version > VERSION

    def to_json(self) -> dict[str, Json]:
        """The stack as JSON data; `Stack.parse` gives the same stack back."""
        return {"version": self.version, "loras": [entry.to_json() for entry in self.entries], **self.extra}

    def to_text(self) -> str:
        """The stack as JSON text in one line."""
        return json.dumps(self.to_json(), ensure_ascii=False)

    def to_tuples(self) -> list[tuple[str, float, float]]:
        """The active rows as the common LORA_STACK: `(name, model weight, clip weight)`."""
        return [entry.triple for entry in self.entries if entry.active]

    def joined(self, other: Stack) -> Stack:
        """This stack's rows and then the other's; what only the other knows is added to `extra`."""
        return Stack(
            self.entries + other.entries, max(self.version, other.version), {**other.extra, **self.extra}
        ).checked()

    def checked(self) -> Stack:
        """This stack, when all rows are in range; raises `StackError` that names the row otherwise."""
        if len(self.entries) > MAX_ROWS:
            raise StackError(f"a stack has at most {MAX_ROWS} rows, this one has {len(self.entries)}", MAX_ROWS + 1)
        for row, entry in enumerate(self.entries, 1):
            _name(entry.lora, row)
            _weight(entry.model, "model", row)
            if entry.clip is not None:
                _weight(entry.clip, "clip", row)
            _one_of(entry.conditioning, CONDITIONINGS, "conditioning", row)
            if entry.expert is not None:
                _one_of(entry.expert, EXPERTS, "expert", row)
            _check_schedule(entry, row)
        return self

    def scheduled(self, schedule: Schedule) -> Stack:
        """This stack with a schedule for all rows; a row that has one of its own gets the product.

        Raises `StackError` that names the row where a product is too long or may leave -100 … 100.
        """
        entries: list[Entry] = []
        for row, entry in enumerate(self.entries, 1):
            try:
                own = entry.find_schedule()
                both = own.combined(schedule) if own else schedule
            except ScheduleError as error:
                raise StackError(f"schedule: {error}", row) from error
            entries.append(replace(entry, schedule=both.to_text()))
        return replace(self, entries=tuple(entries)).checked()

    def combined(self, identity: Callable[[Entry], K]) -> dict[K, Weighted]:
        """The active rows grouped by `identity`, their weights added up, groups that add up to zero left out.

        `identity` is called for active rows only and returns whatever tells one file from another (its real path, its
        hash). The sums are correctly rounded (`math.fsum`), so they do not depend on the order of the rows. Weights
        that change over the steps in different ways stay side by side, and their sum is taken at each moment.
        """
        from .weights import add_up

        groups: dict[K, list[Entry]] = {}
        for entry in self.entries:
            if entry.active:
                groups.setdefault(identity(entry), []).append(entry)
        result: dict[K, Weighted] = {}
        for key, rows in groups.items():
            model, shares = add_up(rows)
            clip = math.fsum(row.clip_weight for row in rows)
            if shares or clip != 0:
                result[key] = Weighted(rows[0], model, clip, shares)
        return result


def _parse(value: object, depth: int) -> Stack:
    if isinstance(value, Stack):
        return value.checked()
    if value is None:
        return Stack()
    if isinstance(value, str):
        return _parse_text(value, depth)
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        if set(data) == {"__value__"}:
            if depth > 4:
                raise StackError("the stack is wrapped in __value__ too often")
            return _parse(data["__value__"], depth + 1)
        if "loras" in data:
            return _parse_document(data)
        if isinstance(data.get("lora"), list):
            return Stack(_rows(data["lora"])).checked()
        raise StackError('the stack is a JSON object without "loras"; expected {"version": 1, "loras": [...]}')
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return Stack(_rows(cast("Sequence[Json]", value))).checked()
    raise StackError(f"a stack is JSON or <lora:name:weight> text, not {type(value).__name__}")


def _parse_text(text: str, depth: int) -> Stack:
    from ..exchange import a1111

    stripped = text.strip()
    if not stripped:
        return Stack()
    if len(text) > MAX_TEXT:
        raise StackError(f"the stack's text has {len(text):,} characters; at most {MAX_TEXT:,} are read")
    if stripped[0] in '{["':
        if depth > 4:
            raise StackError("the stack is JSON inside JSON too often")
        try:
            data: Json = json.loads(stripped)
        except RecursionError as error:
            raise StackError("the stack's JSON is nested too deeply") from error
        except ValueError as error:
            raise StackError(f"the stack is not JSON: {error}") from error
        return _parse(data, depth + 1)
    if "<lora:" in stripped or "<lyco:" in stripped:
        return Stack(a1111.read_tags(stripped).entries).checked()
    raise StackError(f"the stack is neither JSON nor <lora:name:weight> text; it starts with {quoted(stripped)}")


def _parse_document(data: Mapping[str, Json]) -> Stack:
    version = data.get("version", VERSION)
    if type(version) is not int or version < 1:
        raise StackError(f"the stack's version is {quoted(version)}; expected {VERSION}")
    rows = data["loras"]
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise StackError(f'"loras" is {_kind(rows)}; expected a list of rows')
    extra = _extra(data, _KNOWN_STACK, None)
    return Stack(_rows(cast("Sequence[Json]", rows)), version, extra).checked()


def _rows(rows: Sequence[Json]) -> tuple[Entry, ...]:
    if len(rows) > MAX_ROWS:
        raise StackError(f"a stack has at most {MAX_ROWS} rows, this one has {len(rows)}", MAX_ROWS + 1)
    return tuple(_row(value, row) for row, value in enumerate(rows, 1))


def _row(value: Json, row: int) -> Entry:
    from ..exchange import runware

    if isinstance(value, Entry):
        return value
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        if "lora" in data:
            return _own_row(data, row)
        if isinstance(data.get("model"), str):
            return runware.read_row(data, row)
        raise StackError('the row has no "lora" with the name of a file', row)
    if isinstance(value, tuple | list):
        triple = cast("Sequence[Json]", value)
        if len(triple) != 3:
            raise StackError(f"a LORA_STACK row is (name, model, clip), this one has {len(triple)} items", row)
        from_socket = getattr(cast("object", value), "entry", None)
        if isinstance(from_socket, Entry) and tuple(triple) == from_socket.triple:
            return from_socket
        name, model, clip = _name(triple[0], row), _weight(triple[1], "model", row), _weight(triple[2], "clip", row)
        return Entry(name, model=model, clip=None if clip == model else clip)
    raise StackError(f"the row is {_kind(value)}; expected a JSON object", row)


def _own_row(data: Mapping[str, Json], row: int) -> Entry:
    if "strength" in data and "model" not in data:  # a row of rgthree's Power Lora Loader
        rest = {key: item for key, item in data.items() if key not in ("strength", "strengthTwo")}
        data = {**rest, "model": data["strength"], "clip": data.get("strengthTwo")}
    if "weight" in data and "model" not in data:
        raise StackError('the row has a "weight"; the weights are called "model" and "clip"', row)
    on = data.get("on", True)
    if not isinstance(on, bool):
        raise StackError(f'"on" is {quoted(on)}; expected true or false', row)
    clip = data.get("clip")
    return Entry(
        lora=_name(data["lora"], row),
        on=on,
        model=_weight(data.get("model", DEFAULT_WEIGHT), "model", row),
        clip=None if clip is None else _weight(clip, "clip", row),
        blocks=_blocks(data.get("blocks"), row),
        schedule=_schedule(data, row),
        conditioning=_one_of(data.get("conditioning", BOTH), CONDITIONINGS, "conditioning", row),
        expert=None if data.get("expert") is None else _one_of(data["expert"], EXPERTS, "expert", row),
        sha256=_sha256(data, row),
        air=_optional_text(data, "air", row),
        extra=_extra(data, _KNOWN_ENTRY, row),
    )


def _schedule(data: Mapping[str, Json], row: int) -> str | None:
    """The text as it is; `checked` reads it."""
    text = _optional_text(data, "schedule", row)
    return text if text and text.strip() else None


def _check_schedule(entry: Entry, row: int) -> None:
    try:
        schedule = entry.find_schedule()
        if schedule:
            schedule.scaled(entry.model)
    except ScheduleError as error:
        raise StackError(f"schedule: {error}", row) from error


def _one_of(value: Json, known: Sequence[str], key: str, row: int) -> str:
    if not isinstance(value, str) or value not in known:
        raise StackError(f'"{key}" is {quoted(value)}; expected one of {", ".join(known)}', row)
    return value


def _sha256(data: Mapping[str, Json], row: int) -> str | None:
    value = _optional_text(data, "sha256", row)
    if value is not None and (len(value) != 64 or not set(value) <= set("0123456789abcdefABCDEF")):
        raise StackError(f'"sha256" is {quoted(value)}; expected 64 hex digits', row)
    return value


def _name(value: Json, row: int) -> str:
    if not isinstance(value, str):
        raise StackError(f'"lora" is {_kind(value)}; expected the name of a file', row)
    if not value.strip():
        raise StackError("the row names no LoRA", row)
    if len(value) > MAX_NAME:
        raise StackError(f"the LoRA's name has {len(value):,} characters; at most {MAX_NAME:,} are read", row)
    if not value.isprintable() and any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in value):
        raise StackError(f"the LoRA's name {quoted(value)} has control characters or broken Unicode", row)
    return value


def _weight(value: Json, key: str, row: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StackError(f'the weight "{key}" is {quoted(value)}; expected a number', row)
    if not -WEIGHT_LIMIT <= value <= WEIGHT_LIMIT:  # also false for NaN
        raise StackError(
            f'the weight "{key}" is {quoted(value)}; it must lie in -{WEIGHT_LIMIT:g} … {WEIGHT_LIMIT:g}', row
        )
    return float(value)


def _blocks(value: Json, row: int) -> Mapping[str, float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise StackError(f'"blocks" is {_kind(value)}; expected an object of block name and factor', row)
    return {key: _weight(item, f"blocks.{key!s:.60}", row) for key, item in cast("Mapping[str, Json]", value).items()}


def _optional_text(data: Mapping[str, Json], key: str, row: int) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise StackError(f'"{key}" is {_kind(value)}; expected text', row)
    return value


def _extra(data: Mapping[str, Json], known: Sequence[str], row: int | None) -> dict[str, Json]:
    """The keys that are not `known`, as a copy that can be written again: plain JSON, without NaN or infinity."""
    extra = {key: item for key, item in data.items() if key not in known}
    if not extra:
        return {}
    names = quoted(", ".join(str(key) for key in extra))
    try:
        copy = json.loads(json.dumps(extra, allow_nan=False))
    except RecursionError as error:
        raise StackError(f"the unknown keys {names} are nested too deeply", row) from error
    except (TypeError, ValueError) as error:
        raise StackError(f"the unknown keys {names} hold something that is not JSON: {error}", row) from error
    if not _is_shallow(copy):
        raise StackError(f"the unknown keys {names} are nested more than {MAX_DEPTH} levels deep", row)
    return copy


def _is_shallow(value: Json) -> bool:
    level: list[Json] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for item in level for child in _children(item)]
        if not level:
            return True
    return False


def _children(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return cast("dict[str, Json]", value).values()
    return cast("list[Json]", value) if isinstance(value, list) else ()


def _kind(value: object) -> str:
    names: Iterable[tuple[type, str]] = (
        (bool, "true or false"), (str, "text"), (int, "a number"), (float, "a number"), (Mapping, "an object"),
        (list, "a list"), (tuple, "a list"),
    )  # fmt: skip
    if value is None:
        return "null"
    fallback = type(value).__name__
    return next((name for kind, name in names if isinstance(value, kind)), fallback)
