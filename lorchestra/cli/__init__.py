"""The command line: `lorchestra …` or `python -m lorchestra …`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Generator, Sequence
from types import FrameType
from typing import Any

from .. import __version__
from ..errors import LorchestraError
from . import (
    bake,
    balance,
    call,
    check,
    convert,
    demo,
    export,
    extract,
    find,
    identify,
    index,
    inspect,
    merge,
    missing,
    publish,
    resize,
    schedule,
    serve,
    status,
    sweep,
    worker,
)
from .hash import add_hash
from .terminal import printable

USABLE = 0
UNUSABLE = 2
"""Exit code for input that cannot be used."""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors of ours become one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="lorchestra", description="LoRA files: identify, find, check, convert and apply them; translate stacks."
    )
    parser.add_argument("--version", action="version", version=f"lorchestra {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    inspect.add_inspect(commands)
    identify.add_identify(commands)
    check.add_check(commands)
    convert.add_convert(commands)
    bake.add_bake(commands)
    balance.add_balance(commands)
    merge.add_merge(commands)
    resize.add_resize(commands)
    extract.add_extract(commands)
    export.add_export(commands)
    export.add_import(commands)
    publish.add_publish(commands)
    call.add_call(commands)
    sweep.add_sweep(commands)
    serve.add_serve(commands)
    worker.add_worker(commands)
    status.add_status(commands)
    schedule.add_schedule(commands)
    index.add_index(commands)
    find.add_find(commands)
    missing.add_missing(commands)
    add_hash(commands)
    demo.add_demo(commands)
    options = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names in files may have characters that the terminal's code lacks
            stream.reconfigure(errors="backslashreplace")
    with _ended_by_signals():
        try:
            code: int = options.run(options)
            if sys.stdout:
                sys.stdout.flush()
            return code
        except LorchestraError as error:
            print(printable(f"lorchestra: {error}"), file=sys.stderr)
            return UNUSABLE
        except KeyboardInterrupt:
            print("lorchestra: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:  # the reader is gone; Python would complain when it flushes at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return UNUSABLE


@contextlib.contextmanager
def _ended_by_signals() -> Generator[None]:
    """Lets SIGTERM and a closed terminal end a command as Ctrl-C does, so that nothing half-written stays behind."""
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        numbers: list[int | None] = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP", "SIGBREAK")]
        for number in numbers:
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # not where nohup ignores it
                before[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
