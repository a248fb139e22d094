"""Facts that have one home: what drifted apart once must not do so again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.sparse_files import base_shapes, lora_shapes, write_sparse

import lorchestra.files.header
import lorchestra.schedule.product
from lorchestra.apply.plan import make_plan
from lorchestra.choices import IGNORE, Choices
from lorchestra.cli import main
from lorchestra.exchange import DIALECTS, FORMS, parse_stack, read_any, suffix, write_any
from lorchestra.fit.badge import look
from lorchestra.fit.rows import Files, Located
from lorchestra.library.card import read_details
from lorchestra.lora.cache import open_lora
from lorchestra.lora.examined import read_examined
from lorchestra.models.base import Base, base_by_name, read_base_model
from lorchestra.models.experts import PATTERNS, find_expert
from lorchestra.stack import Entry, Stack

RGTHREE = {"lora_1": {"on": True, "lora": "a.safetensors", "strength": 0.5, "strengthTwo": None}}
LORA_MANAGER = [{"name": "a", "strength": 0.5, "active": True, "clipStrength": 0.25}]


@pytest.mark.parametrize("request_", [RGTHREE, LORA_MANAGER], ids=["rgthree", "lora-manager"])
def test_the_shell_imports_what_the_node_reads(
    request_: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps(request_)
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["import", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == read_any(text).stack.to_json()
    assert [entry.model for entry in read_any(text).stack.entries] == [0.5]


def test_every_form_is_written_by_one_writer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack = Stack((Entry("a.safetensors", model=0.5, air="civitai:1@2", sha256="a" * 64),))
    path = tmp_path / "stack.json"
    path.write_text(stack.to_text(), encoding="utf-8")
    assert (*(dialect.id for dialect in DIALECTS), "json", "schema") == FORMS
    for form in FORMS:
        assert main(["export", str(path), "--to", form]) == 0
        assert capsys.readouterr().out.rstrip("\n") == write_any(stack, form).text.rstrip("\n")
    assert len({suffix(form) for form in FORMS}) == len(FORMS)


def test_one_entry_that_stands_twice_has_two_outcomes(tmp_path: Path) -> None:
    """Other packs concatenate LORA_STACK lists, so that the very same entry comes twice."""
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    entry = Entry(str(broken), model=1.0)
    files = Files(lambda entry, _: Located(entry.lora), open_lora)
    plan = make_plan(Stack((entry, entry)), files, Base("none", {}), Choices(policy=IGNORE))
    assert [(item.row, item.verdict) for item in plan.outcomes] == [(1, "broken"), (2, "broken")]


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.example)
def test_high_and_low_noise_are_told_by_one_rule(tmp_path: Path, pattern: Any) -> None:
    wan = lora_shapes("wan21_t2v_14b", "blocks.*attn.*")
    for folders in ("", "loras/video/"):
        path = tmp_path / folders / f"{pattern.example}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sparse(path, wan)
        told = [warning for warning in read_examined(path).warnings if "-noise model" in warning]
        assert told == [f"by its name: for the {find_expert(pattern.example)}-noise model of a pair such as Wan 2.2"]


def test_the_folder_tells_the_file_and_its_row_alike(tmp_path: Path) -> None:
    path = tmp_path / "low" / "loras" / "HighNoise" / "style.safetensors"
    path.parent.mkdir(parents=True)
    write_sparse(path, lora_shapes("wan21_t2v_14b", "blocks.*attn.*"))
    assert find_expert("HighNoise/style.safetensors") == "high"
    assert any("for the high-noise model" in warning for warning in read_examined(path).warnings)


def test_a_name_means_nothing_for_models_that_do_not_come_as_a_pair(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "style_high_noise.safetensors", lora_shapes("sdxl", "*attn?.to_*"))
    assert not any("noise" in warning for warning in read_examined(path).warnings)


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    calls: list[Any] = []
    original: Callable[..., Any] = getattr(module, name)
    monkeypatch.setattr(module, name, lambda value: calls.append(value) or original(value))
    return calls


def test_a_header_is_read_once_for_a_card_and_once_for_a_badge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_sparse(tmp_path / "a.safetensors", lora_shapes("sdxl", "*attn?.to_*")))
    base = read_base_model(write_sparse(tmp_path / "sdxl.ckpt.safetensors", base_shapes("sdxl")))
    opened = counted(monkeypatch, lorchestra.files.header, "open_regular")
    assert read_details(path)["modules"] > 100
    assert opened == [path]
    opened.clear()
    assert look("a", path, open_lora, base).state == "fits"
    assert opened == [path]


def test_the_schedule_of_a_row_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_by_name("sdxl")
    assert base
    path = write_sparse(tmp_path / "a.safetensors", lora_shapes("sdxl", "*attn?.to_*"))
    parsed = counted(monkeypatch, lorchestra.schedule.product, "read_text")
    stack = parse_stack(json.dumps({"loras": [{"lora": str(path), "model": 0.5, "schedule": "0:0, 1:1"}]}))
    plan = make_plan(stack.joined(Stack()), Files(lambda entry, _: Located(entry.lora), open_lora), base, Choices())
    assert not plan.is_constant and "schedule 0:0, 1:1" in plan.outcomes[0].sentence
    assert parsed == ["0:0, 1:1"]
