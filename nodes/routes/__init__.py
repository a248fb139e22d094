"""The HTTP routes behind the face: what there is, what it is, whether it fits, and stacks to and from text.

Every answer is JSON; what cannot be done is `{"error": sentence}` with the status 400. Names of files come from pages
and are not trusted: only names that ComfyUI lists are looked up. Work is done in threads, never in the event loop.
"""

from __future__ import annotations

from .service import resume_soon
from .table import add_routes

__all__ = ["add_routes", "resume_soon"]
