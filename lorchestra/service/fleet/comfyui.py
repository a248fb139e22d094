"""One ComfyUI by its address: a job is run there over its own HTTP and WebSocket, and its files are fetched.

Whatever it answers is foreign: every answer has a bound in time and size, and what cannot be read becomes a sentence.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import aiohttp

from ...errors import LorchestraError, quoted, shortened
from ...library.identities import Identities
from ...limits import Json
from .. import messages
from ..backend import Ended, Failure, Graph, Made, Signal

_SECONDS = 30.0
"""For an answer; what runs a model answers all the same, from another thread."""
_MOST_BYTES = 64_000_000
_MOST_MESSAGE = 32_000_000
_LOOK_SECONDS = 0.5
"""Between two looks at whether the job is to be canceled."""
_SOON_SECONDS = 0.02
_STOP_SECONDS = 60.0
"""For a node to hear that it is interrupted; a sampler does between two steps."""
_HISTORY_SECONDS = 3.0
"""Between two looks at whether a job has ended of which the socket says nothing."""
_FETCH_SECONDS = 3600.0
"""For one file that a job has made."""
_CHUNK = 1 << 18
_FEATURES = json.dumps({"type": "feature_flags", "data": {"supports_preview_metadata": True}})


class ComfyUIError(LorchestraError):
    """A ComfyUI that cannot be used: the sentence says which, and what it did."""


class ComfyUIAway(ComfyUIError):
    """A ComfyUI to which there is no connection: what was asked, it never heard."""


class ComfyUIStuck(ComfyUIError):
    """A ComfyUI whose job ran too long and cannot be interrupted."""


class ComfyUIRefused(LorchestraError):
    """A graph that ComfyUI does not run."""


class ComfyUI:
    """A client of one ComfyUI; an async context, for one event loop."""

    def __init__(self, url: str, seconds: float = _SECONDS) -> None:
        """`seconds` is the longest that an answer may take. Raises `ComfyUIError` for what is no address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ComfyUIError(f"{quoted(url)} is not an address; expected one such as http://127.0.0.1:8188")
        self.url = url.rstrip("/")
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> ComfyUI:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._seconds, sock_read=self._seconds)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> Json:
        """The JSON at a path; raises `ComfyUIError`."""
        _, value = await self._ask("GET", path)
        return value

    async def object(self, path: str) -> dict[str, Json]:
        """The JSON object at a path; raises `ComfyUIError`."""
        value = await self.get(path)
        if not isinstance(value, dict):
            raise ComfyUIError(f"{self.url}{path} answers {quoted(value)}; expected a JSON object. Is it a ComfyUI?")
        return cast("dict[str, Json]", value)

    async def version(self) -> str:
        """The pack's version there; raises `ComfyUIError` where there is none that says it."""
        status, value = await self._ask("GET", "/lorchestra/about", accepts=(404, 405))
        data = cast("dict[str, Json]", value) if isinstance(value, dict) else {}
        if status != 200 or not isinstance(data.get("version"), str):
            raise ComfyUIError(
                f"the ComfyUI at {self.url} has no Lorchestra, or one that is older than workers. Install or update "
                "ComfyUI-Lorchestra there, and start it again."
            )
        return data["version"]

    async def identities(self) -> dict[str, Json]:
        """By what its LoRAs and checkpoints are known, by ComfyUI's words for the kinds; raises `ComfyUIError`."""
        found = await self.object("/lorchestra/identities")
        try:
            for data in found.values():
                Identities(cast("dict[str, Json]", data))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ComfyUIError(f"{self.url} tells of its files what cannot be read: {quoted(found)}") from error
        return found

    async def free_memory(self) -> int | None:
        """Bytes that are free on its first device; None where it does not say."""
        devices = (await self.object("/system_stats")).get("devices")
        first = cast("list[Json]", devices)[0] if isinstance(devices, list) and devices else None
        free = cast("dict[str, Json]", first).get("vram_free") if isinstance(first, dict) else None
        return free if isinstance(free, int) else None

    async def versions(self) -> str:
        """What its pictures depend on beside models and nodes. Example: `ComfyUI 0.33.0, PyTorch 2.9.1`."""
        system = (await self.object("/system_stats")).get("system")
        data = cast("dict[str, Json]", system) if isinstance(system, dict) else {}
        named = (("ComfyUI", data.get("comfyui_version")), ("PyTorch", data.get("pytorch_version")))
        return ", ".join(f"{name} {shortened(said, 50) if isinstance(said, str) else '?'}" for name, said in named)

    async def upload(self, name: str, folder: str, data: bytes) -> None:
        """Puts a file among its inputs, over one of that name; raises `ComfyUIError`."""
        form = aiohttp.FormData()
        form.add_field("image", data, filename=name)
        for key, text in (("subfolder", folder), ("type", "input"), ("overwrite", "true")):
            form.add_field(key, text)
        await self._ask("POST", "/upload/image", data=form)

    async def fetch(self, made: Made) -> AsyncIterator[bytes]:
        """The bytes of a file that a node made; raises `ComfyUIError`."""
        query = urlencode({"filename": made.name, "subfolder": made.subfolder, "type": made.folder})
        limit = aiohttp.ClientTimeout(total=_FETCH_SECONDS, sock_connect=self._seconds, sock_read=self._seconds)
        try:
            async with self._opened().get(f"{self.url}/view?{query}", timeout=limit) as answer:
                if answer.status != 200:
                    raise ComfyUIError(f"{self.url} does not give {quoted(made.name)} (HTTP {answer.status})")
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    yield chunk
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise self._lost(error) from error

    async def knows(self, job: str) -> bool:
        """Whether a job waits or runs there, or has ended; raises `ComfyUIError`."""
        return await self._queued(job) is not None or await self._find_end(job) is not None

    async def waiting(self) -> list[str]:
        """The ids of all that waits or runs there; raises `ComfyUIError`."""
        queue = await self.object("/queue")
        items = (*_items(queue, "queue_running"), *_items(queue, "queue_pending"))
        return [own for item in items if isinstance(own := _id_of(item), str)]

    async def run(
        self,
        job: str,
        graph: Graph | None,
        tell: Callable[[Signal], object],
        is_canceled: Callable[[], bool],
        seconds: float,
    ) -> Ended:
        """Runs a graph under the id of its job, and gives how it ended; where it runs or ran already, that run's end.

        Without a graph it is only followed. Asked to by `is_canceled`, or after so many `seconds`, it is interrupted.
        Raises `ComfyUIError` where ComfyUI is lost or has forgotten the job, and `ComfyUIRefused`.
        """
        # In this order: ComfyUI moves a job from its queue to its history in one step.
        is_queued = await self._queued(job) is not None
        if not is_queued and (found := await self._find_end(job)) is not None:
            return found
        client = f"lorchestra-{job}"  # the same for who follows it later: ComfyUI tells the progress to this one
        try:
            async with self._opened().ws_connect(
                f"{self.url}/ws?clientId={client}", max_msg_size=_MOST_MESSAGE
            ) as socket:
                await socket.send_str(_FEATURES)
                if graph is not None and not is_queued:
                    await self._submit(job, graph, client)
                return await self._follow(job, socket, tell, is_canceled, time.monotonic() + seconds, seconds)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise self._lost(error) from error

    async def _submit(self, job: str, graph: Graph, client: str) -> None:
        body = {"prompt": graph, "prompt_id": job, "client_id": client}
        status, value = await self._ask("POST", "/prompt", json=body, accepts=(400,))
        data = cast("dict[str, Json]", value) if isinstance(value, dict) else {}
        errors = data.get("node_errors")
        node_errors = cast("dict[str, Any]", errors) if isinstance(errors, dict) else {}
        if status == 400 or node_errors:
            if status != 400:  # queued without the outputs that it complains about
                await self._ask("POST", "/queue", json={"delete": [job]})
            error = data.get("error")
            raise ComfyUIRefused(messages.said(error if isinstance(error, dict) else {"message": error}, node_errors))

    async def _follow(
        self,
        job: str,
        socket: Any,
        tell: Callable[[Signal], object],
        is_canceled: Callable[[], bool],
        end: float,
        seconds: float,
    ) -> Ended:
        ends: Sequence[str] | None = None
        looked, was_canceled, is_late, is_ending, is_told = time.monotonic(), False, False, False, True
        while True:
            pause = _SOON_SECONDS if is_ending else _LOOK_SECONDS
            message = await _receive(socket, pause) if is_told else await asyncio.sleep(pause)
            if message is not None and message.type in _OVER:
                # Without it progress is not seen; whether the job goes on, the queue and the history say.
                is_told, looked = False, 0.0
            if ends is None:
                ends = await self._queued(job) or ()
            # The history has the job a moment after it is told to have ended.
            is_ending = is_ending or (message is not None and self._tell(job, message, tell, ends))
            is_late = is_late or time.monotonic() >= end
            if (is_late or is_canceled()) and not was_canceled:
                was_canceled = True
                await self.cancel(job)
            if time.monotonic() >= end + _STOP_SECONDS:
                raise ComfyUIStuck(
                    f"the job ran longer than {seconds:g} seconds, and could not be interrupted. Start the ComfyUI at "
                    f"{self.url} again"
                )
            if is_ending or time.monotonic() - looked >= _HISTORY_SECONDS:
                looked = time.monotonic()
                found = await self._find_end(job)
                if found is not None:
                    return self._late(job, seconds) if is_late and found.was_canceled else found
                if await self._queued(job) is None and (found := await self._find_end(job)) is None:
                    if was_canceled:  # it was taken from the queue before it began
                        return self._late(job, seconds) if is_late else Ended(job, (), was_canceled=True)
                    raise ComfyUIError(f"{self.url} has forgotten the job: it was started again, or its queue cleared")

    def _tell(
        self, job: str, message: aiohttp.WSMessage, tell: Callable[[Signal], object], ends: Sequence[str]
    ) -> bool:
        """Tells what a message says of the job; True if the job may have ended."""
        if message.type == aiohttp.WSMsgType.BINARY:
            preview = messages.find_preview(cast("bytes", message.data))
            if preview is not None and preview.job == job:
                tell(preview)
            return False
        if message.type != aiohttp.WSMsgType.TEXT:
            return False
        try:
            value = json.loads(cast("str", message.data))
            kind, data = str(value.get("type")), value.get("data")
            signal = messages.find_signal(kind, data, lambda _, node: node in ends)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):  # other packs send what they like
            return False
        if signal is not None and getattr(signal, "job", None) == job:
            tell(signal)
        own = isinstance(data, dict) and cast("dict[str, Json]", data).get("prompt_id") == job
        return own and kind in ("execution_success", "execution_error", "execution_interrupted")

    def _late(self, job: str, seconds: float) -> Ended:
        said = f"the job ran longer than {seconds:g} seconds, and was interrupted. Its owner's limit is --limit."
        return Ended(job, (), failure=Failure(said))

    async def cancel(self, job: str) -> None:
        """Takes a job from the queue; interrupts it only if it is the one that runs. Raises `ComfyUIError`."""
        queue = await self.object("/queue")
        if any(_id_of(item) == job for item in _items(queue, "queue_running")):
            # With prompt_id, newer ones leave the next job alone if this one ends meanwhile; older ones ignore it.
            await self._ask("POST", "/interrupt", json={"prompt_id": job})
        else:
            await self._ask("POST", "/queue", json={"delete": [job]})

    async def _queued(self, job: str) -> Sequence[str] | None:
        """The nodes that a job is run for, if it waits or runs; None if it does neither."""
        queue = await self.object("/queue")
        for item in (*_items(queue, "queue_running"), *_items(queue, "queue_pending")):
            if _id_of(item) == job:
                ends = item[4] if len(item) > 4 else ()
                return tuple(map(str, cast("list[Json]", ends))) if isinstance(ends, list) else ()
        return None

    async def _find_end(self, job: str) -> Ended | None:
        entry = (await self.object(f"/history/{job}")).get(job)
        if not isinstance(entry, dict):
            return None
        data = cast("dict[str, Any]", entry)
        try:
            ends = tuple(map(str, data["prompt"][4]))
            return messages.find_end(job, data.get("outputs"), data.get("status"), ends)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ComfyUIError(f"{self.url} has a history that cannot be read: {quoted(data)}") from error

    async def _ask(
        self, method: str, path: str, *, json: Json = None, data: Any = None, accepts: tuple[int, ...] = ()
    ) -> tuple[int, Json]:
        """Status and JSON of an answer, None where it is no JSON and need not be; raises `ComfyUIError`."""
        try:
            limit = aiohttp.ClientTimeout(total=4 * self._seconds, sock_read=self._seconds)
            async with self._opened().request(method, self.url + path, json=json, data=data, timeout=limit) as answer:
                body = bytearray()
                async for chunk in answer.content.iter_chunked(_CHUNK):
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise ComfyUIError(f"{self.url}{path} answers with more than {_MOST_BYTES:,} bytes")
                status = answer.status
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise self._lost(error) from error
        return status, _read(self.url + path, status, bytes(body), method == "GET", accepts)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the client was not entered")
        return self._session

    def _lost(self, error: BaseException) -> ComfyUIError:
        if isinstance(error, asyncio.TimeoutError):
            return ComfyUIError(f"{self.url} has not answered for {self._seconds:g} seconds: it hangs")
        kind = ComfyUIAway if isinstance(error, aiohttp.ClientConnectorError) else ComfyUIError
        return kind(f"{self.url} does not answer ({error or type(error).__name__})")


async def _receive(socket: Any, seconds: float) -> aiohttp.WSMessage | None:
    """The next message; None if there is none for so long."""
    try:
        return await asyncio.wait_for(socket.receive(), seconds)
    except asyncio.TimeoutError:
        return None


_OVER = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
"""Messages after which a socket says nothing more."""


def _read(url: str, status: int, body: bytes, needs_json: bool, accepts: tuple[int, ...]) -> Json:
    shown = shortened(body.decode("utf-8", "replace"), 200)
    if status >= 400 and status not in accepts:
        raise ComfyUIError(f"{url} answers HTTP {status}: {shown}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        if status >= 400 or not needs_json:
            return None
        raise ComfyUIError(f"{url} answers {quoted(shown)}, which is no JSON. Is it a ComfyUI?") from error


def _items(queue: Mapping[str, Json], key: str) -> list[list[Json]]:
    found = queue.get(key)
    items = cast("list[Json]", found) if isinstance(found, list) else []
    return [cast("list[Json]", item) for item in items if isinstance(item, list)]


def _id_of(item: Sequence[Json]) -> Json:
    return item[1] if len(item) > 1 else None
