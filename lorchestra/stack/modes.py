"""How LoRAs are applied to a model; the words that nodes and prompts use for it."""

from __future__ import annotations

AUTO = "auto"
MERGE = "merge"
LIVE = "live"
MODES = (AUTO, MERGE, LIVE)
"""Merged into the weights, or live beside the layers; auto is live where a weight changes or the base is quantized."""
