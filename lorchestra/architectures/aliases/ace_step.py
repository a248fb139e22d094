"""Names for ACE-Step 1.5 in its official LoRAs, which leave `decoder.` out; ACE-Step 1 is called the same by all.

Source: the LoRAs as ComfyUI reads them.
"""

from __future__ import annotations

from .rules import Rule, Table

_PER_LAYER = (
    *(
        f"{attention}.{part}"
        for attention in ("self_attn", "cross_attn")
        for part in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")
    ),
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
    "self_attn_norm",
    "cross_attn_norm",
    "mlp_norm",
)
_OUTSIDE = (
    "condition_embedder",
    "norm_out",
    "proj_in.1",
    "proj_out.1",
    "time_embed.linear_1",
    "time_embed.linear_2",
    "time_embed.time_proj",
    "time_embed_r.linear_1",
    "time_embed_r.linear_2",
    "time_embed_r.time_proj",
)

TABLE = Table(
    name="ACE-Step 1.5 without `decoder.`",
    needs=("decoder.layers.0.self_attn.q_proj", "decoder.proj_in.1"),
    lacks=(),
    rules=(
        *(Rule(f"layers.#.{part}", f"decoder.layers.#.{part}") for part in _PER_LAYER),
        *(Rule(part, f"decoder.{part}") for part in _OUTSIDE),
    ),
)
