"""ComfyUI waits for each pack at its start: the nodes load little at once, and the rest when it is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUICK = {
    "lorchestra", "lorchestra.choices", "lorchestra.errors", "lorchestra.limits", "lorchestra.files",
    "lorchestra.schedule", "lorchestra.sentences",
}  # fmt: skip
"""Rooms of which something is loaded with the nodes; none needs the models, the LoRA files or the catalog."""


def imported(module: str) -> Iterator[str]:
    """The modules of ours that a module imports when it is loaded itself: not for types alone, not within functions."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    package = module if path.is_dir() else module.rpartition(".")[0]
    statements = [one for one in ast.parse(file.read_text(encoding="utf-8")).body if not isinstance(one, ast.If)]
    for one in statements:
        if isinstance(one, ast.ImportFrom) and one.level:
            above = package.split(".")[: len(package.split(".")) - one.level + 1]
            base = ".".join([*above, *([one.module] if one.module else [])])
            parts = base.split(".")
            yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))
            yield from (name for alias in one.names if is_module(name := f"{base}.{alias.name}"))


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_what_the_nodes_load_at_once() -> None:
    left, loaded = ["nodes"], set[str]()
    while left:
        module = left.pop()
        if module and module not in loaded and is_module(module):
            loaded.add(module)
            left += imported(module)
    rooms = {".".join(module.split(".")[:2]) for module in loaded if module.startswith("lorchestra")}
    assert rooms <= QUICK, sorted(rooms - QUICK)
    assert {"nodes.stack", "nodes.routes.table", "nodes.host.badges", "lorchestra.schedule"} <= loaded
    assert not {name for name in loaded if name.startswith("lorchestra.service")}
