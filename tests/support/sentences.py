"""All sentences of the errors that the code raises, as templates: what is filled in is `{}`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

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
    elif isinstance(value, ast.Call) and _name(value.func) == "say" and value.args:
        yield from (re.sub(r"\{\w+\}", "{}", text) for text in _templates(value.args[0]))


def said_sentences(*folders: str, root: Path = ROOT) -> set[str]:
    """The templates of all sentences that the face can translate: what `say` gets, and the tables of `Template`s."""
    found: set[str] = set()
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for scope in [tree, *(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))]:
                for node in ast.walk(scope):
                    if isinstance(node, ast.Call) and _name(node.func) == "say" and node.args:
                        found.update(_said(node.args[0], scope))
                    if isinstance(node, ast.Call) and _name(node.func) == "_joined" and len(node.args) > 1:
                        found.update(_constants([node.args[1]]))
            for node in ast.walk(tree):
                if isinstance(node, ast.AnnAssign) and "Template" in ast.unparse(node.annotation) and node.value:
                    found.update(_constants(node.value.values if isinstance(node.value, ast.Dict) else [node.value]))
                if isinstance(node, ast.AnnAssign) and "Kind" in ast.unparse(node.annotation) and node.value:
                    calls = [item for item in ast.walk(node.value) if isinstance(item, ast.Call)]
                    found.update(_constants(call.args[1] for call in calls if _name(call.func) == "Kind"))
    return found


def _said(value: ast.expr, scope: ast.AST) -> Iterator[str]:
    """The templates that an expression may be; those of a name by what it is given in the same function."""
    if isinstance(value, ast.Name):
        for node in ast.walk(scope):
            if isinstance(node, ast.Assign) and any(_name(target) == value.id for target in node.targets):
                yield from _constants([node.value])
    else:
        yield from _constants([value])


def _constants(values: Iterable[ast.expr]) -> Iterator[str]:
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value
        elif isinstance(value, ast.IfExp):
            yield from _constants([value.body, value.orelse])
        elif isinstance(value, ast.BinOp):
            tables = [item for item in ast.walk(value) if isinstance(item, ast.Dict)]
            yield from _constants(item for table in tables for item in table.values)


def english(said: Any) -> str:
    """A sentence put together from its parts, as the face does it without translations."""
    if isinstance(said, str):
        return said
    return re.sub(r"\{(\w+)\}", lambda match: english(said["values"][match[1]]), said["key"])
