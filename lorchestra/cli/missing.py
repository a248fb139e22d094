"""`lorchestra missing`: the LoRAs of a workflow that are not on this machine, and where to get them."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..architectures.ecosystems import find_families
from ..errors import StackError
from ..files.json_text import read_json
from ..files.opening import read_small
from ..library.catalog import Library
from ..library.finder import Finder
from ..library.resolve import resolve
from ..stack.wanted import wanted_of
from ..workflow.loras import Use, find_uses
from .export import Subparsers
from .find import candidates
from .shelf import add_catalog, open_shelf, read_all, tell_problem
from .terminal import printable

COMPLETE, INCOMPLETE = 0, 1
MOST_BYTES = 64_000_000
_MOST_VALUES = 5_000_000


def add_missing(subparsers: Subparsers) -> None:
    """Adds `lorchestra missing`."""
    parser = subparsers.add_parser(
        "missing",
        help="list the LoRAs that a workflow lacks here",
        description="Lists the LoRAs of a workflow (saved by the editor, or in API form) that are not found here, with "
        "hash, AIR, the page to get them from, and files that may be the ones. Nothing is downloaded. Exit code: 0 all "
        "are there, 1 some are missing.",
    )
    parser.add_argument("workflow", metavar="WORKFLOW.json")
    parser.add_argument("--json", action="store_true", help="print a JSON array, one object a missing LoRA")
    add_catalog(parser)
    parser.set_defaults(run=run_missing)


def run_missing(args: argparse.Namespace) -> int:
    """Prints a table or an array of what is missing."""
    text = read_small(args.workflow, MOST_BYTES).decode("utf-8-sig", "replace")
    workflow = read_json(text, "the workflow", size=MOST_BYTES, values=_MOST_VALUES)
    uses = [use for use in find_uses(workflow) if use.entry.active]
    shelf = open_shelf(args)
    read_all(shelf.loras)
    finder = shelf.loras.finder()
    answers = [answer for use in uses if (answer := _missing(finder, shelf.loras, use))]
    if args.json:
        print(json.dumps(answers, indent=2, ensure_ascii=False))
    elif answers:
        print(f"{len(answers)} of {len(uses)} LoRAs are missing:")
        for answer in answers:
            print(printable("\n".join(_lines(answer))))
    else:
        print(f"all {len(uses)} LoRAs are there" if uses else "the workflow has no LoRAs")
    tell_problem(shelf)
    return INCOMPLETE if answers else COMPLETE


def _missing(finder: Finder, loras: Library, use: Use) -> dict[str, Any] | None:
    """What is known of a LoRA that is not found; None for one that is."""
    wanted = wanted_of(use.entry)
    why = "not found"
    try:
        if resolve(wanted, loras, finder.listing):
            return None
    except StackError as error:
        why = error.reason
    return {
        "lora": use.entry.lora,
        "row": use.row,
        "node": use.node,
        "sha256": use.entry.sha256,
        "air": wanted.air.short if wanted.air else None,
        "page": wanted.air.page if wanted.air else None,
        "made_for": find_families(wanted.air.ecosystem) if wanted.air else [],
        "why": why,
        "candidates": candidates(finder, loras, wanted),
    }


def _lines(answer: dict[str, Any]) -> list[str]:
    lines = [f"{answer['lora']} (node {answer['node']}, row {answer['row']})"]
    if answer["why"] != "not found":
        lines.append(f"  {answer['why']}")
    lines += [f"  {key:<7} {answer[key]}" for key in ("air", "sha256", "page") if answer[key]]
    lines += [f"  for     {', '.join(answer['made_for'])}"] if answer["made_for"] else []
    lines += [f"  maybe   {item['path']}  ({item['why']})" for item in answer["candidates"]]
    return lines
