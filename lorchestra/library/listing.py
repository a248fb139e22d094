"""The names of the files that are there; one is found by its whole name, never by a part of it."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import StackError

_SUFFIX = ".safetensors"


class Listing:
    """The names of all LoRA files, relative to the LoRA folders, as ComfyUI lists them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._by_path: dict[str, list[str]] = {}
        self._by_base: dict[str, list[str]] = {}
        self._by_folded: dict[str, list[str]] = {}
        for name in sorted(self._names):
            path = _normal(name)
            self._by_path.setdefault(path, []).append(name)
            self._by_base.setdefault(path.rpartition("/")[2], []).append(name)

    def __contains__(self, name: object) -> bool:
        """Whether a file of this name is listed."""
        return name in self._names

    def find_exact(self, wanted: str, row: int | None = None) -> str | None:
        """The listed name with this very path, or None: other slashes, and `.safetensors` left out, are the same.

        Raises `StackError` if several files fit.
        """
        if wanted in self._names:
            return wanted
        found = self._by_path.get(_normal(wanted))
        if not found:
            return None
        if len(found) > 1:
            raise StackError(f"{wanted} may be any of {', '.join(found)}. Write it as one of them.", row)
        return found[0]

    def named(self, wanted: str) -> list[str]:
        """All listed names, in any folder, whose file has the very name of `wanted`'s; where none has, in any case.

        For a row whose file is not where it should be: `old/pixel.safetensors` → `styles/pixel.safetensors`.
        """
        base = base_name(wanted)
        if base in self._by_base:
            return list(self._by_base[base])
        if not self._by_folded:
            folded: dict[str, list[str]] = {}
            for key, names in self._by_base.items():
                folded.setdefault(key.casefold(), []).extend(names)
            self._by_folded = folded
        return list(self._by_folded.get(base.casefold(), ()))


def base_name(name: str) -> str:
    """The name of a file without its folders and without `.safetensors`."""
    return _normal(name).rpartition("/")[2]


def _normal(name: str) -> str:
    path = name.replace("\\", "/")
    return path[: -len(_SUFFIX)] if path.lower().endswith(_SUFFIX) else path
