"""Names say which model of a pair a file is for, and words that only look like it do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.architectures.names import ARCHITECTURES
from lorchestra.models.experts import PAIRED, PATTERNS, Pattern, find_expert, find_model_expert
from lorchestra.stack import HIGH, LOW

NAMES = {
    HIGH: [
        "wan2.2_t2v_lightx2v_4steps_lora_v1.1_high_noise.safetensors",
        "Wan2.2-Lightning_T2V-v1.1-A14B-4steps-lora_HIGH_fp16.safetensors",
        "Wan2.2-T2V-A14B-4steps-lora-rank64-Seko-V1/high_noise_model.safetensors",
        "Wan_2_2_I2V_A14B_HIGH_lightx2v_MoE_distill_lora_rank_64_bf16.safetensors",
        "WAN2.2-HighNoise_SmartphoneSnapshotPhotoReality_v3_by-AI_Characters.safetensors",
        "wan22-style1-v1-16-sel-7-high-000001.safetensors",
        "girl_v2.0_hinoise.safetensors",
        "Wan2.2-I2V-A14B-HighNoise-Q4_K_M.gguf",
        "smoothMixWan22I2VT2V_i2vHigh.safetensors",
        "wan22RemixT2VI2V_i2vHighV20.safetensors",
        "HighNoise/Wan2.2-T2V-A14B-Q4_K_S.gguf",
        "wan/low/style_high_noise.safetensors",
        "high\\style.safetensors",
        "Wan2.2_High_LoRA",
        "HIGH",
    ],
    LOW: [
        "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors",
        "Wan2_2-T2V-A14B-LOW_fp8_e4m3fn_scaled_KJ.safetensors",
        "DR34ML4Y_I2V_14B_LOW.safetensors",
        "girl_v2.0_lownoise",
        "low poly lownoise e20.safetensors",
        "wan/low/style.safetensors",
        "wan/Low-Noise/details/style.safetensors",
    ],
    None: [
        "highlight.safetensors", "glow_v2.safetensors", "neonGlow.safetensors", "aglow-v1", "flow-e10", "slow",
        "low-poly.safetensors", "LowPoly_v3", "high_detail_v2", "LowKey.safetensors", "high quality", "Low Angle.pt",
        "highres_fix", "high_res.safetensors", "low-light-v2", "low_rank_64", "high_3d_render", "follow",
        "allownoise", "lownoisey", "high_resolution/x.safetensors", "glow/x.safetensors", "highlands/low key/x.ckpt",
        "wan_high-low.safetensors", "highnoise_lownoise", "high_and_low_noise.safetensors", "", "/", ".safetensors",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "expert"), [(name, expert) for expert, names in NAMES.items() for name in names])
def test_names(name: str, expert: str | None) -> None:
    assert find_expert(name) == expert


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.example)
def test_every_pattern_has_its_example(pattern: Pattern) -> None:
    assert find_expert(pattern.example) == pattern.expert


@given(st.text(max_size=40))
def test_any_text_is_a_name(text: str) -> None:
    assert find_expert(text) in (HIGH, LOW, None)


def test_models_that_come_as_a_pair() -> None:
    name = "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors"
    assert find_model_expert(name, ["wan21_t2v_14b"]) == find_model_expert(name, ["x", "wan22_i2v_14b"]) == LOW
    assert find_model_expert("realistic_low.safetensors", ["sdxl"]) is None
    assert find_model_expert(name, []) is None
    assert {row.family for row in ARCHITECTURES} >= PAIRED
