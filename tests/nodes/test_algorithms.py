"""Our adapter algorithms against ComfyUI's own on the same files: equal where ComfyUI is right, and where it is not."""

from __future__ import annotations

from typing import Any

import comfy.lora
import pytest
import torch
from support.closeness import LIMIT, apart, noise
from torch import Tensor

from lorchestra.algorithms import read
from lorchestra.spelling import slots

File = dict[str, Tensor]


def comfyui(file: File, weight: Tensor, strength: float = 1.0, key: str = "x.weight") -> Tensor:
    """What ComfyUI adds to the weight, in the weight's dtype."""
    patches = comfy.lora.load_lora(dict(file), {"x": "x.weight"}, log_missing=False)
    patch: Any = [(strength, patches[key], 1.0, None, None)] if key in patches else []
    return comfy.lora.calculate_weight(patch, weight.clone(), key, intermediate_dtype=weight.dtype) - weight


def ours(file: File, weight: Tensor, algorithm: str | None = None) -> Tensor:
    """Our Δ, from fp32."""
    parts: dict[str, Tensor] = {}
    for name, tensor in file.items():
        split = slots.split(name)
        assert split, name
        parts[split[2]] = tensor
        if split[1] not in ("", slots.DORA):
            algorithm = algorithm or split[1]
    assert algorithm
    alpha = parts.pop("alpha", None)
    return read(algorithm, parts, None if alpha is None else float(alpha)).update(weight.float())


def file(shapes: dict[str, tuple[int, ...]], alpha: float | None = None, size: float = 0.1, **more: Tensor) -> File:
    """Noise by suffix."""
    result = {f"x.{suffix}": noise(*shape, seed=seed, size=size) for seed, (suffix, shape) in enumerate(shapes.items())}
    if alpha is not None:
        result["x.alpha"] = torch.tensor(alpha)
    return result | {f"x.{suffix}": tensor for suffix, tensor in more.items()}


LINEAR, SQUARE, POINT, KERNEL = (48, 40), (40, 40), (48, 40, 1, 1), (48, 40, 3, 3)

LOW_RANK: list[tuple[str, tuple[int, ...], dict[str, tuple[int, ...]]]] = [
    ("LoRA", LINEAR, {"lora_up.weight": (48, 4), "lora_down.weight": (4, 40)}),
    ("LoCon 1x1", POINT, {"lora_up.weight": (48, 4, 1, 1), "lora_down.weight": (4, 40, 1, 1)}),
    ("LoCon", KERNEL, {"lora_up.weight": (48, 4, 1, 1), "lora_down.weight": (4, 40, 3, 3)}),
    (
        "Tucker",
        KERNEL,
        {"lora_up.weight": (48, 4, 1, 1), "lora_down.weight": (4, 40, 1, 1), "lora_mid.weight": (4, 4, 3, 3)},
    ),
    ("LoHa", LINEAR, {"hada_w1_a": (48, 4), "hada_w1_b": (4, 40), "hada_w2_a": (48, 4), "hada_w2_b": (4, 40)}),
    ("LoHa 3x3", KERNEL, {"hada_w1_a": (48, 4), "hada_w1_b": (4, 360), "hada_w2_a": (48, 4), "hada_w2_b": (4, 360)}),
    (
        "LoHa Tucker",
        KERNEL,
        {
            "hada_w1_a": (4, 48),
            "hada_w1_b": (4, 40),
            "hada_w2_a": (4, 48),
            "hada_w2_b": (4, 40),
            "hada_t1": (4, 4, 3, 3),
            "hada_t2": (4, 4, 3, 3),
        },
    ),
    ("LoKr full", LINEAR, {"lokr_w1": (6, 5), "lokr_w2": (8, 8)}),
    ("LoKr full 3x3", KERNEL, {"lokr_w1": (6, 5), "lokr_w2": (8, 8, 3, 3)}),
    ("LoKr", LINEAR, {"lokr_w1": (6, 5), "lokr_w2_a": (8, 4), "lokr_w2_b": (4, 8)}),
    ("LoKr 3x3", KERNEL, {"lokr_w1": (6, 5), "lokr_w2_a": (8, 4), "lokr_w2_b": (4, 72)}),
    ("LoKr first", LINEAR, {"lokr_w1_a": (6, 4), "lokr_w1_b": (4, 5), "lokr_w2": (8, 8)}),
    ("LoKr both", LINEAR, {"lokr_w1_a": (6, 4), "lokr_w1_b": (4, 5), "lokr_w2_a": (8, 4), "lokr_w2_b": (4, 8)}),
    ("GLoRA", LINEAR, {"a1.weight": (40, 4), "a2.weight": (4, 40), "b1.weight": (48, 4), "b2.weight": (4, 40)}),
    ("GLoRA old", LINEAR, {"a1.weight": (4, 40), "a2.weight": (40, 4), "b1.weight": (4, 40), "b2.weight": (48, 4)}),
    ("GLoRA square", SQUARE, {"a1.weight": (40, 4), "a2.weight": (4, 40), "b1.weight": (40, 4), "b2.weight": (4, 40)}),
    (
        "GLoRA old square",
        SQUARE,
        {"a1.weight": (4, 40), "a2.weight": (40, 4), "b1.weight": (4, 40), "b2.weight": (40, 4)},
    ),
    ("GLoRA of its width", SQUARE, {name + ".weight": SQUARE for name in ("a1", "a2", "b1", "b2")}),
    (
        "GLoRA 3x3",
        KERNEL,
        {
            "a1.weight": (40, 4, 1, 1),
            "a2.weight": (4, 40, 1, 1),
            "b1.weight": (48, 4, 1, 1),
            "b2.weight": (4, 40, 3, 3),
        },
    ),
]


@pytest.mark.parametrize("alpha", [None, 2.0])
@pytest.mark.parametrize(("shape", "shapes"), [case[1:] for case in LOW_RANK], ids=[case[0] for case in LOW_RANK])
def test_low_rank(shape: tuple[int, ...], shapes: dict[str, tuple[int, ...]], alpha: float | None) -> None:
    tensors, weight = file(shapes, alpha), noise(*shape, seed=99).double()
    assert apart(ours(tensors, weight), comfyui(tensors, weight)) < LIMIT


@pytest.mark.parametrize(("shape", "shapes"), [case[1:] for case in LOW_RANK], ids=[case[0] for case in LOW_RANK])
def test_dora_of_columns(shape: tuple[int, ...], shapes: dict[str, tuple[int, ...]]) -> None:
    """ComfyUI's epsilon of norms is that of the dtype that it works in, which large norms make nothing of."""
    weight = noise(*shape, seed=99, size=5.0).double()
    norm = weight.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *[1] * (len(shape) - 2))
    magnitude = (norm * (1 + noise(*norm.shape, seed=98, size=0.1))).float()
    tensors = file(shapes, 2.0, dora_scale=magnitude)
    assert apart(ours(tensors, weight), comfyui(tensors, weight)) < LIMIT
    half = comfyui(tensors, weight, 0.5)
    assert apart(ours(tensors, weight) * 0.5, half) < LIMIT


@pytest.mark.parametrize("shape", [LINEAR, KERNEL])
def test_oft_at_full_strength(shape: tuple[int, ...]) -> None:
    """ComfyUI inverts in fp32, where LyCORIS' modules do too."""
    tensors, weight = file({"oft_blocks": (6, 8, 8)}), noise(*shape, seed=99)
    assert apart(ours(tensors, weight), comfyui(tensors, weight)) < 2e-6


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("shape", [LINEAR, KERNEL])
def test_boft_at_full_strength(shape: tuple[int, ...], rescale: bool) -> None:
    tensors, weight = file({"oft_blocks": (2, 6, 8, 8)}, alpha=0.0), noise(*shape, seed=99)
    if rescale:
        tensors["x.rescale"] = 1 + noise(48, *[1] * (len(shape) - 1), size=0.1)
    assert apart(ours(tensors, weight), comfyui(tensors, weight)) < 2e-6


@pytest.mark.parametrize(
    ("suffix", "key"),
    [("diff", "x.weight"), ("diff_b", "x.bias"), ("w_norm", "x.weight"), ("set_weight", "x.weight")],
)
def test_whole_tensors(suffix: str, key: str) -> None:
    tensors, weight = file({suffix: (48,)}), noise(48, seed=99).double()
    assert apart(ours(tensors, weight), comfyui(tensors, weight, key=key)) < LIMIT


def test_bias_of_a_norm() -> None:
    tensors, bias = file({"w_norm": (48,), "b_norm": (48,)}), noise(48, seed=99).double()
    found = comfyui(tensors, bias, key="x.bias")
    assert apart(ours({"x.b_norm": tensors["x.b_norm"]}, bias), found) < LIMIT


def test_reshape_weight_pads_with_zeros() -> None:
    tensors = file({"lora_up.weight": (48, 4), "lora_down.weight": (4, 40)}, reshape_weight=torch.tensor([48, 40]))
    weight = noise(48, 20, seed=99).double()
    patches = comfy.lora.load_lora(dict(tensors), {"x": "x.weight"}, log_missing=False)
    patch: Any = [(1.0, patches["x.weight"], 1.0, None, None)]
    result = comfy.lora.calculate_weight(patch, weight.clone(), "x.weight", intermediate_dtype=torch.float64)
    padded = torch.nn.functional.pad(weight, (0, 20))
    assert apart(ours(tensors, padded), result - padded) < LIMIT


class TestWhereComfyUIDeviates:
    """Each is a reason not to hand the file to ComfyUI; one that fails here has been mended there."""

    def test_dora_of_rows_divides_by_the_norm_of_the_old_weight(self) -> None:
        weight = noise(48, 40, seed=99, size=5.0).double()
        magnitude = weight.norm(dim=1, keepdim=True).float()
        tensors = file({"lora_up.weight": (48, 4), "lora_down.weight": (4, 40)}, size=1.0, dora_scale=magnitude)
        merged = weight + tensors["x.lora_up.weight"].double() @ tensors["x.lora_down.weight"].double()
        wrong = merged * (magnitude / weight.norm(dim=1, keepdim=True)) - weight
        right = merged * (magnitude / merged.norm(dim=1, keepdim=True)) - weight
        assert apart(comfyui(tensors, weight), wrong) < LIMIT
        assert apart(ours(tensors, weight), right) < LIMIT
        assert apart(right, wrong) > 0.05

    def test_oft_has_the_strength_squared(self) -> None:
        tensors, weight = file({"oft_blocks": (6, 8, 8)}), noise(48, 40, seed=99)
        assert apart(comfyui(tensors, weight, 0.5), ours(tensors, weight) * 0.25) < 2e-6

    def test_oft_ignores_rescale(self) -> None:
        tensors, weight = file({"oft_blocks": (6, 8, 8)}), noise(48, 40, seed=99)
        with_rescale = tensors | {"x.rescale": torch.full((48, 1), 1.5)}
        assert torch.equal(comfyui(with_rescale, weight), comfyui(tensors, weight))
        expected = ours(tensors, weight) * 1.5 + weight * 0.5
        assert apart(ours(with_rescale, weight), expected) < LIMIT

    @pytest.mark.parametrize("algorithm", ["OFT", "BOFT"])
    def test_oft_limits_the_norm_to_alpha_and_not_to_alpha_times_rows(self, algorithm: str) -> None:
        shape = (6, 8, 8) if algorithm == "OFT" else (2, 6, 8, 8)
        tensors, weight = file({"oft_blocks": shape}, alpha=0.5), noise(48, 40, seed=99)
        as_comfyui = tensors | {"x.alpha": torch.tensor(0.5 / 48)}
        assert apart(comfyui(tensors, weight), ours(as_comfyui, weight)) < 1e-5
        assert apart(comfyui(tensors, weight), ours(tensors, weight)) > 0.1

    def test_boft_does_nothing_without_alpha(self) -> None:
        tensors, weight = file({"oft_blocks": (2, 6, 8, 8)}), noise(48, 40, seed=99)
        assert not comfyui(tensors, weight).any()
        assert ours(tensors, weight).any()

    def test_a_replaced_weight_ignores_the_strength(self) -> None:
        tensors, weight = file({"set_weight": (48,)}), noise(48, seed=99)
        assert torch.equal(comfyui(tensors, weight, 0.5), comfyui(tensors, weight, 1.0))

    def test_loha_of_a_convolution_by_onetrainer_stops_the_run(self) -> None:
        halves = {"a": (48, 4, 1, 1), "b": (4, 40, 3, 3)}
        tensors = file({f"hada_w{side}_{half}": shape for side in (1, 2) for half, shape in halves.items()})
        weight = noise(*KERNEL, seed=99)
        assert ours(tensors, weight).any()
        with pytest.raises(RuntimeError):
            comfyui(tensors, weight)

    def test_lokr_with_a_core_is_left_out(self) -> None:
        """It hands `torch.kron` a tensor that is not contiguous, and logs the error."""
        tensors = file({"lokr_w1": (6, 5), "lokr_w2_a": (4, 8), "lokr_w2_b": (4, 8), "lokr_t2": (4, 4, 3, 3)})
        weight = noise(*KERNEL, seed=99)
        assert ours(tensors, weight).any()
        assert not comfyui(tensors, weight).any()

    @pytest.mark.parametrize(
        ("tensors", "algorithm"),
        [
            (file({"oft_diag": (6, 8, 8)}), "OFT"),
            (file({"oft_R.weight": (5, 28)}), "OFT"),
            (file({"boft_R": (1, 5, 8, 8)}), "BOFT"),
            (file({"ia3_l": (48, 1)}), "(IA)³"),
        ],
    )
    def test_not_read(self, tensors: File, algorithm: str) -> None:
        weight = noise(48, 40, seed=99)
        assert not comfyui(tensors, weight).any()
        assert ours(tensors, weight, algorithm).any()

    def test_the_magnitude_of_peft_is_ignored(self) -> None:
        tensors, weight = file({"lora_up.weight": (48, 4), "lora_down.weight": (4, 40)}), noise(48, 40, seed=99)
        with_magnitude = tensors | {"x.lora_magnitude_vector": torch.full((48,), 3.0)}
        assert torch.equal(comfyui(with_magnitude, weight), comfyui(tensors, weight))
