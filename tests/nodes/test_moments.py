"""When and where layers run: before the first step, once for several steps, for both conditionings at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.algorithm_files import made
from support.families import FAMILIES, KNOWN, Family, linear_layers, lora_tensors
from support.live_runs import Recorder, Stacks, apart, ask, hooks, kohya, named, noise, row
from support.prefix_model import LastingModel, make_prefix_model, sample_prefix

PREPARED = [name for name in KNOWN if FAMILIES[name].prepared]


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


def write_parts(loras: Path, model: Any, family: Family) -> None:
    """`all.safetensors` is `before` and `rest` in one."""
    layers = linear_layers(model)
    tensors = lora_tensors("LoRA", layers)
    starts = tuple(kohya(start) for start in family.prepared)
    before = {name: tensor for name, tensor in tensors.items() if name.startswith(starts)}
    assert before and len(before) < len(tensors)
    save_file(tensors, loras / "all.safetensors")
    save_file(before, loras / "before.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name not in before}, loras / "rest.safetensors")


@pytest.mark.parametrize("name", PREPARED)
def test_layers_that_run_before_the_first_step(
    name: str, loras: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture
) -> None:
    """They have the weight of the first step, also of a schedule by step or sigma, and the log says so."""
    family = FAMILIES[name]
    model = family.make()
    write_parts(loras, model, family)
    alone = family.sample(stacked(model, [row("before", 0.8)]), steps=2)
    assert apart(alone, family.sample(stacked(model, [row("before", 0.8)], "merge"), steps=2)) <= 1e-5
    assert apart(alone, family.sample(model, steps=2)) > 1e-4
    for schedule in ("0:0.5, 0.5:1", "step 1:0.5, step 2:1"):
        caplog.clear()
        with caplog.at_level("INFO"):
            changing = family.sample(stacked(model, [row("all", 0.8, schedule=schedule)]), steps=2)
        parts = [row("before", 0.4), row("rest", 0.8, schedule=schedule)]
        assert apart(changing, family.sample(stacked(model, parts), steps=2)) <= 1e-5
        assert "run once, before the first step, and have its weights" in caplog.text
        assert "did not run" not in caplog.text
    assert hooks(model) == 0


@pytest.mark.parametrize("name", PREPARED)
def test_before_the_first_step_each_conditioning_has_its_own_weight(name: str, loras: Path, stacked: Stacks) -> None:
    """A run with LoRAs on the positive conditioning alone is one of two models."""
    from comfy_extras.nodes_custom_sampler import Guider_DualModel

    family = FAMILIES[name]
    model = family.make()
    write_parts(loras, model, family)
    live = family.sample(stacked(model, [row("all", 0.8, conditioning="positive")]), steps=1, cfg=2.0)
    merged = stacked(model, [row("all", 0.8)], "merge")
    other = family.make()
    other.model.latent_shapes = list(family.latent)  # the guider says this to its first model only
    guided = family.guided(Guider_DualModel(merged, other), steps=1, cfg=2.0)
    assert apart(live, guided) <= 1e-5
    both = family.sample(stacked(model, [row("all", 0.8)]), steps=1, cfg=2.0)
    assert apart(live, both) > 1e-4
    assert hooks(model) == 0


@pytest.mark.parametrize("name", PREPARED)
def test_before_the_first_step_of_a_second_model(
    name: str, loras: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture
) -> None:
    """A guider prepares its second model before it says the run's sigmas: for what is not wanted, at progress 0."""
    from comfy_extras.nodes_custom_sampler import Guider_DualModel

    family = FAMILIES[name]
    model, other = family.make(), family.make()
    other.model.latent_shapes = list(family.latent)  # the guider says this to its first model only
    write_parts(loras, other, family)

    def guided(*rows: Any, mode: str = "live") -> torch.Tensor:
        second = stacked(other, rows, mode) if rows else other
        return family.guided(Guider_DualModel(model, second), steps=2, cfg=2.0)

    bare, alone = guided(), guided(row("before", 0.8))
    assert apart(alone, guided(row("before", 0.8), mode="merge")) <= 1e-5
    assert apart(alone, bare) > 1e-4
    assert apart(guided(row("before", 0.8, conditioning="negative")), alone) <= 1e-5
    assert apart(guided(row("before", 0.8, conditioning="positive")), bare) <= 1e-5
    schedule = "0:0.5, 0.5:1"
    changing = guided(row("all", 0.8, schedule=schedule))
    assert apart(changing, guided(row("before", 0.4), row("rest", 0.8, schedule=schedule))) <= 1e-5
    assert "does not say its sigmas" not in caplog.text
    with caplog.at_level("INFO"):
        left_out = guided(row("before", 0.8, schedule="sigma 1:0.5, 0.1:1"))
    assert apart(left_out, bare) <= 1e-5
    assert "A second model of a run does not say its sigmas before its first step" in caplog.text
    assert hooks(model) == hooks(other) == 0


@pytest.mark.parametrize("net", [None, LastingModel])
def test_caches_over_the_steps(net: Any, loras: Path, stacked: Stacks) -> None:
    """What a model keeps of its prompt is made anew when a weight changes, and is not left for other runs."""
    model = make_prefix_model() if net is None else make_prefix_model(net)
    save_file(lora_tensors("LoRA", linear_layers(model)), loras / "a.safetensors")
    bare = sample_prefix(model, steps=4)
    constant = sample_prefix(stacked(model, [row("a", 0.8)]), steps=4)
    assert apart(constant, sample_prefix(stacked(model, [row("a", 0.8)], "merge"), steps=4)) <= 1e-5
    assert torch.equal(sample_prefix(model, steps=4), bare)
    recorder = Recorder(out := stacked(model, [row("a", 0.8, schedule="0:0, 0.5:1 hold")]))
    sample_prefix(out, steps=4)
    inner = model.model.diffusion_model
    for (args, kwargs, answer), weight in zip(recorder.calls, (0.0, 0.4, 0.8, 0.8), strict=True):
        merged = stacked(model, [row("a", weight)], "merge") if weight else model
        inner.reset_prefix_cache(True)
        assert apart(answer, ask(merged, args, kwargs)) <= 1e-5
    inner.reset_prefix_cache(True)
    assert torch.equal(sample_prefix(model, steps=4), bare)


def test_a_cache_that_nobody_knows_is_told(loras: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture) -> None:
    """Layers that stop running while their weights change."""
    model = make_prefix_model(type("Unknown", (LastingModel,), {"clear_kv_cache": None}))
    save_file(lora_tensors("LoRA", linear_layers(model)), loras / "a.safetensors")
    with caplog.at_level("INFO"):
        sample_prefix(stacked(model, [row("a", 0.8)]), steps=3)
        assert "did not run" not in caplog.text
        model.model.diffusion_model.reset_prefix_cache(True)
        sample_prefix(stacked(model, [row("a", 0.8, schedule="0:0.2, 1:1")]), steps=3)
    assert "1 of 16 layers with LoRAs did not run in steps in which a weight was another one" in caplog.text
    assert "diffusion_model.txt_in" in caplog.text


def test_step_skippers_are_told(loras: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture) -> None:
    """EasyCache repeats what the model said at other weights; with constant weights there is nothing to say."""
    nodes = pytest.importorskip("comfy_extras.nodes_easycache")
    family = FAMILIES["Qwen-Image"]
    model = family.make()
    save_file(lora_tensors("LoRA", linear_layers(model)), loras / "a.safetensors")
    for rows, is_told in (([row("a", 0.8)], False), ([row("a", 0.8, schedule="0:0.2, 1:1")], True)):
        caplog.clear()
        out = nodes.EasyCacheNode.execute(stacked(model, rows), 3.0, 0.0, 1.0, False).args[0]
        with caplog.at_level("INFO"):
            family.sample(out, steps=6)
        assert ("EasyCache skips steps" in caplog.text) == is_told
        assert ("did not run in steps" in caplog.text) == is_told


def test_caches_that_are_forgotten(pack: Any) -> None:
    """ComfyUI's own, of models that are too large for a whole run here."""
    ar_model = pytest.importorskip("comfy.ldm.wan.ar_model")
    from comfy.ldm.wan.model_animate2 import PoseBranchCache
    from lorchestra_pack.nodes.host import caches

    net = FAMILIES["Wan"].make().model
    net.diffusion_model.__class__ = ar_model.CausalWanModel
    kept = net.diffusion_model.init_crossattn_caches(1, "cpu", torch.float32)
    for part in kept:
        part |= {"is_init": True}
    pose = PoseBranchCache()
    pose.select(torch.ones(1, 2))
    pose.put(0, torch.ones(1, 2, 4))
    assert pose.filled(1)
    caches.forget(net, {"ar_state": {"crossattn_caches": kept}, "animate2_cache": pose})
    assert not any(part["is_init"] for part in kept) and not pose.filled(1)


def parts(recorder: Recorder) -> list[tuple[Any, Any, torch.Tensor, int]]:
    """The calls of a recorder, each for one conditioning only."""
    result = []
    for args, kwargs, answer in recorder.calls:
        places = args[5]["cond_or_uncond"]
        assert len(set(places)) == 1
        result.append((args, kwargs, answer, places[0]))
    return result


def test_rows_of_one_more_than_the_batch(loras: Path, stacked: Stacks, caplog: pytest.LogCaptureFixture) -> None:
    """The modulation sees B + 1 rows: then each conditioning has a call of its own, with exactly its weight."""
    model = make_prefix_model()
    save_file(lora_tensors("LoRA", linear_layers(model)), loras / "a.safetensors")
    for batch in (1, 2):
        recorder = Recorder(out := stacked(model, [row("a", 0.8, conditioning="positive")]))
        with caplog.at_level("INFO"):
            sample_prefix(out, cfg=2.0, batch=batch)
        calls = parts(recorder)
        assert [place for *_, place in calls] == [0, 1] * 2
        for args, kwargs, answer, place in calls:
            model.model.diffusion_model.reset_prefix_cache(True)
            other = model if place else stacked(model, [row("a", 0.8)], "merge")
            assert apart(answer, ask(other, args, kwargs)) <= 1e-5
    assert "modulation.1 mixes the rows of the batch" in caplog.text
    assert hooks(model) == 0


def test_rows_that_all_have_one_weight_on_the_layer_that_mixes_them(loras: Path, stacked: Stacks) -> None:
    """Nothing is asked of ComfyUI where the mixed layer has constant LoRAs only."""
    model = make_prefix_model()
    layers = linear_layers(model)
    mixing = {name: shape for name, shape in layers.items() if name.startswith("modulation")}
    save_file(lora_tensors("LoRA", mixing), loras / "mixing.safetensors")
    others = {name: shape for name, shape in layers.items() if name not in mixing}
    save_file(lora_tensors("LoRA", others, seed=20), loras / "others.safetensors")
    rows = [row("mixing", 0.5), row("others", 0.8, conditioning="positive")]
    recorder = Recorder(out := stacked(model, rows))
    sample_prefix(out, cfg=2.0)
    assert len(recorder.calls) == 2
    for args, kwargs, answer in recorder.calls:
        assert sorted(args[5]["cond_or_uncond"]) == [0, 1]
        for index, place in enumerate(args[5]["cond_or_uncond"]):
            model.model.diffusion_model.reset_prefix_cache(True)
            merged = stacked(model, rows[:1] if place else [row("mixing", 0.5), row("others", 0.8)], "merge")
            assert apart(answer[index], ask(merged, args, kwargs)[index]) <= 1e-5


def test_times_of_twice_the_batch(loras: Path, stacked: Stacks) -> None:
    """Qwen-Image with references at time 0: the second half of the rows is all of the batch again."""
    family = FAMILIES["Qwen-Image"]
    model = family.make()
    method = {"reference_latents": [noise(1, 16, 1, 2, 2)], "reference_latents_method": "index_timestep_zero"}
    edit = Family(family.supported, family.config, family.latent, family.text, lambda: method)
    save_file(lora_tensors("LoRA", linear_layers(model)), loras / "a.safetensors")
    recorder = Recorder(out := stacked(model, [row("a", 0.8, conditioning="positive")]))
    edit.sample(out, cfg=2.0)
    merged = stacked(model, [row("a", 0.8)], "merge")
    for args, kwargs, answer in recorder.calls:
        for index, place in enumerate(args[5]["cond_or_uncond"]):
            truth = ask(model if place else merged, args, kwargs)
            assert apart(answer[index], truth[index]) <= 1e-5


PREFIXES = ("", "transformer.", "diffusion_model.", "lycoris_", "lora_unet_")


@pytest.mark.parametrize("prefix", PREFIXES)
def test_halves_of_a_fused_layer_under_every_prefix(prefix: str, loras: Path, stacked: Stacks) -> None:
    """Two layers of the file are the halves of `gate_up`: the gate first."""
    model = make_prefix_model()
    block = "transformer_blocks.1.img_mlp."
    tensors: dict[str, torch.Tensor] = {}
    deltas: list[torch.Tensor] = []
    for seed, name in enumerate(("gate_layer", "proj")):
        parts_ = made("LoRA", (64, 32), seed)
        whole = f"{block}{name}"
        tensors |= named(prefix + (whole.replace(".", "_") if prefix.endswith("_") else whole), parts_)
        deltas.append(parts_[".lora_up.weight"] @ parts_[".lora_down.weight"] * 0.75)
    save_file(tensors, loras / "halves.safetensors")
    live, merged = (stacked(model, [row("halves", 0.5)], mode) for mode in ("live", "merge"))
    result = sample_prefix(merged)
    assert apart(sample_prefix(live), result) <= 1e-5
    by_hand = make_prefix_model()
    layer = by_hand.model.diffusion_model.get_submodule(f"{block}gate_up")
    with torch.no_grad():
        layer.weight += 0.5 * torch.cat(deltas)
    assert apart(result, sample_prefix(by_hand)) <= 1e-5
    assert apart(result, sample_prefix(model)) > 1e-4
