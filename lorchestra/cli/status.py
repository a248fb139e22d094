"""`lorchestra status`: the workers of a fleet, what waits, and what is done in a minute."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .export import Subparsers
from .remote import URL_VARIABLE, Remote
from .terminal import printable

_URL = "http://127.0.0.1:8190"


def add_status(subparsers: Subparsers) -> None:
    """Adds `lorchestra status`."""
    parser = subparsers.add_parser(
        "status",
        help="workers, queues and rates of lorchestra serve",
        description="What the workers of lorchestra serve do, what waits, and what was done in the last minute.",
    )
    default = os.environ.get(URL_VARIABLE, _URL)
    parser.add_argument("--url", default=default, help=f"the door's address; default: {URL_VARIABLE}, else {_URL}")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run_status)


def run_status(args: argparse.Namespace) -> int:
    """Runs `lorchestra status`; raises `RemoteError` where there is no door."""
    status: dict[str, Any] = Remote(args.url).get("/fleet")
    if args.json:
        print(json.dumps(status, indent=1))
        return 0
    rows = [("WORKER", "STATE", "JOB", "WARM", "FREE", "LAST SEEN")]
    rows += [_row(worker) for worker in status["workers"]]
    for line in _table(rows):
        print(printable(line))
    for line in _remarks(status["workers"]):
        print(printable(line))
    waiting: dict[str, int] = status["waiting"]
    ended: dict[str, Any] = status["ended"]
    print(f"\nqueued {sum(waiting.values()):,}, the oldest for {ended['oldest_seconds']:.0f} s; ", end="")
    print(f"running {status['running']:,}; ended in the last minute {ended['last_minute']:,}")
    for queue, count in waiting.items():
        print(printable(f"  {queue}: {count:,}"))
    for name, (count, mean) in ended["by_workflow"].items():
        print(printable(f"  {name or 'graphs'}: {count:,} done, {mean or 0:.1f} s each"))
    return 0


def _row(worker: Mapping[str, Any]) -> tuple[str, ...]:
    free = worker["free_memory"]
    shown = f"{free / 2**30:.1f} GiB" if isinstance(free, int) else "?"
    return (
        worker["id"], worker["state"], (worker["job"] or "-")[:8], worker["warm"] or "-", shown,
        f"{worker['silent_seconds']:.0f} s ago",
    )  # fmt: skip


def _remarks(workers: Sequence[Mapping[str, Any]]) -> list[str]:
    """What an owner should know of workers: why one is away, and that versions differ."""
    found = [f"\n{worker['id']} is not used: {worker['problem']}" for worker in workers if worker["problem"]]
    versions: dict[str, list[str]] = {}
    for worker in workers:
        if worker["versions"]:
            versions.setdefault(worker["versions"], []).append(worker["id"])
    if len(versions) > 1:
        said = "; ".join(f"{version} at {', '.join(own)}" for version, own in sorted(versions.items()))
        found.append(f"\nVersions differ, and so may pictures: {said}")
    return found


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
