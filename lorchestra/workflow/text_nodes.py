"""Nodes that give text, and what of their inputs it is made of; from ComfyUI's and their own packs' code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextNode:
    """A class of nodes whose first output is its texts, joined."""

    class_type: str
    inputs: tuple[str, ...]
    delimiter: str | None = None
    """The input with what stands between the texts."""
    comment: str = ""
    """Lines that begin with it are left out."""


TEXT_NODES = (
    # ComfyUI, comfy_extras/nodes_primitive.py and nodes_string.py
    TextNode("PrimitiveString", ("value",)),
    TextNode("PrimitiveStringMultiline", ("value",)),
    TextNode("StringConcatenate", ("string_a", "string_b"), "delimiter"),
    TextNode("StringTrim", ("string",)),
    TextNode("CaseConverter", ("string",)),
    # pythongosssss/ComfyUI-Custom-Scripts, py/show_text.py
    TextNode("ShowText|pysssss", ("text",)),
    # kijai/ComfyUI-KJNodes, nodes/nodes.py
    TextNode("StringConstant", ("string",)),
    TextNode("StringConstantMultiline", ("string",)),
    TextNode("JoinStrings", ("string1", "string2"), "delimiter"),
    # Suzie1/ComfyUI_Comfyroll_CustomNodes, nodes/nodes_utils_text.py
    TextNode("CR Text", ("text",)),
    TextNode("CR Text Concatenate", ("text1", "text2"), "separator"),
    # WASasquatch/was-node-suite-comfyui, WAS_Node_Suite.py
    TextNode("Text Multiline", ("text",), comment="#"),
    TextNode("Text Concatenate", ("text_a", "text_b", "text_c", "text_d"), "delimiter"),
    # yolain/ComfyUI-Easy-Use, py/nodes/prompt.py
    TextNode("easy positive", ("positive",)),
)
"""Every node that is known to hand text on. To add one: its entry here, with a prompt in `test_prompts.py`.

What any other node makes of the text that it gets is not known before the run.
"""

BY_CLASS = {node.class_type: node for node in TEXT_NODES}
