"""All routes. To add one: a function of the query or of the body, and its row here."""

from __future__ import annotations

from ..host import process, server
from .about import about
from .http import LARGE, MIDDLE, Handler, get, get_long, post, post_long
from .library import edit, find, identities, index, info, is_deep, is_hashing, loras, preview, thumbnail
from .service import service_routes
from .stacks import blocks, check, is_measuring, read, schedule, strengths, write

PREFIX = "/lorchestra"
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "/about", get(about)),
    ("GET", "/loras", get(loras)),
    ("GET", "/identities", get(identities)),
    ("POST", "/index", post(index)),
    ("POST", "/check", post(check, LARGE)),
    ("GET", "/info", get_long(info, is_hashing)),
    ("POST", "/edit", post(edit)),
    ("GET", "/preview", get(preview, process.picture_jobs)),
    ("GET", "/thumbnail", get(thumbnail, process.picture_jobs)),
    ("POST", "/find", post_long(find, is_deep)),
    ("POST", "/strengths", post_long(strengths, is_measuring, process.strength_jobs)),
    ("POST", "/schedule", post(schedule, MIDDLE)),
    ("POST", "/blocks", post(blocks, LARGE)),
    ("POST", "/read", post(read, MIDDLE)),
    ("POST", "/write", post(write, MIDDLE)),
)
"""Method, path below `PREFIX`, handler. Those of the service are in `lorchestra/service/routes.py`."""


def add_routes() -> bool:
    """Adds the routes to ComfyUI's server; to be called when the extension is loaded, also twice.

    False if there is no server, or if it has them.
    """
    return server.add_routes(PREFIX, (*ROUTES, *service_routes()))
