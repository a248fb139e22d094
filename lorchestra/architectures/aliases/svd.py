"""Stable Video Diffusion as diffusers calls the layers that are not as in an image UNet.

Source: diffusers' `UNetSpatioTemporalConditionModel` with its conversion from the original names. The structure is that
of SVD: four levels of two resnets down and three up, attention in the upper three.
"""

from __future__ import annotations

from .rules import Rule, Table

_RESNET = (
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
)
"""Part of a resnet: diffusers' name, native name."""

_TEMPORAL = (
    "norm_in",
    "ff_in.net.0.proj",
    "ff_in.net.2",
    "norm1",
    "attn1.to_q",
    "attn1.to_k",
    "attn1.to_v",
    "attn1.to_out.0",
    "norm2",
    "attn2.to_q",
    "attn2.to_k",
    "attn2.to_v",
    "attn2.to_out.0",
    "norm3",
    "ff.net.0.proj",
    "ff.net.2",
)
"""Layers of a temporal transformer block, which have the same names in both."""

_DOWN = tuple((f"input_blocks.{1 + 3 * level + n}", f"down_blocks.{level}", n) for level in range(4) for n in range(2))
_UP = tuple((f"output_blocks.{3 * level + n}", f"up_blocks.{level}", n) for level in range(4) for n in range(3))
"""Native block, diffusers' block, number of the resnet in there."""

_RESNETS = (
    *((f"{native}.0", f"{block}.resnets.{number}") for native, block, number in (*_DOWN, *_UP)),
    ("middle_block.0", "mid_block.resnets.0"),
    ("middle_block.2", "mid_block.resnets.1"),
)
_ATTENTIONS = (
    *((f"{native}.1", f"{block}.attentions.{number}") for native, block, number in _DOWN if block != "down_blocks.3"),
    *((f"{native}.1", f"{block}.attentions.{number}") for native, block, number in _UP if block != "up_blocks.0"),
    ("middle_block.1", "mid_block.attentions.0"),
)

TABLE = Table(
    name="Stable Video Diffusion in diffusers",
    needs=("input_blocks.1.0.time_stack.in_layers.2", "input_blocks.1.1.time_stack.0.attn1.to_q"),
    lacks=(),
    rules=(
        *(
            Rule(f"{place}.{kind}.{foreign}", f"{native}{inside}.{layer}")
            for native, place in _RESNETS
            for kind, inside in (("spatial_res_block", ""), ("temporal_res_block", ".time_stack"))
            for foreign, layer in _RESNET
        ),
        *(Rule(f"{place}.spatial_res_block.conv_shortcut", f"{native}.skip_connection") for native, place in _RESNETS),
        *(
            Rule(f"{place}.temporal_transformer_blocks.#.{layer}", f"{native}.time_stack.#.{layer}")
            for native, place in _ATTENTIONS
            for layer in _TEMPORAL
        ),
        *(
            Rule(f"{place}.time_pos_embed.linear_{number}", f"{native}.time_pos_embed.{layer}")
            for native, place in _ATTENTIONS
            for number, layer in ((1, 0), (2, 2))
        ),
    ),
)
