"""`lorchestra bake`: LoRAs into a checkpoint file."""

from __future__ import annotations

import argparse
import sys

from tqdm import tqdm

from ..errors import LorchestraError
from ..fit.outcome import OFF
from .export import Subparsers
from .rows import FORM, read_rows
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
        metavar=FORM,
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

    stack = read_rows(args.lora, "--lora ")
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
