"""`lorchestra convert`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.lora_files import factors, named, read, write

from lorchestra.cli import main

NAME = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
KOHYA = "lora_unet_" + NAME.removeprefix("unet.").replace(".", "_")


def lora(folder: Path) -> Path:
    return write(folder / "a.safetensors", named(NAME, factors((640, 2048), 4), "PEFT"), {"author": "x"})


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["convert", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_one_line_says_what_was_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "b.safetensors"
    code, out, err = run(capsys, lora(tmp_path), "-o", output, "--to", "kohya")
    assert (code, err) == (0, "")
    assert out == f"{output}: 1 module for Stable Diffusion XL, 2 tensors\n"
    assert set(read(output)) == {f"{KOHYA}.lora_up.weight", f"{KOHYA}.lora_down.weight"}


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = lora(tmp_path), tmp_path / "b.safetensors"
    for arguments, message in (
        ((path, "-o", path, "--to", "kohya"), "this is the file to convert"),
        ((path, "-o", output, "--to", "kohya", "--architecture", "sdxll"), "did you mean sdxl"),
        ((path, "-o", output, "--to", "kohya", "--architecture", "flux1_dev"), "has no such layer"),
        ((path, "-o", output, "--to", "kohya", "--model", tmp_path / "none.safetensors"), "no such file"),
        ((tmp_path / "none.safetensors", "-o", output, "--to", "kohya"), "no such file"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (2, "") and len(err.splitlines()) == 1 and message in err
        assert not output.exists()


def test_existing_files_need_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, output = lora(tmp_path), tmp_path / "b.safetensors"
    output.touch()
    code, _, err = run(capsys, path, "-o", output, "--to", "comfyui")
    assert code == 2 and "--force" in err and output.stat().st_size == 0
    assert run(capsys, path, "-o", output, "--to", "comfyui", "--force")[0] == 0


def test_notes_go_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = named(NAME, factors((640, 2048), 4), "PEFT") | {"bundle_emb.x\x1b.string_to_param.*": torch.ones(2)}
    path = write(tmp_path / "a.safetensors", tensors)
    code, out, err = run(capsys, path, "-o", tmp_path / "b.safetensors", "--to", "diffusers")
    assert code == 0 and "3 tensors" in out
    assert (
        err
        == "lorchestra: tensors that belong to no module stay as they are: 1, e.g. bundle_emb.x?.string_to_param.*\n"
    )
