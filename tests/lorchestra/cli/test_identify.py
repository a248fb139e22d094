"""`lorchestra identify`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.lora_files import factors, locked, named, public_folder, write

from lorchestra.cli import main

FIELDS = {
    "file", "kind", "architectures", "partial", "algorithms", "spelling", "components", "modules", "unplaced", "rank",
    "scale", "trained_on", "trigger_words", "warnings",
}  # fmt: skip


def sdxl(path: Path, metadata: dict[str, str] | None = None, alpha: float | None = None) -> Path:
    tensors = {}
    for part in ("to_q", "to_k"):
        name = f"lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn2_{part}"
        tensors |= named(name, factors((640, 640 if part == "to_q" else 2048), 4, alpha=alpha))
    name = "lora_te2_text_model_encoder_layers_0_mlp_fc1"
    return write(path, tensors | named(name, factors((5120, 1280), 2, alpha=alpha)), metadata)


def vae(path: Path) -> Path:
    return write(path, {"first_stage_model.encoder.conv_in.weight": torch.ones(4, 3, 3, 3)})


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["identify", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sdxl(tmp_path / "b" / "style.safetensors", alpha=1)
    vae(tmp_path / "a.safetensors")
    code, out, _ = run(capsys, tmp_path)
    assert code == 1
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["FILE", "a.safetensors", f"b{os.sep}style.safetensors"]
    assert lines[1].endswith("  a VAE")
    assert all(word in lines[2] for word in (" SDXL", " kohya ", " LoRA ", " 2-4 ", " 3"))


def test_json_has_one_object_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metadata = {"ss_network_dim": "4", "modelspec.trigger_phrase": "pixel", "ss_sd_model_name": "ponyXL.safetensors"}
    good = sdxl(tmp_path / "style.safetensors", metadata)
    code, out, _ = run(capsys, "--json", good, vae(tmp_path / "vae.safetensors"), tmp_path / "none.safetensors")
    assert code == 2
    first, second, third = json.loads(out)
    assert set(first) == set(second) == set(third) == FIELDS
    assert first["kind"] == "lora" and first["architectures"][0] == "sdxl" and first["unplaced"] == 0
    assert first["algorithms"] == {"LoRA": 3} and first["spelling"] == "kohya"
    assert first["components"] == {"model": 2, "te2": 1} and first["modules"] == 3
    assert first["rank"] == {"min": 2, "median": 4, "max": 4, "counts": {"4": 2, "2": 1}}
    assert first["scale"] == {"min": 1.0, "median": 1.0, "max": 1.0, "counts": {"1": 3}}
    assert first["trigger_words"] == ["pixel"] and first["trained_on"] == "Pony"
    assert second["kind"] == "vae" and second["architectures"] == [] and second["rank"] is None
    assert third["kind"] == "unreadable" and "no such file" in third["warnings"][0]


@pytest.mark.parametrize(
    ("metadata", "minimum"),
    [({}, None), ({"ss_network_alpha": "1", "ss_network_dim": "4"}, 0.25), ({"ss_network_alpha": "nan"}, None)],
)
def test_alpha_tensors_are_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metadata: dict[str, str], minimum: float | None
) -> None:
    """The header alone tells their values, through what the trainer wrote down, where the rank is that one."""
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn2_to_q"
    lora = write(tmp_path / "a.safetensors", named(name, factors((640, 640), 4, alpha=2)), metadata)
    _, out, _ = run(capsys, "--json", lora)
    scale = json.loads(out)[0]["scale"]
    assert scale is None if minimum is None else scale["min"] == minimum


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, other = sdxl(tmp_path / "good.safetensors"), vae(tmp_path / "vae.safetensors")
    odd = write(tmp_path / "odd.safetensors", named("lora_unet_nothing_like_that", factors((8, 8))))
    broken = write(tmp_path / "broken.safetensors", {"lora_unet_a.lora_up.weight": torch.ones(4, 2)})
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(capsys, good)[0] == 0
    assert [run(capsys, good, other)[0], run(capsys, odd, good)[0], run(capsys, broken)[0]] == [1, 1, 1]
    for name in (tmp_path / "none.safetensors", tmp_path / "no_folder", empty, tmp_path / "a\0b"):
        assert run(capsys, other, name)[0] == 2
    code, out, _ = run(capsys, "--json", empty)
    assert code == 2 and "no .safetensors files" in json.loads(out)[0]["warnings"][0]


def test_an_unreadable_file_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "cut\x1b[2J.safetensors").write_bytes(b"\xff\xff\0\0\0\0\0\0{}")
    (tmp_path / "old.pt").write_bytes(b"PK\x03\x04")
    code, out, _ = run(capsys, tmp_path, tmp_path / "old.pt")
    assert code == 2 and "\x1b" not in out
    lines = out.splitlines()
    assert "cut?[2J" in lines[1] and "unreadable" in lines[1] and "truncated" in lines[2]
    assert "old.pt" in lines[3] and "pickle" in lines[4]


def test_verbose_gives_evidence_and_warnings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora = sdxl(tmp_path / "a.safetensors", {"ss_base_model_version": "sd_v1", "modelspec.trigger_phrase": "pixel"})
    _, brief, _ = run(capsys, lora)
    _, out, _ = run(capsys, "-v", lora)
    assert len(brief.splitlines()) == 2
    assert "    triggers: pixel" in out.splitlines()
    assert "its metadata says SD 1.5 (ss_base_model_version: sd_v1), its tensors say SDXL" in out


def test_links_in_circles_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.name == "nt":
        pytest.skip("making links needs rights on Windows")
    sdxl(tmp_path / "x" / "a.safetensors")
    (tmp_path / "x" / "again").symlink_to(tmp_path / "x")
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nothing")
    code, out, _ = run(capsys, "--json", tmp_path)
    assert code == 2
    assert [Path(data["file"]).name for data in json.loads(out)] == ["gone.safetensors", "a.safetensors"]


def test_a_folder_without_rights(capsys: pytest.CaptureFixture[str]) -> None:
    with public_folder() as folder:
        sdxl(folder / "a" / "a.safetensors")
        sdxl(folder / "b.safetensors")
        with locked(folder / "a", 0):
            code, out, _ = run(capsys, "--json", folder)
    assert code == 2
    kinds = {Path(data["file"]).name: data["kind"] for data in json.loads(out)}
    assert kinds == {"b.safetensors": "lora", "a": "unreadable"}


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    lora = sdxl(tmp_path / "a.safetensors")
    code = (
        "import sys; from lorchestra.cli import main; main(sys.argv[1:]); "
        "main(['check', sys.argv[2], '--model', 'sdxl']); "
        "sys.exit('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code, "identify", lora], capture_output=True, timeout=60).returncode == 0
    )


def test_no_file_is_held_in_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Hundreds of files take no more than a few: only the names are known beforehand."""
    import tracemalloc

    lora = sdxl(tmp_path / "0.safetensors", {"x": "y" * 100_000})
    for number in range(1, 60):
        os.link(lora, tmp_path / f"{number}.safetensors")
    run(capsys, lora)
    tracemalloc.start()
    run(capsys, "--json", tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
