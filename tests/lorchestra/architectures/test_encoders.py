"""The layers of text encoders; tests/nodes/test_encoders.py compares them all with ComfyUI's."""

from __future__ import annotations

import pytest

from lorchestra.architectures.encoders import ENCODERS, find_encoder


@pytest.mark.parametrize(
    ("encoder", "name", "shape"),
    [
        ("clip_l", "text_model.encoder.layers.11.self_attn.q_proj", (768, 768)),
        ("clip_l", "text_model.encoder.layers.0.mlp.fc1", (3072, 768)),
        ("clip_l", "text_projection", (768, 768)),
        ("clip_h", "text_model.encoder.layers.23.mlp.fc2", (1024, 4096)),
        ("clip_g", "text_model.encoder.layers.31.self_attn.out_proj", (1280, 1280)),
        ("t5xxl", "encoder.block.23.layer.0.SelfAttention.o", (4096, 4096)),
        ("t5xxl", "encoder.block.0.layer.1.DenseReluDense.wi_1", (10240, 4096)),
        ("t5xxl_old", "encoder.block.0.layer.0.SelfAttention.o", (1024, 16384)),
        ("gemma2_2b", "layers.25.self_attn.q_proj", (2048, 2304)),
        ("gemma2_2b", "layers.0.self_attn.o_proj", (2304, 2048)),
        ("qwen3_0_6b", "layers.27.self_attn.k_proj", (1024, 1024)),
        ("qwen3_0_6b", "model.layers.0.mlp.down_proj", (1024, 3072)),
        ("qwen25_7b", "model.language_model.layers.27.self_attn.v_proj", (512, 3584)),
        ("llama3_8b", "model.layers.31.mlp.gate_proj", (14336, 4096)),
        ("bert", "encoder.layer.23.attention.output.dense", (1024, 1024)),
    ],
)
def test_layers(encoder: str, name: str, shape: tuple[int, int]) -> None:
    row = find_encoder(encoder)
    assert row is not None
    assert dict(row.shapes())[name] == shape


def test_no_layer_comes_twice() -> None:
    for encoder in ENCODERS:
        names = [name for name, _ in encoder.shapes()]
        assert len(set(names)) == len(names), encoder.id


def test_counts() -> None:
    counts = {encoder.id: sum(1 for _ in encoder.shapes()) for encoder in ENCODERS}
    assert counts["clip_l"] == 12 * 6 + 1
    assert counts["t5xxl"] == 24 * 7
    assert counts["qwen3_0_6b"] == 28 * 7 * 5
