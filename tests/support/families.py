"""Small models of random weights, a few blocks each, by ComfyUI's own classes; and runs of them as its nodes do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import comfy.model_base
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import torch
from comfy.ldm.flux.model import FluxParams
from support.algorithm_files import MATRIX, made
from support.live_runs import kohya, named, noise

CPU = torch.device("cpu")
WIDTH = 32


@dataclass(frozen=True)
class Family:
    """One kind of model."""

    supported: str
    """ComfyUI's class in `supported_models`."""
    config: Mapping[str, Any]
    """What its detection would say of a file."""
    latent: tuple[tuple[int, ...], ...]
    """The shapes of the latent: of its parts, for models of video with sound."""
    text: tuple[int, int]
    """Tokens and channels of the prompt."""
    cond: Callable[[], dict[str, Any]] = dict
    """What stands beside the prompt."""
    cfg: float = 1.0
    steps: int = 2
    prepared: tuple[str, ...] = ()
    """Starts of the layers that run before the first step."""
    finish: Callable[[Any], None] = field(default=lambda net: None)
    """Changes the diffusion model that ComfyUI's class makes."""

    @property
    def is_known(self) -> bool:
        """False for models that are newer than this ComfyUI."""
        return hasattr(comfy.supported_models, self.supported)

    def make(self, dtype: torch.dtype = torch.float32) -> Any:
        """A MODEL on the CPU, the same every time."""
        found = getattr(comfy.supported_models, self.supported)({**self.config})
        found.set_inference_dtype(dtype, None)
        found.custom_operations = None
        model = found.get_model({}, "", device="cpu")
        self.finish(model.diffusion_model)
        fill(model)
        return comfy.model_patcher.ModelPatcher(model, CPU, CPU)

    def guided(self, guider: Any, *, steps: int, cfg: float) -> Any:
        """A run of a guider, on the latent and the prompts of `sample`."""
        start, empty = self._latents(1)
        guider.set_conds(*self._conds())
        guider.set_cfg(cfg)
        sampling = guider.model_patcher.get_model_object("model_sampling")
        sigmas = comfy.samplers.calculate_sigmas(sampling, "simple", steps)
        sampler = comfy.samplers.sampler_object("euler")
        with torch.inference_mode():
            return _flat(guider.sample(start, empty, sampler, sigmas, disable_pbar=True, seed=0))

    def _latents(self, batch: int) -> tuple[Any, Any]:
        start = joined([noise(batch, *shape[1:], seed=5 + place) for place, shape in enumerate(self.latent)])
        return start, joined([torch.zeros(batch, *shape[1:]) for shape in self.latent])

    def _conds(self) -> list[Any]:
        return [[[noise(1, *self.text, seed=seed), self.cond()]] for seed in (1, 2)]

    def sample(
        self, model: Any, *, steps: int | None = None, cfg: float | None = None, batch: int = 1, **more: Any
    ) -> Any:
        """A run; the parts of the result in one row of numbers."""
        start, empty = self._latents(batch)
        with torch.inference_mode():
            result = comfy.sample.sample(
                model, start, steps or self.steps, self.cfg if cfg is None else cfg, "euler", "simple", *self._conds(),
                empty, disable_pbar=True, seed=0, **more,
            )  # fmt: skip
        return _flat(result)


def _flat(result: Any) -> torch.Tensor:
    parts = result.unbind() if getattr(result, "is_nested", False) else [result]
    return torch.cat([part.flatten(1) for part in parts], 1)


def joined(parts: list[torch.Tensor]) -> Any:
    """One tensor, or several as one."""
    if len(parts) == 1:
        return parts[0]
    from comfy.nested_tensor import NestedTensor

    return NestedTensor(parts)


def fill(model: torch.nn.Module, seed: int = 0) -> None:
    """Numbers of the usual sizes for all weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            size = weight[0].numel() ** -0.5 if weight.dim() > 1 else 0.05
            weight.copy_(torch.randn(weight.shape, generator=generator) * size)
            if "norm" in name and name.endswith("weight") and weight.dim() == 1:
                weight += 1
        for name, buffer in model.named_buffers():
            if name.endswith("rope.inv_freq"):
                buffer.copy_(1.0 / 100 ** torch.linspace(0, 1, len(buffer)))
            elif name.endswith("pos_embed"):  # SD 3's class makes it of memory as it was, at times with NaN
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.5)


def _small_adapter(net: Any) -> None:
    """ComfyUI's class makes Anima's adapter of full size only."""
    from comfy.ldm.anima.model import LLMAdapter
    from comfy.ops import disable_weight_init

    net.llm_adapter = LLMAdapter(
        source_dim=WIDTH, target_dim=WIDTH, model_dim=WIDTH, num_layers=1, num_heads=2, dtype=torch.float32,
        operations=disable_weight_init,
    )  # fmt: skip


_FLUX = {
    "in_channels": 16, "out_channels": 16, "context_in_dim": WIDTH, "hidden_size": 64, "num_heads": 2, "depth": 1,
    "depth_single_blocks": 1, "axes_dim": [8, 8, 8, 8], "theta": 2000, "patch_size": 1, "qkv_bias": False,
    "guidance_embed": False, "vec_in_dim": None, "mlp_ratio": 3.0,
}  # fmt: skip
_LTX = {
    "in_channels": 128, "cross_attention_dim": WIDTH, "attention_head_dim": 16, "num_attention_heads": 2,
    "caption_channels": WIDTH, "num_layers": 1,
}  # fmt: skip

FAMILIES: Mapping[str, Family] = {
    "Wan": Family(
        "WAN21_T2V",
        {"image_model": "wan2.1", "model_type": "t2v", "dim": 64, "out_dim": 16, "num_heads": 2, "ffn_dim": 96,
         "num_layers": 1, "patch_size": (1, 2, 2), "freq_dim": 32, "text_dim": WIDTH, "window_size": (-1, -1),
         "qk_norm": True, "cross_attn_norm": True, "eps": 1e-6, "in_dim": 16},
        ((1, 16, 2, 4, 4),),
        (6, WIDTH),
    ),
    "LTX video": Family(
        "LTXV",
        {"image_model": "ltxv", **_LTX},
        ((1, 128, 2, 2, 2),),
        (6, WIDTH),
        lambda: {"attention_mask": torch.ones(1, 6, dtype=torch.int64)},
    ),
    "LTX audio-video": Family(
        "LTXAV",
        {"image_model": "ltxav", **_LTX, "audio_cross_attention_dim": WIDTH, "audio_attention_head_dim": 16,
         "audio_num_attention_heads": 2, "connector_attention_head_dim": 16, "connector_num_attention_heads": 2,
         "connector_num_layers": 1},
        ((1, 128, 2, 2, 2), (1, 8, 4, 16)),
        (6, WIDTH),
        steps=1,  # its connectors fill the prompt up to 1,024 tokens
        prepared=("video_embeddings_connector.", "audio_embeddings_connector."),
    ),
    "MiniMax H3": Family(
        "MiniMaxH3",
        {"image_model": "minimax_h3", "num_layers": 1, "token_refiner_num_layers": 1, "hidden_size": 48,
         "latents_dim": 24, "audio_latents_dim": 32, "attention_head_dim": 16, "num_attention_heads": 2,
         "ffn_hidden_size": 64, "text_dim": WIDTH, "timestep_input_dim": 32, "time_embed_hidden_size": 48,
         "time_embed_dim": 32, "rope_inv_freq_len": 2},
        ((1, 24, 1, 4, 4), (1, 32, 2, 4)),
        (6, WIDTH),
        prepared=("condition_proj", "token_refiner."),
    ),
    "Anima": Family(
        "Anima",
        {"image_model": "anima", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
         "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "concat_padding_mask": True,
         "model_channels": 64, "num_blocks": 1, "num_heads": 2, "crossattn_emb_channels": WIDTH,
         "pos_emb_cls": "rope3d", "use_adaln_lora": True, "adaln_lora_dim": 16},
        ((1, 16, 1, 4, 4),),
        (6, WIDTH),
        lambda: {"t5xxl_ids": torch.arange(5), "t5xxl_weights": torch.linspace(0.5, 1, 5)},
        prepared=("llm_adapter.",),
        finish=_small_adapter,
    ),
    "Qwen-Image": Family(
        "QwenImage",
        {"image_model": "qwen_image", "in_channels": 64, "out_channels": 16, "num_layers": 2,
         "attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": WIDTH,
         "axes_dims_rope": (4, 6, 6)},
        ((1, 16, 1, 4, 4),),
        (6, WIDTH),
    ),
    "Stable Diffusion 3": Family(
        "SD3",
        {"input_size": 16, "patch_size": 2, "in_channels": 16, "depth": 1, "mlp_ratio": 2.0,
         "adm_in_channels": 16, "num_patches": 64, "pos_embed_max_size": 8, "pos_embed_scaling_factor": None,
         "qk_norm": "rms", "context_embedder_config": {"target": "torch.nn.Linear",
                                                       "params": {"in_features": WIDTH, "out_features": 64}}},
        ((1, 16, 4, 4),),
        (6, WIDTH),
        lambda: {"pooled_output": noise(1, 16, seed=3)},
    ),
    "Z-Image": Family(
        "ZImage",
        {"image_model": "lumina2", "patch_size": 2, "in_channels": 16, "cap_feat_dim": WIDTH, "n_layers": 1,
         "n_refiner_layers": 1, "qk_norm": True, "dim": 256, "n_heads": 2, "n_kv_heads": 2, "axes_dims": [32, 48, 48],
         "axes_lens": [64, 64, 64], "rope_theta": 256.0, "ffn_dim_multiplier": 1.0, "z_image_modulation": True,
         "time_scale": 1000.0, "pad_tokens_multiple": 8, "multiple_of": 32},
        ((1, 16, 4, 4),),
        (6, WIDTH),
    ),
    "FLUX.2": Family(
        "Flux2",
        {"image_model": "flux2", **_FLUX, "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
         "txt_ids_dims": [3]},
        ((1, 16, 4, 4),),
        (6, WIDTH),
    ),
    "FLUX.1": Family(
        "FluxSchnell",
        {"image_model": "flux", **_FLUX, "patch_size": 2, "axes_dim": [8, 12, 12], "vec_in_dim": 768,
         "qkv_bias": True,
         **({"txt_ids_dims": []} if "txt_ids_dims" in FluxParams.__dataclass_fields__ else {})},
        ((1, 16, 4, 4),),
        (6, WIDTH),
        lambda: {"pooled_output": noise(1, 768, seed=3)},
    ),
}  # fmt: skip
"""By name. Newer ComfyUIs have all of them."""

KNOWN = tuple(name for name, family in FAMILIES.items() if family.is_known)


def linear_layers(model: Any) -> dict[str, tuple[int, int]]:
    """Path in the diffusion model → shape of the weight, for the linear layers of a MODEL."""
    return {
        path: (module.out_features, module.in_features)
        for path, module in model.model.diffusion_model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }


def lora_tensors(kind: str, layers: Mapping[str, tuple[int, int]], seed: int = 0) -> dict[str, torch.Tensor]:
    """A file with one algorithm on all layers; plain LoRAs where a shape does not divide by 4."""
    result: dict[str, torch.Tensor] = {}
    for place, (path, shape) in enumerate(layers.items()):
        fits = not any(length % 8 for length in shape)
        result |= named(kohya(path), made(kind if fits else "LoRA", shape, seed + place))
    return result


ALGORITHMS = MATRIX
"""All that change a matrix."""
