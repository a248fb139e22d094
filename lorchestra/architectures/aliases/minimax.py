"""MiniMax-H3 and MiniMax-Music3 as diffusers, and with it SimpleTuner, calls their layers.

Source: diffusers' `MiniMaxH3Transformer3DModel` and `MiniMaxMusic3Transformer1DModel` with their conversions from the
original names. In H3 the halves of the MLP's first layer are swapped: diffusers gates with the second, the model with
the first. q, k and v are stacked, as ComfyUI has them; DiffSynth trains with their rows interleaved by heads.
"""

from __future__ import annotations

from .rules import FIRST_THIRD, LAST_THIRD, SECOND_THIRD, SWAPPED, Rule, Table

_BLOCKS = (("transformer_blocks", "blocks"), ("token_refiner.refiner_blocks", "token_refiner.blocks"))

H3 = Table(
    name="MiniMax-H3 in diffusers",
    needs=("blocks.0.attn.qkv_proj", "blocks.0.mlp.fc1", "video_patch_proj"),
    lacks=(),
    rules=(
        *(
            Rule(f"{foreign}.#.{layer}", f"{native}.#.{native_layer}", rows)
            for foreign, native in _BLOCKS
            for layer, native_layer, rows in (
                ("attn.to_q", "attn.qkv_proj", FIRST_THIRD),
                ("attn.to_k", "attn.qkv_proj", SECOND_THIRD),
                ("attn.to_v", "attn.qkv_proj", LAST_THIRD),
                ("ff.net.0.proj", "mlp.fc1", SWAPPED),
            )
        ),
        *(
            Rule(f"{foreign}.#.{layer}", f"{native}.#.{native_layer}")
            for foreign, native in _BLOCKS
            for layer, native_layer in (
                ("attn.to_out.0", "attn.out_proj"),
                ("attn.norm_q", "attn.q_norm"),
                ("attn.norm_k", "attn.k_norm"),
                ("ff.net.2", "mlp.fc2"),
                ("norm1", "norm1"),
                ("norm2", "norm2"),
                ("adaln_proj.linear", "adaln_proj.linear"),
            )
        ),
        Rule("proj_in", "video_patch_proj"),
        Rule("audio_proj_in", "audio_patch_proj"),
        Rule("context_embedder", "condition_proj"),
        Rule("time_embedder.linear_1", "time_embedder.proj_in"),
        Rule("time_embedder.linear_2", "time_embedder.proj_out"),
        Rule("norm_out.norm", "final_layer.norm"),
        Rule("norm_out.linear", "final_layer.adaln_proj.linear"),
        Rule("proj_out", "final_layer.video_out"),
        Rule("audio_proj_out", "final_layer.audio_out"),
    ),
)

_MUSIC = "diffusion_transformer"
_LAYER = f"{_MUSIC}.transformer.layers.#"

MUSIC3 = Table(
    name="MiniMax-Music3 in diffusers",
    needs=(f"{_MUSIC}.transformer.layers.0.self_attn.to_qkv", f"{_MUSIC}.to_timestep_embed.0"),
    lacks=(),
    rules=(
        Rule("transformer_blocks.#.attn.to_q", f"{_LAYER}.self_attn.to_qkv", FIRST_THIRD),
        Rule("transformer_blocks.#.attn.to_k", f"{_LAYER}.self_attn.to_qkv", SECOND_THIRD),
        Rule("transformer_blocks.#.attn.to_v", f"{_LAYER}.self_attn.to_qkv", LAST_THIRD),
        Rule("transformer_blocks.#.attn.to_out.0", f"{_LAYER}.self_attn.to_out"),
        Rule("transformer_blocks.#.ff_in", f"{_LAYER}.ff.ff.0.proj"),
        Rule("transformer_blocks.#.ff_out", f"{_LAYER}.ff.ff.2"),
        Rule("time_embed.linear_1", f"{_MUSIC}.to_timestep_embed.0"),
        Rule("time_embed.linear_2", f"{_MUSIC}.to_timestep_embed.2"),
        Rule("preprocess_conv", f"{_MUSIC}.preprocess_conv"),
        Rule("postprocess_conv", f"{_MUSIC}.postprocess_conv"),
        Rule("proj_in", f"{_MUSIC}.transformer.project_in"),
        Rule("proj_out", f"{_MUSIC}.transformer.project_out"),
    ),
)
