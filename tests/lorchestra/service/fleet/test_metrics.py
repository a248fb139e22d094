"""What Prometheus is told after known jobs, as its own parser reads it."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from lorchestra.service.backend import Ran
from lorchestra.service.fleet.metrics import GRAPHS, OTHERS, Metrics
from lorchestra.service.job import Job

STATUS: dict[str, Any] = {
    "workers": [
        {"id": "gpu1", "state": "ready", "free_memory": 2**30},
        {"id": "gpu2", "state": "lost", "free_memory": None},
    ],
    "waiting": {f"base.{number}": number + 1 for number in range(203)},
    "running": 2,
    "ended": {"by_status": {"succeeded": 5}, "oldest_seconds": 12.5, "by_workflow": {}, "last_minute": 3},
}


def job(status: str, workflow: str | None = None, started: float | None = 104.0) -> Job:
    return Job("id", status, 100.0, 200.0, 8, started=started, workflow=workflow)


def test_what_prometheus_reads() -> None:
    metrics = Metrics(lambda: STATUS)
    metrics.count(job("succeeded", "portrait@1"), Ran(3.0, 8, 2, "base"))
    metrics.count(job("succeeded", "portrait@2"), Ran(40.0, 8, 6, "stack"))
    metrics.count(job("succeeded"), Ran(1.0, 2, 0, None))
    metrics.count(job("failed", "portrait@2"), Ran(1.0, 8, 0, "nothing"))
    metrics.count(job("canceled", started=None), None)
    families = list(text_string_to_metric_families(metrics.text().decode()))
    assert {one.name: one.type for one in families if not one.name.endswith("_created")} == {
        "lorchestra_jobs_ended": "counter", "lorchestra_queue_wait_seconds": "histogram",
        "lorchestra_workflow_seconds": "histogram", "lorchestra_nodes": "counter", "lorchestra_nodes_cached": "counter",
        "lorchestra_warm_jobs": "counter", "lorchestra_jobs": "gauge", "lorchestra_queue_jobs": "gauge",
        "lorchestra_queue_age_seconds": "gauge", "lorchestra_workers": "gauge",
        "lorchestra_worker_free_memory_bytes": "gauge",
    }  # fmt: skip
    assert all(one.documentation for one in families)
    found = {(sample.name, *sorted(sample.labels.values())): sample.value for one in families for sample in one.samples}
    expected = {
        ("lorchestra_jobs_ended_total", "succeeded"): 3,
        ("lorchestra_jobs_ended_total", "failed"): 1,
        ("lorchestra_jobs_ended_total", "canceled"): 1,
        ("lorchestra_queue_wait_seconds_count",): 4,
        ("lorchestra_queue_wait_seconds_sum",): 16,
        ("lorchestra_workflow_seconds_count", "portrait"): 2,
        ("lorchestra_workflow_seconds_sum", "portrait"): 43,
        ("lorchestra_workflow_seconds_bucket", "5.0", "portrait"): 1,
        ("lorchestra_workflow_seconds_count", GRAPHS): 1,
        ("lorchestra_nodes_total",): 26,
        ("lorchestra_nodes_cached_total",): 8,
        ("lorchestra_warm_jobs_total", "stack"): 1,
        ("lorchestra_warm_jobs_total", "base"): 1,
        ("lorchestra_warm_jobs_total", "nothing"): 1,
        ("lorchestra_jobs", "queued"): 203 * 102,
        ("lorchestra_jobs", "succeeded"): 5,
        ("lorchestra_queue_age_seconds",): 12.5,
        ("lorchestra_queue_jobs", OTHERS): 1 + 2 + 3,
        ("lorchestra_workers", "lost"): 1,
        ("lorchestra_worker_free_memory_bytes", "gpu1"): 2**30,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_labels_have_bounds() -> None:
    metrics = Metrics(lambda: STATUS)
    for number in range(300):
        metrics.count(job("succeeded", f"w{number}@1"), Ran(1, 1, 0, None))
    counts = {
        sample.labels["workflow"]: sample.value
        for one in text_string_to_metric_families(metrics.text().decode())
        for sample in one.samples
        if sample.name == "lorchestra_workflow_seconds_count"
    }
    assert len(counts) == 201 and counts[OTHERS] == 100
