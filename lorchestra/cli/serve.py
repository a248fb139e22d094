"""`lorchestra serve`: one door in front of many ComfyUIs."""

from __future__ import annotations

import argparse
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, cast

from ..errors import LorchestraError
from ..files.opening import is_folder
from ..limits import Json
from ..workflow.publication import Publication
from .export import Subparsers
from .fleet import add_fleet, open_fleet
from .remote import Remote, path_of
from .terminal import printable

if TYPE_CHECKING:
    from ..service.publications import Publications

_LIMIT = 1800.0
_TAKE_SECONDS = 60.0
"""Between two looks at what a ComfyUI has published."""
_LOGGER = logging.getLogger("lorchestra.fleet")


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
    source.add_argument("--comfyui", metavar="URL", help="takes over what is published on this ComfyUI, now and later")
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
    if args.comfyui:
        source = Source(args.comfyui, door.service.publications)
        for reference in source.take():
            print(printable(reference))
        source.follow()
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


class Source:
    """A ComfyUI whose published workflows are published here, too, in the same versions."""

    def __init__(self, url: str, publications: Publications) -> None:
        self._remote = Remote(url)
        self._publications = publications
        self._seen: set[str] = set()
        """What was taken or was here already; what is removed here later stays removed."""

    def take(self) -> list[str]:
        """Takes what was published since the last time; raises `RemoteError`. Gives what is new here, as `name@3`."""
        lines: list[str] = []
        for one in cast("list[dict[str, Json]]", self._remote.get("/workflows")["workflows"]):
            name = str(one["name"])
            if f"{name}@{one['version']}" in self._seen:
                continue
            for version in cast("list[int]", self._remote.get(path_of(name))["versions"]):
                reference = f"{name}@{version}"
                if reference not in self._seen:
                    made = Publication.from_json(self._remote.get(path_of(reference)))
                    lines += [reference] if self._publications.keep(made) else []
                    self._seen.add(reference)
        return lines

    def follow(self) -> None:
        """Takes again and again, in a thread of its own; a ComfyUI that is away is asked again."""
        threading.Thread(target=self._follow, name="lorchestra-source", daemon=True).start()

    def _follow(self) -> None:
        told = ""
        while True:
            time.sleep(_TAKE_SECONDS)
            try:
                for reference in self.take():
                    _LOGGER.info("%s was published at the ComfyUI, and is here now", reference)
                told = ""
            except (LorchestraError, LookupError, TypeError) as error:
                if str(error) != told:
                    _LOGGER.warning("what the ComfyUI has published is not known: %s", error)
                told = str(error)
