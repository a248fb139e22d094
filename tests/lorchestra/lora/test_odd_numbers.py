"""Alphas that do not count, and scales of quantized tensors: one answer from checking, baking and the card."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.algorithm_files import KINDS, made
from support.lora_files import read, weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.cli import main
from lorchestra.convert import convert
from lorchestra.errors import AdapterError
from lorchestra.library.card import read_details
from lorchestra.lora.cache import dequantized, open_lora
from lorchestra.lora.examined import read_examined
from lorchestra.lora.numbers import read_summary
from lorchestra.stack import Entry, Stack

LAYER = "transformer_blocks.0.attn.add_q_proj"
NAME = f"transformer.{LAYER}"
SHAPE = (64, 32)
FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)


def base(folder: Path) -> Path:
    return write(folder / "base.safetensors", {f"{LAYER}.weight": weight(SHAPE, 3)})


def assert_added(folder: Path, path: Path, delta: Tensor) -> None:
    """Check says that all fits, bake adds just this, and inspect and the card have nothing against the file."""
    assert read_examined(path).problem is None
    assert main(["check", "--model", str(base(folder)), str(path)]) == 0
    bake(base(folder), Stack((Entry(str(path), True, 0.5),)).checked(), folder / "out.safetensors", force=True)
    right = weight(SHAPE, 3).double() + 0.5 * delta.double()
    found = read(folder / "out.safetensors")[f"{LAYER}.weight"]
    assert (found.double() - right).abs().max() <= 2.0**-24 * right.abs().max()
    assert not [warning for warning in read_examined(path).warnings if "broken" in warning or "belong" in warning]
    assert read_summary(path).odd_alphas == ()
    assert read_details(path)["problem"] is None


def assert_refused(folder: Path, path: Path, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence from all."""
    problem = read_examined(path).problem
    assert problem is not None and words in problem
    with pytest.raises(AdapterError) as caught:
        open_lora(path)
    assert words in caught.value.reason
    capsys.readouterr()
    assert main(["check", "--model", str(base(folder)), str(path)]) != 0
    assert words in capsys.readouterr().out
    with pytest.raises(AdapterError) as caught:
        bake(base(folder), Stack((Entry(str(path), True, 0.5),)).checked(), folder / "out.safetensors", force=True)
    assert words in caught.value.reason


HUGE = [
    torch.tensor(1e10),
    torch.tensor(math.inf).half(),
    torch.tensor(math.nan),
    torch.tensor(9999220736.0).bfloat16(),
    torch.tensor([[math.inf]]),
    torch.ones(3),
]


@pytest.mark.parametrize("alpha", HUGE, ids=str)
def test_an_alpha_of_whole_factors_does_not_count(tmp_path: Path, alpha: Tensor) -> None:
    w1, w2 = weight((4, 4), 1), weight((16, 8), 2)
    path = write(tmp_path / "a.safetensors",
                 {f"{NAME}.lokr_w1": w1, f"{NAME}.lokr_w2": w2, f"{NAME}.alpha": alpha})  # fmt: skip
    assert_added(tmp_path, path, torch.kron(w1.double(), w2.double()))
    convert(path, tmp_path / "c.safetensors", "comfyui", architecture="qwen_image", model=base(tmp_path))
    assert_added(tmp_path, tmp_path / "c.safetensors", torch.kron(w1.double(), w2.double()))


def test_an_alpha_of_half_factors_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {f"{NAME}.lokr_w1": weight((4, 4), 1), f"{NAME}.lokr_w2_a": weight((16, 2), 2),
             f"{NAME}.lokr_w2_b": weight((2, 8), 3)}  # fmt: skip
    path = write(tmp_path / "a.safetensors", {**parts, f"{NAME}.alpha": torch.tensor(math.nan)})
    assert read_summary(path).odd_alphas == (NAME,)
    with pytest.raises(AdapterError, match="alpha tensor has NaN or infinite values"):
        bake(base(tmp_path), Stack((Entry(str(path), True, 0.5),)).checked(), tmp_path / "out.safetensors")
    path = write(tmp_path / "a.safetensors", {**parts, f"{NAME}.alpha": torch.ones(2)})
    assert_refused(tmp_path, path, "alpha has shape [2]; expected one number", capsys)


@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (1, 1, 1, 1)])
def test_an_alpha_of_one_number_is_a_number(tmp_path: Path, shape: tuple[int, ...]) -> None:
    up, down = weight((64, 4), 1), weight((4, 32), 2)
    path = write(tmp_path / "a.safetensors", {f"{NAME}.lora_up.weight": up, f"{NAME}.lora_down.weight": down,
                                              f"{NAME}.alpha": torch.full(shape, 8.0)})  # fmt: skip
    assert_added(tmp_path, path, 2 * up.double() @ down.double())


@pytest.mark.parametrize("shape", [(0,), (2,), (4, 1), (1, 2)])
def test_an_alpha_of_several_numbers_is_refused(
    tmp_path: Path, shape: tuple[int, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.safetensors",
                 {f"{NAME}.lora_up.weight": weight((64, 4), 1), f"{NAME}.lora_down.weight": weight((4, 32), 2),
                  f"{NAME}.alpha": torch.ones(shape)})  # fmt: skip
    assert_refused(tmp_path, path, f"alpha has shape {list(shape)}; expected one number", capsys)


SPELLED = {
    ".scale_weight": ("lora_up", "lora_down", ".weight"),
    ".weight_scale": ("lora_B", "lora_A", ".weight"),
    ".weight_scale_inv": ("lora_B", "lora_A", ".weight"),
    ".default.weight_scale": ("lora_B", "lora_A", ".default.weight"),
    "_scale": ("lora_B", "lora_A", ""),
}
"""How the scale's name ends → the halves, and what follows their names."""

SCALES: Mapping[str, tuple[Tensor, Tensor]] = {
    "a number": (torch.tensor(0.37), torch.tensor(2.5)),
    "one in a list": (torch.tensor([0.37]), torch.tensor([[2.5]])),
    "a number per row": (weight((64, 1), 5).abs() + 0.1, weight((4,), 6).abs() + 0.1),
    "a number per column": (weight((1, 4), 5).abs() + 0.1, weight((1, 32), 6).abs() + 0.1),
    "a number per block": (weight((4, 2), 5).abs() + 0.1, weight((2, 4), 6).abs() + 0.1),
    "fp16": (torch.tensor(0.37).half(), torch.tensor(2.5).bfloat16()),
}


def spread(scale: Tensor, shape: tuple[int, int]) -> Tensor:
    """One factor per element, written down element by element."""
    flat = scale.double()
    if flat.numel() == 1:
        return flat.reshape(1, 1).expand(shape)
    flat = flat[:, None] if flat.dim() == 1 else flat
    rows, columns = shape[0] // flat.shape[0], shape[1] // flat.shape[1]
    return torch.stack([torch.stack([flat[i // rows, j // columns] for j in range(shape[1])]) for i in range(shape[0])])


CASES = [
    *((end, "a number", dtype) for end in SPELLED for dtype in (FP8[0], torch.int8)),
    *((".scale_weight", kind, dtype) for kind in SCALES for dtype in FP8),
    (".weight_scale", "a number per row", torch.int8),
]


@pytest.mark.parametrize(("end", "kind", "dtype"), CASES, ids=str)
def test_scales_are_multiplied_in(tmp_path: Path, end: str, kind: str, dtype: torch.dtype) -> None:
    up_name, down_name, weight_end = SPELLED[end]
    size = 100 if dtype == torch.int8 else 10
    up, down = (weight((64, 4), 1) * size).to(dtype), (weight((4, 32), 2) * size).to(dtype)
    up_scale, down_scale = SCALES[kind]
    path = write(tmp_path / "a.safetensors", {
        f"{NAME}.{up_name}{weight_end}": up, f"{NAME}.{up_name}{end}": up_scale,
        f"{NAME}.{down_name}{weight_end}": down, f"{NAME}.{down_name}{end}": down_scale,
        f"{NAME}.alpha": torch.tensor(2.0),
    })  # fmt: skip
    delta = (up.double() * spread(up_scale, (64, 4))) @ (down.double() * spread(down_scale, (4, 32)))
    assert_added(tmp_path, path, 0.5 * delta)
    convert(path, tmp_path / "c.safetensors", "comfyui", architecture="qwen_image", model=base(tmp_path))
    assert not [name for name in read(tmp_path / "c.safetensors") if "scale" in name]
    assert_added(tmp_path, tmp_path / "c.safetensors", 0.5 * delta)


@pytest.mark.parametrize("kind", ["LoHa", "LoKr", "GLoRA", "DoRA by rows"])
def test_scales_of_other_algorithms(tmp_path: Path, kind: str) -> None:
    name = next(known for known in KINDS if known.startswith(kind.split()[0]))
    parts = made(name, SHAPE, 1)
    wide, tensors = dict(parts), {}
    for end, tensor in parts.items():
        if tensor.dim() != 2 or end == ".dora_scale":
            tensors[f"{NAME}{end}"] = tensor
            continue
        small = (tensor * 20).to(torch.float8_e4m3fn)
        tensors[f"{NAME}{end}"] = small
        tensors[f"{NAME}{end.removesuffix('.weight')}.scale_weight"] = torch.tensor(0.05)
        wide[end] = small.double() * torch.tensor(0.05).double()
    path = write(tmp_path / "a.safetensors", tensors)
    assert_added(tmp_path, path, KINDS[name].delta(wide, weight(SHAPE, 3)))


def test_notes_beside_the_tensors_change_nothing(tmp_path: Path) -> None:
    up, down = (weight((64, 4), 1) * 10).to(FP8[0]), (weight((4, 32), 2) * 10).to(FP8[0])
    path = write(tmp_path / "a.safetensors", {
        f"{NAME}.lora_up.weight": up, f"{NAME}.lora_up.scale_weight": torch.tensor(0.5),
        f"{NAME}.lora_up.scale_input": torch.tensor(7.0), f"{NAME}.lora_up.comfy_quant": torch.ones(8).to(torch.uint8),
        f"{NAME}.lora_down.weight": down, f"{NAME}.lora_down.scale_weight": torch.tensor(0.25),
        f"{NAME}.lora_down.input_scale": torch.tensor(7.0), "scaled_fp8": torch.zeros(2).to(FP8[0]),
    })  # fmt: skip
    assert read_examined(path).reading.leftovers == ()
    assert_added(tmp_path, path, 0.125 * up.double() @ down.double())


def fp8(size: float = 10) -> dict[str, Tensor]:
    return {f"{NAME}.lora_up.weight": (weight((64, 4), 1) * size).to(FP8[0]),
            f"{NAME}.lora_down.weight": (weight((4, 32), 2) * size).to(FP8[0])}  # fmt: skip


UP = f"{NAME}.lora_up"
INT8 = {**fp8(), f"{UP}.weight": torch.ones(64, 4).to(torch.int8)}
FORMAT = "up is quantized in a format that is not read: "

REFUSED: Mapping[str, tuple[dict[str, Tensor], str]] = {
    "scales of another length": ({**fp8(), f"{UP}.scale_weight": torch.ones(63)}, "which does not fit [64, 4]"),
    "blocks that do not divide": (
        {**fp8(), f"{UP}.scale_weight": torch.ones(5, 4)},
        "the scale of up has shape [5, 4], which does not fit",
    ),
    "mxfp8": ({**fp8(), f"{UP}.weight_scale": torch.ones(64, 1).to(torch.uint8)}, FORMAT + "its scale is U8"),
    "nvfp4": (
        {**fp8(), f"{UP}.weight_scale": torch.ones(1), f"{UP}.weight_scale_2": torch.ones(1)},
        FORMAT + "its scales have a scale",
    ),
    "integers without a scale": (INT8, "the up tensor is I8, which a LoRA never has"),
    "ComfyUI's int8, which may be turned": (
        {**INT8, f"{UP}.weight_scale": torch.ones(1), f"{UP}.comfy_quant": torch.ones(8).to(torch.uint8)},
        FORMAT + "int8 of ComfyUI",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_quantizations_are_refused_in_true_words(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, words = REFUSED[kind]
    assert_refused(tmp_path, write(tmp_path / "a.safetensors", tensors), words, capsys)


def test_a_scale_that_is_not_finite_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", {**fp8(), f"{NAME}.lora_up.scale_weight": torch.tensor(math.inf)})
    with pytest.raises(AdapterError, match="up_scale tensor has NaN or infinite values"):
        bake(base(tmp_path), Stack((Entry(str(path), True, 0.5),)).checked(), tmp_path / "out.safetensors")


def test_a_scale_without_its_tensor_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", {**fp8(), f"{NAME}.lora_mid.scale_weight": torch.tensor(2.0)})
    assert any("1 tensors belong to no module" in warning for warning in read_examined(path).warnings)


def test_products_are_exact() -> None:
    """An fp8 number times an fp32 scale needs more digits than fp32 has, unless the scale is a power of two."""
    tensor = (weight((8, 8), 1) * 10).to(FP8[0])
    for scale, dtype in ((torch.tensor(0.25), torch.float32), (torch.tensor(1 / 3), torch.float64)):
        found = dequantized({"up": tensor, "up_scale": scale})
        assert found.keys() == {"up"} and found["up"].dtype == dtype
        assert torch.equal(found["up"].double(), tensor.double() * scale.double())
