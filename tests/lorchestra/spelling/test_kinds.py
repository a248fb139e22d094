"""What is not a LoRA is named, and a LoRA is never called something else."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lora_files import SUFFIXES

from lorchestra.files.header import Header, parse_header
from lorchestra.spelling.kinds import KINDS, kind, title
from lorchestra.spelling.modules import read_modules

Shapes = Mapping[str, tuple[int, ...]]


def header(shapes: Shapes) -> Header:
    """A header of 8-bit tensors with these shapes, in this order."""
    entries, position = {}, 0
    for name, shape in shapes.items():
        size = 1
        for length in shape:
            size *= length
        entries[name] = {"dtype": "U8", "shape": shape, "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(entries).encode()
    return parse_header(text, path="x.safetensors", file_size=8 + len(text) + position)


def found(shapes: Shapes) -> str:
    made = header(shapes)
    return kind(made, read_modules(made))


def halves(*modules: str, spelling: str = "PEFT") -> Shapes:
    return {f"{name}{SUFFIXES[spelling][half]}": (4, 4) for name in modules for half in ("down", "up")}


def dense(*names: str, count: int = 1) -> Shapes:
    return {name.replace("#", str(number)): (8, 8) for number in range(count) for name in names}


KNOWN: list[tuple[str, Shapes]] = [
    ("empty", {}),
    ("textual-inversion", {"emb_params": (8, 768)}),
    ("textual-inversion", {"clip_l": (8, 768), "clip_g": (8, 1280)}),
    ("textual-inversion", {"<my-cat>": (768,)}),
    ("textual-inversion", {"string_to_param.*": (4, 1024)}),
    ("textual-inversion", {"bundle_emb.cat.string_to_param.*": (4, 768)}),
    ("ip-adapter", dense("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")),
    ("ip-adapter", {**dense("image_proj.proj.0.weight"), **halves("ip_adapter.0.to_q", spelling="diffusers")}),
    ("ip-adapter", dense("double_blocks.0.processor.ip_adapter_double_stream_k_proj.weight")),
    ("pulid", dense("pulid_ca.0.norm1.weight")),
    ("controlnet", dense("controlnet_cond_embedding.conv_in.weight", "down_blocks.#.resnets.0.x.weight", count=200)),
    ("controlnet", dense("control_model.zero_convs.0.0.weight")),
    ("controlnet", dense("controlnet_blocks.0.weight", "transformer_blocks.0.attn.to_q.weight")),
    ("control-lora", dense("lora_controlnet", "input_blocks.1.0.x.up", "input_blocks.1.0.x.down")),
    ("controlnet-lllite", dense("lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight")),
    ("controlnet-lllite", dense("lllite_dit_blocks_0_attn_q.up.0.weight")),
    ("t2i-adapter", dense("adapter.body.0.resnets.0.block1.weight")),
    ("vae", dense("encoder.conv_in.weight", "decoder.conv_in.weight", "quant_conv.weight", "post_quant_conv.weight")),
    ("vae", dense("encoder.conv1.weight", "decoder.conv1.weight", "decoder.middle.0.residual.2.weight", count=150)),
    ("checkpoint", dense("model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.decoder.conv_in.weight")),
    ("checkpoint", dense("double_blocks.#.img_attn.qkv.weight", count=120)),
    ("checkpoint", dense("double_blocks.#.img_attn.qkv.weight", "double_blocks.#.img_attn.norm.key_norm.scale",
                         count=120)),
    ("checkpoint", {**dense("blocks.#.attn.q.weight", count=200), "blocks.0.b1.weight": (4, 4), "x.alpha": (4,)}),
    ("text-encoder", dense("text_model.encoder.layers.#.mlp.fc1.weight", count=120)),
    ("text-encoder", dense("encoder.block.0.layer.0.SelfAttention.q.weight", "shared.weight")),
    ("text-encoder", dense("model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight")),
    ("clip-vision", dense("vision_model.encoder.layers.0.mlp.fc1.weight")),
    ("svdquant", {**dense("transformer_blocks.0.attn.to_qkv.qweight", "transformer_blocks.0.attn.to_qkv.wscales"),
                  **dense("transformer_blocks.0.attn.to_qkv.lora_down")}),
    ("svdquant", {**dense("a.qweight", "a.wscales"), **halves("a", spelling="kohya")}),
    ("nunchaku-lora", dense("transformer_blocks.0.qkv_proj.lora_down", "transformer_blocks.0.qkv_proj.lora_up")),
    ("nunchaku-lora", {"single_transformer_blocks.0.mlp_fc1.lora_down": (3072, 32),
                       "single_transformer_blocks.0.mlp_fc1.lora_up": (12288, 32)}),
    ("sam-lora", dense("w_a_000", "w_b_000")),
    ("llm-lora", halves("base_model.model.model.layers.0.self_attn.q_proj")),
    ("llm-lora", halves("base_model.model.transformer.h.0.attn.c_attn")),
    ("motion-lora", halves("down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0."
                           "attention_blocks.0.processor.to_q", spelling="diffusers processors")),
    ("motion-module", dense("down_blocks.0.motion_modules.0.temporal_transformer.proj_in.weight")),
    ("upscaler", dense("model.1.sub.0.RDB1.conv1.0.weight")),
    ("unknown", {"<s1>": (3,)}),
    ("unknown", dense("some.weight")),
    ("unknown", {"x.alpha": ()}),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "shapes"), KNOWN)
def test_what_is_no_lora(expected: str, shapes: Shapes) -> None:
    assert found(shapes) == expected


@pytest.mark.parametrize(
    "shapes",
    [
        halves("lora_unet_x", spelling="kohya"),
        halves("text_encoder.text_model.encoder.layers.0.self_attn.q_proj"),
        halves("base_model.model.layers.0.self_attn.q_proj"),  # ACE-Step 1.5
        halves("base_model.model.language_model.layers.0.self_attn.q_proj"),  # HiDream-O1
        halves("language_model.layers.0.self_attn.q_proj"),
        {**halves("lora_unet_x", spelling="kohya"), "bundle_emb.cat.string_to_param.*": (4, 768)},
        {**halves("unet.x"), **halves("ip_adapter.0.to_q")},
        {**halves("unet.x"), **halves("unet.down_blocks.0.motion_modules.0.y")},
        {"diffusion_model.blocks.0.self_attn.q.diff": (8, 8)},
        {"diffusion_model.blocks.0.self_attn.q.diff_b": (8,)},
        {"x.vera_lambda_b": (8,), "x.vera_lambda_d": (8,)},
        {**halves("double_blocks.0.img_attn.qkv"), "double_blocks.0.img_attn.norm.query_norm.scale": (8,)},
        {**halves("x"), **dense("proj_out.weight", "proj_in.weight", count=1)},
        {"unet:0:up": (4, 4), "unet:0:down": (4, 4)},
        {"x.lora_of_tomorrow.weight": (4, 4)},
        {"x.set_weight": (4,)},
        halves("decoder.conv_in"),
        # kohya's halves without `.weight`, of any layer: only Nunchaku's own layers are packed for it
        {"lora_unet_x.lora_down": (4, 320), "lora_unet_x.lora_up": (320, 4)},
        {"transformer_blocks.0.attn.to_q.lora_down": (4, 64), "transformer_blocks.0.attn.to_q.lora_up": (64, 4)},
        {"transformer_blocks.0.qkv_proj.lora_down": (4, 64), "transformer_blocks.0.qkv_proj.lora_up": (192, 4)},
        # a checkpoint has no such names
        {
            f"lora_unet_unet_down_blocks_{n}_to_q_lora_{half}.weight": (4, 4)
            for n in range(150)
            for half in ("up", "down")
        },
        {f"lora_unet_down_blocks_{n}.lora_of_tomorrow.weight": (4, 4) for n in range(150)},
        {f"text_model.encoder.layers.{n}.q_proj.lora_of_tomorrow.weight": (4, 4) for n in range(150)},
    ],
)
def test_a_lora_is_a_lora(shapes: Shapes) -> None:
    assert found(shapes) == "lora"


MODULES = st.lists(st.sampled_from([
    "lora_unet_down_blocks_0_attentions_0_proj_in", "transformer.transformer_blocks.0.attn.to_q",
    "lora_te_text_model_x", "vae.x",
    "diffusion_model.model.layers.0.q_proj", "base_model.model.transformer_blocks.0.attn.to_q", "zero_convs.0.0",
    "encoder.block.0.layer.0.SelfAttention.q", "first_stage_model.decoder.conv_in", "image_proj.proj", "b.c",
]), unique=True, min_size=1)  # fmt: skip


@given(MODULES, st.sampled_from(sorted(SUFFIXES)), st.booleans())
def test_names_alone_make_no_lora_something_else(modules: list[str], spelling: str, embedding: bool) -> None:
    extra = {"emb_params": (4, 768)} if embedding else {}
    assert found({**halves(*modules, spelling=spelling), **extra}) == "lora"


def test_titles() -> None:
    assert {row.id for row in KINDS} <= {expected for expected, _ in KNOWN}
    assert title("controlnet") == "a ControlNet"
    assert title("lora") == "a LoRA"
    assert title("of tomorrow") == title("unknown") == "a file of an unknown kind"
