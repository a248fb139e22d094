"""`lorchestra bake`: LoRAs into a checkpoint file."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace

from tqdm import tqdm

from ..errors import LorchestraError, StackError
from ..fit.outcome import OFF
from ..stack import Entry, Stack
from ..stack.rows import check_row
from .export import Subparsers
from .terminal import printable


def add_bake(subparsers: Subparsers) -> None:
    """Adds `lorchestra bake`."""
    parser = subparsers.add_parser(
        "bake",
        help="apply LoRAs to a checkpoint file",
        description="Writes a checkpoint with LoRAs applied. The order of --lora does not change a bit of the result. "
        "Streams, so that any checkpoint fits into memory.",
    )
    parser.add_argument("base", metavar="BASE", help="the checkpoint, a .safetensors file")
    parser.add_argument(
        "--lora",
        action="append",
        required=True,
        metavar="FILE=WEIGHT[:CLIP]",
        help="a LoRA and its weight, or its weights for the model and the text encoders; may be given many times",
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no report")
    parser.set_defaults(run=run_bake)


def run_bake(args: argparse.Namespace) -> int:
    """Bakes; raises `LorchestraError` for input that cannot be used."""
    try:
        from ..apply.bake import bake  # torch is loaded for this command alone
    except ImportError as error:
        raise LorchestraError(f"bake needs torch, which cannot be loaded ({error}): pip install torch") from error

    stack = Stack(tuple(_entry(text, row) for row, text in enumerate(args.lora, 1)))
    hidden = True if args.quiet or not sys.stderr else None  # None: shown on terminals alone
    with tqdm(unit="B", unit_scale=True, desc="baking", disable=hidden, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        result = bake(args.base, stack, args.output, force=args.force, progress=progress)
    if not args.quiet:
        for outcome in result.outcomes:
            print(printable(str(outcome)))
        unchanged = all(outcome.verdict == OFF for outcome in result.outcomes)
        what = "a copy of the base" if unchanged else f"{result.changed} tensors changed"
        print(printable(f"{result.output}: {what}"))
    return 0


def _entry(text: str, row: int) -> Entry:
    file, equals, weights = text.rpartition("=")
    if not equals or not file:
        raise StackError(f"--lora {text!r} has no weight; write FILE=0.7 or FILE=0.7:0.3", row)
    model, colon, clip = weights.partition(":")
    entry = Entry(file, model=_number(model, text, row), clip=_number(clip, text, row) if colon else None)
    check_row(replace(entry, lora="a file"), row)  # any name that a file has will do
    return entry


def _number(text: str, whole: str, row: int) -> float:
    try:
        value = float(text)
    except ValueError:
        raise StackError(f"--lora {whole!r}: {text!r} is not a number", row) from None
    if math.isnan(value):
        raise StackError(f"--lora {whole!r}: the weight is not a number", row)
    return value
