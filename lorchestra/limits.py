"""Limits of what is read and kept, each written once; and the type of JSON data."""

from __future__ import annotations

from typing import Any

WEIGHT_LIMIT = 100.0
"""Weights lie in -WEIGHT_LIMIT … WEIGHT_LIMIT, as in ComfyUI's own LoRA loader."""
MAX_ROWS = 1000
"""Most rows of a stack."""
MAX_GROUPS = 200
"""Most groups of a stack."""
MAX_GROUP_NAME = 80
"""Longest name of a group, in characters."""
MAX_NAME = 1024
"""Longest LoRA name, in characters."""
MAX_WORDS = 64
"""Most trigger words that a row chooses."""
MAX_WORD = 500
"""Longest of them, in characters."""
MAX_TEXT = 4_000_000
"""Longest text of a stack or a request that is parsed, in characters; largest file of one, in bytes."""
MAX_PROMPT = 400_000
"""Longest prompt with LoRA tags in it, in characters."""
MAX_MEDIA = 50_000_000
"""Longest image, video or sound that a request has in it, in characters of base64."""
MAX_DEPTH = 64
"""How deep the values of unknown keys may be nested."""
MAX_VALUES = 200_000
"""Most objects, lists, keys, texts and numbers in the JSON of a stack, a request or a sidecar."""
MAX_NESTING = 100
"""How deep JSON may be nested."""

Json = Any
"""A value as `json.loads` gives it."""
