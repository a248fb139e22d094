"""Mochi as diffusers calls its layers.

Source: diffusers' `MochiTransformer3DModel` with its conversion from the original names. The halves of the MLP's first
layer are swapped: diffusers gates with the second, Mochi with the first.
"""

from __future__ import annotations

from .rules import FIRST_THIRD, LAST_THIRD, SECOND_THIRD, SWAPPED, Rule, Table

TABLE = Table(
    name="Mochi in diffusers",
    needs=("blocks.0.attn.qkv_x", "blocks.0.attn.qkv_y", "t5_yproj"),
    lacks=(),
    rules=(
        Rule("transformer_blocks.#.attn1.to_q", "blocks.#.attn.qkv_x", FIRST_THIRD),
        Rule("transformer_blocks.#.attn1.to_k", "blocks.#.attn.qkv_x", SECOND_THIRD),
        Rule("transformer_blocks.#.attn1.to_v", "blocks.#.attn.qkv_x", LAST_THIRD),
        Rule("transformer_blocks.#.attn1.to_out.0", "blocks.#.attn.proj_x"),
        Rule("transformer_blocks.#.attn1.add_q_proj", "blocks.#.attn.qkv_y", FIRST_THIRD),
        Rule("transformer_blocks.#.attn1.add_k_proj", "blocks.#.attn.qkv_y", SECOND_THIRD),
        Rule("transformer_blocks.#.attn1.add_v_proj", "blocks.#.attn.qkv_y", LAST_THIRD),
        Rule("transformer_blocks.#.attn1.to_add_out", "blocks.#.attn.proj_y"),
        Rule("transformer_blocks.#.attn1.norm_q", "blocks.#.attn.q_norm_x"),
        Rule("transformer_blocks.#.attn1.norm_k", "blocks.#.attn.k_norm_x"),
        Rule("transformer_blocks.#.attn1.norm_added_q", "blocks.#.attn.q_norm_y"),
        Rule("transformer_blocks.#.attn1.norm_added_k", "blocks.#.attn.k_norm_y"),
        Rule("transformer_blocks.#.ff.net.0.proj", "blocks.#.mlp_x.w1", SWAPPED),
        Rule("transformer_blocks.#.ff.net.2", "blocks.#.mlp_x.w2"),
        Rule("transformer_blocks.#.ff_context.net.0.proj", "blocks.#.mlp_y.w1", SWAPPED),
        Rule("transformer_blocks.#.ff_context.net.2", "blocks.#.mlp_y.w2"),
        Rule("transformer_blocks.#.norm1.linear", "blocks.#.mod_x"),
        Rule("transformer_blocks.#.norm1_context.linear", "blocks.#.mod_y"),
        # the last block's, which is smaller
        Rule("transformer_blocks.#.norm1_context.linear_1", "blocks.#.mod_y"),
        Rule("patch_embed.proj", "x_embedder.proj"),
        Rule("time_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        Rule("time_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        Rule("time_embed.pooler.to_q", "t5_y_embedder.to_q"),
        Rule("time_embed.pooler.to_kv", "t5_y_embedder.to_kv"),
        Rule("time_embed.pooler.to_out", "t5_y_embedder.to_out"),
        Rule("time_embed.caption_proj", "t5_yproj"),
        Rule("norm_out.linear", "final_layer.mod", SWAPPED),
        Rule("proj_out", "final_layer.linear"),
    ),
)
