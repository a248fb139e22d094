"""Safetensors files that appear whole or not at all: checks of the output's name, the header's bytes, the file."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import CheckpointError

_EXISTS = "the file exists already; use --force to replace it"


def check_output(output: Path, inputs: Sequence[str], what: str, force: bool) -> None:
    """Raises `CheckpointError` if the output cannot be written: it exists (unless `force`), is an input …

    `what` are the inputs in words: `the base or one of the LoRAs`.
    """
    try:
        if b"\0" in os.fsencode(output):
            raise CheckpointError(output, "this cannot be the name of a file")
        if output.is_dir():
            raise CheckpointError(output, "this is a directory; name the file to write")
        if not output.parent.is_dir():
            raise CheckpointError(output, f"the folder {output.parent} does not exist")
        if output.exists() and not output.is_file():
            raise CheckpointError(output, "this is a device or a pipe; name a plain file to write")
    except UnicodeEncodeError as error:
        raise CheckpointError(output, "this cannot be the name of a file") from error
    except OSError as error:
        raise CheckpointError(output, f"the file cannot be written ({error.strerror or error})") from error
    if any(_is_same(output, path) for path in inputs):
        raise CheckpointError(output, f"this is {what}; write to another file")
    if not force and os.path.lexists(output):
        raise CheckpointError(output, _EXISTS)


def _is_same(output: Path, path: str) -> bool:
    try:
        return output.samefile(path)
    except (OSError, ValueError):  # one of them is not there
        return False


def header_bytes(entries: Mapping[str, tuple[str, Sequence[int], int, int]], metadata: Mapping[str, str]) -> bytes:
    """What a safetensors file begins with, from `tensor → (dtype's name, shape, first byte, one past the last)`."""
    data: dict[str, Any] = {"__metadata__": dict(metadata)}
    for name, (dtype, shape, start, end) in entries.items():
        data[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(data, separators=(",", ":")).encode()  # ASCII: half a surrogate pair cannot be UTF-8
    text += b" " * (-len(text) % 8)  # the data starts at a multiple of eight, as the safetensors library writes it
    return len(text).to_bytes(8, "little") + text


@contextlib.contextmanager
def new_file(output: Path, force: bool) -> Generator[IO[bytes]]:
    """A file that takes its name when it is complete, and is removed whatever else happens.

    Raises `CheckpointError` if it cannot be written, or where another came meanwhile (unless `force`).
    """
    name = None
    try:
        # The name is cut because the whole may be at most 255 bytes long.
        handle, name = tempfile.mkstemp(prefix=f".{output.name[:40]}.", suffix=".part", dir=output.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        with contextlib.suppress(OSError):  # not every file system has rights
            Path(name).chmod(0o666 & ~umask)  # mkstemp made it private
        if not force and os.path.lexists(output):  # it came while this was written
            raise CheckpointError(output, _EXISTS)
        Path(name).replace(output)
    except OSError as error:
        raise CheckpointError(output, f"the file cannot be written ({error.strerror or error})") from error
    finally:
        if name is not None:
            Path(name).unlink(missing_ok=True)
