"""Ideogram 4 as diffusers calls its layers; what is not listed has the native name already.

Source: diffusers' `Ideogram4Transformer2DModel` with its conversion of LoRA files.
"""

from __future__ import annotations

from .rules import FIRST_THIRD, LAST_THIRD, SECOND_THIRD, Rule, Table

TABLE = Table(
    name="Ideogram 4 in diffusers",
    needs=("llm_cond_proj", "layers.0.attention.qkv", "layers.0.attention.o"),
    lacks=(),
    rules=(
        Rule("layers.#.attention.to_q", "layers.#.attention.qkv", FIRST_THIRD),
        Rule("layers.#.attention.to_k", "layers.#.attention.qkv", SECOND_THIRD),
        Rule("layers.#.attention.to_v", "layers.#.attention.qkv", LAST_THIRD),
        Rule("layers.#.attention.to_out.0", "layers.#.attention.o"),
    ),
)
