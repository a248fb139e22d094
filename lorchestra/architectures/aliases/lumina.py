"""Names for Lumina-Image 2, NewBie and Z-Image in diffusers.

Sources: `ZImageTransformer2DModel` (whose leaves ai-toolkit and musubi-tuner write too),
`Lumina2Transformer2DModel`, and diffusers' conversion of checkpoints. k and v are smaller than q in Lumina 2 and
NewBie (2304 + 768 + 768 rows); ComfyUI's own table has them at the wrong rows.
"""

from __future__ import annotations

from .rules import KEY, QUERY, VALUE, Rule, Table

_BLOCKS = ("layers", "noise_refiner", "context_refiner")

TABLE = Table(
    name="Z-Image in diffusers",
    needs=("noise_refiner.0.attention.qkv",),
    lacks=(),
    rules=(
        *(
            rule
            for block in _BLOCKS
            for rule in (
                Rule(f"{block}.#.attention.to_q", f"{block}.#.attention.qkv", QUERY),
                Rule(f"{block}.#.attention.to_k", f"{block}.#.attention.qkv", KEY),
                Rule(f"{block}.#.attention.to_v", f"{block}.#.attention.qkv", VALUE),
                Rule(f"{block}.#.attention.to_out.0", f"{block}.#.attention.out"),
                Rule(f"{block}.#.attention.norm_q", f"{block}.#.attention.q_norm"),
                Rule(f"{block}.#.attention.norm_k", f"{block}.#.attention.k_norm"),
            )
        ),
        # 2-1: patches of 2 x 2 pixels and 1 frame
        Rule("all_x_embedder.2-1", "x_embedder"),
        Rule("all_final_layer.2-1.linear", "final_layer.linear"),
        Rule("all_final_layer.2-1.adaLN_modulation.1", "final_layer.adaLN_modulation.1"),
    ),
)

LUMINA2 = Table(
    name="Lumina-Image 2 in diffusers",
    needs=("noise_refiner.0.attention.qkv", "layers.0.adaLN_modulation.1"),
    lacks=(),
    rules=(
        *(
            rule
            for block in _BLOCKS
            for rule in (
                Rule(f"{block}.#.attn.to_q", f"{block}.#.attention.qkv", QUERY),
                Rule(f"{block}.#.attn.to_k", f"{block}.#.attention.qkv", KEY),
                Rule(f"{block}.#.attn.to_v", f"{block}.#.attention.qkv", VALUE),
                Rule(f"{block}.#.attn.to_out.0", f"{block}.#.attention.out"),
                Rule(f"{block}.#.attn.norm_q", f"{block}.#.attention.q_norm"),
                Rule(f"{block}.#.attn.norm_k", f"{block}.#.attention.k_norm"),
                Rule(f"{block}.#.feed_forward.linear_1", f"{block}.#.feed_forward.w1"),
                Rule(f"{block}.#.feed_forward.linear_2", f"{block}.#.feed_forward.w2"),
                Rule(f"{block}.#.feed_forward.linear_3", f"{block}.#.feed_forward.w3"),
                Rule(f"{block}.#.norm2", f"{block}.#.attention_norm2"),
            )
        ),
        Rule("layers.#.norm1.linear", "layers.#.adaLN_modulation.1"),
        Rule("layers.#.norm1.norm", "layers.#.attention_norm1"),
        Rule("noise_refiner.#.norm1.linear", "noise_refiner.#.adaLN_modulation.1"),
        Rule("noise_refiner.#.norm1.norm", "noise_refiner.#.attention_norm1"),
        Rule("context_refiner.#.norm1", "context_refiner.#.attention_norm1"),
        Rule("time_caption_embed.timestep_embedder.linear_1", "t_embedder.mlp.0"),
        Rule("time_caption_embed.timestep_embedder.linear_2", "t_embedder.mlp.2"),
        Rule("time_caption_embed.caption_embedder.0", "cap_embedder.0"),
        Rule("time_caption_embed.caption_embedder.1", "cap_embedder.1"),
        Rule("norm_out.linear_1", "final_layer.adaLN_modulation.1"),
        Rule("norm_out.linear_2", "final_layer.linear"),
    ),
)
