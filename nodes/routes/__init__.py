"""The HTTP routes behind the face."""

from __future__ import annotations

from .library import add_routes

__all__ = ["add_routes"]
