"""Every form of a stack parses to the same Stack, comes back whole, and fails with the row's number."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorchestra.errors import StackError, quoted
from lorchestra.exchange import parse_stack
from lorchestra.limits import MAX_NAME, MAX_ROWS, WEIGHT_LIMIT
from lorchestra.schedule import Schedule
from lorchestra.stack import BOTH, CONDITIONINGS, DEFAULT_WEIGHT, EXPERTS, NEGATIVE, POSITIVE, Entry, Stack, Weighted

NAMES = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=30).filter(
    lambda name: bool(name.strip())
)
WEIGHTS = st.floats(-WEIGHT_LIMIT, WEIGHT_LIMIT)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SCHEDULES = st.none() | st.sampled_from(
    ["0:0, 1:1", "fade-in", " step 1-2:1\n", "0.2@0.2,1@0.5", "sigma 7:-1 hold, 2:0"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ENTRIES = st.builds(
    Entry,
    lora=NAMES,
    on=st.booleans(),
    model=WEIGHTS,
    clip=st.none() | WEIGHTS,
    blocks=st.dictionaries(st.text(max_size=8), WEIGHTS, max_size=3),
    schedule=SCHEDULES,
    conditioning=st.sampled_from(CONDITIONINGS),
    expert=st.none() | st.sampled_from(EXPERTS),
    sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    air=TEXTS,
    extra=st.dictionaries(st.sampled_from(["note", "strengthTwo", "_ui", "ä"]), JSON, max_size=2),
)
STACKS = st.builds(
    Stack,
    st.lists(ENTRIES, max_size=5).map(tuple),
    version=st.integers(1, 9),
    extra=st.dictionaries(st.sampled_from(["note", "__value", "lora"]), JSON, max_size=2),
)

PAIR = Stack((Entry("a", model=0.7), Entry("civitai:1@2", model=-1.0, clip=0.5, air="civitai:1@2")))


def row_of(value: object) -> int | None:
    with pytest.raises(StackError) as caught:
        parse_stack(value)
    assert caught.value.reason
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)
    return caught.value.row


class TestForms:
    @pytest.mark.parametrize(
        "value",
        [
            {"version": 1, "loras": [{"lora": "a", "model": 0.7}]},
            {"loras": [{"lora": "a", "model": 0.7, "on": True, "clip": None, "blocks": {}, "air": None}]},
            {"loras": ({"lora": "a", "model": 0.7},)},
            {"__value__": {"loras": [{"lora": "a", "model": 0.7}]}},
            {"__value__": [["a", 0.7, 0.7]]},
            {"__value__": '{"loras":[{"lora":"a","model":0.7}]}'},
            [{"lora": "a", "model": 0.7}],
            [{"lora": "a", "strength": 0.7}],
            [{"on": True, "lora": "a", "strength": 0.7, "strengthTwo": None}],
            [{"model": "a", "weight": 0.7}],
            {"lora": [{"model": "a", "weight": 0.7}]},
            [("a", 0.7, 0.7)],
            (("a", 0.7, 0.7),),
            [["a", 0.7, 0.7]],
            "<lora:a:0.7>",
            " , <lora:a:0.7>,\n",
            "<lora:a:0.7:0.7>",
            '{"loras":[{"lora":"a","model":0.7}]}',
            '\n [{"lora":"a","model":7e-1}] ',
            '"{\\"loras\\":[{\\"lora\\":\\"a\\",\\"model\\":0.7}]}"',
            '"<lora:a:0.7>"',
            '[["a", 0.7, 0.7]]',
            [Entry("a", model=0.7)],
            Stack((Entry("a", model=0.7),)),
        ],
    )
    def test_all_mean_the_same(self, value: object) -> None:
        assert parse_stack(value) == Stack((Entry("a", model=0.7),))

    @pytest.mark.parametrize(
        "value", [None, "", " \n", [], (), {"loras": []}, {"lora": []}, "[]", '{"loras":[]}', '""', {"__value__": None}]
    )
    def test_empty(self, value: object) -> None:
        assert parse_stack(value) == Stack()

    def test_an_air_is_kept(self) -> None:
        assert parse_stack([{"model": "civitai:1@2"}]) == Stack((Entry("civitai:1@2", model=1.0, air="civitai:1@2"),))

    def test_two_weights_and_the_default(self) -> None:
        assert parse_stack([("a", 0.5, 0.25)]) == Stack((Entry("a", model=0.5, clip=0.25),))
        assert parse_stack([{"lora": "a", "strength": 0.5, "strengthTwo": 0.25}]).entries[0].clip == 0.25
        assert parse_stack("<lora:a:0.25:0.5>") == Stack((Entry("a", model=0.5, clip=0.25),))
        assert parse_stack([{"lora": "a"}]) == Stack((Entry("a", model=DEFAULT_WEIGHT),))

    def test_whole_numbers_are_weights(self) -> None:
        assert parse_stack([{"lora": "a", "model": 1, "clip": -100}]) == Stack((Entry("a", model=1.0, clip=-100.0),))

    def test_a_newer_version_is_kept(self) -> None:
        stack = parse_stack({"version": 2, "loras": [{"lora": "a", "swing": 3}], "tempo": [1]})
        assert stack.is_newer
        assert stack.to_json() == {
            "version": 2, "loras": [{"lora": "a", "model": DEFAULT_WEIGHT, "swing": 3}], "tempo": [1]
        }  # fmt: skip

    def test_unknown_keys_are_a_copy(self) -> None:
        note = {"tags": ["x"]}
        stack = parse_stack([{"lora": "a", "note": note}])
        note["tags"].append("y")
        assert stack.entries[0].extra == {"note": {"tags": ["x"]}}

    @pytest.mark.parametrize("value", [PAIR, PAIR.to_json(), PAIR.to_text(), {"__value__": PAIR.to_json()}])
    def test_a_pair(self, value: object) -> None:
        assert parse_stack(value) == PAIR


class TestRoundTrips:
    @settings(deadline=None)
    @given(STACKS)
    def test_json(self, stack: Stack) -> None:
        for value in (
            stack,
            stack.to_json(),
            stack.to_text(),
            json.dumps(stack.to_text()),
            {"__value__": stack.to_json()},
            {"__value__": stack.to_text()},
            json.dumps({"__value__": stack.to_json()}),
        ):
            again = parse_stack(value)
            assert again == stack
            assert again.to_text() == stack.to_text()

    @settings(deadline=None)
    @given(STACKS)
    def test_text_is_strict_json_in_one_line(self, stack: Stack) -> None:
        def refuse(word: str) -> None:
            raise ValueError(word)

        assert json.loads(stack.to_text(), parse_constant=refuse) == stack.to_json()
        assert "\n" not in stack.to_text()

    @settings(deadline=None)
    @given(STACKS)
    def test_tuples(self, stack: Stack) -> None:
        tuples = stack.to_tuples()
        assert parse_stack(tuples).to_tuples() == tuples
        assert tuples == [(e.lora, e.model, e.clip_weight) for e in stack.entries if e.active]
        assert all(type(model) is type(clip) is float for _, model, clip in tuples)

    @settings(deadline=None)
    @given(STACKS, STACKS)
    def test_joined(self, a: Stack, b: Stack) -> None:
        both = a.joined(b)
        assert both.entries == a.entries + b.entries
        assert both.version == max(a.version, b.version)
        assert both.extra == {**b.extra, **a.extra}
        assert parse_stack(both.to_text()) == both

    def test_joined_is_bounded(self) -> None:
        many = Stack((Entry("a"),) * MAX_ROWS)
        with pytest.raises(StackError, match="at most 1000 rows"):
            many.joined(Stack((Entry("b"),)))


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


GOOD_ROW = {"lora": "a", "model": 1}

BAD_ROWS: tuple[tuple[str, object], ...] = (
    ("null", None),
    ("a number", 3),
    ("text", "a.safetensors"),
    ("true", True),
    ("empty object", {}),
    ("nothing but a weight", {"model": 0.5}),
    ("name is null", {"lora": None}),
    ("name is a number", {"lora": 7}),
    ("name is a list", {"lora": ["a"]}),
    ("name is empty", {"lora": ""}),
    ("name is blank", {"lora": " \u3000"}),
    ("name is too long", {"lora": "a" * (MAX_NAME + 1)}),
    ("name with NUL", {"lora": "a\0b"}),
    ("name with line break", {"lora": "a\nb"}),
    ("name with escape", {"lora": "a\x1b[31m"}),
    ("name with half a character", {"lora": "a\ud800"}),
    ("on is a number", {"lora": "a", "on": 1}),
    ("on is text", {"lora": "a", "on": "false"}),
    ("on is null", {"lora": "a", "on": None}),
    ("blocks is a list", {"lora": "a", "blocks": [1]}),
    ("blocks of text", {"lora": "a", "blocks": {"in": "1"}}),
    ("blocks of NaN", {"lora": "a", "blocks": {"in": math.nan}}),
    ("blocks of 1e308", {"lora": "a", "blocks": {"x" * 5000: 1e308}}),
    ("schedule is a number", {"lora": "a", "schedule": 1}),
    ("schedule is no schedule", {"lora": "a", "schedule": "slowly"}),
    ("schedule goes backwards", {"lora": "a", "schedule": "0.5:1, 0.2:0"}),
    ("schedule with NaN", {"lora": "a", "schedule": "0:nan, 1:1"}),
    ("schedule with overlapping ranges", {"lora": "a", "schedule": "0-0.5:1, 0.4-1:1"}),
    ("schedule of 10,000 keyframes", {"lora": "a", "schedule": ", ".join(f"{i / 10000}:1" for i in range(10_000))}),
    ("schedule of a row that is off", {"lora": "a", "on": False, "schedule": "0:0,"}),
    ("schedule that leaves the range with the weight", {"lora": "a", "model": 3, "schedule": "0:0, 1:50"}),
    ("conditioning is unknown", {"lora": "a", "conditioning": "Positive"}),
    ("conditioning is null", {"lora": "a", "conditioning": None}),
    ("conditioning is a list", {"lora": "a", "conditioning": ["positive"]}),
    ("expert is unknown", {"lora": "a", "expert": "middle"}),
    ("expert is a number", {"lora": "a", "expert": 1}),
    ("sha256 is a number", {"lora": "a", "sha256": 0}),
    ("air is a list", {"lora": "a", "air": []}),
    ("triggers is text", {"lora": "a", "triggers": "pixel art"}),
    ("triggers has null", {"lora": "a", "triggers": [None]}),
    ("triggers has a blank word", {"lora": "a", "triggers": ["pixel", "\u3000"]}),
    ("triggers has half a character", {"lora": "a", "triggers": ["\ud800"]}),
    ("triggers has too long a word", {"lora": "a", "triggers": ["a" * 501]}),
    ("triggers has too many words", {"lora": "a", "triggers": ["a"] * 65}),
    ("model is null", {"lora": "a", "model": None}),
    ("unknown key with NaN", {"lora": "a", "note": [math.nan]}),
    ("unknown key nested deeply", {"lora": "a", "note": nested(80)}),
    ("unknown key that is no JSON", {"lora": "a", "note": object()}),
    ("unknown key with infinity", {"lora": "a", "note": math.inf}),
    ("pair", ("a", 1.0)),
    ("quadruple", ["a", 1.0, 1.0, 1.0]),
    ("triple without a name", [None, 1.0, 1.0]),
    ("triple with text", ["a", "1", 1.0]),
    ("triple with null", ["a", 1.0, None]),
    ("triple with true", ["a", True, 1.0]),
    ("triple with NaN", ["a", 1.0, math.nan]),
    ("Runware with text", {"model": "civitai:1@2", "weight": "1"}),
    ("Runware with NaN", {"model": "civitai:1@2", "weight": math.nan}),
    ("Runware without a name", {"model": " "}),
)

BAD_WEIGHTS: tuple[object, ...] = (
    math.nan, math.inf, -math.inf, 1e308, -1e308, 100.00001, 101, -101, 10**400, 10**5000, "1", "", "NaN", True, False,
    [], [0.5], {}, {"value": 1}, [[10**5000]],
)  # fmt: skip


class TestErrors:
    @pytest.mark.parametrize("bad", [row[1] for row in BAD_ROWS], ids=[row[0] for row in BAD_ROWS])
    def test_name_the_row(self, bad: object) -> None:
        assert row_of({"loras": [GOOD_ROW, bad]}) == 2
        assert row_of([GOOD_ROW, GOOD_ROW, bad]) == 3

    @pytest.mark.parametrize("weight", BAD_WEIGHTS, ids=lambda weight: quoted(weight, 20))
    @pytest.mark.parametrize("key", ["model", "clip", "strength"])
    def test_weights(self, key: str, weight: object) -> None:
        assert row_of([GOOD_ROW, {"lora": "a", key: weight}]) == 2

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e308", "1e999", "9" * 400, '"0.5"', "[[]]"])
    def test_weights_in_text(self, text: str) -> None:
        assert row_of('[{"lora":"a","model":1},{"lora":"b","model":' + text + "}]") == 2

    def test_limits_belong_to_the_range(self) -> None:
        for weight in (100, -100, 100.0, 0, -0.0, 5e-324):
            assert parse_stack([{"lora": "a", "model": weight}]).entries[0].model == weight
        assert len(parse_stack([{"lora": "a" * MAX_NAME}] * MAX_ROWS).entries) == MAX_ROWS

    @pytest.mark.parametrize(
        "value",
        [
            [GOOD_ROW] * 10_000,
            {"loras": [GOOD_ROW] * 10_000},
            json.dumps([GOOD_ROW] * 10_000),
            [("a", 1.0, 1.0)] * 10_000,
            [Entry("a")] * 10_000,
            Stack((Entry("a"),) * 10_000),
            "<lora:a:1>" * 10_000,
            [{"model": "civitai:1@2"}] * 10_000,
        ],
        ids=["rows", "document", "text", "tuples", "entries", "stack", "tags", "runware"],
    )
    def test_too_many_rows(self, value: object) -> None:
        assert row_of(value) == MAX_ROWS + 1

    @pytest.mark.parametrize(
        "value",
        [
            "pixel.safetensors",
            "a prompt",
            "{",
            "{'loras': []}",
            '{"loras":[',
            '{"loras":[]} <lora:a:1>',
            "[" * 100_000,
            '{"loras":' * 50_000,
            '{"loras":[{"lora":"a","note":' + "[" * 5000 + "]" * 5000 + "}]}",
            "[" + "1" * 10_000 + "]",
            " " * 4_000_001 + "[]x",
            "prompt <lora:a:1>",
            {},
            {"lora": "a"},
            {"rows": []},
            {"loras": None},
            {"loras": 1},
            {"loras": "a"},
            {"loras": {}},
            {"version": "1", "loras": []},
            {"version": 0, "loras": []},
            {"version": True, "loras": []},
            {"version": None, "loras": []},
            {"version": 1.0, "loras": []},
            {"loras": [], "note": math.nan},
            {"__value__": 1},
            1,
            1.5,
            True,
            b"[]",
            pytest.param(object(), id="object()"),
            {1, 2},
        ],
        ids=lambda value: repr(value)[:30],
    )
    def test_no_stack_at_all(self, value: object) -> None:
        row_of(value)

    def test_wrapped_too_often(self) -> None:
        value: Any = []
        for _ in range(20):
            value = {"__value__": value}
        row_of(value)
        text = "[]"
        for _ in range(8):
            text = json.dumps(text)
        row_of(text)

    @settings(max_examples=300, deadline=None)
    @given(JSON | st.text(max_size=50) | st.text('{}[]":,<>lora1.', max_size=30))
    def test_nothing_else_is_ever_raised(self, value: object) -> None:
        for form in (value, [value], {"loras": [value]}, {"lora": [value]}, json.dumps(value)):
            try:
                stack = parse_stack(form)
            except StackError as error:
                assert error.reason
            else:
                assert parse_stack(stack.to_text()) == stack


class TestSchedules:
    @pytest.mark.parametrize(("text", "column"), [("0:0, 1:x", 8), ("0.5:1, 0.2:0", 8), ("", None)])
    def test_errors_name_row_and_column(self, text: str, column: int | None) -> None:
        rows = [GOOD_ROW, {"lora": "a", "schedule": text}]
        if column is None:
            assert parse_stack(rows).entries[1].schedule is None
            return
        with pytest.raises(StackError, match=rf"^row 2: schedule: column {column}: "):
            parse_stack(rows)

    @pytest.mark.parametrize("blank", ["", " \n", None])
    def test_blank_is_none(self, blank: str | None) -> None:
        assert parse_stack([{"lora": "a", "schedule": blank}]) == parse_stack([{"lora": "a"}])
        assert Entry("a", schedule=blank).find_schedule() is None

    def test_rows_are_written_as_they_came(self) -> None:
        row = {"lora": "a", "model": 0.5, "schedule": "Fade_In", "conditioning": "negative", "expert": "low"}
        (entry,) = parse_stack([row]).entries
        assert entry.to_json() == row
        assert entry.find_schedule() == Schedule.parse("0:0, 1:1")
        assert "conditioning" not in Entry("a").to_json() and "expert" not in Entry("a").to_json()

    def test_for_all_rows(self) -> None:
        stack = Stack((Entry("a"), Entry("b", schedule="0:1, 1:0"), Entry("c", on=False))).scheduled(
            Schedule.parse("step 1:0 hold, 3:1")
        )
        texts = ["step 1:0 hold, 3:1", "0:1, 1:0 * step 1:0 hold, 3:1", "step 1:0 hold, 3:1"]
        assert [entry.schedule for entry in stack.entries] == texts
        with pytest.raises(StackError, match=r"^row 2: schedule: "):
            Stack((Entry("a"), Entry("b", schedule="0:0, 1:60"))).scheduled(Schedule.parse("0:2, 1:0"))


def by_name(stack: Stack) -> dict[int, str]:
    return {row: entry.lora for row, entry in stack.rows}


def combined_by_name(stack: Stack) -> dict[str, Weighted]:
    return stack.combined(by_name(stack))


class TestCombined:
    def test_adds_up(self) -> None:
        stack = Stack((Entry("a", model=0.5), Entry("b", model=1.0), Entry("a", model=0.25, clip=0.0)))
        combined = combined_by_name(stack)
        assert {name: (w.model, w.clip) for name, w in combined.items()} == {"a": (0.75, 0.5), "b": (1.0, 1.0)}
        assert combined["a"].entry is stack.entries[0]

    def test_zero_drops_out(self) -> None:
        stack = Stack((Entry("a", model=0.7), Entry("a", model=-0.7), Entry("b", model=0.0, clip=0.5)))
        assert set(combined_by_name(stack)) == {"b"}
        # added one after the other in plain floating point, these leave 2.8e-17 in this order
        cancelling = Stack(tuple(Entry("a", model=w) for w in (0.1, 0.2, -0.1, -0.2)))
        assert combined_by_name(cancelling) == {}

    def test_takes_active_rows_only(self) -> None:
        rows = (Entry("off", on=False), Entry("zero", model=0.0), Entry("-0", model=-0.0, clip=0.0), Entry("on"))
        assert set(combined_by_name(Stack(rows))) == {"on"}
        assert Stack(rows).combined({1: "off", 2: "zero"}) == {}

    def test_one_entry_may_stand_twice(self) -> None:
        entry = Entry("a", model=0.5)
        (one,) = combined_by_name(Stack((Entry("b", on=False), entry, entry))).values()
        assert (one.row, one.entry, one.model) == (2, entry, 1.0)

    def test_groups_by_identity(self) -> None:
        stack = Stack((Entry("a", model=1.0), Entry("folder/a", model=1.0)))
        assert stack.combined({1: "a", 2: "a"})["a"].model == 2.0

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("ab"), WEIGHTS, WEIGHTS), max_size=5))
    def test_in_any_order(self, rows: list[tuple[str, float, float]]) -> None:
        results = {
            tuple(sorted((name, w.model, w.clip) for name, w in combined_by_name(parse_stack(list(order))).items()))
            for order in itertools.permutations(rows)
        }
        assert len(results) == 1
        exact = {
            name: tuple(float(sum(Fraction(row[i]) for row in rows if row[0] == name)) for i in (1, 2)) for name in "ab"
        }
        assert {name: (model, clip) for name, model, clip in results.pop()} == {
            name: sums for name, sums in exact.items() if sums != (0, 0)
        }

    def test_weights_that_change_are_summed_at_each_moment(self) -> None:
        rows = (
            Entry("a", model=0.5),
            Entry("a", model=0.2, schedule="fade-in"),
            Entry("a", model=0.1, schedule="0:0, 1:1", clip=0.0),
            Entry("a", model=0.4, schedule="0.5"),
            Entry("a", model=-1.0, schedule="fade-out", conditioning=NEGATIVE),
        )
        for order in itertools.permutations(rows):
            (one,) = combined_by_name(Stack(order)).values()
            assert not one.is_constant
            assert (one.model, one.clip) == (math.fsum((0.5, 0.2, 0.1, 0.2, -1)), math.fsum((0.5, 0.2, 0.4, -1)))
            assert [(share.conditioning, share.weight) for share in one.shares] == [
                (BOTH, 0.7), (BOTH, math.fsum((0.2, 0.1))), (NEGATIVE, -1.0),
            ]  # fmt: skip
            assert [one.at(x, POSITIVE) for x in (0, 0.5, 1)] == pytest.approx([0.7, 0.85, 1.0])
            assert [one.at(x, NEGATIVE) for x in (0, 0.5, 1)] == pytest.approx([-0.3, 0.35, 1.0])

    def test_a_schedule_that_never_changes_is_a_factor(self) -> None:
        rows = (Entry("a", model=0.5, schedule="step 3:0.5"), Entry("a", model=1.0, schedule="sigma 3:0"))
        (one,) = combined_by_name(Stack(rows)).values()
        assert one.is_constant and one.model == one.at(0.5, POSITIVE) == 0.25
        assert (
            combined_by_name(Stack((Entry("a", schedule="0", clip=0.0), Entry("b", model=0.0, schedule="fade-in"))))
            == {}
        )

    def test_equal_schedules_cancel_and_others_do_not(self) -> None:
        fades = (Entry("a", model=0.3, schedule="0:0, 1:1"), Entry("a", model=-0.3, schedule="fade-in"))
        assert combined_by_name(Stack(fades)) == {}
        (one,) = combined_by_name(Stack((fades[0], Entry("a", model=-0.3)))).values()
        assert one.model == 0 and len(one.shares) == 2
        assert one.at(0, POSITIVE) == -0.3
