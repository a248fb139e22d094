"""Signals and ends as JSON, for the way from a worker to the door."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...limits import Json
from ..backend import Cached, Ended, Failure, Made, NodeState, Previewed, Produced, Ran, Signal, Started, Stepped


def signal_to_json(signal: Signal) -> dict[str, Json] | None:
    """A signal of a job that runs; None for one that the door finds out by itself."""
    match signal:
        case Started(job=job):
            return {"kind": "started", "job": job}
        case Cached(job=job, nodes=nodes):
            return {"kind": "cached", "job": job, "nodes": list(nodes)}
        case Stepped(job=job, nodes=nodes):
            states = {node: [one.value, one.most, one.is_done] for node, one in nodes.items()}
            return {"kind": "stepped", "job": job, "nodes": states}
        case Previewed(job=job, node=node, content_type=content_type, data=data):
            text = base64.b64encode(data).decode()
            return {"kind": "previewed", "job": job, "node": node, "content_type": content_type, "data": text}
        case _:
            return None


def signal_from_json(data: Mapping[str, Any]) -> Signal | None:
    """What `signal_to_json` gave; None for a kind that is not known."""
    job = str(data.get("job"))
    match data.get("kind"):
        case "started":
            return Started(job)
        case "cached":
            return Cached(job, tuple(data["nodes"]))
        case "stepped":
            return Stepped(job, {node: NodeState(*state) for node, state in data["nodes"].items()})
        case "previewed":
            return Previewed(job, data["node"], data["content_type"], base64.b64decode(data["data"]))
        case "produced":
            return Produced(job, tuple(Made(**made) for made in data["files"]))
        case _:
            return None


def end_to_json(ended: Ended) -> dict[str, Json]:
    """How a job ended."""
    return {
        "files": [asdict(made) for made in ended.files],
        "was_canceled": ended.was_canceled,
        "failure": None if ended.failure is None else asdict(ended.failure),
        "ran": None if ended.ran is None else asdict(ended.ran),
    }


def end_from_json(job: str, data: Mapping[str, Any]) -> Ended:
    """What `end_to_json` gave."""
    failure = data["failure"]
    files = tuple(Made(**made) for made in data["files"])
    ran = data.get("ran")  # orders that end without a run have none
    return Ended(
        job, files, data["was_canceled"], None if failure is None else Failure(**failure), Ran(**ran) if ran else None
    )
