"""Files that appear whole or not at all: checks of the output's name, a safetensors header's bytes, the file.

While it is written, a file has no name, where the system knows such files: whatever happens to the process, nothing
is left. Elsewhere it has one that ends in `.part`, and what a process that is gone left behind is removed at the next
run.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import CheckpointError
from .opening import exists, is_file, is_folder

_UNNAMED: int | None = getattr(os, "O_TMPFILE", None)
"""Linux' flag for a file without a name."""
_DESCRIPTORS = "/proc/self/fd"
"""Where Linux has the open files of a process: from there an unnamed one gets its name."""


def check_output(output: Path, inputs: Sequence[str], what: str, force: bool) -> None:
    """Raises `CheckpointError` if the output cannot be written: it exists (unless `force`), is an input …

    An input is the same file under whatever name: another case, a link, a hard link. `what` are the inputs in words:
    `the base or one of the LoRAs`.
    """
    _require_name(output)
    if is_folder(output):
        raise CheckpointError(output, "this is a directory; name the file to write")
    if not is_folder(output.parent):
        raise CheckpointError(output, f"the folder {output.parent} does not exist")
    if exists(output) and not is_file(output):
        raise CheckpointError(output, "this is a device or a pipe; name a plain file to write")
    if any(_is_same(output, path) for path in inputs):
        raise CheckpointError(output, f"this is {what}; write to another file")
    if not force and os.path.lexists(output):
        raise _exists_already(output)


def _require_name(output: Path) -> None:
    """Raises `CheckpointError` for what cannot be the name of a file: too long, with a NUL, with broken Unicode."""
    try:
        os.lstat(output)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise CheckpointError(output, write_reason(error)) from error
    except ValueError as error:
        raise CheckpointError(output, "this cannot be the name of a file") from error


def _exists_already(output: Path) -> CheckpointError:
    return CheckpointError(output, "the file exists already; use --force to replace it")


def _is_same(output: Path, path: str) -> bool:
    try:
        return output.samefile(path)
    except (OSError, ValueError):  # one of them is not there
        return False


def header_bytes(
    entries: Mapping[str, tuple[str, Sequence[int], int, int]], metadata: Mapping[str, str], size: int = 0
) -> bytes:
    """What a safetensors file begins with, from `tensor → (dtype's name, shape, first byte, one past the last)`.

    Filled up with spaces to `size` bytes, a multiple of eight, if it is shorter.
    """
    data: dict[str, Any] = {"__metadata__": dict(metadata)}
    for name, (dtype, shape, start, end) in entries.items():
        data[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(data, separators=(",", ":")).encode()  # ASCII: half a surrogate pair cannot be UTF-8
    # The data starts at a multiple of eight, as the safetensors library writes it.
    text += b" " * max(-len(text) % 8, size - 8 - len(text))
    return len(text).to_bytes(8, "little") + text


@contextlib.contextmanager
def new_file(output: Path, force: bool) -> Generator[IO[bytes]]:
    """A file that takes its name when it is complete; whatever else happens, there is none.

    Raises `CheckpointError` if it cannot be written, or where another came meanwhile (unless `force`).
    """
    _require_name(output)
    try:
        _remove_left_behind(output)
        file = _open_unnamed(output.parent)
        if file is not None:
            with file:
                yield file
                _flush(file)
                _name(file, output, force)
            return
        with _open_part(output) as (file, name):
            yield file
            _flush(file)
            with contextlib.suppress(OSError):  # not every file system has rights
                name.chmod(0o666 & ~_umask())  # mkstemp made it private
            if force:
                name.replace(output)
            else:
                _take_name(name, output)
    except FileExistsError as error:
        raise _exists_already(output) from error
    except OSError as error:
        raise CheckpointError(output, write_reason(error)) from error


def write_new(output: Path, data: bytes, force: bool = False) -> None:
    """Writes a file that appears whole or not at all; errors as `check_output` and `new_file`."""
    check_output(output, (), "", force)
    with new_file(output, force) as file:
        file.write(data)


def write_reason(error: OSError) -> str:
    """What the system says, in words that go after the name of a file that is written."""
    return f"the file cannot be written ({error.strerror or error})"


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _open_unnamed(folder: Path) -> IO[bytes] | None:
    """A file without a name on the folder's disk; None where the system or the disk has none."""
    if _UNNAMED is None or not is_folder(_DESCRIPTORS):
        return None
    try:
        return os.fdopen(os.open(folder, _UNNAMED | os.O_RDWR | os.O_CLOEXEC, 0o666), "w+b")
    except OSError:
        return None


def _name(file: IO[bytes], output: Path, force: bool) -> None:
    """Gives an unnamed file its name; one of that name that was there is replaced if `force`."""
    here = f"{_DESCRIPTORS}/{file.fileno()}"
    folder = os.open(output.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # With a folder given, Python takes the system call that follows the link.
        try:
            os.link(here, output.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            if not force:
                raise
            part = _free_part(output)  # a link cannot replace a file, but another name for it can
            try:
                os.link(here, part, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
                os.replace(part, output.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(part, dir_fd=folder)
                raise
    finally:
        os.close(folder)


def _part_start(output: Path) -> str:
    """What the names of unfinished files begin with; cut, because a whole name may have 255 bytes at most."""
    return f".{output.name[:40]}."


def _free_part(output: Path) -> str:
    handle, name = tempfile.mkstemp(prefix=_part_start(output), suffix=_PART, dir=output.parent)
    os.close(handle)
    Path(name).unlink()
    return Path(name).name


_PART = ".part"


@contextlib.contextmanager
def _open_part(output: Path) -> Generator[tuple[IO[bytes], Path]]:
    """A file with a name of its own, which is removed in the end if it still has it."""
    handle, name = tempfile.mkstemp(prefix=_part_start(output), suffix=_PART, dir=output.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _lock(file.fileno())
            yield file, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _take_name(part: Path, output: Path) -> None:
    """Renames, but never over another file, as far as the system can tell."""
    try:
        os.link(part, output)
    except FileExistsError:
        raise
    except OSError:  # a disk without hard links
        if os.path.lexists(output):
            raise FileExistsError from None
        part.replace(output)


def _lock(handle: int) -> bool:
    """Locks an open file as long as it is open; False if another process has it locked."""
    try:
        import fcntl
    except ImportError:  # Windows, where nobody can remove a file that is open
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        return True
    return True


def _remove_left_behind(output: Path) -> None:
    """Removes unfinished files for this output whose process is gone: those that nobody has locked."""
    start = _part_start(output)
    with contextlib.suppress(OSError), os.scandir(output.parent) as entries:
        for entry in entries:
            if entry.name.startswith(start) and entry.name.endswith(_PART) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_unlocked(Path(entry.path))


def _remove_unlocked(part: Path) -> None:
    handle = os.open(part, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        is_free = _lock(handle)
    finally:
        os.close(handle)
    if is_free:
        part.unlink()
