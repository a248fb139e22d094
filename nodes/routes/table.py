"""All routes. To add one: a function of the query or of the body, and its row here."""

from __future__ import annotations

from ..host import server
from .http import Handler, get, post
from .library import find, info, loras, preview
from .stacks import check, read, schedule, write

PREFIX = "/lorchestra"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/loras", get(loras)),
    ("POST", "/check", post(check)),
    ("GET", "/info", get(info)),
    ("GET", "/preview", get(preview)),
    ("POST", "/find", post(find)),
    ("POST", "/schedule", post(schedule)),
    ("POST", "/read", post(read)),
    ("POST", "/write", post(write)),
)
"""Method, path below `PREFIX`, handler."""


def add_routes() -> None:
    """Adds the routes to ComfyUI's server; to be called when the extension is loaded, also twice."""
    server.add_routes(PREFIX, ROUTES)
