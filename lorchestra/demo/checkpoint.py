"""A made-up checkpoint with the names and widths of Stable Diffusion 1.5, small enough to sample on a CPU in seconds.

The UNet has two resolutions of 320 channels and one res block each; the text encoder (CLIP-L) and the VAE have their
full size, because ComfyUI expects that. The weights are noise, scaled so that the result is a colourful abstract
picture that answers to the prompt and to LoRAs.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

Shape = tuple[int, ...]

UNET_PREFIX = "model.diffusion_model."
CLIP_PREFIX = "cond_stage_model.transformer."
VAE_PREFIX = "first_stage_model."

CHANNELS = 320
CONTEXT = 768
_LEVELS = 2
_TIME = 4 * CHANNELS
_LATENT = 4
_GROUP = CHANNELS // 32  # channels that a group norm scales together
_CLIP_LAYERS = 12
_TOKENS = 49408
_POSITIONS = 77
_VAE_WIDTHS = (128, 256, 512, 512)


def write_checkpoint(path: Path, *, seed: int = 0, clip: bool = True, vae: bool = True) -> Path:
    """Writes the checkpoint (fp16, about 500 MB with all parts, 90 MB with the UNet alone) and returns its path.

    The same seed and the same torch give the same bytes. A tensor's values do not depend on which parts are left out.
    """
    shapes = checkpoint_shapes(clip=clip, vae=vae)
    tensors = {name: _weight(name, shape, seed) for name, shape in shapes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"format": "pt", "description": "noise in the shape of Stable Diffusion 1.5"})
    return path


def checkpoint_shapes(*, clip: bool = True, vae: bool = True) -> dict[str, Shape]:
    """Names and shapes of all tensors, with the prefixes of a whole checkpoint."""
    shapes = {UNET_PREFIX + name: shape for name, shape in unet_shapes().items()}
    if clip:
        shapes |= {CLIP_PREFIX + name: shape for name, shape in clip_shapes().items()}
    if vae:
        shapes |= {VAE_PREFIX + name: shape for name, shape in vae_shapes().items()}
    return shapes


def unet_shapes() -> dict[str, Shape]:
    """The UNet's tensors by native name, without prefix."""
    shapes: dict[str, Shape] = {
        **_linear("time_embed.0", CHANNELS, _TIME),
        **_linear("time_embed.2", _TIME, _TIME),
        **_conv("input_blocks.0.0", _LATENT, CHANNELS),
    }
    block = 0
    for level in range(_LEVELS):
        block += 1
        shapes |= _res_block(f"input_blocks.{block}.0", CHANNELS) | _transformer(f"input_blocks.{block}.1")
        if level < _LEVELS - 1:
            block += 1
            shapes |= _conv(f"input_blocks.{block}.0.op", CHANNELS, CHANNELS)
    shapes |= _res_block("middle_block.0", CHANNELS)
    shapes |= _transformer("middle_block.1")
    shapes |= _res_block("middle_block.2", CHANNELS)
    for level in range(_LEVELS):
        for layer in range(2):
            name = f"output_blocks.{2 * level + layer}"
            shapes |= _res_block(f"{name}.0", 2 * CHANNELS) | _transformer(f"{name}.1")
            if level < _LEVELS - 1 and layer == 1:
                shapes |= _conv(f"{name}.2.conv", CHANNELS, CHANNELS)
    return shapes | _norm("out.0", CHANNELS) | _conv("out.2", CHANNELS, _LATENT)


def clip_shapes() -> dict[str, Shape]:
    """The text encoder's tensors by the names of its own format, `text_model.…`."""
    text = "text_model."
    shapes: dict[str, Shape] = {
        f"{text}embeddings.token_embedding.weight": (_TOKENS, CONTEXT),
        f"{text}embeddings.position_embedding.weight": (_POSITIONS, CONTEXT),
    }
    for layer in range(_CLIP_LAYERS):
        name = f"{text}encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= _linear(f"{name}.self_attn.{part}", CONTEXT, CONTEXT)
        shapes |= _norm(f"{name}.layer_norm1", CONTEXT) | _norm(f"{name}.layer_norm2", CONTEXT)
        shapes |= _linear(f"{name}.mlp.fc1", CONTEXT, 4 * CONTEXT) | _linear(f"{name}.mlp.fc2", 4 * CONTEXT, CONTEXT)
    return shapes | _norm(f"{text}final_layer_norm", CONTEXT)


def vae_shapes() -> dict[str, Shape]:
    """The VAE's tensors by native name, without prefix."""
    widest = _VAE_WIDTHS[-1]
    shapes = _conv("encoder.conv_in", 3, _VAE_WIDTHS[0])
    width = _VAE_WIDTHS[0]
    for level, out in enumerate(_VAE_WIDTHS):
        for layer in range(2):
            shapes |= _vae_block(f"encoder.down.{level}.block.{layer}", width, out)
            width = out
        if level < len(_VAE_WIDTHS) - 1:
            shapes |= _conv(f"encoder.down.{level}.downsample.conv", out, out)
    shapes |= _vae_middle("encoder", widest)
    shapes |= _norm("encoder.norm_out", widest) | _conv("encoder.conv_out", widest, 2 * _LATENT)
    shapes |= _conv("quant_conv", 2 * _LATENT, 2 * _LATENT, 1) | _conv("post_quant_conv", _LATENT, _LATENT, 1)
    shapes |= _conv("decoder.conv_in", _LATENT, widest) | _vae_middle("decoder", widest)
    for level in reversed(range(len(_VAE_WIDTHS))):
        out = _VAE_WIDTHS[level]
        for layer in range(3):
            shapes |= _vae_block(f"decoder.up.{level}.block.{layer}", width, out)
            width = out
        if level > 0:
            shapes |= _conv(f"decoder.up.{level}.upsample.conv", out, out)
    return shapes | _norm("decoder.norm_out", width) | _conv("decoder.conv_out", width, 3)


def _linear(name: str, width_in: int, width_out: int, bias: bool = True) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{name}.weight": (width_out, width_in)}
    return shapes | {f"{name}.bias": (width_out,)} if bias else shapes


def _conv(name: str, width_in: int, width_out: int, kernel: int = 3) -> dict[str, Shape]:
    return {f"{name}.weight": (width_out, width_in, kernel, kernel), f"{name}.bias": (width_out,)}


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _res_block(name: str, width_in: int) -> dict[str, Shape]:
    shapes = {
        **_norm(f"{name}.in_layers.0", width_in),
        **_conv(f"{name}.in_layers.2", width_in, CHANNELS),
        **_linear(f"{name}.emb_layers.1", _TIME, CHANNELS),
        **_norm(f"{name}.out_layers.0", CHANNELS),
        **_conv(f"{name}.out_layers.3", CHANNELS, CHANNELS),
    }
    return shapes if width_in == CHANNELS else shapes | _conv(f"{name}.skip_connection", width_in, CHANNELS, 1)


def _transformer(name: str) -> dict[str, Shape]:
    block = f"{name}.transformer_blocks.0"
    shapes = _norm(f"{name}.norm", CHANNELS) | _conv(f"{name}.proj_in", CHANNELS, CHANNELS, 1)
    for attention, width in (("attn1", CHANNELS), ("attn2", CONTEXT)):
        shapes |= _linear(f"{block}.{attention}.to_q", CHANNELS, CHANNELS, bias=False)
        shapes |= _linear(f"{block}.{attention}.to_k", width, CHANNELS, bias=False)
        shapes |= _linear(f"{block}.{attention}.to_v", width, CHANNELS, bias=False)
        shapes |= _linear(f"{block}.{attention}.to_out.0", CHANNELS, CHANNELS)
    shapes |= _linear(f"{block}.ff.net.0.proj", CHANNELS, 8 * CHANNELS)
    shapes |= _linear(f"{block}.ff.net.2", 4 * CHANNELS, CHANNELS)
    for number in (1, 2, 3):
        shapes |= _norm(f"{block}.norm{number}", CHANNELS)
    return shapes | _conv(f"{name}.proj_out", CHANNELS, CHANNELS, 1)


def _vae_block(name: str, width_in: int, width_out: int) -> dict[str, Shape]:
    shapes = {
        **_norm(f"{name}.norm1", width_in),
        **_conv(f"{name}.conv1", width_in, width_out),
        **_norm(f"{name}.norm2", width_out),
        **_conv(f"{name}.conv2", width_out, width_out),
    }
    return shapes if width_in == width_out else shapes | _conv(f"{name}.nin_shortcut", width_in, width_out, 1)


def _vae_middle(name: str, width: int) -> dict[str, Shape]:
    shapes = _vae_block(f"{name}.mid.block_1", width, width) | _vae_block(f"{name}.mid.block_2", width, width)
    shapes |= _norm(f"{name}.mid.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= _conv(f"{name}.mid.attn_1.{part}", width, width, 1)
    return shapes


_BLUR = torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])) / 16


def _weight(name: str, shape: Shape, seed: int) -> torch.Tensor:
    """One tensor of noise, fp16; the generator is seeded by the name, so that tensors do not depend on each other."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    noise = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        is_scale = name.endswith(".weight")  # of a norm; all other weights have two dimensions or more
        return (noise * 0.05 + (1.0 if is_scale else 0.0)).half()
    if "embedding" in name:
        return (noise * 0.5).half()
    fan_in = shape[1]
    weight = noise / math.sqrt(fan_in)
    if shape[-1] == 3 and len(shape) == 4:
        # Blurring kernels: noise that is smooth in space makes shapes rather than grain.
        weight = weight.mean((2, 3), keepdim=True) * 3 * _BLUR * 2 + weight * 0.1
    weight = _through(name, weight)
    return weight.half()


def _through(name: str, weight: torch.Tensor) -> torch.Tensor:
    """Gives the UNet a straight way for the noisy latent, because a model that predicts noise has to pass it on.

    SiLU(x) - SiLU(-x) = x, so a pair of channels of opposite sign survives the last activation unharmed.
    """
    last = f"{UNET_PREFIX}output_blocks.{2 * _LEVELS - 1}"
    if name == f"{UNET_PREFIX}input_blocks.0.0.weight":
        for channel in range(_LATENT):
            weight[2 * channel] = 0
            weight[2 * channel, channel, 1, 1] = 2
            weight[2 * channel + 1] = -weight[2 * channel]
    elif name in (f"{last}.0.out_layers.3.weight", f"{last}.1.proj_out.weight"):
        weight[:_GROUP] *= 0.05
    elif name == f"{last}.0.skip_connection.weight":
        weight[:_GROUP] = 0
        for channel in range(2 * _LATENT):
            weight[channel, CHANNELS + channel] = 1
    elif name == f"{UNET_PREFIX}out.2.weight":
        weight = _balanced(weight) * 0.06
        for channel in range(_LATENT):
            weight[channel, 2 * channel, 1, 1] += 1
            weight[channel, 2 * channel + 1, 1, 1] -= 1
    elif name == f"{VAE_PREFIX}decoder.conv_out.weight":
        weight = _balanced(weight) * 0.6
    return weight


def _balanced(weight: torch.Tensor) -> torch.Tensor:
    """Without a mean over the inputs: SiLU's results are never far below zero, which would tint the whole picture."""
    return weight - weight.mean(1, keepdim=True)
