"""What the list reads, without a widget: `js/values/stack.mjs` against the forms that Python reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorchestra.errors import StackError
from lorchestra.exchange import parse_stack

READ = """async ([folder, text]) => {
    const { inWords, readStack } = await import(`/extensions/${folder}/values/stack.mjs`);
    return inWords(readStack(text));
}"""
REWRITE = """async ([folder, text, lora]) => {
    const { readStack, writeStack } = await import(`/extensions/${folder}/values/stack.mjs`);
    const stack = readStack(text);
    return writeStack(stack, [...stack.rows, ...(lora ? [{lora, model: 2}] : [])]);
}"""
PROMPT = """async ([folder, text]) => {
    const { promptText } = await import(`/extensions/${folder}/values/stack.mjs`);
    return promptText(text);
}"""

GOOD = [
    ("", "No LoRAs"),
    ('{"loras": []}', "No LoRAs"),
    ('{"version": 1, "loras": [{"lora": "a", "on": false}, {"lora": "b"}]}', "2 LoRAs, 1 off"),
    ('{"version": 2, "loras": [{"lora": "a"}]}', "1 LoRA, written by a newer version (2)"),
    ('[{"model": "civitai:1@2", "weight": 0.7}]', "1 LoRA"),
    ('{"lora": [{"model": "civitai:1@2"}], "taskType": "imageInference"}', "1 LoRA"),
    ('{"loras": [{"model": "pixel", "transformer": "high", "note": 1}]}', "1 LoRA"),
    ('[["a", 1, 0.5], ["b", 1, 1]]', "2 LoRAs"),
    ('[{"lora": "a", "on": true, "strength": 0.3, "strengthTwo": 0.2}]', "1 LoRA"),
    ('"{\\"loras\\": [{\\"lora\\": \\"a\\"}]}"', "1 LoRA"),
    ('{"__value__": [{"lora": "a"}]}', "1 LoRA"),
    ("<lora:a:0.7>, <lyco:b>", "2 LoRAs"),
    ("<lora:a:0.5:0.6:8>", "1 LoRA"),
    ("<lora:a:te=1:unet=0.5>", "1 LoRA"),
    (
        '{"version": 3, "mine": {"x": [1, {}]}, "loras": [{"lora": "a \\" [ ] { } ,", "clip": null,'
        ' "blocks": {"m": 0.5}, "schedule": "0:0, 1:1", "expert": "low", "later": [1]}]}',
        "1 LoRA, written by a newer version (3)",
    ),
]
BAD = [
    ("<lora:a:seven>", "Row 1: the weight seven is no number in -100 to 100."),
    ("<lora:a:what=1>", "Row 1: the option what is not known."),
    ("<lora:a> by the sea", "There is more than <lora:name:weight> tags here: by the sea"),
    ("hello", "This is neither JSON nor <lora:name:weight> text."),
    ('{"loras": [', "This is not JSON: "),
    ('{"loras": 3}', 'This is JSON without a list of "loras".'),
    ('{"version": "x", "loras": []}', 'The version "x" is none.'),
    ("[3]", "Row 1: expected a JSON object."),
    ('{"loras": [{"lora": "a"}, {"model": 1}]}', "Row 2: no LoRA is named."),
    ('{"loras": [{"lora": "a", "model": 101}]}', 'Row 1: the weight "model" is no number in -100 to 100.'),
    ('{"loras": [{"lora": "a", "weight": 1}]}', 'Row 1: the weights are called "model" and "clip".'),
    ('{"loras": [{"lora": "a", "on": 1}]}', 'Row 1: "on" is neither true nor false.'),
    ('{"loras": [{"lora": "a", "expert": "none"}]}', 'Row 1: "expert" is none of both, high, low.'),
]


@pytest.mark.parametrize(("text", "words"), GOOD)
def test_what_python_reads_is_read_and_written_as_the_same_stack(
    opened: Any, pack_folder: str, text: str, words: str
) -> None:
    assert opened.page.evaluate(READ, [pack_folder, text]) == words
    written = opened.page.evaluate(REWRITE, [pack_folder, text, ""])
    assert parse_stack(written) == parse_stack(text)
    longer = parse_stack(opened.page.evaluate(REWRITE, [pack_folder, text, "new"]))
    assert longer.entries[-1].triple == ("new", 2, 2)
    assert longer.entries[:-1] == parse_stack(text).entries


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_python_refuses_is_said_in_words(opened: Any, pack_folder: str, text: str, words: str) -> None:
    assert opened.page.evaluate(READ, [pack_folder, text]).startswith(words)
    assert opened.page.evaluate(PROMPT, [pack_folder, text]) == text
    with pytest.raises(StackError):
        parse_stack(text)


def test_only_rows_that_are_on_enter_the_prompt(opened: Any, pack_folder: str) -> None:
    on, off = {"lora": "a", "model": 1, "later": 2}, {"lora": "b", "on": False, "model": 3}
    text = json.dumps({"version": 1, "loras": [on, off], "mine": 1, "collapsed": True})
    prompt = opened.page.evaluate(PROMPT, [pack_folder, text])
    assert json.loads(prompt) == {"version": 1, "loras": [on], "mine": 1}
    other = text.replace('"model": 3', '"model": 4')
    assert opened.page.evaluate(PROMPT, [pack_folder, other]) == prompt
    all_on = json.dumps({"loras": [on]}, indent=3)
    assert opened.page.evaluate(PROMPT, [pack_folder, all_on]) == all_on


def test_a_row_is_a_line_of_the_text(opened: Any, pack_folder: str) -> None:
    text = '{"x": [1], "loras": [{"lora": "a", "model": 2, "y": {"b": 0}}]}'
    assert opened.page.evaluate(REWRITE, [pack_folder, text, "new"]) == (
        '{"version": 1, "loras": [\n  {"lora": "a", "model": 2, "y": {"b": 0}},\n'
        '  {"lora": "new", "model": 2}\n], "x": [1]}'
    )
