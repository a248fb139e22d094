"""What a made file says about itself in its metadata: what was done, from which files by hash, and how exact it is."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import __version__
from ..lora.metadata import trigger_phrase
from .new_lora import Errors

METADATA_KEY = "lorchestra.made"
"""A JSON object: `by` (`merge`, `resize`, `extract`), `lorchestra` (the version), `method` and its settings, `rank`,
`energy`, `dtype`, `sources` (each with `name`, `sha256` and, in a merge, `model` and `clip`), `error` (`overall`,
`worst` and its `layer`; relative, Frobenius)."""

_KEPT = ("modelspec.architecture", "modelspec.prediction_type", "ss_base_model_version", "ss_v2")
"""About the base model; kept where all sources say the same."""
_OF_TENSORS = ("sshs_model_hash", "sshs_legacy_hash", "modelspec.hash_sha256")
"""Hashes of the tensors that were there before."""


def name_of(path: str | Path) -> str:
    """The name of a file, also one that is no Unicode."""
    return os.fsencode(Path(path).name).decode("utf-8", "replace")


def record(by: str, facts: Mapping[str, Any], sources: Sequence[Mapping[str, Any]], errors: Errors | None) -> str:
    """The metadata entry; facts that are None are left out."""
    said: dict[str, Any] = {"by": by, "lorchestra": __version__}
    said.update({key: value for key, value in facts.items() if value is not None})
    said["sources"] = list(sources)
    if errors is not None:
        said["error"] = {"overall": _short(errors.overall), "worst": _short(errors.worst), "layer": errors.layer}
    return json.dumps(said)


def _short(value: float) -> float:
    return float(f"{value:.3g}") if math.isfinite(value) else 0.0


def common_metadata(sources: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What is true of a file made from several: what all say of the base model, and all of their trigger phrases."""
    first = sources[0]
    result = {key: first[key] for key in _KEPT if key in first and all(one.get(key) == first[key] for one in sources)}
    phrases = dict.fromkeys(phrase for one in sources for phrase in trigger_phrase(one))
    if phrases:
        result["modelspec.trigger_phrase"] = ", ".join(phrases)
    return result


def resized_metadata(metadata: Mapping[str, str], ranks: Iterable[int]) -> dict[str, str]:
    """The metadata of a file at other ranks, where these were said."""
    result = {key: text for key, text in metadata.items() if key not in _OF_TENSORS}
    found = set(ranks)
    rank = str(found.pop()) if len(found) == 1 else "Dynamic"  # kohya's word for ranks that differ
    for key in ("ss_network_dim", "ss_network_alpha"):
        if key in result:
            result[key] = rank
    return result


def extracted_metadata(tuned: Mapping[str, str], base: Mapping[str, str]) -> dict[str, str]:
    """What a checkpoint says of its architecture, as Stability's ModelSpec has it for LoRAs."""
    result: dict[str, str] = {}
    architecture = tuned.get("modelspec.architecture") or base.get("modelspec.architecture")
    if architecture:
        result["modelspec.architecture"] = architecture if "/" in architecture else f"{architecture}/lora"
    if "modelspec.prediction_type" in tuned:
        result["modelspec.prediction_type"] = tuned["modelspec.prediction_type"]
    return result
