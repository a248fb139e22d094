"""The embedded broker: kombu's messages as files of a folder, which appear whole and are taken by one worker.

kombu's own transport writes a file where a worker may read it half, which ends that worker, and keeps exchanges in
files with the same fault. Here a message gets its name when it is written, and each queue is an exchange of its own, as
Celery makes it, so that there is nothing to keep.
"""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any, cast

from kombu.transport import filesystem  # pyright: ignore[reportMissingTypeStubs]

_END = ".msg"


class Channel(filesystem.Channel):
    """One client's messages."""

    @property
    def _folder(self) -> Path:
        return Path(str(cast("Any", self).data_folder_in))

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        new = self._folder / f".{uuid.uuid4()}"
        new.write_text(json.dumps(payload), encoding="utf-8")
        new.replace(self._folder / f"{time.time_ns():020}_{uuid.uuid4().hex}.{queue}{_END}")

    def _get(self, queue: str) -> Any:
        for name in self._names(queue):
            taken = self._folder / f".{uuid.uuid4()}"
            try:
                (self._folder / name).rename(taken)  # one succeeds
                text = taken.read_text(encoding="utf-8")
                taken.unlink()
                return json.loads(text)
            except (OSError, ValueError):  # somebody else was faster, or it is no message
                continue
        raise Empty

    def _names(self, queue: str) -> list[str]:
        """The files of a queue, the oldest first."""
        return sorted(path.name for path in self._folder.iterdir() if path.name.partition(".")[2] == f"{queue}{_END}")

    def _size(self, queue: str) -> int:
        return len(self._names(queue))

    def _purge(self, queue: str) -> int:
        names = self._names(queue)
        for name in names:
            (self._folder / name).unlink(missing_ok=True)
        return len(names)

    def get_table(self, exchange: str) -> list[tuple[str, str, str]]:
        """(routing key, pattern, queue) of an exchange: the queue of its name."""
        return [(exchange, "", exchange)]

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        return

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        self._purge(queue)


class Transport(filesystem.Transport):
    """The broker."""

    Channel = Channel
