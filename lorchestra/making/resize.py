"""A LoRA file at a lower rank: module by module, under the names that it has; what is small enough stays to the bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from ..algorithms.dora import DoRA
from ..algorithms.full import Difference
from ..algorithms.loha import LoHa
from ..algorithms.lokr import LoKr
from ..algorithms.lora import LoRA
from ..architectures.names import family_titles
from ..errors import AdapterError
from ..files.key import find_key
from ..files.new_file import check_output
from ..lora.cache import DTYPES, OpenLora, open_lora
from ..spelling import numbered, slots
from ..spelling.modules import Module
from ..spelling.prefixes import KOHYA, LYCORIS, NATIVE
from ..spelling.quantized import is_scale
from ..spelling.scales import without_scales
from .low_rank import Halves, Limit, shortened_halves, split, square_between, square_of
from .merge import Made, Progress
from .new_lora import DTYPE_NAMES, Errors, HalfNames, NewLora, default_dtype, new_lora
from .pieces import exact_halves
from .record import METADATA_KEY, name_of, record, resized_metadata

_OPEN_SPELLINGS = frozenset({KOHYA, LYCORIS, NATIVE})
"""Spellings that have the tensors of all algorithms, so that a LoHa can become a LoRA in them."""


@dataclass(frozen=True, slots=True)
class _Job:
    """One module that changes, or one tensor that stays."""

    width: int
    """Bytes of an element: the widest are written first, so that all are aligned."""
    module: Module | None
    tensor: str = ""
    names: HalfNames | None = None
    dtype: torch.dtype = torch.float16
    bias: Module | None = None
    """PEFT's bias of the up half, whose scale is that of the halves."""


def resize(
    path: str | Path,
    output: str | Path,
    limit: Limit,
    *,
    dtype: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Writes a LoRA file with modules of lower rank, each cut to the nearest update within the limit.

    Modules that are within it stay as they are. A LoHa, a LoKr or a whole difference becomes a LoRA where it is larger
    than that. What has no rank stays: biases, norms, (IA)³, OFT, GLoRA. Raises `HeaderError` and `AdapterError` as
    `open_lora`, `CheckpointError` for an output that cannot be written.
    """
    output = Path(output)
    check_output(output, [str(path)], "the file to resize", force)
    key = find_key(path)
    file = open_lora(path, keep=False)
    file.check_values()
    if file.examined.problem:
        raise AdapterError(file.path, "", file.examined.problem)
    jobs, left = _jobs(file, limit, dtype)
    metadata = dict(file.header.metadata)
    if file.scales and file.scales.adapters:
        metadata = without_scales(metadata)
    errors = Errors()
    facts = {"rank": limit.rank, "energy": limit.energy, "dtype": dtype}
    sources = [{"name": name_of(path), "sha256": file.sha256()}]
    changed = 0
    names = [name for job in jobs for name in _names(job)]
    known = {**metadata, METADATA_KEY: record("resize", facts, sources, errors)}
    with new_lora(output, force, names, known) as new:
        for done, job in enumerate(jobs, 1):
            if job.module is None or job.names is None:
                new.copy(job.tensor, file.leftover(job.tensor))
            elif _write(new, file, job, job.module, job.names, limit, errors):
                changed += 1
            if progress:
                progress(done, len(jobs))
        ranks = list(new.ranks) if changed else []
        metadata = resized_metadata(metadata, ranks) if changed else metadata
        metadata[METADATA_KEY] = record("resize", facts, sources, errors if changed else None)
        examined = new.finish(metadata, None)
        if len(examined.reading.modules) != len(file.reading.modules):
            raise AdapterError(path, "", "its modules could not be read again under their names")
        if find_key(path) != key:
            raise AdapterError(path, "", "the file changed while it was read")
    all_ranks = tuple(module.rank for module in examined.reading.modules if module.rank)
    if 0 < changed < len(all_ranks):
        left.append(f"{len(all_ranks) - changed} of {len(all_ranks)} layers stay as they are, within what was asked")
    titles = family_titles(examined.identity.best, 2)
    words = next((name for name, one in DTYPE_NAMES.items() if changed and one == _dtype_of(jobs)), "")
    return Made(
        str(output),
        examined,
        " or ".join(titles) or "a model that is not known",
        len(all_ranks),
        0,
        all_ranks,
        words,
        errors,
        notes=tuple(left),
    )


def _dtype_of(jobs: Sequence[_Job]) -> torch.dtype:
    return Counter(job.dtype for job in jobs if job.module).most_common(1)[0][0]


def _names(job: _Job) -> Iterator[str]:
    if job.names is None:
        yield job.tensor
    else:
        yield from filter(None, (job.names.up, job.names.down, job.names.alpha))
        if job.module:
            yield from (name for slot, name in job.module.slots.items() if slot.startswith("magnitude"))
        if job.bias:
            yield job.bias.slots["bias"]


def _jobs(file: OpenLora, limit: Limit, dtype: str | None) -> tuple[list[_Job], list[str]]:
    """What is to be written, the widest elements first, and what stays as it is, in sentences."""
    result: list[_Job] = []
    kept: set[str] = set()
    left: Counter[str] = Counter()
    has_settings = bool(file.scales and file.scales.adapters)
    spelling = next(iter(file.reading.spellings), "")
    biases = {module.name: module for module in file.reading.modules if module.algorithm == slots.LORA_BIAS}
    for module in file.reading.modules:
        if module.algorithm == slots.LORA_BIAS and "down" in module.slots:
            continue  # its scale is that of the halves: both change, or none
        names = _half_names(file, module, spelling, has_settings)
        is_large = _is_large(module, limit)
        has_own_scale = has_settings and file.scales is not None and file.scales.scale(module) is not None
        if names is None or not (is_large or has_own_scale):
            if is_large or (names is None and module.algorithm not in _VECTORS and module.in_shape != ()):
                left[module.kind] += 1
            if has_own_scale:
                raise AdapterError(
                    file.path,
                    module.name,
                    f"its scale is a setting ({file.scales.where if file.scales else ''}), and {module.kind} is not "
                    "resized. Convert the file first: lorchestra convert",
                )
            continue
        infos = (file.header.tensors[name] for slot, name in module.slots.items() if not is_scale(slot))
        own = default_dtype(DTYPES[info.dtype] for info in infos) if dtype is None else DTYPE_NAMES[dtype]
        bias = biases.get(module.name) if module.algorithm == slots.LORA else None
        result.append(_Job(own.itemsize, module, names=names, dtype=own, bias=bias))
        kept.update(module.slots.values())
        kept.update(bias.slots.values() if bias else ())
    for name, info in file.header.tensors.items():
        if name not in kept:
            result.append(_Job(DTYPES[info.dtype].itemsize if info.dtype in DTYPES else 1, None, name))
    result.sort(key=lambda job: -job.width)
    notes = [f"{count} modules stay as they are, which have no rank to cut: {kind}" for kind, count in left.items()]
    if any("magnitude" in slot for job in result if job.module for slot in job.module.slots):
        notes.append("DoRA: the magnitudes stay; the error is that of the update before they scale it")
    return result, notes


def _is_large(module: Module, limit: Limit) -> bool:
    """True if a module may be larger than the limit allows."""
    if module.algorithm not in _RESIZED or module.layout.out is None or not module.layout.inner:
        return False
    columns = prod(module.layout.inner)
    if module.algorithm == slots.LORA:
        return limit.energy is not None or limit.rank is None or (module.rank or 0) > limit.rank
    if limit.rank is None:
        return min(module.layout.out, columns) > 1
    own = sum(prod(shape) for slot, shape in module.shapes.items() if slot != "alpha")
    return limit.rank * (module.layout.out + columns) < own


_RESIZED = frozenset({slots.LORA, slots.LOHA, slots.LOKR, slots.DIFF})


_VECTORS = slots.BIASES | {slots.NORM}


def _half_names(file: OpenLora, module: Module, spelling: str, has_settings: bool) -> HalfNames | None:
    """What a module's halves are called; None for one that cannot be resized."""
    if module.algorithm not in _RESIZED or module.pads or len(module.in_shape or ()) == 0:
        return None
    if module.algorithm == slots.LORA:
        alpha = module.slots.get("alpha", "")
        if not alpha and has_settings and spelling != numbered.SPELLING:
            alpha = f"{module.name}.alpha"
        return HalfNames(module.slots["up"], module.slots["down"], alpha)
    has_magnitude = any("magnitude" in slot for slot in module.slots)
    if spelling not in _OPEN_SPELLINGS or has_magnitude or module.by_head:
        return None
    return HalfNames.of(module.name)


def _write(
    new: NewLora, file: OpenLora, job: _Job, module: Module, names: HalfNames, limit: Limit, errors: Errors
) -> bool:
    """Writes one module; False if it was within the limit and stays to the bit."""
    adapter = file.adapter(module)
    base = adapter.base if isinstance(adapter, DoRA) else adapter
    if not isinstance(base, LoRA | LoHa | LoKr | Difference):
        raise AdapterError(file.path, module.name, f"{module.kind} is not resized")
    halves = exact_halves(base)
    inner = module.layout.inner or ()
    total = 0.0
    if halves is not None:
        total = square_of(halves)
        short = _zeros(halves) if total == 0 else shortened_halves(halves, limit)
        if short.rank >= halves.rank and job.bias is None and file.scales is None:
            parts = _stored(file, module, job.dtype)
            if parts is not None:
                for slot, tensor in parts.items():
                    new.copy(module.slots[slot], tensor)
                return False
        if short.rank >= halves.rank:
            short = halves
        written = new.put_halves(names, short, inner, job.dtype)
        errors.add(module.name, square_between(halves, written), total)
    else:
        delta = base.update(torch.zeros(module.layout.out or 0, *inner, dtype=torch.float64)).flatten(1)
        total = float(delta.square().sum())
        short = _zeros(Halves(delta, delta)) if total == 0 else split(delta, limit)
        written = new.put_halves(names, short, inner, job.dtype)
        errors.add(module.name, float((delta - written.up @ written.down).square().sum()), total)
    for slot, name in module.slots.items():
        if slot.startswith("magnitude"):
            new.put(name, file.tensors(module)[slot].to(job.dtype))
    if job.bias:
        bias = file.adapter(job.bias)
        if isinstance(bias, Difference):
            new.put(job.bias.slots["bias"], (bias.diff.double() * bias.scale).to(job.dtype))
    return True


def _stored(file: OpenLora, module: Module, dtype: torch.dtype) -> dict[str, Tensor] | None:
    """The tensors of a module that may stay to the bit; None where they have another dtype than is written, or an alpha
    that has no place among them."""
    if any(is_scale(slot) for slot in module.slots):
        return None
    parts = file.tensors(module)
    alpha = parts.get("alpha")
    if alpha is not None and alpha.dtype.itemsize != dtype.itemsize:
        narrow = alpha.to(dtype)
        if float(narrow) != float(alpha):
            return None
        parts["alpha"] = narrow
    rest = (tensor for slot, tensor in parts.items() if slot != "alpha")
    return parts if all(tensor.dtype == dtype for tensor in rest) else None


def _zeros(halves: Halves) -> Halves:
    """Nothing, at rank 1."""
    return Halves(halves.up[:, :1] * 0, halves.down[:1] * 0)
