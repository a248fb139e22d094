"""What happens to rows that cannot be applied; the words that nodes and prompts use for it."""

from __future__ import annotations

SKIP = "skip"
ERROR = "error"
MISSING_POLICIES = (ERROR, SKIP)
"""What happens to a row whose file is missing."""

REFUSE = "refuse"
WARN = "warn"
IGNORE = "ignore"
POLICIES = (REFUSE, WARN, IGNORE)
"""What happens to rows that do not fit: an error, or what fits of them is applied, with or without a warning."""
