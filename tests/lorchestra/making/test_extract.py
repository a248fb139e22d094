"""Extracted files give back the tuned weights, within the error that is said; at full rank to rounding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.exact import delta
from support.lora_files import BLOCK, factors, read, unet, weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.cli.rows import read_rows
from lorchestra.errors import LorchestraError
from lorchestra.files.header import read_header
from lorchestra.making.extract import extract
from lorchestra.making.low_rank import Limit, split
from lorchestra.making.merge import Made
from lorchestra.making.record import METADATA_KEY

PREFIX = "model.diffusion_model."
Q = f"{PREFIX}{BLOCK}.attn1.to_q.weight"
CONV = f"{PREFIX}input_blocks.1.0.in_layers.2.weight"
VECTORS = ("input_blocks.1.0.in_layers.2.bias", f"{BLOCK}.norm1.weight", f"{BLOCK}.norm1.bias")
STRANGE = f"{PREFIX}input_blocks.2.0.op.weight"
"""SD 1.5 has no such layer."""
TE = "cond_stage_model.transformer.text_model.encoder.layers.0."


def base_tensors(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    tensors = unet(dtype) | {PREFIX + name: weight((32,), 50).to(dtype) for name in VECTORS}
    del tensors[STRANGE]
    tensors |= {f"{TE}mlp.fc1.weight": weight((48, 24), 60).to(dtype), f"{TE}layer_norm1.weight": weight((24,), 61)}
    return tensors | {"first_stage_model.quant_conv.weight": weight((8, 8, 1, 1), 62).to(dtype)}


def tuned_tensors(before: Mapping[str, Tensor], rank: int | None = None) -> dict[str, Tensor]:
    after: dict[str, Tensor] = {}
    for seed, (name, tensor) in enumerate(before.items()):
        change = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(seed)) * 0.01
        if rank and tensor.dim() > 1:
            change = delta(factors(tuple(tensor.shape), rank, seed=seed), tensor.shape)
        after[name] = (tensor.double() + change).to(tensor.dtype)
    return after


def extracted(
    folder: Path, after: Mapping[str, Tensor], before: Mapping[str, Tensor], limit: Limit, **options: bool
) -> tuple[Path, Path, Made]:
    tuned, base = write(folder / "tuned.safetensors", after), write(folder / "base.safetensors", before)
    output = folder / "out.safetensors"
    return output, base, extract(tuned, base, output, limit, architecture="sd15", force=True, **options)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_the_full_rank_gives_the_tuned_weights_back(tmp_path: Path, dtype: torch.dtype) -> None:
    before = base_tensors(dtype)
    after = tuned_tensors(before)
    output, base, done = extracted(tmp_path, after, before, Limit(1000))
    bake(base, read_rows([f"{output}=1"], ""), tmp_path / "again.safetensors")
    again = read(tmp_path / "again.safetensors")
    for name in before:
        if not name.startswith("first_stage"):
            error = (again[name].double() - after[name].double()).norm()
            assert error <= 2 * torch.finfo(dtype).eps * after[name].double().norm(), name
    assert done.errors.worst <= 2 * torch.finfo(dtype).eps
    assert done.notes == ("the VAE is not compared: a LoRA cannot change it",)


@pytest.mark.parametrize("limit", [Limit(4), Limit(energy=0.7)], ids=str)
def test_the_error_is_true(tmp_path: Path, limit: Limit) -> None:
    before = base_tensors()
    after = tuned_tensors(before)
    output, base, done = extracted(tmp_path, after, before, limit)
    bake(base, read_rows([f"{output}=1"], ""), tmp_path / "again.safetensors")
    again = read(tmp_path / "again.safetensors")
    worst = 0.0
    for name in before:
        if name.startswith("first_stage"):
            continue
        change = (after[name] - before[name]).double()
        error = float((after[name] - again[name]).double().norm())
        worst = max(worst, error / float(change.norm()))
        if change.dim() > 1:
            values = torch.linalg.svdvals(change.flatten(1))
            if limit.rank:
                assert error == pytest.approx(float(values[limit.rank :].norm()), rel=1e-3), name
            else:
                assert error**2 <= 0.3 * float(values.square().sum()) * (1 + 1e-6)
        else:
            assert error <= 1e-6
    assert done.errors.worst == pytest.approx(worst, rel=1e-3)


def test_a_lora_that_was_baked_comes_out_again(tmp_path: Path) -> None:
    before = base_tensors()
    after = tuned_tensors({name: before[name] for name in (Q, CONV)}, 4)
    _, _, done = extracted(tmp_path, {**before, **after}, before, Limit(energy=0.9999))
    assert done.ranks == (4, 4)
    assert (done.layers, done.whole) == (2, 0)
    assert any("layers are equal in both" in note for note in done.notes)


def test_vectors_are_left_out_if_asked(tmp_path: Path) -> None:
    before = base_tensors()
    before[STRANGE] = weight((32, 32, 3, 3))
    output, _, done = extracted(tmp_path, tuned_tensors(before), before, Limit(4), low_rank_only=True)
    assert f"tensors that are no layer of this model are left out: 1 differ, e.g. {STRANGE}" in done.notes
    assert not any(".diff" in name for name in read(output))
    assert any("4 biases, norms and other vectors differ and are left out" in note for note in done.notes)


def test_scaled_fp8_and_other_dtypes(tmp_path: Path) -> None:
    before = base_tensors(torch.float16)
    after = {name: tensor.to(torch.bfloat16) for name, tensor in before.items()}
    scale = torch.tensor(0.001)
    change = delta(factors((32, 32), 4), (32, 32))
    after[Q] = ((before[Q].double() + change) / scale).to(torch.float8_e4m3fn)
    after[Q.removesuffix(".weight") + ".scale_weight"] = scale
    output, base, done = extracted(tmp_path, after, before, Limit(32))
    assert done.layers == 1  # the others are equal but for what bf16 cannot say
    bake(base, read_rows([f"{output}=1"], ""), tmp_path / "again.safetensors")
    expected = after[Q].double() * scale
    assert (read(tmp_path / "again.safetensors")[Q].double() - expected).norm() <= 4e-3 * expected.norm()


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    before = base_tensors()
    tuned = write(
        tmp_path / "tuned.safetensors", tuned_tensors(before), {"modelspec.architecture": "stable-diffusion-v1"}
    )
    base = write(tmp_path / "base.safetensors", before)
    extract(tuned, base, tmp_path / "out.safetensors", Limit(2), architecture="sd15")
    metadata = read_header(tmp_path / "out.safetensors").metadata
    assert metadata["modelspec.architecture"] == "stable-diffusion-v1/lora"
    record = json.loads(metadata[METADATA_KEY])
    assert [row["role"] for row in record["sources"]] == ["tuned", "base"]
    assert len({row["sha256"] for row in record["sources"]}) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "there is nothing to extract"),
        ({Q: torch.zeros(32, 48)}, "has shape \\[32, 48\\] here and \\[32, 32\\]"),
        ({Q: torch.zeros(48, 32)}, "has shape \\[48, 32\\] here and \\[32, 32\\]"),
        ({Q: torch.full((32, 32), torch.nan)}, "NaN or infinite"),
        ({Q: torch.zeros(32, 32, dtype=torch.int8)}, "quantized"),
    ],
)
def test_what_is_refused(tmp_path: Path, change: dict[str, Tensor], message: str) -> None:
    before = base_tensors()
    with pytest.raises(LorchestraError, match=message):
        extracted(tmp_path, {**before, **change}, before, Limit(4))
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0])
def test_randomised_is_as_good(decay: float) -> None:
    """Singular values that fall slowly, as those of a fine-tuned model do."""
    generator = torch.Generator().manual_seed(1)
    left = torch.linalg.qr(torch.randn(240, 240, generator=generator, dtype=torch.float64))[0]
    right = torch.linalg.qr(torch.randn(300, 240, generator=generator, dtype=torch.float64))[0]
    values = torch.arange(1, 241, dtype=torch.float64) ** -decay
    change = (left * values) @ right.T
    for matrix in (change, change.T):
        for rank in (4, 32):
            halves = split(matrix, Limit(rank))
            error = float((matrix - halves.up @ halves.down).norm())
            assert error <= 1.01 * float(values[rank:].norm())
        halves = split(matrix, Limit(energy=0.5))
        least = int((values.square().cumsum(0) / values.square().sum() < 0.5).sum()) + 1
        assert least <= halves.rank <= max(least + 1, int(least * 1.05))
        assert float((matrix - halves.up @ halves.down).square().sum()) <= 0.5 * float(values.square().sum()) * 1.0001
