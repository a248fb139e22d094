"""Names for AuraFlow and Pony V7 in diffusers, from `AuraFlowTransformer2DModel` and its conversion of checkpoints.

In the double layers diffusers' first stream is the image, which is the second one (`w2q`, `mlpX`) natively.
"""

from __future__ import annotations

from .rules import SWAPPED, Rule, Table

TABLE = Table(
    name="AuraFlow in diffusers",
    needs=("double_layers.0.attn.w1q",),
    lacks=(),
    rules=(
        Rule("joint_transformer_blocks.#.attn.to_q", "double_layers.#.attn.w2q"),
        Rule("joint_transformer_blocks.#.attn.to_k", "double_layers.#.attn.w2k"),
        Rule("joint_transformer_blocks.#.attn.to_v", "double_layers.#.attn.w2v"),
        Rule("joint_transformer_blocks.#.attn.to_out.0", "double_layers.#.attn.w2o"),
        Rule("joint_transformer_blocks.#.attn.add_q_proj", "double_layers.#.attn.w1q"),
        Rule("joint_transformer_blocks.#.attn.add_k_proj", "double_layers.#.attn.w1k"),
        Rule("joint_transformer_blocks.#.attn.add_v_proj", "double_layers.#.attn.w1v"),
        Rule("joint_transformer_blocks.#.attn.to_add_out", "double_layers.#.attn.w1o"),
        Rule("joint_transformer_blocks.#.ff.linear_1", "double_layers.#.mlpX.c_fc1"),
        Rule("joint_transformer_blocks.#.ff.linear_2", "double_layers.#.mlpX.c_fc2"),
        Rule("joint_transformer_blocks.#.ff.out_projection", "double_layers.#.mlpX.c_proj"),
        Rule("joint_transformer_blocks.#.ff_context.linear_1", "double_layers.#.mlpC.c_fc1"),
        Rule("joint_transformer_blocks.#.ff_context.linear_2", "double_layers.#.mlpC.c_fc2"),
        Rule("joint_transformer_blocks.#.ff_context.out_projection", "double_layers.#.mlpC.c_proj"),
        Rule("joint_transformer_blocks.#.norm1.linear", "double_layers.#.modX.1"),
        Rule("joint_transformer_blocks.#.norm1_context.linear", "double_layers.#.modC.1"),
        Rule("single_transformer_blocks.#.attn.to_q", "single_layers.#.attn.w1q"),
        Rule("single_transformer_blocks.#.attn.to_k", "single_layers.#.attn.w1k"),
        Rule("single_transformer_blocks.#.attn.to_v", "single_layers.#.attn.w1v"),
        Rule("single_transformer_blocks.#.attn.to_out.0", "single_layers.#.attn.w1o"),
        Rule("single_transformer_blocks.#.ff.linear_1", "single_layers.#.mlp.c_fc1"),
        Rule("single_transformer_blocks.#.ff.linear_2", "single_layers.#.mlp.c_fc2"),
        Rule("single_transformer_blocks.#.ff.out_projection", "single_layers.#.mlp.c_proj"),
        Rule("single_transformer_blocks.#.norm1.linear", "single_layers.#.modCX.1"),
        Rule("pos_embed.proj", "init_x_linear"),
        Rule("context_embedder", "cond_seq_linear"),
        Rule("time_step_proj.linear_1", "t_embedder.mlp.0"),
        Rule("time_step_proj.linear_2", "t_embedder.mlp.2"),
        Rule("norm_out.linear", "modF.1", SWAPPED),
        Rule("proj_out", "final_linear"),
    ),
)
