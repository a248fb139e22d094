"""What Prometheus is told: counters and histograms that grow as jobs end, and gauges as they are when it asks.

Counters begin at 0 when the door does, as Prometheus expects. Labels have bounds: publications without their versions,
queues of base models that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ...limits import Json
from ..backend import WARMTHS, Ran
from ..job import CANCELED, FAILED, SUCCEEDED, Job
from .table import AWAY, DRAINING, READY

LOST = "lost"
GRAPHS, OTHERS = "(graphs)", "(others)"
"""Instead of a publication's name: jobs that sent a graph, and publications beyond `_MOST_WORKFLOWS`."""
_MOST_WORKFLOWS = 200
_MOST_QUEUES = 200
_SECONDS = (0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """All metrics of a door; safe for threads."""

    def __init__(self, status: Callable[[], Mapping[str, Json]]) -> None:
        self._registry = registry = CollectorRegistry()
        self._workflows: set[str] = set()
        self._ended = Counter("lorchestra_jobs_ended", "Jobs that ended", ["status"], registry=registry)
        self._waited = Histogram(
            "lorchestra_queue_wait_seconds", "How long jobs waited that began", buckets=_SECONDS, registry=registry
        )
        self._seconds = Histogram(
            "lorchestra_workflow_seconds", "How long jobs ran on their worker that succeeded", ["workflow"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._nodes = Counter("lorchestra_nodes", "Nodes of the jobs that ran", registry=registry)
        self._cached = Counter(
            "lorchestra_nodes_cached", "Of these, nodes that ComfyUI had in its cache", registry=registry
        )
        self._warm = Counter(
            "lorchestra_warm_jobs", "Jobs that ran, by what of their models ComfyUI still had loaded", ["loaded"],
            registry=registry,
        )  # fmt: skip
        for name in (SUCCEEDED, FAILED, CANCELED):
            self._ended.labels(name)
        for name in WARMTHS:
            self._warm.labels(name)
        registry.register(cast("Collector", _Gauges(status)))

    def count(self, job: Job, ran: Ran | None) -> None:
        """Counts a job that has ended, and what its run took."""
        self._ended.labels(job.status).inc()
        if job.started is not None:
            self._waited.observe(max(0.0, job.started - job.created))
        if ran is None:
            return
        self._nodes.inc(ran.nodes)
        self._cached.inc(ran.cached)
        if ran.warm is not None:
            self._warm.labels(ran.warm).inc()
        if job.status == SUCCEEDED:
            self._seconds.labels(self._label(job)).observe(ran.seconds)

    def text(self) -> bytes:
        """In Prometheus' text format 0.0.4. Not on the event loop."""
        return generate_latest(self._registry)

    def _label(self, job: Job) -> str:
        if job.workflow is None:
            return GRAPHS
        name = job.workflow.partition("@")[0]
        if name not in self._workflows and len(self._workflows) >= _MOST_WORKFLOWS:
            return OTHERS
        self._workflows.add(name)
        return name


class _Gauges:
    """What is there when Prometheus asks."""

    def __init__(self, status: Callable[[], Mapping[str, Json]]) -> None:
        self._status = status

    def describe(self) -> list[Metric]:
        """None beforehand: describing would ask the fleet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All gauges."""
        status = cast("dict[str, Any]", self._status())
        waiting: dict[str, int] = status["waiting"]
        jobs = GaugeMetricFamily(
            "lorchestra_jobs", "Jobs that wait and run, and that ended and are kept", labels=["status"]
        )
        now = {"queued": sum(waiting.values()), "running": status["running"], **status["ended"]["by_status"]}
        for name, count in now.items():
            jobs.add_metric([name], count)
        yield jobs
        queued = GaugeMetricFamily("lorchestra_queue_jobs", "Jobs that wait, by queue", labels=["queue"])
        longest = sorted(waiting, key=lambda queue: -waiting[queue])
        for queue in longest[:_MOST_QUEUES]:
            queued.add_metric([queue], waiting[queue])
        if longest[_MOST_QUEUES:]:
            queued.add_metric([OTHERS], sum(waiting[queue] for queue in longest[_MOST_QUEUES:]))
        yield queued
        age = GaugeMetricFamily("lorchestra_queue_age_seconds", "How long the job has waited that waits longest")
        age.add_metric([], status["ended"]["oldest_seconds"])
        yield age
        found: list[dict[str, Any]] = status["workers"]
        workers = GaugeMetricFamily("lorchestra_workers", "Workers by state", labels=["state"])
        for state in (READY, AWAY, DRAINING, LOST):
            workers.add_metric([state], sum(1 for one in found if one["state"] == state))
        yield workers
        free = GaugeMetricFamily(
            "lorchestra_worker_free_memory_bytes", "Memory that is free on a worker's first device", labels=["worker"]
        )
        for one in found:
            if isinstance(one["free_memory"], int):
                free.add_metric([one["id"]], one["free_memory"])
        yield free
