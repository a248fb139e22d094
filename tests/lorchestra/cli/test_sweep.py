"""`lorchestra sweep`, against a service behind a plain HTTP server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.service import Caller, Door, working

from lorchestra.cli import main
from lorchestra.demo.prompt import demo_prompt
from lorchestra.service.backend import Failure, Made


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    """A service with a workflow `portrait`, whose jobs fail for a seed of 13 and make a grey picture otherwise."""
    output = tmp_path / "server/output"
    output.mkdir(parents=True)
    workflow = tmp_path / "workflow.json"
    workflow.write_text(json.dumps(demo_prompt([])))
    with Door(tmp_path / "server") as found:
        found.backend.names = ["styles/warm.safetensors", "styles/lines.safetensors", "other.safetensors"]

        def end(job: str) -> None:
            seed = found.backend.graphs[job]["6"]["inputs"]["seed"]
            Image.new("L", (16, 16), seed).save(output / f"{job}.png")
            failure = Failure("out of memory") if seed == 13 else None
            found.backend.finish(Made("8", "image", f"{job}.png"), failure=failure)

        assert main(["publish", str(workflow), "--name", "portrait", "--url", found.url]) == 0
        with working(found, end):
            yield found


def graphs(door: Door) -> list[Any]:
    return list(door.backend.graphs.values())


def test_a_sweep_saves_its_sheet_and_its_pictures(
    door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    words = ["steps=3", "--each", "seed=1..3", "--each", "cfg=2,4.5", "-o", str(sheet), "--pictures", str(tmp_path)]
    assert main(["sweep", "portrait", *words, "--url", door.url]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(sheet)
    inputs = [graph["6"]["inputs"] for graph in graphs(door)]
    assert [(one["seed"], one["cfg"]) for one in inputs] == [(s, c) for s in (1, 2, 3) for c in (2, 4.5)]
    assert {one["steps"] for one in inputs} == {3}
    with Image.open(sheet) as picture:
        assert json.loads(picture.info["lorchestra_batch"])["workflow"] == "portrait@1"
    with Image.open(tmp_path / "004 seed 2, cfg 4.5.png") as picture:
        assert picture.getpixel((0, 0)) == 2
    assert main(["sweep", "portrait", *words, "--url", door.url]) == 2  # the sheet is there by now
    assert "use --force" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "each"),
    [
        (["--each", "loras=styles/*@0.5,1", "--lora", "base=0.2", "--unfit", "skip"],
         {"loras": {"folder": "styles/", "weights": [0.5, 1], "unfit": "skip",
                    "beside": [{"model": "base", "weight": 0.2}]}}),
        (["--each", "loras=warm, lines", "--compare", "each left out"],
         {"loras": {"rows": [{"model": "warm"}, {"model": "lines"}], "compare": "each left out"}}),
        (["--each", "loras=*"], {"loras": {"folder": ""}}),
        (["--each", "loras=civitai:1@2@0.5"], {"loras": {"rows": [{"model": "civitai:1@2"}], "weights": [0.5]}}),
        (["--each", "loras=a,civitai:1@2"], {"loras": {"rows": [{"model": "a"}, {"model": "civitai:1@2"}]}}),
        (["--each", "prompt=a, b|c", "--each", "cfg=0.5..1:0.25", "--each", "sampler=euler,heun"],
         {"prompt": ["a, b", "c"], "cfg": {"from": 0.5, "to": 1, "step": 0.25}, "sampler": ["euler", "heun"]}),
        (["--each", "prompt=@lines.txt", "--each", 'seed=[1, 7]'], {"prompt": ["one", "two"], "seed": [1, 7]}),
    ],
)  # fmt: skip
def test_what_varies_is_written_in_few_words(
    words: list[str], each: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import argparse

    from lorchestra.cli import sweep

    monkeypatch.chdir(tmp_path)
    Path("lines.txt").write_text("one\n\n two \n")
    parser = argparse.ArgumentParser()
    sweep.add_sweep(parser.add_subparsers())
    kinds = {"prompt": "text", "seed": "integer", "cfg": "number", "sampler": "choice", "loras": "loras"}
    assert sweep._body(parser.parse_args(["sweep", "portrait", *words]), kinds) == {"inputs": {}, "each": each}


REFUSED: tuple[tuple[list[str], str], ...] = (
    ([], "nothing varies; write at least one --each"),
    (["--each", "seed"], "is not an input; write name=values"),
    (["--each", "sed=1..4"], "the workflow has no input 'sed'"),
    (["--each", "seed=1", "--each", "seed=2"], "--each seed is there twice"),
    (["--each", "seed=many"], "seed: 'many' is not a whole number"),
    (["--each", "loras=a@0.5,x"], "'x' is not a number"),
    (["--each", "seed=1", "--compare", "each alone"], "--compare is for --each of LoRAs"),
    (["--each", "seed=4..1"], "each.seed: it goes from 4 to 1; write the smaller one first"),
    (["--each", "loras=nowhere/*"], "no LoRA is in the folder 'nowhere/'; there are LoRAs in styles"),
    (["--each", "seed=1", "--pictures", "nowhere"], "there is no folder nowhere"),
)


def test_what_is_refused(door: Door, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in REFUSED:
        assert main(["sweep", "portrait", *words, "--url", door.url]) == 2, words
        assert said in capsys.readouterr().err
    assert graphs(door) == []


def test_a_job_that_fails_is_told_and_ctrl_c_cancels_what_is_left(
    door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["sweep", "portrait", "--each", "seed=12..13", "--json", "--url", door.url]) == 1
    said = capsys.readouterr()
    assert "seed 13: out of memory" in said.err and "the batch is failed: 1 succeeded, 1 failed" in said.err
    assert json.loads(said.out)["counts"] == {"succeeded": 1, "failed": 1}

    from lorchestra.cli import sweep

    follow, calls = sweep._follow, list[str]()

    def interrupted(remote: Any, batch: Any) -> Any:
        calls.append(batch["id"])
        if len(calls) == 1:
            raise KeyboardInterrupt
        return follow(remote, batch)

    monkeypatch.setattr(sweep, "_follow", interrupted)
    sheet = tmp_path / "sheet.png"
    assert main(["sweep", "portrait", "--each", "seed=20..255", "-o", str(sheet), "--url", door.url]) == 130
    status, batch = door.call(Caller(door.service).ask("GET", f"/batches/{calls[0]}"))
    assert (status, batch["status"]) == (200, "canceled") and batch["counts"]["canceled"] > 100
    assert sheet.exists() == (batch["sheet"] is not None)
