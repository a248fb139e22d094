"""Files with the names and shapes of real models and LoRAs that take no room: their numbers are holes, all zero."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from fnmatch import fnmatch
from math import prod
from pathlib import Path

from lorchestra.architectures.signatures import find_signature

Shape = tuple[int, ...]
CHECKPOINT = "model.diffusion_model."


def write_sparse(path: Path, shapes: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> Path:
    """An fp16 safetensors file with these tensors; as large as a real one to everybody but the disk."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, shape in shapes.items():
        size = 2 * prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    return path


def base_shapes(architecture: str, prefix: str = CHECKPOINT) -> dict[str, Shape]:
    """All tensors of a diffusion model."""
    signature = find_signature(architecture)
    assert signature, architecture
    return {prefix + name: shape for name, shape in signature.shapes.items()}


def lora_shapes(architecture: str, pattern: str = "*", rank: int = 1) -> dict[str, Shape]:
    """A LoRA in kohya's spelling for the layers of a model whose native names match."""
    shapes: dict[str, Shape] = {}
    for name, (out, *inner) in base_shapes(architecture, "").items():
        if not name.endswith(".weight") or not inner or not fnmatch(name, pattern):
            continue
        module = f"lora_unet_{name.removesuffix('.weight').replace('.', '_')}"
        shapes[f"{module}.lora_down.weight"] = (rank, *inner)
        shapes[f"{module}.lora_up.weight"] = (out, rank, *(1 for _ in inner[1:]))
    assert shapes, (architecture, pattern)
    return shapes
