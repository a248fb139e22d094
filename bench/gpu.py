"""The merge on a GPU, the core package alone: eight LoRAs on layers of SDXL and FLUX size, fp16 and bf16.

Compared, in one run: our fused update; the sequence of casts, products and adds that ComfyUI's patcher performs for a
chain of eight loaders (cast the weight up, for every LoRA send both halves, multiply, scale, add, then cast back); and
a plain copy of the weights, which is what the memory allows. Without a GPU it runs small on the CPU, to show that it
works.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).absolute().parents[1]))

from lorchestra.algorithms.lora import LoRA
from lorchestra.apply.fuse import Term, add_updates

LAYERS = {
    "SDXL": [(640, 640)] * 8 + [(1280, 1280)] * 40 + [(1280, 2048)] * 20 + [(10240, 1280)] * 10 + [(1280, 5120)] * 10,
    "FLUX": [(9216, 3072)] * 4 + [(3072, 3072)] * 4 + [(12288, 3072)] * 4 + [(21504, 3072)] * 6 + [(3072, 15360)] * 6,
}
RANK = 16
COUNT = 8
ROUNDS = 5


def main() -> None:
    """Prints times and ratios."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = False  # as ComfyUI leaves it
    print(torch.cuda.get_device_name() if device.type == "cuda" else "no GPU: a small run on the CPU")
    for name, layers in LAYERS.items():
        shapes = layers if device.type == "cuda" else layers[:4]
        for dtype in (torch.float16, torch.bfloat16):
            _measure(name, shapes, dtype, device)


def _measure(name: str, shapes: list[tuple[int, int]], dtype: torch.dtype, device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [(torch.randn(shape, generator=generator) * 0.03).to(device, dtype) for shape in shapes]
    terms = [[_term(shape, generator) for _ in range(COUNT)] for shape in shapes]
    ways: dict[str, Callable[[], None]] = {
        "copy": lambda: _each(weights, terms, lambda w, _: w.clone()),
        "ours": lambda: _each(weights, terms, _ours),
        "chain": lambda: _each(weights, terms, _chain),
        "ours, 1": lambda: _each(weights, [t[:1] for t in terms], _ours),
        "chain, 1": lambda: _each(weights, [t[:1] for t in terms], _chain),
    }
    for way in ways.values():
        way()
    times: dict[str, list[float]] = {key: [] for key in ways}
    for _ in range(ROUNDS):
        for key, way in ways.items():
            _wait(device)
            started = time.perf_counter()
            way()
            _wait(device)
            times[key].append(time.perf_counter() - started)
    median = {key: statistics.median(values) for key, values in times.items()}
    error = (_ours(weights[0], terms[0]).double() - _chain(weights[0], terms[0]).double()).abs().max()
    print(
        f"{name} {str(dtype).removeprefix('torch.')}, {sum(w.numel() for w in weights) / 1e6:.0f} M weights: "
        + ", ".join(f"{key} {value * 1e3:.1f} ms" for key, value in median.items())
        + f"; ours / chain {median['ours'] / median['chain']:.2f}, with 1 LoRA "
        + f"{median['ours, 1'] / median['chain, 1']:.2f}, ours / copy {median['ours'] / median['copy']:.1f}; "
        + f"largest difference {error:.1e}"
    )


def _term(shape: tuple[int, int], generator: torch.Generator) -> Term:
    up = (torch.randn(shape[0], RANK, generator=generator) * 0.02).half()
    down = (torch.randn(RANK, shape[1], generator=generator) * 0.02).half()
    return Term(LoRA(up, down, None, 1.0), 0.7)


def _each(
    weights: list[torch.Tensor], terms: list[list[Term]], way: Callable[[torch.Tensor, list[Term]], torch.Tensor]
) -> None:
    for weight, summands in zip(weights, terms, strict=True):
        way(weight, summands)


def _ours(weight: torch.Tensor, terms: list[Term]) -> torch.Tensor:
    wide = weight.float()
    add_updates(wide, [(None, terms)], exact=False)  # as the node does for these dtypes
    return wide.to(weight.dtype)


def _chain(weight: torch.Tensor, terms: list[Term]) -> torch.Tensor:
    wide = weight.float()
    for term in terms:
        lora = term.adapter
        assert isinstance(lora, LoRA)
        up, down = lora.up.to(weight.device, torch.float32), lora.down.to(weight.device, torch.float32)
        wide += (term.weight * lora.scale * torch.mm(up, down)).type(wide.dtype)
    return wide.to(weight.dtype)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
