"""Large JSON read and written in steps: the values of `json`, its errors, and bounded like the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import JsonError
from lorchestra.files import json_steps
from lorchestra.files.json_text import read_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


@pytest.fixture(autouse=True, params=[1 << 16, 16])
def step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in steps so small that each string is read in several."""
    monkeypatch.setattr(json_steps, "STEP", request.param)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_the_same_values_as_json(indent: int | None, ascii_only: bool) -> None:
    @given(values)
    def check(value: Any) -> None:
        text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
        assert json_steps.read(text, "it", 10_000) == json.loads(text)
        assert json.loads(json_steps.write(value)) == json.loads(json.dumps(value))

    check()


@given(st.text(st.sampled_from('{}[]",:\\u dD83E0123456789abtrue\n\x00\ud83d\udeff-+.eE'), max_size=60))
def test_what_json_refuses_is_refused(text: str) -> None:
    def found(read: Any) -> Any:
        try:
            return repr(read(text))
        except ValueError:
            return ValueError

    assert found(lambda text: json_steps.read(text, "it", 10_000)) == found(json.loads)


@pytest.mark.parametrize("text", ["\\ud83d\\ude00" * 9, "\\ud83d" * 9, "a\\ud83d\\u0061\\ude00", "\\/" * 40])
def test_escapes_stay_whole(text: str) -> None:
    for start in range(16):
        whole = '"' + "x" * start + text + '"'
        assert json_steps.read(whole, "it", 9) == json.loads(whole)


def test_bounds_hold_for_large_texts() -> None:
    padding = " " * 400_000
    for text, said in (
        (padding + "[" * 200 + "]" * 200, "nested too deeply"),
        (padding + "[" * 100_000, "nested too deeply"),
        (padding + "[" + "1," * 1000 + "1]", "more than 1,000 values"),
        (padding + "{", "not JSON"),
        (padding + '"', "not JSON"),
        (padding + "1" * 10_000, "not JSON"),
        ('"' + "x" * 400_000 + "\\x" + '"', "not JSON"),
    ):
        with pytest.raises(JsonError, match=said):
            read_json(text.encode(), values=1000, in_steps=True)
    assert (
        read_json(b"\xef\xbb\xbf" + ('"' + "ü" * 700_000 + '"').encode(), size=2_000_000, in_steps=True)
        == "ü" * 700_000
    )
    with pytest.raises(JsonError, match="not UTF-8"):
        read_json(b'"' + b"x" * 1_100_000 + b'\xff"', size=2_000_000, in_steps=True)
