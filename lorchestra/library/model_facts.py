"""What is known of one checkpoint or diffusion model: from its header and its sidecars, never from its tensors."""

from __future__ import annotations

from ..errors import LorchestraError
from ..files.header import read_header
from .facts import UNREADABLE, Facts, File, facts_of
from .sidecars import read_sidecars

MODEL_FOLDERS = ("checkpoints", "diffusion_models")
"""ComfyUI's words for the folders of models that a LoRA may be applied to."""
MODEL_SUFFIXES = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl")
"""Endings of models; ComfyUI's own, and those of packs that load GGUF."""

MODEL = "model"
"""The kind of files that hold a diffusion model."""
OTHER = "unknown"
"""The kind of files that hold none."""


def read_model_facts(file: File) -> Facts:
    """Reads the header and the sidecars; total. A pickle is not opened: only its sidecars are read."""
    beside = read_sidecars(file.path, file.beside)
    # They need all that is known of models, which takes a while to load.
    from ..models.base_file import logical_shapes, read_base
    from ..models.checkpoint import model_tensors
    from ..models.recognise import identify_base

    try:
        if file.path.lower().endswith(".gguf"):
            shapes, metadata = read_base(file.path).shapes, dict[str, str]()
        else:
            header = read_header(file.path)
            shapes, metadata = logical_shapes(header), header.metadata
        tensors = model_tensors(shapes)
    except (LorchestraError, OSError):
        return facts_of(UNREADABLE, beside, {})
    architectures = identify_base(tensors)
    return facts_of(MODEL if tensors else OTHER, beside, metadata, architectures)
