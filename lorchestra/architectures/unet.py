"""Layer names of the Stable Diffusion UNets (SD 1.x, 2.x, SDXL and their like): native and as diffusers calls them.

Native names count blocks through (`input_blocks.4.1.proj_in`), diffusers counts them per resolution
(`down_blocks.1.attentions.0.proj_in`). The structure is read off the native names, so that every depth works.
Checked against ComfyUI's own table for SD 1.5, SD 2, SDXL, SSD-1B and the SDXL refiner in `tests/nodes`.
"""

from __future__ import annotations

from collections.abc import Iterable

_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}


def diffusers_names(native: Iterable[str]) -> dict[str, str]:
    """Native module name → diffusers' name of the same module, for those that have one.

    Names come without `.weight`. Example: `output_blocks.2.1.conv` → `up_blocks.0.upsamplers.0.conv`.
    """
    names = list(native)
    places = {**_MIDDLE_BLOCKS, **_input_places(names), **_output_places(names)}
    result: dict[str, str] = {}
    for name in names:
        if name in _OUTSIDE:
            result[name] = _OUTSIDE[name]
            continue
        parts = name.split(".", 3)
        block = ".".join(parts[:2]) if parts[0] == "middle_block" else ".".join(parts[:3])
        place = places.get(block)
        rest = name[len(block) + 1 :]
        if place is None or not rest:
            continue
        if ".resnets." in place:
            if rest in _RESNET:
                result[name] = f"{place}.{_RESNET[rest]}"
        elif ".downsamplers." in place:
            if rest == "op":
                result[name] = f"{place}.conv"
        else:
            result[name] = f"{place}.{rest}"
    return result


_MIDDLE_BLOCKS = {f"middle_block.{index}": f"mid_block.{place}" for index, place in _MIDDLE.items()}


def _blocks(names: Iterable[str], kind: str) -> dict[int, dict[int, str]]:
    """Block number → part number → what the part is: `resnet`, `attention`, `down` or `up`."""
    blocks: dict[int, dict[int, str]] = {}
    for name in names:
        parts = name.split(".", 3)
        if len(parts) < 4 or parts[0] != kind or not (_is_number(parts[1]) and _is_number(parts[2])):
            continue
        rest = parts[3]
        if rest in _RESNET:
            part = "resnet"
        elif rest == "op":
            part = "down"
        elif rest == "conv":
            part = "up"
        else:
            part = "attention"
        blocks.setdefault(int(parts[1]), {}).setdefault(int(parts[2]), part)
    return blocks


def _is_number(text: str) -> bool:
    """True for what `int` reads: not for `²`, which is a digit too, and not for thousands of digits."""
    return text.isdecimal() and len(text) < 5


def _input_places(names: Iterable[str]) -> dict[str, str]:
    places: dict[str, str] = {}
    level = layer = 0
    for number, parts in sorted(_blocks(names, "input_blocks").items()):
        if "down" in parts.values():
            places[f"input_blocks.{number}.0"] = f"down_blocks.{level}.downsamplers.0"
            level, layer = level + 1, 0
            continue
        if "resnet" not in parts.values():
            continue
        for index, part in parts.items():
            kind = "resnets" if part == "resnet" else "attentions"
            places[f"input_blocks.{number}.{index}"] = f"down_blocks.{level}.{kind}.{layer}"
        layer += 1
    return places


def _output_places(names: Iterable[str]) -> dict[str, str]:
    places: dict[str, str] = {}
    level = layer = 0
    for number, parts in sorted(_blocks(names, "output_blocks").items()):
        for index, part in parts.items():
            if part == "up":
                places[f"output_blocks.{number}.{index}"] = f"up_blocks.{level}.upsamplers.0"
            else:
                kind = "resnets" if part == "resnet" else "attentions"
                places[f"output_blocks.{number}.{index}"] = f"up_blocks.{level}.{kind}.{layer}"
        if "up" in parts.values():
            level, layer = level + 1, 0
        else:
            layer += 1
    return places
