"""How services that cannot see this machine's files are told which LoRA is meant: by its address in the web.

Civitai answers `https://civitai.com/api/download/models/{version}` with the file of a version
(https://developer.civitai.com/docs/api/public-rest); a repository of Hugging Face is named `owner/name`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import Entry
from ..stack.air import Air, find_air
from .dialect import Loss, no_place
from .fields import VERSION_ID
from .names import suffix

DOWNLOAD = "https://civitai.com/api/download/models/"
_WEB = re.compile(r"https?://[^\s/]+/\S+", re.IGNORECASE)  # https://example.com/pixel.safetensors
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*\w", re.ASCII)  # owner/name
_DOWNLOAD = re.compile(r"https?://(?:www\.)?civitai\.(?:com|red|green)/api/download/models/(\d{1,15})(?:[?#]\S*)?")
_PAGE = re.compile(r"(?:https?://)?(?:www\.)?civitai\.(?:com|red|green)/models/(\d{1,15})(?:[/?#]\S*)?")
_VERSION = re.compile(r"[?&]modelVersionId=(\d{1,15})(?:[&#]|$)")


def find_air_of(entry: Entry, row: int) -> Air | None:
    """The AIR of a row, which may stand for its file; None without one. Raises `DialectError` for one that is none."""
    text = entry.air if entry.air is not None else entry.lora
    air = find_air(text.strip())
    if air is None and entry.air is not None:
        raise DialectError(
            f'"air" of {quoted(entry.lora)} is {quoted(entry.air)}, which is not an AIR; '
            'expected one such as "civitai:120096@135931"',
            row,
        )
    return air


def version_id(air: Air | None) -> int | None:
    """Civitai's number of the version that an AIR names; None for another source's, and without a version."""
    version = air.version if air is not None and air.source.lower() == "civitai" else None
    return (
        int(version) if version is not None and version.isascii() and version.isdigit() and len(version) < 16 else None
    )


def is_address(text: str) -> bool:
    """True for the address of a file in the web."""
    return _WEB.fullmatch(text) is not None


def is_repository(text: str) -> bool:
    """True for `owner/name`, which names a repository and no file."""
    return _REPOSITORY.fullmatch(text) is not None and not suffix(text)


def address(entry: Entry, row: int, path: str, title: str, allow_names: bool, losses: list[Loss]) -> str:
    """Where a service finds the file of a row: an address or a repository, from the row's name or its AIR.

    A row that has neither is a `DialectError` for the field `path`, unless `allow_names`: then its name is written.
    """
    losses += no_place(entry, row, title, ("sha256",))
    if is_address(entry.lora):
        losses += no_place(entry, row, title, ("air",))
        return entry.lora
    air = find_air_of(entry, row)
    source = air.source.lower() if air else ""
    if air and source == "huggingface" and is_repository(air.id):
        if air.version or air.file:
            losses.append(Loss(row, "air", f"{title} is told the repository {air.id}; its version is lost"))
        return air.id
    version = version_id(air)
    if air and version is not None:
        reason = f"{title} is told the address, which has the version {version}; the model's number {air.id} is lost"
        losses.append(Loss(row, "air", reason))
        return f"{DOWNLOAD}{version}"
    if allow_names:
        losses += no_place(entry, row, title, ("air",))
        if is_repository(entry.lora) and entry.air is None:
            losses.append(Loss(row, "air", f"{title} may take {quoted(entry.lora)} for a repository of Hugging Face"))
        return entry.lora
    raise DialectError(
        f"{quoted(entry.lora)} is a file on this machine, which {title} cannot see; give the row a web address, the "
        "AIR of a version of Civitai's, or a repository of Hugging Face (owner/name), switch it off, or allow names",
        row,
        path,
    )


def known_by(text: str) -> tuple[str | None, Mapping[str, Json]]:
    """(AIR, what else goes into `Entry.extra`) of an address or a repository."""
    if is_repository(text):
        return f"huggingface:{text}", {}
    download = _DOWNLOAD.fullmatch(text)
    if download:
        return None, {VERSION_ID: int(download[1])}
    page = _PAGE.fullmatch(text)
    if page:
        version = _VERSION.search(text)
        return f"civitai:{page[1]}" + (f"@{version[1]}" if version else ""), {}
    return (text if find_air(text) else None), {}
