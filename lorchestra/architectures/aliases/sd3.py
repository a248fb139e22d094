"""Names for Stable Diffusion 3 and 3.5 in diffusers, from `SD3Transformer2DModel` and its conversion of checkpoints."""

from __future__ import annotations

from .rules import FIRST_THIRD, LAST_THIRD, SECOND_THIRD, SWAPPED, SWAPPED_PAIR, Rule, Table

TABLE = Table(
    name="Stable Diffusion 3 in diffusers",
    needs=("joint_blocks.0.x_block.attn.qkv",),
    lacks=(),
    rules=(
        Rule("transformer_blocks.#.attn.to_q", "joint_blocks.#.x_block.attn.qkv", FIRST_THIRD),
        Rule("transformer_blocks.#.attn.to_k", "joint_blocks.#.x_block.attn.qkv", SECOND_THIRD),
        Rule("transformer_blocks.#.attn.to_v", "joint_blocks.#.x_block.attn.qkv", LAST_THIRD),
        Rule("transformer_blocks.#.attn.to_out.0", "joint_blocks.#.x_block.attn.proj"),
        Rule("transformer_blocks.#.attn.norm_q", "joint_blocks.#.x_block.attn.ln_q"),
        Rule("transformer_blocks.#.attn.norm_k", "joint_blocks.#.x_block.attn.ln_k"),
        Rule("transformer_blocks.#.attn.add_q_proj", "joint_blocks.#.context_block.attn.qkv", FIRST_THIRD),
        Rule("transformer_blocks.#.attn.add_k_proj", "joint_blocks.#.context_block.attn.qkv", SECOND_THIRD),
        Rule("transformer_blocks.#.attn.add_v_proj", "joint_blocks.#.context_block.attn.qkv", LAST_THIRD),
        Rule("transformer_blocks.#.attn.to_add_out", "joint_blocks.#.context_block.attn.proj"),
        Rule("transformer_blocks.#.attn.norm_added_q", "joint_blocks.#.context_block.attn.ln_q"),
        Rule("transformer_blocks.#.attn.norm_added_k", "joint_blocks.#.context_block.attn.ln_k"),
        # the second attention of SD 3.5 medium
        Rule("transformer_blocks.#.attn2.to_q", "joint_blocks.#.x_block.attn2.qkv", FIRST_THIRD),
        Rule("transformer_blocks.#.attn2.to_k", "joint_blocks.#.x_block.attn2.qkv", SECOND_THIRD),
        Rule("transformer_blocks.#.attn2.to_v", "joint_blocks.#.x_block.attn2.qkv", LAST_THIRD),
        Rule("transformer_blocks.#.attn2.to_out.0", "joint_blocks.#.x_block.attn2.proj"),
        Rule("transformer_blocks.#.attn2.norm_q", "joint_blocks.#.x_block.attn2.ln_q"),
        Rule("transformer_blocks.#.attn2.norm_k", "joint_blocks.#.x_block.attn2.ln_k"),
        Rule("transformer_blocks.#.ff.net.0.proj", "joint_blocks.#.x_block.mlp.fc1"),
        Rule("transformer_blocks.#.ff.net.2", "joint_blocks.#.x_block.mlp.fc2"),
        Rule("transformer_blocks.#.ff_context.net.0.proj", "joint_blocks.#.context_block.mlp.fc1"),
        Rule("transformer_blocks.#.ff_context.net.2", "joint_blocks.#.context_block.mlp.fc2"),
        Rule("transformer_blocks.#.norm1.linear", "joint_blocks.#.x_block.adaLN_modulation.1"),
        # the last block's is a final one, with scale before shift; the others agree with diffusers
        Rule(
            "transformer_blocks.#.norm1_context.linear",
            "joint_blocks.#.context_block.adaLN_modulation.1",
            SWAPPED_PAIR,
        ),
        Rule("transformer_blocks.#.norm1_context.linear", "joint_blocks.#.context_block.adaLN_modulation.1"),
        Rule("pos_embed.proj", "x_embedder.proj"),
        Rule("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        Rule("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        Rule("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0"),
        Rule("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2"),
        Rule("norm_out.linear", "final_layer.adaLN_modulation.1", SWAPPED),
        Rule("proj_out", "final_layer.linear"),
    ),
)
