"""The layers of Stable Diffusion's UNets from how they are built: native name, diffusers' name and shape side by side.

After the constructors of `ldm.modules.diffusionmodules.openaimodel.UNetModel` and diffusers' `UNet2DConditionModel`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Row = tuple[str, str, tuple[int, ...]]
"""(native name, diffusers' name, shape of its weight)"""


@dataclass(frozen=True)
class Unet:
    """What the family's UNets differ in."""

    channels: int
    multipliers: Sequence[int]
    depths: Sequence[int]
    """Transformer blocks per resolution."""
    middle_depth: int
    context: int
    linear_projections: bool
    label_width: int | None = None
    blocks: int = 2


SD15 = Unet(320, (1, 2, 4, 4), (1, 1, 1, 0), 1, 768, False)
SD21 = Unet(320, (1, 2, 4, 4), (1, 1, 1, 0), 1, 1024, True)
SDXL = Unet(320, (1, 2, 4), (0, 2, 10), 10, 2048, True, 2816)
REFINER = Unet(384, (1, 2, 4, 4), (0, 4, 4, 0), 4, 1280, True, 2560)


def rows(unet: Unet) -> Iterator[Row]:
    """Every layer that has a weight."""
    time = unet.channels * 4
    yield "time_embed.0", "time_embedding.linear_1", (time, unet.channels)
    yield "time_embed.2", "time_embedding.linear_2", (time, time)
    if unet.label_width:
        yield "label_emb.0.0", "add_embedding.linear_1", (time, unet.label_width)
        yield "label_emb.0.2", "add_embedding.linear_2", (time, time)
    yield "input_blocks.0.0", "conv_in", (unet.channels, 4, 3, 3)
    width, number, last = unet.channels, 1, len(unet.multipliers) - 1
    skips = [width]
    for level, (multiplier, depth) in enumerate(zip(unet.multipliers, unet.depths, strict=True)):
        out = unet.channels * multiplier
        for layer in range(unet.blocks):
            yield from _resnet(f"input_blocks.{number}.0", f"down_blocks.{level}.resnets.{layer}", width, out, time)
            width = out
            if depth:
                place = f"down_blocks.{level}.attentions.{layer}"
                yield from _transformer(unet, f"input_blocks.{number}.1", place, width, depth)
            skips.append(width)
            number += 1
        if level != last:
            yield f"input_blocks.{number}.0.op", f"down_blocks.{level}.downsamplers.0.conv", (width, width, 3, 3)
            skips.append(width)
            number += 1
    yield from _resnet("middle_block.0", "mid_block.resnets.0", width, width, time)
    yield from _transformer(unet, "middle_block.1", "mid_block.attentions.0", width, unet.middle_depth)
    yield from _resnet("middle_block.2", "mid_block.resnets.1", width, width, time)
    number = 0
    for level in reversed(range(last + 1)):
        up, out, depth = last - level, unet.channels * unet.multipliers[level], unet.depths[level]
        for layer in range(unet.blocks + 1):
            block = f"output_blocks.{number}"
            yield from _resnet(f"{block}.0", f"up_blocks.{up}.resnets.{layer}", width + skips.pop(), out, time)
            width = out
            if depth:
                yield from _transformer(unet, f"{block}.1", f"up_blocks.{up}.attentions.{layer}", width, depth)
            if level and layer == unet.blocks:
                native = f"{block}.{2 if depth else 1}.conv"
                yield native, f"up_blocks.{up}.upsamplers.0.conv", (width, width, 3, 3)
            number += 1
    yield "out.0", "conv_norm_out", (width,)
    yield "out.2", "conv_out", (4, width, 3, 3)


def _resnet(native: str, diffusers: str, width: int, out: int, time: int) -> Iterator[Row]:
    yield f"{native}.in_layers.0", f"{diffusers}.norm1", (width,)
    yield f"{native}.in_layers.2", f"{diffusers}.conv1", (out, width, 3, 3)
    yield f"{native}.emb_layers.1", f"{diffusers}.time_emb_proj", (out, time)
    yield f"{native}.out_layers.0", f"{diffusers}.norm2", (out,)
    yield f"{native}.out_layers.3", f"{diffusers}.conv2", (out, out, 3, 3)
    if width != out:
        yield f"{native}.skip_connection", f"{diffusers}.conv_shortcut", (out, width, 1, 1)


def _transformer(unet: Unet, native: str, diffusers: str, width: int, depth: int) -> Iterator[Row]:
    square = (width, width) if unet.linear_projections else (width, width, 1, 1)
    layers: list[tuple[str, tuple[int, ...]]] = [("norm", (width,)), ("proj_in", square)]
    for index in range(depth):
        block = f"transformer_blocks.{index}"
        for attention, context in (("attn1", width), ("attn2", unet.context)):
            layers += [
                (f"{block}.{attention}.to_q", (width, width)),
                (f"{block}.{attention}.to_k", (width, context)),
                (f"{block}.{attention}.to_v", (width, context)),
                (f"{block}.{attention}.to_out.0", (width, width)),
            ]
        layers += [(f"{block}.ff.net.0.proj", (8 * width, width)), (f"{block}.ff.net.2", (width, 4 * width))]
        layers += [(f"{block}.norm{number}", (width,)) for number in (1, 2, 3)]
    layers.append(("proj_out", square))
    for name, shape in layers:
        yield f"{native}.{name}", f"{diffusers}.{name}", shape
