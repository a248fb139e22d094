"""Our live path against a plain run and against ComfyUI's own hooks: time of a step, time to a new weight, memory.

A UNet of SD 1.5's size with random weights, on the CPU, in real ComfyUI, 512 px, without guidance. At every step of one
run all variants answer the same question, one after another and the plain model before and after them, because the
speed of shared machines drifts within seconds; what is printed are means of these ratios over the run, by the clock and
by the processor's time, which other processes disturb less. `STEPS` and `SIZE` in the environment change the length of
the run and the picture. Arguments go to ComfyUI, e.g. `--fp32-unet`.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import merge  # sets ComfyUI up; first

import comfy.hooks
import comfy.model_management
import comfy.sample
import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP
from merge import Seconds, timed

STEPS = int(os.environ.get("STEPS", "4"))
SIZE = int(os.environ.get("SIZE", "512"))
ROUNDS = 5
CURVE = "0:0.2, 1:1"
HALF = "0:0, 0.5:0 hold, 0.5:0.8, 1:0.8"


def main() -> None:
    """Prints the figures as ratios."""
    pack = merge._import_pack()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        model, names = merge._make_model_and_loras(Path(folder))
        print(f"== live path, {STEPS} steps of {SIZE} px ==", flush=True)
        variants = {
            "1 LoRA with a curve": stacked(pack, model, names[:1], CURVE),
            "4 LoRAs with a curve": stacked(pack, model, names[:4], CURVE),
            "1 LoRA with a curve that is 0 for half the steps": stacked(pack, model, names[:1], HALF),
        }
        asked = dict(zip(variants, ("at most 1.05", "at most 1.12", "half of what 1 LoRA costs"), strict=True))
        ratios, noise = compare(model, variants)
        for name, found in ratios.items():
            clock, processor = ([pair[place] for pair in found] for place in (0, 1))
            print(
                f"{name} / plain: {statistics.mean(clock):.3f} (median {statistics.median(clock):.3f}); "
                f"processor's time {statistics.mean(processor):.3f} (median {statistics.median(processor):.3f}); "
                f"asked: {asked[name]}"
            )
        print(
            f"plain again / plain: {min(one for one, _ in noise):.2f} to {max(one for one, _ in noise):.2f} (noise), "
            f"processor's time {min(two for _, two in noise):.2f} to {max(two for _, two in noise):.2f}",
            flush=True,
        )
        hooks(pack, model, names[:1], Path(folder))
        first_step(pack, model, names)
        memory(pack, model, names, Path(folder))


def sample(model: Any, steps: int, cond: Any = None) -> None:
    """A run as ComfyUI's nodes do it; the model stays loaded afterwards, as in a graph that runs again."""
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(0))
    cond = cond or [[torch.zeros(1, 77, 768), {}]]
    comfy.sample.sample(model, noise, steps, 1.0, "euler", "normal", cond, cond, noise * 0, disable_pbar=True, seed=0)


def compare(model: Any, variants: dict[str, Any]) -> tuple[dict[str, list[Seconds]], list[Seconds]]:
    """(each variant's call of the model / the plain one's, by step; the plain one after them / before them)."""
    ratios: dict[str, list[Seconds]] = {name: [] for name in variants}
    noise: list[Seconds] = []
    outer = model.clone()

    def ask(variant: Any, args: tuple[Any, ...]) -> Seconds:
        """One answer with a variant's own injections and wrappers, as in a run of it."""
        options = dict(args[5])
        options["wrappers"] = variant.model_options["transformer_options"].get("wrappers", {})
        variant.inject_model()
        model.model.current_patcher = variant
        try:
            return timed(lambda: variant.model.apply_model(*args[:5], options, *args[6:]))[1]
        finally:
            variant.eject_model()
            model.model.current_patcher = outer

    def step(executor: Any, *args: Any, **kwargs: Any) -> Any:
        if not noise:
            for variant in variants.values():  # factors are brought, caches are warm
                ask(variant, args)
        before = ask(model, args)
        order = list(variants) if len(noise) % 2 else list(reversed(variants))
        seconds = {name: ask(variants[name], args) for name in order}
        answer, after = timed(lambda: executor(*args, **kwargs))
        for name, found in seconds.items():
            ratios[name].append((2 * found[0] / (before[0] + after[0]), 2 * found[1] / (before[1] + after[1])))
        noise.append((after[0] / before[0], after[1] / before[1]))
        return answer

    outer.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "bench", step)
    sample(outer, STEPS)
    return ratios, noise


def stacked(
    pack: Any, model: Any, names: list[str], schedule: str | None, weight: float = 0.7, mode: str = "live"
) -> Any:
    """The model with LoRAs, by our node."""
    rows = [{"lora": name, "model": weight, **({"schedule": schedule} if schedule else {})} for name in names]
    return pack.execute(model=model, loras=json.dumps({"version": 1, "loras": rows}), mode=mode).args[0]


def hooks(pack: Any, model: Any, names: list[str], folder: Path) -> None:
    """ComfyUI's own way, a hook with one keyframe a step, against ours and plain: whole runs in turn, without the first
    step, which loads."""
    lora = comfy.utils.load_torch_file(str(folder / names[0]))
    group = comfy.hooks.create_hook_lora(lora, 0.7, 0.0)
    keyframes = comfy.hooks.HookKeyframeGroup()
    count = min(STEPS, 3)
    for index in range(count):
        keyframes.add(comfy.hooks.HookKeyframe(strength=0.2 + 0.8 * index / count, start_percent=index / count))
    group.set_keyframes_on_hooks(keyframes)
    cond = [[torch.zeros(1, 77, 768), {"hooks": group}]]
    seconds: dict[str, list[float]] = {"plain": [], "ours": [], "hooks": []}
    ours = stacked(pack, model, names, CURVE)
    for _ in range(2):
        for name, (variant, given) in {"plain": (model, None), "ours": (ours, None), "hooks": (model, cond)}.items():
            seconds[name].append(_after_first_step(variant, count, given))
    plain, live, hooked = (statistics.median(found) for found in seconds.values())
    print(
        f"whole steps: ComfyUI's hook with a keyframe a step / plain: {hooked / plain:.2f}; ours / plain: "
        f"{live / plain:.2f}",
        flush=True,
    )


def _after_first_step(model: Any, steps: int, cond: Any) -> float:
    """Seconds from the end of the first call of the model to the end of the last one."""
    watched, ends = model.clone(), list[float]()

    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        answer = executor(*args, **kwargs)
        ends.append(time.perf_counter())
        return answer

    watched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "bench", call)
    sample(watched, steps, cond)
    return ends[-1] - ends[0]


def first_step(pack: Any, model: Any, names: list[str]) -> None:
    """Seconds from the node to the first call of the model, when one constant weight changed since the last run.

    Of core's own loader, of ours in both modes, and of a run in which nothing changed: in turn, so that all of them see
    the same machine.
    """
    weights = [0.5 + index / 10 for index in range(ROUNDS + 1)]
    ways: dict[str, Callable[[float], Any]] = {
        "live": lambda weight: stacked(pack, model, names[:1], None, weight, "live"),
        "core": lambda weight: merge._core(model, names[:1], weight),
        "merge": lambda weight: stacked(pack, model, names[:1], None, weight, "merge"),
        "nothing": lambda _: model,
    }
    seconds: dict[str, list[Seconds]] = {name: [] for name in ways}
    for weight in weights:
        for name, make in ways.items():
            last = make(weight - 0.05)  # ComfyUI keeps the last output of a node, too
            _until_first_call(last)  # and what another way merged is taken out, which is its own matter
            made, making = timed(partial(make, weight))
            first = _until_first_call(made)
            seconds[name].append((making[0] + first[0], making[1] + first[1]))
    for place, kind in enumerate(("by the clock", "processor's time")):
        live, core, merged, nothing = (statistics.median(one[place] for one in found[1:]) for found in seconds.values())
        print(
            f"a constant weight changed, until the first step, {kind}: live {live * 1e3:.1f} ms, core "
            f"{core * 1e3:.0f} ms, merge {merged * 1e3:.0f} ms, nothing changed {nothing * 1e3:.1f} ms; beyond "
            f"nothing: live / core {(live - nothing) / (core - nothing):.4f} (asked: at most 0.01), live / merge "
            f"{(live - nothing) / (merged - nothing):.4f}",
            flush=True,
        )


class _Reached(Exception):
    """The first call of the model."""


def _until_first_call(model: Any) -> Seconds:
    """Seconds; the call itself is not made, and what comes after it does not count."""
    watched, reached = model.clone(), list[Seconds]()

    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        reached.append((time.perf_counter(), time.process_time()))
        raise _Reached

    watched.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "bench", call)

    begun = (time.perf_counter(), time.process_time())
    try:
        sample(watched, 1)
    except _Reached:
        return reached[0][0] - begun[0], reached[0][1] - begun[1]
    raise AssertionError("the model was not called")


def memory(pack: Any, model: Any, names: list[str], folder: Path) -> None:
    """Peak of the process' memory over the state before, nodes included."""
    peaks: list[float] = []
    for make in (lambda: model, lambda: stacked(pack, model, names[:4], CURVE)):
        with merge._Peak(merge._private()) as peak:
            sample(make(), 2)
        peaks.append(peak.bytes / 1e6)
    files = sum((folder / name).stat().st_size for name in names[:4]) / 1e6
    print(
        f"peak memory of a run: plain {peaks[0]:.0f} MB, 4 scheduled LoRAs {peaks[1]:.0f} MB "
        f"(asked: at most {peaks[0] + 2 * files:.0f} MB)\n"
    )


if __name__ == "__main__":
    main()
