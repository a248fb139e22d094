"""Reads and validates the rows of a stack in our own forms; every refusal names the row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from ..errors import StackError, quoted
from ..limits import MAX_DEPTH, MAX_NAME, MAX_WORD, MAX_WORDS, WEIGHT_LIMIT, Json
from ..sentences import say
from .entry import BOTH, CONDITIONINGS, DEFAULT_WEIGHT, EXPERTS, Entry
from .schedules import Schedules

KNOWN_KEYS = (
    "lora", "on", "model", "clip", "blocks", "schedule", "conditioning", "expert", "sha256", "air", "triggers",
)  # fmt: skip
"""Keys of a row that this version knows."""


def read_row(value: Json, row: int, schedules: Schedules | None = None) -> Entry:
    """A row from JSON data of ours, from a `(name, model, clip)` triple, or from an `Entry`; raises `StackError`.

    `schedules` are those of the stack's rows so far.
    """
    schedules = schedules or Schedules()
    if isinstance(value, Entry):
        return check_row(value, row, schedules)
    if isinstance(value, Mapping):
        data = cast("Mapping[str, Json]", value)
        if "lora" not in data:
            raise StackError(say('the row has no "lora" with the name of a file'), row)
        return _own_row(data, row, schedules)
    if isinstance(value, tuple | list):
        return _triple(cast("Sequence[Json]", value), row, schedules)
    raise StackError(say("the row is {value}; expected a JSON object", value=kind(value)), row)


def check_row(entry: Entry, row: int, schedules: Schedules | None = None) -> Entry:
    """This row, if all of it is in range; raises `StackError` otherwise. `schedules` as for `read_row`."""
    _name(entry.lora, row)
    _weight(entry.model, "model", row)
    if entry.clip is not None:
        _weight(entry.clip, "clip", row)
    _one_of(entry.conditioning, CONDITIONINGS, "conditioning", row)
    if entry.expert is not None:
        _one_of(entry.expert, EXPERTS, "expert", row)
    _triggers(entry.triggers, row)
    (schedules or Schedules()).check(entry, row)
    return entry


def _triple(triple: Sequence[Json], row: int, schedules: Schedules) -> Entry:
    """A row of the common LORA_STACK; one that came through our own socket carries its whole entry."""
    if len(triple) != 3:
        raise StackError(
            say("a LORA_STACK row is (name, model, clip), this one has {count} items", count=len(triple)), row
        )
    from_socket = getattr(cast("object", triple), "entry", None)
    if isinstance(from_socket, Entry) and tuple(triple) == from_socket.triple:
        return check_row(from_socket, row, schedules)
    name, model, clip = _name(triple[0], row), _weight(triple[1], "model", row), _weight(triple[2], "clip", row)
    return Entry(name, model=model, clip=None if clip == model else clip)


def _own_row(data: Mapping[str, Json], row: int, schedules: Schedules) -> Entry:
    if "strength" in data and "model" not in data:  # a row of rgthree's Power Lora Loader
        rest = {key: item for key, item in data.items() if key not in ("strength", "strengthTwo")}
        data = {**rest, "model": data["strength"], "clip": data.get("strengthTwo")}
    if "weight" in data and "model" not in data:
        raise StackError(say('the row has a "weight"; the weights are called "model" and "clip"'), row)
    on = data.get("on", True)
    if not isinstance(on, bool):
        raise StackError(say('"on" is {on}; expected true or false', on=quoted(on)), row)
    clip = data.get("clip")
    entry = Entry(
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
        triggers=_triggers(data.get("triggers"), row),
        extra=unknown_keys(data, KNOWN_KEYS, row),
    )
    schedules.check(entry, row)
    return entry


def _schedule(data: Mapping[str, Json], row: int) -> str | None:
    """The text as it is, blank ones left out."""
    text = _optional_text(data, "schedule", row)
    return text if text and text.strip() else None


def _one_of(value: Json, known: Sequence[str], key: str, row: int) -> str:
    if not isinstance(value, str) or value not in known:
        raise StackError(
            say('"{key}" is {value}; expected one of {known}', key=key, value=quoted(value), known=", ".join(known)),
            row,
        )
    return value


def _sha256(data: Mapping[str, Json], row: int) -> str | None:
    value = _optional_text(data, "sha256", row)
    if value is not None and (len(value) != 64 or not set(value) <= set("0123456789abcdefABCDEF")):
        raise StackError(say('"sha256" is {value}; expected 64 hex digits', value=quoted(value)), row)
    return value


def _name(value: Json, row: int) -> str:
    if not isinstance(value, str):
        raise StackError(say('"lora" is {value}; expected the name of a file', value=kind(value)), row)
    if not value.strip():
        raise StackError(say("the row names no LoRA"), row)
    if len(value) > MAX_NAME:
        raise StackError(
            say(
                "the LoRA's name has {count} characters; at most {most} are read",
                count=f"{len(value):,}",
                most=f"{MAX_NAME:,}",
            ),
            row,
        )
    if has_odd_characters(value):
        raise StackError(
            say("the LoRA's name {value} has control characters or broken Unicode", value=quoted(value)), row
        )
    return value


NAME_PROBLEMS: Mapping[str, str] = {
    "length": "its name is too long, or blank; rename the file",
    "characters": "its name has a line break or bytes that are no text; rename the file",
}
"""Why no row can hold the name of a file that is there, and what to do."""


def find_name_problem(name: str) -> str | None:
    """The key in `NAME_PROBLEMS` for a file's name; None for nearly all."""
    if not name.strip() or len(name) > MAX_NAME:
        return "length"
    return "characters" if has_odd_characters(name) else None


def has_odd_characters(name: str) -> bool:
    """True for a text with control characters or broken Unicode."""
    return not name.isprintable() and any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in name)


def _weight(value: Json, key: str, row: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise StackError(say('the weight "{key}" is {value}; expected a number', key=key, value=quoted(value)), row)
    if not -WEIGHT_LIMIT <= value <= WEIGHT_LIMIT:  # also false for NaN
        raise StackError(
            say(
                'the weight "{key}" is {value}; it must lie in -{limit} … {limit}',
                key=key,
                value=quoted(value),
                limit=f"{WEIGHT_LIMIT:g}",
            ),
            row,
        )
    return float(value)


def _blocks(value: Json, row: int) -> Mapping[str, float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise StackError(
            say('"blocks" is {value}; expected an object of block name and factor', value=kind(value)), row
        )
    return {key: _weight(item, f"blocks.{key!s:.60}", row) for key, item in cast("Mapping[str, Json]", value).items()}


def _triggers(value: Json, row: int) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple):
        raise StackError(say('"triggers" is {value}; expected a list of words', value=kind(value)), row)
    words = cast("Sequence[Json]", value)
    if len(words) > MAX_WORDS:
        raise StackError(
            say(
                '"triggers" has {count} words; at most {most} are read',
                count=f"{len(words):,}",
                most=MAX_WORDS,
            ),
            row,
        )
    return tuple(_trigger(word, row) for word in words)


def _trigger(word: Json, row: int) -> str:
    if not isinstance(word, str):
        raise StackError(say('"triggers" has {word} in it; expected words', word=kind(word)), row)
    if not word.strip():
        raise StackError(say('"triggers" has a word that is blank'), row)
    if len(word) > MAX_WORD:
        raise StackError(
            say(
                '"triggers" has a word of {count} characters; at most {most} are read',
                count=f"{len(word):,}",
                most=MAX_WORD,
            ),
            row,
        )
    if has_odd_characters(word):
        raise StackError(
            say('"triggers" has {word}, which has control characters or broken Unicode', word=quoted(word)), row
        )
    return word


def _optional_text(data: Mapping[str, Json], key: str, row: int) -> str | None:
    value = data.get(key)
    if value is not None and not isinstance(value, str):
        raise StackError(say('"{key}" is {value}; expected text', key=key, value=kind(value)), row)
    return value


def unknown_keys(data: Mapping[str, Json], known: Sequence[str], row: int | None) -> dict[str, Json]:
    """The keys that are not `known`, as a copy that can be written again: plain JSON, without NaN or infinity."""
    extra = {key: item for key, item in data.items() if key not in known}
    if not extra:
        return {}
    names = quoted(", ".join(str(key) for key in extra))
    try:
        copy = json.loads(json.dumps(extra, allow_nan=False))
    except RecursionError as error:
        raise StackError(say("the unknown keys {names} are nested too deeply", names=names), row) from error
    except (TypeError, ValueError) as error:
        raise StackError(
            say("the unknown keys {names} hold something that is not JSON: {error}", names=names, error=error), row
        ) from error
    if not _is_shallow(copy):
        raise StackError(
            say(
                "the unknown keys {names} are nested more than {most} levels deep",
                names=names,
                most=MAX_DEPTH,
            ),
            row,
        )
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


def kind(value: object) -> str:
    """What a value is, in JSON's words: `text`, `a number`, `a list` …"""
    names: Iterable[tuple[type, str]] = (
        (bool, "true or false"), (str, "text"), (int, "a number"), (float, "a number"), (Mapping, "an object"),
        (list, "a list"), (tuple, "a list"),
    )  # fmt: skip
    if value is None:
        return "null"
    fallback = type(value).__name__
    return next((name for one, name in names if isinstance(value, one)), fallback)
