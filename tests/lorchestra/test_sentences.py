"""Sentences are their English text, and keep the parts that they were made of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.sparse_files import lora_shapes, write_sparse

from lorchestra.errors import LorchestraError, NotALora, StackError
from lorchestra.fit.outcome import check_file, report_lines
from lorchestra.fit.rows import missing_error
from lorchestra.lora.examined import read_examined
from lorchestra.models.base import base_by_name
from lorchestra.sentences import Sentence, all_of, any_of, as_json, lines, say, together, with_parts
from lorchestra.stack import Entry

LOCALES = Path(__file__).parents[2] / "locales"


def in_language(said: Any, language: str) -> str:
    """As the face says it."""
    words = json.loads((LOCALES / language / "main.json").read_text(encoding="utf-8"))["lorchestraSentences"]

    def told(said: Any) -> str:
        if isinstance(said, str):
            return said
        text = words[said["key"]]
        for name, value in said["values"].items():
            text = text.replace(f"{{{name}}}", told(value))
        return text

    return told(said)


def test_a_sentence_is_its_text() -> None:
    sentence = say("{count} of {total} modules", count=3, total=8)
    assert sentence == "3 of 8 modules"
    assert f"{sentence}." == "3 of 8 modules."
    assert json.dumps(sentence) == '"3 of 8 modules"'
    assert sentence.to_json() == {"key": "{count} of {total} modules", "values": {"count": "3", "total": "8"}}


def test_what_is_filled_in_is_not_filled_in_again() -> None:
    sentence = say("{lora} was not found", lora="{lora} {about}")
    assert sentence == "{lora} {about} was not found"
    assert say('expected {"loras": [...]}, not {value}', value=1) == 'expected {"loras": [...]}, not 1'
    with pytest.raises(KeyError):
        say("{count} rows")


def test_sentences_in_sentences_keep_their_parts() -> None:
    inner = say("{lora} was not found", lora="a")
    assert say("row {row}: {reason}", row=2, reason=inner).to_json() == {
        "key": "row {row}: {reason}",
        "values": {"row": "2", "reason": {"key": "{lora} was not found", "values": {"lora": "a"}}},
    }
    assert with_parts({"sentence": inner, "plain": "a"}) == {
        "sentence": "a was not found",
        "plain": "a",
        "said": {"sentence": inner.to_json()},
    }
    assert with_parts({"plain": "a"}) == {"plain": "a"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (any_of(["a"]), "a"),
        (any_of(["a", "b", "c"]), "a or b or c"),
        (all_of(["a", "b"]), "a and b"),
        (together(["a", "", "b"]), "a; b"),
        (together([]), ""),
        (lines(["a", "b"]), "a\nb"),
    ],
)
def test_texts_are_joined(text: str, expected: str) -> None:
    assert text == expected


def test_errors_keep_the_parts() -> None:
    error = StackError(say("the row names no LoRA"), 3)
    assert str(error) == "row 3: the row names no LoRA"
    assert in_language(as_json(error.sentence), "ja") == "行 3：行に LoRA の名前がありません"
    assert as_json(LorchestraError("plain").sentence) == "plain"
    other = NotALora("x.safetensors", say("this is {kind}, not a LoRA", kind=say("a VAE")), say("Switch this row off."))
    assert in_language(as_json(other.reason), "zh") == "这是 VAE，不是 LoRA。请关闭此行。"


def plain_parts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    else:
        for value in said["values"].values():
            yield from plain_parts(value)


def test_the_checker_s_sentences_are_whole(tmp_path: Path) -> None:
    """Nothing in them is left in English but names and numbers."""
    path = write_sparse(tmp_path / "flux.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
    base = base_by_name("sdxl")
    assert base is not None
    found = check_file(read_examined(path), base)
    assert isinstance(found.sentence, Sentence)
    said = as_json(found.sentence)
    assert all(" " not in part or part.startswith(("lora_", "FLUX", "SDXL")) for part in plain_parts(said)), said
    assert in_language(said, "zh").startswith("用于 FLUX.1")
    assert "このモデルは SDXL です" in in_language(said, "ja")
    (line,) = report_lines([found])
    assert in_language(as_json(line), "zh").endswith("请选择用于 SDXL 的 LoRA。")


def test_missing_files_are_told_in_every_language() -> None:
    rows = [(1, Entry("a.safetensors")), (2, Entry("b.safetensors"))]
    said = as_json(missing_error(rows).sentence)
    assert in_language(said, "zh").splitlines()[1:] == [
        "第 1 行：未找到 a.safetensors",
        "第 2 行：未找到 b.safetensors",
    ]
    assert in_language(as_json(missing_error(rows[:1]).sentence), "ja").startswith(
        "行 1：a.safetensors が見つかりません。"
    )
