"""Our live path against a plain run and against ComfyUI's own hooks: time of a step, time to a new weight, memory.

A UNet of SD 1.5's size with random weights, on the CPU, in real ComfyUI, 512 px, without guidance. Steps are compared
as medians of calls of the model, variant after variant, in one process. `STEPS` and `SIZE` in the environment change
the length of a run and the picture. Arguments go to ComfyUI, e.g. `--fp32-unet`.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import merge  # sets ComfyUI up; first

import comfy.hooks
import comfy.model_management
import comfy.sample
import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP

STEPS = int(os.environ.get("STEPS", "6"))
SIZE = int(os.environ.get("SIZE", "512"))
CURVE = "0:0.2, 1:1"
HALF = "0:0, 0.5:0, 0.5:0.8, 1:0.8"


def main() -> None:
    """Prints the figures as ratios."""
    pack = merge._import_pack()
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        model, names = merge._make_model_and_loras(Path(folder))
        run(model, steps=1)  # what is loaded once
        print(f"== live path, {STEPS} steps of {SIZE} px, medians of the model's calls ==")
        plain = run(model)
        one = run(stacked(pack, model, names[:1], CURVE))
        four = run(stacked(pack, model, names[:4], CURVE))
        half = run(stacked(pack, model, names[:1], HALF))
        again = run(model)
        base = statistics.median([*plain.calls, *again.calls])
        for title, figures, asked in (("1 LoRA", one, 1.05), ("4 LoRAs", four, 1.12)):
            ratio = statistics.median(figures.calls) / base
            print(f"{title} with a curve / plain: {ratio:.3f} (asked: at most {asked})")
        share = (sum(half.calls) / len(half.calls)) / base
        print(
            f"1 LoRA with a curve that is 0 for half the steps / plain: {share:.3f}, means (asked: half of that above)"
        )
        print(f"plain again / plain: {statistics.median(again.calls) / statistics.median(plain.calls):.3f} (the noise)")
        hooks(model, Path(folder) / names[0], base)
        first_step(pack, model, names)
        memory(pack, model, names, Path(folder))


class Figures:
    """What one run took."""

    def __init__(self) -> None:
        self.calls: list[float] = []
        """Seconds of each call of the model."""
        self.first = 0.0
        """Seconds before the first one."""


def run(model: Any, *, steps: int = STEPS, cond: Any = None) -> Figures:
    """Samples; the model stays loaded afterwards, as in a graph that runs again."""
    figures = Figures()
    timed = model.clone()

    def call(executor: Any, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        if not figures.calls:
            figures.first = started - begin
        result = executor(*args, **kwargs)
        figures.calls.append(time.perf_counter() - started)
        return result

    timed.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "bench", call)
    noise = torch.randn(1, 4, SIZE // 8, SIZE // 8, generator=torch.Generator().manual_seed(0))
    cond = cond or [[torch.zeros(1, 77, 768), {}]]
    begin = time.perf_counter()
    comfy.sample.sample(timed, noise, steps, 1.0, "euler", "normal", cond, cond, noise * 0, disable_pbar=True, seed=0)
    figures.calls = figures.calls[1:] or figures.calls  # the first one warms caches
    return figures


def stacked(
    pack: Any, model: Any, names: list[str], schedule: str | None, weight: float = 0.7, mode: str = "live"
) -> Any:
    """The model with LoRAs, by our node."""
    rows = [{"lora": name, "model": weight, **({"schedule": schedule} if schedule else {})} for name in names]
    return pack.execute(model=model, loras=json.dumps({"version": 1, "loras": rows}), mode=mode).args[0]


def hooks(model: Any, path: Path, base: float) -> None:
    """ComfyUI's own way: a hook with one keyframe a step."""
    lora = comfy.utils.load_torch_file(str(path))
    group = comfy.hooks.create_hook_lora(lora, 0.7, 0.0)
    keyframes = comfy.hooks.HookKeyframeGroup()
    for step in range(STEPS):
        keyframes.add(comfy.hooks.HookKeyframe(strength=0.2 + 0.8 * step / STEPS, start_percent=step / STEPS))
    group.set_keyframes_on_hooks(keyframes)
    cond = [[torch.zeros(1, 77, 768), {"hooks": group}]]
    try:
        started = time.perf_counter()
        figures = run(model, cond=cond)
        seconds = time.perf_counter() - started
    except Exception as error:  # it is a comparison: say so, go on
        print(f"ComfyUI's hooks, one keyframe a step: {type(error).__name__}: {error}")
        return
    steps = (seconds - figures.first) / STEPS
    print(f"ComfyUI's hook with a keyframe a step / plain: {steps / base:.2f}, whole steps with its patching")


def first_step(pack: Any, model: Any, names: list[str]) -> None:
    """Seconds from the node to the first call of the model, when one constant weight changed."""
    seconds: dict[str, list[float]] = {"live": [], "merge": []}
    for mode, found in seconds.items():
        run(stacked(pack, model, names[:1], None, 0.5, mode), steps=1)
        for weight in (0.6, 0.7, 0.8):
            started = time.perf_counter()
            changed = stacked(pack, model, names[:1], None, weight, mode)
            making = time.perf_counter() - started
            found.append(making + run(changed, steps=1).first)
    plain = [run(model, steps=1).first for _ in range(3)]
    live, merged, nothing = (statistics.median(values) for values in (seconds["live"], seconds["merge"], plain))
    print(
        f"a constant weight changed, until the first step: live {live * 1e3:.0f} ms, merge {merged * 1e3:.0f} ms, "
        f"nothing changed {nothing * 1e3:.0f} ms; beyond nothing {(live - nothing) / (merged - nothing):.3f} "
        "(asked: at most 0.01 of re-patching)"
    )


def memory(pack: Any, model: Any, names: list[str], folder: Path) -> None:
    """Peak of the process' memory over the state before, nodes included."""
    peaks: list[float] = []
    for make in (lambda: model, lambda: stacked(pack, model, names[:4], CURVE)):
        with merge._Peak(merge._private()) as peak:
            run(make(), steps=2)
        peaks.append(peak.bytes / 1e6)
    files = sum((folder / name).stat().st_size for name in names[:4]) / 1e6
    print(
        f"peak memory of a run: plain {peaks[0]:.0f} MB, 4 scheduled LoRAs {peaks[1]:.0f} MB "
        f"(asked: at most {peaks[0] + 2 * files:.0f} MB)\n"
    )


if __name__ == "__main__":
    main()
