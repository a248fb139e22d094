"""Where the files of a fleet are: what came in, and what jobs have made, in a folder or behind any `fsspec` URL."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, cast

from ...errors import FileProblem, LorchestraError
from ...files.new_file import new_file
from ...files.opening import is_file, is_folder
from ..store import StoreError

INPUTS, OUTPUTS = "inputs", "outputs"
_ADVICE = "Free its disk, or let workers write there"
_SAFE = re.compile(r"[^\w.() -]+")


class KeptError(StoreError):
    """The place for files cannot be read or written."""


class Kept:
    """The place; safe for threads."""

    def __init__(self, url: str, cache: Path) -> None:
        """`cache` is a folder on this machine, for what lies elsewhere."""
        self.url = url
        try:
            system, root = cast("tuple[Any, str]", import_module("fsspec.core").url_to_fs(url))
        except (ValueError, ImportError) as error:
            raise KeptError(f"{url} is no place for files: {error}") from error
        self._system, self._root = system, str(root).rstrip("/")
        self.is_local = "file" in ((system.protocol,) if isinstance(system.protocol, str) else system.protocol)
        self.folder = Path(self._root) if self.is_local else cache
        """The files on this machine: the place itself, or copies of what was used."""

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> None:
        """Keeps a file, whole or not at all; raises `KeptError`, and whatever `chunks` does."""
        try:
            if self.is_local:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with new_file(path, True) as file:
                    async for chunk in chunks:
                        file.write(chunk)
                return
            try:
                with self._system.open(f"{self._root}/{name}", "wb") as file:
                    async for chunk in chunks:
                        file.write(chunk)
            except BaseException:
                with contextlib.suppress(Exception):  # closing it has kept what was written
                    self._system.rm_file(f"{self._root}/{name}")
                raise
        except FileProblem as error:
            raise KeptError(f"what was made cannot be kept: {error}. {_ADVICE}") from error
        except LorchestraError:
            raise
        except Exception as error:  # every file system has errors of its own
            raise self._error(error) from error

    def send(self, name: str) -> None:
        """Puts a file of this machine where workers find it; raises `KeptError`."""
        if not self.is_local:
            try:
                self._system.put_file(str(self.folder / name), f"{self._root}/{name}")
            except Exception as error:
                raise self._error(error) from error

    def find(self, name: str) -> Path | None:
        """A file on this machine, fetched if it lies elsewhere; None if there is none."""
        path = self.folder / name
        if not self.is_local and not is_file(path):
            with contextlib.suppress(Exception):
                path.parent.mkdir(parents=True, exist_ok=True)
                with self._system.open(f"{self._root}/{name}", "rb") as source, new_file(path, True) as target:
                    while block := source.read(1 << 20):
                        target.write(block)
        return path if is_file(path) else None

    def remove(self, job: str) -> None:
        """Removes what a job has made, as far as that can be done."""
        name = f"{OUTPUTS}/{job}"
        with contextlib.suppress(Exception):
            self._system.rm(f"{self._root}/{name}", recursive=True)
        if not self.is_local:
            with contextlib.suppress(OSError):
                for path in sorted((self.folder / name).rglob("*"), reverse=True):
                    path.rmdir() if is_folder(path) else path.unlink()
                (self.folder / name).rmdir()

    def _error(self, error: Exception) -> KeptError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        return KeptError(f"what was made cannot be kept at {self.url}: {reason}. {_ADVICE}")


def output_name(job: str, number: int, name: str) -> str:
    """Where the file of a job is kept, by its number among the job's: names from ComfyUI lead nowhere else."""
    safe = _SAFE.sub("_", PurePosixPath(name.replace("\\", "/")).name)[-150:]
    return f"{OUTPUTS}/{job}/{number}/{safe}"
