"""LoRAs for variants of one model: which part fits the model that is connected, and whose layers the rest is for."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from support.synthetic import header

from lorchestra.architectures.sites import Shape
from lorchestra.fit.outcome import COMPATIBLE, INCOMPATIBLE, PARTIAL, Outcome, check_file
from lorchestra.lora.examined import examine
from lorchestra.models.base import base_by_name

W = 5120


def checked(layers: Mapping[str, Shape], architecture: str) -> Outcome:
    base = base_by_name(architecture)
    assert base
    tensors: dict[str, Shape] = {}
    for name, (out, *inner) in layers.items():
        ones = [1] * (len(inner) - 1)
        tensors |= {f"{name}.lora_A.weight": (4, *inner), f"{name}.lora_B.weight": (out, 4, *ones)}
    return check_file(examine(header(tensors)), base)


def wan(
    blocks: str, count: int, parts: str = "self_attn.#", leaves: tuple[str, ...] = ("q", "k", "v", "o")
) -> dict[str, Shape]:
    return {
        f"diffusion_model.{blocks}.{number}.{parts.replace('#', leaf)}": (W, W)
        for number in range(count)
        for leaf in leaves
    }


BLOCKS = wan("blocks", 40)
VARIANTS: dict[str, tuple[str, dict[str, Shape]]] = {
    "Wan 2.1 VACE 14B": ("wan21_vace_14b", wan("vace_blocks", 8)),
    "Wan 2.1 14B (image to video)": ("wan21_i2v_14b", wan("blocks", 40, "cross_attn.#", ("k_img", "v_img"))),
    "Wan 2.1 Fun Camera 14B": ("wan21_camera_14b", {"diffusion_model.control_adapter.conv": (W, 1536, 2, 2)}),
    "Wan 2.1 Fun Control 14B": ("wan21_fun_control_14b", {"diffusion_model.ref_conv": (W, 16, 2, 2)}),
    "HuMo 17B": (
        "wan21_humo_17b",
        wan("blocks", 40, "audio_cross_attn_wrapper.audio_cross_attn.#", ("q", "o")),
    ),
    "Wan 2.2 Animate 14B": ("wan22_animate", wan("face_adapter.fuser_blocks", 8, "#", ("linear1_q", "linear2"))),
    "Wan 2.2 S2V 14B": ("wan22_s2v", wan("audio_injector.injector", 12, "#")),
}


@pytest.mark.parametrize("title", VARIANTS)
def test_a_variant_s_own_layers_alone(title: str) -> None:
    """Never `choose a Wan 14B LoRA`: it is one."""
    architecture, layers = VARIANTS[title]
    found = checked(layers, "wan21_t2v_14b")
    assert found.verdict == INCOMPATIBLE
    assert f"made for layers of {title} that this model, Wan 2.1 14B (text to video), does not have" in found.finding
    assert found.hint == f"Load {title}"
    assert checked(layers, architecture).verdict == COMPATIBLE


@pytest.mark.parametrize("title", VARIANTS)
def test_a_variant_s_layers_beside_the_model_s(title: str) -> None:
    architecture, layers = VARIANTS[title]
    found = checked({**BLOCKS, **layers}, "wan21_t2v_14b")
    assert (found.verdict, found.applied) == (PARTIAL, len(BLOCKS))
    assert found.finding.startswith(f"{len(BLOCKS)} of {len(BLOCKS) + len(layers)} modules fit; left out: ")
    assert found.finding.endswith(f"(layers of {title})")
    assert checked({**BLOCKS, **layers}, architecture).verdict == COMPATIBLE


def test_flux_fill_s_wider_input() -> None:
    layers = {f"transformer.transformer_blocks.{n}.ff.net.0.proj": (12288, 3072) for n in range(19)}
    layers["transformer.x_embedder"] = (3072, 384)
    found = checked(layers, "flux1_dev")
    assert (
        found.verdict == PARTIAL and "[3072, 384], the model's is [3072, 64] (layers of FLUX.1 Fill)" in found.finding
    )
    assert checked(layers, "flux1_fill").verdict == COMPATIBLE


def ltx23() -> dict[str, Shape]:
    layers: dict[str, Shape] = {"diffusion_model.prompt_adaln_single.linear": (8192, 4096)}
    for number in range(48):
        for attention, width in (("attn1", 4096), ("attn2", 4096), ("audio_attn1", 2048), ("audio_attn2", 2048)):
            start = f"diffusion_model.transformer_blocks.{number}.{attention}"
            layers |= {f"{start}.to_q": (width, width), f"{start}.to_out.0": (width, width)}
            layers[f"{start}.to_gate_logits"] = (32, width)
    return layers


def test_ltx_2_3() -> None:
    """The gates of its attention and its modulation by the prompt are no part of LTX-2."""
    layers = ltx23()
    assert checked(layers, "ltx23_22b").finding == "all 577 modules fit"
    assert checked(layers, "ltx23_22b").made_for == ("ltx23_22b",)
    found = checked(layers, "ltx2_19b")
    assert (found.verdict, found.applied) == (PARTIAL, 384) and found.finding.endswith("(layers of LTX-2.3)")


@pytest.mark.parametrize("prefix", ["", "transformer.", "diffusion_model.", "lora_unet_", "lycoris_"])
@pytest.mark.parametrize("is_fused", [False, True])
def test_qwen_image_2_1(prefix: str, is_fused: bool) -> None:
    layers: dict[str, Shape] = {}
    for number in range(32):
        start = f"transformer_blocks.{number}"
        layers |= {f"{start}.attn.{part}": (4096, 4096) for part in ("to_q", "to_k", "to_v", "to_out.0")}
        layers[f"{start}.img_mlp.out"] = (4096, 12288)
        if is_fused:
            layers[f"{start}.img_mlp.gate_up"] = (24576, 4096)
        else:
            layers |= {f"{start}.img_mlp.{part}": (12288, 4096) for part in ("gate_layer", "proj")}
    named = {
        prefix + (name.replace(".", "_") if prefix.endswith("_") else name): shape for name, shape in layers.items()
    }
    found = checked(named, "qwen_image21")
    assert (found.verdict, found.made_for) == (COMPATIBLE, ("qwen_image21",))
    other = checked(named, "qwen_image")
    assert other.verdict == INCOMPATIBLE and "made for Qwen-Image-2.1, this model is Qwen-Image" in other.finding
