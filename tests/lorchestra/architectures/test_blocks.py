"""Blocks by the keys of real models."""

from __future__ import annotations

import pytest

from lorchestra.architectures.blocks import ATTENTION, MLP, OTHER, find_block, find_part, in_order
from lorchestra.models.base import architecture_ids, base_by_name

KEYS = {
    "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_q.weight": ("input.4", ATTENTION),
    "diffusion_model.middle_block.1.transformer_blocks.0.ff.net.0.proj.weight": ("middle", MLP),
    "output_blocks.11.0.in_layers.2.weight": ("output.11", OTHER),
    "diffusion_model.double_blocks.5.img_attn.qkv.weight": ("double_blocks.5", ATTENTION),
    "diffusion_model.double_blocks.5.txt_mlp.2.weight": ("double_blocks.5", MLP),
    "diffusion_model.single_blocks.37.linear1.weight": ("single_blocks.37", OTHER),
    "diffusion_model.blocks.3.self_attn.q.weight": ("blocks.3", ATTENTION),
    "diffusion_model.blocks.3.ffn.2.weight": ("blocks.3", MLP),
    "diffusion_model.transformer_blocks.7.audio_attn1.to_out.0.weight": ("transformer_blocks.7", ATTENTION),
    "diffusion_model.layers.12.feed_forward.w1.weight": ("layers.12", MLP),
    "diffusion_model.img_in.weight": ("img_in", OTHER),
    "diffusion_model.time_embed.0.weight": ("time_embed", OTHER),
}


@pytest.mark.parametrize("key", KEYS)
def test_diffusion_models(key: str) -> None:
    assert (find_block(key), find_part(key)) == KEYS[key]


def test_text_encoders() -> None:
    key = "clip_l.transformer.text_model.encoder.layers.3.mlp.fc1.weight"
    assert (find_block(key, True), find_part(key)) == ("clip_l.layers.3", MLP)
    key = "t5xxl.transformer.encoder.block.2.layer.0.SelfAttention.q.weight"
    assert (find_block(key, True), find_part(key)) == ("t5xxl.block.2", ATTENTION)


@pytest.mark.parametrize(
    ("in_checkpoint", "block"),
    [
        ("cond_stage_model.transformer.text_model.encoder.layers.3.mlp.fc1.weight", "clip_l.layers.3"),
        ("cond_stage_model.model.transformer.resblocks.3.mlp.c_fc.weight", "clip_h.layers.3"),
        ("conditioner.embedders.0.transformer.text_model.encoder.layers.3.mlp.fc1.weight", "clip_l.layers.3"),
        ("conditioner.embedders.1.model.transformer.resblocks.3.mlp.c_fc.weight", "clip_g.layers.3"),
        ("conditioner.embedders.0.model.transformer.resblocks.3.mlp.c_fc.weight", "clip_g.layers.3"),  # the refiner
        ("text_encoders.t5xxl.transformer.encoder.block.2.layer.0.SelfAttention.q.weight", "t5xxl.block.2"),
    ],
)
def test_text_encoders_of_checkpoints_are_called_as_when_they_are_loaded(in_checkpoint: str, block: str) -> None:
    assert find_block(in_checkpoint, True) == block


def test_order() -> None:
    blocks = ["output.2", "img_in", "blocks.10", "input.4", "middle", "blocks.9", "input.11"]
    assert sorted(blocks, key=in_order) == [
        "input.4",
        "input.11",
        "blocks.9",
        "blocks.10",
        "img_in",
        "middle",
        "output.2",
    ]


@pytest.mark.parametrize("architecture", architecture_ids())
def test_every_model_has_blocks_of_some_layers_each(architecture: str) -> None:
    """Most of a model's matrices stand in blocks, and no model has a block for each layer."""
    base = base_by_name(architecture)
    assert base is not None
    keys = {site.key for site in base.targets["model"].values() if site.shape and len(site.shape) > 1}
    blocks = {find_block(key) for key in keys}
    assert sum("." in find_block(key) or find_block(key) == "middle" for key in keys) > 0.6 * len(keys), blocks
    assert len(blocks) < 0.6 * len(keys), blocks
