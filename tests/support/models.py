"""Small real models and numbers for the tests in this folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.model_detection
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.supported_models
import comfy.utils
import torch
from comfy.ldm.flux.model import FluxParams
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from safetensors.torch import load_file

from lorchestra.demo.checkpoint import checkpoint_shapes
from lorchestra.demo.loras import layers

PREFIX = "model.diffusion_model."
BITS = {torch.float16: (10, -14), torch.bfloat16: (7, -126), torch.float32: (23, -126), torch.float8_e4m3fn: (3, -6)}
"""Dtype → (bits of the mantissa, exponent of the smallest normal number)."""
INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of an element → the integers of that width."""


UNETS: dict[str, dict[str, Any]] = {
    "SD15": {"num_res_blocks": [2] * 4, "channel_mult": (1, 2, 4, 4), "transformer_depth": [1] * 6 + [0] * 2,
             "transformer_depth_output": [1] * 9 + [0] * 3, "transformer_depth_middle": 1, "num_heads": 8,
             "num_head_channels": -1},
    "SD20": {"num_res_blocks": [2] * 4, "channel_mult": (1, 2, 4, 4), "transformer_depth": [1] * 6 + [0] * 2,
             "transformer_depth_output": [1] * 9 + [0] * 3, "transformer_depth_middle": 1, "num_head_channels": 64},
    "SDXL": {"num_res_blocks": [2] * 3, "channel_mult": (1, 2, 4), "transformer_depth": [0, 0, 2, 2, 10, 10],
             "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "transformer_depth_middle": 10,
             "num_classes": "sequential", "num_head_channels": 64},
    "SSD1B": {"num_res_blocks": [2] * 3, "channel_mult": (1, 2, 4), "transformer_depth": [0, 0, 2, 2, 4, 4],
              "transformer_depth_output": [0, 0, 0, 1, 1, 2, 10, 4, 4], "transformer_depth_middle": -1,
              "num_classes": "sequential", "num_head_channels": 64},
}  # fmt: skip


def make_unet(name: str) -> tuple[dict[str, Any], UNetModel]:
    """A full-size UNet on the meta device, with its configuration."""
    config = {
        **getattr(comfy.supported_models, name).unet_config, "in_channels": 4, "out_channels": 4, "image_size": 32,
        "use_spatial_transformer": True, "legacy": False, **UNETS[name],
    }  # fmt: skip
    config.pop("use_temporal_attention", None)
    net = UNetModel(**config, device="meta", operations=comfy.ops.disable_weight_init, dtype=torch.float16)
    return config, net


def load_unet(dtype: torch.dtype, seed: int = 7) -> Any:
    """A MODEL with SD 1.5's names, small, its weights in `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name[len(PREFIX) :]: (torch.randn(shape, generator=generator) * 0.03).to(dtype)
        for name, shape in checkpoint_shapes(clip=False, vae=False).items()
    }
    model = comfy.sd.load_diffusion_model_state_dict(weights, model_options={"dtype": dtype})
    assert {weight.dtype for name, weight in model.model.state_dict().items() if name.endswith("to_q.weight")} == {
        dtype
    }
    return model


def narrow(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape of `load_unet`'s model in `load_narrow_unet`'s: 64 channels for every 320."""
    return tuple(size // 5 if size % 320 == 0 else size for size in shape)


def narrow_layers(*patterns: str) -> dict[str, tuple[int, ...]]:
    """`layers` of the demo, for LoRAs for `load_narrow_unet`."""
    return {name: narrow(shape) for name, shape in layers(*patterns).items()}


def load_narrow_unet(dtype: torch.dtype = torch.float32, seed: int = 7) -> Any:
    """The model of `load_unet` with 64 channels instead of 320, which runs several times quicker.

    ComfyUI's loaders know SD 1.5 by its 320 channels; here it is named, and the rest is as they do it. The weights are
    larger, as sums of fewer products need it.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {
        name[len(PREFIX) :]: (torch.randn(narrow(shape), generator=generator) * 0.03 * 5**0.5).to(dtype)
        for name, shape in checkpoint_shapes(clip=False, vae=False).items()
    }
    cpu = torch.device("cpu")
    config = comfy.supported_models.SD15(comfy.model_detection.detect_unet_config(weights, ""))
    config.set_inference_dtype(dtype, None)
    config.custom_operations = None
    model = config.get_model(weights, "", device=cpu)
    model.load_model_weights(weights, "")
    return comfy.model_patcher.ModelPatcher(model, cpu, cpu)


def load_flux(dtype: torch.dtype = torch.float32) -> Any:
    """A MODEL with FLUX.1's names, one block of each kind, 256 wide."""
    config = {
        "image_model": "flux", "in_channels": 16, "patch_size": 2, "out_channels": 16, "vec_in_dim": 768,
        "context_in_dim": 64, "hidden_size": 256, "mlp_ratio": 4.0, "num_heads": 2, "depth": 1,
        "depth_single_blocks": 1, "axes_dim": [16, 56, 56], "theta": 10000, "qkv_bias": True, "guidance_embed": False,
    }  # fmt: skip
    if "txt_ids_dims" in FluxParams.__dataclass_fields__:  # newer than 0.3.64
        config["txt_ids_dims"] = []
    flux = comfy.supported_models.FluxSchnell({**config})
    flux.set_inference_dtype(dtype, None)
    flux.custom_operations = None
    model = flux.get_model({}, "", device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.03)
    return comfy.model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def patched(patcher: Any) -> dict[str, torch.Tensor]:
    """The weights that ComfyUI computes with; the model is as before afterwards. Those without patches are its own."""
    comfy.model_management.unload_all_models()  # CLIPs are loaded, without our patches, from the start
    with torch.no_grad():  # as ComfyUI runs its nodes
        patcher.patch_model(device_to=torch.device("cpu"))
    try:
        return {
            key: weight.detach().clone() if key in patcher.patches else weight.detach()
            for key, weight in patcher.model.state_dict().items()
        }
    finally:
        patcher.unpatch_model()


def plain(patcher: Any) -> dict[str, torch.Tensor]:
    """The weights without patches."""
    return {key: weight.detach().clone() for key, weight in patcher.model.state_dict().items()}


def same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """True when all weights are equal to the bit."""
    return first.keys() == second.keys() and all(
        weight.dtype == second[key].dtype and torch.equal(_bits(weight), _bits(second[key]))
        for key, weight in first.items()
        if weight.dim()
    )


def _bits(weight: torch.Tensor) -> torch.Tensor:
    """As integers of the same width, which compare sooner than single bytes."""
    return weight.view(INTEGERS[weight.element_size()])


def ulp(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """One unit in the last place of `dtype` at `value` (fp64)."""
    bits, smallest = BITS[dtype]
    exponent = torch.frexp(value)[1] - 1
    return torch.ldexp(torch.ones_like(value), exponent.clamp_min(smallest) - bits)


def reference(
    weights: dict[str, torch.Tensor], rows: Sequence[tuple[Path, float]], *, absolute: bool = False
) -> dict[str, torch.Tensor]:
    """W + Σ s·α/r·up@down in fp64, for kohya files with the demo's layers; of the weights that they change.

    With `absolute` the same of the absolute values: the size of what is added up, before anything cancels.
    """
    from lorchestra.architectures.unet import diffusers_names

    start = "diffusion_model."
    native = [key[len(start) : -len(".weight")] for key in weights if key.endswith(".weight")]
    names = {"lora_unet_" + name.replace(".", "_"): key for key, name in diffusers_names(native).items()}
    size = torch.abs if absolute else torch.clone
    result: dict[str, torch.Tensor] = {}
    for path, strength in rows:
        tensors = {key: size(tensor.double()) for key, tensor in load_file(path).items()}
        strength = abs(strength) if absolute else strength
        for name in {key.partition(".")[0] for key in tensors}:
            up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
            scale = float(tensors[f"{name}.alpha"]) / down.shape[0]
            mid = tensors.get(f"{name}.lora_mid.weight")
            if mid is not None:
                update = torch.einsum("pqhw,op,qi->oihw", mid, up.flatten(1), down.flatten(1))
            else:
                update = up.flatten(1) @ down.flatten(1)
            key = f"{start}{names[name]}.weight"
            before = result[key] if key in result else size(weights[key].double())
            result[key] = before + strength * scale * update.reshape(before.shape)
    return result
