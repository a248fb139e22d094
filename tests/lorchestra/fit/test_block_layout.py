"""Blocks of every model: each is there by a name that a pattern can say, and a LoRA is found in the ones it changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.lora_files import factors, named, write

from lorchestra.architectures.blocks import PARTS, TEXT_ENCODER, names_of_part
from lorchestra.fit.block_layout import find_layout
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import architecture_ids, base_by_name
from lorchestra.spelling.prefixes import MODEL
from lorchestra.stack.blocks import means


@pytest.mark.parametrize("architecture", architecture_ids())
def test_every_layer_is_addressed_by_its_block(architecture: str) -> None:
    base = base_by_name(architecture)
    assert base is not None
    layout = find_layout(base, None)
    assert layout is not None
    assert layout.lacking is None
    all_kinds = [(block, kind) for block in layout.blocks for kind in block.kinds]
    matrices = {
        site.key
        for sites in base.targets.values()
        for site in sites.values()
        if site.shape is None or len(site.shape) > 1
    }
    assert sum(kind.layers for _, kind in all_kinds) == len(matrices)
    addresses = [block.name if block.number is None else f"{block.name}.{block.number}" for block in layout.blocks]
    assert len(set(addresses)) == len(addresses)
    for address, block in zip(addresses, layout.blocks, strict=True):
        assert all(means(address, kind.labels) for kind in block.kinds), address
        meant = [(other.name, kind.layers) for other, kind in all_kinds if means(address, kind.labels)]
        assert all(name == block.name or name.startswith(f"{block.name}.") for name, _ in meant), address
        if block.number is not None:
            assert sum(kind.layers for kind in block.kinds) == sum(layers for _, layers in meant), address
        assert all(bool(block.encoder) == means(TEXT_ENCODER, kind.labels) for kind in block.kinds)
    parts = [name for part in PARTS for name in names_of_part(part)[:1]]
    assert all(sum(means(part, kind.labels) for part in parts) == 1 for _, kind in all_kinds)
    assert any(not block.encoder for block in layout.blocks)


def test_what_a_lora_changes(tmp_path: Path) -> None:
    tensors = named("diffusion_model.double_blocks.3.img_attn.proj", factors((3072, 3072), 2))
    tensors |= named("diffusion_model.single_blocks.7.linear2", factors((3072, 15360), 2))
    tensors |= named("text_encoder.text_model.encoder.layers.3.mlp.fc1", factors((3072, 768), 2))
    tensors |= named("diffusion_model.double_blocks.90.img_attn.proj", factors((3072, 3072), 2))
    file = open_lora(write(tmp_path / "a.safetensors", tensors))
    layout = find_layout(base_by_name("flux1_dev"), file)
    assert layout is not None
    touched = {
        (block.name, block.number, part): kind.touched
        for block in layout.blocks
        for kind in block.kinds
        for part in ("attn", "mlp", "other")
        if kind.touched and part in kind.labels
    }
    assert touched == {
        ("double_blocks", 3, "attn"): 1,
        ("single_blocks", 7, "other"): 1,
        ("clip_l.layers", 3, "mlp"): 1,
    }
    assert layout.lacking == 1
    assert next(block.name for block in layout.blocks if block.encoder).startswith("clip_l")


def test_without_a_model_the_file_says_it(tmp_path: Path) -> None:
    assert find_layout(None, None) is None
    layer = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k"
    file = open_lora(write(tmp_path / "a.safetensors", named(layer, factors((320, 768), 2))))
    layout = find_layout(None, file)
    assert layout is not None and layout.base.architectures == ("sd15",)
    assert {block.name for block in layout.blocks} >= {"input", "middle", "output"}
    strange = open_lora(write(tmp_path / "b.safetensors", named("diffusion_model.nothing", factors((3, 5), 2))))
    assert find_layout(None, strange) is None


def test_the_unet_in_the_order_of_its_data() -> None:
    layout = find_layout(base_by_name("sdxl"), None)
    assert layout is not None
    names = [block.name for block in layout.blocks if block.name in ("input", "middle", "output")]
    assert names == ["input"] * 9 + ["middle"] + ["output"] * 9
    assert MODEL not in names
