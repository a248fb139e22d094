"""What a LoRA file holds, in numbers: from its header and its alphas alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files.header import Header, read_header
from ..spelling.modules import Reading, read_modules
from ..spelling.scales import module_scale, read_scales
from .metadata import shorten, trigger_words
from .values import odd_alpha, read_alphas

METADATA_KEYS = (
    "modelspec.title", "modelspec.architecture", "modelspec.author", "modelspec.license", "modelspec.usage_hint",
    "ss_base_model_version", "ss_sd_model_name", "ss_network_module", "ss_network_dim", "ss_network_alpha",
    "ss_network_args", "ss_output_name", "ss_training_comment", "sshs_model_hash", "lora_adapter_metadata", "software",
    "training_info", "ot_branch", "format", "alpha", "lora_alpha", "network_alpha", "lora_rank", "base_schedule",
    "key_format", "qkv_layout",
)  # fmt: skip
"""Metadata that tells something about what the file is; the rest is about how it was trained."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """Spread of a number over the modules."""

    minimum: float
    median: float
    maximum: float
    counts: Mapping[str, int]
    """Value → number of modules, the most frequent first."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What one file holds."""

    file: str
    size: int
    """Bytes."""
    tensors: int
    modules: int
    algorithms: Mapping[str, int]
    """`LoRA`, `LoCon`, `LoCon Tucker`, … → number of modules."""
    spellings: Mapping[str, int]
    components: Mapping[str, int]
    """`model`, `te` … → number of modules."""
    dtypes: Mapping[str, int]
    """Dtype → number of tensors."""
    rank: Statistics | None
    scale: Statistics | None
    """What is multiplied with the halves: alpha / rank, or what settings say; without those of `odd_alphas`."""
    without_alpha: int
    """Modules that have no alpha."""
    assumed: int
    """Those of them for which no settings say a scale: it is 1."""
    odd_alphas: tuple[str, ...]
    """Modules whose alpha is not one finite number: the file cannot be applied."""
    incomplete: tuple[str, ...]
    """Modules of which a half is missing."""
    doubled: tuple[str, ...]
    """Tensors that fill a place in a module that another one fills already: the file cannot be applied."""
    leftovers: tuple[str, ...]
    """Tensors that belong to no module."""
    trigger_words: tuple[str, ...]
    metadata: Mapping[str, str]
    """The entries of `METADATA_KEYS` that are there, shortened."""
    scale_from: str = ""
    """Where the scales of modules without an alpha are said: `the metadata entry alpha`. Empty where they are not."""
    warnings: tuple[str, ...] = ()
    """What settings say about the scale that is not applied."""

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def read_summary(path: str | Path) -> Summary:
    """Reads the header and the alphas of a file; raises `HeaderError` if it is not a sound safetensors file."""
    header = read_header(path)
    return summarise(header, read_modules(header))


def summarise(header: Header, reading: Reading) -> Summary:
    """The same for a header that is read already; reads the alphas."""
    alphas = read_alphas(header, reading.modules)
    by_name = {module.name: module for module in reading.modules}
    odd = [name for name, alpha in alphas.items() if odd_alpha(by_name[name], alpha)]
    settings = read_scales(header)
    ranked = [module for module in reading.modules if module.rank]
    scales = [module_scale(module, alphas.get(module.name), settings) for module in ranked]
    assumed = [m for m in ranked if "alpha" not in m.slots and (settings is None or settings.scale(m) is None)]
    return Summary(
        file=header.path,
        size=header.file_size,
        tensors=len(header.tensors),
        modules=len(reading.modules),
        algorithms=counts(module.kind for module in reading.modules),
        spellings=reading.spellings,
        components=counts(module.component for module in reading.modules),
        dtypes=counts(info.dtype for info in header.tensors.values()),
        rank=statistics(module.rank or 0 for module in ranked),
        scale=statistics(scale for scale in scales if math.isfinite(scale)),
        without_alpha=sum(1 for module in reading.modules if module.rank and "alpha" not in module.slots),
        assumed=len(assumed),
        odd_alphas=tuple(odd),
        incomplete=tuple(module.name for module in reading.modules if not module.is_complete),
        doubled=tuple(tensor for module in reading.modules for tensor in module.doubled),
        leftovers=reading.leftovers,
        trigger_words=trigger_words(header.metadata),
        metadata={key: shorten(header.metadata[key]) for key in METADATA_KEYS if key in header.metadata},
        scale_from=settings.where if settings and settings.adapters else "",
        warnings=settings.warnings if settings else (),
    )


def counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value comes, the most frequent first."""
    return dict(Counter(values).most_common())


def statistics(values: Iterable[float]) -> Statistics | None:
    """The spread of these values; None if there are none."""
    ordered = sorted(values)
    if not ordered:
        return None
    return Statistics(ordered[0], ordered[len(ordered) // 2], ordered[-1], counts(f"{value:.6g}" for value in ordered))
