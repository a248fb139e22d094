"""Names for PixArt-α and PixArt-Σ in diffusers, from `PixArtTransformer2DModel` and its conversion scripts."""

from __future__ import annotations

from .rules import FIRST_HALF, FIRST_THIRD, LAST_THIRD, SECOND_HALF, SECOND_THIRD, Rule, Table

TABLE = Table(
    name="PixArt in diffusers",
    needs=("blocks.0.cross_attn.kv_linear", "blocks.0.attn.qkv"),
    lacks=(),
    rules=(
        Rule("transformer_blocks.#.attn1.to_q", "blocks.#.attn.qkv", FIRST_THIRD),
        Rule("transformer_blocks.#.attn1.to_k", "blocks.#.attn.qkv", SECOND_THIRD),
        Rule("transformer_blocks.#.attn1.to_v", "blocks.#.attn.qkv", LAST_THIRD),
        Rule("transformer_blocks.#.attn1.to_out.0", "blocks.#.attn.proj"),
        Rule("transformer_blocks.#.attn2.to_q", "blocks.#.cross_attn.q_linear"),
        Rule("transformer_blocks.#.attn2.to_k", "blocks.#.cross_attn.kv_linear", FIRST_HALF),
        Rule("transformer_blocks.#.attn2.to_v", "blocks.#.cross_attn.kv_linear", SECOND_HALF),
        Rule("transformer_blocks.#.attn2.to_out.0", "blocks.#.cross_attn.proj"),
        Rule("transformer_blocks.#.ff.net.0.proj", "blocks.#.mlp.fc1"),
        Rule("transformer_blocks.#.ff.net.2", "blocks.#.mlp.fc2"),
        Rule("pos_embed.proj", "x_embedder.proj"),
        Rule("caption_projection.linear_1", "y_embedder.y_proj.fc1"),
        Rule("caption_projection.linear_2", "y_embedder.y_proj.fc2"),
        Rule("adaln_single.linear", "t_block.1"),
        Rule("adaln_single.emb.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        Rule("adaln_single.emb.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        # α only
        Rule("adaln_single.emb.resolution_embedder.linear_1", "csize_embedder.mlp.0"),
        Rule("adaln_single.emb.resolution_embedder.linear_2", "csize_embedder.mlp.2"),
        Rule("adaln_single.emb.aspect_ratio_embedder.linear_1", "ar_embedder.mlp.0"),
        Rule("adaln_single.emb.aspect_ratio_embedder.linear_2", "ar_embedder.mlp.2"),
        Rule("proj_out", "final_layer.linear"),
    ),
)
