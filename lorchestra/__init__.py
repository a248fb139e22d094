"""Lorchestra's core: LoRA files, stacks of them, and what they do to a model's weights. Never imports ComfyUI."""

__version__ = "0.1.0"
