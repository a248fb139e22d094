"""One name or more of every trainer and tool whose source was read, as it writes them."""

from __future__ import annotations

import pytest

from lorchestra.spelling import prefixes, slots

Row = tuple[str, str, str, str, str, str]
"""Tensor, component, flattened path, algorithm, slot, spelling."""

CLIP_Q = "text_model_encoder_layers_0_self_attn_q_proj"
T5_Q = "encoder_block_0_layer_0_SelfAttention_q"

WRITERS: dict[str, list[Row]] = {
    # networks/lora.py, lora_flux.py, lora_sd3.py, lora_lumina.py, lora_anima.py, lora_hunyuan_image.py
    "sd-scripts": [
        ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight", "model",
         "down_blocks_0_attentions_0_proj_in", "LoRA", "down", "kohya"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.alpha", "model",
         "input_blocks_4_1_transformer_blocks_0_attn1_to_q", "", "alpha", "kohya"),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight", "model", "double_blocks_0_img_attn_qkv", "LoRA",
         "up", "kohya"),
        (f"lora_te_{CLIP_Q}.lora_up.weight", "te", CLIP_Q, "LoRA", "up", "kohya"),
        (f"lora_te1_{CLIP_Q}.lora_up.weight", "te1", CLIP_Q, "LoRA", "up", "kohya"),
        (f"lora_te2_{CLIP_Q}.lora_up.weight", "te2", CLIP_Q, "LoRA", "up", "kohya"),
        (f"lora_te3_{T5_Q}.lora_down.weight", "te3", T5_Q, "LoRA", "down", "kohya"),
        ("lora_te_layers_0_self_attn_q_proj.lora_down.weight", "te", "layers_0_self_attn_q_proj", "LoRA", "down",
         "kohya"),
        ("lora_unet_llm_adapter_blocks_0_self_attn_q_proj.lora_down.weight", "model",
         "llm_adapter_blocks_0_self_attn_q_proj", "LoRA", "down", "kohya"),
        # convert_anima_lora_to_comfy.py
        ("text_encoders.qwen3_06b.transformer.model.layers.0.mlp.up_proj.lora_A.weight", "text_encoders",
         "qwen3_06b_transformer_model_layers_0_mlp_up_proj", "LoRA", "down", "ComfyUI native"),
    ],
    # networks/dylora.py and lora_fa.py write what networks/lora.py writes
    "sd-scripts DyLoRA, LoRA-FA": [
        ("lora_unet_mid_block_resnets_0_conv1.lora_up.weight", "model", "mid_block_resnets_0_conv1", "LoRA", "up",
         "kohya"),
    ],
    # networks/oft.py and oft_flux.py, whose fused layers have one tensor for each part
    "sd-scripts OFT": [
        ("oft_unet_down_blocks_0_attentions_0_proj_in.oft_blocks", "model", "down_blocks_0_attentions_0_proj_in", "OFT",
         "blocks", "kohya OFT"),
        ("oft_unet_double_blocks_0_img_attn_proj.oft_blocks.0", "model", "double_blocks_0_img_attn_proj", "OFT",
         "blocks", "kohya OFT"),
        ("oft_unet_double_blocks_0_img_attn_qkv.oft_blocks.2", "model", "double_blocks_0_img_attn_qkv", "OFT",
         "blocks_2", "kohya OFT"),
        ("oft_unet_double_blocks_0_img_attn_qkv.alpha", "model", "double_blocks_0_img_attn_qkv", "", "alpha",
         "kohya OFT"),
    ],
    # networks/lora_wan.py, lora_zimage.py, lora_hidream_o1.py, loha.py, lokr.py; convert_lora.py
    "musubi-tuner": [
        ("lora_unet_blocks_0_self_attn_q.lora_down.weight", "model", "blocks_0_self_attn_q", "LoRA", "down", "kohya"),
        ("lora_unet_layers_0_attention_to_q.lora_up.weight", "model", "layers_0_attention_to_q", "LoRA", "up", "kohya"),
        ("lora_unet_model_language_model_layers_0_mlp_up_proj.lora_up.weight", "model",
         "language_model_layers_0_mlp_up_proj", "LoRA", "up", "kohya"),
        ("lora_unet_blocks_0_ffn_0.hada_w1_a", "model", "blocks_0_ffn_0", "LoHa", "w1_a", "kohya"),
        ("lora_unet_blocks_0_ffn_0.lokr_w2_b", "model", "blocks_0_ffn_0", "LoKr", "w2_b", "kohya"),
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "model", "blocks_0_self_attn_q", "LoRA", "down",
         "ComfyUI native"),
    ],
    # lycoris/modules/*.py, lycoris/wrapper.py
    "LyCORIS": [
        ("lora_unet_mid_block_resnets_0_conv1.lora_mid.weight", "model", "mid_block_resnets_0_conv1", "LoRA", "mid",
         "kohya"),
        ("lora_unet_x.dora_scale", "model", "x", "DoRA", "magnitude", "kohya"),
        ("lora_unet_x.hada_t2", "model", "x", "LoHa", "t2", "kohya"),
        ("lora_unet_x.lokr_t2", "model", "x", "LoKr", "t2", "kohya"),
        ("lora_unet_x.a1.weight", "model", "x", "GLoRA", "a1", "kohya"),
        ("lora_unet_x.oft_blocks", "model", "x", "OFT", "blocks", "kohya"),
        ("lora_unet_x.rescale", "model", "x", "OFT", "rescale", "kohya"),
        ("lora_unet_x.oft_diag", "model", "x", "OFT", "diag", "kohya"),
        ("lora_unet_x.on_input", "model", "x", "(IA)³", "on_input", "kohya"),
        ("lora_unet_x.diff", "model", "x", "full difference", "diff", "kohya"),
        ("lora_unet_x.diff_b", "model", "x", "bias difference", "diff_b", "kohya"),
        ("lora_unet_x.w_norm", "model", "x", "norm difference", "w_norm", "kohya"),
        ("lora_unet_x.b_norm", "model", "x", "norm bias difference", "b_norm", "kohya"),
        ("lycoris_down_blocks_0_attentions_0_proj_in.lokr_w1", "model", "down_blocks_0_attentions_0_proj_in", "LoKr",
         "w1", "LyCORIS"),
    ],
    # tuners/*/layer.py, save_and_load.py
    "PEFT": [
        ("base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight", "model", "transformer_blocks_0_attn_to_q",
         "LoRA", "down", "PEFT"),
        ("base_model.model.x.lora_B.bias", "model", "x", "LoRA bias", "bias", "PEFT"),
        ("base_model.model.x.lora_magnitude_vector", "model", "x", "DoRA", "magnitude_vector", "PEFT"),
        ("base_model.model.x.lora_magnitude_vector.weight", "model", "x", "DoRA", "magnitude_vector", "PEFT"),
        ("base_model.model.x.hada_w2_b", "model", "x", "LoHa", "w2_b", "PEFT"),
        ("base_model.model.x.lokr_w2", "model", "x", "LoKr", "w2", "PEFT"),
        ("base_model.model.x.oft_R.weight", "model", "x", "OFT", "rotation", "PEFT"),
        ("base_model.model.x.oft_r", "model", "x", "OFT", "rotation", "PEFT"),
        ("base_model.model.x.oft_s", "model", "x", "OFT", "scale", "PEFT"),
        ("base_model.model.x.boft_R", "model", "x", "BOFT", "rotation", "PEFT"),
        ("base_model.model.x.boft_s", "model", "x", "BOFT", "scale", "PEFT"),
        ("base_model.model.x.ia3_l", "model", "x", "(IA)³", "vector", "PEFT"),
        ("base_model.model.x.vera_lambda_b", "model", "x", "VeRA", "b", "PEFT"),
        ("base_model.model.x.lora_E", "model", "x", "AdaLoRA", "singular", "PEFT"),
        ("base_model.model.x.miss_block", "model", "x", "MiSS", "block", "PEFT"),
        ("base_model.model.x.shira_weight", "model", "x", "SHiRA", "weight", "PEFT"),
        ("unet.base_model.model.down_blocks.0.x.lora_A.weight", "model", "down_blocks_0_x", "LoRA", "down", "PEFT"),
        ("transformer.base_model.model.x.lora_B.weight", "model", "x", "LoRA", "up", "PEFT"),
        ("text_encoder.base_model.model.text_model.x.lora_B.weight", "te", "text_model_x", "LoRA", "up", "PEFT"),
        ("text_encoder_2.base_model.model.text_model.x.lora_B.weight", "te2", "text_model_x", "LoRA", "up", "PEFT"),
    ],
    # loaders/lora_base.py, lora_pipeline.py; attention processors up to 0.20; text encoders up to 0.21
    "diffusers": [
        ("unet.down_blocks.0.attn1.to_out.0.lora_A.weight", "model", "down_blocks_0_attn1_to_out_0", "LoRA", "down",
         "diffusers"),
        ("unet.down_blocks.0.attn1.to_q.lora.up.weight", "model", "down_blocks_0_attn1_to_q", "LoRA", "up",
         "diffusers"),
        ("unet.down_blocks.0.attn1.processor.to_out_lora.up.weight", "model", "down_blocks_0_attn1_to_out_0", "LoRA",
         "up", "diffusers attention processors"),
        ("down_blocks.0.attn1.processor.to_k_lora.down.weight", "model", "down_blocks_0_attn1_to_k", "LoRA", "down",
         "diffusers attention processors"),
        ("transformer.single_transformer_blocks.0.proj_mlp.lora_B.weight", "model",
         "single_transformer_blocks_0_proj_mlp", "LoRA", "up", "diffusers"),
        ("prior.down_blocks.0.0.attention.to_q.lora_A.weight", "model", "down_blocks_0_0_attention_to_q", "LoRA",
         "down", "diffusers"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_linear_layer.down.weight", "te", CLIP_Q,
         "LoRA", "down", "diffusers"),
        ("text_encoder.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "te", CLIP_Q, "LoRA", "down",
         "diffusers"),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "te2", CLIP_Q, "LoRA", "down",
         "diffusers"),
    ],
    # model.lora_text_encoders(), LoRASaverMixin.py, convert_lora_util.py; module/LoRAModule.py
    "OneTrainer DIFFUSERS": [
        ("transformer.transformer_blocks.0.attn.to_q.lora_A.weight", "model", "transformer_blocks_0_attn_to_q", "LoRA",
         "down", "diffusers"),
        ("transformer.transformer_blocks.0.attn.to_q.lora_magnitude_vector.weight", "model",
         "transformer_blocks_0_attn_to_q", "DoRA", "magnitude_vector", "diffusers"),
        ("text_encoder_3.encoder.block.0.layer.0.SelfAttention.q.lora_A.weight", "te3", T5_Q, "LoRA", "down",
         "diffusers"),
        ("text_encoder_4.model.layers.0.self_attn.q_proj.lora_A.weight", "te4", "model_layers_0_self_attn_q_proj",
         "LoRA", "down", "diffusers"),
    ],
    "OneTrainer KOHYA": [
        ("lora_unet_double_blocks_0_img_attn_qkv.dora_scale", "model", "double_blocks_0_img_attn_qkv", "DoRA",
         "magnitude", "kohya"),
        (f"lora_te2_{T5_Q}.lora_up.weight", "te2", T5_Q, "LoRA", "up", "kohya"),
        ("lora_te4_model_layers_0_mlp_up_proj.lora_up.weight", "te4", "model_layers_0_mlp_up_proj", "LoRA", "up",
         "OneTrainer"),
        ("lora_te1_text_projection.lora_up.weight", "te1", "text_projection", "LoRA", "up", "kohya"),
        ("lora_unet_x.oft_R.weight", "model", "x", "OFT", "rotation", "kohya"),
        ("lora_unet_x.oft_R.scaled_oft", "model", "x", "OFT", "scaled", "kohya"),
    ],
    "OneTrainer ORIGINAL": [
        ("double_blocks.0.img_attn.qkv.lora_A.weight", "model", "double_blocks_0_img_attn_qkv", "LoRA", "down", "bare"),
        ("double_blocks.0.img_attn.qkv.alpha", "model", "double_blocks_0_img_attn_qkv", "", "alpha", "bare"),
    ],
    "OneTrainer COMFY": [
        ("diffusion_model.double_blocks.0.img_attn.qkv.lora_B.weight", "model", "double_blocks_0_img_attn_qkv", "LoRA",
         "up", "ComfyUI native"),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight",
         "text_encoders", f"clip_l_transformer_{CLIP_Q}", "LoRA", "down", "ComfyUI native"),
    ],
    "OneTrainer LEGACY": [
        ("lora_transformer_transformer_blocks_0_attn_to_q.lora_down.weight", "model", "transformer_blocks_0_attn_to_q",
         "LoRA", "down", "OneTrainer"),
        ("lora_prior_unet_down_blocks_0_0_attention_attn_to_q.lora_down.weight", "model",
         "down_blocks_0_0_attention_attn_to_q", "LoRA", "down", "OneTrainer"),
        (f"lora_prior_te_{CLIP_Q}.lora_up.weight", "te", CLIP_Q, "LoRA", "up", "OneTrainer"),
    ],
    # modules/util/convert/lora/convert_*.py of 2025
    "OneTrainer OMI": [
        ("clip_l.text_model.encoder.layers.0.self_attn.q_proj.lora_down.weight", "text_encoders",
         f"clip_l_transformer_{CLIP_Q}", "LoRA", "down", "OneTrainer"),
        ("clip_g.text_model.encoder.layers.0.self_attn.q_proj.lora_down.weight", "text_encoders",
         f"clip_g_transformer_{CLIP_Q}", "LoRA", "down", "OneTrainer"),
        ("t5.encoder.block.0.layer.0.SelfAttention.q.lora_up.weight", "text_encoders", f"t5xxl_transformer_{T5_Q}",
         "LoRA", "up", "OneTrainer"),
        ("llama.model.layers.0.mlp.up_proj.lora_up.weight", "text_encoders",
         "llama_transformer_model_layers_0_mlp_up_proj", "LoRA", "up", "OneTrainer"),
        ("transformer.double_blocks.0.img_attn.qkv.0.lora_up.weight", "model", "double_blocks_0_img_attn_qkv_0", "LoRA",
         "up", "diffusers"),
    ],
    # toolkit/lora_special.py, network_mixins.py, convert_lora_weights_before_save of each model
    "ai-toolkit": [
        ("diffusion_model.layers.0.attention.to_out.0.lora_A.weight", "model", "layers_0_attention_to_out_0", "LoRA",
         "down", "ComfyUI native"),
        ("transformer.transformer_blocks.0.attn.to_q.lora_B.weight", "model", "transformer_blocks_0_attn_to_q", "LoRA",
         "up", "diffusers"),
        ("diffusion_model.blocks.0.ffn.0.lokr_w1", "model", "blocks_0_ffn_0", "LoKr", "w1", "ComfyUI native"),
        ("lycoris_transformer_blocks_7_attn_to_v.lokr_w1", "model", "transformer_blocks_7_attn_to_v", "LoKr", "w1",
         "LyCORIS"),
        ("lora_te1.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "te1", CLIP_Q, "LoRA", "down",
         "ai-toolkit"),
        ("lora_te.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight", "te", CLIP_Q, "LoRA", "down",
         "ai-toolkit"),
        ("diffusion_model.model.language_model.layers.0.mlp.up_proj.lora_A.weight", "model",
         "language_model_layers_0_mlp_up_proj", "LoRA", "down", "ComfyUI native"),
        ("transformer.model.language_model.layers.0.mlp.up_proj.lora_A.weight", "model",
         "language_model_layers_0_mlp_up_proj", "LoRA", "down", "diffusers"),
    ],
    "SimpleTuner": [
        ("transformer.transformer_blocks.0.attn.to_k.lora_A.weight", "model", "transformer_blocks_0_attn_to_k", "LoRA",
         "down", "diffusers"),
        ("lycoris_transformer_blocks_0_attn_to_k.lokr_w2_a", "model", "transformer_blocks_0_attn_to_k", "LoKr", "w2_a",
         "LyCORIS"),
    ],
    # models/*.py save_adapter
    "diffusion-pipe": [
        ("diffusion_model.blocks.0.cross_attn.k_img.lora_A.weight", "model", "blocks_0_cross_attn_k_img", "LoRA",
         "down", "ComfyUI native"),
        ("transformer.double_blocks.0.img_attn_qkv.lora_B.weight", "model", "double_blocks_0_img_attn_qkv", "LoRA",
         "up", "diffusers"),
        (f"lora_te1_{CLIP_Q}.alpha", "te1", CLIP_Q, "", "alpha", "kohya"),
    ],
    # diffusion/training_module.py, --remove_prefix_in_ckpt
    "DiffSynth-Studio": [
        ("blocks.0.self_attn.q.lora_A.default.weight", "model", "blocks_0_self_attn_q", "LoRA", "down", "bare"),
        ("pipe.dit.blocks.0.self_attn.q.lora_B.default.weight", "model", "blocks_0_self_attn_q", "LoRA", "up",
         "DiffSynth"),
        ("pipe.vace.vace_blocks.0.self_attn.q.lora_B.default.weight", "model", "vace_blocks_0_self_attn_q", "LoRA",
         "up", "DiffSynth"),
        ("pipe.unet.mid_block.x.lora_A.weight", "model", "mid_block_x", "LoRA", "down", "DiffSynth"),
        ("pipe.video_dit.blocks.0.x.lora_A.weight", "model", "blocks_0_x", "LoRA", "down", "DiffSynth"),
    ],
    "XLabs x-flux": [
        ("double_blocks.0.processor.qkv_lora1.down.weight", "model", "double_blocks_0_processor_qkv_lora1", "LoRA",
         "down", "XLabs"),
        ("double_blocks.18.processor.proj_lora2.up.weight", "model", "double_blocks_18_processor_proj_lora2", "LoRA",
         "up", "XLabs"),
    ],
    "Black Forest Labs' control LoRAs": [
        ("double_blocks.0.img_attn.qkv.lora_B.bias", "model", "double_blocks_0_img_attn_qkv", "LoRA bias", "bias",
         "bare"),
        ("img_in.lora_A.weight", "model", "img_in", "LoRA", "down", "bare"),
    ],
    # videox_fun/utils/lora_utils.py
    "VideoX-Fun": [
        ("lora_unet__blocks_0_cross_attn_k.lora_down.weight", "model", "blocks_0_cross_attn_k", "LoRA", "down",
         "Wan-Fun"),
    ],
    "lightx2v": [
        ("transformer_blocks.0.attn.to_q.lora_down.weight", "model", "transformer_blocks_0_attn_to_q", "LoRA", "down",
         "bare"),
        ("diffusion_model.blocks.0.ffn.0.lora_up.weight", "model", "blocks_0_ffn_0", "LoRA", "up", "ComfyUI native"),
        ("diffusion_model.blocks.0.diff_m", "model", "blocks_0_modulation", "full difference", "diff",
         "ComfyUI native"),
        ("diffusion_model.head.head.diff_b", "model", "head_head", "bias difference", "diff_b", "ComfyUI native"),
    ],
    "kijai's extractions": [
        ("diffusion_model.patch_embedding.diff", "model", "patch_embedding", "full difference", "diff",
         "ComfyUI native"),
        ("diffusion_model.blocks.0.norm3.diff_b", "model", "blocks_0_norm3", "bias difference", "diff_b",
         "ComfyUI native"),
    ],
    "Genmo": [
        ("blocks.0.attn.qkv_x.lora_A", "model", "blocks_0_attn_qkv_x", "LoRA", "down", "bare"),
    ],
    # comfy_extras/nodes_train.py, nodes_lora_extract.py
    "ComfyUI": [
        ("diffusion_model.input_blocks.1.1.proj_in.lora_up.weight", "model", "input_blocks_1_1_proj_in", "LoRA", "up",
         "ComfyUI native"),
        ("diffusion_model.input_blocks.1.1.norm.diff", "model", "input_blocks_1_1_norm", "full difference", "diff",
         "ComfyUI native"),
        ("diffusion_model.img_in.reshape_weight", "model", "img_in", "LoRA", "shape", "ComfyUI native"),
        ("diffusion_model.x.set_weight", "model", "x", "weight replacement", "value", "ComfyUI native"),
    ],
    # T-LoRA writes a plain LoRA; its mask over the steps is in the training config only
    "T-LoRA": [
        ("unet.down_blocks.1.attn1.to_q.lora.down.weight", "model", "down_blocks_1_attn1_to_q", "LoRA", "down",
         "diffusers"),
    ],
    "torch.compile, checkpointing, FSDP, DeepSpeed": [
        ("transformer._orig_mod.x.lora_A.weight", "model", "x", "LoRA", "down", "diffusers"),
        ("diffusion_model.blocks.0._orig_mod.self_attn.q.lora_A.weight", "model", "blocks_0_self_attn_q", "LoRA",
         "down", "ComfyUI native"),
        ("diffusion_model.blocks.0._checkpoint_wrapped_module.x.lora_A.weight", "model", "blocks_0_x", "LoRA", "down",
         "ComfyUI native"),
        ("transformer._fsdp_wrapped_module.x.lora_A.weight", "model", "x", "LoRA", "down", "diffusers"),
        ("lora_unet__orig_mod_blocks_0_self_attn_q.lora_down.weight", "model", "blocks_0_self_attn_q", "LoRA", "down",
         "kohya"),
        ("lora_unet_blocks_0__orig_mod_self_attn_q.lora_down.weight", "model", "blocks_0_self_attn_q", "LoRA", "down",
         "kohya"),
        ("module.double_blocks.0.processor.qkv_lora1.up.weight", "model", "double_blocks_0_processor_qkv_lora1", "LoRA",
         "up", "XLabs"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("tensor", "component", "path", "algorithm", "slot", "spelling"),
    [pytest.param(*row, id=f"{writer}: {row[0]}") for writer, rows in WRITERS.items() for row in rows],
)
def test_the_name_is_read(tensor: str, component: str, path: str, algorithm: str, slot: str, spelling: str) -> None:
    parts = slots.split(tensor)
    assert parts is not None
    assert parts[1:] == (algorithm, slot)
    found = prefixes.split(parts[0])
    assert (found[0], prefixes.flatten(found[1]), found[2]) == (component, path, spelling)


def test_every_prefix_has_a_writer() -> None:
    names = [row[0] for rows in WRITERS.values() for row in rows]
    without = [prefix.text for prefix in prefixes.PREFIXES if not any(name.startswith(prefix.text) for name in names)]
    assert without == UNWRITTEN


UNWRITTEN = ["lora_unet_unet_", "oft_te1_", "oft_te2_", "oft_te_", "lora_te2.", "model.diffusion_model."]
"""Seen in files or natural beside the others, but in no source that was read."""
