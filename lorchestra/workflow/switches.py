"""Nodes that hand on one of their inputs, and how their widgets say which; from their own packs' code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Switch:
    """A class of nodes that hands on the input that its widget chooses, and nothing of the others."""

    class_type: str
    selector: str
    """The widget, as ComfyUI's API format names it."""
    inputs: Mapping[bool, str] | str
    """The chosen input: by `True` and `False`, or by a number that takes the place of `{}`."""

    def find_input(self, value: object) -> str | None:
        """The input that a selector's value chooses; None for a link and for what is no such value."""
        if isinstance(self.inputs, str):
            is_number = isinstance(value, int) and not isinstance(value, bool)
            return self.inputs.format(value) if is_number else None
        return self.inputs[value] if isinstance(value, bool) else None


_ON = {True: "on_true", False: "on_false"}

SWITCHES = (
    # ComfyUI, comfy_extras/nodes_logic.py
    Switch("ComfySwitchNode", "switch", _ON),
    # ltdrdata/ComfyUI-Impact-Pack, modules/impact/logics.py and util_nodes.py
    Switch("ImpactSwitch", "select", "input{}"),
    Switch("LatentSwitch", "select", "input{}"),
    Switch("SEGSSwitch", "select", "input{}"),
    Switch("ImpactConditionalBranch", "cond", {True: "tt_value", False: "ff_value"}),
    Switch("ImpactConditionalBranchSelMode", "cond", {True: "tt_value", False: "ff_value"}),
    # crystian/ComfyUI-Crystools, nodes/switch.py
    Switch("Switch any [Crystools]", "boolean", _ON),
    # kijai/ComfyUI-KJNodes, nodes/nodes.py
    Switch("LazySwitchKJ", "switch", _ON),
    # yolain/ComfyUI-Easy-Use, py/nodes/logic.py
    Switch("easy ifElse", "boolean", _ON),
    Switch("easy anythingIndexSwitch", "index", "value{}"),
    # Suzie1/ComfyUI_Comfyroll_CustomNodes, nodes/nodes_utils_logic.py
    Switch("CR Model Input Switch", "Input", "model{}"),
    Switch("CR Switch Model and CLIP", "Input", "model{}"),
    Switch("CR Pipe Switch", "Input", "pipe{}"),
    # WASasquatch/was-node-suite-comfyui, WAS_Node_Suite.py
    Switch("Model Input Switch", "boolean", {True: "model_a", False: "model_b"}),
)
"""Every switch whose choice is believed. To add one: its entry here, and its selector in `js/badges/graph.mjs`.

A switch that is not here, whose choice comes by a link or that takes the first input with a value (rgthree's Any
Switch) may hand on any of its inputs.
"""

_BY_CLASS = {switch.class_type: switch for switch in SWITCHES}


def find_chosen(class_type: str, inputs: Mapping[str, object]) -> str | None:
    """The input that a node hands on; None if it is no known switch, or if that is not certain."""
    switch = _BY_CLASS.get(class_type)
    return None if switch is None else switch.find_input(inputs.get(switch.selector))
