"""All that is known of one LoRA file, for a card that people read: from its header, its alphas and its sidecars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..architectures.ecosystems import find_ecosystem
from ..architectures.names import family_titles, title
from ..errors import AdapterError, LorchestraError, shortened
from ..files.hashes import find_hash
from ..files.header import read_header
from ..limits import Json
from ..lora.examined import Examined, examine
from ..lora.metadata import shorten, trained_on, training, trigger_phrase, trigger_words
from ..lora.numbers import Statistics, Summary, summarise
from ..lora.values import find_odd_value
from ..spelling import kinds
from ..stack.air import find_air
from .facts import UNREADABLE
from .plaintext import plain
from .sidecars import Sidecars, find_preview, find_previews, is_video, read_sidecars

_MOST_PARTIAL = 4
_MOST_WARNINGS = 12

_CLAIMS = ("ss_sd_model_name", "ss_base_model_version", "modelspec.architecture", "ss_network_module")
_NOTES = (
    ("modelspec.description", "description"),
    ("modelspec.usage_hint", "hint"),
    ("ss_training_comment", "comment"),
)
"""Metadata written for people, with what it is."""
_ABOUT = (("modelspec.author", "author"), ("modelspec.license", "license"), ("modelspec.date", "date"))


def read_details(path: str | Path) -> dict[str, Json]:
    """All about a file as JSON data, every text of it plain; total: what cannot be read is told under `problem`.

    Keys are always the same; None and empty lists stand for what is not known. Sources of words are named: `sidecar`
    or `metadata`.
    """
    beside = read_sidecars(path)
    try:
        header = read_header(path)
        examined = examine(header)
        summary = summarise(header, examined.reading)
        odd = None if examined.problem else find_odd_value(header, examined.reading.modules)
    except (LorchestraError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        return _details(path, beside, {}) | {"kind": UNREADABLE, "problem": shortened(reason, 500)}
    metadata = examined.header.metadata
    urn = _urn(beside, examined.identity.made_for if examined.kind == kinds.LORA else ())
    details = _details(path, beside, metadata) | _of_file(examined) | _numbers(summary) | {"urn": urn}
    return details | {"problem": AdapterError(path, *odd).reason} if odd else details


def _details(path: str | Path, beside: Sidecars, metadata: Mapping[str, str]) -> dict[str, Json]:
    """What is said of the file, and the rest as if its header said nothing."""
    trained = training(metadata)
    phrase = trigger_phrase(metadata)
    triggers = beside.triggers or phrase
    tags = () if phrase else trigger_words(metadata)
    claims = [{"key": "sidecar", "value": beside.base_model}] if beside.base_model else []
    claims += [{"key": key, "value": shorten(metadata[key])} for key in _CLAIMS if metadata.get(key, "").strip()]
    notes = [{"kind": "notes", "text": beside.notes}] if beside.notes else []
    notes += [{"kind": "description", "text": beside.description}] if beside.description else []
    seen = {note["text"] for note in notes}
    for key, kind in _NOTES:
        text = plain(metadata.get(key, ""))
        if text and text not in seen:
            notes.append({"kind": kind, "text": text})
    return {
        "title": beside.title or shorten(metadata.get("modelspec.title", "")) or None,
        "preview": find_preview(path) is not None,
        "previews": ["video" if is_video(file) else "image" for file in find_previews(path)],
        "kind": kinds.LORA,
        "kind_title": None,
        "problem": None,
        "architectures": [],
        "family": [],
        "partial": [],
        "evidence": [],
        "warnings": [],
        "algorithms": {},
        "spellings": {},
        "components": {},
        "dtypes": {},
        "modules": 0,
        "rank": None,
        "scale": None,
        "triggers": list(triggers),
        "trigger_source": ("sidecar" if beside.triggers else "metadata") if triggers else None,
        "tags": [tag for tag in tags if tag not in triggers],
        "negative": beside.negative,
        "weight": beside.weight,
        "weight_range": list(beside.weight_range) if beside.weight_range else None,
        "clip": beside.clip,
        "notes": notes,
        "claims": claims,
        "trained_on": trained_on(metadata),
        "software": trained.software,
        "about": {name: shorten(metadata[key]) for key, name in _ABOUT if metadata.get(key, "").strip()},
        "nsfw": beside.nsfw is True,
        "favourite": beside.favourite,
        "sha256": beside.sha256,
        "model_hash": _hash(metadata.get("sshs_model_hash", "")),
        "air": beside.air,
        "urn": _urn(beside, ()),
        "sidecars": list(beside.sources),
    }


def _of_file(examined: Examined) -> dict[str, Json]:
    identity = examined.identity
    is_lora = examined.kind == kinds.LORA
    partial = () if identity.architectures else identity.partial[:_MOST_PARTIAL]
    return {
        "kind": examined.kind,
        "kind_title": None if is_lora else kinds.title(examined.kind),
        "problem": examined.problem,
        "architectures": list(identity.made_for),
        "family": family_titles(identity.made_for, 6),
        "partial": [{"title": title(match.id), "share": match.share} for match in partial],
        "evidence": [shortened(sentence, 500) for sentence in examined.evidence],
        "warnings": [shortened(sentence, 500) for sentence in examined.warnings[:_MOST_WARNINGS]],
    }


def _numbers(summary: Summary) -> dict[str, Json]:
    return {
        "algorithms": dict(summary.algorithms),
        "spellings": dict(summary.spellings),
        "components": dict(summary.components),
        "dtypes": dict(summary.dtypes),
        "modules": summary.modules,
        "rank": _spread(summary.rank),
        "scale": _spread(summary.scale),
    }


def _urn(beside: Sidecars, architectures: Sequence[str]) -> str | None:
    """The AIR's long form: sidecars tell the short one, and what the file is made for tells Civitai's ecosystem."""
    air = find_air(beside.air) if beside.air else None
    word = find_ecosystem(architectures[0], beside.base_model) if architectures else None
    return replace(air, ecosystem=word, type="lora").urn if air and word else None


def _spread(found: Statistics | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"min": found.minimum, "median": found.median, "max": found.maximum, "kinds": len(found.counts)}


def _hash(text: str) -> str | None:
    found = find_hash(text)
    return found if found and len(found) == 64 else None
