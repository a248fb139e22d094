"""Every ending of a tensor's name that trainers write, and names that only look like one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.spelling.slots import LORA, SUFFIXES, split

PLAIN = [
    # kohya sd-scripts, musubi-tuner, LyCORIS, OneTrainer
    ("lora_unet_down_blocks_0_attn1_to_q.lora_down.weight", "lora_unet_down_blocks_0_attn1_to_q", "down"),
    ("lora_unet_down_blocks_0_attn1_to_q.lora_up.weight", "lora_unet_down_blocks_0_attn1_to_q", "up"),
    ("lora_unet_down_blocks_0_resnets_0_conv1.lora_mid.weight", "lora_unet_down_blocks_0_resnets_0_conv1", "mid"),
    # PEFT
    ("unet.mid_block.attn1.to_out.0.lora_A.weight", "unet.mid_block.attn1.to_out.0", "down"),
    ("unet.mid_block.attn1.to_out.0.lora_B.weight", "unet.mid_block.attn1.to_out.0", "up"),
    # PEFT with the adapter's name
    ("pipe.dit.blocks.0.self_attn.q.lora_A.default.weight", "pipe.dit.blocks.0.self_attn.q", "down"),
    ("pipe.dit.blocks.0.self_attn.q.lora_B.default.weight", "pipe.dit.blocks.0.self_attn.q", "up"),
    ("x.lora_B.weight.weight", "x", "up"),
    # Genmo Mochi
    ("blocks.0.attn.qkv_x.lora_A", "blocks.0.attn.qkv_x", "down"),
    ("blocks.0.attn.qkv_x.lora_B", "blocks.0.attn.qkv_x", "up"),
    # diffusers before PEFT
    ("unet.up_blocks.1.attn1.to_k.lora.down.weight", "unet.up_blocks.1.attn1.to_k", "down"),
    ("unet.up_blocks.1.attn1.to_k.lora.up.weight", "unet.up_blocks.1.attn1.to_k", "up"),
    ("unet.up_blocks.1.attn1.processor.to_k_lora.down.weight", "unet.up_blocks.1.attn1.processor.to_k", "down"),
    ("unet.up_blocks.1.attn1.processor.to_k_lora.up.weight", "unet.up_blocks.1.attn1.processor.to_k", "up"),
    ("text_encoder.x.q_proj.lora_linear_layer.down.weight", "text_encoder.x.q_proj", "down"),
    ("text_encoder.x.q_proj.lora_linear_layer.up.weight", "text_encoder.x.q_proj", "up"),
]


@pytest.mark.parametrize(("name", "module", "slot"), PLAIN)
def test_plain_lora(name: str, module: str, slot: str) -> None:
    assert split(name) == (module, LORA, slot)


def test_alpha_belongs_to_any_algorithm() -> None:
    assert split("lora_te_x.alpha") == ("lora_te_x", "", "alpha")


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("x.lora_B.bias", "LoRA bias"),
        ("x.dora_scale", "DoRA"),
        ("x.lora_magnitude_vector", "DoRA"),
        ("x.lora_magnitude_vector.weight", "DoRA"),
        ("x.hada_w1_a", "LoHa"),
        ("x.lokr_w2_b", "LoKr"),
        ("x.a1.weight", "GLoRA"),
        ("x.oft_blocks", "OFT"),
        ("x.oft_R.weight", "OFT"),
        ("x.diff", "full difference"),
        ("x.diff_b", "bias difference"),
        ("x.reshape_weight", "LoRA"),
    ],
)
def test_other_algorithms_are_named(name: str, algorithm: str) -> None:
    found = split(name)
    assert found is not None
    assert found[:2] == ("x", algorithm)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "weight",
        "lora_A",
        "lora_A.weight",
        "x.weight",
        "x.bias",
        "x.lora_A.default.bias",
        "x.lora_A.one.two.weight",
        "x.lora_a.weight",
        "x.LORA_A.weight",
        "x.lora.weight",
        "x.down.weight",
        "xlora.down.weight",
        "x.lora_mid_A.default.weight",
        "x.alpha.weight",
        "unet:0:up",
        "<s1>",
    ],
)
def test_what_is_no_lora_tensor(name: str) -> None:
    assert split(name) is None


def test_slots_of_one_module_do_not_collide() -> None:
    """kijai's files have `.diff` and `.diff_b` on one layer, LyCORIS' `.w_norm` and `.b_norm`."""
    both = [split("x.diff"), split("x.diff_b"), split("x.w_norm"), split("x.b_norm")]
    assert len({found and found[2] for found in both}) == 4


MODULES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)


@given(MODULES, st.sampled_from(sorted(SUFFIXES)))
def test_any_module_and_suffix_come_apart_again(module: str, suffix: str) -> None:
    """The longest suffix wins: only a module that ends like the start of a longer suffix is read differently."""
    found = split(module + suffix)
    assert found is not None
    name, algorithm, slot = found
    if name == module:
        assert (algorithm, slot) == SUFFIXES[suffix]
    else:
        assert module.startswith(name)
        assert len(name) < len(module)


@given(st.text(max_size=60))
def test_any_text_is_read(name: str) -> None:
    found = split(name)
    assert found is None or name.startswith(found[0])
