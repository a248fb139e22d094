"""Stable Cascade, stages B and C, as diffusers calls its layers; what is not listed has the native name already.

Source: diffusers' `StableCascadeUNet` with its conversion from the original names. The original fuses q, k and v, but
ComfyUI takes them apart when it loads a checkpoint.
"""

from __future__ import annotations

from .rules import Rule, Table

TABLE = Table(
    name="Stable Cascade in diffusers",
    needs=("clf.1", "embedding.1", "up_blocks.0.2.attention.attn.to_q"),
    lacks=(),
    rules=(
        *(
            Rule(f"{blocks}.#.#.attention.{foreign}", f"{blocks}.#.#.attention.attn.{native}")
            for blocks in ("down_blocks", "up_blocks")
            for foreign, native in (("to_q", "to_q"), ("to_k", "to_k"), ("to_v", "to_v"), ("to_out.0", "out_proj"))
        ),
        # stage B; stage C has a layer of that name natively
        Rule("clip_txt_pooled_mapper", "clip_mapper"),
    ),
)
