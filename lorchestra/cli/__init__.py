"""The command line: `lorchestra …` or `python -m lorchestra …`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from .. import __version__
from ..errors import LorchestraError
from . import bake, demo, export, inspect

USABLE = 0
UNUSABLE = 2
"""Exit code for input that cannot be used."""
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Errors of ours become one line on stderr."""
    parser = argparse.ArgumentParser(
        prog="lorchestra", description="LoRA files: look into them, apply them to checkpoints, translate stacks."
    )
    parser.add_argument("--version", action="version", version=f"lorchestra {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    inspect.add_inspect(commands)
    bake.add_bake(commands)
    export.add_export(commands)
    export.add_import(commands)
    demo.add_demo(commands)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return options.run(options)
    except LorchestraError as error:
        print(f"lorchestra: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("lorchestra: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return UNUSABLE


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends a command as Ctrl-C does, so that nothing half-written stays behind."""
    raise KeyboardInterrupt
