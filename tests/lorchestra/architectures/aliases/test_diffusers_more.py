"""diffusers' names of video, audio and further image models against ComfyUI's layers of the same models.

`diffusers_more.json` holds every linear and convolution layer of diffusers' own classes, built with the published
configurations; Anima's are those of the text conditioner alone, its transformer is Cosmos-Predict2's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorchestra.architectures.aliases import Alias, Rows, Shape, alias_sites
from lorchestra.architectures.patterns import Pattern
from lorchestra.architectures.signatures import find_signature
from lorchestra.architectures.unet import diffusers_names

_MODELS: Mapping[str, Any] = json.loads(Path(__file__).with_name("diffusers_more.json").read_text("utf-8"))["models"]

_SIGNATURES = {"framepack": "hunyuan_video"}
"""Models that ComfyUI has no class of its own for → the architecture that their LoRAs are for."""

_WITHOUT_COUNTERPART = {
    "framepack": {
        "clean_x_embedder.proj",
        "clean_x_embedder.proj_2x",
        "clean_x_embedder.proj_4x",
        "image_projection.up",
        "image_projection.down",
    },
    # part of the text encoder in ComfyUI
    "ltx2_19b": {"connectors.text_proj_in"},
    # the signature is of a pruned checkpoint, which has a table in place of the time embedding
    "minimax_h3": {"time_embedder.linear_1", "time_embedder.linear_2"},
}

_OTHER_SHAPE = {
    # read by shape from a checkpoint, so the signature has sizes of its own; the modulations are pruned
    "minimax_h3": {"proj_in", "proj_out", "context_embedder", "norm_out.linear"}
    | {f"transformer_blocks.{number}.adaln_proj.linear" for number in range(50)},
}


def _weights(architecture: str) -> dict[str, Shape]:
    signature = find_signature(architecture)
    assert signature
    return {name.removesuffix(".weight"): shape for name, shape in signature.shapes.items() if name.endswith(".weight")}


def _aliases(architecture: str) -> dict[str, Alias]:
    return {alias.foreign: alias for alias in alias_sites(_weights(architecture))}


@pytest.mark.parametrize("model", _MODELS)
def test_every_layer_of_diffusers_model_is_a_native_layer_of_its_shape(model: str) -> None:
    """By our tables, by those of image UNets, or by being native already; the rest is listed."""
    weights = _weights(_SIGNATURES.get(model, model))
    places = {name: Alias(name, name, None) for name in weights}
    places |= {foreign: Alias(foreign, native, None) for native, foreign in diffusers_names(weights).items()}
    places |= {alias.foreign: alias for alias in alias_sites(weights)}
    missing: set[str] = set()
    other: set[str] = set()
    for text, shape in _MODELS[model]["layers"].items():
        for name in Pattern(text, tuple(shape)).names():
            alias = places.get(name)
            if alias is None:
                missing.add(name)
                continue
            found = weights[alias.native]
            if alias.rows:
                found = (alias.rows.length, *found[1:])
            if found != tuple(shape):
                other.add(name)
    assert missing == _WITHOUT_COUNTERPART.get(model, set())
    assert other == _OTHER_SHAPE.get(model, set())


@pytest.mark.parametrize(
    ("architecture", "foreign", "native", "rows"),
    [
        # the order of the rows is that of diffusers' conversions
        ("wan21_i2v_14b", "blocks.39.attn1.to_q", "blocks.39.self_attn.q", None),
        ("wan21_i2v_14b", "blocks.0.attn2.add_v_proj", "blocks.0.cross_attn.v_img", None),
        ("wan21_i2v_14b", "blocks.0.ffn.net.0.proj", "blocks.0.ffn.0", None),
        ("wan21_i2v_14b", "condition_embedder.image_embedder.ff.net.2", "img_emb.proj.3", None),
        ("wan21_i2v_14b", "blocks.7.norm2", "blocks.7.norm3", None),
        ("wan21_vace_14b", "vace_blocks.0.proj_in", "vace_blocks.0.before_proj", None),
        ("wan22_animate", "face_adapter.3.to_k", "face_adapter.fuser_blocks.3.linear1_kv", Rows(0, 5120)),
        ("wan22_animate", "face_adapter.3.to_v", "face_adapter.fuser_blocks.3.linear1_kv", Rows(5120, 5120)),
        ("wan22_animate", "motion_encoder.res_blocks.6.conv2", "motion_encoder.enc.net_app.convs.7.conv2.1", None),
        ("wan22_s2v", "audio_injector.injector.11.to_out.0", "audio_injector.injector.11.o", None),
        ("hunyuan_video", "transformer_blocks.19.attn.to_k", "double_blocks.19.img_attn.qkv", Rows(3072, 3072)),
        ("hunyuan_video", "transformer_blocks.0.attn.add_v_proj", "double_blocks.0.txt_attn.qkv", Rows(6144, 3072)),
        ("hunyuan_video", "single_transformer_blocks.0.proj_mlp", "single_blocks.0.linear1", Rows(9216, 12288)),
        ("hunyuan_video", "norm_out.linear", "final_layer.adaLN_modulation.1", Rows(0, 6144, swapped=True)),
        ("hunyuan_video", "time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer", None),
        ("hunyuan_video15", "time_embed.timestep_embedder.linear_1", "time_in.in_layer", None),
        ("hunyuan_video15", "image_embedder.linear_2", "vision_in.proj.3", None),
        ("hunyuan_image21", "context_embedder_2.linear_3", "byt5_in.fc3", None),
        (
            "hunyuan_image21",
            "context_embedder.token_refiner.refiner_blocks.1.attn.to_v",
            "txt_in.individual_token_refiner.blocks.1.self_attn.qkv",
            Rows(7168, 3584),
        ),
        ("ltxv_13b", "time_embed.linear", "adaln_single.linear", None),
        ("ltxv_13b", "transformer_blocks.47.attn2.norm_k", "transformer_blocks.47.attn2.k_norm", None),
        ("ltx2_19b", "av_cross_attn_video_a2v_gate.linear", "av_ca_a2v_gate_adaln_single.linear", None),
        (
            "ltx2_19b",
            "connectors.audio_connector.transformer_blocks.1.ff.net.2",
            "audio_embeddings_connector.transformer_1d_blocks.1.ff.net.2",
            None,
        ),
        ("mochi", "transformer_blocks.0.attn1.add_q_proj", "blocks.0.attn.qkv_y", Rows(0, 3072)),
        ("mochi", "transformer_blocks.5.ff.net.0.proj", "blocks.5.mlp_x.w1", Rows(0, 16384, swapped=True)),
        ("mochi", "transformer_blocks.47.norm1_context.linear_1", "blocks.47.mod_y", None),
        ("cogvideox_5b", "transformer_blocks.41.attn1.to_out.0", "blocks.41.attn_out", None),
        ("cogvideox_5b", "time_embedding.linear_2", "time_embedding_linear_2", None),
        ("cosmos1_7b", "transformer_blocks.27.attn2.to_k", "blocks.block27.blocks.1.block.attn.to_k.0", None),
        ("cosmos1_7b", "transformer_blocks.3.norm3.linear_1", "blocks.block3.blocks.2.adaLN_modulation.1", None),
        ("anima", "transformer_blocks.27.attn1.to_out.0", "blocks.27.self_attn.output_proj", None),
        ("anima", "text_conditioner.blocks.5.mlp.2", "llm_adapter.blocks.5.mlp.2", None),
        ("anima", "core.transformer_blocks.27.attn2.to_k", "blocks.27.cross_attn.k_proj", None),
        ("hunyuan_dit", "blocks.39.attn1.to_v", "blocks.39.attn1.Wqkv", Rows(2816, 1408)),
        ("hunyuan_dit", "blocks.0.attn2.to_k", "blocks.0.attn2.kv_proj", Rows(0, 1408)),
        ("hunyuan_dit", "norm_out.linear", "final_layer.adaLN_modulation.1", Rows(0, 2816, swapped=True)),
        ("stable_audio", "transformer_blocks.23.attn2.to_v", "transformer.layers.23.cross_attn.to_kv", Rows(768, 768)),
        ("cascade_c", "up_blocks.1.2.attention.to_out.0", "up_blocks.1.2.attention.attn.out_proj", None),
        ("cascade_b", "clip_txt_pooled_mapper", "clip_mapper", None),
        (
            "svd",
            "up_blocks.3.attentions.2.temporal_transformer_blocks.0.attn2.to_k",
            "output_blocks.11.1.time_stack.0.attn2.to_k",
            None,
        ),
        ("svd", "down_blocks.3.resnets.1.temporal_res_block.conv1", "input_blocks.11.0.time_stack.in_layers.2", None),
        ("svd", "mid_block.resnets.1.spatial_res_block.time_emb_proj", "middle_block.2.emb_layers.1", None),
        ("ideogram4", "layers.33.attention.to_k", "layers.33.attention.qkv", Rows(4608, 4608)),
        ("minimax_h3", "transformer_blocks.49.attn.to_v", "blocks.49.attn.qkv_proj", Rows(14336, 7168)),
        ("minimax_h3", "transformer_blocks.0.ff.net.0.proj", "blocks.0.mlp.fc1", Rows(0, 28672, swapped=True)),
        (
            "minimax_music3",
            "transformer_blocks.0.attn.to_k",
            "diffusion_transformer.transformer.layers.0.self_attn.to_qkv",
            Rows(2048, 2048),
        ),
    ],
)
def test_layers_and_rows(architecture: str, foreign: str, native: str, rows: Rows | None) -> None:
    """One or two layers of each kind."""
    assert _aliases(architecture)[foreign] == Alias(foreign, native, rows)


def test_norms_that_swap_names_are_left_alone() -> None:
    """diffusers' `norm2` of Hunyuan-DiT is its native `norm3`, so the name alone does not say which is meant."""
    names = _aliases("hunyuan_dit")
    assert not {"blocks.0.norm2", "blocks.0.norm3"} & names.keys()


@pytest.mark.parametrize(
    ("architecture", "foreign"),
    [("flux1_dev", "context_embedder.proj_in"), ("joyimage", "transformer_blocks.0.attn.to_q"), ("sd21", "conv_in")],
)
def test_other_families_get_none_of_these_names(architecture: str, foreign: str) -> None:
    """Flux.1 and JoyImage have double blocks too, Stable Diffusion 2 has SVD's image layers."""
    assert foreign not in _aliases(architecture)
