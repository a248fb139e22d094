"""`lorchestra resize`: a LoRA file at a lower rank."""

from __future__ import annotations

import argparse

from ..errors import LorchestraError
from .export import Subparsers
from .making import add_limit, add_output, read_limit, require_torch, shown_progress, tell


def add_resize(subparsers: Subparsers) -> None:
    """Adds `lorchestra resize`."""
    parser = subparsers.add_parser(
        "resize",
        help="write a LoRA file at a lower rank",
        description="Writes a LoRA whose modules are cut to the nearest update of a rank, or of a share of their "
        "energy, and says the error. Modules that are small enough stay as they are, to the bit.",
    )
    parser.add_argument("lora", metavar="LORA")
    add_output(parser)
    add_limit(parser)
    parser.set_defaults(run=run_resize)


def run_resize(args: argparse.Namespace) -> int:
    """Resizes; raises `LorchestraError` for input that cannot be used."""
    require_torch("resize")
    from ..making.resize import resize  # torch is loaded for this command alone

    limit = read_limit(args)
    if limit.is_none:
        raise LorchestraError("say how much is kept: --rank 16, or --energy 0.98")
    with shown_progress("resizing", args.quiet) as progress:
        made = resize(args.lora, args.output, limit, dtype=args.dtype, force=args.force, progress=progress)
    if not args.quiet:
        tell(made)
    return 0
