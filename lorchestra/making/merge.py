"""Several LoRA files as one: exactly, by putting their halves side by side; at a lower rank; by TIES or DARE."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..analysis.common_base import common_architecture
from ..apply.plan import Change, Part, Plan, make_plan
from ..architectures.sites import WHOLE, Offset, Shape
from ..convert.by_layer import LayerNames
from ..convert.layers import Layers, choose_layers
from ..errors import AdapterError, LorchestraError, StackError
from ..files.key import find_key, read_sha256
from ..files.new_file import check_output
from ..fit.outcome import Outcome
from ..fit.rows import Files, Located
from ..lora.cache import DTYPES, open_lora
from ..lora.examined import Examined, read_examined
from ..models.base import Base
from ..models.base_file import find_files
from ..spelling import prefixes, slots
from ..spelling.modules import BIAS
from ..spelling.prefixes import MODEL
from ..spelling.targets import COMFYUI
from ..stack import Stack
from .choices import SUM
from .low_rank import Halves, Limit, shortened_halves, split, square_between, square_of
from .methods import Method, joined
from .new_lora import DTYPE_NAMES, Errors, HalfNames, NewLora, balanced, default_dtype, new_lora
from .pieces import Piece, read_piece
from .record import METADATA_KEY, common_metadata, name_of, record
from .weights import Weights, open_weights

Progress = Callable[[int, int], None]
"""Called with (layers done, layers in all)."""

_KEPT_SPELLINGS = frozenset({prefixes.KOHYA, prefixes.NATIVE, prefixes.LYCORIS, prefixes.PEFT, prefixes.DIFFUSERS})
"""Spellings in which a file is written that all sources have; of others the result has ComfyUI's names."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was written."""

    output: str
    examined: Examined
    """The result, read as any other file."""
    title: str
    """What people call the architecture."""
    layers: int
    whole: int
    """So many of them are whole differences, not low-rank."""
    ranks: tuple[int, ...]
    """Of the others."""
    dtype: str
    errors: Errors
    outcomes: tuple[Outcome, ...] = ()
    """One for each row of a merge."""
    notes: tuple[str, ...] = ()
    """What was left out, in sentences."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One layer of the new file."""

    change: Change
    parts: tuple[Part, ...]
    """In canonical order."""
    layer: str
    """Its name in the new file, without a slot."""
    names: HalfNames
    shape: Sequence[int]
    """`[out, in, kernel …]`, or `[n]`."""
    in_file_order: bool
    """True if the rows are as the sources have them; else as the model has them."""
    is_bias: bool

    @property
    def whole_name(self) -> str:
        """What a whole difference is called."""
        return f"{self.layer}.diff_b" if self.is_bias else f"{self.layer}.diff"

    def tensor_names(self) -> Iterator[str]:
        """All tensors that it may have."""
        yield from filter(None, (self.whole_name, self.names.up, self.names.down, self.names.alpha))


def merge(
    stack: Stack,
    output: str | Path,
    *,
    method: Method = Method(),  # noqa: B008 - frozen
    limit: Limit = Limit(),  # noqa: B008 - frozen
    whole: bool = False,
    dtype: str | None = None,
    architecture: str | None = None,
    model: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Writes the LoRAs of a stack, whose rows name files by their paths, as one file that does the same at weight 1.

    Without a `limit`, halves are put side by side, and what has none is written whole: exact but for the rounding to
    `dtype` (of `DTYPE_NAMES`; None for the sources'). What TIES and DARE make has no low rank: they need a limit, or
    `whole`. Adapters that depend on the weights of the model need its file, `model`; it also names the layers, as the
    id `architecture` does.

    Raises `StackError` and `FileProblem` as `make_plan`, `AdapterError` for what cannot be written in one file, and
    `CheckpointError` for an output that cannot be written.
    """
    path = Path(output)
    active = [entry for entry in stack.entries if entry.active]
    if not active:
        raise StackError("all weights are 0: there is nothing to merge")
    if method.name != SUM and limit.is_none and not whole:
        raise LorchestraError(
            f"what {method.name.upper()} makes of LoRAs has no low rank. Say how much of it is kept: --rank 64 or "
            "--energy 0.98; or --whole for all of it, which is as large as the model's layers"
        )
    inputs = [entry.lora for entry in stack.entries] + list(find_files(model) if model is not None else ())
    check_output(path, inputs, "one of the files to read", force)
    keys = {entry.lora: find_key(entry.lora) for entry in active}
    examined = {entry.lora: read_examined(entry.lora) for entry in active}
    layers = _layers(examined, architecture, model)
    base = Base(layers.architecture.title, layers.targets, lambda: (layers.architecture.id,))
    files = Files(find=lambda entry, _: Located(entry.lora), open=lambda name: open_lora(name, keep=False))
    plan = make_plan(stack, files, base)
    if not plan.changes:
        raise StackError(f"nothing is left to merge: {'; '.join(map(str, plan.outcomes))}")
    targets = _targets(plan, layers)
    kind = DTYPE_NAMES[dtype] if dtype else default_dtype(_dtypes(plan))
    word = next(name for name, one in DTYPE_NAMES.items() if one == kind)
    errors, whole_layers, empty = Errors(), 0, 0
    metadata = common_metadata([item.file.header.metadata for item in plan.chosen])
    sources = [
        {
            "name": name_of(item.file.path),
            "sha256": item.file.sha256(),
            "model": item.weighted.model,
            "clip": item.weighted.clip,
        }
        for item in plan.chosen
    ]
    facts: dict[str, Any] = {
        "method": method.name,
        "density": None if method.name == SUM else method.density,
        "seed": method.seed if method.is_random else None,
        "rank": limit.rank,
        "energy": limit.energy,
        "dtype": word,
        "base": None,
    }
    with contextlib.ExitStack() as opened:
        weights = opened.enter_context(open_weights(model)) if model is not None else None
        if weights is not None:
            facts["base"] = [{"name": name_of(name), "sha256": read_sha256(name)} for name in weights.base.files]
        names = [name for target in targets for name in target.tensor_names()]
        known = {**metadata, METADATA_KEY: record("merge", facts, sources, errors)}
        new = opened.enter_context(new_lora(path, force, names, known))
        for done, target in enumerate(targets, 1):
            if not _write(new, target, method, limit, kind, weights, errors):
                empty += 1
            elif target.whole_name in new.entries:
                whole_layers += 1
            if progress:
                progress(done, len(targets))
        if not new.entries:
            raise StackError("the LoRAs add nothing: together, all of their layers are 0")
        metadata[METADATA_KEY] = record("merge", facts, sources, errors)
        result = new.finish(metadata, layers.targets)
        for name, key in keys.items():
            if find_key(name) != key:
                raise AdapterError(name, "", "the file changed while it was read")
    notes = [f"{empty} layers are left out: what the LoRAs add there is 0"] if empty else []
    return Made(
        str(path),
        result,
        layers.architecture.title,
        len(targets) - empty,
        whole_layers,
        tuple(new.ranks),
        word,
        errors,
        plan.outcomes,
        tuple(notes),
    )


def _layers(examined: Mapping[str, Examined], architecture: str | None, model: str | Path | None) -> Layers:
    if architecture is None and model is None:
        made_for = {name_of(path): one.identity.architectures for path, one in examined.items() if not one.problem}
        if made_for:
            hint = "name what they are for: --architecture"
            architecture = common_architecture(made_for, hint, "merged for")
    return choose_layers(next(iter(examined.values())), architecture, model)


def _dtypes(plan: Plan) -> Iterator[torch.dtype]:
    for parts in plan.changes.values():
        for part in parts:
            infos = (part.file.header.tensors[name] for slot, name in part.module.slots.items() if slot != "alpha")
            yield from (DTYPES[info.dtype] for info in infos if DTYPES[info.dtype].is_floating_point)


def _targets(plan: Plan, layers: Layers) -> list[_Target]:
    """The layers of the new file: each layer of the model, or each part of it where the sources have parts alike."""
    spellings = {spelling for item in plan.chosen for spelling in item.file.reading.spellings}
    is_kept = len(spellings) == 1 and spellings <= _KEPT_SPELLINGS
    names = LayerNames(layers, COMFYUI)
    shapes = _shapes(layers)
    result: list[_Target] = []
    for change, parts in plan.changes.items():
        kept = _kept(change, parts, shapes.get(change.key)) if is_kept else None
        result += kept or [_native(change, parts, names, shapes.get(change.key))]
    return result


def _shapes(layers: Layers) -> dict[str, Shape | None]:
    """The shapes of all layers, by the keys that a plan has."""
    result: dict[str, Shape | None] = {}
    for sites in layers.targets.values():
        for site in sites.values():
            if site.place == WHOLE and not site.pieces:
                result[site.key] = site.shape
    return {**result, **layers.shapes}


def _kept(change: Change, parts: Sequence[Part], shape: Shape | None) -> list[_Target] | None:
    """The layer by the names that the sources have for it; None where they do not have the same parts of it."""
    groups: dict[Offset | None, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.place.offset, []).append(part)
    if len(groups) > 1 and None in groups:
        return None
    ends = 0
    result: list[_Target] = []
    for offset, group in sorted(groups.items(), key=lambda item: item[0] or (-1, 0, 0)):
        first = group[0]
        place, module = first.place, first.module
        if offset is not None and offset[1] < ends:
            return None  # they overlap
        ends = offset[1] + offset[2] if offset else 0
        if any(part.place != place or part.rows is not None for part in group) or module.by_head or place.transposed:
            return None
        half = next((part.module for part in group if part.module.algorithm == slots.LORA), None)
        if half is not None:
            alpha = half.slots.get("alpha", f"{half.name}.alpha" if ".lora_down." in half.slots["down"] else "")
            layer, half_names = half.name, HalfNames(half.slots["up"], half.slots["down"], alpha)
        elif module.algorithm == slots.EMBEDDING:
            return None
        else:
            layer, half_names = module.name, HalfNames.of(module.name)
        own = _own_shape(first, shape, offset)
        if own is None:
            return None
        is_bias = module.target == BIAS
        result.append(_Target(change, tuple(group), layer, half_names, own, True, is_bias))
    return result


def _own_shape(part: Part, shape: Shape | None, offset: Offset | None) -> tuple[int, ...] | None:
    """That of the layer, or of a part of it."""
    if shape is not None:
        return shape if offset is None else (offset[2], *shape[1:])
    layout = part.module.layout
    return None if layout.out is None or layout.inner is None else (layout.out, *layout.inner)


def _native(change: Change, parts: Sequence[Part], names: LayerNames, shape: Shape | None) -> _Target:
    first = parts[0]
    own = shape or (_own_shape(first, None, None) if first.place == WHOLE and first.rows is None else None)
    if own is None:
        raise AdapterError(first.file.path, first.module.name, "the shape of this layer is not known")
    is_bias = first.module.target == BIAS
    layer = change.key
    for end in (".weight", ".bias"):
        if layer.endswith(end) and (end == ".weight" or is_bias):
            layer = layer[: -len(end)]
            break
    name = names.of(layer, MODEL if change.component == MODEL else change.component)
    return _Target(change, tuple(parts), name, HalfNames.of(name), own, False, is_bias)


def _write(
    new: NewLora,
    target: _Target,
    method: Method,
    limit: Limit,
    dtype: torch.dtype,
    weights: Weights | None,
    errors: Errors,
) -> bool:
    """Writes one layer; False if there is nothing to write."""
    shape = target.shape
    columns = prod(shape[1:])
    by_file: dict[int, list[Piece]] = {}
    for part in target.parts:
        piece = read_piece(part, columns, target.in_file_order, weights)
        by_file.setdefault(id(part.file), []).append(piece)
    pieces = [piece for group in by_file.values() for piece in group]
    is_low = len(shape) > 1 and all(piece.halves is not None for piece in pieces)
    if method.name == SUM and is_low:
        halves = _side_by_side(pieces, shape[0])
        total = square_of(halves)
        if total == 0:
            return False
        short = halves if limit.is_none else _within(halves, limit)
        written = new.put_halves(target.names, short, shape[1:], dtype)
        errors.add(target.layer, square_between(halves, written), total)
        return True
    if method.name == SUM:
        delta = _total([(piece, piece.weight) for piece in pieces], shape[0], columns)
    else:
        key = f"{target.change.key}:{target.parts[0].place.offset or ''}"
        deltas = [_total([(piece, 1.0) for piece in group], shape[0], columns).float() for group in by_file.values()]
        delta = joined(deltas, [group[0].weight for group in by_file.values()], method, key)
    return write_delta(new, target.layer, target.whole_name, target.names, delta, shape, limit, dtype, errors)


def write_delta(
    new: NewLora,
    layer: str,
    whole_name: str,
    names: HalfNames,
    delta: Tensor,
    shape: Sequence[int],
    limit: Limit,
    dtype: torch.dtype,
    errors: Errors,
) -> bool:
    """Writes a whole difference, `[out, in · kernel]`, as halves within the limit; or whole if there is none, or it is
    a vector; False if it is 0."""
    wide = delta.double()
    total = float(wide.square().sum())
    if total == 0:
        return False
    if limit.is_none or len(shape) < 2 or min(wide.shape) == 1:
        rounded = delta.reshape(tuple(shape)).to(dtype)
        new.put(whole_name, rounded)
        errors.add(layer, float((rounded.double().reshape(wide.shape) - wide).square().sum()), total)
        return True
    written = new.put_halves(names, split(delta, limit), shape[1:], dtype)
    errors.add(layer, float((wide - written.up @ written.down).square().sum()), total)
    return True


def _within(halves: Halves, limit: Limit) -> Halves:
    """As they are, to the bit, where they are short enough already."""
    if limit.energy is None and limit.rank is not None and halves.rank <= limit.rank:
        return halves
    short = shortened_halves(halves, limit)
    return halves if short.rank >= halves.rank else short


def _side_by_side(pieces: Sequence[Piece], rows: int) -> Halves:
    """All of the pieces' halves as one pair, the weights multiplied into the up halves, in fp64."""
    ups: list[Tensor] = []
    downs: list[Tensor] = []
    for piece in pieces:
        halves = piece.halves
        if halves is None:
            raise ValueError("a whole difference has no halves")
        own = balanced(replace(halves, up=halves.up * piece.weight))
        up = own.up
        if (piece.start, up.shape[0]) != (0, rows):
            up = torch.zeros(rows, halves.rank, dtype=torch.float64)
            up[piece.start : piece.start + own.up.shape[0]] = own.up
        ups.append(up)
        downs.append(own.down)
    return Halves(torch.cat(ups, 1), torch.cat(downs))


def _total(pieces: Sequence[tuple[Piece, float]], rows: int, columns: int) -> Tensor:
    """`[rows, columns]`: what pieces add together at these weights, fp64."""
    total = torch.zeros(rows, columns, dtype=torch.float64)
    for piece, weight in pieces:
        delta = piece.delta()
        total.narrow(0, piece.start, delta.shape[0]).add_(delta, alpha=weight)
    return total
