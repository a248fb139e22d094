"""What a live stack says of itself to nodes after it: its rows, without tensors."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from ....lorchestra.apply.plan import Plan
from ....lorchestra.stack import Stack
from ..protocols import Patcher


@dataclass(frozen=True, slots=True)
class LiveRows:
    """An attachment of a ModelPatcher, under the key of its stack."""

    stack: Stack
    """The rows that do something, named by the paths of their files."""
    layers: frozenset[str]
    """Paths of the layers beside which they work; what is merged stands in the patches."""


def say(model: Patcher, key: str, plan: Plan, layers: Collection[str]) -> None:
    """Attaches the rows of a plan."""
    paths = {row: item.file.path for item in plan.chosen for row in item.rows}
    rows = [replace(told.entry, lora=paths[told.row]) for told in plan.outcomes if told.row in paths]
    model.set_attachments(key, LiveRows(Stack(tuple(rows)), frozenset(layers)))


def read_live(model: Patcher) -> Iterator[LiveRows]:
    """Of all live stacks of a MODEL, in the order in which they came."""
    for key, attachment in model.attachments.items():
        if isinstance(attachment, LiveRows) and key in model.additional_models:
            yield attachment
