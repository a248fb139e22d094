"""ComfyUI's server, if there is one: scripts that import nodes run without it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

QueueRequest = dict[str, object]
"""The body of a request to queue a prompt."""


class Server(Protocol):
    """What we use of ComfyUI's `PromptServer`."""

    on_prompt_handlers: Sequence[object]

    def add_on_prompt_handler(self, handler: Callable[[QueueRequest], QueueRequest]) -> None:
        """Called with each request to queue a prompt."""
        ...


def find_server() -> Server | None:
    """The `PromptServer`. Not imported here: a ComfyUI that serves has done so, and elsewhere the import can fail."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def is_running() -> bool:
    """True while ComfyUI runs a prompt."""
    queue = getattr(find_server(), "prompt_queue", None)
    return bool(getattr(queue, "currently_running", None))


def add_routes(prefix: str, routes: Iterable[tuple[str, str, Callable[..., object]]]) -> bool:
    """Adds (method, path, handler) below a prefix; False if there are routes with it already, or no server."""
    known = getattr(find_server(), "routes", None)
    if known is None or any(getattr(route, "path", "").startswith(prefix + "/") for route in known):
        return False
    for method, path, handler in routes:
        known.route(method, prefix + path)(handler)
    return True


def tell(client: object, event: str, data: Mapping[str, object]) -> None:
    """Sends a message to one open page; does nothing if there is no such page."""
    send = getattr(find_server(), "send_sync", None)
    if send is not None and isinstance(client, str) and client:
        send(event, data, client)


def running_client() -> object:
    """The page that queued the prompt that runs now; None if none did."""
    return getattr(find_server(), "client_id", None)


def listen(handler: Callable[[QueueRequest], QueueRequest]) -> None:
    """Lets a function see each prompt that is to be queued; does nothing if it does so already."""
    server = find_server()
    if server is not None and handler not in server.on_prompt_handlers:
        server.add_on_prompt_handler(handler)
