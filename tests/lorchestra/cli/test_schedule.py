"""`lorchestra schedule`, called as the command line calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lorchestra.cli import main
from lorchestra.schedule import PRESETS


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "0:0, 1:1", "--steps", "4"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["0:0,", "1:1"]
    assert lines[1] == ["STEP", "PROGRESS", "WEIGHT"]
    assert [line[:3] for line in lines[2:]] == [
        ["1", "0.000", "0"], ["2", "0.250", "0.25"], ["3", "0.500", "0.5"], ["4", "0.750", "0.75"]
    ]  # fmt: skip
    assert err == ""


def test_the_samplers_sigmas_and_the_rows_weight(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "sigma 8-2:1", "--sigmas", "14,8,4,2,0", "--weight", "-0.5"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[2:4] for line in lines[2:]] == [["14", "0"], ["8", "-0.5"], ["4", "-0.5"], ["2", "0"]]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "step 2-9:1", "--sigmas", "3,2,1,0", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["text"] == "step 2:0, 2:1 hold, 10:0"
    assert data["schedule"]["by"] == "step"
    assert data["changes"] == [2]
    assert data["steps"][1] == {"step": 2, "progress": 1 / 3, "sigma": 2, "weight": 1}
    assert data["warnings"] == ["step 10 is never reached: the run has 3 steps"]


def test_what_is_never_reached_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", "step 30:1"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 22
    assert err == "lorchestra: step 30 is never reached: the run has 20 steps\n"


@pytest.mark.parametrize("name", ["plot.svg", "plot.PNG"])
def test_plot(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / name
    assert main(["schedule", "bell", "--plot", str(output), "--title", "euler, karras"]) == 0
    first = output.read_bytes()
    assert first.startswith(b"<svg" if name.endswith("svg") else b"\x89PNG")
    assert main(["schedule", "fade-in", "--plot", str(output)]) == 2
    assert "use --force" in capsys.readouterr().err
    assert output.read_bytes() == first
    assert main(["schedule", "fade-in", "--plot", str(output), "--force"]) == 0
    assert output.read_bytes() != first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["0:0, 1:nan"], "column 8: expected a weight"),
        (["wob\x1bble"], "not a schedule"),
        (["sigma 7:1"], "--sigmas"),
        (["1", "--steps", "0"], "1 … 10,000 steps"),
        (["1", "--sigmas", "1,x"], "--sigmas takes numbers"),
        (["1", "--sigmas", "1"], "at least 2 sigmas"),
        (["1", "--sigmas", "2,1,0", "--steps", "3"], "3 sigmas are 2 steps, not 3"),
        (["1", "--weight", "101"], "must lie in"),
        (["1", "--weight", "nan"], "must lie in"),
        (["1", "--plot", "x.gif"], ".svg or a .png"),
        (["1", "--plot", "no/such/folder/x.svg"], "does not exist"),
    ],
)
def test_errors_in_words(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedule", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert "\x1b" not in err


def test_help_names_the_presets(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["schedule", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert all(preset.name.replace("- ", "-") in shown.replace("- ", "-") for preset in PRESETS)
