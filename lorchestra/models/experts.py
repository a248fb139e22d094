"""Which model of a pair a file is for, by its name: Wan 2.2 and its like have one for high noise and one for low.

Nothing in the tensors says it. A name that may mean something else says nothing: a LoRA that is left out by mistake is
worse than one that is applied to both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..architectures.names import find_architecture
from ..stack import HIGH, LOW

PAIRED = frozenset({"wan_14b"})
"""Families of which there are models that come as a pair: Wan 2.2 14B has the layers of Wan 2.1 14B."""

_ENDINGS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way in which names tell the model of a pair."""

    expert: str
    """`HIGH` or `LOW`."""
    words: re.Pattern[str]
    """Looked for in the words of a name, each with a space before and after it."""
    example: str
    """A name that it is found in."""


# What may follow a bare "high" that means the model. Ordinary words may not: high detail, low poly, low rank.
_TAIL = (
    r"(?= (?:$|(?:v?\d+|e\d+|ep\d+|epoch|\d+steps?|fp\d+|bf16|rank\d+|r\d+|dim\d+|q\d+|lora|model|expert|scaled|comfy"
    r"|final|kj|[ti]+2v|a?14b|lightning|lightx2v|seko|distill|moe) ))"
)

PATTERNS = (
    Pattern(HIGH, re.compile(r" (?:high|hi) ?noise "), "wan2.2_t2v_high_noise_14B_fp8_scaled"),
    Pattern(LOW, re.compile(r" (?:low|lo) ?noise "), "WAN2.2-LowNoise_SmartphoneSnapshot_v3"),
    Pattern(HIGH, re.compile(r" high" + _TAIL), "Wan22_A14B_T2V_HIGH_Lightning_4steps_lora_rank128_fp16"),
    Pattern(LOW, re.compile(r" low" + _TAIL), "wan22-style-v1-low-000001"),
)
"""All ways. To add one: a row here with a name that it is for; the tests go over the rows."""

_FOLDERS = (
    *PATTERNS[:2],
    Pattern(HIGH, re.compile(r"^ high $"), "high"),
    Pattern(LOW, re.compile(r"^ low $"), "LOW"),
)
"""Of the folders that a file is in."""

_HIGHS, _LOWS = re.compile(r" hi(?:gh)? ?(?:noise)? "), re.compile(r" lo(?:w)? ?(?:noise)? ")


def find_expert(name: str) -> str | None:
    """`HIGH` or `LOW` if a file's name says it, or else the nearest folder's; None if no name does, or one says both.

    `name` is as ComfyUI lists it: `wan/HighNoise/style.safetensors`.
    """
    *folders, file = re.split(r"[/\\]", name)
    ending = next((ending for ending in _ENDINGS if file.lower().endswith(ending)), "")
    parts = [(file[: len(file) - len(ending)], PATTERNS), *((folder, _FOLDERS) for folder in reversed(folders))]
    for part, patterns in parts:
        words = _words(part)
        found = {pattern.expert for pattern in patterns if pattern.words.search(words)}
        if found:
            return None if _HIGHS.search(words) and _LOWS.search(words) else found.pop()
    return None


def listed_part(path: str) -> str:
    """The part of a file's path that ComfyUI lists: what follows the last folder called `loras`, else the file alone.

    What stands above it says nothing about the file.
    """
    parts = re.split(r"[/\\]", path)
    roots = [at for at, part in enumerate(parts[:-1]) if part.lower() in _ROOTS]
    return "/".join(parts[roots[-1] + 1 :]) if roots else parts[-1]


_ROOTS = ("loras", "lora", "lycoris")


def find_model_expert(name: str, architectures: Iterable[str]) -> str | None:
    """Which one of a pair a file is or is for, by its name; None for models that do not come as a pair.

    `architectures` says what the model is (ids): an SDXL checkpoint called "high" means nothing by it.
    """
    rows = [find_architecture(architecture) for architecture in architectures]
    return find_expert(name) if any(row and row.family in PAIRED for row in rows) else None


def _words(name: str) -> str:
    """In lower case, a space around each: `i2vHighNoise_v1.1` → ` i2v high noise v1 1 `."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=V\d)|[^A-Za-z0-9]+", " ", name)
    return f" {' '.join(parted.split()).lower()} "
