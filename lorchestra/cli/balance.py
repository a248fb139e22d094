"""`lorchestra balance`: how strong the LoRAs of a stack are, and which of them do the same work."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..choices import AUTO, Choices
from ..errors import LorchestraError
from ..files.opening import is_file
from ..fit.rows import Files, Located
from ..lora.examined import read_examined
from ..models.base import Base
from ..stack import Stack
from .check import read_model
from .export import Subparsers
from .files import SUFFIX
from .plot import plot_file, write_plot
from .rows import FORM, read_rows
from .terminal import printable

if TYPE_CHECKING:
    from ..analysis.balance import Balance


def add_balance(subparsers: Subparsers) -> None:
    """Adds `lorchestra balance`."""
    parser = subparsers.add_parser(
        "balance",
        help="say how strong each LoRA of a stack is, and which do the same work",
        description="Measures the LoRAs of a stack against each other, without a model and without a picture: how "
        "strong each is and where, which pairs do the same work or undo each other's, and weights to try.",
    )
    parser.add_argument("loras", nargs="+", metavar=FORM, help="a LoRA and its weight")
    parser.add_argument(
        "--model",
        metavar="CKPT|ARCHITECTURE",
        help="the model, or the id of its architecture (default: what all LoRAs are made for); with a .safetensors "
        "file, strengths are told in percent of the model's own weights, too",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--plot", metavar="OUT", help="draw rows by blocks and the matrix of pairs, into an .svg or a .png file"
    )
    parser.add_argument("--force", action="store_true", help="replace the plot's file")
    parser.set_defaults(run=run_balance)


def run_balance(args: argparse.Namespace) -> int:
    """Prints the report; raises `LorchestraError` for input that cannot be used."""
    try:
        from ..analysis.report import report, to_json  # torch is loaded for this command alone
    except ImportError as error:
        raise LorchestraError(f"balance needs torch, which cannot be loaded ({error}): pip install torch") from error

    stack = read_rows(args.loras, "")
    output = None if args.plot is None else plot_file(args.plot, args.force)
    base = read_model(args.model) if args.model else _common_base(stack)
    balance = _measure(stack, base, args.model)
    if output is not None:
        from ..analysis.plot import draw

        write_plot(output, draw(balance), args.force)
    if args.json:
        print(json.dumps({"model": base.title, **to_json(balance)}, indent=2))
    else:
        print(printable(f"{base.title}\n\n{report(balance)}"))
    return 0


def _measure(stack: Stack, base: Base, model: str | None) -> Balance:
    from ..analysis.balance import measure
    from ..analysis.base_weights import open_weights
    from ..apply.plan import make_plan
    from ..lora.cache import open_lora

    files = Files(lambda entry, _: Located(entry.lora), lambda path: open_lora(path, keep=False))
    plan = make_plan(stack, files, base, Choices(mode=AUTO))
    has_weights = model is not None and is_file(model) and model.lower().endswith(SUFFIX)
    hidden = None if sys.stderr else True
    with (
        contextlib.ExitStack() as open_files,
        tqdm(desc="measuring", unit=" layers", disable=hidden, leave=False) as bar,
    ):
        find_weight = open_files.enter_context(open_weights(model)) if model and has_weights else None

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return measure(plan, find_weight, progress)


def _common_base(stack: Stack) -> Base:
    from ..analysis.common_base import common_base

    made_for = {Path(entry.lora).name: read_examined(entry.lora).identity.architectures for entry in stack.entries}
    return common_base(made_for, "name it with --model")
