"""`lorchestra convert`: a LoRA file in another spelling."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..errors import LorchestraError
from ..models.base import architecture_ids
from ..spelling.targets import TARGETS
from .check import unknown_model
from .export import Subparsers
from .terminal import printable


def add_convert(subparsers: Subparsers) -> None:
    """Adds `lorchestra convert`."""
    parser = subparsers.add_parser(
        "convert",
        help="write a LoRA file in another spelling",
        description="Writes a LoRA in the names of ComfyUI, kohya or diffusers, without a loss. What these cannot say "
        "is an error that names it.",
    )
    parser.add_argument("lora", metavar="LORA")
    parser.add_argument("-o", "--output", required=True, metavar="OUT")
    parser.add_argument("--to", required=True, choices=TARGETS)
    parser.add_argument("--architecture", metavar="ID", help="what the LoRA is for, if its tensors do not tell: sdxl")
    parser.add_argument("--model", metavar="CKPT", help="a checkpoint that the LoRA is for")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=run_convert)


def run_convert(args: argparse.Namespace) -> int:
    """Converts; raises `LorchestraError` for what cannot be read, or cannot be said in the other spelling."""
    if args.architecture is not None and args.architecture not in architecture_ids():
        raise LorchestraError(unknown_model(args.architecture))
    try:
        from ..convert import convert  # torch is loaded for this command alone
    except ImportError as error:
        raise LorchestraError(f"convert needs torch, which cannot be loaded ({error}): pip install torch") from error

    done = convert(
        args.lora,
        Path(args.output),
        args.to,
        architecture=args.architecture,
        model=args.model,
        force=args.force,
    )
    for note in done.notes:
        print(printable(f"lorchestra: {note}"), file=sys.stderr)
    modules = "1 module" if done.modules == 1 else f"{done.modules} modules"
    print(printable(f"{done.output}: {modules} for {done.title}, {done.tensors} tensors"))
    return 0
