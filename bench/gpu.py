"""The core package alone on one GPU: the merge, the live path of each layer, and adding up in place; ratios, no files.

`merge`: our fused update of eight LoRAs, in fp16 and bf16; the sequence of casts, products and adds that ComfyUI's
patcher performs for a chain of eight loaders (cast the weight up, for every LoRA send both halves, multiply, scale,
add, then cast back); and a plain copy of the weights, which is what the memory allows.

`live`: a linear layer with LoRAs beside it over the plain layer, bf16, on layers of SDXL, FLUX.1 and Wan 14B, eager and
compiled, each against its own kind of plain layer.

`in place`: the product up added into the layer's output (`addmm` with `out=`), as the live path does, over the product
as a temporary result that is then added.

    python bench/gpu.py             on a GPU: at most 6 minutes, what did not fit into them is named
    python bench/gpu.py --small     tiny sizes and one round, on the CPU if need be: shows that the script works
    python bench/gpu.py --cpu       on the CPU even if there is a GPU; goes with --small

Without a GPU it is `--cpu --small`, and says so. `--no-compile` leaves the compiled runs out.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).absolute().parents[1]))

from lorchestra.algorithms.lora import LoRA
from lorchestra.apply.fuse import Term, add_updates
from lorchestra.apply.live import Geometry, LiveLayer, LiveTerm

Shape = tuple[int, int]
"""`[out, in]`."""

MERGED: Mapping[str, list[Shape]] = {
    "SDXL": [(640, 640)] * 8 + [(1280, 1280)] * 40 + [(1280, 2048)] * 20 + [(10240, 1280)] * 10 + [(1280, 5120)] * 10,
    "FLUX": [(9216, 3072)] * 4 + [(3072, 3072)] * 4 + [(12288, 3072)] * 4 + [(21504, 3072)] * 6 + [(3072, 15360)] * 6,
}
LIVE: Mapping[str, tuple[Shape, ...]] = {
    "SDXL": ((1280, 1280), (10240, 1280)),
    "FLUX.1": ((3072, 3072), (21504, 3072)),
    "Wan 14B": ((5120, 5120), (13824, 5120)),
}
TOKENS = (1024, 4096, 16384)
RANKS = (16, 64)
COUNTS = (1, 4)
"""LoRAs."""
RANK, COUNT = 16, 8
"""Of the merge."""
SECONDS = 330.0
"""After so many no further measurement begins."""


@dataclass(frozen=True)
class Machine:
    """Where it runs, and how much of it."""

    device: torch.device
    is_small: bool
    is_compiled: bool
    ends: float
    """On `time.perf_counter`."""

    @property
    def rounds(self) -> int:
        """How often everything is measured."""
        return 1 if self.is_small else 7

    def is_over(self) -> bool:
        """True if the time is up."""
        return time.perf_counter() > self.ends

    def wait(self) -> None:
        """Until all that was asked of the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def medians(self, ways: Mapping[str, Callable[[], object]], repeats: int = 1) -> dict[str, float]:
        """Seconds of each way, measured in turn after one run of each that is not."""
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(self.rounds + 1):
            for name, way in ways.items():
                self.wait()
                started = time.perf_counter()
                for _ in range(repeats):
                    way()
                self.wait()
                if number:
                    seconds[name].append((time.perf_counter() - started) / repeats)
        return {name: statistics.median(found) for name, found in seconds.items()}


def main() -> None:
    """Prints times and ratios."""
    parser = argparse.ArgumentParser(description="Benchmarks of the core package on one GPU.")
    parser.add_argument("--cpu", action="store_true", help="on the CPU, even if there is a GPU")
    parser.add_argument("--small", action="store_true", help="tiny sizes, one round: shows that the script works")
    parser.add_argument("--no-compile", action="store_true", help="without the compiled runs")
    given = parser.parse_args()
    is_gpu = torch.cuda.is_available() and not given.cpu
    machine = Machine(
        torch.device("cuda" if is_gpu else "cpu"),
        given.small or not torch.cuda.is_available(),
        not given.no_compile,
        time.perf_counter() + SECONDS,
    )
    torch.backends.cuda.matmul.allow_tf32 = False  # as ComfyUI leaves it
    started = time.perf_counter()
    print(torch.cuda.get_device_name() if is_gpu else "On the CPU: the figures say nothing of a GPU.", flush=True)
    if machine.is_small:
        print("Tiny sizes, one round: it shows that the script works; the figures mean nothing.", flush=True)
    with torch.inference_mode():
        for name, layers in MERGED.items():
            for dtype in (torch.float16, torch.bfloat16):
                merge(machine, name, layers[:4] if machine.is_small else layers, dtype)
        in_place(machine)
        live(machine)
    print(f"{time.perf_counter() - started:.0f} s in all")


def merge(machine: Machine, name: str, shapes: list[Shape], dtype: torch.dtype) -> None:
    """Eight LoRAs and one, into many weights."""
    generator = torch.Generator().manual_seed(0)
    shapes = [_tiny(shape) for shape in shapes] if machine.is_small else shapes
    weights = [(torch.randn(shape, generator=generator) * 0.03).to(machine.device, dtype) for shape in shapes]
    terms = [[_term(shape, RANK, generator) for _ in range(COUNT)] for shape in shapes]
    ways: dict[str, Callable[[], object]] = {
        "copy": lambda: [weight.clone() for weight in weights],
        "ours": lambda: list(map(_ours, weights, terms)),
        "chain": lambda: list(map(_chain, weights, terms)),
        "ours, 1": lambda: [_ours(weight, found[:1]) for weight, found in zip(weights, terms, strict=True)],
        "chain, 1": lambda: [_chain(weight, found[:1]) for weight, found in zip(weights, terms, strict=True)],
    }
    median = machine.medians(ways)
    error = (_ours(weights[0], terms[0]).double() - _chain(weights[0], terms[0]).double()).abs().max()
    print(
        f"merge, {name} {_named(dtype)}, {sum(weight.numel() for weight in weights) / 1e6:.1f} M weights: "
        + ", ".join(f"{key} {value * 1e3:.1f} ms" for key, value in median.items())
        + f"; ours / chain {median['ours'] / median['chain']:.2f}, with 1 LoRA "
        + f"{median['ours, 1'] / median['chain, 1']:.2f}, ours / copy {median['ours'] / median['copy']:.1f}; "
        + f"largest difference {error:.1e}",
        flush=True,
    )


def in_place(machine: Machine) -> None:
    """`torch.addmm(y, hidden, up, out=y)` over `y + hidden @ up`, and over the same with the sum in place."""
    generator = torch.Generator().manual_seed(0)
    print("in place, bf16: time / that of a temporary result, `y + hidden @ up`; in brackets of `y += hidden @ up`")
    for (name, shape), tokens in product(_shapes(machine), _tokens(machine)):
        found: list[str] = []
        y = torch.randn(tokens, shape[0], generator=generator).to(machine.device, torch.bfloat16)
        for rank in RANKS:
            hidden = torch.randn(tokens, rank, generator=generator).to(y)
            up = (torch.randn(rank, shape[0], generator=generator) * 1e-6).to(y)
            ways: dict[str, Callable[[], object]] = {
                "out": lambda y=y, hidden=hidden, up=up: torch.addmm(y, hidden, up, out=y),
                "new": lambda y=y, hidden=hidden, up=up: y + hidden @ up,
                "sum": lambda y=y, hidden=hidden, up=up: y.add_(hidden @ up),
            }
            median = machine.medians(ways, 1 if machine.is_small else 10)
            found.append(f"rank {rank} {median['out'] / median['new']:.2f} ({median['out'] / median['sum']:.2f})")
        print(f"  {name} {list(shape)}, {tokens} tokens: {', '.join(found)}", flush=True)
        if machine.is_over():
            print("  the time is up: the others are left out")
            return


def live(machine: Machine) -> None:
    """A layer with LoRAs beside it / the plain layer. All eager ones come first: compiling takes its time."""
    print("live, bf16: time / the plain layer's")
    for is_compiled in (False, True) if machine.is_compiled else (False,):
        for (name, shape), tokens in product(_shapes(machine), _tokens(machine)):
            if machine.is_over():
                kind = "compiled" if is_compiled else "eager"
                print(f"  the time is up: {kind} {name} {list(shape)}, {tokens} tokens, and the others are left out")
                return
            print(f"  {_beside(machine, name, shape, tokens, is_compiled)}", flush=True)


def _beside(machine: Machine, name: str, shape: Shape, tokens: int, is_compiled: bool) -> str:
    torch.compiler.reset()  # a layer is not another one's recompilation
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(shape[1], shape[0], device=machine.device, dtype=torch.bfloat16)
    x = torch.randn(1, tokens, shape[1], generator=generator).to(machine.device, torch.bfloat16)
    ways: dict[str, Callable[[], object]] = {"plain": _call(layer, x, is_compiled)}
    errors: dict[str, float] = {}
    for rank, count in product(RANKS, COUNTS):
        terms = [LiveTerm(_term(shape, rank, generator).adapter, entry) for entry in range(count)]
        beside = LiveLayer(terms, [], Geometry(shape, has_bias=True), torch.bfloat16).to(machine.device)
        weights = torch.full((count,), 0.7, device=machine.device)
        key = f"rank {rank} × {count}"
        ways[key] = _call(_With(layer, beside, weights, (True,) * count), x, is_compiled)
        errors[key] = _error(ways[key], layer, terms, x)
    median = machine.medians(ways, 1 if machine.is_small else 5)
    kind = "compiled" if is_compiled else "eager"
    ratios = ", ".join(f"{key} {value / median['plain']:.3f}" for key, value in median.items() if key != "plain")
    return (
        f"{name} {list(shape)}, {tokens} tokens, {kind}: {ratios}; plain {median['plain'] * 1e3:.3f} ms; largest "
        f"relative error {max(errors.values()):.1e}"
    )


class _With(torch.nn.Module):
    """A layer with LoRAs beside it."""

    def __init__(self, layer: torch.nn.Linear, beside: LiveLayer, weights: torch.Tensor, active: tuple[bool, ...]):
        super().__init__()
        self.layer, self.beside, self.weights, self.active = layer, beside, weights, active

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.beside(x, self.layer(x), self.layer.forward, self.weights, self.active)


def _call(layer: torch.nn.Module, x: torch.Tensor, is_compiled: bool) -> Callable[[], object]:
    run = torch.compile(layer, dynamic=False) if is_compiled else layer
    return lambda: run(x)


def _error(way: Callable[[], object], layer: torch.nn.Linear, terms: list[LiveTerm], x: torch.Tensor) -> float:
    """‖what comes out − W'x in fp32‖ / ‖W'x‖ at some positions: the work that is measured must be the right one."""
    weight = layer.weight.float()
    for term in terms:
        assert isinstance(term.adapter, LoRA)
        weight = weight + 0.7 * term.adapter.up.to(weight) @ term.adapter.down.to(weight)
    some = slice(0, 64)
    right = torch.nn.functional.linear(x[:, some].float(), weight, layer.bias.float())
    result = way()
    assert isinstance(result, torch.Tensor)
    error = float((result[:, some].float() - right).norm() / right.norm())
    assert error < 0.02, f"the live path is wrong: {error}"
    return error


def _shapes(machine: Machine) -> Iterator[tuple[str, Shape]]:
    for name, shapes in LIVE.items():
        for shape in shapes:
            yield name, _tiny(shape) if machine.is_small else shape


def _tokens(machine: Machine) -> tuple[int, ...]:
    return tuple(tokens // 64 for tokens in TOKENS[:1]) if machine.is_small else TOKENS


def _tiny(shape: Shape) -> Shape:
    return shape[0] // 16, shape[1] // 16


def _term(shape: Shape, rank: int, generator: torch.Generator) -> Term:
    up = (torch.randn(shape[0], rank, generator=generator) * 0.02).half()
    down = (torch.randn(rank, shape[1], generator=generator) * 0.02).half()
    return Term(LoRA(up, down, None, 1.0), 0.7)


def _ours(weight: torch.Tensor, terms: list[Term]) -> torch.Tensor:
    wide = weight.float()
    add_updates(wide, [(None, terms)], exact=False)  # as the node does
    return wide.to(weight.dtype)


def _chain(weight: torch.Tensor, terms: list[Term]) -> torch.Tensor:
    wide = weight.float()
    for term in terms:
        lora = term.adapter
        assert isinstance(lora, LoRA)
        up, down = lora.up.to(weight.device, torch.float32), lora.down.to(weight.device, torch.float32)
        wide += (term.weight * lora.scale * torch.mm(up, down)).type(wide.dtype)
    return wide.to(weight.dtype)


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
