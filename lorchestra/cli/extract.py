"""`lorchestra extract`: the difference of two models as a LoRA file."""

from __future__ import annotations

import argparse

from ..making.choices import DEFAULT_RANK
from .export import Subparsers
from .making import add_limit, add_output, read_limit, require_architecture, require_torch, shown_progress, tell


def add_extract(subparsers: Subparsers) -> None:
    """Adds `lorchestra extract`."""
    parser = subparsers.add_parser(
        "extract",
        help="write the difference of two models as a LoRA file",
        description="Writes what TUNED has learned beyond BASE as a LoRA for BASE, layer by layer, and says the error. "
        "Matrices and kernels are cut to the rank; biases, norms and other vectors are written whole.",
    )
    parser.add_argument(
        "tuned", metavar="TUNED", help="a checkpoint or diffusion model: .safetensors, shards, a folder"
    )
    parser.add_argument("base", metavar="BASE", help="the model that it was made from")
    add_output(parser)
    add_limit(parser, f"; {DEFAULT_RANK} if nothing is said")
    parser.add_argument("--low-rank-only", action="store_true", help="leave out biases, norms and other vectors")
    parser.add_argument("--architecture", metavar="ID", help="what the models are, if their tensors do not tell: sdxl")
    parser.set_defaults(run=run_extract)


def run_extract(args: argparse.Namespace) -> int:
    """Extracts; raises `LorchestraError` for input that cannot be used."""
    require_torch("extract")
    from ..making.extract import extract  # torch is loaded for this command alone
    from ..making.low_rank import Limit

    require_architecture(args.architecture)
    limit = read_limit(args)
    with shown_progress("extracting", args.quiet) as progress:
        made = extract(
            args.tuned,
            args.base,
            args.output,
            Limit(DEFAULT_RANK) if limit.is_none else limit,
            low_rank_only=args.low_rank_only,
            dtype=args.dtype,
            architecture=args.architecture,
            force=args.force,
            progress=progress,
        )
    if not args.quiet:
        tell(made)
    return 0
