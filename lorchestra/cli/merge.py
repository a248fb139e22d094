"""`lorchestra merge`: several LoRA files as one."""

from __future__ import annotations

import argparse

from ..errors import LorchestraError
from ..making.choices import DEFAULT_DENSITY, METHODS, SUM
from .export import Subparsers
from .making import add_limit, add_output, read_limit, require_architecture, require_torch, shown_progress, tell
from .rows import FORM, read_rows


def add_merge(subparsers: Subparsers) -> None:
    """Adds `lorchestra merge`."""
    parser = subparsers.add_parser(
        "merge",
        help="make one LoRA file of several",
        description="Writes one LoRA that does at weight 1 what these do at theirs; the order does not matter. Exact "
        "without --rank or --energy: the halves are put side by side, and the rank is the sum of all ranks. With "
        "them, each layer is cut to the nearest update, and the error is said.",
    )
    parser.add_argument("loras", nargs="+", metavar=FORM, help="a LoRA and its weight")
    add_output(parser)
    add_limit(parser)
    parser.add_argument(
        "--method",
        choices=METHODS,
        default=SUM,
        help="sum (default); ties: largest numbers, elected signs; dare: numbers dropped at random; dare-ties: both",
    )
    parser.add_argument(
        "--density",
        type=float,
        metavar="SHARE",
        help=f"what ties and dare keep of each (default: {DEFAULT_DENSITY})",
    )
    parser.add_argument("--seed", type=int, default=0, help="for dare (default: 0)")
    parser.add_argument("--whole", action="store_true", help="write what ties and dare make as whole differences")
    parser.add_argument("--architecture", metavar="ID", help="what the LoRAs are for, if their tensors do not tell")
    parser.add_argument(
        "--model",
        metavar="CKPT",
        help="the model's file, for DoRA, OFT, (IA)³ and GLoRA; they become differences",
    )
    parser.set_defaults(run=run_merge)


def run_merge(args: argparse.Namespace) -> int:
    """Merges; raises `LorchestraError` for input that cannot be used."""
    require_torch("merge")
    from ..making.merge import merge  # torch is loaded for this command alone
    from ..making.methods import Method

    require_architecture(args.architecture)
    limit = read_limit(args)
    is_sum = args.method == SUM
    if args.density is not None and is_sum:
        raise LorchestraError("--density is for --method ties, dare and dare-ties")
    if args.whole and not limit.is_none:
        raise LorchestraError("--whole keeps everything, --rank and --energy do not: say one of them")
    density = DEFAULT_DENSITY if args.density is None else args.density
    if not 0 < density <= 1:
        raise LorchestraError(f"--density {density:g}: a share is above 0 and at most 1")
    with shown_progress("merging", args.quiet) as progress:
        made = merge(
            read_rows(args.loras, ""),
            args.output,
            method=Method(args.method, density, args.seed),
            limit=limit,
            whole=args.whole,
            dtype=args.dtype,
            architecture=args.architecture,
            model=args.model,
            force=args.force,
            progress=progress,
        )
    if not args.quiet:
        tell(made)
    return 0
