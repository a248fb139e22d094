"""How layers are called: folded calls, weights that are used without their layers, and what is not known of a call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.sample
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import PatcherInjection
from safetensors.torch import save_file
from support.algorithm_files import MATRIX, made
from support.folded import FORMS, Block, Call, folded, of_weight
from support.live_runs import Stacks, apart, hooks, kohya, named, noise, row, weights
from support.models import load_flux, same_bits

LAYER = "double_blocks.0.img_attn.proj"
OTHER = "single_blocks.0.modulation.lin"
PATH = f"diffusion_model.{LAYER}"


@pytest.fixture
def model() -> Any:
    """A small FLUX.1 in fp32, one of whose layers takes the new arguments."""
    model = load_flux()
    folded(model.model.get_submodule(PATH))
    yield model
    comfy.model_management.unload_all_models()


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


@pytest.fixture
def lora(loras: Path) -> Path:
    """A LoRA for the layer and for another one, and one for the other alone."""
    parts = {**named(kohya(LAYER), made("LoRA", (256, 256), 1)), **named(kohya(OTHER), made("LoRA", (768, 256), 2))}
    save_file(parts, loras / "a.safetensors")
    save_file(named(kohya(OTHER), made("LoRA", (768, 256), 2)), loras / "other.safetensors")
    return loras


def sample(model: Any, *, steps: int = 1, **more: Any) -> torch.Tensor:
    """A run of the small FLUX.1."""
    start = noise(1, 16, 4, 4)
    conds = [[noise(1, 6, 64, seed=1), {"pooled_output": noise(1, 768, seed=2)}]]
    with torch.inference_mode():
        return comfy.sample.sample(
            model, start, steps, more.pop("cfg", 1.0), "euler", "simple", conds, conds, torch.zeros_like(start),
            disable_pbar=True, seed=0, **more,
        )  # fmt: skip


def run(
    model: Any, forms: Mapping[str, Call] = FORMS, **more: Any
) -> tuple[torch.Tensor, list[dict[str, torch.Tensor]]]:
    """(the result, what each call of the layer gave); the feed-forward block calls the layer in these forms."""
    block = Block(model.model.get_submodule(PATH), forms)
    out = model.clone()
    out.add_object_patch("diffusion_model.double_blocks.0.img_mlp.forward", block)
    return sample(out, **more), block.given


@pytest.mark.parametrize("kind", MATRIX)
def test_every_algorithm_in_every_form_of_call(model: Any, loras: Path, stacked: Stacks, kind: str) -> None:
    """As merging has it; two stacks, one after the other, too."""
    for seed, name in enumerate("ab"):
        parts = named(kohya(LAYER), made(kind, (256, 256), seed))
        save_file({**parts, f"{kohya(LAYER)}.diff_b": torch.linspace(-1, 1, 256)}, loras / f"{name}.safetensors")
    before = weights(model)
    bare, calls = run(model)
    for stacks in ([[row("a", 0.7)]], [[row("a", 0.7)], [row("b", -0.4)]]):
        live = merged = model
        for rows in stacks:
            live, merged = stacked(live, rows), stacked(merged, rows, "merge")
        (one, given), (other, expected) = run(live), run(merged)
        assert len(given) == len(expected) == 1
        for name in FORMS:
            assert apart(given[0][name], expected[0][name]) <= 1e-5, (name, len(stacks))
            assert apart(expected[0][name], calls[0][name]) > 1e-3, name
        assert apart(one, other) <= 1e-5 and apart(other, bare) > 1e-4
    assert hooks(model) == 0 and same_bits(before, weights(model))


def test_idle_steps_keep_the_folded_call(model: Any, lora: Path, stacked: Stacks) -> None:
    """Where the weight is 0 the layer is called as ComfyUI calls it, bit for bit."""
    seen: list[str] = []
    layer = model.model.get_submodule(PATH)
    handle = layer.register_forward_pre_hook(lambda *_: None)
    whole = type(layer).forward

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append("folded" if kwargs or len(args) > 1 else "plain")
        return whole(self, *args, **kwargs)

    type(layer).forward = forward
    forms = {"gelu": FORMS["gelu"]}
    handle.remove()
    run(stacked(model, [row("a", 0.8, schedule="0:0, 0.5:0 hold, 0.6:1")]), forms, steps=4)
    # The attention calls the layer itself, the block once more.
    assert seen == ["plain", "folded"] * 3 + ["plain", "plain"]
    seen.clear()
    # Nor does a stack without LoRAs for this layer change its calls.
    run(stacked(model, [row("other")]), forms)
    assert seen == ["plain", "folded"]


def test_hooks_of_other_packs_see_whole_calls(model: Any, lora: Path, stacked: Stacks) -> None:
    """They are called with what was folded, and see the answer with the residual."""
    layer = model.model.get_submodule(PATH)
    before: list[Any] = []
    after: list[Any] = []
    handles = [
        layer.register_forward_pre_hook(lambda _, args, kwargs: before.append(kwargs), with_kwargs=True),
        layer.register_forward_hook(lambda _, args, output: after.append(output.clone())),
    ]
    try:
        forms = {"all": FORMS["all by name"]}
        _, given = run(stacked(model, [row("a")]), forms)
        assert "input_act" in before[-1] and torch.equal(after[-1], given[0]["all"])
    finally:
        for handle in handles:
            handle.remove()


DOWN = "double_blocks.0.img_mlp.2"
MLP = "diffusion_model.double_blocks.0.img_mlp"


class Used:
    """A feed-forward block that uses the weight of its second layer without running it."""

    def __init__(self, model: Any, use: Any = of_weight) -> None:
        self._layers = model.model.get_submodule(MLP)
        self._use = use
        self.count = 0

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.count += 1
        return self._use(self._layers[2], self._layers[0](x))

    def on(self, model: Any) -> Any:
        """The model with it."""
        model = model.clone()
        model.add_object_patch(f"{MLP}.forward", self)
        self.count = 0
        return model


@pytest.mark.parametrize("kind", MATRIX)
def test_weights_that_are_used_without_their_layer(
    model: Any, loras: Path, stacked: Stacks, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By code that nobody told us of: the first call is made once more, those after it and of later runs are not."""
    parts = named(kohya(DOWN), made(kind, (256, 1024), 1))
    save_file({**parts, f"{kohya(DOWN)}.diff_b": torch.linspace(-1, 1, 256)}, loras / "a.safetensors")
    used, before = Used(model), weights(model)
    bare = sample(used.on(model), steps=2)
    merged = sample(used.on(stacked(model, [row("a", 0.8)], "merge")), steps=2)
    live = stacked(model, [row("a", 0.8)])
    assert stacked.report.startswith("1 layer live, 0 without effect.")
    for calls in (3, 2):
        with caplog.at_level("WARNING"):
            result = sample(used.on(live), steps=2)
        assert apart(result, merged) <= 1e-5 and apart(result, bare) > 1e-4
        assert used.count == calls
        assert hooks(model) == 0 and same_bits(before, weights(model))
    # Another weight: another stack of the same model.
    assert apart(sample(used.on(stacked(model, [row("a", 0.8, schedule="0:1, 1:1")])), steps=2), merged) <= 1e-5
    assert used.count == 2 and "effect" not in caplog.text


def test_two_stacks_on_such_a_weight(model: Any, loras: Path, stacked: Stacks) -> None:
    """Both are added to it, and to the output where the layer runs as well."""
    for seed, name in enumerate("ab"):
        save_file(named(kohya(DOWN), made("LoRA", (256, 1024), seed)), loras / f"{name}.safetensors")

    def both(layer: Any, x: torch.Tensor) -> torch.Tensor:
        return of_weight(layer, x) + layer(x) + of_weight(layer, x)

    rows = [row("a", 0.7)], [row("b", -0.4)]
    for use in (of_weight, both):
        used = Used(model, use)
        live = merged = model
        for one in rows:
            live, merged = stacked(live, one), stacked(merged, one, "merge")
        truth = sample(used.on(merged), steps=2)
        assert apart(sample(used.on(live), steps=2), truth) <= 1e-5 or use is both
        assert hooks(model) == 0
    # Where it runs at first, its weight is not suspected: the plain use alone needed the second look, and had it.
    assert apart(sample(used.on(live), steps=2), truth) <= 1e-5


def test_another_file_of_the_same_names_and_shapes(model: Any, loras: Path, stacked: Stacks) -> None:
    """Its tensors are taken, while the first stack is still there; and those of a file that was saved anew."""
    kept: list[Any] = []
    for seed, name in enumerate("aba"):
        path = loras / f"{name}.safetensors"
        save_file(named(kohya(LAYER), made("LoRA", (256, 256), seed)), path)
        os.utime(path, (seed, seed))
        kept.append(stacked(model, [row(name, 0.7)]))
        merged = stacked(model, [row(name, 0.7)], "merge")
        assert apart(sample(kept[-1]), sample(merged)) <= 1e-5


def of_bare_weight(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """As code does that takes the tensor itself, past all that ComfyUI has for it."""
    return torch.nn.functional.linear(x, layer.weight, layer.bias)


def test_what_has_no_effect_is_told(model: Any, loras: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture) -> None:
    """Some layers, all of them, and layers that belong to no run; and in the report of the next time."""
    save_file(named(kohya(DOWN), made("LoRA", (256, 1024), 1)), loras / "a.safetensors")
    save_file(named(kohya(LAYER), made("LoRA", (256, 256), 2)), loras / "b.safetensors")
    used = Used(model, of_bare_weight)
    for rows in ([row("a", 0.8)], [row("a", 0.8), row("b", 0.5)]):
        caplog.clear()
        out = stacked(model, rows)
        with caplog.at_level("WARNING"):
            sample(used.on(out))
        found = [record.getMessage() for record in caplog.records if "effect" in record.getMessage()]
        assert found == [
            f"LoRA Stack: 1 of {len(rows)} layers with LoRAs did not run, and their LoRAs had no effect: "
            f"diffusion_model.{DOWN}"
        ]
        again = stacked(model, [row(item["lora"][0], 0.1) for item in rows])
        assert f"1 without effect in the last run (diffusion_model.{DOWN})." in stacked.report
        sample(again)
        stacked(model, rows)
        assert "0 without effect." in stacked.report
        del again
    caplog.clear()
    sample(used.on(stacked(model, [row("a", 0.8, schedule="0:0")])))
    assert "effect" not in caplog.text
    assert hooks(model) == 0


def test_rows_for_one_conditioning_on_a_weight(
    model: Any, loras: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture
) -> None:
    """One weight is for both conditionings of a batch: what cannot be added is told, never added to both."""
    save_file(named(kohya(DOWN), made("LoRA", (256, 1024), 1)), loras / "a.safetensors")
    used = Used(model)
    bare = sample(used.on(model), cfg=2.0)
    out = used.on(stacked(model, [row("a", 0.8, conditioning="positive")]))
    with caplog.at_level("WARNING"):
        assert torch.equal(sample(out, cfg=2.0), bare)
    assert "had no effect" in caplog.text and hooks(model) == 0


def test_layers_that_run_outside_of_a_call_are_told(
    model: Any, lora: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture
) -> None:
    """Between the steps, by a sampler or another pack."""
    layer = model.model.get_submodule(PATH)
    x = noise(1, 2, 256)
    answers: list[torch.Tensor] = []

    def between(*_: Any) -> None:
        answers.append(layer(x, input_act="silu"))

    with caplog.at_level("WARNING"):
        sample(stacked(model, [row("a")]), steps=2, callback=between)
    assert (
        f"1 of 2 layers with LoRAs ran outside of a call of the model, and their LoRAs had no effect there: {PATH}"
        in (caplog.text)
    )
    assert torch.equal(answers[0], layer(x, input_act="silu"))


def test_a_layer_that_takes_what_we_do_not_know_is_merged(model: Any, lora: Path, stacked: Stacks) -> None:
    """Before a run, and in words; the layer beside it is live."""
    layer = model.model.get_submodule(PATH)

    def forward(self: Any, x: Any, act_scale: Any = None, act_shift: Any = None) -> Any:
        return torch.nn.Linear.forward(self, x if act_scale is None else x * (1 + act_scale) + act_shift)

    folded(layer, forward=forward)
    modulated = {"modulated": lambda layer, x: layer(x, act_scale=noise(256, seed=3), act_shift=0.5)}
    live, merged = stacked(model, [row("a", 0.7)]), stacked(model, [row("a", 0.7)], "merge")
    stacked(model, [row("a", 0.7)])
    why = "its layer takes act_scale, act_shift, which this version of Lorchestra does not know"
    assert stacked.report.split("\n")[:2] == [
        f"1 layer live, 1 merged (because {why}), 0 without effect.",
        f"a.safetensors: 1 module is merged at weight 0.7, because {why}",
    ]
    assert list(live.patches) == [f"{PATH}.weight"]
    (one, given), (other, expected) = run(live, modulated), run(merged, modulated)
    assert apart(one, other) <= 1e-5 and apart(given[0]["modulated"], expected[0]["modulated"]) <= 1e-5


UNKNOWN = {
    "an argument": (lambda layer, x: layer(x, act_scale=x), "the argument act_scale"),
    "a word": (lambda layer, x: layer(x, input_act="relu6"), "input_act = 'relu6'"),
    "a weight": (lambda layer, x: layer(x, "silu", x), "an act_weight for input_act = 'silu'"),
    "too many": (lambda layer, x: layer(x, None, None, None, None, x), "6 arguments instead of 5 at most"),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_call_that_is_not_known_is_an_error(model: Any, lora: Path, stacked: Stacks, name: str) -> None:
    """It names the layer and what is not known; without LoRAs the call is none of our business."""
    call, what = UNKNOWN[name]
    out = stacked(model, [row("a")])
    with pytest.raises(Exception, match="which this version of Lorchestra does not know") as raised:
        run(out, {name: call})
    assert str(raised.value) == (
        f"the layer {PATH} is called with {what}, which this version of Lorchestra does not know. "
        "Set the mode of LoRA Stack to merge, or update Lorchestra."
    )
    assert hooks(model) == 0


class Boom(Exception):
    """Thrown by a test."""


@pytest.mark.parametrize("is_first", [True, False])
def test_nothing_stays_where_another_packs_eject_raises(
    model: Any, lora: Path, stacked: Stacks, is_first: bool
) -> None:
    """Its error is told, our hooks are gone, and the next run is right."""
    bare, merged = sample(model), sample(stacked(model, [row("a")], "merge"))
    raises = [False]

    def eject(*_: Any) -> None:
        if raises[0]:
            raise Boom

    def other(item: Any) -> Any:
        item = item.clone()
        item.set_injections("other", [PatcherInjection(inject=lambda *_: None, eject=eject)])
        return item

    out = stacked(other(model), [row("a")]) if is_first else other(stacked(model, [row("a")]))
    raises[0] = True
    with pytest.raises(Boom):
        sample(out)
    assert hooks(model) == 0
    raises[0] = False
    assert apart(sample(out), merged) <= 1e-5
    assert hooks(model) == 0
    assert torch.equal(sample(model), bare)


def test_short_memory(model: Any, lora: Path, stacked: Stacks, monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers whose weights ComfyUI brings at each use, with merged LoRAs under ours: what is enough memory gives."""
    rows = [row("a", 0.7)]
    out = stacked(stacked(model, [row("a", 0.3)], "merge"), rows)
    used = Used(model)
    save_file(named(kohya(DOWN), made("LoRA", (256, 1024), 1)), lora / "down.safetensors")
    weighed = stacked(stacked(model, [row("down", 0.3)], "merge"), [row("down", -0.5)])
    enough, given = run(out)
    whole = sample(used.on(weighed))
    comfy.model_management.unload_all_models()
    load = ModelPatcher.partially_load

    def limited(self: Any, device_to: Any, extra_memory: float = 0, **more: Any) -> int:
        return load(self, device_to, 1 if self.model is model.model else extra_memory, **more)

    monkeypatch.setattr(ModelPatcher, "partially_load", limited)
    layer = model.model.get_submodule(PATH)
    assert not hasattr(layer, "prev_comfy_cast_weights")
    result, again = run(out)
    assert apart(result, enough) <= 1e-5
    assert all(apart(again[0][name], given[0][name]) <= 1e-5 for name in FORMS)
    assert hasattr(layer, "prev_comfy_cast_weights") and hooks(model) > 0  # the functions of the merged LoRAs
    assert apart(sample(used.on(weighed)), whole) <= 1e-5
    comfy.model_management.unload_all_models()
    assert hooks(model) == 0


def test_a_compiled_layer_is_called_in_its_parts(model: Any, lora: Path, stacked: Stacks) -> None:
    """One graph for all weights, those that become 0 among them, and for another run; nothing is missed or told."""
    torch._dynamo.reset()
    graphs: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(len(graph.graph.nodes))
        return graph.forward

    layer = model.model.get_submodule(PATH)
    form = FORMS["all by name"]
    compiled = torch.compile(lambda x: form(layer, x), backend=backend)
    forms = {"compiled": lambda layer, x: compiled(x)}
    rows = [row("a", 0.8, schedule="0:1, 0.5:0 hold, 1:0"), row("other", -0.4)]
    expected, exact = run(stacked(model, rows), {"eager": form}, steps=4)
    out, counts = stacked(stacked(model, rows[:1]), rows[1:]), []
    for _ in range(2):
        result, given = run(out, forms, steps=4, callback=lambda *_: counts.append(len(graphs)))
        assert apart(result, expected) <= 1e-5
        assert all(apart(one["compiled"], other["eager"]) <= 1e-5 for one, other in zip(given, exact, strict=True))
    assert counts == [1] * 8 and len(graphs) == 1
    assert hooks(model) == 0
    torch._dynamo.reset()
