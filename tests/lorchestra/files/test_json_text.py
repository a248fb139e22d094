"""JSON from anybody: what is sound is read as `json.loads` reads it, what is too large costs nothing."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorchestra.errors import JsonError
from lorchestra.files.json_text import read_json
from lorchestra.limits import MAX_NESTING, MAX_TEXT, MAX_VALUES

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), lambda inner: st.lists(inner)
    | st.dictionaries(st.text(), inner), max_leaves=20,
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(VALUES)
def test_sound_json_is_read(value: object) -> None:
    text = json.dumps(value)
    assert read_json(text) == read_json(text.encode()) == value
    assert read_json(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=True).encode()) == value


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the body is not JSON"),
        ("[1, 2", "the body is not JSON"),
        ("[" + "1" * 5000 + "]", "the body is not JSON"),
        (b"\xff\xfe[\x00]\x00", "the body is not UTF-8 text at byte 0"),
        ('"ä"'.encode("latin-1"), "the body is not UTF-8 text at byte 1"),
        ("[" * 101 + "]" * 101, "nested too deeply: more than 100 levels"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested too deeply: more than 100 levels"),
        ("[" * 150_000, "nested too deeply: more than 100 levels"),
        ("[" + "0," * MAX_VALUES + "0]", "more than 200,000 values"),
        ("[" + '"",' * MAX_VALUES + "0]", "more than 200,000 values"),
        (',"' * 500_000, "more than 200,000 values"),
        (" " * (MAX_TEXT + 1), "4,000,001 characters; at most 4,000,000 are read"),
        (b" " * (MAX_TEXT + 1), "4,000,001 bytes; at most 4,000,000 are read"),
    ],
)
def test_the_rest_is_one_sentence(text: str | bytes, part: str) -> None:
    with pytest.raises(JsonError, match=part) as caught:
        read_json(text, "the body")
    assert len(str(caught.value)) < 200


def test_signs_inside_of_texts_do_not_count() -> None:
    for text in ("," * 500_000, "[{" * 500_000, '"' * 300_000, "\\" * 300_001, '\\"' * 100_000):
        assert read_json(json.dumps([text, [text]])) == [text, [text]]
    most = [0] * (MAX_VALUES - 1)
    assert read_json(json.dumps(most)) == most
    deep = "[" * MAX_NESTING + "0" + "]" * MAX_NESTING
    assert read_json(deep) == json.loads(deep)


@pytest.mark.parametrize("piece", ["[],", '"",', '{"":0},', "0,", '"\\"",'])
def test_what_is_too_large_is_not_built(piece: str) -> None:
    """30 MB of empty lists would be 700 MB of objects."""
    body = b"[" + piece.encode() * (30_000_000 // len(piece)) + b"0]"
    tracemalloc.start()
    try:
        with pytest.raises(JsonError, match="more than 1,000,000 values"):
            read_json(body, size=32_000_000, values=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(body)
    finally:
        tracemalloc.stop()
