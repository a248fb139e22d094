"""One worker for each ComfyUI: a second one would take the first one's jobs for lost."""

from __future__ import annotations

import time

from .former import is_local, is_same
from .table import Beat, Table

_LOOKS, _LOOK_SECONDS = 8, 0.25
"""How often it is looked whether a worker lives, which counts once in half a second."""


def find_twin(table: Table, own: str, url: str, host: str) -> str | None:
    """The worker of this ComfyUI that is alive already; None if there is none. Takes two seconds where there was one.

    One that was killed does not beat any more. `host` is this machine: `127.0.0.1` is another ComfyUI on each.
    """
    before = {beat.id: beat.beat for beat in table.workers() if _is_twin(beat, own, url, host)}
    for _ in range(_LOOKS if before else 0):
        time.sleep(_LOOK_SECONDS)
        for beat in table.workers():
            if before.get(beat.id, beat.beat) != beat.beat:
                return beat.id
    return None


def _is_twin(beat: Beat, own: str, url: str, host: str) -> bool:
    return beat.id == own or (
        is_same(str(beat.facts.get("url")), url) and (not is_local(url) or beat.facts.get("host") == host)
    )
