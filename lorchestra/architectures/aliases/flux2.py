"""Names for FLUX.2 (dev, klein) in diffusers, from `Flux2Transformer2DModel` and its conversion of checkpoints.

ComfyUI takes FLUX.1's names for FLUX.2 as well, which no tool writes for it, and lacks those of the modulations and of
the time embedding.
"""

from __future__ import annotations

from .flux import DOUBLE_ATTENTION
from .rules import SWAPPED, Rule, Table

TABLE = Table(
    name="FLUX.2 in diffusers",
    needs=("double_stream_modulation_img.lin",),
    lacks=(),
    rules=(
        *DOUBLE_ATTENTION,
        Rule("transformer_blocks.#.ff.linear_in", "double_blocks.#.img_mlp.0"),
        Rule("transformer_blocks.#.ff.linear_out", "double_blocks.#.img_mlp.2"),
        Rule("transformer_blocks.#.ff_context.linear_in", "double_blocks.#.txt_mlp.0"),
        Rule("transformer_blocks.#.ff_context.linear_out", "double_blocks.#.txt_mlp.2"),
        Rule("single_transformer_blocks.#.attn.to_qkv_mlp_proj", "single_blocks.#.linear1"),
        Rule("single_transformer_blocks.#.attn.to_out", "single_blocks.#.linear2"),
        Rule("single_transformer_blocks.#.attn.norm_q", "single_blocks.#.norm.query_norm"),
        Rule("single_transformer_blocks.#.attn.norm_k", "single_blocks.#.norm.key_norm"),
        Rule("double_stream_modulation_img.linear", "double_stream_modulation_img.lin"),
        Rule("double_stream_modulation_txt.linear", "double_stream_modulation_txt.lin"),
        Rule("single_stream_modulation.linear", "single_stream_modulation.lin"),
        Rule("x_embedder", "img_in"),
        Rule("context_embedder", "txt_in"),
        Rule("time_guidance_embed.timestep_embedder.linear_1", "time_in.in_layer"),
        Rule("time_guidance_embed.timestep_embedder.linear_2", "time_in.out_layer"),
        Rule("time_guidance_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
        Rule("time_guidance_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
        Rule("norm_out.linear", "final_layer.adaLN_modulation.1", SWAPPED),
        Rule("proj_out", "final_layer.linear"),
    ),
)
