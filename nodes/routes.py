"""The HTTP routes behind the face: what there is, what it is, whether it fits, and stacks to and from text.

Every answer is JSON; what cannot be done is `{"error": sentence}` with the status 400. Names of files come from pages
and are not trusted: only names that ComfyUI lists are looked up. Work is done in threads, never in the event loop.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from ..lorchestra.errors import LorchestraError, ScheduleError, StackError, quoted

if TYPE_CHECKING:
    from ..lorchestra.library.facts import Facts, File

PREFIX = "/lorchestra"
MAX_BODY = 32_000_000
"""Bytes of a request: a prompt of thousands of nodes has less."""
MAX_STACKS = 5000
MAX_SAMPLES = 400
SEARCH_SECONDS = 5.0
HASH_SECONDS = 120.0

Handler = Callable[[Any], Awaitable[Any]]


def add_routes() -> None:
    """Adds the routes to ComfyUI's server; to be called when the extension is loaded, also twice."""
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    routes = getattr(server, "routes", None)
    if routes is None or any(getattr(route, "path", "").startswith(PREFIX + "/") for route in routes):
        return
    for method, path, handler in ROUTES:
        routes.route(method, PREFIX + path)(handler)


def _answering(work: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a function run in a thread and gives its value as JSON; errors of ours become sentences."""

    @wraps(work)
    async def answer(*arguments: Any) -> Any:
        from aiohttp import web

        try:
            value = await asyncio.to_thread(work, *arguments)
        except LorchestraError as error:
            return web.json_response({"error": str(error)}, status=400)
        return (
            value
            if isinstance(value, web.Response)
            else web.Response(
                body=await asyncio.to_thread(_to_json, value), content_type="application/json", charset="utf-8"
            )
        )

    return answer


def _get(work: Callable[[Mapping[str, str]], Any]) -> Handler:
    """A handler that gets the query."""
    answer = _answering(work)

    @wraps(work)
    async def handle(request: Any) -> Any:
        return await answer(request.query)

    return handle


def _post(work: Callable[[Mapping[str, Any]], Any]) -> Handler:
    """A handler that gets the body's JSON object."""

    @_answering
    def parsed(body: bytes) -> Any:
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise LorchestraError(f"the request is not JSON: {error}") from error
        if not isinstance(data, dict):
            raise LorchestraError(f"the request is {quoted(data)}; expected a JSON object")
        return work(cast("dict[str, Any]", data))

    @wraps(work)
    async def handle(request: Any) -> Any:
        from aiohttp import web

        if (request.content_length or 0) > MAX_BODY:
            return web.json_response({"error": f"the request has more than {MAX_BODY:,} bytes"}, status=400)
        return await parsed(await request.read())

    return handle


def _to_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def loras(query: Mapping[str, str]) -> dict[str, Any]:
    """All LoRAs with what is known of each by now; the rest is read in the background."""
    from .host.lora_library import lora_library

    shelf = lora_library()
    with shelf.attended():
        files = shelf.files()
        pending = shelf.read_in_background(files)
        return {"loras": [_row(file, shelf.find_facts(file)) for file in files], "pending": pending}


def _row(file: File, facts: Facts | None) -> dict[str, Any]:
    return {
        "name": file.name,
        "size": file.size,
        "modified": file.modified_ns // 1_000_000_000,
        "title": facts.title if facts else None,
        "triggers": facts.triggers if facts else (),
        "architectures": facts.architectures if facts else (),
        "family": facts.family if facts else (),
        "kind": facts.kind if facts else None,
        "preview": file.has_preview,
        "known": facts is not None,
    }


def check(body: Mapping[str, Any]) -> dict[str, Any]:
    """A badge for each row of each stack, against the model that the prompt connects it to."""
    from .host import badges

    queued, stacks = body.get("prompt"), body.get("stacks")
    if queued is not None and not isinstance(queued, dict):
        raise LorchestraError(f'"prompt" is {quoted(queued)}; expected a prompt in API format, or null')
    if not isinstance(stacks, list) or len(cast("list[Any]", stacks)) > MAX_STACKS:
        raise LorchestraError(f'"stacks" is {quoted(stacks)}; expected a list of at most {MAX_STACKS:,}')
    pairs: list[tuple[str, object]] = []
    for stack in cast("list[Any]", stacks):
        if not isinstance(stack, dict) or "node" not in stack:
            raise LorchestraError(f'{quoted(stack)} is no stack; expected {{"node": "12", "loras": …}}')
        data = cast("dict[str, Any]", stack)
        pairs.append((str(data["node"]), data.get("loras")))
    return {"stacks": badges.check(queued, pairs)}


def info(query: Mapping[str, str]) -> dict[str, Any]:
    """All that is known of one LoRA; with `hash=1` its SHA-256 is worked out if nobody has said it."""
    from ..lorchestra.library.card import read_details
    from .host.lora_library import lora_library

    shelf, file = lora_library(), _file(query.get("lora"))
    details = read_details(file.path)
    facts = shelf.find_facts(file)
    sha256 = shelf.sha256(file) if query.get("hash") == "1" else details["sha256"] or (facts and facts.sha256)
    return {
        "lora": file.name,
        "path": file.path,
        "size": file.size,
        "modified": file.modified_ns // 1_000_000_000,
        **details,
        "sha256": sha256 or details["sha256"],
    }


def preview(query: Mapping[str, str]) -> Any:
    """The image beside a LoRA, and nothing else: its type is that of its bytes, and no browser may guess another."""
    from aiohttp import web

    from ..lorchestra.library.sidecars import find_preview, read_image

    path = find_preview(_file(query.get("lora")).path)
    image = read_image(path) if path else None
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cache-Control": "private, max-age=300",
    }
    if image is None:
        return web.json_response({"error": "there is no preview image beside this LoRA"}, status=404, headers=headers)
    data, kind = image
    return web.Response(body=data, content_type=kind, headers=headers)


def find(body: Mapping[str, Any]) -> dict[str, Any]:
    """Files that may be the one that a row means; with `deep`, whole files are hashed."""
    from .host.lora_library import lora_library

    lora, sha256, air = (_text(body, key) for key in ("lora", "sha256", "air"))
    size = body.get("size")
    found = lora_library().finder(SEARCH_SECONDS).find(lora or "", sha256, air)
    by_content = any("SHA-256" in item.why for item in found.candidates)
    if body.get("deep") is True and sha256 and not by_content:
        hashed = lora_library().search_hash(lora or "", sha256, size if type(size) is int else None, HASH_SECONDS)
        names = {item.name for item in hashed.candidates}
        rest = tuple(item for item in found.candidates if item.name not in names)
        found = type(found)((*hashed.candidates, *rest), hashed.left)
    return {"candidates": [{"name": item.name, "why": item.why} for item in found.candidates], "left": found.left}


def schedule(body: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule's text as the canonical one, its keyframes, and points of its curve over the run."""
    from ..lorchestra.schedule import Schedule, Steps

    text, sigmas, count = body.get("text"), body.get("sigmas"), body.get("steps")
    if not isinstance(text, str):
        raise LorchestraError(f'"text" is {quoted(text)}; expected text')
    try:
        found = Schedule.parse(text)
        levels = [_finite(item) for item in cast("list[Any]", sigmas)[:20_000]] if isinstance(sigmas, list) else []
        run = Steps.of(levels) if len(levels) > 1 else Steps(count if type(count) is int else 20)
        places = sorted({index / MAX_SAMPLES for index in range(MAX_SAMPLES + 1)} | {m.progress for m in run.moments})
        known = bool(run.sigmas) or not found.needs_sigmas
        samples = [(place, found.at(run.at_progress(place))) for place in places] if known else []
    except ScheduleError as error:
        return {"error": error.reason, "column": error.column, "keyframe": error.keyframe}
    keyframes = [
        {"at": key.position, "unit": curve.by, "weight": key.weight, "easing": key.easing, "curve": number}
        for number, curve in enumerate(found.curves)
        for key in curve.keyframes
    ]
    return {
        "text": found.to_text(),
        "keyframes": keyframes,
        "samples": samples,
        "steps": [moment.progress for moment in run.moments],
        "notes": list(found.unreached(run))
        if known
        else ["The schedule goes by sigma; its curve needs a run's sigmas."],
    }


def read(body: Mapping[str, Any]) -> dict[str, Any]:
    """Rows from text of any dialect."""
    from ..lorchestra.exchange import read_any

    text = _text(body, "text") or ""
    order = body.get("order")
    reading = read_any(text, order=order) if isinstance(order, str) else read_any(text)
    return {**reading.stack.to_json(), "notes": [str(loss) for loss in reading.losses]}


def write(body: Mapping[str, Any]) -> dict[str, Any]:
    """Text in a dialect from rows."""
    from ..lorchestra.exchange import parse_stack, write_any

    rows, name = body.get("loras"), body.get("as")
    if not isinstance(rows, list | dict | str):
        raise StackError(f'"loras" is {quoted(rows)}; expected rows')
    form = name if isinstance(name, str) else ""
    writing = write_any(parse_stack(rows), form, {"allow_names": body.get("allow_names") is True})
    return {"text": writing.text, "losses": [str(loss) for loss in writing.losses]}


def _file(name: str | None) -> Any:
    from .host.lora_library import lora_library

    file = lora_library().find_file(name) if name else None
    if file is None:
        raise LorchestraError(f"there is no LoRA {quoted(name or '', 300)}")
    return file


def _text(body: Mapping[str, Any], key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise LorchestraError(f'"{key}" is {quoted(value)}; expected text')
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        raise ScheduleError(f"the sigma {quoted(value)} is no number")
    return float(value)


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/loras", _get(loras)),
    ("POST", "/check", _post(check)),
    ("GET", "/info", _get(info)),
    ("GET", "/preview", _get(preview)),
    ("POST", "/find", _post(find)),
    ("POST", "/schedule", _post(schedule)),
    ("POST", "/read", _post(read)),
    ("POST", "/write", _post(write)),
)
"""All routes. To add one: a function of the query or the body, and its row here."""
