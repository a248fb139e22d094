"""No text takes for ever: the time of every parser grows as its text does, or the text is refused before it is read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.growth import MOST_RATIO, growth, seconds

from lorchestra.errors import LorchestraError
from lorchestra.exchange import parse_stack, read_any
from lorchestra.files.json_text import read_json
from lorchestra.library.plaintext import plain
from lorchestra.schedule import Schedule
from lorchestra.schedule.prompt_control import read as read_prompt_control

Text = Callable[[int], str]


def repeated(piece: str, before: str = "", after: str = "") -> Text:
    return lambda count: before + piece * count + after


def keyframes(count: int, seed: int = 0) -> str:
    return ", ".join(f"{index / count:.6f}:{index * 7 % 11 / 11 + seed / 9999:.4f}" for index in range(count))


SCHEDULES: dict[str, tuple[Text, int]] = {
    "loractl's signs": (repeated("@"), 2_500),
    "loractl's other signs": (repeated("~1@"), 1_250),
    "loractl's items": (repeated("1@0,"), 2_500),
    "factors": (repeated("1*"), 1_250),
    "presets": (repeated("bell*"), 500),
    "keyframes": (keyframes, 25),
    "commas": (repeated("0:0,"), 500),
    "digits": (repeated("1", "@0 ", "x"), 2_250),
    "digits of a position": (repeated("1", "", "x:1"), 2_250),
    "digits of a weight": (repeated("1", "0:", "x"), 2_250),
    "space": (repeated(" ", "0:1", "x"), 2_250),
    "space in words": (repeated("a ", "0:1 "), 1_125),
    "dashes in words": (repeated("a-", "0:1 ", "!"), 1_125),
    "a long name": (repeated("bell "), 475),
    "brackets": (repeated("["), 2_250),
    "closed brackets": (repeated("[]", "[<lora:a:1>", ":0.5]"), 1_125),
    "nested brackets": (repeated("[]", "[" * 18 + "<lora:a:1>", ":0.5]" * 18), 1_100),
    "turns": (repeated("[<lora:a:1>|<lora:b:1>:0.01]", "[", "]"), 75),
    "turns of nothing": (repeated("[a|b:0.01]", "[<lora:a:1>", ":0.5]"), 225),
    "nested turns": (repeated("[<lora:a:1>|", "", ":0.01]" * 20), 2),
    "tags": (repeated("<lora:a:1>", "[", ":0.5]"), 225),
    "tags of names": (lambda count: "[" + "".join(f"<lora:n{i}:1>" for i in range(count)) + ":0.5]", 175),
    "overlapping tags": (lambda count: "[" + "".join(f"[<lora:a:1>:0.{i:04}]" for i in range(count)) + "]", 100),
    "comments": (repeated("#\n", "[<lora:a:1>", ":0.5]"), 1_125),
    "open comments": (repeated("#", "[<lora:a:1>", ":0.5]"), 2_250),
    "open tags": (repeated("<lora:a", "[", ":0.5]"), 325),
    "parentheses": (repeated("(", "[<lora:a:1>", ":0.5]"), 2_250),
    "backslashes": (repeated("\\", "[<lora:a:1>", ":0.5]"), 2_250),
    "digits in brackets": (repeated("1", "[<lora:a:1>:", "x]"), 2_250),
    "digits of a range": (repeated("1", "[<lora:a:1>:0.1,", "x]"), 2_250),
    "space in brackets": (repeated(" ", "[<lora:a:1>:1", "x]"), 2_250),
}
PROMPTS: dict[str, tuple[Text, int]] = {
    "tags": (repeated("<lora:a:0.5>"), 25),
    "odd tags": (repeated("<lora:a:x>", "<lora:a>"), 375),
    "timed tags": (repeated("[<lora:a:1>::0.5]"), 25),
    "tags in one bracket": (repeated("<lora:a:1>", "[", ":0.5]"), 250),
    "names in one bracket": (lambda count: "[" + "".join(f"<lora:n{i}:1>" for i in range(count)) + ":0.5]", 22),
    "turns": (repeated("<lora:a:1>|", "[", ":0.01]"), 22),
    "turns in turns": (repeated("[<lora:a:1>|<lora:b:1>:0.01]", "[", ":0.5]"), 10),
    "loractl": (repeated("0.5@0.1,", "<lora:a:", "1@1>"), 22),
    "many loractl": (repeated("<lora:a:0.5@0.1,1@0.5>"), 22),
    "open tags": (repeated("<lora:a"), 375),
    "an open tag": (repeated("a", "<lora:"), 8_750),
    "colons": (repeated(":", "<lora:a", ">"), 8_750),
    "digits": (repeated("1", "<lora:a:", "x>"), 8_750),
    "digits and a point": (repeated("1", "<lora:a:1.", "e>"), 8_750),
    "options": (repeated("x=1:", "<lora:a:", ">"), 2_250),
    "equals": (repeated("=", "<lora:a:", ">"), 8_750),
    "ampersands": (repeated("&", "<lora:a", ">"), 8_750),
    "escapes": (repeated("\\", "<lora:a>"), 7_500),
    "escaped tags": (repeated("\\<lora:a>"), 375),
    "brackets": (repeated("[", "<lora:a>"), 475),
    "brackets that close nothing": (repeated("]", "<lora:a>"), 475),
    "pairs": (repeated("[]", "<lora:a>"), 225),
    "commas": (repeated(",", "<lora:a>"), 475),
    "pipes in a group": (repeated("|", "<fromto[2]:<lora:a>", ">"), 475),
    "groups": (repeated("<a:", "<lora:a>"), 475),
    "closed groups": (repeated("<a:>", "<lora:a>"), 225),
    "unfinished groups": (repeated("<a[", "<lora:a>"), 2_500),
    "space in tags": (repeated(" ", "<lora:a><", "lora:b>"), 8_750),
    "space in groups": (repeated("< a ", "<lora:a>"), 2_250),
    "lines": (repeated("\n", "<lora:a>", "<lora:b:x>"), 7_500),
    "words": (repeated("a cat, ", "<lora:a>"), 475),
}
JSON: dict[str, tuple[Text, int]] = {
    "lists": (repeated("[],", "[", "0]"), 15_000),
    "depth": (repeated("["), 15_000),
    "objects": (repeated('{"a":', "[", "0"), 9_000),
    "texts": (repeated('"",', "[", "0]"), 15_000),
    "quotes": (repeated('\\"', '["', '"]'), 50_000),
    "JSON in JSON": (lambda count: json.dumps(json.dumps("[" * count)), 20_000),
    "wrapped": (repeated('{"__value__":', "", "[]"), 9_000),
    "rows": (lambda count: json.dumps([{"lora": f"a{i}", "model": 0.5} for i in range(count)]), 100),
    "rows with unknown keys": (lambda count: json.dumps([{"lora": "a", "x": [{}] * 20} for _ in range(count)]), 100),
    "rows of rgthree": (lambda n: json.dumps({f"lora_{i}": {"lora": "a", "strength": 1} for i in range(n)}), 100),
    "rows of LoRA-Manager": (lambda count: json.dumps([{"name": "a", "strength": "1"}] * count), 100),
    "rows of Runware": (lambda count: json.dumps([{"model": f"civitai:1@{i}"} for i in range(count)]), 100),
    "tasks of Runware": (lambda count: json.dumps([{"taskType": "x", "lora": []}] * count), 1_000),
    "an AIR": (lambda count: json.dumps([{"model": "a:" * count}]), 50_000),
    "different schedules": (lambda n: json.dumps([{"lora": "a", "schedule": keyframes(90, i)} for i in range(n)]), 10),
    "equal schedules": (lambda n: json.dumps([{"lora": f"a{i}", "schedule": keyframes(200)} for i in range(n)]), 30),
    "schedules of rgthree's": (
        lambda n: json.dumps([{"lora": "a", "strength": 1, "schedule": keyframes(90, i)} for i in range(n)]), 10,
    ),
}  # fmt: skip
HTML = [
    "<a ",
    '<a "', "<a '", "<a =", "<a/", '<a b="', "<a b='", '<a b="">', '<a b=">', "<!--", "<!", "<?", "</",
    "<![CDATA[", "<p>",
    "<script>", "</script", "<script></script>", "<style><script>", "<svg>", "<svg></svg>", "<svg><math></title>",
    "&", "&#", "&#1", "&amp", "&amp;", "&#x1F600;", "<lora:a", "<", ">", "<a b= ", "<a\n", "<li><br/>", "= ", "-->",
]  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name: str) -> None:
    text, size = SCHEDULES[name]
    assert growth(Schedule.parse, text, size) <= MOST_RATIO


@pytest.mark.parametrize("name", ["closed brackets", "nested brackets", "turns", "tags of names", "overlapping tags"])
def test_prompt_control(name: str) -> None:
    text, size = SCHEDULES[name]
    assert growth(read_prompt_control, text, size) <= MOST_RATIO


@pytest.mark.parametrize("name", PROMPTS)
def test_prompts(name: str) -> None:
    text, size = PROMPTS[name]
    assert growth(read_any, text, size) <= MOST_RATIO


@pytest.mark.parametrize("name", JSON)
def test_json(name: str) -> None:
    text, size = JSON[name]
    for read in (read_any, parse_stack):
        assert growth(read, text, size) <= MOST_RATIO, read


@pytest.mark.parametrize("piece", HTML)
def test_html(piece: str) -> None:
    for before, after in (("<p>", ""), ("<p x='", ">")):
        assert growth(plain, repeated(piece, before, after), 800) <= MOST_RATIO, (before, after)


@pytest.mark.parametrize(
    ("work", "make"),
    [
        (Schedule.parse, lambda: "@" * 30_000),
        (Schedule.parse, lambda: "1*" * 50_000),
        (Schedule.parse, lambda: "[" * 18 + "<lora:a:1>" + "[]" * 45_000 + ":0.5]" * 18),
        (parse_stack, lambda: json.dumps([{"lora": f"a{i}", "schedule": keyframes(300, i)} for i in range(1000)])),
        (parse_stack, lambda: json.dumps([{"lora": f"a{i}", "schedule": keyframes(300)} for i in range(1000)])),
        (plain, lambda: "<p>" + "<a " * 13_333),
        (plain, lambda: "<p>" + '<a "' * 13_333),
        (plain, lambda: "<p>" + "<!--" * 13_333),
        (read_json, lambda: "[" + "[]," * 1_300_000 + "0]"),
    ],
    ids=["@", "1*", "[]", "rows", "equal rows", "<a", '<a "', "<!--", "[],"],
)  # fmt: skip
def test_what_took_for_ever(work: Callable[[str], object], make: Callable[[], str]) -> None:
    """Each of these took 7 to 31 seconds."""
    assert seconds(work, make()) < 0.5


def test_too_much_is_said() -> None:
    for text, part in (
        (json.dumps([{"lora": "a", "schedule": keyframes(300, i)} for i in range(99)]), "row 34: .*10,000 keyframes"),
        (json.dumps([{"lora": "a", "schedule": " " * (90_000 + i) + "1"} for i in range(9)]), "row 3: .*200,000 char"),
        (json.dumps([{"lora": "a", "schedule": "1*" * 100 + "1"}]), "row 1: .*at most 100 curves"),
        ("<lora:a>" + "[" * 60, "more than 50 deep"),
        ("<lora:a>" + ":" * 20_000, "more than 20,000 brackets"),
        ("<lora:a>" + "x" * 400_000, "400,008 characters; at most 400,000"),
    ):
        with pytest.raises(LorchestraError, match=part):
            read_any(text)
