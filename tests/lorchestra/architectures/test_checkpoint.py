"""Where the layers lie in the checkpoint files of each model."""

from __future__ import annotations

import pytest
import unet_table

from lorchestra.architectures.checkpoint import targets
from lorchestra.placing import Site
from lorchestra.spelling.prefixes import flatten

UNET = {native: shape for native, _, shape in unet_table.rows(unet_table.SD15)}


def hugging_face(prefix: str, width: int = 768, layers: int = 2) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}embeddings.token_embedding.weight": (49408, width)}
    for layer in range(layers):
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{prefix}encoder.layers.{layer}.self_attn.{part}.weight"] = (width, width)
            shapes[f"{prefix}encoder.layers.{layer}.self_attn.{part}.bias"] = (width,)
        shapes[f"{prefix}encoder.layers.{layer}.mlp.fc1.weight"] = (4 * width, width)
    return shapes


def open_clip(prefix: str, width: int = 1280, layers: int = 2) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {f"{prefix}token_embedding.weight": (49408, width)}
    for layer in range(layers):
        block = f"{prefix}transformer.resblocks.{layer}"
        shapes[f"{block}.attn.in_proj_weight"] = (3 * width, width)
        shapes[f"{block}.attn.in_proj_bias"] = (3 * width,)
        shapes[f"{block}.attn.out_proj.weight"] = (width, width)
        shapes[f"{block}.mlp.c_fc.weight"] = (4 * width, width)
    return shapes


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model.", "net.", ""])
def test_a_unet_is_found_with_any_prefix_or_alone(prefix: str) -> None:
    sites = targets({f"{prefix}{name}.weight": shape for name, shape in UNET.items()})["model"]
    for native, diffusers, shape in unet_table.rows(unet_table.SD15):
        expected = Site(f"{prefix}{native}.weight", shape)
        assert sites[flatten(native)] == sites[flatten(diffusers)] == expected


def test_a_diffusers_unet_is_found_too() -> None:
    rows = list(unet_table.rows(unet_table.SD15))
    sites = targets({f"{diffusers}.weight": shape for _, diffusers, shape in rows})["model"]
    assert all(sites[flatten(diffusers)] == Site(f"{diffusers}.weight", shape) for _, diffusers, shape in rows)


def test_biases_ema_and_vae_are_no_targets() -> None:
    names = ("model.diffusion_model.out.2.bias", "model_ema.decay", "first_stage_model.decoder.conv_in.weight")
    found = targets({**dict.fromkeys(names, (4,)), "model.diffusion_model.out.2.weight": (4, 320, 3, 3)})
    assert set(found) == {"model"}
    assert {site.key for site in found["model"].values()} == {"model.diffusion_model.out.2.weight"}


def test_sd1_s_text_encoder() -> None:
    found = targets(hugging_face("cond_stage_model.transformer.text_model."))
    site = Site("cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.weight", (3072, 768))
    assert found["te"]["text_model_encoder_layers_1_mlp_fc1"] == site
    assert found["te1"] is found["te"]
    assert found["text_encoders"]["clip_l_transformer_text_model_encoder_layers_1_mlp_fc1"] == site
    assert "te2" not in found


def test_early_merges_leave_text_model_out() -> None:
    found = targets(hugging_face("cond_stage_model.transformer."))
    site = Site("cond_stage_model.transformer.encoder.layers.0.mlp.fc1.weight", (3072, 768))
    assert found["te"]["text_model_encoder_layers_0_mlp_fc1"] == site


def test_sdxl_s_two_text_encoders() -> None:
    first, second = "conditioner.embedders.0.transformer.text_model.", "conditioner.embedders.1.model."
    found = targets(hugging_face(first) | open_clip(second))
    assert found["te1"]["text_model_encoder_layers_0_self_attn_q_proj"].shape == (768, 768)
    te2, key = found["te2"], f"{second}transformer.resblocks.1"
    for index, part in enumerate("qkv"):
        expected = Site(f"{key}.attn.in_proj_weight", (1280, 1280), (0, index * 1280, 1280))
        assert te2[f"text_model_encoder_layers_1_self_attn_{part}_proj"] == expected
    assert te2["text_model_encoder_layers_1_self_attn_out_proj"] == Site(f"{key}.attn.out_proj.weight", (1280, 1280))
    assert te2["text_model_encoder_layers_1_mlp_fc1"] == Site(f"{key}.mlp.c_fc.weight", (5120, 1280))
    assert found["text_encoders"]["clip_g_transformer_text_model_encoder_layers_1_mlp_fc1"].shape == (5120, 1280)


@pytest.mark.parametrize(
    ("prefix", "encoder"), [("cond_stage_model.model.", "clip_h"), ("conditioner.embedders.0.model.", "clip_g")]
)
def test_sd2_s_and_the_refiner_s_only_text_encoder(prefix: str, encoder: str) -> None:
    found = targets(open_clip(prefix, 1024))
    assert found["te"]["text_model_encoder_layers_0_self_attn_v_proj"].offset == (0, 2048, 1024)
    assert f"{encoder}_transformer_text_model_encoder_layers_0_mlp_fc1" in found["text_encoders"]


def test_comfyui_s_own_names() -> None:
    found = targets(
        hugging_face("text_encoders.clip_l.transformer.text_model.")
        | {"text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}
        | {"text_encoders.t5xxl.logit_scale": ()}
    )
    assert found["te3"]["encoder_block_0_layer_0_SelfAttention_q"].shape == (4096, 4096)
    assert found["te1"]["text_model_encoder_layers_0_mlp_fc1"].shape == (3072, 768)


def test_an_image_encoder_is_no_text_encoder() -> None:
    assert targets(open_clip("cond_stage_model.model.visual.")).get("te") is None


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 4), (), (3,)])
def test_a_fused_weight_of_another_shape_is_left_alone(shape: tuple[int, ...]) -> None:
    assert "te" not in targets({"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight": shape})


def test_nothing_at_all() -> None:
    assert targets({}) == {}
    assert targets({"scaled_fp8": (0,)}) == {}
