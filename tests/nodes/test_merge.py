"""The merge path in real ComfyUI: bits, accuracy, other packs' patches."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import comfy.float
import comfy.lora
import comfy.model_patcher
import comfy.sd
import comfy.utils
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import (
    load_narrow_unet,
    load_unet,
    make_unet,
    narrow_layers,
    patched,
    plain,
    reference,
    same_bits,
    ulp,
)  # fmt: skip

from lorchestra.demo.loras import layers, write_lora

string_to_seed = getattr(comfy.utils, "string_to_seed", None) or comfy.model_patcher.string_to_seed  # it moved
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


@pytest.fixture(scope="module")
def models() -> dict[torch.dtype, Any]:
    """The same model in each dtype."""
    return {dtype: load_unet(dtype) for dtype in (*DTYPES, torch.float8_e4m3fn)}


@pytest.fixture
def files(loras: Path) -> dict[str, Path]:
    """LoRAs for attention, for convolutions, and with a Tucker core."""
    return write_loras(loras)


def write_loras(loras: Path, layers: Any = layers) -> dict[str, Path]:
    """The same for the model whose `layers` they are."""
    attention = layers("*attn1.to_*", "*attn2.to_*", "*proj_in")
    convolutions = layers("*in_layers.2", "*out_layers.3")
    return {
        "a": write_lora(loras / "a.safetensors", attention, rank=8, alpha=4, seed=1, scale=0.3),
        "b": write_lora(loras / "b.safetensors", {**attention, **convolutions}, rank=16, seed=2, dtype=torch.bfloat16),
        "c": write_lora(loras / "c.safetensors", convolutions, rank=4, seed=3, tucker=True, dtype=torch.float32),
    }


def run(stack_node: Any, model: Any, rows: list[dict[str, Any]], **inputs: Any) -> Any:
    """The node's outputs."""
    return stack_node.execute(model=model, loras=json.dumps({"version": 1, "loras": rows}), **inputs).args


def row(name: str, model: float, **more: Any) -> dict[str, Any]:
    """A row of the stack."""
    return {"lora": f"{name}.safetensors", "model": model, **more}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_orders_give_the_same_bits(stack_node: Any, loras: Path, dtype: torch.dtype) -> None:
    """24 orders of four rows: one file twice, a negative weight, a weight of zero.

    All of them in fp16; in the other dtypes each exchange of two neighbours, and all rows the other way round.
    """
    model = load_narrow_unet(dtype)
    write_loras(loras, narrow_layers)
    rows = [row("a", 0.7), row("b", -0.45), row("a", 0.31), row("c", 0.0)]
    first, *others = itertools.permutations(rows)
    assert len(others) == 23
    if dtype != torch.float16:
        swapped = [[*rows[:i], rows[i + 1], rows[i], *rows[i + 2 :]] for i in range(3)]
        others = [tuple(order) for order in (*swapped, rows[::-1])]
    result = patched(run(stack_node, model, list(first))[0])
    for order in others:
        assert same_bits(result, patched(run(stack_node, model, list(order))[0])), order
    assert not same_bits(result, plain(model))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_as_near_to_fp64_as_the_dtype_allows(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path], dtype: torch.dtype
) -> None:
    """Against the formula in fp64, and against ComfyUI's own loader, chained.

    In fp16 and bf16 that is 0.51 units in the last place. In fp32, where products and sums are fp32 themselves, it is
    what any order of additions keeps: a unit roundoff for every product (`lorchestra/apply/fuse.py`).
    """
    rows = [("a", 0.7), ("b", -0.45), ("c", 0.8), ("a", 0.31)]
    model = models[dtype]
    before = plain(model)
    ours = patched(run(stack_node, model, [row(*item) for item in rows])[0])
    exact = reference(before, [(files[name], weight) for name, weight in rows])
    sizes = reference(before, [(files[name], weight) for name, weight in rows], absolute=True)
    core_model = model
    for name, weight in rows:
        core_model, _ = comfy.sd.load_lora_for_models(core_model, None, load_file(files[name]), weight, 0)
    core = patched(core_model)
    assert len(exact) == len(layers("*attn1.to_*", "*attn2.to_*", "*proj_in", "*in_layers.2", "*out_layers.3"))
    assert all(torch.equal(ours[key], before[key]) is (key not in exact) for key in before)
    for key, value in exact.items():
        error, cores = (ours[key].double() - value).abs(), (core[key].double() - value).abs()
        if dtype == torch.float32:
            # kernels have b's rank of 16, and c's of 4 with the products of its Tucker core; the others a's 8, b's 16
            products = 16 + 4 + 4 + 1 if value.dim() == 4 and value.shape[-1] > 1 else 8 + 16
            assert (error <= (products + 3) * 2.0**-24 * sizes[key]).all(), key
            assert (error / ulp(sizes[key], dtype)).mean() < 0.51, key
            # core adds up each LoRA by itself, which is nearer where they are as large as the weight, as here
            assert error.mean() <= 2 * cores.mean(), key
            continue
        size = torch.maximum(value.abs(), before[key].double().abs())
        assert (error / ulp(size, dtype)).max() <= 0.51, key
        # in units of the result itself, too, but for a few elements where weight and update nearly cancel
        assert (error / ulp(value, dtype) > 0.51).double().mean() <= 3e-4, key
        apart = (ours[key].double() - core[key].double()).abs() / ulp(size, dtype)
        assert apart.max() <= 2, f"{key}: {apart.max()} ulp from core"
        assert error.mean() <= cores.mean() * 1.001, key


@pytest.mark.oldest
def test_fp8_stays_within_comfyuis_rounding_step(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path]
) -> None:
    """ComfyUI rounds fp8 weights stochastically but seeded: nearly all are what it makes of the exact value."""
    dtype = torch.float8_e4m3fn
    before = plain(models[dtype])
    rows = [("a", 0.7), ("b", -0.45)]
    ours = patched(run(stack_node, models[dtype], [row(*item) for item in rows], mode="merge")[0])
    again = patched(run(stack_node, models[dtype], [row(*item) for item in reversed(rows)], mode="merge")[0])
    assert same_bits(ours, again)
    exact = reference(before, [(files[name], weight) for name, weight in rows])
    for key, value in exact.items():
        rounded = comfy.float.stochastic_rounding(value.float(), dtype, seed=string_to_seed(key)).double()
        apart = (ours[key].double() - rounded).abs() / ulp(torch.maximum(value.abs(), rounded.abs()), dtype)
        assert apart.max() <= 1 and (apart > 0).double().mean() < 1e-4, key


@pytest.mark.oldest
def test_zero_and_off_rows_open_nothing_and_patch_nothing(
    stack_node: Any, models: dict[torch.dtype, Any], loras: Path
) -> None:
    """Their files need not exist, and the very MODEL that went in comes out."""
    model = models[torch.float16]
    rows = [row("missing", 0.0), row("missing", 0.8, on=False), row("missing", 0, clip=0)]
    out, clip, stack, report, _ = run(stack_node, model, rows)
    assert out is model and clip is None and stack == []
    assert report.count("weight 0") == 2 and report.count(": off") == 1


def test_rows_that_cancel_open_nothing(stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path]) -> None:
    """A LoRA whose rows add up to zero leaves the model as it is."""
    out = run(stack_node, models[torch.float16], [row("a", 0.4), row("a", -0.4)])[0]
    assert out is models[torch.float16]


@pytest.mark.oldest
def test_other_packs_patches_stay(stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path]) -> None:
    """Before and after ours, at any strength, on the same weight."""
    model = models[torch.float32]
    key = next(k for k in plain(model) if k.endswith("attn1.to_q.weight"))
    first, last = torch.full_like(plain(model)[key], 0.25), torch.full_like(plain(model)[key], -2.0)
    theirs = model.clone()
    theirs.add_patches({key: ("diff", (first,))}, 0.5)
    ours = run(stack_node, theirs, [row("a", 0.7)])[0]
    after = ours.clone()
    after.add_patches({key: ("diff", (last,))}, 1.0)
    assert len(theirs.patches[key]) == 1 and len(ours.patches[key]) == 2 and len(after.patches[key]) == 3
    assert ours.patches[key][0] is theirs.patches[key][0]
    exact = reference(plain(model), [(files["a"], 0.7)])[key] + 0.5 * first.double() + last.double()
    assert torch.allclose(patched(after)[key].double(), exact, atol=1e-6)


@pytest.mark.oldest
def test_two_stack_nodes_in_a_row_add_up(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path]
) -> None:
    """A chain of our nodes is the sum of their stacks."""
    model = models[torch.float32]
    chained = run(stack_node, run(stack_node, model, [row("a", 0.7)])[0], [row("b", 0.2)])[0]
    at_once = run(stack_node, model, [row("a", 0.7), row("b", 0.2)])[0]
    first, second = patched(chained), patched(at_once)
    assert all(torch.allclose(first[key], second[key], atol=1e-6) for key in first)


def test_changing_a_weight_reads_nothing_from_disk(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path], pack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run takes every tensor from the mapped file of the first, and opens no file."""
    run(stack_node, models[torch.float16], [row("a", 0.7)])
    adapters = sys.modules["lorchestra_pack.lorchestra.lora.cache"]
    reads: list[str] = []
    monkeypatch.setattr(adapters, "open_lora", lambda path, **_: reads.append(str(path)))
    original = adapters.OpenLora._tensor
    monkeypatch.setattr(adapters.OpenLora, "_tensor", lambda *args: reads.append(args[3]) or original(*args))
    out = run(stack_node, models[torch.float16], [row("a", 0.2)])[0]
    assert reads == [] and out.patches


@pytest.mark.oldest
@pytest.mark.parametrize("mode", ["merge", "live"])
def test_a_file_that_is_cut_short_after_the_node_ran_changes_nothing(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path], pack: Any, mode: str
) -> None:
    """A trainer that saves over its last file does it; of a mapped file the system would kill the process."""
    live = sys.modules[f"{pack.__name__}.nodes.host.process"].live_factors
    rows = [row("a", 0.7), row("b", -0.45), row("c", 0.3)]
    out = run(stack_node, models[torch.float32], rows, mode=mode)[0]
    before = patched(out)
    held = [buffer.clone() for patcher in live.values() for buffer in patcher.model.buffers()]
    assert held or mode == "merge"
    for path in files.values():
        os.truncate(path, 1000)
    assert same_bits(before, patched(out))
    after = [buffer for patcher in live.values() for buffer in patcher.model.buffers()]
    assert all(torch.equal(one, other) for one, other in zip(held, after, strict=True))
    with pytest.raises(Exception, match=r"[abc]\.safetensors: the header claims .* the file is truncated"):
        run(stack_node, models[torch.float32], rows, mode=mode)


def test_a_stack_larger_than_the_cache_reads_nothing_either(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path], pack: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as ComfyUI keeps the MODEL of the last run, its patches hold their files."""
    adapters = importlib.import_module(f"{pack.__name__}.lorchestra.lora.cache")
    process = importlib.import_module(f"{pack.__name__}.nodes.host.process")
    cache = adapters.LoraCache(max_bytes=1)
    monkeypatch.setattr(process, "lora_cache", lambda: cache)
    kept = run(stack_node, models[torch.float16], [row("a", 0.7), row("b", 0.1), row("c", 0.1)])[0]
    reads: list[str] = []
    original = adapters.OpenLora._tensor
    monkeypatch.setattr(adapters.OpenLora, "_tensor", lambda *args: reads.append(args[3]) or original(*args))
    assert run(stack_node, models[torch.float16], [row("a", 0.2), row("b", 0.1), row("c", 0.1)])[0].patches
    assert reads == [] and kept.patches
    assert len(cache) < 3


@pytest.mark.oldest
def test_a_file_that_changed_is_read_anew(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path]
) -> None:
    """Also where name and size are the same; the node's fingerprint tells ComfyUI to run it again."""
    stack = json.dumps({"loras": [row("a", 1.0)]})
    before = stack_node.fingerprint_inputs(loras=stack)
    first = patched(run(stack_node, models[torch.float32], [row("a", 1.0)])[0])
    write_lora(files["a"], layers("*attn1.to_*", "*attn2.to_*", "*proj_in"), rank=8, alpha=4, seed=99, scale=0.3)
    assert stack_node.fingerprint_inputs(loras=stack) != before
    assert not same_bits(first, patched(run(stack_node, models[torch.float32], [row("a", 1.0)])[0]))


@pytest.mark.oldest
def test_half_precision_temporaries(pack: Any, files: dict[str, Path]) -> None:
    """What ComfyUI does on GPUs: fp16 temporaries, and layers that are patched on the fly."""
    patch = importlib.import_module(f"{pack.__name__}.nodes.host.patch")
    generator = torch.Generator().manual_seed(0)
    up, down = torch.randn(12, 2, generator=generator), torch.randn(2, 10, generator=generator)
    weight = (torch.randn(12, 10, generator=generator) * 0.03).half()
    packed = patch.pack(sys.modules[f"{pack.__name__}.lorchestra.algorithms.lora"].LoRA(up, down, None, 0.5))
    adapter = patch.FusedLoras(set(), ((None, ((packed, 0.8, False, False, 0),)),))
    exact = weight.double() + 0.4 * (up.double() @ down.double())
    whole = comfy.lora.calculate_weight([(1.0, adapter, 1.0, None, None)], weight.clone(), "k.weight")
    rounded = (2 + 3) * 2.0**-24 * (weight.double().abs() + 0.4 * (up.double().abs() @ down.double().abs()))
    assert whole.dtype == torch.float32 and ((whole.double() - exact).abs() <= rounded).all()
    on_the_fly = comfy.lora.calculate_weight(
        [(1.0, adapter, 1.0, None, None)], weight.clone(), "k.weight", intermediate_dtype=torch.float16
    )
    assert on_the_fly.dtype == torch.float16 and torch.equal(on_the_fly, exact.float().half())
    some = (packed[0], up[:4], *packed[2:])
    narrow = patch.FusedLoras(set(), (((0, 8, 4), ((some, 0.8, False, False, 0),)),))
    part = comfy.lora.calculate_weight([(1.0, narrow, 1.0, None, None)], weight.clone(), "k.weight")
    expected = weight.double()
    expected[8:] += 0.4 * (up[:4].double() @ down.double())
    rounded = weight.double().abs()
    rounded[8:] += 0.4 * (up[:4].double().abs() @ down.double().abs())
    assert part.dtype == torch.float32 and ((part.double() - expected).abs() <= (2 + 3) * 2.0**-24 * rounded).all()
    low = comfy.model_patcher.LowVramPatch("k.weight", {"k.weight": [(1.0, adapter, 1.0, None, None)]})
    if hasattr(low, "prepare"):  # dynamic VRAM of 0.33: rebuilds the adapter around moved tensors
        low.prepare(None, None)
        assert type(low.prepared_patches[0][1]) is patch.FusedLoras and low.prepared_patches[0][1] is not adapter
    assert torch.equal(low(weight.clone()), exact.float().half())


BAD = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "empty": lambda path: path.write_bytes(b""),
    "a half is missing": lambda path: _edit(path, lambda t: t.pop(next(k for k in t if k.endswith("lora_up.weight")))),
    "NaN": lambda path: _edit(
        path, lambda t: t[next(k for k in t if k.endswith("lora_up.weight"))].fill_(float("nan"))
    ),
    "infinite": lambda path: _edit(
        path, lambda t: t[next(k for k in t if k.endswith("lora_down.weight"))].fill_(float("inf"))
    ),
    "rank": lambda path: _edit(
        path, lambda t: t.update({next(k for k in t if k.endswith("lora_down.weight")): torch.zeros(3, 320)})
    ),
    "LoHa": lambda path: save_file({"lora_unet_x.hada_w1_a": torch.zeros(2, 2)}, path),
    "no tensors": lambda path: save_file({}, path),
}


def _edit(path: Path, change: Any) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_leave_the_model_usable(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path], kind: str
) -> None:
    """The error names the file; the model that came in has no patch and still takes a good LoRA."""
    model = models[torch.float16]
    before = plain(model)
    BAD[kind](files["b"])
    with pytest.raises(Exception, match=r"b\.safetensors") as caught:
        run(stack_node, model, [row("a", 0.5), row("b", 0.5)])
    assert type(caught.value).__module__.endswith("lorchestra.errors")
    assert not model.patches and same_bits(before, plain(model))
    assert run(stack_node, model, [row("a", 0.5)])[0].patches


def test_a_lora_for_another_model_is_refused_in_words(
    stack_node: Any, models: dict[torch.dtype, Any], loras: Path
) -> None:
    """0 modules fit: the sentence says so, and what to do."""
    tensors = {
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.zeros(9216, 4),
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.zeros(4, 3072),
    }
    save_file(tensors, loras / "flux.safetensors")
    with pytest.raises(
        Exception,
        match=r"row 1: flux\.safetensors: made for FLUX\.1 .*; 0 of 1 modules fit .*switch this row off",
    ):
        run(stack_node, models[torch.float16], [row("flux", 0.5)])


def test_a_partial_lora_says_what_is_left_out(
    stack_node: Any, models: dict[torch.dtype, Any], files: dict[str, Path]
) -> None:
    """Modules that do not fit are never handed to the patcher."""
    _edit(files["a"], lambda t: t.update({"lora_unet_nowhere.lora_up.weight": torch.zeros(4, 2),
                                          "lora_unet_nowhere.lora_down.weight": torch.zeros(2, 4)}))  # fmt: skip
    out, _, _, report, _ = run(stack_node, models[torch.float16], [row("a", 0.5)])
    count = len(out.patches)
    assert f"{count} of {count + 1} modules fit" in report and "lora_unet_nowhere" in report


def test_real_file_applies_to_all_its_modules(stack_node: Any, loras: Path) -> None:
    """A published LoRA in diffusers' older spelling, on a full-size SD 1.5 UNet of zeros."""
    real = Path(__file__).absolute().parents[3] / "shared" / "loras" / "catundchat_sd15_diffusers.safetensors"
    if not real.exists():
        pytest.skip("the real LoRA files are not here")
    _, net = make_unet("SD15")
    weights = {key: torch.zeros(value.shape, dtype=torch.float16) for key, value in net.state_dict().items()}
    model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": torch.float16})
    (loras / "real.safetensors").symlink_to(real)
    out, _, _, report, _ = run(stack_node, model, [row("real", 1.0)])
    assert len(out.patches) == 128 and "all 128 modules fit" in report
