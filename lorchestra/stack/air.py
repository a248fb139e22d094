"""AIR, the identifier that hosted image services use for a model.

Grammar: `urn:air:{ecosystem}:{type}:{source}:{id}[@{version}][+{file}][.{format}]`
(https://developer.civitai.com/docs/getting-started/ai-resource-identifier). `urn:`, `air:`, ecosystem and type may be
left out, so that `civitai:120096@135931` is one too. The first draft of the grammar had a layer, `@{version}:{layer}`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

_WORD = r"[A-Za-z0-9_\-/]+"
_PATTERN = re.compile(
    rf"(?:urn:)?(?:air:)?(?:(?P<ecosystem>{_WORD}):)?(?:(?P<type>{_WORD}):)?"
    rf"(?P<source>{_WORD}):(?P<id>[A-Za-z0-9_\-.][A-Za-z0-9_\-/.]*)"
    rf"(?:@(?P<version>[A-Za-z0-9_\-/.]+))?(?::(?P<layer>[A-Za-z0-9_\-]+))?(?:\+(?P<file>\d+))?",
    re.IGNORECASE | re.ASCII,
)
"""Example: `urn:air:sdxl:lora:civitai:120096@135931+4711`."""

_FORMATS = (".safetensors", ".safetensor", ".ckpt", ".pt", ".diffusers", ".gguf")
LORA_TYPES = frozenset({"lora", "lycoris", "dora"})
CHECKPOINT_TYPES = frozenset({"checkpoint", "model", "unet", "diffusionmodel"})
"""`model` is the first draft's word."""
_OTHER_TYPES = frozenset(
    {
        "embedding", "hypernet", "ag", "motion", "upscaler", "vae", "controlnet", "text_encoders", "textencoder",
        "clipvision", "clip", "visionlanguage", "unknown",
    }
)  # fmt: skip
_TYPES = LORA_TYPES | CHECKPOINT_TYPES | _OTHER_TYPES
"""Source: civitai/civitai, `src/shared/utils/air.ts`."""


@dataclass(frozen=True, slots=True)
class Air:
    """One identifier, taken apart; parts that were not written are None."""

    source: str
    id: str
    version: str | None = None
    ecosystem: str | None = None
    type: str | None = None
    file: str | None = None
    """Number of one file of the version."""
    format: str | None = None
    """`safetensors`."""
    layer: str | None = None
    """A part of the model; no longer in the grammar, and in identifiers that were written before."""

    @property
    def short(self) -> str:
        """`source:id@version`, the form that Runware takes."""
        return f"{self.source}:{self.id}" + (f"@{self.version}" if self.version else "")

    @property
    def key(self) -> str:
        """The short form by which files are looked up: case does not matter."""
        return self.short.lower()

    @property
    def urn(self) -> str | None:
        """The long form; None if ecosystem or type are not known, which it must have."""
        if not self.ecosystem or not self.type:
            return None
        ends = (self.layer and f":{self.layer}", self.file and f"+{self.file}", self.format and f".{self.format}")
        return f"urn:air:{self.ecosystem}:{self.type}:{self.short}" + "".join(end for end in ends if end)

    @property
    def page(self) -> str | None:
        """The address of the page that people get it from, where the source is known to have one."""
        source = self.source.lower()
        if source == "civitai" and self.id.isdecimal():
            version = f"?modelVersionId={self.version}" if (self.version or "").isdecimal() else ""
            return f"https://civitai.com/models/{self.id}{version}"
        if source == "huggingface" and self.id.count("/") == 1 and ".." not in self.id:
            return f"https://huggingface.co/{quote(self.id)}"
        return None

    def names(self, other: Air) -> bool:
        """Whether this may name what the other one does.

        Case does not matter. A version, a file or a type that one of them does not say is no difference; ecosystems
        are none in any case, because writers have several words for one.
        """
        if (self.source.lower(), self.id.lower()) != (other.source.lower(), other.id.lower()):
            return False
        pairs = ((self.version, other.version), (self.file, other.file), (_kind(self.type), _kind(other.type)))
        return all(not one or not two or one.lower() == two.lower() for one, two in pairs)


def _kind(word: str | None) -> str | None:
    """One word for those that mean the same kind of file."""
    lower = word.lower() if word else None
    if lower in LORA_TYPES:
        return "lora"
    return "checkpoint" if lower in CHECKPOINT_TYPES else lower


def find_air(text: str) -> Air | None:
    """The identifier that `text` spells, or None.

    A Windows path such as `C:/loras/a.safetensors`, a web address and a bare file name are not identifiers. With one
    word before the source, `lora:civitai:1@2`, that word is a type if there is such a type, else an ecosystem.
    """
    if len(text) > 512 or ":" not in text:
        return None
    lower = text.lower()
    end = next((end for end in _FORMATS if lower.endswith(end)), None)
    marked = lower.startswith(("urn:", "air:"))
    if end and "@" not in text and not marked:
        return None
    match = _PATTERN.fullmatch(text[: -len(end)] if end else text)
    if match is None or (len(match["source"]) == 1 and not marked):
        return None
    ecosystem, type_ = match["ecosystem"], match["type"]
    if ecosystem and type_ is None and ecosystem.lower() in _TYPES:
        ecosystem, type_ = None, ecosystem
    return Air(
        match["source"], match["id"], match["version"], ecosystem, type_, match["file"],
        end[1:] if end else None, match["layer"],
    )  # fmt: skip
