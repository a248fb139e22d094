"""Names of inputs and outputs: plain words that are identifiers in every language, each once, always the same."""

from __future__ import annotations

import re
import unicodedata

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)
"""Example: `negative_prompt`."""
_OTHERS = re.compile(r"[^a-z0-9]+")


def slug(text: str) -> str:
    """The text as a name: `Reference Image (front)` → `reference_image_front`; empty if nothing is left of it."""
    plain = unicodedata.normalize("NFKD", text[:500]).encode("ascii", "ignore").decode().lower()
    made = _OTHERS.sub("_", plain).strip("_")[:60].strip("_")
    return f"input_{made}"[:60] if made[:1].isdigit() else made


class Names:
    """Gives each name once: `seed`, `seed_2`, `seed_3`."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._taken: set[str] = set()

    def take(self, wanted: str) -> str:
        """The name, with a number behind it if it is taken."""
        name, number = wanted, self._counts.get(wanted, 1)
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._counts[wanted] = number
        self._taken.add(name)
        return name
