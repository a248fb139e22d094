"""What the owner of a service decides, in one file; a file that cannot be read refuses all calls, and says why."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import cast

from ..errors import LorchestraError, quoted
from ..files.json_text import read_json
from ..files.opening import exists, read_small
from ..limits import Json
from .addresses import Address, AddressError, read_address
from .callers import Caller, CallerError, read_callers

_MOST_BYTES = 100_000
_TOKEN = "LORCHESTRA_TOKEN"
_SHORTEST_TOKEN = 16
_SECRET_START = "whsec_"
_MAKE_SECRET = (
    'Make one with: python -c "import base64, secrets; '
    "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)


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
    webhooks: tuple[Address, ...] = ()
    """Where jobs may be told to: these addresses and what lies below them."""
    webhook_secret: bytes = field(default=b"", repr=False)
    """With which what is told is signed; in the file as Standard Webhooks has it, `whsec_` and base64."""
    retention_hours: float = 24.0
    """How long a job that ended is kept."""
    most_queued: int = 5000
    """Jobs that may wait; more are refused with `queue_full`."""
    most_in_batch: int = 500
    """Jobs of one batch."""
    callers: tuple[Caller, ...] = ()
    """Others who may call, each with a token and limits of its own; `token` is the owner's then."""


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
    if "callers" in values:
        try:
            values["callers"] = read_callers(values["callers"], values.get("token"), _SHORTEST_TOKEN)
        except CallerError as error:
            raise SettingsError(f"the settings {path.name}: {error}") from error
    if "origins" in values:
        values["origins"] = tuple(values["origins"])
    if "webhook_secret" in values:
        values["webhook_secret"] = _read_secret(values["webhook_secret"])
    if "webhooks" in values:
        if values["webhooks"] and not values.get("webhook_secret"):
            raise SettingsError(f'the settings {path.name} have "webhooks" and no "webhook_secret". {_MAKE_SECRET}')
        try:
            values["webhooks"] = tuple(read_address(one) for one in values["webhooks"])
        except AddressError as error:
            raise SettingsError(f'"webhooks" in the settings {path.name}: {error}') from error
        if any(one.query for one in values["webhooks"]):
            raise SettingsError(f'"webhooks" in the settings {path.name} has an address with a ?; leave it out')
    return Settings(**values)


def _read_secret(text: str) -> bytes:
    """The key in `whsec_` and base64; raises `SettingsError`, which does not show it."""
    try:
        key = base64.b64decode(text.removeprefix(_SECRET_START), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_SECRET_START) or not 24 <= len(key) <= 64:
        raise SettingsError(f'"webhook_secret" is not {_SECRET_START} and 24 to 64 bytes in base64. {_MAKE_SECRET}')
    return key


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
        "webhooks": isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value)),
        "webhook_secret": isinstance(value, str),
        "callers": isinstance(value, dict),
        "retention_hours": is_number and 0 < cast("float", value) <= 24 * 366,
        "most_queued": isinstance(value, int) and is_number and 0 < value <= 1_000_000,
        "most_in_batch": isinstance(value, int) and is_number and 0 < value <= 10_000,
    }
    if not fits[name]:
        shown = "of another type" if name.endswith(("token", "secret", "callers")) else quoted(cast("object", value))
        raise SettingsError(f'"{name}" in the settings {file} is {shown}, which it cannot be')
