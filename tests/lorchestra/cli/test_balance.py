"""`lorchestra balance`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.lora_files import factors, named, weight, write

from lorchestra.cli import main

LAYER = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"


def lora(path: Path, seed: int, size: float = 0.03, layer: str = LAYER, width: int = 320) -> Path:
    return write(path, named(f"diffusion_model.{layer}", factors((width, width), seed=seed, size=size)))


def test_two_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2, size=0.09)
    assert main(["balance", f"{a}=0.7", f"{b}=0.7", "--model", "sd15"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("SD 1.5\n")
    assert re.search("b dominates: it is (2\\.[5-9]|3\\.[0-5]) times as strong as the next one", out)
    assert "Suggested weights:" in out


def test_the_model_is_found_and_its_weights_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    base = write(tmp_path / "base.safetensors", {f"model.diffusion_model.{LAYER}.weight": weight((320, 320))})
    assert main(["balance", f"{a}=1", f"{b}=0.5:0", "--model", str(base), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert [row["of_model"] for row in data["loras"]] == pytest.approx([1.0, 0.5], rel=0.2)
    assert data["loras"][0]["blocks"] == {"input.1": {"attention": data["loras"][0]["strength"]}}
    assert [row["model"] for row in data["suggested"]["equal"]] == pytest.approx([0.79, 0.79], rel=0.2)


def test_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    rows = ["balance", f"{a}=1", f"{b}=1", "--model", "sd15"]
    assert main([*rows, "--plot", str(tmp_path / "out.svg")]) == 0
    assert "Strength by block" in (tmp_path / "out.svg").read_text()
    assert main([*rows, "--plot", str(tmp_path / "out.png")]) == 0
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert main([*rows, "--plot", str(tmp_path / "out.png")]) == 2
    assert main([*rows, "--plot", str(tmp_path / "out.png"), "--force"]) == 0
    assert main([*rows, "--plot", str(tmp_path / "out.gif")]) == 2
    assert "a plot is an .svg or a .png" in capsys.readouterr().err


def test_files_for_two_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = lora(tmp_path / "a.safetensors", 1)
    b = lora(tmp_path / "b.safetensors", 2, layer="double_blocks.0.img_attn.proj", width=3072)
    assert main(["balance", f"{a}=1", f"{b}=1"]) == 2
    error = capsys.readouterr().err
    assert "a.safetensors is for SD" in error
    assert "b.safetensors for FLUX.1" in error
    assert "leave one out" in error


@pytest.mark.parametrize(
    ("argument", "message"),
    [("a", "has no weight; write FILE=0.7"), ("a=x", "'x' is not a number"), ("a=nan", "the weight is not a number")],
)
def test_what_is_refused(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", argument]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["balance", f"{tmp_path}/gone.safetensors=1"]) == 2
    assert "there is no such file" in capsys.readouterr().err
