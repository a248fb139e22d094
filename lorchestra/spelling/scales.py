"""The scale of modules whose alpha is not a tensor but a setting: diffusers' metadata, PEFT's `adapter_config.json`.

Sources: `LoraBaseMixin._save_lora_weights` in diffusers (`lora_adapter_metadata`); `LoraConfig`, `get_pattern_key` and
`LoraLayer.update_layer` in PEFT. alpha/r, or alpha/√r with rank-stabilised LoRA (https://arxiv.org/abs/2312.03732).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

from ..errors import HeaderError, quoted
from ..files.header import Header
from ..files.opening import is_file, read_small
from . import prefixes, slots
from .modules import Module

METADATA_KEY = "lora_adapter_metadata"
CONFIG_NAME = "adapter_config.json"
WEIGHTS_NAME = "adapter_model.safetensors"
"""What PEFT calls the file that a `CONFIG_NAME` beside it is about."""

_MAX_BYTES = 1_000_000
"""A real one has 1 to 200 kB. What a text of this length can make of itself stays below 30 MB."""

_MAX_PATTERNS = 16
_MAX_NAME = 256
_MAX_DOTS = 32
"""Bounds of the work that patterns with wildcards can cost."""

_SCALED = frozenset({slots.LORA, slots.LORA_BIAS, slots.LOHA, slots.LOKR})


@dataclass(frozen=True, slots=True)
class Adapter:
    """The settings of one adapter, as PEFT has them."""

    rank: float
    """PEFT's `r`; used for modules whose tensors have no rank of their own."""
    alpha: float
    stabilised: bool
    """Divide by the root of the rank instead of the rank."""
    alphas: Mapping[str, tuple[int, float]]
    """Layer name, or the end of one → (place in the file, alpha); the first place wins."""
    patterns: tuple[tuple[int, re.Pattern[str], bool, float], ...]
    """(place, pattern, whether it begins anywhere, alpha) of those names that have wildcards."""

    def alpha_of(self, path: str) -> float:
        """The alpha of a layer: PEFT's rule is a match at the end of the name, from a dot on."""
        if not self.alphas and not self.patterns:
            return self.alpha
        if len(path) > _MAX_NAME or path.count(".") > _MAX_DOTS:
            return self.alpha
        starts = [0, *(match.end() for match in _DOT.finditer(path))]
        names = [f"^{path}", *(path[start:] for start in starts)]
        best = min((self.alphas[name] for name in names if name in self.alphas), default=None)
        for place, pattern, anywhere, alpha in self.patterns:
            if best is not None and best[0] < place:
                break
            if pattern.search(path) if anywhere else any(pattern.match(path, start) for start in starts):
                best = (place, alpha)
                break
        return best[1] if best else self.alpha


_DOT = re.compile(r"\.")


@dataclass(frozen=True, slots=True)
class Scales:
    """The scales that a file's settings give to its modules."""

    adapters: Mapping[str, Adapter]
    """Component (`model`, `te` …) → its settings."""
    warnings: tuple[str, ...] = ()
    """What could not be read, in words."""

    def scale(self, module: Module) -> float | None:
        """The factor before up @ down; None if the file's own alpha counts or the settings say nothing."""
        adapter = self.adapters.get(module.component)
        if adapter is None or module.algorithm not in _SCALED or "alpha" in module.slots:
            return None
        rank = module.rank or adapter.rank
        return adapter.alpha_of(module.path) / (math.sqrt(rank) if adapter.stabilised else rank)


def read_scales(header: Header) -> Scales | None:
    """The scales that settings give to a file's modules: from its metadata, else from beside it; never raises."""
    return metadata_scales(header) or read_adapter_config(header.path)


def module_scale(module: Module, alpha: float | None, scales: Scales | None) -> float:
    """What is multiplied with up @ down of a module that has a rank: the one answer for applying and for showing it.

    `alpha` is the value of its alpha tensor, None without one; `scales` are the file's, as `read_scales` gives them.
    """
    if alpha is not None:
        return alpha / (module.rank or 1)
    said = scales.scale(module) if scales else None
    return 1.0 if said is None else said


def metadata_scales(header: Header) -> Scales | None:
    """The scales in diffusers' metadata; None for files without it. Pure and total: nonsense is a warning.

    Example: `{"transformer.r": 16, "transformer.lora_alpha": 8}` → 0.5 for a module of rank 16.
    """
    text = header.metadata.get(METADATA_KEY)
    if text is None:
        return None
    where = f"the metadata entry {METADATA_KEY}"
    value, reason = _json_object(text)
    if value is None:
        return Scales({}, (f"{where} {reason}; every alpha counts as equal to its rank",))
    parts: dict[str, dict[str, Any]] = {}
    for key, item in value.items():
        start, _, name = key.rpartition(".")
        if name in _SETTINGS:
            component = prefixes.split(f"{start}.")[0] if start else prefixes.MODEL
            parts.setdefault(component, {})[name] = item
    return _scales(parts, where)


def read_adapter_config(path: str | Path) -> Scales | None:
    """The scales in the `adapter_config.json` beside a LoRA file, if it surely belongs to that file; never raises.

    It belongs to PEFT's `adapter_model.safetensors`, and to the only safetensors file of a folder.
    """
    file = Path(path)
    config = file.parent / CONFIG_NAME
    where = f"{CONFIG_NAME} beside {file.name}"
    if not is_file(config):
        return None
    try:
        if not (file.name == WEIGHTS_NAME or _is_alone(file)):
            return None
        data = read_small(config, _MAX_BYTES)
    except OSError as error:
        return Scales({}, (f"{where} cannot be read ({error.strerror or error})",))
    except HeaderError as error:
        return Scales({}, (f"{where} cannot be read ({error.reason})",))
    value, reason = _json_object(data.decode("utf-8", "replace"))
    if value is None:
        return Scales({}, (f"{where} {reason}; every alpha counts as equal to its rank",))
    settings = {key: item for key, item in value.items() if key in _SETTINGS}
    return _scales(dict.fromkeys(_COMPONENTS, settings), where) if settings else None


_SETTINGS = frozenset({"r", "lora_alpha", "alpha", "rank_pattern", "alpha_pattern", "use_rslora"})
_COMPONENTS = (prefixes.MODEL, "te", "te1", "te2", "te3", "te4")
"""A config beside the file is about all of it."""


def _is_alone(file: Path) -> bool:
    with os.scandir(file.parent) as entries:
        return all(entry.name == file.name for entry in entries if entry.name.lower().endswith(".safetensors"))


def _json_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """The object and nothing, or None and what is wrong."""
    if len(text) > _MAX_BYTES:
        return None, f"is longer than {_MAX_BYTES:,} bytes"
    try:
        value: Any = json.loads(text)
    except RecursionError:
        return None, "is nested too deeply"
    except ValueError as error:
        return None, f"is not JSON ({error})"
    if not isinstance(value, dict):
        return None, "is not a JSON object"
    return cast("dict[str, Any]", value), ""


def _scales(parts: Mapping[str, Mapping[str, Any]], where: str) -> Scales:
    adapters: dict[str, Adapter] = {}
    warnings: dict[str, None] = {}
    for component, settings in parts.items():
        adapter, found = _adapter(settings, where)
        warnings |= dict.fromkeys(found)
        if adapter:
            adapters[component] = adapter
    return Scales(adapters, tuple(warnings))


def _adapter(settings: Mapping[str, Any], where: str) -> tuple[Adapter | None, list[str]]:
    alpha = settings.get("lora_alpha", settings.get("alpha"))
    rank = settings.get("r")
    if alpha is None:
        return None, []
    if not _is_positive(rank):
        return None, [f"{where} has the impossible rank {quoted(rank)}; every alpha counts as equal to its rank"]
    if not _is_number(alpha):
        return None, [f"{where} has the impossible alpha {quoted(alpha)}; every alpha counts as equal to its rank"]
    exact: dict[str, tuple[int, float]] = {}
    patterns: list[tuple[int, re.Pattern[str], bool, float]] = []
    unread: list[str] = []
    stated: Any = settings.get("alpha_pattern") or {}
    if not isinstance(stated, dict):
        stated = {}
        unread.append("alpha_pattern")
    for place, (key, value) in enumerate(cast("dict[str, Any]", stated).items()):
        if not _is_number(value):
            unread.append(key)
        elif _PLAIN.fullmatch(key):
            exact.setdefault(key.replace("\\.", ".").removesuffix("$"), (place, float(value)))
        elif (compiled := _compile(key)) and len(patterns) < _MAX_PATTERNS:
            patterns.append((place, *compiled, float(value)))
        else:
            unread.append(key)
    stabilised = settings.get("use_rslora") is True
    adapter = Adapter(float(rank), float(alpha), stabilised, exact, tuple(patterns))
    if not unread:
        return adapter, []
    shown = ", ".join(quoted(key) for key in unread[:3]) + (" …" if len(unread) > 3 else "")
    return adapter, [f"{where} gives alphas that cannot be read: {shown}; the common alpha is taken for their layers"]


def _is_number(value: Any) -> TypeGuard[float]:
    # The comparison leaves out NaN, infinity and whole numbers of a thousand digits.
    return type(value) in (int, float) and abs(value) <= 1e9


def _is_positive(value: Any) -> TypeGuard[float]:
    return _is_number(value) and value > 0


_PLAIN = re.compile(r"\^?(?:[\w-]|\\?\.(?![*+?]))*\$?")
"""A name that is only itself: `mid_block.attentions.0.to_q`, with or without backslashes before the dots."""

_WILD = re.compile(
    r"(?P<anywhere>\.\*)?(?P<start>\^)?(?P<rest>(?:[\w-]|\\?\.(?![*+?])|(?:\\d|\[0-9\])\+(?!\d|\\d|\[))*)\$?"
)
"""Numbers may be anything, and so may the start; what else a regular expression can say could take for ever."""


def _compile(key: str) -> tuple[re.Pattern[str], bool] | None:
    """The pattern and whether it may begin in the middle of a word: `blocks.\\d+.attn`, `.*to_q`."""
    match = _WILD.fullmatch(key) if len(key) <= _MAX_NAME else None
    if match is None or (match["anywhere"] and match["start"]):
        return None
    rest = re.sub(r"(?<!\\)\.", r"\\.", match["rest"])
    return re.compile(("^" if match["start"] else "") + rest + "$"), match["anywhere"] is not None
