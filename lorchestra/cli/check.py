"""`lorchestra check`: whether LoRA files fit a model, before anything is loaded."""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from pathlib import Path
from typing import Any

from ..architectures.names import with_article
from ..errors import AdapterError, CheckpointError, FileProblem, HeaderError, LorchestraError, quoted
from ..files.header import read_header
from ..files.opening import exists, is_file
from ..fit.outcome import BROKEN, COMPATIBLE, Outcome, check_file
from ..lora.examined import read_examined
from ..lora.values import find_odd_value
from ..models.base import Base, architecture_ids, base_by_name, read_base_model
from ..spelling.modules import read_modules
from ..stack import Entry
from .export import Subparsers
from .files import SUFFIX, find_given, progress, write
from .terminal import printable

FITS, MISFITS, UNUSABLE = 0, 1, 2
"""Exit codes: all are compatible; one is not, or in part only; one cannot be read."""


def add_check(subparsers: Subparsers) -> None:
    """Adds `lorchestra check`."""
    parser = subparsers.add_parser(
        "check",
        help="say whether LoRA files fit a model",
        description="Says whether each LoRA fits a model; only headers and alphas are read. "
        "Exit code: 0 all fit as a whole, 1 one does not, 2 something cannot be read.",
    )
    parser.add_argument("files", nargs="+", metavar="LORA|FOLDER", help="folders are searched for .safetensors files")
    parser.add_argument(
        "--model",
        required=True,
        metavar="CKPT|ARCHITECTURE",
        help="a checkpoint (.safetensors, the first of its shards, a diffusers folder, .gguf) or an id such as sdxl",
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array, one object a file")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the evidence under each file")
    parser.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    """Prints one line or object a file; raises `LorchestraError` if the model cannot be used."""
    base = read_model(args.model)
    given = find_given(args.files)
    if not args.json:
        is_file = base.architectures and base.title != base.name and Path(args.model).name == base.name
        write(printable(f"{base.name}, {with_article(base.title)} model" if is_file else base.name))
        for note in base.notes:
            print(printable(f"lorchestra: {base.name}: {note}"), file=sys.stderr)
    width = min(max((len(item.shown) for item in given), default=0), 48)
    code = FITS
    for number, item in enumerate(progress(given)):
        try:
            if item.problem:
                raise HeaderError(item.path, item.problem)
            outcome = _check(item.path, base)
            code = max(code, FITS if outcome.verdict == COMPATIBLE else MISFITS)
        except FileProblem as error:
            outcome = Outcome(Entry(item.path), BROKEN, error.reason)
            code = UNUSABLE
        if args.json:
            write(("[" if number == 0 else ",") + "\n" + json.dumps(to_json(item.path, outcome), indent=2))
            continue
        write(printable(f"{item.shown:{width}}  {outcome.verdict:12}  {outcome.sentence}".replace("\n", "?")))
        if args.verbose:
            for sentence in outcome.evidence:
                write(printable(f"    {sentence}".replace("\n", "?")))
    if args.json:
        write("\n]" if given else "[]")
    return code


def _check(path: str, base: Base) -> Outcome:
    examined = read_examined(path)
    if not examined.problem:
        odd = find_odd_value(examined.header, examined.reading.modules)
        if odd:
            return Outcome(Entry(path), BROKEN, AdapterError(path, *odd).reason)
    return check_file(examined, base)


def to_json(file: str, outcome: Outcome) -> dict[str, Any]:
    """All that `--json` says about a file."""
    return {
        "file": file,
        "verdict": outcome.verdict,
        "sentence": outcome.sentence,
        "applied": outcome.applied,
        "unmatched": outcome.unmatched,
        "misshapen": outcome.misshapen,
        "unused": outcome.unused,
        "made_for": list(outcome.made_for),
        "evidence": list(outcome.evidence),
    }


def read_model(name: str) -> Base:
    """The base in a file or folder, else the architecture with that id; raises `LorchestraError` in words."""
    if exists(name):
        base = read_base_model(name)
        is_one_file = is_file(name) and name.lower().endswith(SUFFIX)
        if is_one_file and not base.architectures and read_modules(read_header(name)).modules:
            raise CheckpointError(name, "this is a LoRA, not a model")
        return base
    base = base_by_name(name)
    if base is None:
        raise LorchestraError(unknown_model(name))
    return base


def unknown_model(name: str) -> str:
    """The sentence for a model that is neither a file nor an id."""
    close = difflib.get_close_matches(name[:100].casefold(), architecture_ids(), 4, 0.5)
    known = f"did you mean {', '.join(close)}?" if close else f"known ids: {', '.join(architecture_ids())}"
    return f"{quoted(name)} is neither a file nor the id of an architecture; {known}"
