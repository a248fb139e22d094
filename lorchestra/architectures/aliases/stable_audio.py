"""Stable Audio Open as diffusers calls its layers.

Source: diffusers' `StableAudioDiTModel` with its conversion from the original names.
"""

from __future__ import annotations

from .rules import FIRST_HALF, FIRST_THIRD, LAST_THIRD, SECOND_HALF, SECOND_THIRD, Rule, Table

_LAYER = "transformer.layers.#"

TABLE = Table(
    name="Stable Audio in diffusers",
    needs=("transformer.layers.0.self_attn.to_qkv", "transformer.layers.0.cross_attn.to_kv", "to_timestep_embed.0"),
    lacks=(),
    rules=(
        Rule("transformer_blocks.#.attn1.to_q", f"{_LAYER}.self_attn.to_qkv", FIRST_THIRD),
        Rule("transformer_blocks.#.attn1.to_k", f"{_LAYER}.self_attn.to_qkv", SECOND_THIRD),
        Rule("transformer_blocks.#.attn1.to_v", f"{_LAYER}.self_attn.to_qkv", LAST_THIRD),
        Rule("transformer_blocks.#.attn1.to_out.0", f"{_LAYER}.self_attn.to_out"),
        Rule("transformer_blocks.#.attn2.to_q", f"{_LAYER}.cross_attn.to_q"),
        Rule("transformer_blocks.#.attn2.to_k", f"{_LAYER}.cross_attn.to_kv", FIRST_HALF),
        Rule("transformer_blocks.#.attn2.to_v", f"{_LAYER}.cross_attn.to_kv", SECOND_HALF),
        Rule("transformer_blocks.#.attn2.to_out.0", f"{_LAYER}.cross_attn.to_out"),
        Rule("transformer_blocks.#.ff.net.0.proj", f"{_LAYER}.ff.ff.0.proj"),
        Rule("transformer_blocks.#.ff.net.2", f"{_LAYER}.ff.ff.2"),
        Rule("timestep_proj.#", "to_timestep_embed.#"),
        Rule("global_proj.#", "to_global_embed.#"),
        Rule("cross_attention_proj.#", "to_cond_embed.#"),
        Rule("proj_in", "transformer.project_in"),
        Rule("proj_out", "transformer.project_out"),
    ),
)
