"""`lorchestra serve`: one door in front of many ComfyUIs."""

from __future__ import annotations

import argparse
import socket
from typing import cast

from ..errors import LorchestraError
from ..files.opening import is_folder
from ..limits import Json
from ..workflow.publication import Publication
from .export import Subparsers
from .fleet import add_fleet, open_fleet
from .remote import Remote, path_of
from .terminal import printable

_LIMIT = 1800.0


def add_serve(subparsers: Subparsers) -> None:
    """Adds `lorchestra serve`."""
    parser = subparsers.add_parser(
        "serve",
        help="one address for published workflows on many ComfyUIs",
        description="The service of published workflows in front of a queue, with the same addresses as on one "
        "ComfyUI. Start a worker beside each ComfyUI: lorchestra worker. See docs/scale.md.",
    )
    parser.add_argument("--port", type=int, default=8190)
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="default: this machine only")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--publications", metavar="FOLDER", help="published workflows; default: a folder of its own")
    source.add_argument("--comfyui", metavar="URL", help="takes over what is published on this ComfyUI, at the start")
    parser.add_argument(
        "--limit", type=float, default=_LIMIT, metavar="SECONDS", help=f"longest run of a job; default: {_LIMIT:g}"
    )
    add_fleet(parser)
    parser.set_defaults(run=run_serve)


def run_serve(args: argparse.Namespace) -> int:
    """Runs `lorchestra serve` until it is ended; raises `LorchestraError` with what is wrong."""
    folder, table, kept, app = open_fleet(args)
    from dataclasses import replace
    from pathlib import Path

    from aiohttp import web

    from ..service.fleet.door import Door

    if args.limit <= 0:
        raise LorchestraError(f"--limit {args.limit:g} is no time; expected seconds")
    published = Path(args.publications) if args.publications else folder.places.published
    if args.publications and not is_folder(published):
        raise LorchestraError(f"there is no folder {published}")
    door = Door(replace(folder.places, published=published), table, kept, app, args.limit)
    for line in _take_over(args.comfyui, door) if args.comfyui else ():
        print(printable(line))
    # Bound here, so that a taken port is a sentence.
    listening = socket.socket(socket.AF_INET6 if ":" in args.listen else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((args.listen, args.port))
        listening.listen(128)
    except OSError as error:
        raise LorchestraError(f"port {args.port} of {args.listen} cannot be used ({error.strerror})") from error
    host, port = listening.getsockname()[:2]
    print(f"http://{host}:{port}/lorchestra", flush=True)
    web.run_app(door.make_app(), sock=listening, print=lambda *_: None, access_log=None, shutdown_timeout=2)
    return 0


def _take_over(url: str, door: object) -> list[str]:
    """What a ComfyUI has published is published here, in the same versions; a line for each that is new."""
    from ..service.fleet.door import Door

    publications = cast("Door", door).service.publications
    remote, lines = Remote(url), list[str]()
    listed = cast("list[dict[str, Json]]", remote.get("/workflows")["workflows"])
    for one in listed:
        name = str(one["name"])
        versions = cast("list[int]", remote.get(path_of(name))["versions"])
        for version in versions:
            made = Publication.from_json(remote.get(path_of(f"{name}@{version}")))
            if publications.keep(made):
                lines.append(f"{name}@{version}")
    return lines
