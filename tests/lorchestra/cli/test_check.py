"""`lorchestra check`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.lora_files import BLOCK, factors, named, unet, write

from lorchestra.architectures.signatures import find_signature
from lorchestra.cli import main


def lora(path: Path, *, layer: str = "attn2_to_k", inner: int = 2048) -> Path:
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_"
    tensors = named(f"{name}0_{layer}", factors((640, inner), 4)) | named(f"{name}1_attn1_to_q", factors((640, 640), 4))
    return write(path, tensors)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["check", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_against_an_architecture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lora(tmp_path / "a.safetensors")
    code, out, _ = run(capsys, path, "--model", "sdxl")
    assert code == 0
    title, row = out.splitlines()
    assert title == "Stable Diffusion XL" and "compatible" in row and "all 2 modules fit" in row
    code, out, _ = run(capsys, path, "--model", "flux1_dev")
    assert code == 1 and "incompatible" in out and "made for SDXL" in out and "0 of 2 modules fit" in out


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora(tmp_path / "a.safetensors")
    lora(tmp_path / "b" / "b.safetensors", layer="attn3_to_k")
    write(tmp_path / "c.safetensors", {"first_stage_model.a.weight": torch.ones(2)})
    (tmp_path / "d.safetensors").write_bytes(b"x")
    code, out, _ = run(capsys, "--json", tmp_path, "--model", "sdxl")
    assert code == 2
    data = {Path(item["file"]).name[0]: item for item in json.loads(out)}
    assert all(
        set(item) == {"file", "verdict", "sentence", "applied", "unmatched", "misshapen", "unused", "made_for",
                      "evidence"}
        for item in data.values()
    )  # fmt: skip
    verdicts = {name: item["verdict"] for name, item in data.items()}
    assert verdicts == {"a": "compatible", "b": "partial", "c": "not-a-lora", "d": "broken"}
    assert (data["b"]["applied"], data["b"]["unmatched"]) == (1, 1)
    assert data["a"]["made_for"][0] == "sdxl"
    assert run(capsys, tmp_path / "b", "--model", "sdxl")[0] == 1


def test_against_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = write(tmp_path / "models" / "base.safetensors", unet())
    path = write(tmp_path / "a.safetensors", named(f"diffusion_model.{BLOCK}.attn1.to_q", factors((32, 32))))
    code, out, _ = run(capsys, path, "--model", base)
    assert code == 0 and out.splitlines()[0] == "base.safetensors" and "all 1 modules fit" in out


def test_a_checkpoint_is_known_by_its_layers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names and shapes of SD 1.5 whose data is a hole in the file."""
    signature = find_signature("sd15")
    assert signature
    entries: dict[str, object] = {}
    position = 0
    for name, shape in signature.shapes.items():
        size = 2 * torch.Size(shape).numel()
        entries[f"model.diffusion_model.{name}"] = {
            "dtype": "F16", "shape": list(shape), "data_offsets": [position, position + size]
        }  # fmt: skip
        position += size
    text = json.dumps(entries).encode()
    base = tmp_path / "base.safetensors"
    with base.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + position)
    code, out, _ = run(capsys, lora(tmp_path / "a.safetensors"), "--model", base)
    assert code == 1
    assert out.splitlines()[0] == "base.safetensors, an SD 1.5 model"
    assert "made for SDXL" in out and "this model is SD 1.5: 0 of 2 modules fit" in out


def test_unusable_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lora(tmp_path / "a.safetensors")
    code, out, err = run(capsys, path, "--model", "flux1dev")
    assert code == 2 and out == "" and "did you mean flux1_dev" in err
    code, _, err = run(capsys, path, "--model", "qqqqqqqqq\x1b")
    assert code == 2 and "known ids: sd15" in err and "\x1b" not in err
    assert run(capsys, path, "--model", "a\0b")[0] == 2
    code, _, err = run(capsys, path, "--model", path)
    assert code == 2 and "this is a LoRA, not a model" in err


def test_verbose_gives_evidence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn"
    tensors = named(f"{name}2.to_k", factors((320, 768))) | named(f"{name}1.to_k", factors((320, 320)))
    code, out, _ = run(capsys, "-v", write(tmp_path / "a.safetensors", tensors), "--model", "sd15")
    assert code == 0
    assert f"    {name}2.to_k [320, 768]: Stable Diffusion 2.1 has another shape there" in out.splitlines()
