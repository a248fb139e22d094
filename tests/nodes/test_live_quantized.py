"""The live path on packed weights, in every format that ComfyUI loads: nearer to the truth than merging is.

The truth is the model with the same weights unpacked to fp32 and the LoRAs merged into them. Some formats round the
inputs of a layer, too, with a LoRA and without: there the truth is what the layers say, plus the LoRAs' own products.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import comfy.model_management
import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("comfy.quant_ops", reason="this ComfyUI is older than packed weights of these formats")

from support.algorithm_files import KINDS, made
from support.live_runs import Outputs, Recorder, Stacks, apart, ask, hooks, kohya, named, row, sample_wan, weights
from support.models import same_bits
from support.quantized import FORMATS, Format, Q8Ops, Q8Tensor, is_packed, load_wan, packed_wan, wan_state

BLOCK = "blocks.0."
LAYERS = {
    f"{BLOCK}{name}": shape
    for name, shape in {
        **{f"{kind}.{part}": (256, 256) for kind in ("self_attn", "cross_attn") for part in "qkvo"},
        "ffn.0": (512, 256),
        "ffn.2": (256, 512),
    }.items()
}
ALONE = tuple(name for name in LAYERS if not name.endswith("ffn.2"))
"""Those whose weights ComfyUI never uses without running them."""


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> Format:
    """Each format."""
    return FORMATS[request.param]


@pytest.fixture
def files(loras: Path) -> Path:
    """LoRAs for all packed layers, for two of them, and DoRAs."""

    def write(name: str, kind: str, *layers: str) -> None:
        tensors = (named(kohya(layer), made(kind, LAYERS[layer], seed)) for seed, layer in enumerate(layers))
        save_file({key: value for parts in tensors for key, value in parts.items()}, loras / f"{name}.safetensors")

    write("a", "LoRA", *LAYERS)
    write("alone", "LoRA", *ALONE)
    write("b", "LoRA", f"{BLOCK}self_attn.v", f"{BLOCK}ffn.2")
    write("row", "DoRA by row", f"{BLOCK}self_attn.v", f"{BLOCK}cross_attn.o")
    write("column", "DoRA by column", f"{BLOCK}self_attn.k", f"{BLOCK}ffn.0")
    return loras


def run(module: Any, x: torch.Tensor) -> torch.Tensor:
    """What a layer says, outside of a run."""
    with torch.inference_mode():
        return module(x)


def test_a_lora_is_not_rounded(form: Format, files: Path, stacked: Stacks) -> None:
    """What is added to each layer is exact live; merged it is rounded as the format rounds."""
    model, exact = packed_wan(form)
    before = weights(model)
    rows = [row("a", 0.7), row("b", -0.4)]
    truth = stacked(exact, rows, "merge")
    # Feed-forward blocks as wholes, too: there ComfyUI may use a weight without running its layer.
    watched = [*LAYERS, f"{BLOCK}ffn"]
    off: dict[str, dict[str, float]] = {}
    for mode in ("live", "merge"):
        out = stacked(model, rows, mode)
        assert (len(out.injections), len(out.patches)) == ((1, 0) if mode == "live" else (0, len(LAYERS)))
        outputs = Outputs(out, *watched)
        sample_wan(out, steps=1)
        assert hooks(model) == 0 or mode == "merge"
        assert same_bits(before, weights(model))
        off[mode] = {}
        bare, plain = model.model.diffusion_model, exact.model.diffusion_model
        added = {name: outputs.values[name] - run(bare.get_submodule(name), x) for name, x in outputs.inputs.items()}
        without = {name: run(plain.get_submodule(name), x) for name, x in outputs.inputs.items()}
        comfy.model_management.load_models_gpu([truth])
        for name, x in outputs.inputs.items():
            off[mode][name] = apart(added[name], run(plain.get_submodule(name), x) - without[name])
    assert off["live"].keys() == off["merge"].keys() and len(off["live"]) >= len(LAYERS)
    for name, distance in off["live"].items():
        # The block as a whole rounds the inputs of its second layer, and the second layer live does not.
        if name == f"{BLOCK}ffn" and form.packs_inputs:
            assert distance < off["merge"][name] * 0.8
            continue
        assert distance <= 1e-5, name
        assert distance < off["merge"][name] / 1000, name


class Beside:
    """Products of LoRAs beside layers, by hooks of the test's own."""

    def __init__(self, model: Any, changes: dict[str, torch.Tensor]) -> None:
        self._model = model
        self._changes = changes
        self._handles: list[Any] = []

    def __enter__(self) -> None:
        def hook(change: torch.Tensor) -> Any:
            return lambda module, args, y: (y.double() + args[0].double() @ change.T).to(y.dtype)

        for name, change in self._changes.items():
            layer = self._model.model.diffusion_model.get_submodule(name)
            self._handles.append(layer.register_forward_hook(hook(change)))

    def __exit__(self, *_: Any) -> None:
        for handle in self._handles:
            handle.remove()


def test_each_step_is_a_merge_into_the_truth_at_its_weight(form: Format, files: Path, stacked: Stacks) -> None:
    """With a format that the file's metadata say; at weight 0 the model answers as it is."""
    model, exact = packed_wan(form, in_metadata=True)
    before = weights(model)
    out = stacked(model, [row("alone", 0.8, schedule="0:0, 0.5:1, 1:0.2")])
    recorder = Recorder(out)
    sample_wan(out, steps=4)
    assert len(recorder.calls) == 4 and hooks(model) == 0
    deltas = {
        name: KINDS["LoRA"].delta(made("LoRA", LAYERS[name], seed), torch.zeros(LAYERS[name]))
        for seed, name in enumerate(ALONE)
    }
    for (args, kwargs, answer), weight in zip(recorder.calls, (0.0, 0.4, 0.8, 0.48), strict=True):
        if not weight:
            assert torch.equal(answer, ask(model, args, kwargs))
            continue
        rows = [row("alone", weight)]
        if form.packs_inputs:
            with Beside(model, {name: delta * weight for name, delta in deltas.items()}):
                truth = ask(model, args, kwargs)
        else:
            truth = ask(stacked(exact, rows, "merge"), args, kwargs)
        off, merged = apart(answer, truth), apart(ask(stacked(model, rows, "merge"), args, kwargs), truth)
        # A last digit of an input decides which way it is rounded, where inputs are rounded.
        assert off <= (1e-3 if form.packs_inputs else 1e-5)
        assert off < merged / 3
    assert same_bits(before, weights(model))


def norms(out: Any, name: str) -> torch.Tensor:
    """What a DoRA scales the rows of a layer by at strength 1, as it was worked out in a run."""
    factors = out.get_additional_models()[0].model
    parts = factors.layers[factors.paths.index(f"diffusion_model.{name}")].parts
    return parts.factors[0].values + 1


def exact_norms(name: str, seed: int, weight: torch.Tensor) -> torch.Tensor:
    """The magnitudes of the file over the norms of what it changes."""
    parts = made("DoRA by row", LAYERS[name], seed)
    delta = KINDS["LoRA"].delta({end: part for end, part in parts.items() if end != ".dora_scale"}, weight)
    return (parts[".dora_scale"].double().flatten() / (weight.double() + delta).norm(dim=1)).float()


def test_dora_takes_the_norms_of_what_is_packed(form: Format, files: Path, stacked: Stacks) -> None:
    """Norms of rows and of columns; where it cannot be live it is merged, and the report says so."""
    model, exact = packed_wan(form)
    before = weights(model)
    rows = [row("row", 0.7), row("column", -0.4)]
    truth = Recorder(merged := stacked(exact, rows, "merge"))
    sample_wan(merged, steps=1)
    live = Recorder(out := stacked(model, rows))
    sample_wan(out, steps=1)
    for seed, name in enumerate((f"{BLOCK}self_attn.v", f"{BLOCK}cross_attn.o")):
        weight = model.model.diffusion_model.get_submodule(name).weight
        if not form.is_int8:
            assert apart(norms(out, name), exact_norms(name, seed, weight.dequantize())) <= 1e-4
    args, kwargs, answer = live.calls[0]
    bare = ask(model, args, kwargs)
    off = apart(answer, truth.calls[0][2])
    if form.is_int8:
        assert "2 modules are merged at weight 0.7, because ComfyUI may use this INT8 weight" in stacked.report
        assert (len(out.patches), len(out.injections)) == (4, 0)
    else:
        assert (len(out.patches), len(out.injections)) == (0, 1)
        assert off < apart(ask(stacked(model, rows, "merge"), args, kwargs), truth.calls[0][2])
    assert off <= (0.15 if form.packs_inputs else 1e-4)
    assert off < apart(bare, truth.calls[0][2]) / 3
    assert hooks(model) == 0 and same_bits(before, weights(model))


@pytest.mark.parametrize("name", ["fp8 e4m3", "fp8 e5m2"])
def test_norms_where_inputs_are_rounded_by_a_scale_of_the_file(name: str, files: Path, stacked: Stacks) -> None:
    """As newer GPUs run fp8 layers. The scale fits the layer's own inputs, not those that norms are asked by."""
    model, exact = packed_wan(FORMATS[name])
    path = f"{BLOCK}self_attn.v"
    layer = model.model.diffusion_model.get_submodule(path)
    layer._full_precision_mm = False  # ComfyUI sets it on CPUs, which can do without
    layer.input_scale = torch.nn.Parameter(torch.tensor(0.001), requires_grad=False)
    out = stacked(model, [row("row")])
    sample_wan(out, steps=1)
    weight = exact.model.diffusion_model.get_submodule(path).weight
    assert apart(norms(out, path), exact_norms(path, 0, weight)) <= 1e-4


def test_a_layer_that_smooths_its_inputs(files: Path, stacked: Stacks) -> None:
    """The LoRA was made for inputs as they are: live it sees those, merged it would see the smoothed ones."""
    model, exact = packed_wan(FORMATS["nvfp4"])
    smooth = torch.linspace(0.5, 2, 256)
    for name in (f"{BLOCK}self_attn.v", f"{BLOCK}cross_attn.o"):
        layer = model.model.diffusion_model.get_submodule(name)
        layer.pre_quant_scale = torch.nn.Parameter(smooth.clone(), requires_grad=False)
        whole = exact.model.diffusion_model.get_submodule(name)
        whole.weight = torch.nn.Parameter(whole.weight * smooth, requires_grad=False)
    rows = [row("a", 0.7), row("row", 0.5)]
    truth = sample_wan(stacked(exact, rows, "merge"), steps=1)
    assert apart(sample_wan(stacked(model, rows), steps=1), truth) <= 1e-4
    assert apart(sample_wan(stacked(model, rows, "merge"), steps=1), truth) > 1e-3


INT8 = tuple(name for name, form in FORMATS.items() if form.is_int8)


@pytest.mark.parametrize("name", INT8)
def test_int8_weights_that_are_used_without_their_layer(name: str, files: Path, stacked: Stacks) -> None:
    """In the second half of a feed-forward block: the LoRA is there in a run and gone after it, however it ends."""
    model, exact = packed_wan(FORMATS[name])
    before, bare = weights(model), sample_wan(model)
    layer = model.model.diffusion_model.get_submodule(f"{BLOCK}ffn.2")
    rows = [row("b", 0.9, schedule="0:1, 0.5:0.5 hold, 1:0")]
    out = stacked(model, rows)
    functions: list[int] = []
    handle = model.model.diffusion_model.get_submodule(f"{BLOCK}ffn.0").register_forward_hook(
        lambda *_: functions.append(len(layer.weight_function))
    )
    try:
        recorder = Recorder(out)
        whole = sample_wan(out, steps=3)
    finally:
        handle.remove()
    assert functions == [1, 1, 1]
    for step, (args, kwargs, answer) in enumerate(recorder.calls):
        merged = stacked(exact, [row("b", 0.9 * (1, 2 / 3, 0.5)[step])], "merge")
        # Without a LoRA inputs are rounded here, too, and in all other layers in any case.
        added, truth = answer - ask(model, args, kwargs), ask(merged, args, kwargs) - ask(exact, args, kwargs)
        assert apart(added, truth) < 0.25, step
    assert hooks(model) == 0

    class Boom(Exception):
        pass

    def fail(error: type[BaseException]) -> Any:
        def stop(step: int, *_: Any) -> None:
            if step == 1:
                raise error

        return stop

    for error in (Boom, comfy.model_management.InterruptProcessingException):
        with pytest.raises(error):
            sample_wan(out, steps=3, callback=fail(error))
        assert hooks(model) == 0
    for inside in (layer, model.model.diffusion_model.get_submodule("head.head")):
        count = itertools.count()

        def boom(*_: Any, count: Any = count) -> None:
            if next(count) == 1:
                raise Boom

        handle = inside.register_forward_pre_hook(boom)
        try:
            if inside is layer:
                assert torch.equal(sample_wan(out, steps=3), whole)
                assert next(count) == 0  # never run, as ComfyUI takes its weight
            else:
                with pytest.raises(Boom):
                    sample_wan(out, steps=3)
        finally:
            handle.remove()
        assert hooks(model) == 0
    assert torch.equal(sample_wan(out, steps=3), whole)
    assert torch.equal(sample_wan(model), bare)
    assert same_bits(before, weights(model))


@pytest.mark.parametrize("name", INT8)
def test_an_int8_layer_that_runs_itself(name: str, files: Path, stacked: Stacks) -> None:
    """The LoRA is added once, after it, and its inputs are rounded as without one."""
    model, _ = packed_wan(FORMATS[name])
    out = stacked(model, [row("b", 0.9)])
    outputs = Outputs(out, f"{BLOCK}self_attn.v")
    sample_wan(out, steps=1)
    x, y = outputs.inputs[f"{BLOCK}self_attn.v"], outputs.values[f"{BLOCK}self_attn.v"]
    layer = model.model.diffusion_model.get_submodule(f"{BLOCK}self_attn.v")
    tensors = made("LoRA", (256, 256), 0)
    delta = KINDS["LoRA"].delta(tensors, torch.zeros(256, 256))
    assert apart(y - run(layer, x), 0.9 * x.double() @ delta.T) <= 1e-5


def q8_wan() -> tuple[Any, Any]:
    """(the model with weights in blocks of 8 bits, the same numbers in fp32)."""
    state = wan_state()
    packed, exact = dict(state), dict(state)
    for name in filter(is_packed, state):
        packed[name] = Q8Tensor.pack(state[name])
        exact[name] = packed[name].unpack()
    return load_wan(packed, operations=Q8Ops), load_wan(exact)


def test_weights_that_another_pack_packs(files: Path, stacked: Stacks) -> None:
    """Bytes that their layers unpack in their own forward, as with GGUF files: all modules are placed, DoRA too."""
    model, exact = q8_wan()
    before = {name: plain_bytes(weight) for name, weight in model.model.named_parameters()}
    rows = [row("a", 0.8, schedule="0:1, 1:0"), row("row", 0.7), row("column", -0.4)]
    out = stacked(model, rows)
    assert (len(out.patches), len(out.injections)) == (0, 1)
    assert "merged" not in stacked.report
    assert len(out.get_additional_models()[0].model.paths) == len(LAYERS)
    recorder = Recorder(out)
    sample_wan(out, steps=2)
    for step, (args, kwargs, answer) in enumerate(recorder.calls):
        merged = stacked(exact, [row("a", 0.8 - 0.4 * step), *rows[1:]], "merge")
        assert apart(answer, ask(merged, args, kwargs)) <= 1e-4
    assert hooks(model) == 0
    for name, weight in model.model.named_parameters():
        assert torch.equal(plain_bytes(weight), before[name]), name


def plain_bytes(weight: torch.Tensor) -> torch.Tensor:
    """A copy of a tensor's bytes, whatever it is."""
    return weight.detach().as_subclass(torch.Tensor).clone().view(torch.uint8)


def test_merging_into_such_weights(files: Path, stacked: Stacks) -> None:
    """ComfyUI's own patcher cannot, so the LoRA is live in this mode, too, and the report says why."""
    model, exact = q8_wan()
    out = stacked(model, [row("a")], "merge")
    assert (len(out.patches), len(out.injections)) == (0, 1)
    told = f"a.safetensors: {len(LAYERS)} modules work live, because Q8Tensor weights cannot be packed again"
    assert told in stacked.report
    assert apart(sample_wan(out, steps=1), sample_wan(stacked(exact, [row("a")], "merge"), steps=1)) <= 1e-4
