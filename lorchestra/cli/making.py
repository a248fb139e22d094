"""What the commands that make LoRA files have in common: their options, their progress, and what they say."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..architectures.names import family_titles
from ..errors import LorchestraError
from ..making.choices import DTYPES
from ..models.base import architecture_ids
from .check import unknown_model
from .terminal import printable

if TYPE_CHECKING:
    from ..lora.examined import Examined
    from ..making.low_rank import Limit
    from ..making.merge import Made


def add_limit(parser: argparse.ArgumentParser, without: str = "") -> None:
    """Adds `--rank` and `--energy`."""
    rank = f"keep at most so many directions of each layer{without}"
    parser.add_argument("--rank", type=int, metavar="N", help=rank)
    parser.add_argument(
        "--energy", type=float, metavar="SHARE", help="keep what has this share of ‖Δ‖² in each layer: 0.98"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """Adds what is said of the file that is written."""
    parser.add_argument("-o", "--output", required=True, metavar="OUT")
    parser.add_argument("--dtype", choices=DTYPES, help="write it so (default: as the files that are read)")
    parser.add_argument("--force", action="store_true", help="replace OUT if it exists")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no report")


def require_torch(command: str) -> None:
    """Raises `LorchestraError`, in words, if torch cannot be loaded."""
    try:
        import torch  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise LorchestraError(f"{command} needs torch, which cannot be loaded ({error}): pip install torch") from error


def require_architecture(name: str | None) -> None:
    """Raises `LorchestraError` for what is not the id of an architecture."""
    if name is not None and name not in architecture_ids():
        raise LorchestraError(unknown_model(name))


def read_limit(args: argparse.Namespace) -> Limit:
    """The limit that the options say; raises `LorchestraError` for one that cannot be."""
    from ..making.low_rank import Limit

    if args.rank is not None and args.rank < 1:
        raise LorchestraError(f"--rank {args.rank}: a rank is 1 or more")
    if args.energy is not None and not 0 < args.energy <= 1:
        raise LorchestraError(f"--energy {args.energy:g}: a share is above 0 and at most 1")
    return Limit(args.rank, args.energy)


@contextlib.contextmanager
def shown_progress(what: str, quiet: bool) -> Generator[Callable[[int, int], None]]:
    """A bar of layers on a terminal."""
    hidden = True if quiet or not sys.stderr else None  # None: shown on terminals alone
    with tqdm(unit=" layers", desc=what, disable=hidden, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress


def tell(made: Made) -> None:
    """Prints what was written, what was left out, and what the checker says of the result."""
    for outcome in made.outcomes:
        print(printable(str(outcome)))
    for note in made.notes:
        print(printable(note))
    print(printable(f"{made.output}: {_kinds(made)}"))
    print(printable(_errors(made)))
    print(printable(_checked(made.examined)))


def _checked(examined: Examined) -> str:
    """What our own checker says of the result."""
    modules = examined.reading.modules
    count = "its only module fits" if len(modules) == 1 else f"all {len(modules)} modules fit"
    titles = family_titles(examined.identity.best, 2)
    if not titles:
        return f"checked: a sound LoRA of {len(modules)} modules, for a model that is not known"
    return f"checked: a LoRA for {' or '.join(titles)}, {count}"


def _kinds(made: Made) -> str:
    parts = ["1 layer" if made.layers == 1 else f"{made.layers} layers"] if made.layers else []
    if made.ranks:
        low, high = min(made.ranks), max(made.ranks)
        parts.append(f"rank {low}" if low == high else f"rank {low} to {high}")
    if made.whole:
        parts.append(f"{made.whole} whole differences" if made.whole > 1 else "1 whole difference")
    if made.dtype:
        parts.append(made.dtype)
    return ", ".join(parts) or "as it was"


def _errors(made: Made) -> str:
    errors = made.errors
    if not errors.layer:
        return "nothing had to be changed"
    if errors.overall < 1e-7 and errors.worst < 1e-7:
        return "exact"
    return (
        f"error ‖Δ − Δ'‖/‖Δ‖: {_percent(errors.overall)} overall, at worst {_percent(errors.worst)} in {errors.layer}"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.1f} %"
