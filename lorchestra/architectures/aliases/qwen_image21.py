"""Qwen-Image-2.1 as diffusers calls its layers; what is not listed has the native name already.

Source: diffusers' `QwenImage21Transformer2DModel`, from which ComfyUI's model was made: released files have the two
ways into the gated MLP as one, the gate first.
"""

from __future__ import annotations

from .rules import FIRST_HALF, SECOND_HALF, Rule, Table

TABLE = Table(
    name="Qwen-Image-2.1 in diffusers",
    needs=("transformer_blocks.0.img_mlp.gate_up",),
    lacks=(),
    rules=(
        Rule("transformer_blocks.#.img_mlp.gate_layer", "transformer_blocks.#.img_mlp.gate_up", FIRST_HALF),
        Rule("transformer_blocks.#.img_mlp.proj", "transformer_blocks.#.img_mlp.gate_up", SECOND_HALF),
    ),
)
