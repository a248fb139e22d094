"""The live path among ComfyUI's other mechanisms: short memory, other packs' changes, compilation, a second model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.samplers
import comfy.sd
import comfy.utils
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from safetensors.torch import save_file
from support.algorithm_files import made
from support.live_runs import Recorder, Stacks, apart, ask, hooks, kohya, named, noise, row, sample, sample_wan, weights
from support.models import load_narrow_unet, narrow, narrow_layers, same_bits

from lorchestra.demo.loras import write_lora

# make test runs them in the newest ComfyUI only, make test-all in the oldest too.
pytestmark = [] if hasattr(ModelPatcher, "deepclone_multigpu") else [pytest.mark.slow]

CPU = torch.device("cpu")
ATTENTION = ("*attn1.to_*", "*attn2.to_*", "*proj_in")
BLOCK = "input_blocks.1.1.transformer_blocks.0."
TO_Q, TO_V = f"{BLOCK}attn1.to_q", f"{BLOCK}attn1.to_v"


@pytest.fixture(scope="module")
def model() -> Any:
    """A small and narrow SD 1.5 in fp32."""
    return load_narrow_unet()


@pytest.fixture(scope="module")
def other() -> Any:
    """Another one."""
    return load_narrow_unet(seed=8)


@pytest.fixture
def files(loras: Path) -> Path:
    """LoRAs for attention and convolutions, and DoRAs of two kinds."""
    attention, convolutions = narrow_layers(*ATTENTION), narrow_layers("*in_layers.2", "*op")
    write_lora(loras / "a.safetensors", attention, rank=8, alpha=4, seed=1, scale=3)
    write_lora(loras / "b.safetensors", {**attention, **convolutions}, rank=4, seed=2, scale=2)
    rows, columns = made("DoRA by row", (64, 64), 1), made("DoRA by column", (64, 64), 2)
    save_file({**named(kohya(TO_V), rows), **named(kohya(TO_Q), columns)}, loras / "dora.safetensors")
    return loras


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


@pytest.fixture
def short(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """The model gets a third of the memory that it needs, as on a small GPU; tells how many layers are left out.

    ComfyUI gives a CPU all that a model asks for, so the limit is put in where it asks.
    """
    comfy.model_management.unload_all_models()
    load = ModelPatcher.partially_load

    def limited(self: Any, device_to: Any, extra_memory: float = 0, **more: Any) -> int:
        return load(self, device_to, model.model_size() / 3 if self.model is model.model else extra_memory, **more)

    monkeypatch.setattr(ModelPatcher, "partially_load", limited)
    yield lambda: sum(hasattr(module, "prev_comfy_cast_weights") for module in model.model.modules())
    comfy.model_management.unload_all_models()


def test_short_memory(
    model: Any, files: Path, stacked: Stacks, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    """Layers whose weights ComfyUI brings at each use, with merged LoRAs under ours: what is enough memory gives."""
    before = weights(model)
    rows = [row("a", 0.7, schedule="0:0.2, 1:1"), row("dora", 0.8)]

    def make() -> Any:
        return stacked(stacked(model, [row("b", 0.6)], "merge"), rows)

    enough = sample(make())
    left_out: Callable[[], int] = request.getfixturevalue("short")
    out = make()
    counts: list[int] = []
    functions: list[int] = []

    def count(*_: Any) -> None:
        counts.append(left_out())
        functions.append(sum(len(getattr(module, "weight_function", ())) for module in model.model.modules()))

    result = sample(out, callback=count)
    assert min(counts) > 20 and min(functions) > 10  # merged LoRAs are added at each use, too
    assert apart(result, enough) <= 1e-5
    assert apart(sample(out), enough) <= 1e-5
    comfy.model_management.unload_all_models()
    assert hooks(model) == 0 and same_bits(before, weights(model))


def test_memory_taken_away_in_the_middle_of_a_run(model: Any, files: Path, stacked: Stacks) -> None:
    """As when another model needs it: ComfyUI takes our hooks off and puts them on again."""
    out = stacked(model, [row("a", 0.7, schedule="0:0.2, 1:1"), row("dora", 0.8)])
    enough = sample(out)
    comfy.model_management.unload_all_models()
    freed: list[int] = []

    def take(step: int, *_: Any) -> None:
        if step == 0:
            freed.append(out.partially_unload(CPU, model.model_size() // 2))

    assert apart(sample(out, callback=take), enough) <= 1e-5
    assert freed[0] > model.model_size() // 3
    assert hooks(model) == 0
    comfy.model_management.unload_all_models()


def bypassed(model: Any, path: Path, strength: float) -> Any:
    """With a LoRA by ComfyUI's own bypass loader, which replaces the layers' forward."""
    if not hasattr(comfy.sd, "load_bypass_lora_for_models"):
        pytest.skip("this ComfyUI has no bypass loader")
    return comfy.sd.load_bypass_lora_for_models(model, None, comfy.utils.load_torch_file(str(path)), strength, 0.0)[0]


@pytest.mark.parametrize("is_first", [True, False])
def test_comfyuis_bypass_loader_on_the_same_layers(model: Any, files: Path, stacked: Stacks, is_first: bool) -> None:
    """Before our stack and after it: both act, and nothing of them is left."""
    before, bare = weights(model), sample(model)
    merged = sample(stacked(model, [row("a", 0.7), row("b", -0.4)], "merge"))
    b = files / "b.safetensors"
    ours = [row("a", 0.7)]
    out = stacked(bypassed(model, b, -0.4), ours) if is_first else bypassed(stacked(model, ours), b, -0.4)
    assert len(out.injections) == 2
    for _ in range(2):
        assert apart(sample(out), merged) <= 1e-4
        assert hooks(model) == 0
        assert all("bypass" not in module.forward.__qualname__.lower() for module in model.model.modules())
    assert torch.equal(sample(model), bare)
    assert same_bits(before, weights(model))


class Boom(Exception):
    """Thrown by a test."""


@pytest.mark.parametrize("is_first", [True, False])
def test_another_packs_hook_that_raises(model: Any, files: Path, stacked: Stacks, is_first: bool) -> None:
    """Its own hook stays where it is, ours are gone."""
    out = stacked(model, [row("a", 0.7)])
    whole = sample(out)
    count = itertools.count()
    layer = model.model.get_submodule(f"diffusion_model.{TO_Q}")

    def fail(*_: Any) -> None:
        if next(count) == 1:
            raise Boom

    handles: list[Any] = [layer.register_forward_hook(fail)] if is_first else []

    def late(*_: Any) -> None:
        if not handles:
            handles.append(layer.register_forward_hook(fail))

    try:
        with pytest.raises(Boom):
            sample(out, steps=3, callback=late)
        assert hooks(model) == 1 and hooks(out) == 1
    finally:
        for handle in handles:
            handle.remove()
    assert torch.equal(sample(out), whole)
    assert hooks(model) == 0


class Wrapped(torch.nn.Module):
    """A layer inside of another pack's."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return self.inner(x)


@pytest.mark.parametrize("is_first", [True, False])
def test_an_object_patch_in_place_of_a_layer(model: Any, files: Path, stacked: Stacks, is_first: bool) -> None:
    """Another pack wraps a layer that we have hooks on: put there after our stack, it is what gets the hook."""
    merged = sample(stacked(model, [row("a", 0.7)], "merge"))
    path = f"diffusion_model.{TO_Q}"
    wrapped = Wrapped(model.model.get_submodule(path))
    out = model.clone()
    if is_first:
        out.add_object_patch(path, wrapped)
        out = stacked(out, [row("a", 0.7)])
    else:
        out = stacked(out, [row("a", 0.7)])
        out.add_object_patch(path, wrapped)
    assert apart(sample(out), merged) <= 1e-4
    assert wrapped.count > 0 and hooks(model) == 0 and not wrapped._forward_hooks
    comfy.model_management.unload_all_models()
    assert model.model.get_submodule(path) is wrapped.inner


def test_merging_while_another_packs_layer_is_in_place(model: Any, files: Path, stacked: Stacks) -> None:
    """ComfyUI leaves it there after a run, until the model is unloaded or runs without it."""
    expected = sample(stacked(model, [row("a", 0.7)], "merge"))
    path = f"diffusion_model.{TO_Q}"
    out = model.clone()
    out.add_object_patch(path, Wrapped(model.model.get_submodule(path)))
    sample(out, steps=1)
    try:
        assert apart(sample(stacked(model, [row("a", 0.7)], "merge")), expected) <= 1e-4
    finally:
        comfy.model_management.unload_all_models()


def test_attention_that_another_pack_replaced(
    model: Any, files: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it still calls the layers all is well; where it takes their weights past ComfyUI, a warning names them."""
    merged = sample(stacked(model, [row("a", 0.7)], "merge"))
    attention = model.model.get_submodule(f"diffusion_model.{BLOCK}attn1")
    forward = attention.forward

    def through(*args: Any, **kwargs: Any) -> Any:
        return forward(*args, **kwargs)

    def around(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        q, k, v = (torch.nn.functional.linear(x, getattr(attention, f"to_{part}").weight) for part in "qkv")
        return attention.to_out(comfy.ldm.modules.attention.optimized_attention(q, k, v, attention.heads))

    for patch, is_told in ((through, False), (around, True)):
        out = stacked(model, [row("a", 0.7)])
        out.add_object_patch(f"diffusion_model.{BLOCK}attn1.forward", patch)
        caplog.clear()
        with caplog.at_level("WARNING"):
            result = sample(out, steps=1 if is_told else 2)
        assert (apart(result, merged) <= 1e-4) == (not is_told)
        assert ("layers with LoRAs did not run" in caplog.text) == is_told
        assert (TO_V in caplog.text) == is_told
        comfy.model_management.unload_all_models()


def progresses(recorder: Recorder) -> list[float]:
    """How far along its own sigmas each of the sampler's calls was."""
    sigmas = recorder.calls[0][0][5]["sample_sigmas"].tolist()
    return [sigmas.index(float(args[1][0])) / (len(sigmas) - 1) for args, _, _ in recorder.calls]


@pytest.mark.parametrize("is_swapped", [False, True])
def test_a_second_pass(model: Any, files: Path, stacked: Stacks, is_swapped: bool) -> None:
    """Two samplers, two stacks: the second one begins in the middle of the noise, and at progress 0 all the same."""
    before = weights(model)
    stacks: list[Any] = [[row("a", 0.8, schedule="0:1, 1:0")], [row("b", 0.6, schedule="0:0, 1:1"), row("dora", 0.5)]]
    stacks = stacks[::-1] if is_swapped else stacks
    first, second = (stacked(model, rows) for rows in stacks)
    start = sample(first)
    for more in ({"denoise": 0.5}, {"start_step": 2, "last_step": 4, "steps": 4}):
        recorder = Recorder(out := second.clone())
        sample(out, latent_image=start, **more)
        assert progresses(recorder) == [step / len(recorder.calls) for step in range(len(recorder.calls))]
        for progress, (args, kwargs, answer) in zip(progresses(recorder), recorder.calls, strict=True):
            at = {"0:1, 1:0": 1 - progress, "0:0, 1:1": progress}
            rows = [
                {**item, "model": item["model"] * at.get(item.get("schedule", ""), 1.0), "schedule": ""}
                for item in stacks[1]
            ]
            merged = stacked(model, [item for item in rows if item["model"]], "merge")
            assert apart(answer, ask(merged, args, kwargs)) <= 1e-5
    assert torch.equal(sample(first), start)
    assert hooks(model) == 0 and same_bits(before, weights(model))


def test_several_latents_and_rows_for_one_conditioning(model: Any, files: Path, stacked: Stacks) -> None:
    """In a batch of two latents the first half of the rows is one conditioning's and the second the other's."""
    out = stacked(model, [row("a", 0.8, conditioning="positive", schedule="0:0.5, 1:1"), row("b", 0.3)])
    recorder = Recorder(out)
    sample(out, steps=2, batch=2)
    for step, (args, kwargs, answer) in enumerate(recorder.calls):
        merged = {
            0: stacked(model, [row("a", 0.8 * (0.5 + step / 4)), row("b", 0.3)], "merge"),
            1: stacked(model, [row("b", 0.3)], "merge"),
        }
        assert args[0].shape[0] == 4 and sorted(args[5]["cond_or_uncond"]) == [0, 1]
        for index, place in enumerate(args[5]["cond_or_uncond"]):
            part = slice(2 * index, 2 * index + 2)
            assert apart(answer[part], ask(merged[place], args, kwargs)[part]) <= 1e-5
    assert len(recorder.calls) == 2


def guided(first: Any, second: Any, *, callback: Any = None) -> torch.Tensor:
    """A run with a second model for what is not wanted."""
    from comfy_extras import nodes_custom_sampler

    if not hasattr(nodes_custom_sampler, "Guider_DualModel"):
        pytest.skip("this ComfyUI has no guider of two models")
    conds = [[noise(1, 77, 768, seed=1), {}]], [[noise(1, 77, 768, seed=2), {}]]
    start = noise(1, 4, 8, 8)
    with torch.inference_mode():
        guider = nodes_custom_sampler.DualModelGuider.execute(first, conds[0], 3.0, second, conds[1]).args[0]
        return guider.sample(
            start, torch.zeros_like(start), comfy.samplers.sampler_object("euler"), torch.tensor([8.0, 3.0, 1.0, 0.0]),
            disable_pbar=True, seed=0, callback=callback,
        )  # fmt: skip


CONSTANT = [row("a", 0.7), row("b", -0.4)]


@pytest.mark.parametrize("places", [(0,), (1,), (0, 1)], ids=["first", "second", "both"])
def test_a_guider_of_two_models(model: Any, other: Any, files: Path, stacked: Stacks, places: tuple[int, ...]) -> None:
    """Each of the models has its own stack, as merging has it, and none is left on either."""
    bases = (model, other)
    before, bare = [weights(base) for base in bases], [sample(base) for base in bases]
    rows = ([row("a", 0.7)], [row("b", -0.5), row("dora", 0.6)])
    live, merged = (
        [stacked(base, rows[place], mode) if place in places else base for place, base in enumerate(bases)]
        for mode in ("live", "merge")
    )
    expected = guided(*merged)
    on: list[list[int]] = []
    result = guided(*live, callback=lambda *_: on.append([hooks(base) for base in bases]))
    assert [hooks(base) for base in bases] == [0, 0]
    assert apart(result, expected) <= 1e-4
    assert apart(result, guided(*bases)) > 1e-3
    for counts in on:
        assert [place for place in (0, 1) if counts[place]] == list(places)
    for base, weights_, answer in zip(bases, before, bare, strict=True):
        assert hooks(base) == 0
        assert torch.equal(sample(base), answer)
        assert hooks(base) == 0 and same_bits(weights_, weights(base))


def test_schedules_and_conditionings_on_a_second_model(model: Any, other: Any, files: Path, stacked: Stacks) -> None:
    """Its steps are the run's, and all it does is for the negative conditioning."""
    rows = [
        row("a", 0.8, schedule="0:0, 1:1"),
        row("b", -0.5, conditioning="negative"),
        row("dora", 0.5, conditioning="positive"),
    ]
    out = stacked(other, rows)
    recorder = Recorder(first := model.clone())
    guided(first, out)
    sigmas = recorder.calls[0][0][5]["sample_sigmas"].tolist()
    asked = [call for call in recorder.calls if call[0][1] is not None]
    assert len(asked) == 6
    for args, kwargs, answer in asked[1::2]:
        weight = 0.8 * sigmas.index(float(args[1][0])) / 3
        merged = stacked(other, [*([row("a", weight)] if weight else []), row("b", -0.5)], "merge")
        assert apart(answer, ask(merged, args, kwargs)) <= 1e-5
    assert hooks(model) == hooks(other) == 0


def test_nothing_is_left_on_a_second_model_after_an_exception(
    model: Any, other: Any, files: Path, stacked: Stacks
) -> None:
    """In the middle of its layers, and between the steps."""
    out, bare = stacked(other, CONSTANT), sample(other)
    whole = guided(model, out)
    layer = other.model.get_submodule(f"diffusion_model.{TO_V}")
    count = itertools.count()

    def fail(*_: Any) -> None:
        if next(count) == 1:
            raise Boom

    handle = layer.register_forward_pre_hook(fail)
    try:
        with pytest.raises(Boom):
            guided(model, out)
        assert next(count) > 1
    finally:
        handle.remove()
    assert hooks(model) == hooks(other) == 0
    count = itertools.count()
    with pytest.raises(Boom):
        guided(model, out, callback=fail)
    assert hooks(model) == hooks(other) == 0
    assert torch.equal(guided(model, out), whole)
    assert torch.equal(sample(other), bare)


@pytest.mark.parametrize("is_split", [True, False], ids=["each its own", "the first one its own"])
def test_weights_that_differ_under_a_dora(
    model: Any, files: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture, is_split: bool
) -> None:
    """It takes the weight with an earlier stack's LoRAs, and these are for one of two conditionings in one call."""
    upper = row("dora", 0.7, **({"conditioning": "negative"} if is_split else {}))
    recorder = Recorder(out := stacked(stacked(model, [row("a", 0.8, conditioning="positive")]), [upper]))
    with caplog.at_level("INFO"):
        sample(out)
    assert caplog.text.count("has LoRAs that depend on its weight, and each conditioning has another weight") == 1
    places = []
    for args, kwargs, answer in recorder.calls:
        (place,) = set(args[5]["cond_or_uncond"])
        merged = model if place else stacked(model, [row("a", 0.8)], "merge")
        if place or not is_split:
            merged = stacked(merged, [row("dora", 0.7)], "merge")
        assert apart(answer, ask(merged, args, kwargs)) <= 1e-5
        places.append(place)
    assert sorted(places) == [0, 0, 1, 1]
    assert hooks(model) == 0


def test_what_cannot_be_added_under_a_dora_is_told(
    model: Any, files: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture
) -> None:
    """A LoHa on a convolution has no weight that a DoRA above it could take."""
    name, shape = "lora_unet_input_blocks_1_0_in_layers_2", narrow((320, 320, 3, 3))
    save_file(named(name, made("LoHa", shape, 3)), files / "loha.safetensors")
    save_file(named(name, made("DoRA by row", shape, 4)), files / "conv.safetensors")
    out = stacked(stacked(model, [row("loha", 0.8)]), [row("conv", 0.5)])
    sample(out)
    sample(out)
    assert caplog.text.count("LoRAs on 1 of 1 layers depend on the layer's weight, and take it without those of") == 1
    caplog.clear()
    sample(stacked(stacked(model, [row("loha", 0.8)], "merge"), [row("conv", 0.5)]))
    sample(stacked(model, [row("loha", 0.8), row("conv", 0.5)]))
    assert "depend on the layer's weight" not in caplog.text


@pytest.mark.parametrize("is_first", [True, False])
def test_nothing_stays_on_a_second_model_where_another_packs_cleanup_raises(
    model: Any, other: Any, files: Path, stacked: Stacks, is_first: bool
) -> None:
    """Ours comes first, whoever registered first."""
    bare, whole = sample(other), guided(model, stacked(other, CONSTANT))
    raises = [False]

    def fail(*_: Any) -> None:
        if raises[0]:
            raise Boom

    def with_another(item: Any) -> Any:
        item = item.clone()
        item.add_callback_with_key(CallbacksMP.ON_CLEANUP, "other", fail)
        return item

    out = stacked(with_another(other), CONSTANT) if is_first else with_another(stacked(other, CONSTANT))
    raises[0] = True
    with pytest.raises(Boom):
        guided(model, out)
    assert hooks(model) == hooks(other) == 0
    assert torch.equal(sample(other), bare)
    raises[0] = False
    assert torch.equal(guided(model, out), whole)
    assert hooks(model) == hooks(other) == 0


@pytest.mark.skipif(
    not hasattr(ModelPatcher, "model_patches_call_function"), reason="this ComfyUI cleans up no patches"
)
def test_what_stays_on_a_second_model_does_nothing(model: Any, other: Any, files: Path, stacked: Stacks) -> None:
    """ComfyUI cleans up other packs' patches before it calls anybody. Where one raises, the next load ejects ours."""
    bare, whole = sample(other), guided(model, stacked(other, CONSTANT))
    alone = guided(model, other)

    class Patch:
        raises = True

        def cleanup(self) -> None:
            if self.raises:
                raise Boom

    out, patch = stacked(other, CONSTANT), Patch()
    out.set_model_patch(patch, "nobody_asks_for_it")
    with pytest.raises(Boom):
        guided(model, out)
    assert hooks(other) > 0
    assert torch.equal(guided(model, other), alone)
    assert torch.equal(sample(other), bare)
    patch.raises = False
    assert torch.equal(guided(model, out), whole)
    assert hooks(model) == hooks(other) == 0
    assert torch.equal(sample(other), bare)


def test_the_second_model_of_a_guider_alone(model: Any, other: Any, files: Path, stacked: Stacks) -> None:
    """It runs as any other, after it was a second one and before."""
    out = stacked(other, CONSTANT)
    alone = sample(out)
    guided(model, out)
    assert torch.equal(sample(out), alone)
    swapped = guided(out, model)
    assert apart(swapped, guided(stacked(other, CONSTANT, "merge"), model)) <= 1e-4
    assert torch.equal(sample(out), alone)
    assert hooks(model) == hooks(other) == 0


FEED_FORWARD = "blocks.0.ffn"


def compiled(model: Any, counts: list[int]) -> Any:
    """As ComfyUI's TorchCompileModel does it, for one part, by a backend that changes nothing and counts the graphs."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras import nodes_torch_compile

    def backend(graph: Any, inputs: Any) -> Any:
        counts.append(len(graph.graph.nodes))
        return graph.forward

    out = model.clone(disable_dynamic=True)
    options: Any = {"guard_filter_fn": nodes_torch_compile.skip_torch_compile_dict}
    set_torch_compile_wrapper(out, backend, options, keys=[f"diffusion_model.{FEED_FORWARD}"])  # pyright: ignore
    return out


@pytest.mark.parametrize("is_first", [True, False])
def test_a_compiled_model(loras: Path, stacked: Stacks, is_first: bool) -> None:
    """No new graph for other weights, for weights that become 0, one or all of them, or for another run."""
    pytest.importorskip("comfy.quant_ops", reason="this ComfyUI has no such options for compiling")
    from support.quantized import load_wan, wan_state

    model = load_wan(wan_state())
    for seed, name in enumerate("xy"):
        parts = {f"{FEED_FORWARD}.{place}": shape for place, shape in ((0, (512, 256)), (2, (256, 512)))}
        tensors = (named(kohya(layer), made("LoRA", shape, seed)) for layer, shape in parts.items())
        save_file({key: value for part in tensors for key, value in part.items()}, loras / f"{name}.safetensors")
    rows = [row("x", 0.8, schedule="0:1, 0.5:0 hold, 1:0"), row("y", -0.4, schedule="0:0, 0.5:0 hold, 0.75:1")]
    torch._dynamo.reset()
    exact = sample_wan(stacked(model, rows), steps=4)
    counts: list[int] = []
    added: list[int] = []
    out = stacked(compiled(model, counts), rows) if is_first else compiled(stacked(model, rows), counts)
    result = sample_wan(out, steps=4, callback=lambda *_: added.append(len(counts)))
    assert apart(result, exact) <= 1e-5 and apart(result, sample_wan(model, steps=4)) > 1e-3
    assert hooks(model) == 0
    assert added == [1, 1, 1, 1]
    assert torch.equal(sample_wan(out, steps=4), result)
    assert counts == counts[:1]
    torch._dynamo.reset()
