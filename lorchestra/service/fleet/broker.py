"""Celery, which wakes workers: a ticket in a queue says that an order of that queue waits, and no more.

Which order that is the table says, so that priorities are the same with every broker. A ticket too many finds nothing
and does no harm; one that was lost with a worker or a broker is sent again by the door.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import LorchestraError

App = Any
"""A Celery application, which has no types."""
TASK = "lorchestra.run"
MOST_TICKETS = 100
"""Of a queue. Where more orders wait, whoever takes one sends a ticket for the next."""
_ANEW = 75
"""The exit code for which a worker comes back; a signal's is another."""
_POLL_SECONDS = 0.1
"""Of the embedded broker: to list a folder in which little lies."""


class BrokerError(LorchestraError):
    """The broker cannot be reached."""


def make_app(url: str | None, folder: Path) -> App:
    """The application; without a URL its messages are files in a folder that all of this machine share."""
    app = import_module("celery").Celery("lorchestra", broker=url or "filesystem://", set_as_current=False)
    app.conf.update(
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        task_create_missing_queues=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_pool="solo",
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # RabbitMQ closes it under a job longer than its consumer_timeout
        broker_heartbeat=0,  # a solo worker does not answer while it works; the table has a heartbeat of ours
    )
    if url is None:
        messages = folder / "messages"
        messages.mkdir(parents=True, exist_ok=True)
        app.conf.broker_transport = f"{__package__}.tickets:Transport"
        app.conf.broker_transport_options = {"data_folder_in": str(messages), "polling_interval": _POLL_SECONDS}
    elif url.startswith("redis"):
        app.conf.broker_transport_options = {"socket_timeout": 20, "socket_connect_timeout": 5}
    return app


def send(app: App, queue: str) -> None:
    """Sends a ticket; raises `BrokerError`."""
    policy: dict[str, Any] = {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.2}
    try:
        app.send_task(TASK, (queue,), queue=queue, retry=True, retry_policy=policy)
    except Exception as error:  # each transport has errors of its own
        raise BrokerError(f"the broker does not answer ({error})") from error


def listen_anew() -> None:
    """Has this process's worker leave its broker, to come back: from another thread than the worker's."""
    state = _state()
    if state.should_stop is None:
        state.should_stop = _ANEW


def is_told_to_stop() -> bool:
    """Whether this process's worker was told by a signal to finish or to end at once, and not only to listen anew."""
    state = _state()
    if state.should_stop == _ANEW:
        state.should_stop = None
    return any(told is not None and told is not False for told in (state.should_stop, state.should_terminate))


def _state() -> Any:
    return import_module("celery.worker.state")
