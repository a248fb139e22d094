"""The scale of modules whose alpha is not a tensor but a setting: in the metadata, in PEFT's `adapter_config.json`.

Sources: `LoraBaseMixin._save_lora_weights` in diffusers (`lora_adapter_metadata`); `MiniMaxH3LoraLoaderMixin` in
diffusers (a plain `alpha`, for files without alphas as tensors); `LoraConfig`, `get_pattern_key` and
`LoraLayer.update_layer` in PEFT. alpha/r, or alpha/√r with rank-stabilised LoRA (https://arxiv.org/abs/2312.03732).
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard, cast

from ..errors import HeaderError, quoted
from ..files.header import Header
from ..files.opening import is_file, read_small
from ..sentences import say
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

    rank: float | None
    """PEFT's `r`; used for modules whose tensors have no rank of their own. None if it is not said."""
    alpha: float
    stabilised: bool
    """Divide by the root of the rank instead of the rank."""
    alphas: Mapping[str, tuple[int, float]]
    """Layer name, or the end of one → (place in the file, alpha); the first place wins."""
    patterns: tuple[tuple[int, re.Pattern[str], bool, float], ...]
    """(place, pattern, whether it begins anywhere, alpha) of those names that have wildcards."""
    is_one: bool = False
    """True if alpha is the rank and no layer is said to have another rank: the scale is 1 then. Converters that join q,
    k and v write the rank of these as everybody's."""

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
    """What could not be read, or is not applied, in words."""
    where: str = ""
    """Where they are said, in words: `the metadata entry alpha`."""

    def scale(self, module: Module) -> float | None:
        """The factor before up @ down; None if the file's own alpha counts or the settings say nothing."""
        adapter = self.adapters.get(module.component)
        if adapter is None or module.algorithm not in _SCALED or "alpha" in module.slots:
            return None
        rank = module.rank or _rank_of_bias(module) or adapter.rank
        if rank is None:
            return None
        alpha = adapter.alpha_of(module.path)
        if adapter.is_one and alpha == adapter.alpha:
            return 1.0
        return alpha / (math.sqrt(rank) if adapter.stabilised else rank)


def _rank_of_bias(module: Module) -> int | None:
    """The rank of the halves that the bias of a LoRA stands beside."""
    down = module.shapes.get("down") if module.algorithm == slots.LORA_BIAS else None
    return down[0] if down else None


def read_scales(header: Header) -> Scales | None:
    """The scales that settings give to a file's modules: from its metadata, else from beside it; never raises."""
    said = metadata_scales(header)
    if said and said.adapters:
        return said
    beside = read_adapter_config(header.path)
    if said and beside:
        return Scales(beside.adapters, (*said.warnings, *beside.warnings), beside.where)
    return said or beside


def scales_in_words(scales: Iterable[float]) -> str:
    """`scale 0.125`, or of several the smallest and the largest: `scales 0.0625 to 0.5`."""
    ordered = sorted(scales)
    if ordered[0] == ordered[-1]:
        return say("scale {scale}", scale=f"{ordered[0]:.6g}")
    return say("scales {least} to {most}", least=f"{ordered[0]:.6g}", most=f"{ordered[-1]:.6g}")


def module_scale(module: Module, alpha: float | None, scales: Scales | None) -> float:
    """What is multiplied with up @ down of a module that has a rank: the one answer for applying and for showing it.

    `alpha` is the value of its alpha tensor, None without one; `scales` are the file's, as `read_scales` gives them.
    """
    if alpha is not None:
        return alpha / (module.rank or 1)
    said = scales.scale(module) if scales else None
    return 1.0 if said is None else said


def metadata_scales(header: Header) -> Scales | None:
    """The scales in the metadata; None where they say nothing. Pure and total: nonsense is a warning.

    Examples: `lora_adapter_metadata` = `{"transformer.r": 16, "transformer.lora_alpha": 8}` → 0.5 for a module of rank
    16; without alphas as tensors also `alpha` = `8`.
    """
    metadata = header.metadata
    if not metadata:
        return None
    found: list[Scales] = []
    for key in JSON_KEYS:
        if key in metadata:
            found.append(_json_scales(metadata[key], f"the metadata entry {key}"))
    warnings = [warning for scales in found for warning in scales.warnings]
    said = next((scales for scales in found if scales.adapters), None)
    plain = _plain_scales(header) if said is None else None
    if plain:
        found.append(plain)
        warnings += plain.warnings
        said = plain if plain.adapters else None
    if not found:
        return None
    return Scales(said.adapters if said else {}, tuple(dict.fromkeys(warnings)), said.where if said else "")


def _json_scales(text: str, where: str) -> Scales:
    """From PEFT's settings as JSON, also with a component before each: `transformer.lora_alpha`."""
    value, reason = _json_object(text)
    if value is None:
        return Scales({}, (f"{where} {reason}; {_AS_RANK}",))
    parts: dict[str, dict[str, Any]] = {}
    for key, item in value.items():
        start, _, name = key.rpartition(".")
        if name in _SETTINGS:
            component = prefixes.split(f"{start}.")[0] if start else prefixes.MODEL
            parts.setdefault(component, {})[name] = item
    return _scales(parts, where)


def _plain_scales(header: Header) -> Scales | None:
    """From entries that are numbers as text: `alpha`, `lora_alpha`, `network_alpha`, `transformer.lora_alpha`.

    They count where the file has no alphas as tensors, as in diffusers. A number without a component is for all.
    """
    entries: dict[str, dict[str, str]] = {}
    for key, text in header.metadata.items():
        start, _, name = key.rpartition(".")
        if name in _PLAIN_ALPHAS or name in _PLAIN_SETTINGS:
            if start and not _COMPONENT.fullmatch(start):
                continue
            component = prefixes.split(f"{start}.")[0] if start else ""
            entries.setdefault(component, {})[name] = text
    alphas = [name for settings in entries.values() for name in settings if name in _PLAIN_ALPHAS]
    spent = _trainer_warning(header) if not alphas else None
    if spent:
        return Scales({}, (spent,))
    if not alphas:
        return None
    with_alpha = sum(1 for tensor in header.shapes if tensor.endswith(".alpha"))
    if with_alpha:  # which count more, and converters leave the metadata as they are
        downs = sum(1 for tensor in header.shapes if _DOWN.search(tensor))
        if downs <= with_alpha:
            return None
        without = f"{downs - with_alpha} of its layers have no alpha, the others have one as a tensor"
        return Scales({}, (f"the metadata entry {alphas[0]} is not applied: {without}; {_AS_RANK}",))
    adapters: dict[str, Adapter] = {}
    warnings: list[str] = []
    for component, settings in entries.items():
        adapter, found = _plain_adapter({**entries.get("", {}), **settings}, component)
        warnings += found
        for name in [component] if component else _COMPONENTS:
            if adapter and (component or name not in entries):
                adapters[name] = adapter
    return Scales(adapters, tuple(dict.fromkeys(warnings)), f"the metadata entry {alphas[0]}")


def _plain_adapter(settings: Mapping[str, str], component: str) -> tuple[Adapter | None, list[str]]:
    """The settings of one component from numbers as text, and what is not read of them."""
    said: dict[float, str] = {}
    warnings: list[str] = []
    for name in _PLAIN_ALPHAS:
        text = settings.get(name, "").strip()
        if text.casefold() in _NOTHING:
            continue
        value = _plain_number(text)
        shown = f"{component}.{name}" if component and component != prefixes.MODEL else name
        if value is None:
            warnings.append(
                f"the metadata entry {shown} is {quoted(text)}, which is not an alpha that can be used; {_AS_RANK}"
            )
        else:
            said.setdefault(value, shown)
    if len(said) > 1:
        both = " and ".join(f"{name} {value:g}" for value, name in said.items())
        return None, [*warnings, f"the metadata entries {both} contradict each other; {_AS_RANK}"]
    if not said:
        return None, warnings
    ranks = [value for name in _PLAIN_RANKS if (value := _plain_number(settings.get(name, ""))) is not None]
    more: dict[str, Any] = {}
    for name in ("alpha_pattern", "rank_pattern"):
        if settings.get(name, "").strip().casefold() not in _NOTHING:
            value, reason = _json_object(settings[name])
            if value is None:
                warnings.append(f"the metadata entry {name} {reason}")
            more[name] = value
    stabilised = settings.get("use_rslora", "").strip().casefold() == "true"
    adapter, found = _adapter(
        {"lora_alpha": next(iter(said)), "r": ranks[0] if ranks else None, "use_rslora": stabilised, **more},
        "the metadata",
        needs_rank=False,
    )
    return adapter, [*warnings, *found]


def _plain_number(text: str) -> float | None:
    """A number above zero as text; None for all else. kohya's programs take 0 for the rank, others for nothing."""
    if not _NUMBER.fullmatch(text.strip()[:_LONGEST_NUMBER]) or len(text.strip()) > _LONGEST_NUMBER:
        return None
    value = float(text)
    return value if _is_positive(value) else None


def _trainer_warning(header: Header) -> str | None:
    """What to know of a file whose alphas were tensors when kohya or OneTrainer wrote it: its metadata do not count."""
    if any(tensor.endswith(".alpha") for tensor in header.shapes):
        return None
    entry = KOHYA_ALPHA
    alpha = _plain_number(header.metadata.get(KOHYA_ALPHA, ""))
    rank = _plain_number(header.metadata.get("ss_network_dim", ""))
    if alpha is None and ONETRAINER_CONFIG in header.metadata:
        entry = ONETRAINER_CONFIG
        settings, _ = _json_object(header.metadata[ONETRAINER_CONFIG])
        said = [(settings or {}).get(name) for name in ("lora_alpha", "lora_rank")]
        alpha, rank = (float(value) if _is_positive(value) else None for value in said)
    if alpha is None or alpha == rank:
        return None
    of = f" for rank {rank:g}" if rank else ""
    return (
        f"its metadata entry {entry} says alpha {alpha:g}{of}, but the file has no alphas: that is not applied, "
        f"because converters multiply it in and leave the entry; {_AS_RANK}. If it is too strong, give it less weight"
    )


_AS_RANK = "every alpha counts as equal to its rank"

JSON_KEYS = (METADATA_KEY, "adapter_config", "adapter_config.json", "peft_config", "lora_config")
"""Metadata entries with PEFT's settings as JSON, the most trusted first."""

KOHYA_ALPHA = "ss_network_alpha"
ONETRAINER_CONFIG = "ot_config"
"""OneTrainer's settings as JSON, with `lora_alpha` and `lora_rank`; its files carry alphas as tensors in every format.

Source: `LoRAModule` and `LoRASaverMixin` in OneTrainer.
"""

_PLAIN_ALPHAS = ("lora_alpha", "alpha", "network_alpha")
_PLAIN_RANKS = ("r", "rank", "lora_rank", "network_dim")
_PLAIN_SETTINGS = frozenset({*_PLAIN_RANKS, "use_rslora", "alpha_pattern", "rank_pattern"})
_COMPONENT = re.compile(r"(unet|transformer|prior|diffusion_model|model|text_encoder(_[234])?)")
_DOWN = re.compile(r"[._]lora([._]down|_A)(\.\w+)?(\.weight)?$")
_NOTHING = ("", "none", "null")
_NUMBER = re.compile(r"[+]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LONGEST_NUMBER = 40

_SPENT = frozenset({*JSON_KEYS, *_PLAIN_ALPHAS, "use_rslora", "alpha_pattern"})
"""Entries that are not true any more once the scale is in the tensors."""


def without_scales(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata without the entries from which `metadata_scales` takes an alpha."""
    return {key: text for key, text in metadata.items() if key not in _SPENT and key.rpartition(".")[2] not in _SPENT}


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
        return Scales({}, (f"{where} {reason}; {_AS_RANK}",))
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
    return Scales(adapters, tuple(warnings), where)


def _adapter(settings: Mapping[str, Any], where: str, *, needs_rank: bool = True) -> tuple[Adapter | None, list[str]]:
    alpha = settings.get("lora_alpha", settings.get("alpha"))
    rank = settings.get("r")
    if alpha is None:
        return None, []
    if not _is_positive(rank) and (needs_rank or rank is not None):
        return None, [f"{where} has the impossible rank {quoted(rank)}; {_AS_RANK}"]
    if not _is_number(alpha):
        return None, [f"{where} has the impossible alpha {quoted(alpha)}; {_AS_RANK}"]
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
    is_one = rank == alpha and not stabilised and not settings.get("rank_pattern")
    adapter = Adapter(None if rank is None else float(rank), float(alpha), stabilised, exact, tuple(patterns), is_one)
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
