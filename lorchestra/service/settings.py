"""What the owner of a service decides, in one file; a file that cannot be read refuses all calls, and says why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

from ..errors import LorchestraError, quoted
from ..files.json_text import read_json
from ..files.opening import exists, read_small
from ..limits import Json

_MOST_BYTES = 100_000
_TOKEN = "LORCHESTRA_TOKEN"
_SHORTEST_TOKEN = 16


class SettingsError(LorchestraError):
    """Settings that cannot be read."""


@dataclass(frozen=True)
class Settings:
    """How a service behaves; each field may stand in the file under its name."""

    token: str | None = None
    """Who says it as `Authorization: Bearer …` may call; without one, only this machine may."""
    graphs: bool = True
    """Whether `POST /api/v2/jobs` takes any graph; else published workflows only."""
    public_url: str | None = None
    """Where clients reach the server, such as `https://pictures.example`; by default what they say in `Host`."""
    origins: tuple[str, ...] = ()
    """Sites whose pages may call, such as `https://app.example`; others' pages never may."""
    defaults: Mapping[str, str] = field(default_factory=dict[str, str])
    """Architecture → the publication that makes its pictures, for requests that name a model and no workflow."""
    retention_hours: float = 24.0
    """How long a job that ended is kept."""
    most_queued: int = 5000
    """Jobs that may wait; more are refused with `queue_full`."""


def read_settings(path: Path, environ: Mapping[str, str] | None = None) -> Settings:
    """The settings in a file, all by default if there is none; `LORCHESTRA_TOKEN` counts more than the file's token.

    Raises `SettingsError`: a service whose token cannot be read must not be open.
    """
    env = os.environ if environ is None else environ
    values: dict[str, Json] = {}
    if exists(path):
        data = read_json(read_small(path, _MOST_BYTES), f"the settings {path.name}")
        if not isinstance(data, dict):
            raise SettingsError(f"the settings {path.name} are {quoted(data)}; expected a JSON object")
        values = cast("dict[str, Json]", data)
    known = {item.name for item in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise SettingsError(f"the settings {path.name} have {quoted(unknown[0])}; expected {', '.join(sorted(known))}")
    for name, value in values.items():
        _require(path.name, name, value)
    if env.get(_TOKEN):
        values["token"] = env[_TOKEN]
    if values.get("token") is not None and len(values["token"]) < _SHORTEST_TOKEN:
        raise SettingsError(f"the token has {len(values['token'])} characters; choose one of {_SHORTEST_TOKEN} or more")
    if "origins" in values:
        values["origins"] = tuple(values["origins"])
    return Settings(**values)


def _require(file: str, name: str, value: Json) -> None:
    """Raises `SettingsError` for a value of another type."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fits: dict[str, bool] = {
        "token": value is None or isinstance(value, str),
        "graphs": isinstance(value, bool),
        "public_url": value is None or (isinstance(value, str) and value.startswith(("http://", "https://"))),
        "origins": isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value)),
        "defaults": isinstance(value, dict)
        and all(isinstance(item, str) for item in cast("dict[str, object]", value).values()),
        "retention_hours": is_number and 0 < cast("float", value) <= 24 * 366,
        "most_queued": isinstance(value, int) and is_number and 0 < value <= 1_000_000,
    }
    if not fits[name]:
        shown = quoted(cast("object", value))
        raise SettingsError(f'"{name}" in the settings {file} is {shown}, which it cannot be')
