"""The words that nodes and prompts use for how a stack is applied."""

from __future__ import annotations

from dataclasses import dataclass

AUTO = "auto"
MERGE = "merge"
LIVE = "live"
MODES = (AUTO, MERGE, LIVE)
"""Merged into the weights, or live beside the layers; auto is live if a weight changes or the base is quantized."""

SKIP = "skip"
ERROR = "error"
MISSING_POLICIES = (ERROR, SKIP)
"""What happens to a row whose file is missing."""

REFUSE = "refuse"
WARN = "warn"
IGNORE = "ignore"
POLICIES = (REFUSE, WARN, IGNORE)
"""What happens to rows that do not fit: an error, or what fits of them is applied, with or without a warning."""

EACH_ALONE, EACH_LEFT_OUT = "each alone", "each left out"
WEIGHTS_OF_A_ROW, TWO_ROWS = "weights of a row", "two rows crossed"
COMPARISONS = (EACH_ALONE, EACH_LEFT_OUT, WEIGHTS_OF_A_ROW, TWO_ROWS)
"""What LoRA Variants and batches compare; `analysis/comparison.py` says what each is."""

STOP = "stop"
UNFIT = (STOP, SKIP)
"""What happens to a comparison one of whose LoRAs cannot be used: an error, or it is left out, and told."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person chose for a whole stack."""

    missing: str = ERROR
    """Of `MISSING_POLICIES`."""
    policy: str = REFUSE
    """Of `POLICIES`."""
    mode: str = AUTO
    """Of `MODES`."""

    @property
    def skips_missing(self) -> bool:
        """True if a row without its file is left out instead of refused."""
        return self.policy != REFUSE or self.missing == SKIP

    @property
    def takes_schedules(self) -> bool:
        """True if weights may change over the steps and with the conditioning; merging takes constant ones only."""
        return self.mode != MERGE
