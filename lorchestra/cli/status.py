"""`lorchestra status`: the workers of a fleet, what they have loaded, what waits, and what is done in a minute."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..errors import LorchestraError, shortened
from .export import Subparsers
from .remote import URL_VARIABLE, Remote, RemoteError
from .terminal import printable

_URL = "http://127.0.0.1:8190"
_WIDTH = 100
_MOST_ROWS = 20
_CLEAR = "\x1b[H\x1b[2J"


def add_status(subparsers: Subparsers) -> None:
    """Adds `lorchestra status`."""
    parser = subparsers.add_parser(
        "status",
        help="workers, queues and rates of lorchestra serve",
        description="What the workers of lorchestra serve do and have loaded, what waits, and what was done lately.",
    )
    default = os.environ.get(URL_VARIABLE, _URL)
    parser.add_argument("--url", default=default, help=f"the door's address; default: {URL_VARIABLE}, else {_URL}")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="again and again, until Ctrl-C")
    parser.set_defaults(run=run_status)


def run_status(args: argparse.Namespace) -> int:
    """Runs `lorchestra status`; raises `RemoteError` where there is no door."""
    if args.watch is None:
        print(_shown(args))
        return 0
    if not 0 < args.watch < float("inf"):
        raise LorchestraError(f"--watch {args.watch:g} is no time; expected seconds")
    while True:
        try:
            shown = _shown(args)
        except RemoteError as error:  # it may be there again
            shown = printable(str(error))
        print((_CLEAR if sys.stdout.isatty() else "") + shown, flush=True)
        time.sleep(args.watch)


def _shown(args: argparse.Namespace) -> str:
    status: dict[str, Any] = Remote(args.url).get("/fleet")
    return json.dumps(status, indent=1) if args.json else printable("\n".join(lines_of(status)))


def lines_of(status: Mapping[str, Any]) -> Iterator[str]:
    """The status in lines of at most 100 characters."""
    workers: Sequence[Mapping[str, Any]] = status["workers"]
    rows = [("WORKER", "STATE", "JOB", "DONE", "/MIN", "FREE", "LOADED"), *map(_worker, workers)]
    yield from _table(rows, right=(3, 4, 5))
    yield from _remarks(workers)
    waiting: Mapping[str, int] = status["waiting"]
    ended: Mapping[str, Any] = status["ended"]
    yield ""
    yield (
        f"queued {sum(waiting.values()):,}, the oldest for {_span(ended['oldest_seconds'])}; running "
        f"{status['running']:,}; ended in the last minute {ended['last_minute']:,}"
    )
    yield from _hits(workers)
    if waiting:
        bases: Mapping[str, str] = status.get("bases", {})
        queues = sorted(waiting, key=lambda queue: -waiting[queue])
        yield ""
        rows = [("QUEUED", "BASE MODEL"), *((f"{waiting[queue]:,}", _queue(queue, bases)) for queue in queues)]
        yield from _table(_first(rows), right=(0,))
    workflows: Mapping[str, Any] = ended["by_workflow"]
    if workflows:
        yield ""
        found = sorted(workflows.items(), key=lambda item: -item[1][0])
        rows = [("DONE", "EACH", "WORKFLOW")]
        rows += [(f"{count:,}", f"{mean or 0:.1f} s", name or "graphs") for name, (count, mean) in found]
        yield from _table(_first(rows), right=(0, 1))


def _worker(worker: Mapping[str, Any]) -> tuple[str, ...]:
    free, silent = worker["free_memory"], worker["silent_seconds"]
    own, state = worker["id"], worker["state"]
    name = own if len(own) <= 28 else f"…{own[-27:]}"  # the port at its end tells workers of one machine apart
    loaded = PurePosixPath((worker["warm"] or "-").replace("\\", "/")).stem or "-"
    loaded += f" + {worker['warm_loras']}" if worker.get("warm_loras") else ""
    return (
        name, state if silent < 5 else f"{state} {_span(silent)}", (worker["job"] or "-")[:8],
        f"{worker.get('done') or 0:,}", f"{worker.get('last_minute') or 0:,}",
        f"{free / 2**30:.1f} GiB" if isinstance(free, int) else "?", loaded,
    )  # fmt: skip


def _hits(workers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What need not be loaded anew, of the jobs of these workers since they began."""
    by_warm: list[Mapping[str, int]] = [worker.get("by_warm") or {} for worker in workers]
    counts = {name: sum(one.get(name, 0) for one in by_warm) for name in ("stack", "base", "nothing")}
    jobs, nodes = sum(counts.values()), sum(worker.get("nodes") or 0 for worker in workers)
    if jobs and nodes:
        cached = sum(worker.get("nodes_cached") or 0 for worker in workers)
        parts = {name: f"{100 * count / jobs:.0f} %" for name, count in counts.items()}
        yield (
            f"loaded already: base model and LoRAs for {parts['stack']} of jobs, the base model for {parts['base']}; "
            f"nodes cached {100 * cached / nodes:.0f} %"
        )


def _queue(queue: str, bases: Mapping[str, str]) -> str:
    if queue == "any":
        return "(none)"
    if queue == "route":
        return "(looks for a worker)"
    start, _, own = queue.partition(".")
    return f"(only {own})" if start == "worker" else bases.get(queue, own)


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _first(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The head and so many rows, and that there are more."""
    left = len(rows) - 1 - _MOST_ROWS
    return list(rows) if left <= 0 else [*rows[: 1 + _MOST_ROWS], (*("",) * (len(rows[0]) - 1), f"… {left:,} more")]


def _remarks(workers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What an owner should know of workers: why one is away, and that versions differ."""
    for worker in workers:
        if worker.get("problem"):
            yield f"{worker['id']} is not used: {worker['problem']}"
    versions: dict[str, list[str]] = {}
    for worker in workers:
        if worker.get("versions"):
            versions.setdefault(worker["versions"], []).append(worker["id"])
    if len(versions) > 1:
        said = "; ".join(f"{version} at {', '.join(own)}" for version, own in sorted(versions.items()))
        yield f"Versions differ, and so may pictures: {said}"


def _table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Columns side by side; the last one is cut where the line ends."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            text.rjust(width) if number in right else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield shortened("  ".join(cells).rstrip(), _WIDTH)
