"""The rows of ComfyUI's own nodes *LoadLoraModel* and *LoadLoraTextEncoder* in a prompt (API format), both ways.

Source: Comfy-Org/embedded-docs `comfyui_embedded_docs/docs/LoadLoraModel/en.md` and `…/LoadLoraTextEncoder/en.md`: the
inputs `loras.<i>.lora_name`, `loras.<i>.strength` (-100 … 100, default 1) and `loras.<i>.enabled` (default true), 1 to
20 rows, numbers from 0; numbers that are left out are empty rows. One node changes the model, the other the text
encoders: what is in one of them alone has the weight 0 for the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import Entry, Stack
from .dialect import (
    CLIP,
    FOLDER,
    OFF,
    Dialect,
    Limits,
    Loss,
    Reading,
    Writing,
    as_text,
    check_count,
    fitted,
    from_json,
    no_place,
    unsaid,
    unsaid_of_stack,
)
from .fields import checked, object_of, weight

MODEL, TEXT_ENCODER = "LoadLoraModel", "LoadLoraTextEncoder"
_NODES = (MODEL, TEXT_ENCODER)
_KEY = re.compile(r"loras\.(0|[1-9]\d{0,5})\.(lora_name|strength|enabled)", re.ASCII)  # loras.0.lora_name
_FIELDS = ("lora_name", "strength", "enabled")


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a node."""

    name: str
    strength: float
    enabled: bool
    path: str


def is_request(value: Json) -> bool:
    """True for a prompt with one of the nodes, for such a node, and for its inputs."""
    if not isinstance(value, dict):
        return False
    data = cast("dict[str, Json]", value)
    inner = data.get("prompt", data)
    nodes = cast("dict[str, Json]", inner) if isinstance(inner, dict) else {}
    return _has_rows(data.get("inputs")) or _has_rows(data) or any(map(_is_node, nodes.values()))


def _has_rows(value: Json) -> bool:
    return isinstance(value, dict) and any(_KEY.fullmatch(str(key)) for key in cast("dict[str, Json]", value))


def _is_node(value: Json) -> bool:
    return isinstance(value, dict) and cast("dict[str, Json]", value).get("class_type") in _NODES


def read(value: Json) -> Reading:
    """A stack from a prompt with at most one node of each kind, from a node, from its inputs, or JSON text of these.

    Rows of the two nodes that name one file, in their order, are one row of the stack. Rows without a file are left
    out. Raises `DialectError` with the field's path, also for a field that is connected to another node.
    """
    losses: list[Loss] = []
    found = {kind: list(_rows(inputs, path, losses)) for kind, path, inputs in _nodes(value)}
    entries = _paired(found.get(MODEL, []), found.get(TEXT_ENCODER, []), losses)
    return Reading(Stack(tuple(entries)), tuple(losses))


def _nodes(value: Json) -> Iterator[tuple[str, str, Mapping[str, Json]]]:
    """(kind, path of its inputs, inputs) of the nodes."""
    data = object_of(from_json(value, "the prompt") if isinstance(value, str) else value, "a prompt in API format")
    if _has_rows(data):
        yield MODEL, "", data
        return
    if "class_type" in data or _has_rows(data.get("inputs")):
        kind = data.get("class_type", MODEL)
        if kind not in _NODES:
            raise DialectError(f"it is {quoted(kind)}; expected {MODEL} or {TEXT_ENCODER}", None, "class_type")
        yield cast("str", kind), "inputs.", object_of(data.get("inputs"), "inputs")
        return
    prompt = object_of(data.get("prompt", data), "a prompt in API format")
    nodes = {key: cast("Mapping[str, Json]", node) for key, node in prompt.items() if _is_node(node)}
    if not nodes and prompt:
        raise DialectError(f"the prompt has no node {MODEL} or {TEXT_ENCODER}")
    for kind in _NODES:
        chosen = [key for key, node in nodes.items() if node["class_type"] == kind]
        if len(chosen) > 1:
            names = quoted(", ".join(map(str, chosen)))
            raise DialectError(f"the nodes {names} are all {kind}; give the prompt with one of them, or a node alone")
        for key in chosen:
            yield kind, f"{key}.inputs.", object_of(nodes[key].get("inputs"), "inputs")


def _rows(inputs: Mapping[str, Json], path: str, losses: list[Loss]) -> Iterator[_Row]:
    rows: dict[int, dict[str, Json]] = {}
    for key, value in inputs.items():
        match = _KEY.fullmatch(str(key))
        if match is None:
            continue
        number = int(match[1])
        if number >= DIALECT.limits.most:
            sentence = f"the node has at most {DIALECT.limits.most} rows, so the last one is {DIALECT.limits.most - 1}"
            raise DialectError(sentence, number + 1, f"{path}{key}")
        rows.setdefault(number, {})[match[2]] = value
    for number in sorted(rows):
        said, row = rows[number], number + 1
        at = f"{path}loras.{number}"
        for field, value in said.items():
            if isinstance(value, list):
                raise DialectError(
                    f"it is connected to node {quoted(cast(object, value))}; only a value can be read",
                    row,
                    f"{at}.{field}",
                )
        name = said.get("lora_name")
        if name in (None, "", "None"):
            losses.append(Loss(row, f"{at}.lora_name", "no LoRA is chosen in it, so the row is left out"))
            continue
        if not isinstance(name, str):
            raise DialectError(f"it is {quoted(name)}; expected the name of a file", row, f"{at}.lora_name")
        enabled = said.get("enabled", True)
        if not isinstance(enabled, bool):
            raise DialectError(f"it is {quoted(enabled)}; expected true or false", row, f"{at}.enabled")
        yield _Row(name, weight(said.get("strength", 1.0), f"{at}.strength", row), enabled, at)


def _paired(models: list[_Row], texts: list[_Row], losses: list[Loss]) -> Iterator[Entry]:
    """The rows of the stack; the text encoders' rows that have no partner come last."""
    waiting: dict[str, list[_Row]] = {}
    for text in reversed(texts):
        waiting.setdefault(text.name, []).append(text)
    row = 0
    for row, model in enumerate(models, 1):
        partners = waiting.get(model.name)
        text = partners.pop() if partners else None
        entry = Entry(model.name, on=model.enabled, model=model.strength, clip=text.strength if text else 0.0)
        if text is not None and text.enabled != model.enabled:
            off = "text encoders" if model.enabled else "model"
            reason = f"only one of the two nodes has it enabled; the weight of the {off} is 0"
            losses.append(Loss(row, "enabled", reason))
            entry = replace(entry, on=True, **({"clip": 0.0} if model.enabled else {"model": 0.0}))
        if entry.clip == entry.model:
            entry = replace(entry, clip=None)
        yield checked(entry, row, model.path)
    left = [text for text in texts if any(text is one for one in waiting.get(text.name, ()))]
    for number, text in enumerate(left, row + 1):
        yield checked(Entry(text.name, on=text.enabled, model=0.0, clip=text.strength), number, text.path)


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """All rows, those that are off too, as the two nodes, of which one that has no weights at all is left out.

    Their inputs `model` and `clip` are to be connected in the prompt that they are put into. Raises `DialectError` for
    a 21st row.
    """
    losses: list[Loss] = []
    inputs: dict[str, dict[str, Any]] = {MODEL: {}, TEXT_ENCODER: {}}
    entries = stack.checked().entries
    for row, entry in enumerate(entries, 1):
        check_count(row, DIALECT, row)
        for kind, key, given in ((MODEL, "model", entry.model), (TEXT_ENCODER, "clip", entry.clip_weight)):
            path = f"loras.{row - 1}.strength"
            strength = fitted(given, path, entry, row, DIALECT, clamp, losses, key)
            values = (entry.lora, strength, entry.on)
            inputs[kind] |= {f"loras.{row - 1}.{field}": one for field, one in zip(_FIELDS, values, strict=True)}
        losses += no_place(entry, row, DIALECT.title)
        losses += unsaid(entry, row, DIALECT.title)
    losses += unsaid_of_stack(stack, DIALECT.title)
    used = (any(entry.model for entry in entries), any(entry.clip_weight for entry in entries))
    kinds = [kind for kind, is_used in zip(_NODES, used, strict=True) if is_used] or ([MODEL] if entries else [])
    prompt = {str(number): {"class_type": kind, "inputs": inputs[kind]} for number, kind in enumerate(kinds, 1)}
    return Writing(as_text(prompt), prompt, tuple(losses))


DIALECT = Dialect(
    "comfyui", "ComfyUI's LoadLoraModel", ".json", read, write, write_options=("clamp",), limits=Limits(most=20),
    keeps=(OFF, CLIP, FOLDER), recognises=is_request,
)  # fmt: skip
