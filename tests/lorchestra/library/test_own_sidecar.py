"""The sidecar that Lorchestra writes: what goes into it, what it leaves alone, and that it is read before others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorchestra.errors import CheckpointError, LorchestraError
from lorchestra.library.own_sidecar import SidecarError, own_path, read_changes, write_own
from lorchestra.library.sidecars import read_sidecars


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return tmp_path / "pixel.v1.safetensors"


def read(lora: Path) -> Any:
    return json.loads(own_path(lora).read_text(encoding="utf-8"))


def test_it_is_written_step_by_step_and_keeps_what_is_not_known(lora: Path) -> None:
    own_path(lora).write_text('{"version": 9, "later": [1], "notes": "old"}')
    write_own(lora, read_changes({"trigger_words": [" ünï ", "b", "b", ""], "weight": 1}))
    write_own(lora, read_changes({"favourite": False, "notes": None}))
    assert own_path(lora).name == "pixel.v1.lorchestra.json"
    words = {"trigger_words": ["ünï", "b"], "weight": 1.0, "favourite": False}
    assert read(lora) == {"version": 1, "later": [1], **words}
    found = read_sidecars(lora)
    assert (found.triggers, found.weight, found.favourite, found.notes) == (("ünï", "b"), 1.0, False, None)


def test_it_comes_before_all_others_and_changes_none(lora: Path) -> None:
    other = lora.with_name("pixel.v1.metadata.json")
    said = {"trainedWords": ["theirs"], "notes": "theirs", "usage_tips": {"strength": 0.3}, "favorite": True}
    other.write_text(json.dumps(said))
    write_own(lora, read_changes({"trigger_words": ["mine"], "favourite": False, "notes": ""}))
    found = read_sidecars(lora)
    assert (found.triggers, found.favourite, found.notes, found.weight) == (("mine",), False, "theirs", 0.3)
    assert json.loads(other.read_text()) == said
    assert found.sources == ("pixel.v1.lorchestra.json", "pixel.v1.metadata.json")


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"title": "x"}, {"weight": True}, {"weight": "1"}, {"weight": float("nan")}, {"weight": 101}, {"notes": 3},
        {"notes": "x" * 20_001}, {"trigger_words": "a"}, {"trigger_words": [1]}, {"trigger_words": ["x" * 401]},
        {"trigger_words": [str(n) for n in range(65)]}, {"favourite": 1},
    ],
)  # fmt: skip
def test_what_cannot_be_written(changes: dict[str, object]) -> None:
    with pytest.raises(LorchestraError):
        read_changes(changes)


@pytest.mark.parametrize("data", [b"{", b"[]", b"\xff", b"x" * 200_001])
def test_what_is_not_ours_is_left_alone(lora: Path, data: bytes) -> None:
    own_path(lora).write_bytes(data)
    with pytest.raises(SidecarError):
        write_own(lora, {"favourite": True})
    assert own_path(lora).read_bytes() == data


def test_where_nothing_can_be_written(lora: Path, tmp_path: Path) -> None:
    own_path(lora).mkdir()
    with pytest.raises((SidecarError, CheckpointError)):
        write_own(lora, {"favourite": True})
    with pytest.raises(CheckpointError):
        write_own(tmp_path / "gone" / "a.safetensors", {"favourite": True})
    assert list(tmp_path.iterdir()) == [own_path(lora)]
