"""Published workflows as files: `portrait.json` is the newest version, `portrait@2.json` an older one."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import FileProblem, LorchestraError, WorkflowError, quoted
from ..files.json_text import read_json
from ..files.key import FileKey, find_key
from ..files.new_file import new_file
from ..files.opening import is_file, read_small
from ..limits import Json
from ..workflow.documents import schema_of
from ..workflow.publication import Publication
from .http import Refusal, not_found, unusable

_MOST_BYTES = 32_000_000
_MOST_VALUES = 500_000
MOST = 1000
"""Publications, all versions counted."""
_NAME = re.compile(r"([a-z0-9][a-z0-9_-]{0,63})(?:@([1-9][0-9]{0,6}))?", re.ASCII)
"""Example: `portrait@3`. Small letters: some disks take `A` and `a` for one."""
_DEVICES = re.compile(r"con|prn|aux|nul|com[0-9]|lpt[0-9]")
"""What Windows takes for a device, whatever comes after it."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a caller calls a publication."""

    name: str
    version: int | None
    """None for the newest."""


def read_name(text: str) -> Name:
    """`portrait` or `portrait@3`; raises `Refusal` (400) for what can be no name of one."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise Refusal(
            400,
            "invalid_request",
            f"{quoted(text)} cannot be the name of a workflow. Use 1 to 64 small letters, digits, - and _, and @3 for "
            "its third version.",
            "name",
        )
    return Name(match[1], int(match[2]) if match[2] else None)


@dataclass(frozen=True, slots=True)
class Published:
    """A publication, and what is made of it once."""

    publication: Publication
    key: FileKey | None
    """Of its file when it was read."""

    @property
    def reference(self) -> str:
        """`portrait@3`."""
        return f"{self.publication.name}@{self.publication.version}"


@dataclass(slots=True)
class Publications:
    """A folder of publications; safe for threads. Not for the event loop: it reads files."""

    folder: Path
    _read: dict[Path, Published] = field(default_factory=dict[Path, Published])
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def versions(self) -> Mapping[str, Mapping[int | None, Path]]:
        """Name → version → file, by name; None stands for the newest."""
        found: dict[str, dict[int | None, Path]] = {}
        with contextlib.suppress(OSError):
            for path in self.folder.iterdir():
                match = _NAME.fullmatch(path.stem) if path.suffix == ".json" else None
                if match:
                    version = int(match[2]) if match[2] else None
                    found.setdefault(match[1], {})[version] = path
        return {name: found[name] for name in sorted(found)}

    def newest(self) -> list[Published]:
        """The newest version of each; those that cannot be read are left out, and are told where they are asked for."""
        found: list[Published] = []
        for name in self.versions():
            with contextlib.suppress(LorchestraError):
                found.append(self.find_or_raise(name))
        return found

    def find_or_raise(self, text: str) -> Published:
        """A publication by `name` or `name@3`; raises `Refusal`: 404 if there is none, 500 if its file is broken."""
        name = read_name(text)
        newest = self._path(name.name)
        if _DEVICES.fullmatch(name.name):
            raise not_found(f"there is no published workflow {quoted(text)}.")
        if name.version is None:
            path = newest if is_file(newest) else self._newest_kept(name.name)
        else:
            path = self.folder / f"{text}.json"
            if not is_file(path):
                is_newest = is_file(newest) and self._open(newest).publication.version == name.version
                path = newest if is_newest else None
        if path is None:
            raise not_found(f"there is no published workflow {quoted(text)}.")
        return self._open(path)

    def _newest_kept(self, name: str) -> Path | None:
        """The newest of the older versions, where the newest of all was removed."""
        older = {version: path for version, path in self.versions().get(name, {}).items() if version is not None}
        return older[max(older)] if older else None

    def find_versions(self, text: str) -> list[int]:
        """The versions that can be called, the oldest first."""
        found = self.versions().get(text, {})
        numbers = {version for version in found if version is not None}
        if None in found:
            numbers.add(self._open(found[None]).publication.version)
        return sorted(numbers)

    def add(self, publication: Publication) -> Published:
        """Publishes; the version is the one after the newest. Raises `Refusal` (409) for too many."""
        name = read_name(publication.name)
        if _DEVICES.fullmatch(name.name):
            raise unusable(f"Windows takes {quoted(name.name)} for a device. Choose another name.", "name")
        with self._lock:
            versions = self.versions()
            if sum(len(found) for found in versions.values()) >= MOST:
                raise Refusal(409, "invalid_request", f"there are {MOST:,} published workflows. Remove some.", "name")
            older = self.find_versions(name.name)
            made = replace(publication, version=max(older, default=0) + 1)
            newest = self._path(name.name)
            self.folder.mkdir(parents=True, exist_ok=True)
            if None in versions.get(name.name, {}):
                kept = self._open(newest)
                self._write(self.folder / f"{kept.reference}.json", kept.publication.to_json())
            self._write(newest, made.to_json())
            return self._open(newest)

    def keep(self, publication: Publication) -> bool:
        """Keeps a publication of another service under its own version; False if this version is here already."""
        name = publication.name
        with self._lock:
            known = self.find_versions(name)
            if publication.version in known:
                return False
            is_newest = publication.version > max(known, default=0)
            self.folder.mkdir(parents=True, exist_ok=True)
            newest = self._path(name)
            if is_newest and None in self.versions().get(name, {}):
                kept = self._open(newest)
                self._write(self.folder / f"{kept.reference}.json", kept.publication.to_json())
            path = newest if is_newest else self.folder / f"{name}@{publication.version}.json"
            self._write(path, publication.to_json())
            return True

    def remove(self, text: str) -> list[str]:
        """Removes a version, or all of a name; gives their references. Raises `Refusal` (404)."""
        name = read_name(text)
        with self._lock:
            found = self.versions().get(name.name, {})
            if name.version is None:
                paths = list(found.values())
            elif name.version in found:
                paths = [found[name.version]]
            else:
                paths = [self._path(name.name)] if self.find_or_raise(text) else []
            if not paths:
                raise not_found(f"there is no published workflow {quoted(text)}.")
            removed: list[str] = []
            for path in paths:
                path.unlink(missing_ok=True)
                self._read.pop(path, None)
                removed.append(path.stem)
            return sorted(removed)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _write(self, path: Path, data: Json) -> None:
        with new_file(path, True) as file:
            file.write(json.dumps(data, indent=1, ensure_ascii=False).encode())

    def _open(self, path: Path) -> Published:
        key = find_key(path)
        known = self._read.get(path)
        if known is not None and known.key == key:
            return known
        try:
            data = read_json(
                read_small(path, _MOST_BYTES), f"the file {path.name}", size=_MOST_BYTES, values=_MOST_VALUES
            )
            made = Publication.from_json(data)
            if made.name != path.stem.partition("@")[0]:
                raise WorkflowError(f"the file is called {path.name}, and the workflow in it {quoted(made.name)}")
            schema_of(made)
        except LorchestraError as error:
            reason = error.reason if isinstance(error, FileProblem) else str(error)
            raise Refusal(500, "publication_broken", f"the published workflow cannot be read: {reason}") from error
        read = self._read[path] = Published(made, key)
        return read
