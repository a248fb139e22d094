"""What the metadata of a LoRA file claims: its base model, its trigger words, how it was trained. All of it may lie.

Every function is total, and bounded in time and memory whatever the text: values that are too long are left unread.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..architectures.claims import BASE_MODELS, LABELS, NETWORK_MODULES, Words, find_architectures, normal
from ..sentences import say

_LONGEST = 300
_LONGEST_READ = 10_000
"""Of a text of which only a line is shown."""
_TRIGGER_WORDS = 12
_MAX_TAGS = 2_000_000
"""Characters of JSON; parsed, they take up to 25 times as much memory."""
_MAX_ARGUMENTS = 100_000
_MAX_VALUE = 200
"""Of a word that is looked up in a table."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One entry that names the base model."""

    key: str
    value: str
    architectures: tuple[str, ...]
    """Ids; a claim about one of a family is a claim about the family. Empty for unknown words."""


@dataclass(frozen=True, slots=True)
class Training:
    """How the file was trained, as the trainer wrote it down; merging and resizing tools keep the old numbers."""

    rank: int | None
    alpha: float | None
    module: str | None
    """`networks.lora_flux`, `lycoris.kohya`."""
    algorithm: str | None
    """LyCORIS' word: `loha`, `lokr` …"""
    software: str | None
    """`ai-toolkit`, `OneTrainer`, `sd-scripts`."""


_CLAIMS: tuple[tuple[str, tuple[Words, ...]], ...] = (
    ("ss_base_model_version", BASE_MODELS),
    ("modelspec.architecture", BASE_MODELS),
    ("ss_network_module", NETWORK_MODULES),
)
"""Metadata key → the table of its words, the most trusted first."""


def claims(metadata: Mapping[str, str]) -> tuple[Claim, ...]:
    """The entries that name a base model, the most trusted first.

    Example: `ss_base_model_version` = `sdxl_base_v1-0` → (`sdxl`,). ai-toolkit's `sd_1.5` is its word for not knowing
    and is left out; so is a network module that is used for several models.
    """
    result: list[Claim] = []
    for key, table in _CLAIMS:
        value = metadata.get(key, "")[:_MAX_VALUE]
        if not normal(value) or normal(value) in _FALLBACKS:
            continue
        found = find_architectures(table, value)
        if found or table is BASE_MODELS:
            result.append(Claim(key, shorten(value), found))
    if not any(claim.architectures for claim in result) and metadata.get("ss_v2", "")[:10].casefold() == "true":
        result.append(Claim("ss_v2", "True", ("sd21",)))
    return tuple(result)


_FALLBACKS = frozenset({"sd15", "unknown", "none"})


_SCHEDULE = "base_schedule"
_MOST_SIGMAS = 200


def schedule(metadata: Mapping[str, str]) -> str | None:
    """What to know of a distilled LoRA that names the sigmas that it was made for, in words; None without them.

    MiniMax-H3's say `base_schedule` = `[1.0, 0.94, 0.83, 0.5, 0.0]`. Nothing applies them but the sampler's settings.
    """
    text = metadata.get(_SCHEDULE, "")
    if not normal(text[:_MAX_VALUE]):
        return None
    return say(
        "made for the sigmas {text}: set the sampler so",
        text=text if len(text) <= _MOST_SIGMAS else text[:_MOST_SIGMAS] + "…",
    )


def trained_on(metadata: Mapping[str, str]) -> str | None:
    """The kind of base model that tensors cannot tell: `Pony`, `Illustrious`, `FLUX.1 Kontext` …; None without a word.

    Example: `ss_sd_model_name` = `ponyDiffusionV6XL.safetensors` → `Pony`.
    """
    for key in ("ss_sd_model_name", "ss_base_model_version"):
        name = metadata.get(key, "")[:_LONGEST_READ]
        word = normal(name.replace("\\", "/").rsplit("/", 1)[-1])
        for part, label in LABELS:
            if part in word:
                return label
    return None


def training(metadata: Mapping[str, str]) -> Training:
    """Rank, alpha, network module and algorithm as the trainer wrote them down."""
    arguments = _json(metadata.get("ss_network_args", ""), _MAX_ARGUMENTS)
    algorithm: Any = cast("dict[str, Any]", arguments).get("algo") if isinstance(arguments, dict) else None
    rank = _number(metadata.get("ss_network_dim", ""))
    return Training(
        rank=int(rank) if rank is not None and rank > 0 and rank == int(rank) else None,
        alpha=_number(metadata.get("ss_network_alpha", "")),
        module=shorten(metadata["ss_network_module"]) or None if "ss_network_module" in metadata else None,
        algorithm=shorten(algorithm) or None if isinstance(algorithm, str) else None,
        software=_software(metadata),
    )


def _software(metadata: Mapping[str, str]) -> str | None:
    text = metadata.get("software")
    if text:
        value = _json(text, _MAX_ARGUMENTS)
        name: Any = text if value is None else None
        if isinstance(value, dict):
            name = cast("dict[str, Any]", value).get("name")
        return shorten(name) or None if isinstance(name, str) else None
    if "ot_branch" in metadata or "ot_revision" in metadata:
        return "OneTrainer"
    implementation = metadata.get("modelspec.implementation", "")[:_LONGEST_READ]
    if "sd-scripts" in implementation:
        return "sd-scripts"
    return "musubi-tuner" if "musubi-tuner" in implementation else None


def trigger_phrase(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """What the file states as its trigger: one phrase, or nothing."""
    phrase = shorten(metadata.get("modelspec.trigger_phrase", ""))
    return (phrase,) if phrase else ()


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The trigger phrase if there is one, else the most frequent training tags."""
    phrase = trigger_phrase(metadata)
    if phrase:
        return phrase
    folders = _json(metadata.get("ss_tag_frequency", ""), _MAX_TAGS)
    totals: Counter[str] = Counter()
    if isinstance(folders, dict):
        for tags in cast("dict[str, Any]", folders).values():
            if isinstance(tags, dict):
                for tag, count in cast("dict[str, Any]", tags).items():
                    totals[tag.strip()] += count if type(count) is int and abs(count) < 1e15 else 0
    return tuple(shorten(tag) for tag, _ in totals.most_common(_TRIGGER_WORDS) if tag)


def unread(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Entries that are too long to be read, for a warning."""
    limits = (("ss_tag_frequency", _MAX_TAGS), ("ss_network_args", _MAX_ARGUMENTS), ("software", _MAX_ARGUMENTS))
    return tuple(key for key, limit in limits if len(metadata.get(key, "")) > limit)


def shorten(text: str) -> str:
    """The text in one line of at most 300 characters."""
    line = " ".join(text[:_LONGEST_READ].split())
    return line if len(line) <= _LONGEST and len(text) <= _LONGEST_READ else line[: _LONGEST - 1] + "…"


def _json(text: str, limit: int) -> Any:
    """The value; None if it is too long or no JSON."""
    if not text or len(text) > limit:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _number(text: str) -> float | None:
    try:
        value = float(text) if len(text) <= 30 else None
    except ValueError:
        return None
    return value if value is not None and abs(value) <= 1e6 else None
