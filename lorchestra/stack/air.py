"""AIR, the identifier that hosted image services use for a model: `urn:air:{ecosystem}:{type}:{source}:{id}@{version}`.

Grammar: https://developer.civitai.com/docs/getting-started/ai-resource-identifier - `urn:`, `air:`, ecosystem and type
may be left out, so that `civitai:120096@135931` is one too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = r"[A-Za-z0-9_\-/]+"
_PATTERN = re.compile(
    rf"(?:urn:)?(?:air:)?(?:(?P<ecosystem>{_WORD}):)?(?:(?P<type>{_WORD}):)?"
    rf"(?P<source>{_WORD}):(?P<id>[A-Za-z0-9_\-.][A-Za-z0-9_\-/.]*)"
    rf"(?:@(?P<version>[A-Za-z0-9_\-/.]+))?(?:\+(?P<file>\d+))?",
    re.IGNORECASE | re.ASCII,
)
"""Example: `urn:air:sdxl:lora:civitai:120096@135931+4711`."""

_FORMATS = (".safetensors", ".safetensor", ".ckpt", ".pt", ".diffusers", ".gguf")


@dataclass(frozen=True, slots=True)
class Air:
    """One identifier, taken apart; parts that were not written are None."""

    source: str
    id: str
    version: str | None = None
    ecosystem: str | None = None
    type: str | None = None
    file: str | None = None

    @property
    def short(self) -> str:
        """`source:id@version`, the form that Runware takes."""
        return f"{self.source}:{self.id}" + (f"@{self.version}" if self.version else "")


def find_air(text: str) -> Air | None:
    """The identifier that `text` spells, or None.

    A file format at the end (`….safetensors`) is dropped. A Windows path such as `C:/loras/a.safetensors`, a web
    address and a bare file name are not identifiers.
    """
    if len(text) > 512 or ":" not in text:
        return None
    lower = text.lower()
    has_format = lower.endswith(_FORMATS)
    marked = lower.startswith(("urn:", "air:"))
    if has_format and "@" not in text and not marked:
        return None
    if has_format:
        text = text[: lower.rindex(".")]
    match = _PATTERN.fullmatch(text)
    if match is None or (len(match["source"]) == 1 and not marked):
        return None
    return Air(match["source"], match["id"], match["version"], match["ecosystem"], match["type"], match["file"])
