"""Every algorithm through the node and ComfyUI's patcher: against fp64, in any order, beside other nodes' patches."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import comfy.lora
import comfy.model_patcher
import pytest
import torch
from safetensors.torch import save_file
from support.algorithm_files import CONVOLUTION, KINDS, MATRIX, made
from support.models import load_flux, load_unet, patched, plain, same_bits, ulp

pytestmark = pytest.mark.oldest

QKV, ADA, IMG_IN = (
    f"diffusion_model.{name}" for name in ("double_blocks.0.img_attn.qkv", "final_layer.adaLN_modulation.1", "img_in")
)
TO_K, NORM_OUT = "transformer.transformer_blocks.0.attn.to_k", "transformer.norm_out.linear"
CONV, GROUP_NORM = (f"diffusion_model.input_blocks.1.0.in_layers.{number}" for number in (2, 0))
Tensors = Mapping[str, torch.Tensor]


@pytest.fixture(scope="module")
def fluxes() -> dict[torch.dtype, Any]:
    """A small FLUX.1 in three dtypes; it fits into the caches, so that loading it costs next to nothing."""
    return {dtype: load_flux(dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16)}


def run(stack_node: Any, model: Any, rows: Mapping[str, float]) -> Any:
    """The model that the node gives for these files and weights."""
    stack = [{"lora": name, "model": strength} for name, strength in rows.items()]
    return stack_node.execute(model=model, loras=json.dumps({"version": 1, "loras": stack})).args[0]


def named(layer: str, parts: Tensors) -> dict[str, torch.Tensor]:
    """The parts under a module's name."""
    return {layer + end: tensor for end, tensor in parts.items()}


def kohya(key: str) -> str:
    """The name in kohya's spelling."""
    return "lora_unet_" + key.removeprefix("diffusion_model.").replace(".", "_")


def is_near(result: torch.Tensor, exact: torch.Tensor, start: torch.Tensor) -> bool:
    """Within 0.51 units in the last place of the result's dtype, at the larger of what was and what is.

    In fp32, products are taken in fp32, and their errors are as large as those of the terms that are added up: there,
    the distance is within 2 units of the largest element.
    """
    larger = torch.maximum(exact.abs(), start.double().abs())
    wide = result.dtype == torch.float32
    units = ulp(larger.max().expand_as(larger) if wide else larger, result.dtype)
    return float(((result.double() - exact).abs() / units).max()) <= (2 if wide else 0.51)


@pytest.mark.parametrize("kind", MATRIX)
def test_every_algorithm_on_a_whole_weight_and_on_a_third(
    stack_node: Any, fluxes: dict[torch.dtype, Any], loras: Path, kind: str
) -> None:
    """In one file for each; one patch for both."""
    whole, third = made(kind, (768, 256), seed=1), made(kind, (256, 256), seed=2)
    save_file(named(kohya(QKV), whole), loras / "whole.safetensors")
    save_file(named(TO_K, third), loras / "third.safetensors")
    start = plain(fluxes[torch.float32])[f"{QKV}.weight"]
    out = run(stack_node, fluxes[torch.float32], {"whole": 0.7, "third": -0.4})
    assert list(out.patches) == [f"{QKV}.weight"] and len(out.patches[f"{QKV}.weight"]) == 1
    exact = start.double() + 0.7 * KINDS[kind].delta(whole, start)
    exact[256:512] -= 0.4 * KINDS[kind].delta(third, start[256:512])
    assert is_near(patched(out)[f"{QKV}.weight"], exact, start)
    assert (exact - start).abs().max() > 0.01


def everything(loras: Path) -> dict[str, float]:
    """A file for every algorithm on the fused weight, whole and a third by turns, and for biases; name → weight."""
    rows: dict[str, float] = {}
    for number, kind in enumerate(MATRIX):
        layer, shape = (kohya(QKV), (768, 256)) if number % 2 else (TO_K, (256, 256))
        save_file(named(layer, made(kind, shape, seed=number)), loras / f"{number}.safetensors")
        rows[str(number)] = 0.4 - 0.1 * number
    generator = torch.Generator().manual_seed(9)
    biases = {f"{kohya(QKV)}.diff_b": torch.randn(768, generator=generator)}
    save_file({**biases, f"{TO_K}.diff_b": torch.randn(256, generator=generator)}, loras / "bias.safetensors")
    return rows | {"bias": 0.3}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_all_algorithms_in_any_order_give_the_same_bits(
    stack_node: Any, fluxes: dict[torch.dtype, Any], loras: Path, dtype: torch.dtype
) -> None:
    """All of them on one weight: one patch, and every update that of the weight before any of them."""
    rows, random = everything(loras), Random(4)
    results: list[dict[str, torch.Tensor]] = []
    for _ in range(5):
        names = list(rows)
        random.shuffle(names)
        out = run(stack_node, fluxes[dtype], {name: rows[name] for name in names})
        assert {key: len(patches) for key, patches in out.patches.items()} == {f"{QKV}.weight": 1, f"{QKV}.bias": 1}
        results.append(patched(out))
    assert all(same_bits(results[0], other) for other in results[1:])
    before = plain(fluxes[dtype])
    start = before[f"{QKV}.weight"]
    exact = start.double()
    for number, kind in enumerate(MATRIX):
        third = slice(0, 768) if number % 2 else slice(256, 512)
        delta = KINDS[kind].delta(made(kind, tuple(start[third].shape), seed=number), start[third])
        exact[third] += (0.4 - 0.1 * number) * delta
    error = (results[0][f"{QKV}.weight"].double() - exact).norm() / exact.norm()
    assert error <= torch.finfo(dtype).eps / 2
    assert {key for key in before if not torch.equal(before[key], results[0][key])} == {f"{QKV}.weight", f"{QKV}.bias"}


def test_convolutions_norms_and_biases(stack_node: Any, loras: Path) -> None:
    """Each algorithm that can change a convolution, and the affine parameters of a norm."""
    model = load_unet(torch.float32)
    before = plain(model)
    start, shape = before[f"{CONV}.weight"], tuple(before[f"{CONV}.weight"].shape)
    exact, rows = start.double(), {}
    for number, kind in enumerate(CONVOLUTION):
        parts = made(kind, shape, seed=number)
        save_file(named(kohya(CONV), parts), loras / f"{number}.safetensors")
        rows[str(number)] = 0.4 - 0.1 * number
        exact += rows[str(number)] * KINDS[kind].delta(parts, start)
    norm = {".w_norm": torch.randn(320), ".b_norm": torch.randn(320)}
    save_file({**named(kohya(GROUP_NORM), norm), f"{kohya(CONV)}.diff_b": torch.randn(320)}, loras / "n.safetensors")
    after = patched(run(stack_node, model, {**rows, "n": -0.5}))
    assert is_near(after[f"{CONV}.weight"], exact, start)
    for end, tensor in ((".weight", norm[".w_norm"]), (".bias", norm[".b_norm"])):
        before_norm = before[GROUP_NORM + end]
        assert is_near(after[GROUP_NORM + end], before_norm.double() - 0.5 * tensor.double(), before_norm)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {f"{layer}.{end}" for layer in (CONV, GROUP_NORM) for end in ("weight", "bias")}


@pytest.mark.parametrize("kind", ["LoRA", "LoHa", "DoRA by row", "OFT"])
def test_halves_that_diffusers_exchanges(
    stack_node: Any, fluxes: dict[torch.dtype, Any], loras: Path, kind: str
) -> None:
    parts = made(kind, (512, 256))
    save_file({**named(NORM_OUT, parts), f"{NORM_OUT}.diff_b": torch.arange(512.0)}, loras / "a.safetensors")
    before = plain(fluxes[torch.float32])
    start, bias = before[f"{ADA}.weight"], before[f"{ADA}.bias"]
    turned = KINDS[kind].delta(parts, torch.cat([start[256:], start[:256]]))
    after = patched(run(stack_node, fluxes[torch.float32], {"a": 0.5}))
    exact = start.double() + 0.5 * torch.cat([turned[256:], turned[:256]])
    assert is_near(after[f"{ADA}.weight"], exact, start)
    assert torch.allclose(after[f"{ADA}.bias"], bias + torch.arange(512.0).roll(256) / 2)


def test_a_control_lora_makes_its_layer_grow(
    stack_node: Any, fluxes: dict[torch.dtype, Any], loras: Path, pack: Any
) -> None:
    """The weight gets zeros first; another LoRA for the layer that was there stays right, whichever comes first."""
    model = fluxes[torch.float32]
    start = plain(model)[f"{IMG_IN}.weight"]
    grown, style = made("LoRA", (256, 128), seed=1), made("DoRA by row", (256, 64), seed=2)
    shape = {f"{kohya(IMG_IN)}.reshape_weight": torch.tensor([256, 128])}
    save_file({**named(kohya(IMG_IN), grown), **shape}, loras / "grown.safetensors")
    save_file(named(kohya(IMG_IN), style), loras / "style.safetensors")
    exact = torch.zeros(256, 128, dtype=torch.float64)
    exact[:, :64] = start.double() + 0.3 * KINDS["DoRA by row"].delta(style, start)
    exact += 0.8 * KINDS["LoRA"].delta(grown, torch.zeros(256, 128))
    for rows in ({"grown": 0.8, "style": 0.3}, {"style": 0.3, "grown": 0.8}):
        out = run(stack_node, model, rows)
        result = patched(out)[f"{IMG_IN}.weight"]
        assert result.shape == (256, 128) and torch.allclose(result.double(), exact, rtol=1e-6, atol=1e-7)
        assert plain(model)[f"{IMG_IN}.weight"].shape == (256, 64)
        if hasattr(comfy.lora, "calculate_shape"):  # 0.33: asked before a layer is patched on the fly
            assert comfy.lora.calculate_shape(out.patches[f"{IMG_IN}.weight"], start, "k") == (256, 128)


def test_algorithms_that_follow_the_weight_take_the_one_that_arrives(
    stack_node: Any, fluxes: dict[torch.dtype, Any], loras: Path
) -> None:
    """Another node's patch before ours is part of it, one after ours is not."""
    model, key = fluxes[torch.float32].clone(), f"{QKV}.weight"
    parts, start = made("DoRA by row", (768, 256)), plain(model)[key]
    save_file(named(kohya(QKV), parts), loras / "a.safetensors")
    first, last = torch.full_like(start, 0.25), torch.full_like(start, -2.0)
    model.add_patches({key: ("diff", (first,))}, 0.5)
    out = run(stack_node, model, {"a": 0.7})
    out.add_patches({key: ("diff", (last,))}, 1.0)
    arrived = start.double() + 0.125
    exact = arrived + 0.7 * KINDS["DoRA by row"].delta(parts, arrived) - 2
    assert torch.allclose(patched(out)[key].double(), exact, atol=1e-6)


@pytest.mark.parametrize("kind", MATRIX)
def test_layers_that_are_patched_on_the_fly(
    stack_node: Any, fluxes: dict[torch.dtype, Any], loras: Path, pack: Any, kind: str
) -> None:
    """ComfyUI's low-VRAM way; in 0.33 it rebuilds the patch around copies of its tensors first. Strength counts."""
    parts, key = made(kind, (768, 256)), f"{QKV}.weight"
    save_file(named(kohya(QKV), parts), loras / "a.safetensors")
    model = fluxes[torch.bfloat16]
    out, start = run(stack_node, model, {"a": 0.7}), plain(model)[key]
    exact = start.double() + 0.7 * KINDS[kind].delta(parts, start)
    low = comfy.model_patcher.LowVramPatch(key, out.patches)
    if hasattr(low, "prepare"):
        low.prepare(torch.zeros(low.memory_required(), dtype=torch.uint8), None)
        assert low.prepared_patches[0][1].weights[0][1][0][0] is not out.patches[key][0][1].weights[0][1][0][0]
    result = low(start.clone())
    assert result.dtype == torch.bfloat16 and is_near(result, exact, start)
    half = [(0.5, *out.patches[key][0][1:])]
    result = comfy.lora.calculate_weight(half, start.float(), key)
    exact = start.double() + 0.35 * KINDS[kind].delta(parts, start)
    assert is_near(result.to(torch.bfloat16), exact, start)
