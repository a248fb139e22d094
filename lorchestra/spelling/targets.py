"""The spellings that files can be converted to."""

from __future__ import annotations

COMFYUI = "comfyui"
"""ComfyUI's own layer names: `diffusion_model.double_blocks.0.img_attn.qkv.lora_up.weight`."""

KOHYA = "kohya"
"""`lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight`; the names of UNets are diffusers'."""

DIFFUSERS = "diffusers"
"""PEFT's, as diffusers' pipelines save them: `transformer.transformer_blocks.0.attn.to_q.lora_B.weight`."""

TARGETS = (COMFYUI, KOHYA, DIFFUSERS)
