"""InvokeAI's metadata of a picture and its graphs, both ways.

Sources: invoke-ai/InvokeAI `invokeai/app/invocations/metadata.py` (`{"loras": [{"model", "weight"}]}`; the rows of the
interface have `isEnabled`), `invokeai/app/invocations/model.py` (`lora_selector`, `lora_loader` and others have `lora`
and `weight`, 0.75 where it is not given) and `invokeai/frontend/web/src/features/controlLayers/store/lorasSlice.ts`
(-10 … 10). A model is `{"key", "hash", "name", "base", "type": "lora"}`; InvokeAI finds it by its key, its hash, or
name and base. The hash is `blake3:…`, or `sha256:…`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import DialectError, quoted
from ..limits import Json
from ..stack import Entry, Stack
from ..stack.wanted import HASH
from .dialect import (
    SHA256,
    Dialect,
    Limits,
    Loss,
    Reading,
    Writing,
    as_text,
    fitted,
    from_json,
    no_place,
    one_weight,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import Item, check_rows, fields_of, find_hash, item, kept_hash, left_behind, object_of, objects, rows_under
from .names import no_folder, stem

_KEPT = ("key", "base", "submodel_type")
"""What else a model says; kept in `Entry.extra`."""


def is_request(value: Json) -> bool:
    """True for metadata whose `loras` have a `model` that is an object (or `lora`, as older versions wrote it)."""
    rows = objects(value, "loras")
    return bool(rows) and all(isinstance(row.get("model", row.get("lora")), dict) for row in rows)


def is_graph(value: Json) -> bool:
    """True for a graph with a node that has a LoRA."""
    return any(map(_is_node, _nodes(fields_of(value)).values()))


def _nodes(data: Mapping[str, Json]) -> Mapping[str, Json]:
    return fields_of(fields_of(data.get("graph", data)).get("nodes"))


def _is_node(value: Json) -> bool:
    node = fields_of(value)
    return "lora" in str(node.get("type")) and isinstance(node.get("lora"), dict)


def read(value: Json) -> Reading:
    """A stack from metadata, its `loras`, or JSON text of these; raises `DialectError` with the field's path."""
    losses: list[Loss] = []
    entries = [_entry(one, DIALECT) for one in rows_under(value, "loras", losses)]
    return Reading(Stack(tuple(entries)), tuple(losses))


def read_graph(value: Json) -> Reading:
    """A stack from the nodes of a graph that have a LoRA and a weight, in their order, or from JSON text of it."""
    data = object_of(from_json(value, "the graph") if isinstance(value, str) else value, "a graph")
    if not isinstance(data.get("nodes", data.get("graph")), Mapping):
        raise DialectError('the request is an object without "nodes"')
    losses: list[Loss] = []
    entries = [_entry(one, GRAPH) for one in _graph_items(_nodes(data), losses)]
    return Reading(Stack(tuple(entries)), tuple(losses))


def _graph_items(nodes: Mapping[str, Json], losses: list[Loss]) -> Iterator[Item]:
    chosen = {key: node for key, node in nodes.items() if _is_node(node)}
    check_rows(len(chosen), "nodes")
    others = [key for key in nodes if key not in chosen]
    losses += left_behind({str(key): None for key in others}, ())
    for row, (key, node) in enumerate(chosen.items(), 1):
        yield item(node, f"nodes[{quoted(key)}]", row, losses)


def _entry(one: Item, dialect: Dialect) -> Entry:
    field = "model" if isinstance(one.data.get("model"), Mapping) else "lora"
    model = item(one.data.get(field), one.at(field), one.row, one.losses)
    name = model.find_text("name") or model.find_text("model_name")
    given = model.find_text(HASH) or ""
    kind, _, digits = given.rpartition(":")
    found = find_hash(digits)
    extra: dict[str, Json] = {key: model.data[key] for key in _KEPT if isinstance(model.data.get(key), str)}
    is_sha256 = kind == "sha256" and found is not None and len(found) == 64
    if found is not None and not is_sha256:
        extra[HASH] = found
    lora = name or found or model.find_text("key")
    if lora is None:
        raise model.fail("name", "the name of a model")
    return one.entry(
        Entry(
            lora,
            on=one.flag("isEnabled", True),
            model=one.number("weight", dialect.limits.default),
            sha256=found if is_sha256 else None,
            extra=extra,
        )
    )


def write(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The active rows as `{"loras": […]}`, in their order.

    A row without a key and a hash, by which InvokeAI knows a model, is a `DialectError`, unless `allow_names`. So is
    one of a model that another row has.
    """
    losses: list[Loss] = []
    rows = [
        {"model": model, "weight": weight}
        for model, weight in _models(stack, DIALECT, "loras[{}].{}", "model", allow_names, clamp, losses)
    ]
    return Writing(as_text({"loras": rows}), {"loras": rows}, tuple(losses))


def write_graph(stack: Stack, *, allow_names: bool = False, clamp: bool = False) -> Writing:
    """The same as nodes *LoRA Selector* of a graph, to be collected there."""
    losses: list[Loss] = []
    nodes: dict[str, Any] = {}
    for model, weight in _models(stack, GRAPH, "nodes['lora_{}'].{}", "lora", allow_names, clamp, losses):
        id_ = f"lora_{len(nodes)}"
        nodes[id_] = {"id": id_, "type": "lora_selector", "lora": model, "weight": weight}
    return Writing(as_text({"nodes": nodes}), {"nodes": nodes}, tuple(losses))


def _models(
    stack: Stack, dialect: Dialect, path: str, field: str, allow_names: bool, clamp: bool, losses: list[Loss]
) -> Iterator[tuple[dict[str, Any], float]]:
    seen: dict[str, int] = {}
    for number, (row, entry) in enumerate(written(stack, dialect, losses)):
        at = path.format(number, field)
        digits = kept_hash(entry)
        model: dict[str, Any] = {}
        key = entry.extra.get("key")
        if isinstance(key, str) and key:
            model["key"] = key
        if entry.sha256 is not None:
            model[HASH] = f"sha256:{entry.sha256.lower()}"
        elif digits is not None and len(digits) == 64:
            model[HASH] = f"blake3:{digits}"
        if not model and not allow_names:
            raise DialectError(
                f"{quoted(entry.lora)} has no hash, by which InvokeAI knows a model; give the row its "
                '"sha256", switch it off, or allow names',
                row,
                at,
            )
        name = stem(entry.lora) or entry.lora
        model |= {"name": name, "type": "lora"}
        model |= {key: entry.extra[key] for key in _KEPT if isinstance(entry.extra.get(key), str)}
        known = str(model.get("key") or model.get(HASH) or name)
        if known in seen:
            raise DialectError(f"row {seen[known]} has the same model; put the sum of both into one row", row, at)
        seen[known] = row
        weight = fitted(entry.model, path.format(number, "weight"), entry, row, dialect, clamp, losses)
        losses += no_folder(entry, row, dialect.title)
        losses += no_place(entry, row, dialect.title, ("air",))
        losses += one_weight(entry, row, dialect.title)
        said = [key for key in _KEPT if key in model] + ([HASH] if str(model.get(HASH)).startswith("blake3") else [])
        losses += unsaid(entry, row, dialect.title, said)
        yield model, weight
    losses += unsaid_of_stack(stack, dialect.title)


_OPTIONS = ("allow_names", "clamp")
DIALECT = Dialect(
    "invokeai", "InvokeAI", ".json", read, write, write_options=_OPTIONS, limits=Limits(-10.0, 10.0, default=0.75),
    keeps=(SHA256,), recognises=is_request,
)  # fmt: skip
GRAPH = Dialect(
    "invokeai-graph", "InvokeAI's graph", ".json", read_graph, write_graph, write_options=_OPTIONS,
    limits=Limits(default=0.75), keeps=(SHA256,), recognises=is_graph,
)  # fmt: skip
