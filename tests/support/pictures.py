"""The pictures that prompts draw."""

from __future__ import annotations

import io
from typing import Any

import pytest

PIL = pytest.importorskip("PIL.Image")


def saved(outputs: dict[str, Any]) -> dict[str, Any]:
    """What SaveImage gave; the LoRA Schedule's picture is a temporary file."""
    (output,) = (o for o in outputs.values() if any(image["type"] == "output" for image in o.get("images", ())))
    return output


def pixels(server: Any, output: dict[str, Any]) -> bytes:
    """The first picture of a node's output; not an empty one."""
    picture = PIL.open(io.BytesIO(server.view(output["images"][0]))).convert("RGB")
    colours = picture.getcolors(maxcolors=2**24)
    assert len(colours) > 100, "the picture is empty"
    return picture.tobytes()
