"""The live path in real ComfyUI: equal to merging at every step, with nothing left behind however a run ends."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.sd
import pytest
import torch
from comfy.patcher_extension import WrappersMP
from safetensors.torch import save_file
from support.algorithm_files import CONVOLUTION, MATRIX, made
from support.live_runs import Outputs, Recorder, apart, ask, kohya, named, row, weights
from support.models import load_flux, load_narrow_unet, load_unet, narrow_layers, plain, same_bits

from lorchestra.demo.loras import layers, write_lora

# make test runs them in the newest ComfyUI only, make test-all in the oldest too.
pytestmark = [] if hasattr(comfy.model_patcher.ModelPatcher, "deepclone_multigpu") else [pytest.mark.slow]

Rows = Sequence[dict[str, Any]]
ATTENTION = ("*attn1.to_*", "*attn2.to_*", "*proj_in")


@pytest.fixture(scope="module")
def model() -> Any:
    """A small and narrow SD 1.5 in fp32."""
    return load_narrow_unet()


@pytest.fixture
def files(loras: Path) -> Path:
    """LoRAs for attention, for attention and convolutions, and with a Tucker core."""
    attention, convolutions = narrow_layers(*ATTENTION), narrow_layers("*in_layers.2", "*op", "*emb_layers.1")
    write_lora(loras / "a.safetensors", attention, rank=8, alpha=4, seed=1, scale=3)
    write_lora(loras / "b.safetensors", {**attention, **convolutions}, rank=4, seed=2, scale=2)
    write_lora(loras / "c.safetensors", narrow_layers("*in_layers.2"), rank=4, seed=3, tucker=True, scale=2)
    return loras


@pytest.fixture
def stacked(stack_node: Any) -> Callable[..., Any]:
    """The model with rows of LoRAs beside its layers, or (`merge`) in its weights."""

    def make(base: Any, rows: Rows, *, merge: bool = False) -> Any:
        stack = json.dumps({"version": 1, "loras": list(rows)})
        out = stack_node.execute(model=base, loras=stack, mode="merge" if merge else "live").args
        make.report = out[3]
        return out[0]

    make.report = ""
    return make


def sample(
    model: Any, *, steps: int = 3, sampler: str = "euler", cfg: float = 2.0, callback: Any = None, seed: int = 0
) -> torch.Tensor:
    """A run of one of ComfyUI's samplers on a small latent, as its nodes do it."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    positive, negative = (torch.randn(1, 77, 768, generator=generator) for _ in range(2))
    with torch.inference_mode():
        return comfy.sample.sample(
            model, noise, steps, cfg, sampler, "normal", [[positive, {}]], [[negative, {}]], torch.zeros_like(noise),
            callback=callback, disable_pbar=True, seed=seed,
        )  # fmt: skip


def hooks(model: Any) -> int:
    """Forward hooks on the model's layers."""
    return sum(len(module._forward_hooks) for module in model.model.modules())


def test_constant_weights_give_what_merging_gives(model: Any, files: Path, stacked: Callable[..., Any]) -> None:
    """Ten steps, three files, LoCon and Tucker among them."""
    rows = [row("a", 0.7), row("b", -0.45), row("c", 0.8)]
    before = weights(model)
    live, merged, bare = (
        sample(item, steps=10) for item in (stacked(model, rows), stacked(model, rows, merge=True), model)
    )
    assert apart(live, merged) <= 1e-4
    assert apart(live, bare) > 0.01
    assert same_bits(before, weights(model))


SAMPLERS = ("euler", "heun", "dpmpp_2m_sde", "dpmpp_2s_ancestral", "res_multistep")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_each_step_is_a_merge_at_its_weight(model: Any, files: Path, stacked: Callable[..., Any], sampler: str) -> None:
    """Also between the steps, where samplers ask a second time: progress goes by sigma there."""
    out = stacked(model, [row("a", 0.8, schedule="0:0, 0.5:1, 1:0.2"), row("b", 0.5)])
    recorder = Recorder(out)
    sample(out, sampler=sampler, steps=4)
    sigmas = recorder.calls[0][0][5]["sample_sigmas"].tolist()
    assert len(sigmas) == 5 and len(recorder.calls) >= 4
    weights = set()
    for args, kwargs, answer in recorder.calls:
        place = sum(
            max(0.0, min(1.0, (high - float(args[1][0])) / (high - low))) for high, low in itertools.pairwise(sigmas)
        )
        progress = place / 4
        weight = 0.8 * (progress / 0.5 if progress < 0.5 else 1 - 0.8 * (progress - 0.5) / 0.5)
        merged = stacked(model, [*([row("a", weight)] if weight else []), row("b", 0.5)], merge=True)
        assert apart(answer, ask(merged, args, kwargs)) <= 1e-5, progress
        weights.add(round(weight, 6))
    assert {0.0, 0.4, 0.8, 0.48} <= weights  # the first and the last step are exact


def test_two_clones_of_one_model_do_not_disturb_each_other(
    model: Any, files: Path, stacked: Callable[..., Any]
) -> None:
    """Both alive, run by turns, with another clone of one of them made meanwhile."""
    rows = {"one": [row("a", 0.9, schedule="0:1, 1:0")], "two": [row("a", -0.6), row("b", 0.5, schedule="0:0, 1:1")]}
    before = weights(model)
    first, second = (stacked(model, rows[name]) for name in ("one", "two"))
    results = [sample(item, steps=2) for item in (first, second)]
    again = stacked(model, rows["one"])
    third = second.clone()
    third.add_patches({"diffusion_model.out.2.bias": ("diff", (torch.ones(4),))}, 0.1)
    for item, result in zip((first, second, again), (0, 1, 0), strict=True):
        assert torch.equal(sample(item, steps=2), results[result])
        assert hooks(model) == 0
    assert not torch.equal(sample(third, steps=2), results[1])
    assert torch.equal(sample(second, steps=2), results[1])
    assert same_bits(before, weights(model)) and hooks(model) == 0


class Boom(Exception):
    """Thrown by a test."""


def test_nothing_is_left_after_an_interrupt(model: Any, files: Path, stacked: Callable[..., Any]) -> None:
    """As the stop button does it, at step 3."""
    before, bare = weights(model), sample(model)
    out = stacked(model, [row("a", 0.7, schedule="0:0, 1:1"), row("b", 0.3)])
    whole = sample(out)

    def stop(step: int, *_: Any) -> None:
        assert hooks(model) > 0
        if step == 2:
            raise comfy.model_management.InterruptProcessingException

    with pytest.raises(comfy.model_management.InterruptProcessingException):
        sample(out, callback=stop)
    assert hooks(model) == 0
    assert torch.equal(sample(model), bare)
    assert torch.equal(sample(out), whole)
    assert same_bits(before, weights(model))


@pytest.mark.parametrize("where", ["diffusion_model.middle_block.1.transformer_blocks.0.attn1.to_q", "sampler"])
def test_nothing_is_left_after_an_exception(model: Any, files: Path, stacked: Callable[..., Any], where: str) -> None:
    """Out of memory in the middle of a layer, and an error of the sampler's."""
    out = stacked(model, [row("a", 0.7, schedule="0:0, 1:1"), row("b", 0.3)])
    whole = sample(out)
    count = itertools.count()

    def fail(*_: Any) -> None:
        if next(count) == 2:
            raise torch.OutOfMemoryError("thrown by a test")

    if where == "sampler":
        with pytest.raises(torch.OutOfMemoryError):
            sample(out, callback=fail)
    else:
        handle = model.model.get_submodule(where).register_forward_pre_hook(fail)
        try:
            with pytest.raises(torch.OutOfMemoryError):
                sample(out)
        finally:
            handle.remove()
    assert hooks(model) == 0
    assert torch.equal(sample(out), whole)
    assert hooks(model) == 0


def test_a_failing_layer_of_ours_is_taken_off_too(
    model: Any, files: Path, stacked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that vanishes between two runs: an error, and no hook on those before it."""
    out = stacked(model, [row("a", 0.7)])
    block = model.model.get_submodule("diffusion_model.middle_block.1.transformer_blocks.0.attn2")
    taken = block.to_out
    del block.to_out
    try:
        with pytest.raises(AttributeError):
            sample(out)
        assert hooks(model) == 0
    finally:
        block.to_out = taken
    comfy.model_management.unload_all_models()
    assert apart(sample(out), sample(stacked(model, [row("a", 0.7)], merge=True))) <= 1e-4


def test_stacks_one_after_the_other_add_up(model: Any, files: Path, stacked: Callable[..., Any]) -> None:
    """Three nodes, two of them live and one merging, in a row."""
    first = stacked(model, [row("a", 0.6)])
    chained = stacked(stacked(first, [row("b", -0.3)], merge=True), [row("c", 0.4)])
    merged = stacked(model, [row("a", 0.6), row("b", -0.3), row("c", 0.4)], merge=True)
    assert apart(sample(chained), sample(merged)) <= 1e-4
    assert apart(sample(first), sample(stacked(model, [row("a", 0.6)], merge=True))) <= 1e-4
    assert hooks(model) == 0


def test_the_order_of_rows_changes_no_bit(model: Any, files: Path, stacked: Callable[..., Any]) -> None:
    """All orders of four rows, one file twice."""
    rows = [row("a", 0.7, schedule="0:0, 1:1"), row("b", -0.45), row("a", 0.31), row("c", 0.2, schedule="0:1, 1:0.5")]
    results = [sample(stacked(model, list(order)), steps=2) for order in [*itertools.permutations(rows)][::7]]
    assert all(torch.equal(results[0], other) for other in results[1:])


PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "linear", "conv2d", "convolution")


class Products(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts matrix products and convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func._schema.name.removeprefix("aten::").rstrip("_") in PRODUCTS
        return func(*args, **(kwargs or {}))


def test_zero_costs_nothing(model: Any, files: Path, stacked: Callable[..., Any]) -> None:
    """Products of matrices, counted: a curve that is 0 for half of the steps costs half, and 0 all along nothing."""

    def count(item: Any) -> int:
        with Products() as products:
            sample(item, steps=2)
        return products.count

    bare = count(model)
    constant = count(stacked(model, [row("a")])) - bare
    half = count(stacked(model, [row("a", schedule="0:1 hold, 0.5:0")])) - bare
    assert constant > 0 and half * 2 == constant
    other = [row("b", 0.4)]
    with_other = count(stacked(model, other)) - bare
    never = count(stacked(model, [*other, row("a", schedule="0:0 hold, 0.999:1")])) - bare
    assert never == with_other


def test_rows_for_one_conditioning(model: Any, files: Path, stacked: Callable[..., Any]) -> None:
    """In one batch, positive rows have one LoRA and negative ones another."""
    rows = [row("a", 0.8, conditioning="positive"), row("b", 0.6, conditioning="negative"), row("c", 0.3)]
    out = stacked(model, rows)
    recorder = Recorder(out)
    sample(out, steps=2)
    merged = {
        place: stacked(model, [row(*item), row("c", 0.3)], merge=True)
        for place, item in enumerate((("a", 0.8), ("b", 0.6)))
    }
    for args, kwargs, answer in recorder.calls:
        places = args[5]["cond_or_uncond"]
        assert sorted(places) == [0, 1] and args[0].shape[0] == 2
        for index, place in enumerate(places):
            exact = ask(merged[place], args, kwargs)
            assert apart(answer[index], exact[index]) <= 1e-5


def test_names_of_conditionings_count_not_their_places(model: Any, files: Path, stacked: Callable[..., Any]) -> None:
    """The guider of two positive conditionings puts the negative one first."""
    out = stacked(model, [row("a", 0.8, conditioning="negative")])
    recorder = Recorder(out)

    class Backwards(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Any, timestep: Any, model_options: Any = {}, seed: Any = None) -> Any:  # noqa: B006
            conds = [self.conds["negative"], self.conds["positive"]]
            return comfy.samplers.calc_cond_batch(self.inner_model, conds, x, timestep, model_options)[1]

    guider = Backwards(out)
    generator = torch.Generator().manual_seed(3)
    conds = ([[torch.randn(1, 77, 768, generator=generator), {}]] for _ in range(2))
    guider.set_conds(*conds)
    noise = torch.randn(1, 4, 8, 8, generator=generator)
    with torch.inference_mode():
        guider.sample(
            noise, torch.zeros_like(noise), comfy.samplers.sampler_object("euler"), torch.tensor([5.0, 1.0]),
            disable_pbar=True,
        )  # fmt: skip
    args, kwargs, answer = recorder.calls[0]
    merged, places = stacked(model, [row("a", 0.8)], merge=True), args[5]["cond_or_uncond"]
    for index, place in enumerate(places):
        exact = ask(merged if place == 0 else model, args, kwargs)
        assert apart(answer[index], exact[index]) <= 1e-5


def test_a_sampler_that_does_not_say_its_sigmas(
    model: Any, files: Path, stacked: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Progress is that of the model's own range, and the log says so once."""
    out = stacked(model, [row("a", 0.8, schedule="0:0, 1:1")])
    recorder = Recorder(out)

    def forget(executor: Any, x: Any, t: Any, *args: Any, **kwargs: Any) -> Any:
        args[3].pop("sample_sigmas", None)
        return executor(x, t, *args, **kwargs)

    key = next(iter(out.injections))
    own = out.wrappers[WrappersMP.APPLY_MODEL].pop(key)
    out.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "forget", forget)
    out.wrappers[WrappersMP.APPLY_MODEL][key] = own
    with caplog.at_level("INFO"):
        sample(out)
    assert caplog.text.count("does not say its sigmas") == 1
    sampling = model.model.model_sampling
    for args, kwargs, answer in recorder.calls:
        sigma = float(args[1][0])
        table = [float(sampling.sigma_max), *(float(sampling.percent_to_sigma(i / 100)) for i in range(1, 100)), 0.0]
        low = next(i for i, (a, b) in enumerate(itertools.pairwise(table)) if b <= sigma <= a)
        progress = (low + (table[low] - sigma) / (table[low] - table[low + 1])) / 100
        merged = stacked(model, [row("a", 0.8 * progress)], merge=True) if progress > 1e-9 else model
        assert apart(answer, ask(merged, args, kwargs)) <= 1e-4


QKV, ADA = "double_blocks.0.img_attn.qkv", "final_layer.adaLN_modulation.1"
TO_K, NORM_OUT = "transformer.transformer_blocks.0.attn.to_k", "transformer.norm_out.linear"


@pytest.fixture(scope="module")
def flux() -> Any:
    """A small FLUX.1 in fp32."""
    return load_flux()


def sample_flux(model: Any, steps: int = 2) -> torch.Tensor:
    """A run of a flow-matching model."""
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(2, 16, 8, 8, generator=generator)
    context, pooled = torch.randn(1, 6, 64, generator=generator), torch.randn(1, 768, generator=generator)
    conds = [[context, {"pooled_output": pooled}]]
    with torch.inference_mode():
        return comfy.sample.sample(
            model,
            noise,
            steps,
            1.0,
            "euler",
            "simple",
            conds,
            conds,
            torch.zeros_like(noise),
            disable_pbar=True,
            seed=0,
        )


@pytest.mark.parametrize("kind", MATRIX)
def test_every_algorithm_is_what_merging_gives(flux: Any, loras: Path, stacked: Callable[..., Any], kind: str) -> None:
    """On a fused layer as a whole and on a third of it, on halves that diffusers exchanges, and a bias."""
    whole, third, halves = made(kind, (768, 256), 1), made(kind, (256, 256), 2), made(kind, (512, 256), 3)
    save_file({**named(kohya(QKV), whole), f"{kohya(QKV)}.diff_b": torch.linspace(-1, 1, 768)}, loras / "a.safetensors")
    save_file({**named(TO_K, third), **named(NORM_OUT, halves)}, loras / "b.safetensors")
    rows, outputs = [row("a", 0.7), row("b", -0.4, schedule="0:1, 1:0")], []
    for item in (stacked(flux, rows), stacked(flux, [row("a", 0.7), row("b", -0.4)], merge=True), flux.clone()):
        outputs.append(Outputs(item, QKV, ADA))
        sample_flux(item, steps=1)
    live, merged, bare = outputs
    for name in (QKV, ADA):
        assert apart(live.values[name], merged.values[name]) <= 1e-5, name
        assert apart(merged.values[name], bare.values[name]) > 1e-3
    assert hooks(flux) == 0


@pytest.mark.parametrize("kind", CONVOLUTION)
def test_every_algorithm_on_convolutions(model: Any, loras: Path, stacked: Callable[..., Any], kind: str) -> None:
    """With padding, and with stride 2."""
    layers_ = ("input_blocks.1.0.in_layers.2", "input_blocks.2.0.op")
    parts = [named(kohya(layer), made(kind, (64, 64, 3, 3), number)) for number, layer in enumerate(layers_)]
    save_file({**parts[0], **parts[1]}, loras / "a.safetensors")
    outputs = []
    for item in (stacked(model, [row("a", 0.7)]), stacked(model, [row("a", 0.7)], merge=True), model.clone()):
        outputs.append(Outputs(item, *layers_))
        sample(item, steps=1)
    live, merged, bare = outputs
    first, second = layers_
    assert apart(live.values[first], merged.values[first]) <= 1e-5
    assert apart(live.values[second], merged.values[second]) <= 1e-5
    assert apart(merged.values[second], bare.values[second]) > 1e-3


def test_a_flow_matching_model_step_by_step(flux: Any, loras: Path, stacked: Callable[..., Any]) -> None:
    """Progress is exact on its sigmas, too."""
    save_file(named(kohya(QKV), made("LoRA", (768, 256), 1)), loras / "a.safetensors")
    out = stacked(flux, [row("a", schedule="0:1, 1:0")])
    recorder = Recorder(out)
    sample_flux(out, steps=4)
    for step, (args, kwargs, answer) in enumerate(recorder.calls):
        assert apart(answer, ask(stacked(flux, [row("a", 1 - step / 4)], merge=True), args, kwargs)) <= 1e-5
    assert len(recorder.calls) == 4


def test_what_cannot_be_live_is_merged_and_told(model: Any, loras: Path, stacked: Callable[..., Any]) -> None:
    """The scale of a norm, with the layer beside it live."""
    layer, norm = "input_blocks.1.0.in_layers.2", "input_blocks.1.0.in_layers.0"
    tensors = named(kohya(layer), made("LoRA", (64, 64, 3, 3)))
    save_file({**tensors, f"{kohya(norm)}.w_norm": torch.ones(64)}, loras / "a.safetensors")
    out = stacked(model, [row("a", 0.5, schedule="0:0, 1:1")])
    assert list(out.patches) == [f"diffusion_model.{norm}.weight"]
    summary, first, second = stacked.report.split("\n")
    why = "it is neither a linear layer nor a convolution"
    assert summary == f"1 layer live, 1 merged (because {why}), 0 without effect."
    assert first == (
        "a.safetensors: 1 module is merged at weight 0.5, because it is neither a linear layer nor a convolution; "
        "the schedule does not reach there"
    )
    assert second.startswith("a.safetensors: weight 0.5 × schedule 0:0, 1:1")


def test_modes(stack_node: Any, model: Any, files: Path) -> None:
    """Auto is live where a weight changes over the steps or with the conditioning; merge refuses such rows."""

    def keys(rows: Rows, **inputs: Any) -> tuple[int, int]:
        out = stack_node.execute(model=model, loras=json.dumps(rows), **inputs).args[0]
        return len(out.patches), len(out.injections)

    constant, fade, positive = [row("a")], [row("a", schedule="0:0, 1:1")], [row("a", conditioning="positive")]
    merged = keys(constant)
    assert merged[0] > 0 and merged[1] == 0
    assert keys(constant, mode="merge") == keys([row("a", schedule="0:1, 1:1")]) == merged
    assert keys(constant, mode="live") == keys(fade) == keys(positive) == keys(constant, schedule="0:0, 1:1") == (0, 1)
    assert keys([row("a", 0.0)], mode="live") == keys([], mode="live") == keys([row("a", schedule="0")]) == (0, 0)
    for rows in (fade, positive):
        with pytest.raises(Exception, match=r"row 1: .*mode is auto or live"):
            keys(rows, mode="merge")
        assert "mode is auto or live" in stack_node.validate_inputs(loras=json.dumps(rows), mode="merge")
        assert stack_node.validate_inputs(loras=json.dumps(rows), mode="auto") is True


def test_a_schedule_for_all_rows(stack_node: Any, model: Any, files: Path) -> None:
    """It multiplies the weights of this node's rows, on top of their own schedules; other nodes' rows keep theirs."""
    out = stack_node.execute(
        model=model,
        loras=json.dumps([row("a", 0.8, schedule="0:1, 1:0")]),
        lora_stack=[("b.safetensors", 0.5, 0.5)],
        schedule="0:0, 1:1",
    ).args[0]
    recorder = Recorder(out)
    sample(out, steps=2)
    args, kwargs, answer = recorder.calls[1]
    halfway = json.dumps([row("a", 0.2), row("b", 0.5)])
    merged = stack_node.execute(model=model, loras=halfway).args[0]
    assert apart(answer, ask(merged, args, kwargs)) <= 1e-5


def fp8(scaled: bool) -> tuple[Any, Any]:
    """(a small SD 1.5 whose linear weights are fp8, the same in fp32); scaled as ComfyUI loads it, or plain."""
    state = {key.removeprefix("diffusion_model."): value for key, value in plain(load_unet(torch.float32)).items()}
    state = {key: value for key, value in state.items() if not key.startswith("model_sampling")}
    exact, packed = {}, {}
    for key, value in state.items():
        is_linear = key.endswith(".weight") and value.dim() == 2
        scale = value.abs().max() / 448 if is_linear and scaled else torch.tensor(1.0)
        packed[key] = (value / scale).to(torch.float8_e4m3fn) if is_linear or not scaled else value
        exact[key] = packed[key].float() * scale
        if is_linear and scaled:
            packed[key.removesuffix("weight") + "scale_weight"] = scale
    if scaled:
        packed["scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)
        return load(packed), load(exact)
    return load(packed, dtype=torch.float8_e4m3fn), load(exact)


def load(state: dict[str, torch.Tensor], **options: Any) -> Any:
    """A MODEL from a state dict."""
    return comfy.sd.load_diffusion_model_state_dict(dict(state), model_options=options)


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_a_quantized_model_is_nearer_to_the_truth_live(stack_node: Any, loras: Path, scaled: bool) -> None:
    """Than merged: the LoRA is not rounded to fp8."""
    attention = layers(*ATTENTION)
    write_lora(loras / "a.safetensors", attention, rank=8, seed=1, scale=1)
    tensors = named(kohya("input_blocks.1.1.transformer_blocks.0.attn1.to_v"), made("DoRA by row", (320, 320)))
    save_file(tensors, loras / "b.safetensors")
    with torch.inference_mode():  # as ComfyUI's loaders run
        model, truth = fp8(scaled)
    before = weights(model)
    rows = json.dumps([row("a", 0.7), row("b", 0.5)])
    exact = stack_node.execute(model=truth, loras=rows, mode="merge").args[0]
    recorder = Recorder(exact)
    sample(exact, steps=1)
    answer, off = recorder.calls[0][2], {}
    for mode in ("live", "merge"):
        out = stack_node.execute(model=model, loras=rows, mode=mode).args[0]
        assert bool(out.injections) == (mode != "merge")
        recorder = Recorder(out)
        sample(out, steps=1)
        off[mode] = apart(recorder.calls[0][2], answer)
    assert off["live"] < off["merge"] / 3
    assert same_bits(before, weights(model))


def test_a_copy_for_another_gpu(stack_node: Any, loras: Path, tmp_path: Path) -> None:
    """ComfyUI loads the model anew for it and copies what goes with it; here both are on the CPU."""
    write_lora(loras / "a.safetensors", layers(*ATTENTION), rank=8, alpha=4, seed=1, scale=3)
    write_lora(loras / "c.safetensors", layers("*in_layers.2"), rank=4, seed=3, tucker=True, scale=2)
    path = tmp_path / "unet.safetensors"
    state = plain(load_unet(torch.float32))
    save_file(
        {key.removeprefix("diffusion_model."): value for key, value in state.items() if "sampling" not in key}, path
    )
    model = comfy.sd.load_diffusion_model(str(path), model_options={"dtype": torch.float32})
    out = stack_node.execute(model=model, loras=json.dumps([row("a", 0.8), row("c")]), mode="live").args[0]
    if not hasattr(out, "deepclone_multigpu"):
        pytest.skip("this ComfyUI has no copies for other GPUs")
    result = sample(out)
    copy = out.deepclone_multigpu()
    key = next(iter(out.injections))
    assert copy.model is not out.model
    assert copy.get_additional_models_with_key(key)[0].model is not out.get_additional_models_with_key(key)[0].model
    assert torch.equal(sample(copy), result)
    assert torch.equal(sample(out), result)
    assert hooks(out) == hooks(copy) == 0


def test_changing_a_weight_makes_and_loads_nothing_anew(stack_node: Any, model: Any, files: Path) -> None:
    """The factors stay where they are as long as ComfyUI keeps the last result."""
    first, second = (
        stack_node.execute(model=model, loras=json.dumps([row("a", weight)]), mode="live").args[0]
        for weight in (0.4, 0.8)
    )
    factors = [item.get_additional_models()[0] for item in (first, second)]
    assert factors[0].model is factors[1].model and factors[0].patches_uuid == factors[1].patches_uuid
    assert factors[0] is not factors[1]
    live = sample(second)
    merged = stack_node.execute(model=model, loras=json.dumps([row("a", 0.8)]), mode="merge").args[0]
    assert apart(live, sample(merged)) <= 1e-4
