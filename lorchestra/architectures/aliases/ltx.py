"""LTX-Video and LTX-2 as diffusers calls their layers; the layers of the blocks have the native names already.

Source: diffusers' `LTXVideoTransformer3DModel`, `LTX2VideoTransformer3DModel` and `LTX2TextConnectors` with their
conversions from the original names.
"""

from __future__ import annotations

from .rules import Rule, Table

_ATTENTIONS = ("attn1", "attn2", "audio_attn1", "audio_attn2", "audio_to_video_attn", "video_to_audio_attn")

_MODULATIONS = (
    ("time_embed", "adaln_single"),
    ("audio_time_embed", "audio_adaln_single"),
    ("av_cross_attn_video_scale_shift", "av_ca_video_scale_shift_adaln_single"),
    ("av_cross_attn_audio_scale_shift", "av_ca_audio_scale_shift_adaln_single"),
    ("av_cross_attn_video_a2v_gate", "av_ca_a2v_gate_adaln_single"),
    ("av_cross_attn_audio_v2a_gate", "av_ca_v2a_gate_adaln_single"),
    ("prompt_adaln", "prompt_adaln_single"),
    ("audio_prompt_adaln", "audio_prompt_adaln_single"),
)
"""Modulation layers: diffusers' name, native name. The last two are LTX-2.3's."""

_CONNECTOR = (
    ("attn1.to_q", "attn1.to_q"),
    ("attn1.to_k", "attn1.to_k"),
    ("attn1.to_v", "attn1.to_v"),
    ("attn1.to_out.0", "attn1.to_out.0"),
    ("attn1.to_gate_logits", "attn1.to_gate_logits"),
    ("attn1.norm_q", "attn1.q_norm"),
    ("attn1.norm_k", "attn1.k_norm"),
    ("ff.net.0.proj", "ff.net.0.proj"),
    ("ff.net.2", "ff.net.2"),
)

TABLE = Table(
    name="LTX in diffusers",
    needs=("patchify_proj", "adaln_single.linear", "transformer_blocks.0.attn1.to_q"),
    lacks=(),
    rules=(
        Rule("proj_in", "patchify_proj"),
        Rule("audio_proj_in", "audio_patchify_proj"),
        *(
            Rule(f"{foreign}.{layer}", f"{native}.{layer}")
            for foreign, native in _MODULATIONS
            for layer in ("linear", "emb.timestep_embedder.linear_1", "emb.timestep_embedder.linear_2")
        ),
        *(
            Rule(f"transformer_blocks.#.{attention}.norm_{part}", f"transformer_blocks.#.{attention}.{part}_norm")
            for attention in _ATTENTIONS
            for part in ("q", "k")
        ),
        # a component of its own in diffusers' pipeline, hence the start of the name
        *(
            Rule(
                f"connectors.{kind}_connector.transformer_blocks.#.{foreign}",
                f"{kind}_embeddings_connector.transformer_1d_blocks.#.{native}",
            )
            for kind in ("video", "audio")
            for foreign, native in _CONNECTOR
        ),
    ),
)
