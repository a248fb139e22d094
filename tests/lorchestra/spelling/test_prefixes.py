"""Every start of a module's name that trainers write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.spelling import prefixes
from lorchestra.spelling.prefixes import PREFIXES, flatten, split

Q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"


@pytest.mark.parametrize(
    ("module", "component", "path", "spelling"),
    [
        (f"lora_unet_{flatten(Q)}_to_q", "model", f"{flatten(Q)}_to_q", "kohya"),
        ("lora_unet__blocks_0_ffn_0", "model", "blocks_0_ffn_0", "Wan-Fun"),
        ("lora_te_text_model_x", "te", "text_model_x", "kohya"),
        ("lora_te1_text_model_x", "te1", "text_model_x", "kohya"),
        ("lora_te2_text_model_x", "te2", "text_model_x", "kohya"),
        ("lora_te3_encoder_block_0", "te3", "encoder_block_0", "kohya"),
        ("lora_transformer_transformer_blocks_0", "model", "transformer_blocks_0", "OneTrainer"),
        ("lora_prior_unet_x", "model", "x", "OneTrainer"),
        ("lora_prior_te_x", "te", "x", "OneTrainer"),
        ("lycoris_down_blocks_0", "model", "down_blocks_0", "LyCORIS"),
        (f"unet.{Q}.to_q", "model", f"{Q}.to_q", "diffusers"),
        (f"base_model.model.{Q}.to_q", "model", f"{Q}.to_q", "PEFT"),
        (f"unet.base_model.model.{Q}.to_q", "model", f"{Q}.to_q", "PEFT"),
        ("transformer.base_model.model.x", "model", "x", "PEFT"),
        ("transformer.x", "model", "x", "diffusers"),
        ("text_encoder.text_model.x", "te", "text_model.x", "diffusers"),
        ("text_encoder_2.text_model.x", "te2", "text_model.x", "diffusers"),
        ("text_encoder_3.encoder.x", "te3", "encoder.x", "diffusers"),
        ("text_encoders.clip_l.transformer.x", "text_encoders", "clip_l.transformer.x", "ComfyUI native"),
        ("diffusion_model.input_blocks.1.1.x", "model", "input_blocks.1.1.x", "ComfyUI native"),
        (f"unet.{Q}.processor.to_q", "model", f"{Q}.to_q", "diffusers attention processors"),
        (f"unet.{Q}.processor.to_out", "model", f"{Q}.to_out.0", "diffusers attention processors"),
        (f"{Q}.processor.to_v", "model", f"{Q}.to_v", "diffusers attention processors"),
        (f"{Q}.to_q", "model", f"{Q}.to_q", "bare"),
        ("", "model", "", "bare"),
        ("lora_unet_", "model", "", "kohya"),
        ("LORA_UNET_x", "model", "LORA_UNET_x", "bare"),
        ("xlora_unet_x", "model", "xlora_unet_x", "bare"),
        ("text_encoderx.y", "model", "text_encoderx.y", "bare"),
    ],
)
def test_split(module: str, component: str, path: str, spelling: str) -> None:
    assert split(module) == (component, path, spelling)


def test_a_longer_prefix_stands_above_the_shorter_ones_that_it_starts_with() -> None:
    for number, prefix in enumerate(PREFIXES):
        assert not any(prefix.text.startswith(earlier.text) for earlier in PREFIXES[:number]), prefix.text


@given(st.sampled_from(PREFIXES), st.from_regex(r"[a-z0-9_]+(\.[a-z0-9_]+)*", fullmatch=True))
def test_the_path_is_what_follows_the_prefix(prefix: prefixes.Prefix, path: str) -> None:
    name = prefix.text + path
    longer = any(name.startswith(other.text) for other in PREFIXES if len(other.text) > len(prefix.text))
    if not longer and ".processor." not in path:
        assert split(name) == (prefix.component, prefixes.tidied(prefix.start + path), prefix.spelling)


def test_dots_and_underscores_are_one_name() -> None:
    assert flatten(f"{Q}.to_q") == "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
