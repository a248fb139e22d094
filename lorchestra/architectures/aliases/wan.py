"""Wan 2.1 and 2.2 (with VACE, Animate and S2V) as diffusers calls their layers.

Source: diffusers' `WanTransformer3DModel`, `WanVACETransformer3DModel` and `WanAnimateTransformer3DModel` with their
conversion from the original names. S2V's names are those of SimpleTuner's `WanS2VTransformer3DModel`, as diffusers has
no such class. DiffSynth, musubi-tuner and ai-toolkit write the native names.
"""

from __future__ import annotations

from .rules import FIRST_HALF, SECOND_HALF, Rule, Table

_BLOCK = (
    ("attn1.to_q", "self_attn.q"),
    ("attn1.to_k", "self_attn.k"),
    ("attn1.to_v", "self_attn.v"),
    ("attn1.to_out.0", "self_attn.o"),
    ("attn1.norm_q", "self_attn.norm_q"),
    ("attn1.norm_k", "self_attn.norm_k"),
    ("attn2.to_q", "cross_attn.q"),
    ("attn2.to_k", "cross_attn.k"),
    ("attn2.to_v", "cross_attn.v"),
    ("attn2.to_out.0", "cross_attn.o"),
    ("attn2.norm_q", "cross_attn.norm_q"),
    ("attn2.norm_k", "cross_attn.norm_k"),
    ("attn2.add_k_proj", "cross_attn.k_img"),
    ("attn2.add_v_proj", "cross_attn.v_img"),
    ("attn2.norm_added_k", "cross_attn.norm_k_img"),
    ("norm2", "norm3"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
)
"""Part of a block: diffusers' name, native name."""

TABLE = Table(
    name="Wan in diffusers",
    needs=("blocks.0.self_attn.q", "blocks.0.cross_attn.q", "blocks.0.ffn.0"),
    lacks=(),
    rules=(
        *(
            Rule(f"{blocks}.#.{foreign}", f"{blocks}.#.{native}")
            for blocks in ("blocks", "vace_blocks")
            for foreign, native in _BLOCK
        ),
        Rule("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
        Rule("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
        Rule("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
        Rule("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
        Rule("condition_embedder.time_proj", "time_projection.1"),
        Rule("condition_embedder.image_embedder.norm1", "img_emb.proj.0"),
        Rule("condition_embedder.image_embedder.ff.net.0.proj", "img_emb.proj.1"),
        Rule("condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3"),
        Rule("condition_embedder.image_embedder.norm2", "img_emb.proj.4"),
        Rule("proj_out", "head.head"),
        # VACE
        Rule("vace_blocks.#.proj_in", "vace_blocks.#.before_proj"),
        Rule("vace_blocks.#.proj_out", "vace_blocks.#.after_proj"),
        # Animate
        Rule("face_adapter.#.to_q", "face_adapter.fuser_blocks.#.linear1_q"),
        Rule("face_adapter.#.to_k", "face_adapter.fuser_blocks.#.linear1_kv", FIRST_HALF),
        Rule("face_adapter.#.to_v", "face_adapter.fuser_blocks.#.linear1_kv", SECOND_HALF),
        Rule("face_adapter.#.to_out", "face_adapter.fuser_blocks.#.linear2"),
        Rule("face_adapter.#.norm_q", "face_adapter.fuser_blocks.#.q_norm"),
        Rule("face_adapter.#.norm_k", "face_adapter.fuser_blocks.#.k_norm"),
        Rule("face_encoder.conv1_local", "face_encoder.conv1_local.conv"),
        Rule("face_encoder.conv2", "face_encoder.conv2.conv"),
        Rule("face_encoder.conv3", "face_encoder.conv3.conv"),
        Rule("motion_encoder.conv_in", "motion_encoder.enc.net_app.convs.0.0"),
        Rule("motion_encoder.conv_out", "motion_encoder.enc.net_app.convs.8"),
        Rule("motion_encoder.motion_network.#", "motion_encoder.enc.fc.#"),
        *(
            Rule(
                f"motion_encoder.res_blocks.{number}.{foreign}",
                f"motion_encoder.enc.net_app.convs.{number + 1}.{native}",
            )
            for number in range(7)
            for foreign, native in (("conv1", "conv1.0"), ("conv2", "conv2.1"), ("conv_skip", "skip.1"))
        ),
        # S2V
        Rule("audio_injector.injector.#.to_q", "audio_injector.injector.#.q"),
        Rule("audio_injector.injector.#.to_k", "audio_injector.injector.#.k"),
        Rule("audio_injector.injector.#.to_v", "audio_injector.injector.#.v"),
        Rule("audio_injector.injector.#.to_out.0", "audio_injector.injector.#.o"),
        Rule("condition_embedder.pose_embedder", "cond_encoder"),
    ),
)
