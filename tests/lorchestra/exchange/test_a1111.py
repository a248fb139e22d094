"""`<lora:…>` tags mean what AUTOMATIC1111 takes them for, and what a tag cannot hold is reported or refused."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorchestra.errors import DialectError, StackError
from lorchestra.exchange import a1111, parse_stack
from lorchestra.limits import MAX_ROWS
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
        reading = a1111.read("<lora:b><lora:a:0.5:lbw=MIDD>")
        assert reading.stack.entries[1] == Entry("a", model=0.5)
        assert [(loss.row, loss.field) for loss in reading.losses] == [(2, "lbw")]
        with pytest.raises(StackError, match=r"row 2: .*'lbw'"):
            a1111.read_tags("<lora:b><lora:a:0.5:lbw=MIDD>")

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
        for read in (a1111.read_tags, a1111.read, parse_stack):
            with pytest.raises(StackError) as caught:
                read(f"<lora:good:1>, {tag}")
            assert caught.value.row == 2
            assert repr(tag) in str(caught.value)

    def test_names_of_bad_shape(self) -> None:
        for inside in ("a\nb", "a\0", "a" * 1025, "\ud800"):
            with pytest.raises(StackError) as caught:
                a1111.read(f"<lora:good><lora:{inside}>")
            assert caught.value.row == 2

    @pytest.mark.parametrize("text", ["<lora:a:1", "<lora:good:1> <lora:a<lora:b:1>", "<lora:a\nand more text"])
    def test_unclosed_tags(self, text: str) -> None:
        for read in (a1111.read_tags, a1111.read):
            with pytest.raises(StackError, match="not closed"):
                read(text)

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
