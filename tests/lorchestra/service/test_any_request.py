"""Whatever is sent, the answer is one that the documents name: never an exception, and 500 for nobody's bad body."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.service import Caller, make_service

from lorchestra.demo.prompt import demo_prompt

NAMES = (
    "workflow", "publication", "description", "inputs", "class_type", "nodes", "links", "prompt", "seed", "steps",
    "loras", "model", "weight", "schedule", "blocks", "image", "metadata", "priority", "extra_data", "hash",
    "taskType", "taskUUID", "positivePrompt", "lora", "scheduler", "numberResults", "imageInference", "getResponse",
    "core/ASSET", "__type", "info", "id", "form", "name", "version", "graph", "outputs", "type", "widgets_values",
    "definitions", "subgraphs", "extra",
)  # fmt: skip
words = st.sampled_from(NAMES) | st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6),
    max_leaves=25,
)
paths = st.sampled_from(
    [
        ("PUT", "/workflows/portrait2"), ("POST", "/workflows/portrait/jobs"), ("POST", "/api/v2/jobs"),
        ("POST", "/api/v2/assets/from-hash"), ("POST", "/v1"),
    ]
)  # fmt: skip
queries = st.dictionaries(
    st.sampled_from(["wait", "outputs", "limit", "status", "cursor", "metadata[a]"]) | st.text(max_size=8),
    st.text(max_size=12),
    max_size=3,
)


Asked = Callable[..., int]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """The status of an answer; one service for all."""
    loop = asyncio.new_event_loop()
    service, _ = make_service(tmp_path_factory.mktemp("service"))
    caller = Caller(service)
    made = loop.run_until_complete(caller.ask("PUT", "/workflows/portrait", {"workflow": demo_prompt([])}))
    assert made[0] == 201

    def ask(method: str, path: str, body: Any = b"", headers: dict[str, str] | None = None) -> int:
        return loop.run_until_complete(caller.send(method, path, body, headers)).status

    yield ask
    loop.run_until_complete(service.close())
    loop.close()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(paths, values)
def test_any_body_is_answered(asked: Asked, path: tuple[str, str], body: Any) -> None:
    assert asked(*path, body) in (200, 201, 202, 400, 404, 422)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(paths, st.binary(max_size=200), st.text(max_size=20), st.text(max_size=20))
def test_any_bytes_and_headers_are_answered(
    asked: Asked, path: tuple[str, str], body: bytes, key: str, prefer: str
) -> None:
    assert asked(*path, body, {"Idempotency-Key": key, "Prefer": prefer}) in (202, 400, 404, 422)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH"]),
    st.lists(st.sampled_from(["workflows", "portrait", "api", "v2", "jobs", "assets", "events", "..", "%2e%2e", "@"])
             | st.text(st.characters(codec="utf-8", exclude_characters="/?#"), max_size=8), max_size=5),
    queries,
)  # fmt: skip
def test_any_path_and_query_is_answered(asked: Asked, method: str, parts: list[str], query: dict[str, str]) -> None:
    path = "/" + "/".join(quote(part, safe="%@") for part in parts)
    assert asked(method, f"{path}?{urlencode(query)}") in (200, 201, 202, 204, 400, 404, 405, 422)
