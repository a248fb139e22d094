"""Names for Qwen-Image 2.1 in diffusers, whose feed-forward blocks have two layers where ComfyUI has one.

Source: `QwenImage21Transformer2DModel`; `gate_up` is the rows of `gate_layer`, then those of `proj`.
"""

from __future__ import annotations

from .rules import FIRST_HALF, SECOND_HALF, Rule, Table

TABLE = Table(
    name="Qwen-Image 2.1 in diffusers",
    needs=("transformer_blocks.0.img_mlp.gate_up",),
    lacks=(),
    rules=(
        Rule("transformer_blocks.#.img_mlp.gate_layer", "transformer_blocks.#.img_mlp.gate_up", FIRST_HALF),
        Rule("transformer_blocks.#.img_mlp.proj", "transformer_blocks.#.img_mlp.gate_up", SECOND_HALF),
    ),
)
