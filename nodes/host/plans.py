"""From the rows of a node to a plan for the MODEL and CLIP that are connected to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...lorchestra.apply.plan import Plan, make_plan
from ...lorchestra.library.listing import Listing
from ...lorchestra.stack import Stack
from . import files
from . import model as models


def make(
    stack: Stack,
    listing: Listing,
    model: Any,
    clip: Any | None,
    architectures: Callable[[], Sequence[str]] | None = None,
    **options: Any,
) -> Plan:
    """The plan of a stack whose files are among those that ComfyUI lists; `options` and errors as `make_plan`.

    `architectures` says what the MODEL is, where the caller knows it already.
    """
    return make_plan(
        stack,
        find=files.finder(listing),
        open_file=files.lora_cache().open,
        targets=models.targets(model, clip),
        fallback=lambda: models.fallback(model, clip),
        architectures=architectures or (lambda: models.architectures(model)),
        hidden=models.hidden(model),
        **options,
    )
