"""The base model's file of a node, from the prompt that is being queued or run, through ComfyUI's `folder_paths`.

While ComfyUI validates a prompt, a node gets neither the prompt (the hidden input is empty then) nor what is linked to
it. So the prompt is kept when it arrives, for the task that handles that request and for no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import folder_paths
from comfy_execution.utils import get_executing_context

from . import process, server

if TYPE_CHECKING:
    from ...lorchestra.workflow.graph import Prompt
    from ...lorchestra.workflow.prompts import Prompts
    from ...lorchestra.workflow.sampling import Sampling

_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "ckpt_name": ("checkpoints",),
    "unet_name": ("diffusion_models", "unet_gguf"),
    "gguf_name": ("model_gguf", "unet_gguf"),
    "model_name": ("checkpoints", "diffusion_models", "unet_gguf"),
}
"""Loader's input → the folders it may choose from; `unet_gguf` is ComfyUI-GGUF's, `model_gguf` the gguf pack's."""

core_nodes: Any = import_module("nodes")
"""ComfyUI's own. By `import nodes` a type checker would find this package."""


def listen() -> None:
    """Lets `find_queued_base` know the prompts that arrive; to be called when the extension is loaded, also twice.

    ComfyUI 0.3.64 calls an extension's `get_node_list` but not its `on_load`.
    """
    server.listen(remember)


def remember(request: server.QueueRequest) -> server.QueueRequest:
    """Keeps the body of a request to queue a prompt while it is validated, and passes it on as it is."""
    process.request.set(request)
    return request


def find_queued_base(input_name: str = "model") -> str | None:
    """The base model's file of the node that is being validated; None if that is not certain.

    To be called in `validate_inputs`. Also None if the prompt did not come through ComfyUI's own route.
    """
    found = _validated()
    return find_base(*found, input_name) if found else None


def find_queued_inputs() -> Mapping[str, object] | None:
    """All inputs of the node that is being validated, as they were sent: a link is `[node, output]`.

    To be called in `validate_inputs`, which is given only the inputs that it names, and says its sentence once for
    each of them. None if the prompt did not come through ComfyUI's own route.
    """
    prompt, node_id = _validated() or ({}, "")
    node = prompt.get(node_id)
    inputs = cast("dict[str, object]", node).get("inputs") if isinstance(node, dict) else None
    return cast("dict[str, object]", inputs) if isinstance(inputs, dict) else None


def find_choice(inputs: Mapping[str, object] | None, name: str, default: str, *, unknown: str) -> str:
    """A choice in the queued prompt; `unknown` if the prompt is not known yet, or the choice comes by a link."""
    value = unknown if inputs is None else inputs.get(name, default)
    return value if isinstance(value, str) else unknown


def _validated() -> tuple[Prompt, str] | None:
    """The prompt that is being validated and the id of the node whose turn it is."""
    request, context = process.request.get(), get_executing_context()
    if request is None or context is None or request.get("prompt_id") not in (None, context.prompt_id):
        return None
    prompt = request.get("prompt")
    return (cast("Prompt", prompt), context.node_id) if isinstance(prompt, dict) else None


def find_base(prompt: Prompt, node_id: str, input_name: str = "model") -> str | None:
    """The full path of the file from which the model at a node's input is loaded; None if that is not certain."""
    from ...lorchestra.workflow.upstream import find_base_path

    return find_base_path(prompt, node_id, kind=_kind, find=_find, accepts=_accepts, input_name=input_name)


def read_prompts(prompt: Prompt) -> Prompts:
    """What a prompt says to the models of the stacks in it."""
    from ...lorchestra.workflow.prompts import Prompts

    return Prompts(prompt, _kind, _accepts)


def read_sampling(prompt: Prompt) -> Sampling:
    """The one run that a prompt describes; raises `StackError`, which says what is not known."""
    from ...lorchestra.workflow.sampling import find_sampling

    return find_sampling(prompt, _kind, _accepts)


def _find(input_name: str, value: str) -> str | None:
    """Only names that ComfyUI lists: `..`, absolute paths and drive letters lead nowhere."""
    paths: set[str] = set()
    for folder in _FOLDERS[input_name]:
        if folder in folder_paths.folder_names_and_paths and value in folder_paths.get_filename_list(folder):
            path = folder_paths.get_full_path(folder, value)
            if path is not None:
                paths.add(path)
    return paths.pop() if len(paths) == 1 else None


def _kind(class_type: str, output: int) -> str | None:
    types = getattr(core_nodes.NODE_CLASS_MAPPINGS.get(class_type), "RETURN_TYPES", None)
    if not isinstance(types, (tuple, list)) or not 0 <= output < len(cast("list[object]", types)):
        return None
    return _name(cast("list[object]", types)[output])


def _accepts(class_type: str, name: str) -> str | None:
    find_types = getattr(core_nodes.NODE_CLASS_MAPPINGS.get(class_type), "INPUT_TYPES", None)
    try:
        types = find_types() if callable(find_types) else None
    except Exception:  # it is another pack's code, and is asked for a hint only
        return None
    groups = cast("dict[str, object]", types) if isinstance(types, dict) else {}
    for group in (groups.get("required"), groups.get("optional")):
        declared = cast("dict[str, object]", group).get(name) if isinstance(group, dict) else None
        if isinstance(declared, (tuple, list)) and declared:
            type_ = cast("list[object]", declared)[0]
            return "COMBO" if isinstance(type_, (tuple, list)) else _name(type_)
    return None


def _name(type_: object) -> str | None:
    """Packs make types of their own that are equal to anything, and that cannot be hashed."""
    return str.__str__(type_) if isinstance(type_, str) else None
