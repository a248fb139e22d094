"""`lorchestra publish`: a workflow becomes an API of a running ComfyUI."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

from ..errors import FileProblem
from ..files.json_text import read_json
from ..files.opening import read_small
from ..limits import Json
from .export import Subparsers
from .remote import Remote, add_remote, path_of
from .terminal import printable

_MOST_BYTES = 32_000_000


def add_publish(subparsers: Subparsers) -> None:
    """Adds `lorchestra publish`."""
    parser = subparsers.add_parser(
        "publish",
        help="publish a workflow as an API of a running ComfyUI",
        description="Publishes a workflow, saved by the editor or in API form, under a name. Publishing again makes a "
        "new version; old ones stay callable as NAME@1. Prints what the workflow takes and where it is called.",
    )
    parser.add_argument("workflow", metavar="WORKFLOW.json")
    parser.add_argument("--name", required=True, help="1 to 64 small letters, digits, - and _")
    parser.add_argument("--description", help="a sentence for those who call it")
    add_remote(parser)
    parser.set_defaults(run=run_publish)


def run_publish(args: argparse.Namespace) -> int:
    """Runs `lorchestra publish`; raises `LorchestraError` with what is wrong."""
    data = read_small(Path(args.workflow), _MOST_BYTES, FileProblem)
    body: dict[str, Json] = {"workflow": read_json(data, args.workflow, size=_MOST_BYTES, values=500_000)}
    if args.description is not None:
        body["description"] = args.description
    made = Remote(args.url).put(path_of(args.name), body)
    print(printable(f"{made['name']}@{made['version']}  {made['urls']['jobs']}"))
    for item in cast("list[dict[str, Json]]", made["inputs"]):
        default = item.get("default")
        shown = f"  = {str(default)[:60]!r}" if default is not None else ""
        print(printable(f"  {item['name']}: {item['kind']}{shown}"))
    for note in made.get("notes", []):
        print(printable(f"note: {note}"))
    return 0
