"""All sentences of the errors that the code raises, as templates: what is filled in is `{}`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def error_sentences(*folders: str, root: Path = ROOT) -> set[str]:
    """Those of all Python files in these folders.

    Text that is handed to an error of ours or to a caller's `problem`, and what functions named `…_reason` return.
    """
    found: set[str] = set()
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            errors = {name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in _errors(node)}
            errors |= {"problem", "_problem"}
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef) and node.name.endswith("_reason"):
                    returned = [item.value for item in ast.walk(node) if isinstance(item, ast.Return) and item.value]
                    found.update(text for value in returned for text in _templates(value))
                if isinstance(node, ast.Call) and _name(node.func) in errors:
                    found.update(text for value in node.args for text in _templates(value) if " " in text.strip("{} "))
    return found


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _errors(node: ast.ImportFrom) -> Iterator[str]:
    if (node.module or "").split(".")[-1] == "errors":
        yield from (alias.asname or alias.name for alias in node.names if alias.name[0].isupper())


def _templates(value: ast.expr) -> Iterator[str]:
    """The texts that an expression may be, conditional ones each."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in value.values)
    elif isinstance(value, ast.IfExp):
        yield from _templates(value.body)
        yield from _templates(value.orelse)
