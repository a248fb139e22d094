"""cloneofsimo's numbered names of 2022 (`unet:0:up`): which layer each number is, from the classes in the metadata.

The numbers count the layers in the order in which PyTorch lists the modules of diffusers' UNet and transformers' CLIP
of that time, as far as they stand in a module of one of those classes. Sources: `_find_modules_v2` and
`save_safeloras_with_embeds` in cloneofsimo/lora, `lora_diffusion/lora.py`, run on the UNet of diffusers 0.11.1;
`CLIPAttention` in transformers 4.25.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from ..files.header import Header

SPELLING = "cloneofsimo numbers"

EMBEDDING = "<embed>"
"""Stands in the metadata under the token of a bundled textual inversion, which is the name of its tensor as well."""

_LONGEST_LIST = 10_000

_ATTENTION = frozenset({"CrossAttention", "Attention"})
_FEED_FORWARD = "GEGLU"
_RESNET = "ResnetBlock2D"
_CLIP_ATTENTION = "CLIPAttention"

_Layer = tuple[str, int, tuple[int, ...]]
"""Name, rows, and the weight's shape without its rows."""

_CHANNELS = (320, 640, 1280, 1280)
_TIME = 1280
"""Width of the embedding of the step."""


def real_names(header: Header) -> Mapping[str, str]:
    """Tensor → the name that a diffusers trainer would give it; empty for files that are not numbered.

    Empty as well when the widths are not just those of SD 1.x or SD 2.x in this order.
    Example: `unet:0:up` → `unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.up.weight`.
    """
    shapes = header.shapes
    if "unet:0:up" not in shapes and "text_encoder:0:up" not in shapes:
        return {}
    parts = {name: _halves(shapes, name) for name in ("unet", "text_encoder")}
    embeddings = sum(1 for name in shapes if header.metadata.get(name) == EMBEDDING)
    if sum(len(halves) * 2 for halves in parts.values()) + embeddings != len(shapes):
        return {}
    names: dict[str, str] = {}
    for part, halves in parts.items():
        if not halves:
            continue
        classes = _classes(header.metadata.get(part, ""))
        for layers in _unets(classes) if part == "unet" else _text_encoders(classes, len(halves)):
            if len(layers) == len(halves) and all(map(_fits, layers, halves)):
                break
        else:
            return {}
        for number, (layer, _, _) in enumerate(layers):
            for half in ("up", "down"):
                names[f"{part}:{number}:{half}"] = f"{part}.{layer}.lora.{half}.weight"
    return names


_Halves = list[tuple[tuple[int, ...], tuple[int, ...]]]


def _halves(shapes: Mapping[str, tuple[int, ...]], part: str) -> _Halves:
    """The shapes of (up, down) by their number, as far as the numbers go on without a gap."""
    result: _Halves = []
    while True:
        up, down = (shapes.get(f"{part}:{len(result)}:{half}") for half in ("up", "down"))
        if up is None or down is None:
            return result
        result.append((up, down))


def _classes(text: str) -> frozenset[str]:
    """The classes in a JSON list such as `["GEGLU", "CrossAttention"]`; none where it is something else."""
    if len(text) > _LONGEST_LIST:
        return frozenset()
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return frozenset()
    if not isinstance(value, list):
        return frozenset()
    return frozenset(item for item in cast("list[Any]", value) if isinstance(item, str))


def _fits(layer: _Layer, halves: tuple[tuple[int, ...], tuple[int, ...]]) -> bool:
    up, down = halves
    _, rows, inner = layer
    return len(up) >= 2 and up[0] == rows and down[1:] == inner and up[1] == down[0] and len(up) == len(down)


def _text_encoders(classes: frozenset[str], count: int) -> Iterator[list[_Layer]]:
    """CLIP-L of SD 1.x and OpenCLIP-H of SD 2.x; four layers a block in the order in which transformers makes them."""
    if classes == frozenset({_CLIP_ATTENTION}) and count % 4 == 0:
        for width, blocks in ((768, (12,)), (1024, (22, 23, 24))):
            if count // 4 in blocks:
                yield [
                    (f"text_model.encoder.layers.{block}.self_attn.{leaf}", width, (width,))
                    for block in range(count // 4)
                    for leaf in ("k_proj", "v_proj", "q_proj", "out_proj")
                ]


def _unets(classes: frozenset[str]) -> Iterator[list[_Layer]]:
    """The UNets of SD 1.x (context 768) and 2.x (1024); before diffusers 0.15 the feed-forward came second, then last.

    Where the feed-forward is left out both orders are the same; where it is there its width tells them apart.
    """
    if classes and classes <= {*_ATTENTION, _FEED_FORWARD, _RESNET}:
        for context in (768, 1024):
            for feed_forward_last in (False, True):
                yield list(_unet(classes, context, feed_forward_last))


def _unet(classes: frozenset[str], context: int, feed_forward_last: bool) -> Iterator[_Layer]:
    """Down blocks, up blocks, middle block: the middle one is made after the other two lists."""

    def attentions(block: str, count: int, width: int) -> Iterator[_Layer]:
        for number in range(count):
            start = f"{block}.attentions.{number}.transformer_blocks.0"
            feed_forward = (f"{start}.ff.net.0.proj", 8 * width, (width,))
            if _ATTENTION & classes:
                yield from attention(f"{start}.attn1", width, width)
            if _FEED_FORWARD in classes and not feed_forward_last:
                yield feed_forward
            if _ATTENTION & classes:
                yield from attention(f"{start}.attn2", width, context)
            if _FEED_FORWARD in classes and feed_forward_last:
                yield feed_forward

    def attention(name: str, width: int, inner: int) -> Iterator[_Layer]:
        yield f"{name}.to_q", width, (width,)
        yield f"{name}.to_k", width, (inner,)
        yield f"{name}.to_v", width, (inner,)
        yield f"{name}.to_out.0", width, (width,)

    def resnets(block: str, widths: list[tuple[int, int]]) -> Iterator[_Layer]:
        if _RESNET not in classes:
            return
        for number, (before, after) in enumerate(widths):
            start = f"{block}.resnets.{number}"
            yield f"{start}.conv1", after, (before, 3, 3)
            yield f"{start}.time_emb_proj", after, (_TIME,)
            yield f"{start}.conv2", after, (after, 3, 3)
            if before != after:
                yield f"{start}.conv_shortcut", after, (before, 1, 1)

    before = _CHANNELS[0]
    skipped = [before]
    """Widths that the up blocks take from the down blocks, the last one first."""
    for level, width in enumerate(_CHANNELS):
        if level < 3:
            yield from attentions(f"down_blocks.{level}", 2, width)
        yield from resnets(f"down_blocks.{level}", [(before, width), (width, width)])
        skipped += [width, width] + ([width] if level < 3 else [])
        before = width
    for level, width in enumerate(reversed(_CHANNELS)):
        if level > 0:
            yield from attentions(f"up_blocks.{level}", 3, width)
        widths: list[tuple[int, int]] = []
        for _ in range(3):
            widths.append((before + skipped.pop(), width))
            before = width
        yield from resnets(f"up_blocks.{level}", widths)
    width = _CHANNELS[-1]
    yield from attentions("mid_block", 1, width)
    yield from resnets("mid_block", [(width, width), (width, width)])
