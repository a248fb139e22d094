"""The parts of a file's name, as other programs know it."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import quoted
from ..stack import Entry
from .dialect import Loss

SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl")
"""Endings of model files; what stands after another dot belongs to the name, as in `pixel.v1`."""


def folder(name: str) -> str:
    """The folder with its last separator; both `/` and Windows' `\\` separate."""
    return name[: 1 + max(name.rfind("/"), name.rfind("\\"))]


def suffix(name: str) -> str:
    """The ending, as it is written; empty if it is none of `SUFFIXES`."""
    lower = name.lower()
    return next((name[-len(one) :] for one in SUFFIXES if lower.endswith(one)), "")


def stem(name: str) -> str:
    """The name without folder and ending; may be empty."""
    inner = name[len(folder(name)) :]
    return inner[: len(inner) - len(suffix(inner))]


def no_folder(entry: Entry, row: int, title: str) -> Iterator[Loss]:
    """The loss of the folder, if there is one."""
    found = folder(entry.lora)
    if found:
        yield Loss(row, "lora", f"{title} names no folder; {quoted(found)} is left out")


class Unique:
    """Names for the LoRAs of one request, each used once: `pixel`, `pixel_2`, `pixel_3`."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def name(self, wanted: str) -> str:
        """`wanted`, with a number where it was used before."""
        number = self._used.get(wanted, 0)
        found = wanted
        while number and found in self._used:
            number += 1
            found = f"{wanted}_{number}"
        self._used[wanted] = max(number, 1)
        self._used.setdefault(found, 1)
        return found
