"""The library of LoRA files in ComfyUI's folders, one for the process."""

from __future__ import annotations

import functools
import sys

import folder_paths

from ...lorchestra.library.catalog import Library


@functools.cache
def lora_library() -> Library:
    """The library; made when it is first asked for, and nothing is read until somebody wants to know something."""
    return Library(
        lambda: folder_paths.get_filename_list("loras"), lambda: folder_paths.get_folder_paths("loras"), _is_running
    )


def _is_running() -> bool:
    """True while ComfyUI runs a prompt."""
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    queue = getattr(server, "prompt_queue", None)
    return bool(getattr(queue, "currently_running", None))
