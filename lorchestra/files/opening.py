"""The one way to open a file whose name came from elsewhere: plain files only, of a known size, errors in words.

A name may lead anywhere: to a pipe whose writer never comes, to `/dev/zero`, into `/proc`. So a file is looked at
before it is opened, opened without waiting, looked at again, and never read beyond the size that it had then.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FileProblem, HeaderError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Problem = Callable[[str, str], FileProblem]
"""What is raised: made from the file as the caller named it and the reason."""

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe would wait for its writer
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)


class RegularFile(io.FileIO):
    """A plain file that is open for reading; every error is a `problem`, a file with its reason.

    Unbuffered, so that no more is read than what is asked for.
    """

    def __init__(self, handle: int, path: str, size: int, modified_ns: int, problem: Problem) -> None:
        super().__init__(handle, "rb")
        self.path = path
        self.size = size
        """Bytes when it was opened; what was added since is not read."""
        self.modified_ns = modified_ns
        """Of that moment, as in `FileKey`."""
        self._problem = problem

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """As `io.FileIO`; 0 at the end that the file had when it was opened."""
        view = memoryview(buffer).cast("B")
        try:
            count = super().readinto(view[: max(0, min(len(view), self.size - self.tell()))])
        except OSError as error:
            raise self._problem(self.path, os_reason(error)) from error
        return count or 0  # None where nothing is there yet, which happens in /proc alone

    def read(self, size: int | None = -1, /) -> bytes:
        """At most `size` bytes, all that are left if it is negative; fewer only at the end."""
        left = max(0, self.size - self.tell())
        try:
            return super().read(left if size is None or size < 0 else min(size, left)) or b""
        except OSError as error:
            raise self._problem(self.path, os_reason(error)) from error

    def readall(self) -> bytes:
        """All that are left."""
        return self.read()

    def fill(self, start: int, view: memoryview) -> None:
        """Fills `view` with the bytes from `start` on; a `problem` where the file ends before."""
        self.seek(start)
        while len(view):
            count = self.readinto(view)
            if not count:
                raise self._problem(self.path, "the file became shorter while it was read")
            view = view[count:]

    def has_changed(self) -> bool:
        """Whether it was written to since it was opened."""
        try:
            state = os.fstat(self.fileno())
        except OSError as error:
            raise self._problem(self.path, os_reason(error)) from error
        return (state.st_mtime_ns, state.st_size) != (self.modified_ns, self.size)


def open_regular(path: str | Path, problem: Problem = HeaderError) -> RegularFile:
    """Opens a plain file for reading and waits for nothing.

    Raises a `problem` with the reason for a directory, a pipe, a device or a socket, for a file that is not there or
    may not be read, and for what cannot be the name of a file.
    """
    name = str(path)
    try:
        _require_regular(name, os.stat(name).st_mode, problem)
        handle = os.open(name, _FLAGS)
        try:
            state = os.fstat(handle)
            _require_regular(name, state.st_mode, problem)  # another may have come meanwhile
            return RegularFile(handle, name, state.st_size, state.st_mtime_ns, problem)
        except BaseException:
            os.close(handle)
            raise
    except OSError as error:
        raise problem(name, os_reason(error)) from error
    except ValueError as error:  # a NUL or broken Unicode in the path
        raise problem(name, f"this cannot be the name of a file ({error})") from error


def read_small(path: str | Path, limit: int, problem: Problem = HeaderError) -> bytes:
    """All of a plain file of at most `limit` bytes; a `problem` for a larger one and as `open_regular`."""
    with open_regular(path, problem) as file:
        if file.size > limit:
            raise problem(str(path), f"the file has {file.size:,} bytes; at most {limit:,} are read")
        return file.read()


def is_file(path: str | Path) -> bool:
    """Whether there is a plain file of that name; False where it cannot be told, and for a name that cannot be."""
    return _has_mode(path, stat.S_ISREG)


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder of that name; as `is_file`."""
    return _has_mode(path, stat.S_ISDIR)


def exists(path: str | Path) -> bool:
    """Whether there is anything of that name; as `is_file`."""
    return _has_mode(path, lambda _: True)


def _has_mode(path: str | Path, test: Callable[[int], bool]) -> bool:
    try:
        return test(os.stat(path).st_mode)
    except (OSError, ValueError):  # too long a name, a loop of links, a NUL
        return False


def _require_regular(name: str, mode: int, problem: Problem) -> None:
    if stat.S_ISDIR(mode):
        raise problem(name, "this is a directory, not a file")
    if not stat.S_ISREG(mode):
        raise problem(name, "this is not a regular file")


def os_reason(error: OSError) -> str:
    """What the system says, in words that go after the name of a file that is read."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "the file may not be read (permission denied)"
    return f"the file cannot be read ({error.strerror or error})"


def pickle_reason(name: str) -> str:
    target = Path(name).with_suffix(".safetensors").name
    return (
        "this is a pickle file, which can run code when it is opened; Lorchestra reads only .safetensors. "
        "If you trust its source, convert it: "
        f'python -c "import torch, safetensors.torch as s; d = torch.load({Path(name).name!r}, weights_only=True); '
        f"s.save_file({{k: v.contiguous() for k, v in d.get('state_dict', d).items()}}, {target!r})\""
    )
