"""What `serve` and `worker` share: where a fleet keeps its files, its broker and its database."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LorchestraError

if TYPE_CHECKING:
    from ..service.fleet.broker import App
    from ..service.fleet.door import Folder
    from ..service.fleet.kept import Kept
    from ..service.fleet.table import Table

_PACKAGES = ("aiohttp", "celery", "fsspec", "jsonschema", "kombu", "prometheus_client", "redis", "sqlalchemy")
_BROKER, _DATABASE, _FOLDER = "LORCHESTRA_BROKER", "LORCHESTRA_DATABASE", "LORCHESTRA_FOLDER"
_FILES = "LORCHESTRA_FILES"


class MissingPackage(LorchestraError):
    """A package of the extra is missing."""


def add_fleet(parser: argparse.ArgumentParser) -> None:
    """Adds the options that door and workers must have in common."""
    parser.add_argument(
        "--folder",
        default=os.environ.get(_FOLDER, str(Path.home() / ".lorchestra")),
        help=f"where files of this machine are kept; default: {_FOLDER}, else ~/.lorchestra",
    )
    parser.add_argument(
        "--broker",
        default=os.environ.get(_BROKER),
        metavar="URL",
        help=f"redis://… or amqp://… for workers on other machines; default: {_BROKER}, else files in the folder",
    )
    parser.add_argument(
        "--database",
        default=os.environ.get(_DATABASE),
        metavar="URL",
        help=f"such as postgresql+psycopg://…; default: {_DATABASE}, else an SQLite file in the folder",
    )
    parser.add_argument(
        "--files",
        default=os.environ.get(_FILES),
        metavar="URL",
        help=f"where results are kept: a folder that all see, or an fsspec URL such as s3://…; default: {_FILES}, else "
        "the folder",
    )


def open_fleet(args: argparse.Namespace) -> tuple[Folder, Table, Kept, App]:
    """Folder, table, files and broker; raises `LorchestraError` with what is missing or wrong."""
    try:
        from ..service.fleet import broker, door, kept, logs, table
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _PACKAGES:
            raise
        raise MissingPackage(
            f'the package {error.name} is missing. Install what many ComfyUIs need: pip install "lorchestra[serve]"'
        ) from error
    if args.broker and not args.database:
        raise LorchestraError(
            "with --broker, door and workers share a database too: add --database, such as "
            "postgresql+psycopg://user@host/lorchestra, or sqlite:////folder/fleet.sqlite where all are on one machine"
        )
    logs.begin_logs()
    folder = door.Folder(Path(args.folder).expanduser())
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        app = broker.make_app(args.broker, folder.broker)
    except OSError as error:
        raise LorchestraError(f"the folder {folder.path} cannot be made ({error.strerror})") from error
    opened = table.Table(args.database or folder.database)
    opened.make()
    return folder, opened, kept.Kept(args.files or folder.files, folder.cache), app
