"""Where the layers lie in the checkpoint files of each model."""

from __future__ import annotations

import pytest
from support import unet_table

from lorchestra.architectures.sites import Place, Site
from lorchestra.models.checkpoint import targets
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


def test_ema_and_vae_are_no_targets() -> None:
    out = {"model.diffusion_model.out.2.bias": (4,), "model.diffusion_model.out.2.weight": (4, 320, 3, 3)}
    found = targets({**dict.fromkeys(("model_ema.decay", "first_stage_model.decoder.conv_in.weight"), (4,)), **out})
    assert set(found) == {"model"}
    assert {site.key for site in found["model"].values()} == out.keys()


def test_biases_are_found_by_every_name_of_their_layer() -> None:
    prefix, layer = "model.diffusion_model.", "input_blocks.0.0"
    sites = targets({f"{prefix}{layer}.weight": (320, 4, 3, 3), f"{prefix}{layer}.bias": (320,)})["model"]
    assert sites["input_blocks_0_0_bias"] == sites["conv_in_bias"] == Site(f"{prefix}{layer}.bias", (320,))
    assert sites["conv_in"] == Site(f"{prefix}{layer}.weight", (320, 4, 3, 3))


def test_a_packed_weight_has_its_place_without_a_shape() -> None:
    sites = targets({"net.blocks.0.weight": None, "net.blocks.0.bias": (8,)})["model"]
    assert sites["blocks_0"] == Site("net.blocks.0.weight", None)
    assert sites["blocks_0_bias"] == Site("net.blocks.0.bias", (8,))
    assert "te" not in targets({"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight": None})


def test_sd1_s_text_encoder() -> None:
    found = targets(hugging_face("cond_stage_model.transformer.text_model."))
    site = Site("cond_stage_model.transformer.text_model.encoder.layers.1.mlp.fc1.weight", (3072, 768))
    assert found["te"]["text_model_encoder_layers_1_mlp_fc1"] == site
    assert found["te1"] == found["te"]
    bias = Site("cond_stage_model.transformer.text_model.encoder.layers.1.self_attn.q_proj.bias", (768,))
    assert found["te"]["text_model_encoder_layers_1_self_attn_q_proj_bias"] == bias
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
        expected = Site(f"{key}.attn.in_proj_weight", (1280, 1280), Place((0, index * 1280, 1280)))
        assert te2[f"text_model_encoder_layers_1_self_attn_{part}_proj"] == expected
        expected = Site(f"{key}.attn.in_proj_bias", (1280,), Place((0, index * 1280, 1280)))
        assert te2[f"text_model_encoder_layers_1_self_attn_{part}_proj_bias"] == expected
    assert te2["text_model_encoder_layers_1_self_attn_out_proj"] == Site(f"{key}.attn.out_proj.weight", (1280, 1280))
    assert te2["text_model_encoder_layers_1_mlp_fc1"] == Site(f"{key}.mlp.c_fc.weight", (5120, 1280))
    assert found["text_encoders"]["clip_g_transformer_text_model_encoder_layers_1_mlp_fc1"].shape == (5120, 1280)


@pytest.mark.parametrize(
    ("prefix", "encoder"), [("cond_stage_model.model.", "clip_h"), ("conditioner.embedders.0.model.", "clip_g")]
)
def test_sd2_s_and_the_refiner_s_only_text_encoder(prefix: str, encoder: str) -> None:
    found = targets(open_clip(prefix, 1024))
    assert found["te"]["text_model_encoder_layers_0_self_attn_v_proj"].place.offset == (0, 2048, 1024)
    assert f"{encoder}_transformer_text_model_encoder_layers_0_mlp_fc1" in found["text_encoders"]


def test_comfyui_s_own_names() -> None:
    found = targets(
        hugging_face("text_encoders.clip_l.transformer.text_model.")
        | {"text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q.weight": (4096, 4096)}
        | {"text_encoders.t5xxl.logit_scale": ()}
    )
    t5 = "encoder_block_0_layer_0_SelfAttention_q"
    assert found["te3"][t5].shape == (4096, 4096)
    assert found["te3"][t5] == found["te2"][t5] == found["te1"][t5]
    assert found["te1"]["text_model_encoder_layers_0_mlp_fc1"].shape == (3072, 768)


def test_an_image_encoder_is_no_text_encoder() -> None:
    assert targets(open_clip("cond_stage_model.model.visual.")).get("te") is None


def test_a_language_model_is_found_with_and_without_its_outer_name() -> None:
    key = "text_encoders.qwen3_4b.transformer.model.layers.0.mlp.up_proj.weight"
    found = targets({key: (16, 8)})
    for component in ("te", "te1", "te2", "te3"):
        assert found[component]["model_layers_0_mlp_up_proj"] == found[component]["layers_0_mlp_up_proj"]
    assert found["te"]["layers_0_mlp_up_proj"] == Site(key, (16, 8))
    assert found["text_encoders"]["qwen3_4b_transformer_model_layers_0_mlp_up_proj"] == Site(key, (16, 8))


@pytest.mark.parametrize("shape", [(4, 5), (4, 4), (), (4,)])
def test_a_fused_weight_of_another_shape_is_left_alone(shape: tuple[int, ...]) -> None:
    assert "te" not in targets({"cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight": shape})


def test_nothing_at_all() -> None:
    assert targets({}) == {}
    assert targets({"scaled_fp8": (0,)}) == {}
