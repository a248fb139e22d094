"""Which text encoder a LoRA file means."""

from __future__ import annotations

import pytest

from lorchestra.architectures.text_encoders import components, from_open_clip

L, G, T5 = ("clip_l",), ("clip_g",), ("t5xxl",)


@pytest.mark.parametrize(
    ("encoders", "expected"),
    [
        ([], {}),
        (["clip_l"], {"te": L, "te1": L}),  # SD 1.x
        (["clip_h"], {"te": ("clip_h",), "te1": ("clip_h",)}),  # SD 2.x
        (["clip_l", "clip_g"], {"te": L, "te1": L, "te2": G}),  # SDXL
        (["clip_g"], {"te": G, "te1": G, "te2": G}),  # SDXL refiner
        (["clip_l", "clip_g", "t5xxl"], {"te": L + T5, "te1": L + T5, "te2": G + T5, "te3": T5}),  # SD 3
        (["clip_l", "t5xxl"], {"te": L + T5, "te1": L + T5, "te2": T5, "te3": T5}),  # FLUX.1
        (["t5xxl"], {"te": T5, "te1": T5, "te2": T5, "te3": T5}),
        (["qwen3_4b"], dict.fromkeys(("te", "te1", "te2", "te3"), ("qwen3_4b",))),
        (["qwen25_7b", "byt5"], dict.fromkeys(("te", "te1", "te2", "te3"), ("byt5", "qwen25_7b"))),
    ],
)
def test_components(encoders: list[str], expected: dict[str, tuple[str, ...]]) -> None:
    assert components(encoders) == expected
    assert components(encoders[::-1]) == expected


@pytest.mark.parametrize(
    ("open_clip", "expected"),
    [
        ("transformer.resblocks.3.mlp.c_fc", "text_model.encoder.layers.3.mlp.fc1"),
        ("transformer.resblocks.31.mlp.c_proj", "text_model.encoder.layers.31.mlp.fc2"),
        ("transformer.resblocks.0.attn.out_proj", "text_model.encoder.layers.0.self_attn.out_proj"),
        ("transformer.resblocks.0.ln_1", "text_model.encoder.layers.0.layer_norm1"),
        ("transformer.resblocks.0.ln_2", "text_model.encoder.layers.0.layer_norm2"),
        ("transformer.resblocks.0", None),
        ("transformer.resblocks.0.attn", None),
        ("transformer.resblocks.0.attn.in_proj", None),
        ("visual.transformer.resblocks.0.mlp.c_fc", None),
        ("token_embedding", None),
        ("", None),
    ],
)
def test_from_open_clip(open_clip: str, expected: str | None) -> None:
    assert from_open_clip(open_clip) == expected
