"""Resized files: the nearest update of a rank under the same names, and to the bit what is small enough already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.algorithm_files import made
from support.exact import delta, same_bits
from support.lora_files import BLOCK, SUFFIXES, factors, named, read, write
from torch import Tensor

from lorchestra.errors import AdapterError
from lorchestra.files.header import read_header
from lorchestra.lora.cache import open_lora
from lorchestra.making.low_rank import Limit
from lorchestra.making.merge import Made
from lorchestra.making.record import METADATA_KEY
from lorchestra.making.resize import resize

Q = f"lora_unet_{BLOCK}.attn1.to_q".replace(".", "_")
CONV = "lora_unet_input_blocks_1_0_in_layers_2"


def resized(folder: Path, tensors: Mapping[str, Tensor], limit: Limit, **more: dict[str, str]) -> tuple[Path, Made]:
    source = write(folder / "a" / "source.safetensors", tensors, more.get("metadata"))
    output = folder / "b" / "out.safetensors"
    output.parent.mkdir(exist_ok=True)
    return output, resize(source, output, limit, force=True)


def update(path: Path, module: str, shape: tuple[int, ...]) -> Tensor:
    file = open_lora(path)
    (found,) = (one for one in file.reading.modules if one.name == module and one.target == "weight")
    return file.adapter(found).update(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("spelling", SUFFIXES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_rank(tmp_path: Path, spelling: str, dtype: torch.dtype) -> None:
    parts = factors((32, 48), 8, alpha=4, dtype=dtype)
    alpha = parts["alpha"].clone()
    module = "transformer.x" if "PEFT" in spelling else Q
    output, done = resized(tmp_path, named(module, parts, spelling), Limit(3))
    expected = delta({**parts, "alpha": alpha}, (32, 48))
    left, values, right = torch.linalg.svd(expected)
    nearest = (left[:, :3] * values[:3]) @ right[:3]
    found = update(output, module, (32, 48))
    assert (found - nearest).norm() <= 2 * torch.finfo(dtype).eps * expected.norm()
    assert done.errors.overall == pytest.approx(float((expected - found).norm() / expected.norm()), rel=1e-3)
    assert set(read(output)) == set(named(module, parts, spelling))
    assert done.ranks == (3,)


@pytest.mark.parametrize("limit", [Limit(8), Limit(1000), Limit(energy=1.0)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_the_full_rank_is_the_file(tmp_path: Path, limit: Limit, dtype: torch.dtype) -> None:
    tensors = named(Q, factors((32, 48), 8, alpha=5, dtype=dtype)) | {f"{Q}.diff_b": torch.ones(32)}
    conv = factors((32, 32, 3, 3), 4, seed=1)
    output, done = resized(tmp_path, tensors | named(CONV, conv), limit)
    after = read(output)
    if dtype == torch.float8_e4m3fn and limit.energy:  # rewritten in fp16, which holds all of its numbers
        assert done.errors.overall <= 2.0**-10
        return
    assert all(same_bits(after[name], t) or (".alpha" in name and after[name] == t) for name, t in tensors.items())
    assert done.errors.layer == ""


def test_what_stays_is_told(tmp_path: Path) -> None:
    tensors = named(Q, factors((32, 48), 8)) | named(CONV, factors((32, 32, 3, 3), 4, seed=1))
    _, done = resized(tmp_path, tensors, Limit(4))
    assert done.layers == 2
    assert done.notes == ("1 of 2 layers stay as they are, within what was asked",)


def test_energy(tmp_path: Path) -> None:
    values = torch.tensor([4.0, 2.0, 1.0, 0.5])
    up, down = torch.eye(32)[:, :4] * values, torch.eye(48)[:4]
    for share, rank in ((0.5, 1), (16 / 21.25, 1), (0.9, 2), (0.95, 3), (0.999, 4)):
        _, done = resized(tmp_path, named(Q, {"up": up, "down": down}), Limit(energy=share))
        assert done.ranks == (rank,), share
    _, done = resized(tmp_path, named(Q, {"up": up, "down": down}), Limit(2, 0.999))
    assert done.ranks == (2,)


def test_convolutions_and_cores(tmp_path: Path) -> None:
    for tucker in (False, True):
        parts = factors((32, 16, 3, 3), 6, alpha=3, tucker=tucker)
        output, _ = resized(tmp_path, named(CONV, parts), Limit(5))
        expected = delta(parts, (32, 16, 3, 3)).flatten(1)
        values = torch.linalg.svdvals(expected)
        error = (update(output, CONV, (32, 16, 3, 3)).flatten(1) - expected).norm()
        assert float(error) == pytest.approx(float(values[5:].norm()), rel=1e-3)
        assert read(output)[f"{CONV}.lora_down.weight"].shape == (5, 16, 3, 3)
        assert f"{CONV}.lora_mid.weight" not in read(output)


@pytest.mark.parametrize("kind", ["LoHa", "LoKr", "diff"])
def test_others_become_loras(tmp_path: Path, kind: str) -> None:
    shape = (96, 128)
    parts = made(kind, shape)
    source = {f"{Q}{end}": tensor for end, tensor in parts.items()}
    rank = 1 if kind == "LoKr" else 2
    output, done = resized(tmp_path, source, Limit(rank))
    before = update(tmp_path / "a" / "source.safetensors", Q, shape)
    assert set(read(output)) == {f"{Q}.lora_up.weight", f"{Q}.lora_down.weight", f"{Q}.alpha"}
    best = float(torch.linalg.svdvals(before)[rank:].norm())
    error = float((update(output, Q, shape) - before).norm())
    assert best * 0.9999 <= error <= best * 1.02
    assert done.errors.overall == pytest.approx(error / float(before.norm()), rel=1e-3)


def test_settings_become_alphas(tmp_path: Path) -> None:
    settings = {"lora_adapter_metadata": json.dumps({"transformer.r": 8, "transformer.lora_alpha": 2})}
    large, small = factors((32, 48), 8), factors((32, 48), 2, seed=3)
    tensors = named("transformer.x", large, "PEFT") | named("transformer.y", small, "PEFT")
    output, _ = resized(tmp_path, tensors, Limit(4), metadata=settings)
    before = tmp_path / "a" / "source.safetensors"
    assert "lora_adapter_metadata" not in read_header(output).metadata
    y = update(before, "transformer.y", (32, 48))
    assert (update(output, "transformer.y", (32, 48)) - y).norm() <= 1e-6 * y.norm()
    x = update(before, "transformer.x", (32, 48))
    assert (update(output, "transformer.x", (32, 48)) - x).norm() <= torch.linalg.svdvals(x)[4:].norm() * 1.001


def test_the_bias_of_the_up_half_keeps_its_scale(tmp_path: Path) -> None:
    parts = factors((32, 48), 8, alpha=2)
    tensors = named("diffusion_model.x", parts, "PEFT") | {"diffusion_model.x.lora_B.bias": torch.ones(32)}
    output, _ = resized(tmp_path, tensors, Limit(4))
    file = open_lora(output)
    (bias,) = (one for one in file.reading.modules if one.target == "bias")
    assert torch.allclose(file.adapter(bias).update(torch.zeros(32)), torch.full((32,), 0.25))


def test_what_has_no_rank_stays(tmp_path: Path) -> None:
    oft = {f"{Q}{end}": tensor for end, tensor in made("OFT", (32, 32)).items()}
    dora = {f"{CONV}{end}": tensor for end, tensor in made("DoRA by row", (32, 16, 3, 3)).items()}
    output, done = resized(tmp_path, oft | dora, Limit(2))
    after = read(output)
    assert all(same_bits(after[name], tensor) for name, tensor in oft.items())
    assert same_bits(after[f"{CONV}.dora_scale"], dora[f"{CONV}.dora_scale"])
    assert after[f"{CONV}.lora_down.weight"].shape == (2, 16, 3, 3)
    assert any(note.endswith("which have no rank to cut: OFT") for note in done.notes)
    assert any("the magnitudes stay" in note for note in done.notes)


def test_zeros_and_infinities(tmp_path: Path) -> None:
    zero = {"up": torch.zeros(32, 8), "down": torch.zeros(8, 48)}
    output, _ = resized(tmp_path, named(Q, zero), Limit(2))
    assert not update(output, Q, (32, 48)).any()
    odd = factors((32, 48), 8)
    odd["up"][3, 3] = torch.nan
    with pytest.raises(AdapterError, match="up tensor"):
        resized(tmp_path, named(Q, odd), Limit(2))
    assert list((tmp_path / "b").iterdir()) == [output]


def test_metadata(tmp_path: Path) -> None:
    said = {"ss_network_dim": "8", "ss_network_alpha": "4", "sshs_model_hash": "aa", "ss_tag_frequency": "{}"}
    output, _ = resized(tmp_path, named(Q, factors((32, 48), 8, alpha=4)), Limit(2), metadata=said)
    metadata = read_header(output).metadata
    assert metadata["ss_network_dim"] == metadata["ss_network_alpha"] == "2"
    assert "sshs_model_hash" not in metadata
    assert metadata["ss_tag_frequency"] == "{}"
    record = json.loads(metadata[METADATA_KEY])
    assert record["by"] == "resize"
    assert len(record["sources"][0]["sha256"]) == 64
    assert 0 < record["error"]["overall"] < 1
