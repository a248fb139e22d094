"""Converted files through ComfyUI's own loader: every tensor is taken, and the weights change as they should."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import comfy.lora
import pytest
import torch
from safetensors.torch import load_file
from support.lora_files import factors, named, write
from torch import Tensor

from lorchestra.architectures.diffusers_names import diffusers_names
from lorchestra.architectures.signatures import find_signature
from lorchestra.convert import convert
from lorchestra.convert.by_layer import READ_PARTS
from lorchestra.spelling.targets import COMFYUI, KOHYA
from tools import collect_signatures as tool

BLOCKS: Mapping[str, tuple[str, ...]] = {
    "sd15": ("input_blocks.1.", "middle_block.1."),
    "sdxl": ("input_blocks.4.", "label_emb."),
    "sd3_medium": ("joint_blocks.0.", "final_layer."),
    "flux1_schnell": ("double_blocks.0.", "single_blocks.0.", "final_layer."),
    "chroma": ("double_blocks.0.", "single_blocks.0."),
    "pixart_alpha": ("blocks.0.",),
    "hunyuan_video": ("double_blocks.0.", "single_blocks.0."),
    "wan21_t2v_1_3b": ("blocks.0.",),
    "qwen_image": ("transformer_blocks.0.",),
    "z_image": ("layers.0.", "noise_refiner.0."),
}
"""Architectures, and the layers of each that a LoRA is made for."""


def built(model: str) -> Any:
    signature = find_signature(model)
    assert signature
    try:
        result = tool.build(signature.shapes)
    except tool.NotBuilt as reason:
        pytest.skip(str(reason))
    if type(result.model_config).__name__ != signature.comfy_class:
        pytest.skip("this ComfyUI takes it for another model.")
    return result


def layers(model: str) -> dict[str, tuple[int, ...]]:
    """Diffusers' layers → shape, for the chosen blocks."""
    signature = find_signature(model)
    assert signature
    weights = {name[:-7]: shape for name, shape in signature.shapes.items() if name.endswith(".weight")}
    names = diffusers_names(weights)
    return {
        alias.foreign: (alias.rows.length if alias.rows else shape[0], *shape[1:])
        for native, shape in weights.items()
        for alias in names[native]
        if native.startswith(BLOCKS[model]) and len(shape) > 1
    }


def loaded(file: Path, model: Any, caplog: pytest.LogCaptureFixture) -> dict[Any, Any]:
    """ComfyUI's patches; all tensors of the file are in them."""
    with caplog.at_level(logging.WARNING):
        patches = comfy.lora.load_lora(load_file(file), comfy.lora.model_lora_keys_unet(model, {}))
    assert not [record for record in caplog.records if "not loaded" in record.getMessage()]
    return patches


@pytest.mark.parametrize("to", [COMFYUI, KOHYA])
@pytest.mark.parametrize("name", BLOCKS)
def test_comfyui_takes_all_of_it(name: str, to: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = built(name)
    tensors: dict[str, Tensor] = {}
    for seed, (layer, shape) in enumerate(layers(name).items()):
        tensors |= named(f"transformer.{layer}", factors(shape, 1, seed=seed), "PEFT")
    lora, output = write(tmp_path / "a.safetensors", tensors), tmp_path / "b.safetensors"
    convert(lora, output, to, architecture=name)
    patches = loaded(output, model, caplog)
    keys = {
        f"diffusion_model.{native}"
        for native, shape in tool.tensors(model).items()
        if native.startswith(BLOCKS[name]) and native.endswith(".weight") and len(shape) > 1
    }
    assert set(patches) == keys


def test_a_fused_layer_changes_as_its_parts_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, start in (("flux1_schnell", "transformer_blocks.0.attn.to_"), ("z_image", "layers.0.attention.to_")):
        model = built(name)
        shapes = {layer: shape for layer, shape in layers(name).items() if layer.startswith(start)}
        parts = {
            layer: factors(shape, 2, seed=seed, alpha=seed + 1.0) for seed, (layer, shape) in enumerate(shapes.items())
        }
        tensors: dict[str, Tensor] = {}
        for layer, part in parts.items():
            tensors |= named(f"lora_transformer_{layer.replace('.', '_')}", part)
        lora, output = write(tmp_path / "a.safetensors", tensors), tmp_path / "b.safetensors"
        convert(lora, output, COMFYUI, architecture=name, force=True)
        ((key, patch),) = (
            (key, patch) for key, patch in loaded(output, model, caplog).items() if key.endswith("qkv.weight")
        )
        weight = torch.zeros(tool.tensors(model)[key.removeprefix("diffusion_model.")])
        after = comfy.lora.calculate_weight([(1.0, patch, 1.0, None, None)], weight, key)
        pieces = [parts[f"{start}{letter}"] for letter in "qkv"]
        expected = torch.cat([piece["up"] @ piece["down"] * (piece["alpha"] / 2) for piece in pieces])
        assert (after - expected).abs().max() <= 1e-6 * expected.abs().max()


@pytest.mark.parametrize("to", [COMFYUI, KOHYA])
@pytest.mark.parametrize("name", sorted(READ_PARTS))
def test_parts_that_only_diffusers_has_names_for(
    name: str, to: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """ComfyUI reads them at the same rows as we."""
    model = built(name)
    weights = {native[:-7]: shape for native, shape in tool.tensors(model).items() if native.endswith(".weight")}
    parts = [
        (alias, weights[native])
        for native, aliases in diffusers_names(weights).items()
        for alias in aliases
        if alias.rows and not alias.rows.swapped
    ]
    assert parts
    tensors: dict[str, Tensor] = {}
    for alias, shape in parts:
        assert alias.rows
        tensors[f"transformer.{alias.foreign}.lokr_w1"] = torch.ones(alias.rows.length, 1)
        tensors[f"transformer.{alias.foreign}.lokr_w2"] = torch.ones(1, shape[1])
    lora, output = write(tmp_path / "a.safetensors", tensors), tmp_path / "b.safetensors"
    convert(lora, output, to, architecture=name)
    assert set(loaded(output, model, caplog)) == {
        (f"diffusion_model.{alias.native}.weight", (0, alias.rows.start, alias.rows.length))
        for alias, _ in parts
        if alias.rows
    }


def test_text_encoders(tmp_path: Path) -> None:
    """CLIP-L's layers in both spellings are in ComfyUI's map of a real CLIP model."""
    from comfy.sd1_clip import SD1ClipModel

    clip = SD1ClipModel(device="meta", dtype=torch.float32)
    names = comfy.lora.model_lora_keys_clip(clip, {})
    layer = "text_model.encoder.layers.0.mlp.fc1"
    lora = write(tmp_path / "a.safetensors", named("text_encoder." + layer, factors((3072, 768), 1), "PEFT"))
    for to in (COMFYUI, KOHYA):
        output = tmp_path / f"{to}.safetensors"
        convert(lora, output, to, architecture="sd15")
        patches = comfy.lora.load_lora(load_file(output), names)
        assert set(patches) == {f"clip_l.transformer.{layer}.weight"}
