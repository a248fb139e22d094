"""The LoRA Schedule node: text and presets in, a schedule and its picture out."""

from __future__ import annotations

import asyncio
import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import execution
import folder_paths
import pytest
import torch
from PIL import Image
from support.models import load_unet

import nodes
from lorchestra.demo.loras import layers, write_lora

pytestmark = pytest.mark.oldest


@pytest.fixture
def module(pack: ModuleType) -> ModuleType:
    """The module of the node, of the pack as ComfyUI imports it."""
    return importlib.import_module(f"{pack.__name__}.nodes.schedule")


@pytest.fixture
def node(module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The node class; pictures go to a folder that is not there yet."""
    monkeypatch.setattr(folder_paths, "get_temp_directory", lambda: str(tmp_path / "temp"))
    return module.LoraSchedule


def picture(out: Any) -> Path:
    (image,) = out.ui["images"]
    assert (image["type"], image["subfolder"]) == ("temp", "")
    return Path(folder_paths.get_temp_directory(), image["filename"])


def test_text_in_and_schedule_out(node: Any) -> None:
    out = node.execute("from text", " 0:0,30%:1 ease ,1:0.2\n")
    schedule, text = out.args
    assert text == schedule.to_text() == "0:0, 0.3:1 ease, 1:0.2"
    assert schedule.at(1) == 0.2
    assert out.ui["text"] == [text]


def test_every_preset_is_its_schedule(module: ModuleType, node: Any) -> None:
    preset = node.define_schema().inputs[0]
    assert list(preset.options) == list(module.CHOICES)
    for name in module.CHOICES[1:]:
        schedule, text = node.execute(name, "this text is not read", steps=4).args
        assert text == node.execute("from text", name).args[1]
        assert schedule.at(0.0 if not schedule.needs_steps else module._steps(4, None).at_step(1)) in (0, 1)


def test_the_picture_is_drawn_and_named_by_its_content(node: Any) -> None:
    first = picture(node.execute("bell", "", steps=8))
    with Image.open(first) as image:
        assert image.format == "PNG"
        assert image.size == (480, 220)
        assert not image.text  # no workflow in it
        assert len(image.getcolors(1 << 16)) > 10
    assert picture(node.execute("bell", "", steps=8)) == first
    others = {picture(node.execute("bell", "", steps=9)), picture(node.execute("valley", "", steps=8))}
    assert len(others | {first}) == 3
    assert {path.suffix for path in first.parent.iterdir()} == {".png"}


def test_sigmas_are_the_run_of_the_picture(node: Any) -> None:
    sigmas = torch.tensor([14.6, 7.0, 2.0, 0.0])
    drawn = [picture(node.execute("fade-in", "", steps=20, sigmas=run)) for run in (None, sigmas, sigmas[[0, 3]])]
    assert len(set(drawn)) == 3
    assert picture(node.execute("fade-in", "", steps=20, sigmas=torch.tensor([]))) == drawn[0]


def test_the_curve_on_the_node_gets_the_sigmas_of_the_run(node: Any) -> None:
    assert node.execute("fade-in", "", sigmas=torch.tensor([4.0, 2.0, 0.5])).ui["sigmas"] == [4.0, 2.0, 0.5]
    assert "sigmas" not in node.execute("fade-in", "").ui


def test_a_schedule_by_sigma_is_drawn_where_the_sigmas_are_known(node: Any) -> None:
    out = node.execute("from text", "sigma 7:0, 2:1")
    assert out.ui["images"] == []
    assert out.ui["text"][0].splitlines()[1] == "The schedule goes by sigma: connect sigmas to see it drawn."
    out = node.execute("from text", "sigma 7:0, 2:1", sigmas=torch.tensor([14.6, 7.0, 0.0]))
    assert picture(out).exists()
    assert out.ui["text"] == ["sigma 7:0, 2:1"]


def test_keyframes_that_the_run_never_reaches_are_told(node: Any) -> None:
    out = node.execute("from text", "step 1:0, 30:1", steps=20)
    assert "step 30 is never reached: the run has 20 steps" in out.ui["text"][0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0:0, 1:x", "column 8: expected a weight"),
        ("0.5:1, 0.2:0", "column 8: 0.2 after 0.5 goes backwards"),
        ("0-0.5:1, 0.4-1:1", "column 10: the range begins before"),
        ("0:nan", "column 3: expected a weight"),
        ("", "column 1: the schedule is empty"),
        ("slowly", "column 1: "),
        (", ".join(f"{number / 10_000}:1" for number in range(10_000)), "keyframes"),
    ],
)
def test_bad_text_is_told_with_its_column(node: Any, text: str, sentence: str) -> None:
    assert sentence in node.validate_inputs(text)
    assert node.validate_inputs(text, preset="bell") is True
    with pytest.raises(Exception, match="column"):
        node.execute("from text", text)


def test_what_is_linked_is_checked_when_it_is_known(node: Any) -> None:
    assert node.validate_inputs() is True
    assert node.validate_inputs(None, preset="from text") is True
    assert "preset is 'swing'; expected one of from text, constant" in node.validate_inputs("0:0", preset="swing")


@pytest.mark.parametrize("sigmas", [[1.0, math.nan], [-1.0, 0.0], [math.inf, 0.0]])
def test_sigmas_that_are_none(node: Any, sigmas: list[float]) -> None:
    with pytest.raises(Exception, match="sigma"):
        node.execute("bell", "", sigmas=torch.tensor(sigmas))


def test_comfyui_stops_the_prompt_once(node: Any, pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence for one mistake, and the node runs on its own."""
    monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, "LorchestraLoraSchedule", node)
    remember = importlib.import_module(f"{pack.__name__}.nodes.host.prompt").remember

    async def validate(**inputs: Any) -> Any:
        graph = {"1": {"class_type": "LorchestraLoraSchedule", "inputs": {"steps": 20, **inputs}}}
        request = remember({"prompt": graph, "prompt_id": "5f0c8a4e-0000-4000-8000-000000000000"})
        return await execution.validate_prompt(request["prompt_id"], graph, None)

    valid, _, _, errors = asyncio.run(validate(preset="from text", text="0:0, 1:x"))
    assert not valid
    assert [error["details"].partition(" - ")[2] for error in errors["1"]["errors"]] == [
        "column 8: expected a weight such as 0.7, found 'x'"
    ]
    assert asyncio.run(validate(preset="bell", text="0:0, 1:x"))[0]
    assert asyncio.run(validate(preset="from text", text="0:0, 1:1"))[0]


def test_the_socket_takes_a_schedule_and_its_forms(pack: ModuleType, node: Any) -> None:
    sockets = importlib.import_module(f"{pack.__name__}.nodes.sockets")
    schedule = node.execute("fade-in", "").args[0]
    assert sockets.find_schedule(None) is None
    assert sockets.find_schedule(schedule) is schedule
    assert sockets.find_schedule("0:0, 1:1") == schedule == sockets.find_schedule(schedule.to_json())
    with pytest.raises(Exception, match="a schedule is text, a number"):
        sockets.find_schedule(object())


def test_the_check_reads_rows_that_have_schedules(check_node: Any, loras: Path) -> None:
    write_lora(loras / "a.safetensors", layers("*attn1.to_q"), seed=1)
    rows = [{"lora": "a.safetensors", "model": 0.5, "schedule": "fade-in", "conditioning": "positive"}]
    out = check_node.execute(model=load_unet(torch.float16), lora_stack=rows).args
    assert out[1].startswith("a.safetensors: weight 0.5 × schedule 0:0, 1:1 on the positive conditioning; all ")
    assert out[3][0].entry.schedule == "fade-in"
