"""`lorchestra merge`, `resize` and `extract`: what they print, and what they refuse in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from support.lora_files import factors, named, read, weight, write

from lorchestra.cli import main

LAYER = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"


def lora(path: Path, seed: int, layer: str = LAYER, width: int = 320, rank: int = 4) -> Path:
    return write(path, named(f"diffusion_model.{layer}", factors((width, width), rank, seed=seed)))


def loras(folder: Path) -> tuple[Path, Path]:
    return lora(folder / "a.safetensors", 1), lora(folder / "b.safetensors", 2)


def models(folder: Path) -> tuple[Path, Path]:
    name = f"model.diffusion_model.{LAYER}.weight"
    tuned = write(folder / "tuned.safetensors", {name: weight((320, 320), 1)})
    return tuned, write(folder / "base.safetensors", {name: weight((320, 320), 2)})


def test_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (a, b), output = loras(tmp_path), tmp_path / "c.safetensors"
    rows = [f"{a}=0.7", f"{b}=0.5:0.1", f"{tmp_path / 'gone.safetensors'}=0"]
    assert main(["merge", *rows, "--architecture", "sd15", "-o", str(output)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{a}: weight 0.7, all 1 modules fit",
        f"{b}: weight model 0.5, clip 0.1, all 1 modules fit",
        f"{rows[2][:-2]}: weight 0",
        f"{output}: 1 layer, rank 8, fp32",
        "exact",
        "checked: a LoRA for SD 1.5 or SD 2, its only module fits",
    ]
    assert err == ""
    assert main(["merge", *rows, "--architecture", "sd15", "-o", str(output)]) == 2
    assert "the file exists already; use --force to replace it" in capsys.readouterr().err
    again = [*rows, "--architecture", "sd15", "-o", str(output), "--force", "--rank", "4", "--dtype", "fp16"]
    assert main(["merge", *again]) == 0
    assert re.search(
        r"rank 4, fp16\nerror .* \d+(\.\d)? % overall, at worst .* in diffusion_model", capsys.readouterr().out
    )
    assert main(["merge", *again, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_resize_and_extract(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, output = lora(tmp_path / "a.safetensors", 1), tmp_path / "c.safetensors"
    assert main(["resize", str(a), "--rank", "4", "-o", str(output)]) == 0
    assert "rank 4\nnothing had to be changed" in capsys.readouterr().out
    assert all(torch.equal(tensor, read(a)[name]) for name, tensor in read(output).items())
    assert main(["resize", str(a), "--rank", "2", "-o", str(output), "--force"]) == 0
    assert f"{output}: 1 layer, rank 2, fp32\nerror" in capsys.readouterr().out
    tuned, base = models(tmp_path)
    command = ["extract", str(tuned), str(base), "--architecture", "sd15", "-o", str(output), "--force"]
    assert main(command) == 0
    assert f"{output}: 1 layer, rank 32, fp32\nerror" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("merge {a}", "has no weight; write FILE=0.7"),
        ("merge {a}=0 {b}=0", "all weights are 0: there is nothing to merge"),
        ("merge {a}=0.5 {a}=-0.5", "nothing is left to merge: .*add up to 0"),
        ("merge {a}=1 {flux}=1", "a.safetensors is for SD.*flux.safetensors for FLUX.1.*merged for one model: leave"),
        ("merge {a}=1 {gone}=1", "gone.safetensors: there is no such file"),
        ("merge {a}=1 {cut}=1", "cut.safetensors: .*the file"),
        ("merge {a}=1 {nan}=1", "nan.safetensors: module .*to_q: the up tensor has NaN or infinite values"),
        ("merge {a}=1 {odd}=1", "odd.safetensors: the model that it is for is not known; name what they are for"),
        ("merge {a}=100 {huge}=100 --dtype fp16", "would not be finite in F16; lower the weights"),
        ("merge {a}=1 {tuned}=1", "tuned.safetensors: none of its 1 tensors is named like a LoRA's"),
        ("merge {a}=1 --rank 0", "--rank 0: a rank is 1 or more"),
        ("merge {a}=1 --rank -3", "--rank -3: a rank is 1 or more"),
        ("merge {a}=1 --energy 0", "--energy 0: a share is above 0 and at most 1"),
        ("merge {a}=1 --energy 1.5", "a share is above 0 and at most 1"),
        ("merge {a}=1 --energy nan", "a share is above 0 and at most 1"),
        ("merge {a}=1 --density 0.5", "--density is for --method ties"),
        ("merge {a}=1 --method dare --density 0 --whole", "--density 0: a share is above 0"),
        ("merge {a}=1 --method ties", "has no low rank. Say how much of it is kept"),
        ("merge {a}=1 --method ties --whole --rank 4", "say one of them"),
        ("merge {a}=1 --architecture sd16", "neither a file nor the id of an architecture"),
        ("merge {a}=1 -o {a} --force", "this is one of the files to read"),
        ("merge {a}=1 -o {folder}/none/c.safetensors", "the folder .* does not exist"),
        ("resize {a}", "say how much is kept: --rank 16, or --energy 0.98"),
        ("resize {a} --rank 0", "a rank is 1 or more"),
        ("resize {a} --rank 2 -o {a} --force", "this is the file to resize"),
        ("resize {nan} --rank 2", "the up tensor has NaN or infinite values"),
        ("resize {cut} --rank 2", "cut.safetensors: "),
        ("resize {tuned} --rank 2", "tuned.safetensors: none of its 1 tensors is named like a LoRA's"),
        ("extract {tuned} {tuned} --architecture sd15", "there is nothing to extract"),
        ("extract {tuned} {base}", "its layers are those of no model that we know; name it: --architecture"),
        ("extract {tuned} {a} --architecture sd15", "a.safetensors: this is a LoRA, not a model"),
        ("extract {tuned} {gone} --architecture sd15", "gone.safetensors: there is no such file"),
        ("extract {tuned} {cut} --architecture sd15", "cut.safetensors: "),
        ("extract {tuned} {wide} --architecture sd15", "shape .*320, 320.* here and .*320, 640.* in wide.safetensors"),
        ("extract {tuned} {base} --architecture sd15 -o {base} --force", "this is one of the models"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str) -> None:
    a, b = loras(tmp_path)
    tuned, base = models(tmp_path)
    parts = factors((320, 320))
    names = {"a": a, "b": b, "tuned": tuned, "base": base, "gone": tmp_path / "gone.safetensors", "folder": tmp_path}
    names["flux"] = lora(tmp_path / "flux.safetensors", 3, "double_blocks.0.img_attn.proj", 3072)
    names["odd"] = lora(tmp_path / "odd.safetensors", 3, "nobody.knows.0.this", 48)
    parts["up"][0, 0] = torch.nan
    names["nan"] = write(tmp_path / "nan.safetensors", named(f"diffusion_model.{LAYER}", parts))
    names["huge"] = write(
        tmp_path / "huge.safetensors", named(f"diffusion_model.{LAYER}", factors((320, 320), size=5e5))
    )
    names["cut"] = tmp_path / "cut.safetensors"
    names["cut"].write_bytes(a.read_bytes()[:-100])
    names["wide"] = write(tmp_path / "wide.safetensors", {f"model.diffusion_model.{LAYER}.weight": weight((320, 640))})
    before = set(tmp_path.iterdir())
    words = [word.format(**names) for word in arguments.split()]
    output = [] if "-o" in words else ["-o", str(tmp_path / "c.safetensors")]
    assert main([*words, *output]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") <= 3
    assert set(tmp_path.iterdir()) == before  # nothing is left behind
