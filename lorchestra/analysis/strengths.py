"""How strong one LoRA file is at weight 1, by what its layers are called: measured once, and told at any weights.

The figures are those of the balance, on the architecture that the file is made for. They are small, so that they can be
kept: strength is |weight| · ‖Δ‖, and with weights per block √Σ (weight · factor)² · ‖Δ of these layers‖².
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from ..apply.plan import Part, make_plan
from ..choices import AUTO, IGNORE, SKIP, Choices
from ..fit.rows import Files, Located
from ..lora.cache import OpenLora, open_lora
from ..models.base import base_by_name
from ..sentences import Sentence, say
from ..spelling.prefixes import MODEL
from ..stack import Entry, Stack
from ..stack.blocks import factor_of
from .deltas import NEEDS_BASE, Delta, find_delta, meeting, shape_of
from .products import Scratch, lay_out, square

VERSION = 1
"""Of the kept form; what has another one is measured again."""
IsWanted = Callable[[], bool]


class NotWanted(Exception):
    """Nobody waits for the figures any more."""


@dataclass(frozen=True, slots=True)
class Layers:
    """All layers of a file that are called the same."""

    is_model: bool
    """False for those of text encoders."""
    labels: Mapping[str, int | None] | None
    """See `BlockNames.labels`; None if it is not known where in a model they are."""
    square: float
    """Σ ‖Δ‖² at weight 1."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """What was measured of one file; or why nothing could be."""

    layers: tuple[Layers, ...] = ()
    problem: str = ""
    """In a sentence; empty if the figures are whole."""

    def at(self, blocks: Mapping[str, float]) -> tuple[float, float] | None:
        """‖Δ‖ at weight 1 in the diffusion model and in the text encoders, with these weights per block.

        None if it is not known which layers these are.
        """
        sums = {True: 0.0, False: 0.0}
        for layers in self.layers:
            if blocks and layers.labels is None:
                return None
            factor = factor_of(blocks, layers.labels) if blocks and layers.labels is not None else 1.0
            sums[layers.is_model] += factor * factor * layers.square
        return math.sqrt(sums[True]), math.sqrt(sums[False])

    def to_text(self) -> str:
        """To be kept; problems are not, as they may pass."""
        layers = [
            [item.is_model, None if item.labels is None else dict(item.labels), item.square] for item in self.layers
        ]
        return json.dumps([VERSION, layers], separators=(",", ":"))


def read_kept(text: str) -> Strengths | None:
    """From what was kept; None if it is of another version, or not ours."""
    try:
        version, layers = json.loads(text)
        if version != VERSION:
            return None
        found = tuple(
            Layers(bool(is_model), None if labels is None else dict(labels), float(square))
            for is_model, labels, square in layers
        )
    except (ValueError, TypeError):
        return None
    return Strengths(found) if all(math.isfinite(item.square) for item in found) else None


def measure_strengths(path: str, is_wanted: IsWanted = lambda: True) -> Strengths:
    """Measures a file, layer by layer. Raises `NotWanted`, `FileProblem` for a file that cannot be used.

    The whole file is read: some 100 MB a second and processor.
    """
    file = open_lora(path, keep=False)
    file.check_values()
    sums: dict[tuple[bool, _Called | None], float] = {}
    scratch = Scratch()
    with torch.no_grad():
        for is_model, called, deltas in _layers(path, file):
            if not is_wanted():
                raise NotWanted
            odd = next((delta for delta in deltas if isinstance(delta, str)), None)
            if odd is not None:
                return Strengths(problem=_problem(odd))
            runs = meeting([delta for delta in deltas if isinstance(delta, Delta)])
            found = math.fsum(square(lay_out(run, scratch.restart())) for run in runs)
            sums[is_model, called] = sums.get((is_model, called), 0.0) + found
    return Strengths(
        tuple(
            Layers(is_model, None if called is None else dict(called), found)
            for (is_model, called), found in sums.items()
        )
    )


_Called = tuple[tuple[str, "int | None"], ...]


def _layers(path: str, file: OpenLora) -> Iterator[tuple[bool, _Called | None, list[Delta | str]]]:
    """Whether it is of the diffusion model, what it is called, and what is added to it, for each layer.

    On the likeliest of the architectures that the file is made for; if that is not known, layer by layer of the file.
    """
    known = file.examined.identity.architectures
    base = base_by_name(known[0]) if known else None
    if base is None:
        for module in file.reading.modules:
            part = Part(file, module, 1.0)
            yield module.component == MODEL, None, [find_delta(0, part.term(), None, None, shape_of(part))]
        return
    row = Entry(path, model=1.0, clip=1.0)
    files = Files(lambda entry, _: Located(entry.lora), lambda _: file)
    for change, parts in make_plan(Stack((row,)), files, base, Choices(SKIP, IGNORE, AUTO)).changes.items():
        is_model = change.component == MODEL
        called = tuple(sorted(base.block_names.labels(change.key, not is_model).items()))
        yield (
            is_model,
            called,
            [
                find_delta(0, replace(part.term(), weight=1.0), part.place.offset, None, shape_of(part))
                for part in parts
            ],
        )


def _problem(why: str) -> Sentence:
    if why == NEEDS_BASE:
        return say("what it does depends on the model's own weights, which are not at hand")
    return say("some of its layers make the model's wider, or are for columns of a layer")
