"""A base model's weights at their places: parts, layers that stand apart, other orders of rows."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.lora_files import weight, write

from lorchestra.architectures.sites import Place, Site
from lorchestra.errors import CheckpointError
from lorchestra.making.weights import open_weights

Q, K, QKV, F8 = "q.weight", "k.weight", "qkv.weight", "f8.weight"


def test_places(tmp_path: Path) -> None:
    tensors = {Q: weight((4, 6), 1), K: weight((4, 6), 2), QKV: weight((12, 6), 3)}
    with open_weights(write(tmp_path / "base.safetensors", tensors)) as weights:

        def read(key: str, place: Place = Place(), pieces: tuple[Site, ...] = ()) -> torch.Tensor:  # noqa: B008
            return weights.read(Site(key, None, place, pieces))

        fused = tensors[QKV]
        assert torch.equal(read(Q), tensors[Q])
        assert torch.equal(read(Q, pieces=(Site(Q, (4, 6)), Site(K, (4, 6)))), torch.cat([tensors[Q], tensors[K]]))
        assert torch.equal(read(QKV, Place((0, 4, 4))), fused[4:8])
        assert torch.equal(read(QKV, Place((0, 4, 4), swapped=True)), torch.cat([fused[6:8], fused[4:6]]))
        assert torch.equal(read(Q, Place(transposed=True)), tensors[Q].T)
        by_head = fused.reshape(3, 2, 2, 6).transpose(0, 1).reshape(12, 6)
        assert torch.equal(read(QKV, Place(heads=2)), by_head)


@pytest.mark.parametrize("end", [".scale_weight", ".weight_scale"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (4, 1)])
def test_scaled_fp8(tmp_path: Path, end: str, shape: tuple[int, ...]) -> None:
    stored, scale = (weight((4, 6), 1) * 100).to(torch.float8_e4m3fn), weight(shape, 2).abs() + 0.1
    tensors = {F8: stored, f"f8{end}": scale, "f8.comfy_quant": torch.zeros(4, dtype=torch.uint8)}
    with open_weights(write(tmp_path / "base.safetensors", tensors)) as weights:
        factor = scale if scale.numel() == 1 else scale.reshape(4, 1)
        expected = stored.double() * factor.double()
        assert torch.equal(weights.read(Site(F8, (4, 6))).double(), expected)


@pytest.mark.parametrize(("end", "size"), [(".weight_scale_2", 1), (".weight_scale", 3), (".weight_scale_inv", 1)])
def test_other_scales_are_refused(tmp_path: Path, end: str, size: int) -> None:
    tensors = {F8: weight((4, 6), 1).to(torch.float8_e4m3fn), f"f8{end}": torch.ones(size)}
    with open_weights(write(tmp_path / "base.safetensors", tensors)) as weights, pytest.raises(CheckpointError):
        weights.read(Site(F8, (4, 6)))
