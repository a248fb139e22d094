"""Hunyuan-DiT as diffusers calls its layers.

Source: diffusers' `HunyuanDiT2DModel` with its conversion from the original names. `norm2` and `norm3`, each of which
is the other one's native name, are not listed: a file's name would not say which is meant.
"""

from __future__ import annotations

from .rules import FIRST_HALF, FIRST_THIRD, LAST_THIRD, SECOND_HALF, SECOND_THIRD, SWAPPED, Rule, Table

TABLE = Table(
    name="Hunyuan-DiT in diffusers",
    needs=("blocks.0.attn1.Wqkv", "blocks.0.attn2.kv_proj", "mlp_t5.0"),
    lacks=(),
    rules=(
        Rule("blocks.#.attn1.to_q", "blocks.#.attn1.Wqkv", FIRST_THIRD),
        Rule("blocks.#.attn1.to_k", "blocks.#.attn1.Wqkv", SECOND_THIRD),
        Rule("blocks.#.attn1.to_v", "blocks.#.attn1.Wqkv", LAST_THIRD),
        Rule("blocks.#.attn1.to_out.0", "blocks.#.attn1.out_proj"),
        Rule("blocks.#.attn1.norm_q", "blocks.#.attn1.q_norm"),
        Rule("blocks.#.attn1.norm_k", "blocks.#.attn1.k_norm"),
        Rule("blocks.#.attn2.to_q", "blocks.#.attn2.q_proj"),
        Rule("blocks.#.attn2.to_k", "blocks.#.attn2.kv_proj", FIRST_HALF),
        Rule("blocks.#.attn2.to_v", "blocks.#.attn2.kv_proj", SECOND_HALF),
        Rule("blocks.#.attn2.to_out.0", "blocks.#.attn2.out_proj"),
        Rule("blocks.#.attn2.norm_q", "blocks.#.attn2.q_norm"),
        Rule("blocks.#.attn2.norm_k", "blocks.#.attn2.k_norm"),
        Rule("blocks.#.ff.net.0.proj", "blocks.#.mlp.fc1"),
        Rule("blocks.#.ff.net.2", "blocks.#.mlp.fc2"),
        Rule("blocks.#.norm1.linear", "blocks.#.default_modulation.1"),
        Rule("blocks.#.norm1.norm", "blocks.#.norm1"),
        Rule("pos_embed.proj", "x_embedder.proj"),
        Rule("text_embedder.linear_1", "mlp_t5.0"),
        Rule("text_embedder.linear_2", "mlp_t5.2"),
        Rule("time_extra_emb.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        Rule("time_extra_emb.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        Rule("time_extra_emb.extra_embedder.linear_1", "extra_embedder.0"),
        Rule("time_extra_emb.extra_embedder.linear_2", "extra_embedder.2"),
        Rule("time_extra_emb.pooler.q_proj", "pooler.q_proj"),
        Rule("time_extra_emb.pooler.k_proj", "pooler.k_proj"),
        Rule("time_extra_emb.pooler.v_proj", "pooler.v_proj"),
        Rule("time_extra_emb.pooler.c_proj", "pooler.c_proj"),
        Rule("norm_out.linear", "final_layer.adaLN_modulation.1", SWAPPED),
        Rule("proj_out", "final_layer.linear"),
    ),
)
