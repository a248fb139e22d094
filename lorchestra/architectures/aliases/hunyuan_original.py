"""Names for HunyuanVideo, HunyuanVideo 1.5 and HunyuanImage 2.1 in Tencent's own code, which ComfyUI renames.

Sources: Tencent's HunyuanVideo and HunyuanVideo-1.5; musubi-tuner, sd-scripts and diffusion-pipe, which train under
these names.
"""

from __future__ import annotations

from .rules import (
    FIRST_THIRD,
    LAST_THIRD,
    LINEAR1_KEY,
    LINEAR1_MLP,
    LINEAR1_QUERY,
    LINEAR1_VALUE,
    SECOND_THIRD,
    Rule,
    Table,
)

_REFINER = "txt_in.individual_token_refiner.blocks.#"

TABLE = Table(
    name="HunyuanVideo in Tencent's code",
    needs=("double_blocks.0.img_attn.qkv", "img_in.proj"),
    lacks=(),
    rules=(
        *(
            rule
            for stream in ("img", "txt")
            for rule in (
                Rule(f"double_blocks.#.{stream}_attn_qkv", f"double_blocks.#.{stream}_attn.qkv"),
                # HunyuanVideo 1.5 keeps them apart
                Rule(f"double_blocks.#.{stream}_attn_q", f"double_blocks.#.{stream}_attn.qkv", FIRST_THIRD),
                Rule(f"double_blocks.#.{stream}_attn_k", f"double_blocks.#.{stream}_attn.qkv", SECOND_THIRD),
                Rule(f"double_blocks.#.{stream}_attn_v", f"double_blocks.#.{stream}_attn.qkv", LAST_THIRD),
                Rule(f"double_blocks.#.{stream}_attn_proj", f"double_blocks.#.{stream}_attn.proj"),
                Rule(f"double_blocks.#.{stream}_attn_q_norm", f"double_blocks.#.{stream}_attn.norm.query_norm"),
                Rule(f"double_blocks.#.{stream}_attn_k_norm", f"double_blocks.#.{stream}_attn.norm.key_norm"),
                Rule(f"double_blocks.#.{stream}_mod.linear", f"double_blocks.#.{stream}_mod.lin"),
                Rule(f"double_blocks.#.{stream}_mlp.fc1", f"double_blocks.#.{stream}_mlp.0"),
                Rule(f"double_blocks.#.{stream}_mlp.fc2", f"double_blocks.#.{stream}_mlp.2"),
            )
        ),
        Rule("single_blocks.#.linear1_q", "single_blocks.#.linear1", LINEAR1_QUERY),
        Rule("single_blocks.#.linear1_k", "single_blocks.#.linear1", LINEAR1_KEY),
        Rule("single_blocks.#.linear1_v", "single_blocks.#.linear1", LINEAR1_VALUE),
        Rule("single_blocks.#.linear1_mlp", "single_blocks.#.linear1", LINEAR1_MLP),
        Rule("single_blocks.#.linear2.fc", "single_blocks.#.linear2"),
        Rule("single_blocks.#.modulation.linear", "single_blocks.#.modulation.lin"),
        Rule("single_blocks.#.q_norm", "single_blocks.#.norm.query_norm"),
        Rule("single_blocks.#.k_norm", "single_blocks.#.norm.key_norm"),
        Rule(f"{_REFINER}.self_attn_qkv", f"{_REFINER}.self_attn.qkv"),
        Rule(f"{_REFINER}.self_attn_proj", f"{_REFINER}.self_attn.proj"),
        Rule(f"{_REFINER}.mlp.fc1", f"{_REFINER}.mlp.0"),
        Rule(f"{_REFINER}.mlp.fc2", f"{_REFINER}.mlp.2"),
        Rule("txt_in.t_embedder.mlp.0", "txt_in.t_embedder.in_layer"),
        Rule("txt_in.t_embedder.mlp.2", "txt_in.t_embedder.out_layer"),
        Rule("txt_in.c_embedder.linear_1", "txt_in.c_embedder.in_layer"),
        Rule("txt_in.c_embedder.linear_2", "txt_in.c_embedder.out_layer"),
        Rule("time_in.mlp.0", "time_in.in_layer"),
        Rule("time_in.mlp.2", "time_in.out_layer"),
        Rule("guidance_in.mlp.0", "guidance_in.in_layer"),
        Rule("guidance_in.mlp.2", "guidance_in.out_layer"),
    ),
)
