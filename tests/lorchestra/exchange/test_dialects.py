"""What holds of every dialect: round trips, losses that are exactly those stated, limits, and bad input."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorchestra.errors import DialectError, LorchestraError, StackError
from lorchestra.exchange import DIALECTS, Dialect, Writing, find_dialect_or_raise, parse_stack, read_any
from lorchestra.exchange.dialect import AIR, CLIP, EXPERT, FOLDER, KEEPABLE, NO_LIMITS, OFF, SHA256
from lorchestra.exchange.names import folder, stem
from lorchestra.exchange.parse import RECOGNISED
from lorchestra.limits import MAX_ROWS, WEIGHT_LIMIT
from lorchestra.stack import Entry, Stack
from lorchestra.stack.air import find_air

ALL = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.id)
BY_AIR = ("runware", "civitai", "civitai-orchestration")
"""They know a file by its AIR alone, which says more than its name."""
HASH = "0123456789ab"
DIGITS = "0123456789abcdef" * 4


def rotated(number: int) -> str:
    """Another hash for each number."""
    return DIGITS[number:] + DIGITS[:number]


def options(dialect: Dialect, **more: Any) -> dict[str, Any]:
    """What `write` takes, with names allowed."""
    return {key: value for key, value in {"allow_names": True, **more}.items() if key in dialect.write_options}


def write(dialect: Dialect, stack: Stack, **more: Any) -> Writing:
    return dialect.write(stack, **options(dialect, **more))


def plain(dialect: Dialect, number: int = 0, **said: Any) -> Entry:
    """A row that the dialect can write."""
    given: dict[str, Any] = {"model": 0.5, **said}
    if dialect.id in BY_AIR:
        given.setdefault("air", f"urn:air:sdxl:lora:civitai:{number + 1}@{number + 11}")
    return Entry(given.pop("lora", f"lora{number}.safetensors"), **given)


@st.composite
def stacks(draw: st.DrawFn, dialect: Dialect) -> Stack:
    """Stacks within the dialect's limits, of files that are not each other's."""
    limits = dialect.limits
    weights = st.one_of(
        st.sampled_from([limits.min, limits.max, 0.0, 1.0, 0.75]), st.floats(limits.min, limits.max)
    ).map(lambda value: value + 0.0)
    numbers = range(draw(st.integers(0, min(limits.most, 4))))
    entries: list[Entry] = []
    for number in numbers:
        where = draw(st.sampled_from(["", "styles/", "a\\b/"]))
        ending = draw(st.sampled_from([".safetensors", "", ".v1", ".SAFETENSORS"]))
        clip = draw(st.one_of(st.none(), weights))
        extra: dict[str, Any] = {}
        if draw(st.booleans()):
            extra["note"] = draw(st.sampled_from(["x", 1, [1]]))
        if draw(st.booleans()):
            extra["hash"] = draw(st.sampled_from([HASH, HASH[:10], rotated(5 + number)]))
        air = draw(st.sampled_from([None, f"civitai:{number + 1}@{number + 11}", "runware:1@x"]))
        entries.append(
            plain(
                dialect,
                number,
                lora=f"{where}lora{number}{ending}",
                on=draw(st.sampled_from([True, True, True, False])),
                model=draw(weights),
                clip=clip,
                blocks=draw(st.sampled_from([{}, {}, {"in": 0.5}])),
                schedule=draw(st.sampled_from([None, None, "0:0, 1:1"])),
                conditioning=draw(st.sampled_from(["both", "both", "positive"])),
                expert=draw(st.sampled_from([None, None, "high", "low", "both"])),
                sha256=draw(st.sampled_from([None, rotated(number), rotated(number).upper()])),
                **({"air": air} if dialect.id not in BY_AIR else {}),
                extra=extra,
            )
        )
    return Stack(tuple(entries), extra=draw(st.sampled_from([{}, {}, {"more": 1}])))


def same_name(one: str, other: str) -> bool:
    """The same but for the folder, the separators and the ending."""
    return stem(one.replace("\\", "/")) == stem(other.replace("\\", "/"))


def changed(before: Entry, after: Entry) -> Iterator[str]:
    """The fields of a row that are not what they were; a lost folder is a change of `lora`."""
    yield from (key for key in ("on", "model", "conditioning", "expert") if getattr(before, key) != getattr(after, key))
    if before.clip_weight != after.clip_weight:
        yield "clip"
    if dict(before.blocks) != dict(after.blocks):
        yield "blocks"
    if before.schedule != after.schedule:
        yield "schedule"
    yield from (key for key, value in before.extra.items() if after.extra.get(key) != value)
    airs = [find_air(entry.air) if entry.air else None for entry in (before, after)]
    same_air = (airs[0] and airs[0].key) == (airs[1] and airs[1].key)
    if not same_air:
        yield "air"
    if airs[0] is not None and same_air:
        return  # the file is named by it
    if (before.sha256 or "").lower() != (after.sha256 or "").lower():
        yield "sha256"
    if after.lora.startswith("https://"):
        return  # its address, which has the number of the version
    folders = [folder(entry.lora).replace("\\", "/") for entry in (before, after)]
    if not same_name(before.lora, after.lora) or folders[0] != folders[1]:
        yield "lora"


def told_apart(writing: Writing, stack: Stack) -> dict[int, set[str]]:
    """The fields that the losses name, by row; rows that were left out are not there."""
    told: dict[int, set[str]] = {row: set() for row, _ in stack.rows}
    for loss in writing.losses:
        if loss.row is None:
            continue
        if not stack.entries[loss.row - 1].active and "left out" in loss.reason and loss.field in ("on", "model"):
            told.pop(loss.row)
        else:
            told[loss.row].add(loss.field)
    return told


@ALL
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_written_reads_back_but_for_the_losses(dialect: Dialect, data: st.DataObject) -> None:
    stack = data.draw(stacks(dialect))
    writing = write(dialect, stack)
    told = told_apart(writing, stack)
    for request in (writing.value, writing.text):
        read = dialect.read(copy.deepcopy(request))
        assert len(read.stack.entries) == len(told)
        for (row, fields), after in zip(told.items(), read.stack.entries, strict=True):
            before = stack.entries[row - 1]
            assert set(changed(before, after)) == fields, (before, after)
            gained = set(after.extra) - set(before.extra)
            assert gained <= {"hash": {"sha256"}, "modelVersionId": {"air"}}.get(next(iter(gained), ""), set()) or all(
                {"hash": "sha256", "modelVersionId": "air"}.get(key) in fields for key in gained
            )
        assert parse_stack(read.stack.to_text()) == read.stack
    assert [loss.field for loss in writing.losses if loss.row is None] == list(stack.extra)


@ALL
def test_nothing_reads_back_as_nothing(dialect: Dialect) -> None:
    writing = write(dialect, Stack())
    assert not writing.losses
    assert dialect.read(writing.value).stack == dialect.read(writing.text).stack == Stack()


PROBES: dict[str, dict[str, Any]] = {
    OFF: {"on": False},
    CLIP: {"clip": 0.25},
    FOLDER: {"lora": "styles/lora.safetensors"},
    SHA256: {"sha256": DIGITS},
    AIR: {"air": "civitai:1@2"},
    EXPERT: {"expert": "high"},
}


@ALL
def test_what_a_dialect_keeps_is_said_with_it(dialect: Dialect) -> None:
    """The documentation is made from this."""
    kept: list[str] = []
    for word in KEEPABLE:
        said = PROBES[word]
        before = plain(dialect, 0, **said)
        read = dialect.read(write(dialect, Stack((before,))).value).stack.entries
        key, value = next(iter(said.items()))
        found = getattr(read[0], key) if read else None
        if key == "lora":
            kept += [word] if read and folder(read[0].lora) == "styles/" else []
        elif found == value or (key == "air" and found and find_air(found) == find_air(value)):
            kept.append(word)
    assert tuple(kept) == dialect.keeps


BOUNDED = [
    pytest.param(dialect, key, id=f"{dialect.id}-{key}")
    for dialect in DIALECTS
    for key in ("model", "clip")
    if dialect.limits.max < WEIGHT_LIMIT and (key == "model" or CLIP in dialect.keeps)
]


@pytest.mark.parametrize(("dialect", "key"), BOUNDED)
def test_weights_out_of_range_are_an_error_with_the_field_or_clamped_and_told(dialect: Dialect, key: str) -> None:
    limits = dialect.limits
    for weight, inside in ((limits.max + 0.5, limits.max), (limits.min - 0.5, limits.min)):
        stack = Stack((plain(dialect, 0), plain(dialect, 1, **{key: weight})))
        with pytest.raises(DialectError) as caught:
            write(dialect, stack)
        assert caught.value.row == 2 and caught.value.path and repr(weight) in str(caught.value)
        assert f"{limits.min:g} … {limits.max:g}" in str(caught.value)
        writing = write(dialect, stack, clamp=True)
        (loss,) = (loss for loss in writing.losses if loss.field == key)
        assert loss.row == 2 and repr(weight) in loss.reason and repr(inside) in loss.reason
        assert getattr(dialect.read(writing.value).stack.entries[1], key) == inside


COUNTED = [dialect for dialect in DIALECTS if dialect.limits.most < MAX_ROWS]


@pytest.mark.parametrize("dialect", COUNTED, ids=lambda dialect: dialect.id)
def test_one_more_than_a_request_holds_is_an_error_that_names_the_row(dialect: Dialect) -> None:
    most = dialect.limits.most
    rows = tuple(plain(dialect, number) for number in range(most + 1))
    with pytest.raises(DialectError, match=f"at most {most} LoRA") as caught:
        write(dialect, Stack(rows))
    assert caught.value.row == most + 1
    assert len(dialect.read(write(dialect, Stack(rows[:-1])).value).stack.entries) == most


def test_limits_of_those_that_state_them() -> None:
    stated = {
        dialect.id: (limits.min, limits.max, limits.most, limits.default)
        for dialect in DIALECTS
        if (limits := dialect.limits) != NO_LIMITS
    }
    assert stated == {
        "runware": (-4, 4, 1000, 1.0),
        "comfyui": (-100, 100, 20, 1.0),
        "swarmui": (-10, 10, 1000, 1.0),
        "swarmui-prompt": (-10, 10, 1000, 1.0),
        "fal-input": (0, 4, 3, 1.0),
        "replicate": (-1, 3, 2, 1.0),
        "together": (-100, 100, 1000, None),
        "invokeai": (-10, 10, 1000, 0.75),
        "invokeai-graph": (-100, 100, 1000, 0.75),
        "draw-things": (-100, 100, 1000, 0.6),
    }


AMBIGUOUS = {"fal-input": "fal", "swarmui-prompt": "a1111"}
"""What cannot be told from another dialect's, and whose it is taken for."""


@ALL
def test_a_request_is_told_from_the_others(dialect: Dialect) -> None:
    rows = [plain(dialect, number, sha256=rotated(number)) for number in range(2)]
    if dialect.id == "fal-wan":  # told by the rows that say which of two models they are for
        rows[1] = replace(rows[1], expert="low")
    stack = Stack(tuple(rows))
    writing = write(dialect, stack)
    other = find_dialect_or_raise(AMBIGUOUS.get(dialect.id, dialect.id))
    expected = other.read(writing.value)
    assert read_any(writing.text) == expected == dialect.read(writing.value)
    known = [one.id for one in RECOGNISED if one.recognises is not None and one.recognises(writing.value)]
    by_field = other.suffix == ".json" and other.id != "runware"  # a bare list of its rows is one of our own forms
    assert known[:1] == ([other.id] if by_field else [])


@ALL
@pytest.mark.parametrize(
    "value",
    [
        None, 3, math.nan, True, "", "x", "[", "{}", {}, [None], [[]], [[[[]]]], ["a"], [{}], {"loras": 3},
        {"loras": {"a": None}}, {"loras": [None]}, {"loras": [{}]}, {"lora": {}}, {"prompt": {}},
        {"prompt": {"1": {"class_type": "LoadLoraModel"}}}, "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, "9" * 5000,
        {"nodes": [{}]}, {"nodes": {"a": {"type": "lora", "lora": {}}}},
        "\ud800", "<lora:a:1e999>", {"loras": [{"path": "x", "scale": 10**400}]}, [{"type": "lora"}], b"\x89PNG",
    ],
    ids=range(31),
)  # fmt: skip
def test_what_is_no_request_is_refused_in_words(dialect: Dialect, value: Any) -> None:
    try:
        stack = dialect.read(value).stack
    except StackError as error:
        assert str(error) and len(str(error)) < 2000
    else:
        assert parse_stack(stack.to_text()) == stack


JUNK = st.sampled_from(
    [
        None, True, -1, 0, 1e9, math.nan, math.inf, 10**400, "", " ", "x" * 2000, "a\nb", "\ud800", [], {}, [[]], [1],
        {"a": 1}, ["5", 0], "nan", "1e999", {"on": 1, "lora": 2, "model": 3}, "civitai:1@2", "0x12345678",
    ]
)  # fmt: skip


@ALL
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_any_wrong_value_is_a_sentence(dialect: Dialect, data: st.DataObject) -> None:
    """One value of a request, anywhere in it, is replaced."""
    rows = tuple(plain(dialect, number, sha256=rotated(number)) for number in range(2))
    written = write(dialect, Stack(rows)).value
    if isinstance(written, str):
        at = data.draw(st.integers(0, len(written)))
        value: Any = written[:at] + str(data.draw(JUNK)) + written[at + data.draw(st.integers(0, 9)) :]
    else:
        value = copy.deepcopy(written)
        places = list(_places(value))
        holder, key = data.draw(st.sampled_from(places))
        holder[key] = data.draw(JUNK)
    try:
        stack = dialect.read(value).stack
    except LorchestraError as error:
        assert isinstance(error, StackError) and len(str(error)) < 2000
    else:
        assert parse_stack(stack.to_text()) == stack


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, item in list(value.items()) if isinstance(value, dict) else list(enumerate(value)):
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


ENDLESS = [dialect for dialect in DIALECTS if dialect.limits.most == MAX_ROWS and dialect.suffix == ".json"]


@pytest.mark.parametrize("dialect", ENDLESS, ids=lambda dialect: dialect.id)
def test_requests_of_too_many_rows_are_refused(dialect: Dialect) -> None:
    rows = tuple(plain(dialect, number, sha256=f"{number:064x}") for number in range(MAX_ROWS))
    value = json.loads(write(dialect, Stack(rows)).text)
    assert len(dialect.read(value).stack.entries) == MAX_ROWS
    doubled = _doubled(value)
    with pytest.raises(StackError, match=r"at most 1,?000"):
        dialect.read(doubled)


def _doubled(value: Any) -> Any:
    """The request with twice as many LoRAs."""
    if isinstance(value, list):
        return value * 2
    if isinstance(value, str):
        return f"{value},{value}"
    inner = {key: _doubled(item) if isinstance(item, list | str) else item for key, item in value.items()}
    if inner != value:
        return inner
    (key, held), *_ = value.items()
    return {key: {**held, **{f"{name}1": item for name, item in held.items()}}}
