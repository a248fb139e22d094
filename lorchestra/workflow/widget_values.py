"""The values of a saved node's widgets by their names, as the editor restores them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..exchange import lora_manager, rgthree
from ..limits import Json
from .editor import Node
from .node_classes import NodeClass, Spec

CUSTOM_COMBO = "CustomCombo"
"""A class of ComfyUI's whose choices are widgets that the editor adds (`extensions/core/customWidgets.ts`)."""
CONTROL = "control_after_generate"
"""What the editor does with a number after each run: `fixed`, `randomize`, `increment` …"""
POWER_LORA_LOADER = "Power Lora Loader (rgthree)"
LOAD_3D = "LOAD_3D"
_BUTTONS = ("upload 3d model", "upload extra resources", "clear")
"""Buttons that the editor adds behind a view of a model that is loaded; they have values, too."""
_MOST_WIDGETS = 10_000


@dataclass(frozen=True, slots=True)
class Widgets:
    """What the widgets of one node hold."""

    values: dict[str, Json]
    controls: dict[str, str]
    """Widget → what the editor does with it after each run."""


def read_widgets(node: Node, kind: NodeClass | None) -> Widgets:
    """The node's values; those of a class that is not known by name alone, where the file has names."""
    if kind is None:
        named = {name: value for name, value in node.named.items() if name != CONTROL}
        control = node.named.get(CONTROL)
        seeds = [name for name in ("seed", "noise_seed") if name in named and isinstance(control, str)]
        return Widgets(named, {name: str(control) for name in seeds})
    if kind.name == CUSTOM_COMBO:
        return Widgets(_custom_combo(node), {})
    found = _Reader(node).read(kind)
    return Widgets(found.values | _rows(node), found.controls)


class _Reader:
    """Takes the values one by one, in the order of the widgets."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._rest: Iterator[Json] = iter(node.values)
        self._has_values = bool(node.values)
        self._values: dict[str, Json] = {}
        self._controls: dict[str, str] = {}
        self._shown = {slot.name: slot.widget is not None for slot in node.inputs}

    def read(self, kind: NodeClass) -> Widgets:
        waiting = list(reversed(kind.specs))
        while waiting and len(self._values) < _MOST_WIDGETS:
            spec = waiting.pop()
            if not self._is_widget(spec):
                continue
            value = self._next(spec.name, spec.default)
            if value is not None:
                self._values[spec.name] = value
            if spec.type == LOAD_3D and "model_file" in self._values:
                for button in _BUTTONS:
                    self._next(button, None)
            for number in range(spec.controls):
                control = self._next(f"{CONTROL} of {spec.name}", "randomize" if number == 0 else "")
                if number == 0 and isinstance(control, str):
                    self._controls[spec.name] = control
            waiting.extend(reversed(list(spec.chosen(value))))
        return Widgets(self._values, self._controls)

    def _is_widget(self, spec: Spec) -> bool:
        if spec.is_widget:
            return True
        # Another pack's widget: its slot says so. One without a slot may be anything, and has a name in newer files.
        return not spec.options.get("forceInput") and (
            self._shown.get(spec.name, False) or (spec.name in self._node.named and spec.name not in self._shown)
        )

    def _next(self, name: str, default: Json) -> Json:
        """The next value; names count where there are no values in a row."""
        try:
            return next(self._rest)
        except StopIteration:
            return self._node.named.get(name, default) if not self._has_values else default


def _rows(node: Node) -> dict[str, Json]:
    """The rows of other packs' lists of LoRAs, whose widgets `/object_info` does not tell."""
    values: Sequence[Json] = node.values or list(node.named.values())
    if node.type == POWER_LORA_LOADER:
        rows = [value for value in values if rgthree.is_row(value)]
        return {f"lora_{number}": row for number, row in enumerate(rows, 1)}
    if node.type.endswith("(LoraManager)"):
        lists: list[Json] = [value for value in values if isinstance(value, list)]
        found = next((rows for rows in lists if lora_manager.find_rows(rows)), None)
        return {} if found is None else {"loras": found}
    return {}


def _custom_combo(node: Node) -> dict[str, Json]:
    if node.values:
        choice, _, *options = [*node.values, None, None][: max(len(node.values), 2)]
    else:
        choice = node.named.get("choice")
        options = [value for name, value in node.named.items() if name.startswith("option")]
    index = options.index(choice) if choice in options else -1
    return {
        "choice": choice,
        "index": index,
        **{f"option{number}": option for number, option in enumerate(options[:_MOST_WIDGETS], 1)},
    }
