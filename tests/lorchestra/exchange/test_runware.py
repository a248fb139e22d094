"""Runware's `lora` array: every form is read, only what Runware takes is written, and the rest is reported."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorchestra.errors import DialectError, StackError
from lorchestra.exchange import DIALECTS, find_dialect, find_dialect_or_raise, parse_stack, runware
from lorchestra.limits import MAX_ROWS
from lorchestra.stack import Entry, Stack

AIR = "civitai:120096@135931"
LONG = "urn:air:sdxl:lora:civitai:120096@135931"
ROWS = [{"model": AIR, "weight": 0.7}, {"model": "civitai:82098@87153"}]
STACK = Stack((Entry(AIR, model=0.7, air=AIR), Entry("civitai:82098@87153", model=1.0, air="civitai:82098@87153")))
TASK = {"taskType": "imageInference", "taskUUID": "a", "positivePrompt": "a cat", "model": "civitai:1@2", "lora": ROWS}
AUTHENTICATION = {"taskType": "authentication", "apiKey": "…"}


def test_is_a_dialect() -> None:
    assert find_dialect("runware") is runware.DIALECT
    assert find_dialect("nobody") is None
    with pytest.raises(DialectError, match="runware, a1111"):
        find_dialect_or_raise("nobody")
    assert len({dialect.id for dialect in DIALECTS}) == len(DIALECTS)


class TestRead:
    @pytest.mark.parametrize("value", [ROWS, tuple(ROWS), {"lora": ROWS}, json.dumps(ROWS), json.dumps({"lora": ROWS})])
    def test_arrays(self, value: object) -> None:
        reading = runware.read(value)
        assert reading.stack == STACK
        assert reading.losses == ()

    @pytest.mark.parametrize(
        "value",
        [
            TASK,
            [TASK],
            [AUTHENTICATION, TASK],
            [TASK, {"taskType": "imageInference", "lora": []}],
            [TASK, {"taskType": "imageInference", "lora": None}],
            json.dumps([TASK], indent=2),
        ],
    )
    def test_requests(self, value: object) -> None:
        reading = runware.read(value)
        assert reading.stack == STACK
        assert [(loss.row, loss.field) for loss in reading.losses] == [(None, "request")]
        assert "positivePrompt" in str(reading.losses[0])

    @pytest.mark.parametrize("value", [[], {"lora": []}, "[]", [AUTHENTICATION]])
    def test_nothing(self, value: object) -> None:
        assert runware.read(value).stack == Stack()

    @pytest.mark.parametrize(
        ("row", "entry"),
        [
            ({"model": LONG}, Entry(LONG, model=1.0, air=LONG)),
            ({"model": f" {AIR}\n"}, Entry(AIR, model=1.0, air=AIR)),
            ({"model": AIR, "weight": None}, Entry(AIR, model=1.0, air=AIR)),
            ({"model": AIR, "weight": -2}, Entry(AIR, model=-2.0, air=AIR)),
            ({"model": AIR, "weight": 7.5}, Entry(AIR, model=7.5, air=AIR)),
            (
                {"model": AIR, "transformer": "high", "x": [1]},
                Entry(AIR, model=1.0, air=AIR, expert="high", extra={"x": [1]}),
            ),
            ({"model": "styles/pixel.safetensors"}, Entry("styles/pixel.safetensors", model=1.0)),
            ({"model": AIR, "on": False, "clip": 0.5}, Entry(AIR, on=False, model=1.0, clip=0.5, air=AIR)),
        ],
    )
    def test_rows(self, row: dict[str, Any], entry: Entry) -> None:
        assert runware.read_row(row, 1) == entry
        assert runware.read([row]).stack == parse_stack([row]) == Stack((entry,))
        assert parse_stack(Stack((entry,)).to_text()) == Stack((entry,))

    @pytest.mark.parametrize(
        "row",
        [
            None,
            1,
            "civitai:1@2",
            [],
            {},
            {"model": None},
            {"model": 135931},
            {"model": ""},
            {"model": "a\nb"},
            {"model": AIR, "weight": "0.7"},
            {"model": AIR, "weight": True},
            {"model": AIR, "weight": math.nan},
            {"model": AIR, "weight": 1e308},
            {"model": AIR, "weight": 10**5000},
            {"model": AIR, "on": 1},
        ],
    )
    def test_bad_rows_are_named(self, row: object) -> None:
        with pytest.raises(DialectError) as caught:
            runware.read([ROWS[0], row])
        assert caught.value.row == 2

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (None, "None"),
            (3, "3"),
            ("{", "not JSON"),
            ("a prompt", "not JSON"),
            ("[" * 100_000, "nested|not JSON"),
            ({}, "without"),
            ({"model": AIR}, "without"),
            ({"lora": AIR}, "expected a list"),
            ([{"taskType": "imageInference", "lora": {}}], "expected a list"),
            ([TASK, AUTHENTICATION, TASK], "tasks 1, 3"),
            (ROWS * MAX_ROWS, "at most 1000 rows"),
        ],
    )
    def test_no_request_at_all(self, value: object, reason: str) -> None:
        with pytest.raises(DialectError, match=reason):
            runware.read(value)


class TestWrite:
    def test_writes_short_airs_in_order(self) -> None:
        stack = Stack((Entry("b.safetensors", model=0.7, air=LONG), Entry("a.safetensors", model=-4.0, air="x1:y@z")))
        writing = runware.write(stack)
        assert writing.value == [{"model": AIR, "weight": 0.7}, {"model": "x1:y@z", "weight": -4.0}]
        assert json.loads(writing.text) == writing.value
        assert writing.losses == ()

    def test_writes_duplicates_as_they_are(self) -> None:
        assert len(runware.write(Stack((Entry("a", air=AIR), Entry("a", air=AIR)))).value) == 2

    def test_takes_an_air_that_stands_for_the_file(self) -> None:
        assert runware.write(Stack((Entry(AIR),))).value == [{"model": AIR, "weight": 0.75}]

    @pytest.mark.parametrize("transformer", ["high", "low", "both"])
    def test_writes_the_expert(self, transformer: str) -> None:
        for entry in (Entry(AIR, expert=transformer), Entry(AIR, extra={"transformer": transformer})):
            writing = runware.write(Stack((entry,)))
            assert writing.value == [{"model": AIR, "weight": 0.75, "transformer": transformer}]
            assert not writing.losses
        assert writing.losses == ()

    @pytest.mark.parametrize(
        ("entry", "fields"),
        [
            (Entry("a", on=False), ["on"]),
            (Entry("a", model=0.0), ["model"]),
            (Entry("a", model=50.0, on=False), ["on"]),
            (Entry(AIR, clip=0.5), ["clip"]),
            (Entry(AIR, clip=0.75), []),
            (Entry(AIR, model=0.0, clip=0.5), ["clip"]),
            (Entry(AIR, blocks={"in": 1.0}), ["blocks"]),
            (Entry(AIR, schedule="0:0, 1:1", conditioning="positive"), ["schedule", "conditioning"]),
            (Entry(AIR, air=AIR + "+3"), ["air"]),
            (Entry(AIR, extra={"transformer": "up", "x": 1}), ["transformer", "x"]),
            (Entry(AIR, extra={"transformer": ["high"]}), ["transformer"]),
            (Entry(AIR, expert="low", extra={"transformer": "high"}), ["transformer"]),
        ],
    )
    def test_losses(self, entry: Entry, fields: list[str]) -> None:
        losses = runware.write(Stack((Entry(AIR), entry))).losses
        assert [loss.field for loss in losses] == fields
        assert all(loss.row == 2 and str(loss).startswith(f"row 2, {loss.field}: ") for loss in losses)

    def test_a_loss_of_the_stack(self) -> None:
        (loss,) = runware.write(Stack(extra={"a\nb": 1})).losses
        assert str(loss) == "'a\\nb': Runware has no such field; it is left out"

    @pytest.mark.parametrize("weight", [4.0000001, -4.5, 100.0])
    def test_never_clamps(self, weight: float) -> None:
        with pytest.raises(DialectError, match=r"row 2: .*-4 … 4") as caught:
            runware.write(Stack((Entry(AIR), Entry(AIR, model=weight))))
        assert caught.value.row == 2

    @pytest.mark.parametrize(
        ("entry", "reason"),
        [
            (Entry("styles/pixel.safetensors"), "has no AIR"),
            (Entry("pixel", air="120096"), "not an AIR"),
            (Entry("pixel", air=""), "not an AIR"),
            (Entry("pixel", air="civitai:120096"), "names no version"),
        ],
    )
    def test_a_row_without_an_air_is_an_error(self, entry: Entry, reason: str) -> None:
        with pytest.raises(DialectError, match=reason) as caught:
            runware.write(Stack((Entry(AIR), Entry(AIR), entry)))
        assert caught.value.row == 3

    def test_names_when_allowed(self) -> None:
        stack = Stack((Entry("styles/pixel.safetensors"), Entry("b", air=AIR)))
        writing = runware.write(stack, allow_names=True)
        assert [row["model"] for row in writing.value] == ["styles/pixel.safetensors", AIR]
        assert runware.read(writing.value).stack.entries[0] == Entry("styles/pixel.safetensors")

    def test_refuses_a_stack_out_of_range(self) -> None:
        with pytest.raises(StackError, match="row 1"):
            runware.write(Stack((Entry(AIR, model=math.nan),)))


AIRS = st.builds(
    "{}:{}@{}".format, st.sampled_from(["civitai", "runware", "my-org"]), *[st.text("ab19-.", min_size=1)] * 2
)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(lambda air, w: Entry(air, model=w, air=air), AIRS, st.floats(-4, 4).filter(bool)), max_size=5
    ).map(lambda entries: Stack(tuple(entries)))
)
def test_round_trip(stack: Stack) -> None:
    writing = runware.write(stack)
    assert writing.losses == ()
    assert runware.read(writing.value).stack == stack
    assert runware.read(writing.text).stack == stack
    assert parse_stack(writing.text) == stack
