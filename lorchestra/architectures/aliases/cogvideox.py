"""CogVideoX as diffusers calls its layers; what is not listed has the native name already.

Source: diffusers' `CogVideoXTransformer3DModel`, from which ComfyUI's model was made.
"""

from __future__ import annotations

from .rules import Rule, Table

_BLOCK = (
    ("attn1.to_q", "q"),
    ("attn1.to_k", "k"),
    ("attn1.to_v", "v"),
    ("attn1.to_out.0", "attn_out"),
    ("attn1.norm_q", "norm_q"),
    ("attn1.norm_k", "norm_k"),
    ("ff.net.0.proj", "ff_proj"),
    ("ff.net.2", "ff_out"),
    ("norm1.linear", "norm1.linear"),
    ("norm1.norm", "norm1.norm"),
    ("norm2.linear", "norm2.linear"),
    ("norm2.norm", "norm2.norm"),
)
"""Part of a block: diffusers' name, native name."""

TABLE = Table(
    name="CogVideoX in diffusers",
    needs=("blocks.0.norm1.linear", "blocks.0.ff_proj", "patch_embed.text_proj"),
    lacks=(),
    rules=(
        *(Rule(f"transformer_blocks.#.{foreign}", f"blocks.#.{native}") for foreign, native in _BLOCK),
        Rule("time_embedding.linear_#", "time_embedding_linear_#"),
        Rule("ofs_embedding.linear_#", "ofs_embedding_linear_#"),
    ),
)
