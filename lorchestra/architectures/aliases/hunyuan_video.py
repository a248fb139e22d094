"""HunyuanVideo (with i2v and FramePack), HunyuanVideo 1.5 and HunyuanImage 2.1 as others call their layers.

Sources: diffusers' `HunyuanVideoTransformer3DModel`, `HunyuanVideo15Transformer3DModel` and
`HunyuanImageTransformer2DModel` with their conversions from the original names. FramePack's transformer has the names
of the first; its `clean_x_embedder` and `image_projection` have no native counterpart.
"""

from __future__ import annotations

from .flux import BLOCKS
from .rules import FIRST_THIRD, LAST_THIRD, SECOND_THIRD, SWAPPED, Rule, Table

_REFINER = "context_embedder.token_refiner.refiner_blocks.#"
_NATIVE_REFINER = "txt_in.individual_token_refiner.blocks.#"

TABLE = Table(
    name="HunyuanVideo in diffusers",
    needs=("double_blocks.0.img_attn.qkv", "txt_in.individual_token_refiner.blocks.0.self_attn.qkv"),
    lacks=(),
    rules=(
        *BLOCKS,
        Rule(f"{_REFINER}.attn.to_q", f"{_NATIVE_REFINER}.self_attn.qkv", FIRST_THIRD),
        Rule(f"{_REFINER}.attn.to_k", f"{_NATIVE_REFINER}.self_attn.qkv", SECOND_THIRD),
        Rule(f"{_REFINER}.attn.to_v", f"{_NATIVE_REFINER}.self_attn.qkv", LAST_THIRD),
        Rule(f"{_REFINER}.attn.to_out.0", f"{_NATIVE_REFINER}.self_attn.proj"),
        Rule(f"{_REFINER}.norm1", f"{_NATIVE_REFINER}.norm1"),
        Rule(f"{_REFINER}.norm2", f"{_NATIVE_REFINER}.norm2"),
        Rule(f"{_REFINER}.ff.net.0.proj", f"{_NATIVE_REFINER}.mlp.0"),
        Rule(f"{_REFINER}.ff.net.2", f"{_NATIVE_REFINER}.mlp.2"),
        Rule(f"{_REFINER}.norm_out.linear", f"{_NATIVE_REFINER}.adaLN_modulation.1"),
        Rule("context_embedder.proj_in", "txt_in.input_embedder"),
        Rule("context_embedder.time_text_embed.timestep_embedder.linear_1", "txt_in.t_embedder.in_layer"),
        Rule("context_embedder.time_text_embed.timestep_embedder.linear_2", "txt_in.t_embedder.out_layer"),
        Rule("context_embedder.time_text_embed.text_embedder.linear_1", "txt_in.c_embedder.in_layer"),
        Rule("context_embedder.time_text_embed.text_embedder.linear_2", "txt_in.c_embedder.out_layer"),
        Rule("x_embedder.proj", "img_in.proj"),
        Rule("norm_out.linear", "final_layer.adaLN_modulation.1", SWAPPED),
        Rule("proj_out", "final_layer.linear"),
        # the time embedding's name differs: HunyuanVideo, HunyuanVideo 1.5, HunyuanImage 2.1
        *(
            Rule(f"{embed}.timestep_embedder{end}.linear_{number}", f"{native}.{layer}")
            for embed in ("time_text_embed", "time_embed", "time_guidance_embed")
            for end, native in (("", "time_in"), ("_r", "time_r_in"))
            for number, layer in ((1, "in_layer"), (2, "out_layer"))
        ),
        *(
            Rule(f"{embed}.guidance_embedder.linear_{number}", f"guidance_in.{layer}")
            for embed in ("time_text_embed", "time_guidance_embed")
            for number, layer in ((1, "in_layer"), (2, "out_layer"))
        ),
        Rule("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
        Rule("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
        # HunyuanVideo 1.5 and HunyuanImage 2.1
        Rule("context_embedder_2.norm", "byt5_in.layernorm"),
        Rule("context_embedder_2.linear_1", "byt5_in.fc1"),
        Rule("context_embedder_2.linear_2", "byt5_in.fc2"),
        Rule("context_embedder_2.linear_3", "byt5_in.fc3"),
        Rule("image_embedder.norm_in", "vision_in.proj.0"),
        Rule("image_embedder.linear_1", "vision_in.proj.1"),
        Rule("image_embedder.linear_2", "vision_in.proj.3"),
        Rule("image_embedder.norm_out", "vision_in.proj.4"),
        Rule("cond_type_embed", "cond_type_embedding"),
    ),
)
