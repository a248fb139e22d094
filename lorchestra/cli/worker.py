"""`lorchestra worker`: puts one ComfyUI behind the queue of `lorchestra serve`."""

from __future__ import annotations

import argparse

from ..errors import LorchestraError
from .export import Subparsers
from .fleet import add_fleet, open_fleet

_PATIENCE = 10.0


def add_worker(subparsers: Subparsers) -> None:
    """Adds `lorchestra worker`."""
    parser = subparsers.add_parser(
        "worker",
        help="put a ComfyUI behind the queue of lorchestra serve",
        description="Takes jobs from the queue, runs them on one ComfyUI, and keeps what they make. One for each "
        "ComfyUI, with the same --broker, --database and --files as the door. Ctrl-C or SIGTERM lets it finish its "
        "job first.",
    )
    parser.add_argument("--comfyui", default="http://127.0.0.1:8188", metavar="URL")
    parser.add_argument(
        "--drain", action="store_true", help="tells the worker of this ComfyUI to finish its job, then leave"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=_PATIENCE,
        metavar="SECONDS",
        help="how long the oldest job gives way to others whose base model and LoRAs are loaded; 0 takes jobs as they "
        f"came; default: {_PATIENCE:g}",
    )
    parser.add_argument(
        "--allow-other-nodes", action="store_true",
        help="join though this ComfyUI has other nodes than other workers: it gets the jobs that its nodes can run",
    )  # fmt: skip
    add_fleet(parser)
    parser.set_defaults(run=run_worker)


def run_worker(args: argparse.Namespace) -> int:
    """Runs `lorchestra worker` until it is told to leave; raises `LorchestraError` with what is wrong."""
    _, table, kept, app = open_fleet(args)
    from ..service.fleet.worker import Worker, drain

    if args.drain:
        print(f"{drain(table, args.comfyui)} finishes its job, and leaves")
        return 0
    if not 0 <= args.patience < float("inf"):
        raise LorchestraError(f"--patience {args.patience:g} is no time; expected seconds, 0 or more")
    worker = Worker(table, kept, app, args.comfyui, args.patience, args.allow_other_nodes)
    worker.join()
    print(worker.id, flush=True)
    return worker.run()
