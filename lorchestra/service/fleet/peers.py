"""The other workers, as one of them sees them: whether its ComfyUI has the same nodes and versions as theirs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...errors import LorchestraError
from .interfaces import Interfaces, find_difference
from .table import READY, Beat, Table

_LOOKS, _LOOK_SECONDS = 5, 0.6
"""How often it is looked whether another worker lives, which counts once in half a second."""


class WorkerRefused(LorchestraError):
    """A worker that cannot work beside the others."""


class Peers:
    """The other workers of a fleet."""

    def __init__(self, table: Table, own: str) -> None:
        self._table, self._own = table, own

    def require_same_nodes(self, url: str, nodes: Interfaces, only_before: bool = False) -> None:
        """Raises `WorkerRefused` where a worker that works has other nodes, with the difference; and `TableError`.

        Those that may have other nodes do not count. With `only_before` these do that come first by their names: so
        that of two who came at the same moment one gives way.
        """
        others = [
            beat
            for beat in self._table.workers()
            if beat.id != self._own and beat.state == READY and not beat.facts.get("allows_other_nodes")
            and beat.facts.get("interfaces") not in (None, nodes.key) and not (only_before and beat.id > self._own)
        ]  # fmt: skip
        for beat in self._alive(others):
            difference = find_difference(nodes, Interfaces(self._table.info(beat.id)[0]))
            if difference is not None:
                raise WorkerRefused(
                    f"the ComfyUI at {url} has other nodes than that of the worker {beat.id}: {difference}. Install "
                    "the same packs and the same ComfyUI for both, or start this worker with --allow-other-nodes: then "
                    "it gets the jobs that its nodes can run."
                )

    def find_other_versions(self, versions: str) -> str | None:
        """A sentence where a worker's ComfyUI is of another version; None where all are of the same."""
        beats = [beat for beat in self._table.workers() if beat.id != self._own]
        others = self._alive([beat for beat in beats if beat.facts.get("versions") not in (None, versions)])
        if not others:
            return None
        said = others[0].facts["versions"]
        return f"this worker has {versions}, and {others[0].id} has {said}: their pictures may differ"

    def _alive(self, beats: Sequence[Beat]) -> list[Beat]:
        """Those that count on; of workers that were killed the last word stands for a while."""
        if not beats:
            return []
        before = {beat.id: beat.beat for beat in beats}
        found: set[str] = set()
        for _ in range(_LOOKS):
            time.sleep(_LOOK_SECONDS)
            found |= {beat.id for beat in self._table.workers() if before.get(beat.id, beat.beat) != beat.beat}
            if len(found) == len(beats):
                break
        return [beat for beat in beats if beat.id in found]
