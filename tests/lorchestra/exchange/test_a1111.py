"""`<lora:…>` tags mean what AUTOMATIC1111 takes them for, and what a tag cannot hold is reported or refused."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorchestra.errors import DialectError, StackError
from lorchestra.exchange import Place, Reading, a1111, parse_stack, read_any, read_stack
from lorchestra.limits import MAX_ROWS
from lorchestra.schedule import Steps
from lorchestra.stack import Entry, Stack


class TestRead:
    @pytest.mark.parametrize(
        ("tag", "model", "clip"),
        [
            ("<lora:a>", 1.0, None),
            ("<lyco:a>", 1.0, None),
            ("<lora:a:0.7>", 0.7, None),
            ("<lora:a:.5>", 0.5, None),
            ("<lora:a:1.>", 1.0, None),
            ("<lora:a:+1e-3>", 0.001, None),
            ("<lora:a: -0.7 >", -0.7, None),
            ("<lora:a:0.3:0.7>", 0.7, 0.3),
            ("<lora:a:0.7:0.7>", 0.7, None),
            ("<lora:a:te=0.3>", 0.3, None),
            ("<lora:a:unet=0.7>", 0.7, 1.0),
            ("<lora:a:te=0.3:unet=0.7>", 0.7, 0.3),
            ("<lora:a:unet=0.7:te=0.3>", 0.7, 0.3),
            ("<lora:a:0.3:unet=0.7>", 0.7, 0.3),
            ("<lora:a:0.9:0.8:te=0.3:unet=0.7>", 0.7, 0.3),
            ("<lora:a:100:-100>", -100.0, 100.0),
            ("<lora:a:0>", 0.0, None),
        ],
    )
    def test_weights(self, tag: str, model: float, clip: float | None) -> None:
        expected = Stack((Entry("a", model=model, clip=clip),))
        assert a1111.read_tags(tag) == expected
        assert a1111.read(f"a cat, {tag}, night").stack == expected

    @pytest.mark.parametrize(
        ("tag", "model", "clip"),
        [
            ("<lora:a:0.7>", 0.7, None),
            ("<lora:a:0.7:0.3>", 0.7, 0.3),
            ("<lora:a:te=0.3:unet=0.7>", 0.7, 0.3),
            ("<lora:a:te=0.3>", 1.0, 0.3),
            ("<lora:a>", 1.0, None),
        ],
    )
    def test_model_first(self, tag: str, model: float, clip: float | None) -> None:
        expected = Stack((Entry("a", model=model, clip=clip),))
        assert a1111.read(tag, order="model-first").stack == a1111.read_tags(tag, order="model-first") == expected

    @pytest.mark.parametrize("tag", ["<lora:a:1:1:64>", "<lora:a:dyn=64>", "<lora:a:1:dyn= 64>"])
    def test_dyn_is_kept(self, tag: str) -> None:
        stack = a1111.read_tags(tag)
        assert stack == Stack((Entry("a", model=1.0, extra={"dyn": 64}),))
        assert a1111.write(stack).text == "<lora:a:1:dyn=64>"
        assert a1111.write(stack).losses == ()

    def test_names(self) -> None:
        text = "<lora:a b (v1.0)>,<lora:ärger,2:1>\n<lora:folder/x:1><lora:a:1>"
        assert [entry.lora for entry in a1111.read_tags(text).entries] == ["a b (v1.0)", "ärger,2", "folder/x", "a"]

    def test_the_rest_of_the_prompt_is_one_loss(self) -> None:
        reading = a1111.read("a <b> cat, <lora:a:0.5>, (night:1.2)\n<lora:b> <hypernet:c:1>")
        assert [entry.lora for entry in reading.stack.entries] == ["a", "b"]
        (loss,) = reading.losses
        assert (loss.row, loss.field) == (None, "prompt")
        assert "a <b> cat" in loss.reason and "(night:1.2)" in loss.reason and "<hypernet:c:1>" in loss.reason
        assert "\n" not in str(loss)

    def test_no_tags(self) -> None:
        assert a1111.read_tags(" ,\n") == a1111.read("").stack == Stack()
        assert a1111.read(" , ").losses == ()
        assert a1111.read("a cat").stack == Stack()

    def test_an_unknown_option_is_a_loss(self) -> None:
        reading = a1111.read("<lora:b><lora:a:0.5:lbwe=ATTNDEEPOFF>")
        assert reading.stack.entries[1] == Entry("a", model=0.5)
        assert [(loss.row, loss.field) for loss in reading.losses] == [(2, "lbwe")]
        with pytest.raises(StackError, match=r"row 2: .*'lbwe'"):
            a1111.read_tags("<lora:b><lora:a:0.5:lbwe=ATTNDEEPOFF>")

    @pytest.mark.parametrize(
        "tag",
        [
            "<lora:>",
            "<lora: >",
            "<lora::1>",
            "<lora:a:>",
            "<lora:a:x>",
            "<lora:a:1:x>",
            "<lora:a:te=>",
            "<lora:a:unet=x>",
            "<lora:a:nan>",
            "<lora:a:inf>",
            "<lora:a:-Infinity>",
            "<lora:a:1e999>",
            "<lora:a:100.5>",
            "<lora:a:te=-101>",
            "<lora:a:1_0>",
            "<lora:a:١>",
            "<lora:a:0,5>",
            "<lora:a:0x1>",
            "<lora:a:1:1:64:1>",
            "<lora:a:1:1:x>",
            "<lora:a:dyn=0>",
            "<lora:a:dyn=1.5>",
            "<lora:a:dyn=99999999999>",
        ],
    )
    def test_malformed_tags_are_quoted_with_the_row(self, tag: str) -> None:
        """One that reads only tags refuses; one that reads prompts leaves out what it cannot read, and says where."""
        for read in (a1111.read_tags, parse_stack):
            with pytest.raises(StackError) as caught:
                read(f"<lora:good:1>, {tag}")
            assert caught.value.row == 2
            assert repr(tag) in str(caught.value)
        for read in (a1111.read, read_stack):
            reading = read(f"<lora:good:1>, {tag}")
            assert reading.stack.entries[0] == Entry("good", model=1.0)
            assert {loss.place for loss in reading.losses} == {Place(1, 16)}
            assert repr(tag) in reading.losses[0].reason
            assert [loss.row for loss in reading.losses] == [None if len(reading.stack.entries) == 1 else 2]

    def test_names_of_bad_shape(self) -> None:
        for inside in ("a\nb", "a\0", "a" * 1025, "\ud800"):
            with pytest.raises(StackError) as caught:
                a1111.read_tags(f"<lora:good><lora:{inside}>")
            assert caught.value.row == 2
            reading = a1111.read(f"<lora:good><lora:{inside}><lora:fine>")
            assert [entry.lora for entry in reading.stack.entries] == ["good", "fine"]
            (loss,) = reading.losses
            assert (loss.row, loss.place) == (None, Place(1, 12)) and "\n" not in str(loss)

    @pytest.mark.parametrize("text", ["<lora:a:1", "<lora:good:1> <lora:a<lora:b:1>", "<lora:a\nand more text"])
    def test_unclosed_tags(self, text: str) -> None:
        with pytest.raises(StackError, match="not closed"):
            a1111.read_tags(text)
        reading = a1111.read(text)
        assert [entry.lora for entry in reading.stack.entries] == [
            name for name in ("good", "b") if f":{name}:" in text
        ]
        (loss,) = (loss for loss in reading.losses if loss.field != "prompt")
        assert "not closed" in loss.reason and loss.place == Place(1, 15 if "good" in text else 1)

    @pytest.mark.parametrize(
        "text", ["a cat <lora:a:1>", "<lora:a:1> and", "<lora:a:1>; <lora:b:1>", "[<lora:a:1>:0.3]"]
    )
    def test_strict_reading_quotes_the_rest(self, text: str) -> None:
        with pytest.raises(StackError, match="import the text as a prompt"):
            a1111.read_tags(text)

    def test_bounds(self) -> None:
        assert len(a1111.read("<lora:a>" * MAX_ROWS).stack.entries) == MAX_ROWS
        with pytest.raises(StackError) as caught:
            a1111.read("<lora:a>" * (MAX_ROWS + 1))
        assert caught.value.row == MAX_ROWS + 1
        with pytest.raises(StackError, match="characters"):
            a1111.read("x" * 4_000_001)
        with pytest.raises(DialectError, match="not None"):
            a1111.read(None)
        with pytest.raises(DialectError, match="te-first, model-first"):
            a1111.read("", order="a1111")

    @settings(deadline=None)
    @given(st.text("<lora:ab 1.-=,\n>", max_size=40), st.sampled_from(a1111.ORDERS))
    def test_nothing_else_is_ever_raised(self, text: str, order: str) -> None:
        try:
            stack = a1111.read(text, order=order).stack
        except StackError as error:
            assert error.reason
        else:
            assert parse_stack(stack.to_text()) == stack


ODD = (
    "<lora:good:0.7> <lora:a:0,8> <lora:b:.8:>\n<lora:o:1.0:5-15> <lora:x:0.375:ALL>, <lora:l:1:lbw=IN02>"
    r" \<lora:e:1\> \<lora:f:1> <lora:y> <lyco:z:0.5> <lora:cut:0."
)


class TestOdd:
    """What can be read of a prompt is read; what is lost has its place."""

    @pytest.mark.parametrize(
        ("text", "rows", "lost"),
        [
            ("<lora:g:0.7> <lora:a:0,8>", {"g": 0.7}, [(None, "tag", 1, 14)]),
            ("<lora:a:.8:>", {"a": 0.8}, [(1, "weight", 1, 1)]),
            ("<lora:a:>", {"a": 1.0}, [(1, "weight", 1, 1)]),
            ("<lora:g:1>\n <lora:o:1.0:5-15>", {"g": 1.0, "o": 1.0}, [(2, "5-15", 2, 2)]),
            ("<lora:x:0.375:MINE>", {"x": 0.375}, [(1, "MINE", 1, 1)]),
            ("<lora:x:0.5:ROUT:0.7>", {"x": 0.5}, [(1, "ROUT", 1, 1), (1, "0.7", 1, 1)]),
            ("<lora:x:1:0,0,1,0,0,0,0,0>", {"x": 1.0}, [(1, "0,0,1,0,0,0,0,0", 1, 1)]),
            ("<lora:x:lbw=>", {"x": 1.0}, [(1, "lbw", 1, 1)]),
            ("<lora:x:0.5:lbw=1,0.5,0:lbwe=ATTNON>", {"x": 0.5}, [(1, "lbw", 1, 1), (1, "lbwe", 1, 1)]),
            ("<lora:x:0.5:hr=1>", {"x": 0.5}, [(1, "hr", 1, 1)]),
            (r"<lora:g> \<lora:a:1\>", {"g": 1.0}, [(None, "tag", 1, 10)]),
            ("<lora:x>", {"x": 1.0}, []),
            ("<lyco:x:0.5><loractl:y:0.25> <LoRA:z:2>", {"x": 0.5, "y": 0.25, "z": 2.0}, []),
            ("<hypernet:h:1> <lora:x:2>", {"x": 2.0}, [(None, "prompt", 0, 0)]),
            ("＜lora：a：０．７＞ <lora:b：c:0.5>", {"a": 0.7, "b：c": 0.5}, []),
            ("&lt;lora:a:0.7&gt; &lt;lora:b &amp; c&gt;", {"a": 0.7, "b &amp; c": 1.0}, []),
            ("<lora:civitai:1@2:0.7>", {"civitai:1@2": 0.7}, []),
            ("<lora:urn:air:sdxl:lora:civitai:1@2>", {"urn:air:sdxl:lora:civitai:1@2": 1.0}, []),
            (r"<lora:C:\x\a:0.8> <lora:foo: bar:0.8><lora:g>", {"g": 1.0}, [(None, "tag", 1, 1), (None, "tag", 1, 19)]),
            ("<lora:a:1> <lora:b:0.5", {"a": 1.0}, [(None, "tag", 1, 12)]),
            ("<lora:a:1> <lora:", {"a": 1.0}, [(None, "tag", 1, 12)]),
            ("<lora:a:1> <lora", {"a": 1.0}, [(None, "prompt", 0, 0)]),
            ("<lora:a<lora:b:0.5>>", {"b": 0.5}, [(None, "tag", 1, 1), (None, "prompt", 0, 0)]),
            ("<random:<lora:a>|x>, <lora:c>", {"c": 1.0}, [(None, "tag", 1, 9), (None, "prompt", 0, 0)]),
            ("<alternate:<lora:a>,<lora:b>>", {}, [(None, "tag", 1, 12), (None, "tag", 1, 21), (None, "prompt", 0, 0)]),
            ("<segment:face> <lora:a>", {"a": 1.0}, [(1, "section", 1, 16), (None, "prompt", 0, 0)]),
            ("<video> <lora:a> <base> <lora:b>", {"a": 1.0, "b": 1.0}, [(1, "section", 1, 9), (None, "prompt", 0, 0)]),
        ],
    )  # fmt: skip
    def test_rows_and_losses(
        self, text: str, rows: dict[str, float], lost: list[tuple[int | None, str, int, int]]
    ) -> None:
        reading = read_any(text)
        assert {entry.lora: entry.model for entry in reading.stack.entries} == rows
        assert all(entry.on and entry.clip is None and entry.schedule is None for entry in reading.stack.entries)
        places = [
            (loss.row, loss.field, loss.place.line, loss.place.column) if loss.place else (loss.row, loss.field, 0, 0)
            for loss in reading.losses
        ]
        assert places == lost

    def test_all_at_once(self) -> None:
        reading = read_any(ODD)
        assert [(entry.lora, entry.model) for entry in reading.stack.entries] == [
            ("good", 0.7), ("b", 0.8), ("o", 1.0), ("x", 0.375), ("l", 1.0), ("y", 1.0), ("z", 0.5),
        ]  # fmt: skip
        said = "\n".join(map(str, reading.losses))
        for part in ("'<lora:a:0,8>'", "5-15", "lbw", "<lora:e", "<lora:f", "<lora:cut:0."):
            assert part in said
        assert "line 2, column 1, 5-15" in said and "line 1, column 17, tag" in said

    def test_not_too_many_losses(self) -> None:
        reading = read_any("<lora:a>" + "<lora:a:x>" * 1500)
        assert len(reading.stack.entries) == 1 and len(reading.losses) == a1111.MOST_LOSSES + 1
        assert "1300 more" in reading.losses[-1].reason

    def test_the_node_reads_tags_and_no_prompts(self) -> None:
        reading = read_stack("<lora:g:1> <lora:a:0,8>, [<lora:b:1>::0.5]")
        assert [entry.lora for entry in reading.stack.entries] == ["g", "b"]
        assert [loss.field for loss in reading.losses] == ["tag", "clip"]
        assert read_stack("[<lora:b:1>::0.5]").stack.entries == reading.stack.entries[1:]
        with pytest.raises(StackError, match="import the text as a prompt"):
            read_stack("a cat <lora:g:1>")
        assert read_stack('{"loras": [{"lora": "a"}]}') == Reading(Stack((Entry("a"),)))


def weights(entry: Entry, places: Sequence[float | int]) -> list[float]:
    """The row's weight at these places: shares of a run of 20 steps, or the starts of steps, from 1."""
    run, schedule = Steps(20), entry.find_schedule()
    moments = [run.at_step(place) if isinstance(place, int) else run.at_progress(place) for place in places]
    return [entry.model * (schedule.at(moment) if schedule else 1) for moment in moments]


class TestOverTheSteps:
    """Weights over the steps that stand in tags and around them become schedules, exactly."""

    @pytest.mark.parametrize(
        ("text", "places", "rows"),
        [
            ("<lora:x:1.0@0.0,0.5@0.5>", (0.0, 0.25, 0.5, 1.0), {"x": (1, [1, 0.75, 0.5, 0.5])}),
            ("<lora:x:0.5:0@0,1@1>", (0.0, 0.5, 1.0), {"x": (0.5, [0, 0.5, 1])}),
            ("<lora:x:te=0.2@0,1@1:unet=0.7>", (0.0, 1.0), {"x": (0.2, [0.7, 0.7])}),
            ("<loractl:x:0@5,1@6>", (1, 6, 7, 20), {"x": (0, [0, 0, 1, 1])}),
            ("<lora:x:0.5@0.3>", (0.0, 1.0), {"x": (0.5, [0.5, 0.5])}),
            ("[<lora:a:0.9>:<lora:a:1.0>:0.2]", (0.0, 0.19, 0.2, 1.0), {"a": (1, [0.9, 0.9, 1, 1])}),
            ("[<lora:a:0.5:0.6>::0.5]", (0.0, 0.49, 0.5, 1.0), {"a": (0.6, [0.5, 0.5, 0, 0])}),
            ("[<lora:a>:0.3]", (0.0, 0.3), {"a": (1, [0, 1])}),
            ("[<lora:a:1>:<lora:b:0.5>:0.25]", (0.0, 0.25), {"a": (1, [1, 0]), "b": (0.5, [0, 0.5])}),
            ("[<lora:a:1>:0.2,0.6]", (0.1, 0.2, 0.59, 0.6), {"a": (1, [0, 1, 1, 0])}),
            ("[<lora:a:1>:<lora:a:2>:<lora:a:3>:0.2,0.6]", (0.1, 0.2, 0.6), {"a": (3, [1, 2, 3])}),
            ("[SEQ:<lora:a:.2>:0.1:<lora:a:1>:0.5]", (0.0, 0.1, 0.5), {"a": (1, [0.2, 1, 0])}),
            ("[<lora:a>|<lora:b>:0.25]", (0.0, 0.25, 0.5, 0.75), {"a": (1, [1, 0, 1, 0]), "b": (1, [0, 1, 0, 1])}),
            ("[<lora:a:1>::10]", (1, 10, 11, 20), {"a": (1, [1, 1, 0, 0])}),
            ("[[<lora:a:1>::0.5]:0.2]", (0.1, 0.2, 0.49, 0.5), {"a": (1, [0, 1, 1, 0])}),
            ("[[<lora:a:1>:<lora:a:2>:0.5]:<lora:a:4>:0.7]", (0.4, 0.5, 0.7), {"a": (1, [1, 2, 4])}),
            ("<fromto[2]:<lora:a>,>", (1, 2, 3, 20), {"a": (1, [1, 1, 0, 0])}),
            ("<fromto[2]:,<lora:a:0.5>>", (1, 2, 3, 20), {"a": (0.5, [0, 0, 0.5, 0.5])}),
            ("<fromto[1]:<lora:a>,>", (1, 2), {"a": (1, [1, 0])}),
            ("<fromto[2.5]:<lora:a>,>", (3, 4), {"a": (1, [1, 0])}),
            ("<fromto[0.5]:<lora:a:1>|<lora:b:0.5:0.2>>", (0.49, 0.5), {"a": (1, [1, 0]), "b": (0.2, [0, 0.5])}),
            ("<fromto[0.5]:<lora:a:0.9>||<lora:a:0.4>>", (0.0, 0.5), {"a": (0.9, [0.9, 0.4])}),
            ("<fromto[3]:<lora:a:0.9>,<lora:a:0.4>>", (3, 4), {"a": (0.9, [0.9, 0.4])}),
            ("[<fromto[3]:<lora:a:1>,>::0.1]", (1, 2, 3, 4), {"a": (1, [1, 1, 0, 0])}),
            ("[<lora:a:1@0,0.5@1>::0.5]", (0.0, 0.25, 0.5), {"a": (1, [1, 0.875, 0])}),
            ("<lora:a:1:lbw=ALL:stop=10>", (1, 9, 10), {"a": (1, [1, 1, 0])}),
            ("<lora:a:0.5:start=3>", (1, 2, 3, 20), {"a": (0.5, [0, 0, 0.5, 0.5])}),
            ("<lora:a:step=5-15>", (4, 5, 14, 15), {"a": (1, [0, 1, 1, 0])}),
        ],
    )  # fmt: skip
    def test_weights(self, text: str, places: tuple[float, ...], rows: dict[str, tuple[float, list[float]]]) -> None:
        """(clip weight, model weights) of each LoRA; one row for each."""
        stack = read_any(f"a cat, {text}, night").stack
        assert [entry.lora for entry in stack.entries] == list(rows)
        for entry, (clip, expected) in zip(stack.entries, rows.values(), strict=True):
            assert weights(entry, places) == pytest.approx(expected, abs=1e-12)
            assert entry.clip_weight == clip
        assert parse_stack(stack.to_text()) == stack

    def test_what_no_schedule_says_is_lost(self) -> None:
        for text, part in (
            ("[<lora:a:1>:<lora:b:1>:HR]", "HR is a tag"),
            ("[<lora:a:1>:( :0.5]", "never closed"),
            ("[<lora:a:1>:<lora:b:1>:-0.5]", "not a position"),
            ("[<lora:a:1>:0.6,0.2]", "backwards"),
            ("[<lora:a:1>:<lora:b:1>:0]", "at no moment"),
            ("<fromto[x]:<lora:a:1>,>", "fromto"),
            ("<fromto[2]:<lora:a:1>,b,c>", "fromto"),
            ("<fromto:<lora:a:1>,>", "fromto"),
            ("<lora:a:1@0,x@1>", "over the steps"),
            ("<lora:a:101@0>", "over the steps"),
        ):
            reading = read_any(f"{text} <lora:good>")
            assert "good" in [entry.lora for entry in reading.stack.entries]
            assert "a" not in [entry.lora for entry in reading.stack.entries]
            assert any(part in loss.reason and loss.place for loss in reading.losses), text

    def test_brackets_that_are_words(self) -> None:
        """A1111's [weaker] brackets, and brackets that never close, switch nothing."""
        for text in (
            "[<lora:a:0.5>]",
            "[<lora:a:0.5>, cat:dog]",
            "[ <lora:a:0.5> :0.3",
            "(<lora:a:0.5>:1.2)",
            r"\[<lora:a:0.5>:0.3\]",
        ):
            (entry,) = read_any(text).stack.entries
            assert entry == Entry("a", model=0.5)

    def test_the_model_comes_first_where_brackets_switch(self) -> None:
        reading = read_any("<lora:a:0.3:0.7> [<lora:b:0.5:0.6>::0.5]")
        assert [(entry.model, entry.clip) for entry in reading.stack.entries] == [(0.3, 0.7), (0.5, 0.6)]
        assert [(loss.row, loss.field) for loss in reading.losses] == [(1, "order"), (2, "clip")]

    def test_products_are_rows_of_their_own(self) -> None:
        """What takes turns by steps and by shares at once cannot be one curve; two rows add up."""
        stack = read_any("[<fromto[3]:<lora:a:1>,<lora:a:2>>::0.5]").stack
        sums = [sum(pair) for pair in zip(*(weights(entry, (1, 4, 11)) for entry in stack.entries), strict=True)]
        assert len(stack.entries) == 2 and sums == [1, 2, 0]


class TestWrite:
    @pytest.mark.parametrize(
        ("entry", "tag"),
        [
            (Entry("pixel.safetensors", model=0.7), "<lora:pixel:0.7>"),
            (Entry("pixel.safetensors", model=0.7, clip=0.7), "<lora:pixel:0.7>"),
            (Entry("pixel.safetensors", model=0.7, clip=0.3), "<lora:pixel:te=0.3:unet=0.7>"),
            (Entry("pixel", model=1.0), "<lora:pixel:1>"),
            (Entry("pixel", model=-100.0, clip=0.0), "<lora:pixel:te=0:unet=-100>"),
            (Entry("pixel.v1.0.SafeTensors", model=1.0), "<lora:pixel.v1.0:1>"),
            (Entry("pixel.v1", model=1.0), "<lora:pixel.v1:1>"),
            (Entry("a b, (c).pt", model=1.0), "<lora:a b, (c):1>"),
            (Entry("a", model=0.1 + 0.2), "<lora:a:0.30000000000000004>"),
            (Entry("a", model=1e-7), "<lora:a:1e-07>"),
        ],
    )
    def test_tags(self, entry: Entry, tag: str) -> None:
        writing = a1111.write(Stack((entry,)))
        assert writing.text == writing.value == tag
        assert writing.losses == ()

    def test_several(self) -> None:
        assert a1111.write(Stack((Entry("b", model=1.0), Entry("a", model=0.5)))).text == "<lora:b:1> <lora:a:0.5>"
        assert a1111.write(Stack()).text == ""

    @pytest.mark.parametrize(
        ("entry", "fields"),
        [
            (Entry("a:b", on=False), ["on"]),
            (Entry("a", model=0.0), ["model"]),
            (Entry("styles/pixel.safetensors"), ["lora"]),
            (Entry("styles\\sub\\pixel.safetensors"), ["lora"]),
            (Entry("a", air="civitai:1@2", sha256="0" * 64), ["air", "sha256"]),
            (Entry("a", blocks={"in": 0.5}, schedule="0:1"), ["blocks", "schedule"]),
            (Entry("a", conditioning="negative", expert="high", schedule=" "), ["conditioning", "expert"]),
            (Entry("a", extra={"dyn": 0.5, "x": 1}), ["dyn", "x"]),
        ],
    )
    def test_losses(self, entry: Entry, fields: list[str]) -> None:
        losses = a1111.write(Stack((Entry("good"), entry))).losses
        assert [loss.field for loss in losses] == fields
        assert all(loss.row == 2 and "\n" not in str(loss) for loss in losses)

    @pytest.mark.parametrize(
        ("name", "sign"),
        [
            ("a:b", ":"),
            ("a<b", "<"),
            ("a>b.safetensors", ">"),
            ("a=b", "="),
            (".safetensors", "no name"),
            ("x/", "no name"),
        ],
    )
    def test_names_that_no_tag_can_hold(self, name: str, sign: str) -> None:
        with pytest.raises(DialectError, match=sign) as caught:
            a1111.write(Stack((Entry("good"), Entry(name))))
        assert caught.value.row == 2

    def test_an_air_is_no_file(self) -> None:
        with pytest.raises(DialectError, match="row 1: 'civitai:1@2' is an AIR"):
            a1111.write(Stack((Entry("civitai:1@2", air="civitai:1@2"),)))

    def test_two_files_of_one_name(self) -> None:
        rows = (Entry("a/x.safetensors"), Entry("y"), Entry("b/x.safetensors"))
        with pytest.raises(DialectError, match=r"row 3: .*row 1") as caught:
            a1111.write(Stack(rows))
        assert caught.value.row == 3
        assert a1111.write(Stack((rows[0], Entry("b/x.safetensors", on=False)))).text == "<lora:x:0.75>"
        same = tuple(Entry(name, sha256="a" * 64) for name in ("a/x.safetensors", "b/x.safetensors"))
        assert a1111.write(Stack(same)).text == "<lora:x:0.75> <lora:x:0.75>"

    def test_one_file_twice(self) -> None:
        """AUTOMATIC1111 holds one network object a name, so the last tag's weight counts for both."""
        assert a1111.write(Stack((Entry("x"), Entry("x")))).losses == ()
        (loss,) = a1111.write(Stack((Entry("x"), Entry("x", model=0.5)))).losses
        assert (loss.row, loss.field) == (2, "model")

    def test_refuses_a_stack_out_of_range(self) -> None:
        with pytest.raises(StackError, match="row 1"):
            a1111.write(Stack((Entry("a", model=math.inf),)))


WEIGHTS = st.floats(-100, 100)


@settings(deadline=None)
@given(
    st.lists(
        st.builds(
            lambda name, model, clip: Entry(name, model=model, clip=None if clip == model else clip),
            st.text(
                st.characters(min_codepoint=33, exclude_categories=["Cs"], exclude_characters=":<>=/\\."), min_size=1
            ),
            WEIGHTS,
            st.none() | WEIGHTS,
        ).filter(lambda entry: entry.active and bool(entry.lora.strip())),
        max_size=5,
        unique_by=lambda entry: entry.lora,
    ).map(lambda entries: Stack(tuple(entries)))
)
def test_round_trip(stack: Stack) -> None:
    writing = a1111.write(stack)
    assert writing.losses == ()
    assert a1111.read(writing.text).stack == a1111.read_tags(writing.text) == parse_stack(writing.text) == stack
    assert a1111.read(writing.text, order="model-first").stack == stack
