"""`lorchestra bake`."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from support.exact import sum_of, ulps_off
from support.lora_files import BLOCK, factors, named, read, unet, weight, write

from lorchestra.apply.bake import read_baked
from lorchestra.cli import main
from lorchestra.cli.rows import read_rows
from lorchestra.errors import StackError
from lorchestra.files.header import read_header

PARTS = factors((32, 32), 4, alpha=2)
TEXT = factors((24, 24), 4)
KEY = f"model.diffusion_model.{BLOCK}.attn1.to_q.weight"
TE = "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1"


def files(folder: Path, name: str = "a.safetensors") -> tuple[Path, Path, Path]:
    """Base, LoRA and the output that is to be."""
    base = write(folder / "base.safetensors", {**unet(), f"{TE}.weight": weight((24, 24), 9, torch.float16)})
    tensors = named(f"diffusion_model.{BLOCK}.attn1.to_q", PARTS)
    lora = write(folder / name, tensors | named("lora_te_text_model_encoder_layers_0_mlp_fc1", TEXT))
    return base, lora, folder / "out.safetensors"


@pytest.mark.parametrize(
    ("text", "file", "model", "clip"),
    [
        ("a.safetensors=0.7", "a.safetensors", 0.7, None),
        ("a.safetensors=0.7:0.3", "a.safetensors", 0.7, 0.3),
        ("a.safetensors=-1:0", "a.safetensors", -1.0, 0.0),
        ("a=b.safetensors=1", "a=b.safetensors", 1.0, None),
        ("a=0.5=0.7=1", "a=0.5=0.7", 1.0, None),
        ("a:b.safetensors=1:2", "a:b.safetensors", 1.0, 2.0),
        ("C:\\loras\\a.safetensors=0.7:0.3", "C:\\loras\\a.safetensors", 0.7, 0.3),
        ("\\\\server\\share\\a b.safetensors=.5", "\\\\server\\share\\a b.safetensors", 0.5, None),
        ("/x/ä 🎻.safetensors=1e-3", "/x/ä 🎻.safetensors", 0.001, None),
        ("a= 0.7 ", "a", 0.7, None),
        ("=x=1", "=x", 1.0, None),
    ],
)
def test_a_row(text: str, file: str, model: float, clip: float | None) -> None:
    (entry,) = read_rows([text], "--lora ").entries
    assert (entry.lora, entry.model, entry.clip) == (file, model, clip)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a.safetensors", "has no weight; write FILE=0.7"),
        ("", "has no weight"),
        ("=1", "has no weight"),
        ("a=b.safetensors", "'b.safetensors' is not a number"),
        ("a=", "'' is not a number"),
        ("a=1:", "'' is not a number"),
        ("a=1:2:3", "'2:3' is not a number"),
        ("a=:1", "'' is not a number"),
        ("a=0,7", "'0,7' is not a number"),
        ("a=nan", "the weight is not a number"),
        ("a=1:nan", "the weight is not a number"),
    ],
)
def test_a_row_that_is_none(text: str, reason: str) -> None:
    with pytest.raises(StackError, match=reason) as error:
        read_rows(["a.safetensors=1", text], "--lora ")
    assert error.value.row == 2


@pytest.mark.parametrize("weight", ["inf", "-inf", "1e308", "100.1"])
def test_absurd_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str], weight: str) -> None:
    base, lora, output = files(tmp_path)
    arguments = ["bake", str(base), "--lora", f"{lora}=1", "--lora", f"{lora}={weight}", "-o", str(output)]
    assert main(arguments) == 2
    assert 'row 2: the weight "model" is' in capsys.readouterr().err
    assert not output.exists()


def test_bake_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, lora, output = files(tmp_path)
    assert main(["bake", str(base), "--lora", f"{lora}=0.7:-0.3", "-o", str(output)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        f"{lora}: weight model 0.7, clip -0.3, all 2 modules fit",
        f"{output}: 2 tensors changed",
    ]
    assert err == ""  # no progress bar where nobody looks
    before, after = read(base), read(output)
    assert ulps_off(after[KEY], sum_of(before[KEY], [(0.7, PARTS)])) <= 0.51
    assert ulps_off(after[f"{TE}.weight"], sum_of(before[f"{TE}.weight"], [(-0.3, TEXT)])) <= 0.51


def test_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, lora, output = files(tmp_path)
    assert main(["bake", str(base), "--lora", f"{lora}=1", "-o", str(output), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_the_order_of_the_options_changes_nothing(tmp_path: Path) -> None:
    base, lora, output = files(tmp_path)
    other = write(
        tmp_path / "b=1.safetensors", named(f"diffusion_model.{BLOCK}.attn1.to_q", factors((32, 32), 2, seed=7))
    )
    rows = [f"{lora}=0.5", f"{lora}=0.1", f"{other}=-0.75", f"{tmp_path / 'none'}=0"]
    results = set()
    for order in itertools.permutations(rows):
        options = [item for row in order for item in ("--lora", row)]
        assert main(["bake", str(base), *options, "-o", str(output), "--force", "--quiet"]) == 0
        results.add(output.read_bytes())
    assert len(results) == 1
    assert {row["name"] for row in read_baked(read_header(output))} == {"a.safetensors", "b=1.safetensors"}


def test_a_copy_is_called_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, lora, output = files(tmp_path)
    arguments = ["bake", str(base), "--lora", f"{lora}=0.5", "--lora", f"{lora}=-0.5", "-o", str(output)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [
        *[f"{lora}: the weights of all rows of this file add up to 0"] * 2,
        f"{output}: a copy of the base",
    ]


def test_an_existing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, lora, output = files(tmp_path)
    output.write_text("precious")
    arguments = ["bake", str(base), "--lora", f"{lora}=1", "-o", str(output)]
    assert main(arguments) == 2
    assert capsys.readouterr().err == f"lorchestra: {output}: the file exists already; use --force to replace it\n"
    assert output.read_text() == "precious"
    assert main([*arguments, "--force"]) == 0


@pytest.mark.parametrize("target", ["base.safetensors", "a.safetensors"])
def test_a_file_is_not_baked_over_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    base, lora, _ = files(tmp_path)
    before = (tmp_path / target).read_bytes()
    assert main(["bake", str(base), "--lora", f"{lora}=0", "-o", str(tmp_path / target), "--force"]) == 2
    assert "this is the base or one of the LoRAs" in capsys.readouterr().err
    assert (tmp_path / target).read_bytes() == before


@pytest.mark.parametrize(
    ("lora", "base", "reason"),
    [
        ("none.safetensors", None, "none.safetensors: there is no such file"),
        ("x.ckpt", None, "this is a pickle file"),
        (".", None, "this is a directory"),
        (None, "none.safetensors", "none.safetensors: there is no such file"),
        ("civitai:1@2", None, "civitai:1@2: there is no such file"),
    ],
)
def test_files_that_are_not_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    lora: str,
    base: str,
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    good, other, output = files(tmp_path)
    assert main(["bake", base or str(good), "--lora", f"{lora or other}=1", "-o", str(output)]) == 2
    err = capsys.readouterr().err
    assert reason in err
    assert err.count("\n") == 1
    assert not output.exists()


def test_names_in_files_do_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, _, output = files(tmp_path)
    evil = named("\x1b[2J", PARTS) | named(f"diffusion_model.{BLOCK}.attn1.to_q", PARTS)
    lora = write(tmp_path / "evil.safetensors", evil)
    assert main(["bake", str(base), "--lora", f"{lora}=1", "-o", str(output)]) == 0
    out = capsys.readouterr().out
    assert "1 of 2 modules fit; left out: ?[2J, the model has no such layer" in out
    assert "\x1b" not in out


def test_the_progress_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a terminal it runs to the end of the file."""
    base, lora, output = files(tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TQDM_MININTERVAL", "0")
    assert main(["bake", str(base), "--lora", f"{lora}=1", "-o", str(output)]) == 0
    assert "100%" in capsys.readouterr().err
