"""Names for ACE-Step 1.5: its official LoRAs leave `decoder.` out, diffusers has names of its own.

Sources: the LoRAs as ComfyUI reads them; diffusers' `AceStepTransformer1DModel` and its conversion script. ACE-Step 1
is called the same by all.
"""

from __future__ import annotations

from .rules import Rule, Table

_NEEDS = ("decoder.layers.0.self_attn.q_proj", "decoder.proj_in.1")

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
    needs=_NEEDS,
    lacks=(),
    rules=(
        *(Rule(f"layers.#.{part}", f"decoder.layers.#.{part}") for part in _PER_LAYER),
        *(Rule(part, f"decoder.{part}") for part in _OUTSIDE),
    ),
)

DIFFUSERS = Table(
    name="ACE-Step 1.5 in diffusers, beyond the names without `decoder.`",
    needs=_NEEDS,
    lacks=(),
    rules=(
        *(
            Rule(f"layers.#.{attention}.{theirs}", f"decoder.layers.#.{attention}.{ours}")
            for attention in ("self_attn", "cross_attn")
            for theirs, ours in (
                ("to_q", "q_proj"),
                ("to_k", "k_proj"),
                ("to_v", "v_proj"),
                ("to_out.0", "o_proj"),
                ("norm_q", "q_norm"),
                ("norm_k", "k_norm"),
            )
        ),
        Rule("proj_in_conv", "decoder.proj_in.1"),
        Rule("proj_out_conv", "decoder.proj_out.1"),
    ),
)
