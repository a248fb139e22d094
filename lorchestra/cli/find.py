"""`lorchestra find`: the file that an AIR, a hash or a name means, a LoRA or a model."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..files.hashes import find_hash
from ..library.catalog import Library
from ..library.finder import Finder
from ..stack import Entry
from ..stack.wanted import Wanted, wanted_of
from .export import Subparsers
from .shelf import add_catalog, open_shelf, read_all, tell_problem
from .terminal import printable

FOUND, NOT_FOUND = 0, 1


def add_find(subparsers: Subparsers) -> None:
    """Adds `lorchestra find`."""
    parser = subparsers.add_parser(
        "find",
        help="find a LoRA or a model by AIR, hash or name",
        description="Finds LoRAs, checkpoints and diffusion models by AIR (civitai:120096@135931), by hash (SHA-256, "
        "AutoV1, AutoV2, AutoV3, BLAKE3, CRC32) or by name; never by a part of a name. Hashes are known of files that "
        "were hashed (`lorchestra index --models --hash`) or whose sidecar says them. With --folder, LoRAs alone. Exit "
        "code: 0 found, 1 not found.",
    )
    parser.add_argument("wanted", metavar="AIR|HASH|NAME")
    parser.add_argument("--json", action="store_true", help="print a JSON array, one object a file")
    add_catalog(parser)
    parser.set_defaults(run=run_find)


def run_find(args: argparse.Namespace) -> int:
    """Prints one line or object a file, the likeliest first."""
    shelf = open_shelf(args)
    wanted = wanted_of(Entry(args.wanted))
    if wanted.is_path and (digits := find_hash(args.wanted)):
        wanted = Wanted(args.wanted, digits)  # a short hash, or the name of a file: both are looked for
    answers: list[dict[str, Any]] = []
    for library in (shelf.loras, *shelf.models):
        read_all(library)
        found = candidates(library.finder(), library, wanted)
        answers += found if library is shelf.loras else [{**answer, "folder": library.folder} for answer in found]
    if args.json:
        print(json.dumps(answers, indent=2, ensure_ascii=False))
    for answer in [] if args.json else answers:
        where = f", in {answer['folder']}" if "folder" in answer else ""
        print(printable(f"{answer['path']}  ({answer['why']}{where})"))
    if not answers and not args.json:
        print(printable(f"no LoRA {'and no model ' if shelf.models else ''}here is known as {args.wanted}"))
    tell_problem(shelf)
    return FOUND if answers else NOT_FOUND


def candidates(finder: Finder, loras: Library, wanted: Wanted) -> list[dict[str, Any]]:
    """The files that may be meant, each with path, SHA-256, AIR and why."""
    found = finder.find_wanted(wanted).candidates
    why = {item.name: item.why for item in found}
    answers: list[dict[str, Any]] = []
    for file in sorted(loras.files(why), key=lambda file: list(why).index(file.name)):
        facts = loras.find_facts(file)
        answers.append(
            {
                "path": file.path,
                "sha256": facts.sha256 if facts else None,
                "air": facts.air if facts else None,
                "why": why[file.name],
            }
        )
    return answers
