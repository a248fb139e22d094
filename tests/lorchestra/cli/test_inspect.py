"""`lorchestra inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.lora_files import factors, named, write

from lorchestra.cli import main
from lorchestra.cli.inspect import block
from lorchestra.lora.numbers import read_summary


def mixed(folder: Path) -> Path:
    tensors = named("lora_unet_a", factors((20, 10), 4, alpha=2, dtype=torch.float16))
    tensors |= named("lora_unet_b", factors((20, 10, 3, 3), 8)) | {"lora_unet_c.lora_up.weight": torch.ones(4, 2)}
    tensors |= named("lora_te_d", {**factors((8, 8), 2), "alpha": torch.tensor(float("nan"))}) | {"<s1>": torch.ones(3)}
    return write(folder / "mixed.safetensors", tensors, {"ss_network_dim": "8", "modelspec.trigger_phrase": "pixel"})


def test_a_block_of_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mixed(tmp_path)
    assert main(["inspect", str(path)]) == 0
    size = path.stat().st_size
    assert capsys.readouterr().out.splitlines() == [
        str(path),
        f"  size        {size / 1000:.4g} KB, 10 tensors (F32 7, F16 3)",
        "  modules     4 (model 3, te 1)",
        "  algorithm   LoRA 3, LoCon 1",
        "  spelling    kohya 4",
        "  rank        2 to 8, median 4",
        "  alpha/rank  0.5 to 1, median 1; 1 modules have no alpha, which means 1",
        "  bad alpha   1 modules, e.g. lora_te_d",
        "  incomplete  1 modules lack a half, e.g. lora_unet_c",
        "  not read    1 tensors, e.g. <s1>",
        "  triggers    pixel",
        "  ss_network_dim: 8",
    ]


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = mixed(tmp_path)
    assert main(["inspect", "--json", str(path), str(path)]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert first == second
    assert first["rank"] == {"minimum": 2, "median": 4, "maximum": 8, "counts": {"4": 1, "8": 1, "2": 1}}
    assert (first["modules"], first["without_alpha"], first["odd_alphas"]) == (4, 1, ["lora_te_d"])


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_bad_file_does_not_hide_the_good_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    good = mixed(tmp_path)
    bad = tmp_path / "bad\x1b[2J.safetensors"
    bad.touch()
    assert main(["inspect", *options, str(bad), str(good), str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "mixed.safetensors" in out
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("lorchestra: ")
    assert "bad?[2J.safetensors: the file is empty" in lines[0]
    assert "directory" in lines[1]


def test_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "none.safetensors")]) == 2
    assert capsys.readouterr().out == ""
    assert main(["inspect", "--json", str(tmp_path / "none.safetensors")]) == 2
    assert capsys.readouterr().out == "[]\n"


def test_names_in_files_do_not_steer_the_terminal(tmp_path: Path) -> None:
    tensors = {"\x1b]0;owned\x07\n  size        0 bytes.lora_up.weight": torch.ones(1, 1), "\x9b2J": torch.ones(1)}
    path = write(tmp_path / "x.safetensors", tensors, {"modelspec.title": "\x1b[31mred\u202e"})
    lines = block(read_summary(path)).split("\n")
    assert all(line.isprintable() for line in lines)
    assert sum(line.startswith("  size") for line in lines) == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 KB"), (123_456_789, "123.5 MB"), (7_000_000_000, "7 GB")],
)
def test_sizes(size: int, text: str) -> None:
    from lorchestra.cli.inspect import _size

    assert _size(size) == text
