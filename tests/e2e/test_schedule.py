"""Schedules in the page and in the queue: the LoRA Schedule's picture, the example, runs after other runs."""

from __future__ import annotations

import json
import re
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from support.pictures import pixels, saved

from lorchestra.demo.prompt import SAVE_NODE, STACK_NODE, demo_prompt

EXAMPLE = Path(__file__).parents[2] / "example_workflows/lora_schedule.json"
KIND, STACK = "LorchestraLoraSchedule", "LorchestraLoraStack"
WARM, LINES = "lorchestra-demo/warm.safetensors", "lorchestra-demo/lines.safetensors"
SAMPLER_NODE = "6"


def shown(face: Any) -> list[int]:
    """Width and height of the picture on the LoRA Schedule; empty without one."""
    return face.page.evaluate(
        """(kind) => {
            const node = app.graph.nodes.find((node) => node.type === kind);
            const image = node.imgs?.[0] ?? document.querySelector(`[data-node-id="${node.id}"] img`);
            return image?.naturalWidth ? [image.naturalWidth, image.naturalHeight] : [];
        }""",
        KIND,
    )


def test_the_picture_is_on_the_node_and_the_preset_changes_it(face: Any) -> None:
    face.add(KIND)
    assert shown(face) == []
    (output,) = face.queue().values()
    assert output["text"] == ["0:0, 1:1"]
    face.wait_for(lambda: shown(face) == [480, 220])
    result = face.page.get_by_label("The schedule in words")
    assert result.input_value() == "0:0, 1:1"
    face.page.wait_for_timeout(500)
    face.screenshot("schedule-after-run")
    face.set_widget(KIND, "preset", "bell")
    (again,) = face.queue().values()
    assert again["images"] != output["images"]
    face.wait_for(lambda: result.input_value() == "0:0 cosine, 0.5:1 cosine, 1:0")
    face.wait_for(lambda: shown(face) == [480, 220])


def test_a_run_without_a_picture_leaves_none_on_the_node(face: Any) -> None:
    face.add(KIND)
    face.queue()
    face.wait_for(lambda: shown(face) == [480, 220])
    face.set_widget(KIND, "text", "sigma 14.6:0, 7:1")
    (output,) = face.queue().values()
    assert output["images"] == []
    face.wait_for(lambda: shown(face) == [])
    assert "connect sigmas" in face.page.get_by_label("The schedule in words").input_value()
    face.page.wait_for_timeout(500)  # a few frames, in which it could come back
    assert shown(face) == []


def test_text_that_means_nothing_marks_the_node(face: Any) -> None:
    face.add(KIND)
    face.set_widget(KIND, "text", "0:0, 1:x")
    ((error,),) = face.refused().values()
    assert error["details"] == "text - column 8: expected a weight such as 0.7, found 'x'"
    assert face.marked() == [KIND]


def test_the_example_cross_fades(face: Any) -> None:
    face.load(EXAMPLE)
    assert face.marked() == []
    assert face.page.evaluate("app.graph.nodes.every((node) => node.type in LiteGraph.registered_node_types)")
    assert not face.page.get_by_text("Missing Node", exact=False).is_visible()
    assert [row["schedule"] for row in face.rows()] == ["0:1 cosine, 1:0", "0:0 cosine, 1:1"]
    for name in ("width", "height"):
        face.set_widget("EmptyLatentImage", name, 64)
    face.set_widget("KSampler", "steps", 4)
    face.set_widget("KSampler", "seed", 2 if face.renderer == "nodes2" else 1)  # so that nothing is kept from before
    outputs = face.queue()
    face.wait_for(lambda: shown(face) == [480, 220])
    first, layers, lines, warm = face.page.get_by_label("Report of the last run").input_value().splitlines()
    assert first.startswith("Live") and layers.endswith("layers live, 0 without effect.")
    assert lines.startswith(f"{LINES}: weight 0.8 × schedule 0:1 cosine, 1:0 * 0:0 ease, 0.2:1; all ")
    assert warm.startswith(f"{WARM}: weight 0.8 × schedule 0:0 cosine, 1:1 * 0:0 ease, 0.2:1; text encoder constant")
    with_schedules = pixels(face.server, saved(outputs))
    face.screenshot("schedule-example")
    if face.renderer == "nodes2":
        return  # what is drawn does not depend on the renderer, and drawing takes long
    rows = [{key: row[key] for key in ("lora", "model")} for row in face.rows()]
    face.set_widget(STACK, "loras", json.dumps({"version": 1, "loras": rows}))
    face.page.evaluate(
        """(kind) => {
            const stack = app.graph.nodes.find((node) => node.type === kind);
            stack.disconnectInput(stack.inputs.findIndex((input) => input.name === 'schedule'));
        }""",
        STACK,
    )
    outputs = face.queue()
    assert "schedule" not in face.page.get_by_label("Report of the last run").input_value()
    assert pixels(face.server, saved(outputs)) != with_schedules


class Runs:
    """Prompts that are posted one after the other. None finds a picture that is kept from an earlier one."""

    def __init__(self, server: Any) -> None:
        self.server = server

    def queue(self, *schedules: str, steps: int = 4) -> str:
        """Queues a picture of both LoRAs with these schedules, or without LoRAs; returns the prompt's id."""
        number = str(uuid.uuid4())
        pairs = zip((WARM, LINES), schedules, strict=False)
        rows = [{"lora": lora, "model": 1, "clip": 0, "schedule": text} for lora, text in pairs]
        # What is not known makes it another input of the node, and the same stack.
        loras = {"version": 1, "loras": rows, "run": number}
        prompt = demo_prompt(loras, steps=steps, width=64, height=64)
        self.server.post("/prompt", {"prompt": prompt, "prompt_id": number, "client_id": number})
        return number

    def wait(self, number: str) -> dict[str, Any]:
        """The entry of a prompt in the history, when it has ended."""
        for _ in range(6000):
            entry = self.server.get(f"/history/{number}").get(number)
            if entry is not None:
                return entry
            time.sleep(0.05)
        raise AssertionError(f"the prompt never ended; the log ends with\n{self.server.log_text()[-2000:]}")

    def picture(self, number: str) -> bytes:
        """The picture of a prompt, which was sampled for it."""
        entry = self.wait(number)
        assert entry["status"]["status_str"] == "success", entry["status"]
        messages = entry["status"]["messages"]
        kept = {node for kind, data in messages if kind == "execution_cached" for node in data["nodes"]}
        assert not kept & {STACK_NODE, SAMPLER_NODE}
        return pixels(self.server, entry["outputs"][SAVE_NODE])


FADE, BACK = ("0:1, 1:0", "0:0, 1:1"), ("0:0, 1:1", "step 1-2:1.5")


@pytest.fixture(scope="module")
def alone(server: Any) -> dict[tuple[str, ...], bytes]:
    """The pictures of prompts that nothing else runs beside, by their schedules."""
    runs = Runs(server)
    pictures = {schedules: runs.picture(runs.queue(*schedules)) for schedules in ((), FADE, BACK)}
    assert len(set(pictures.values())) == 3
    return pictures


def test_prompts_queued_at_once_do_not_disturb_each_other(server: Any, alone: dict[tuple[str, ...], bytes]) -> None:
    runs = Runs(server)
    order = (FADE, BACK, FADE, ())
    queued = [runs.queue(*schedules) for schedules in order]
    assert [runs.picture(number) for number in queued] == [alone[schedules] for schedules in order]


def test_a_prompt_after_an_interrupt_is_right(server: Any, alone: dict[tuple[str, ...], bytes]) -> None:
    runs = Runs(server)
    before, steps = len(server.log_text()), 5000
    long = runs.queue("0:2, 1:1", "0:2 cosine, 1:0", steps=steps)
    after = [runs.queue(*FADE), runs.queue()]
    for _ in range(6000):
        if re.search(rf" [1-9]\d*/{steps} \[", server.log_text()[before:]):
            break
        time.sleep(0.02)
    server.post("/interrupt", {})
    entry = runs.wait(long)
    assert any(kind == "execution_interrupted" for kind, _ in entry["status"]["messages"])
    assert entry["outputs"].get(SAVE_NODE) is None
    assert f" {steps // 2}/{steps} [" not in server.log_text()[before:]
    assert [runs.picture(number) for number in after] == [alone[FADE], alone[()]]
