"""A model of our own that does what newer models do: its prompt is a prefix at time 0, whose keys and values it keeps.

It imitates the behaviour of Qwen-Image-2.1 and HiDream-O1 in names and calls, with none of their code: the modulation
sees a row more than the batch, feed-forward blocks have one layer `gate_up`, and a cached call runs the picture only.
"""

from __future__ import annotations

from typing import Any

import comfy.model_base
import comfy.model_patcher
import comfy.sample
import comfy.supported_models
import torch
from support.families import CPU, fill
from support.live_runs import noise
from torch.nn import functional as F

WIDTH = 32


class PrefixBlock(torch.nn.Module):
    """Attention and a gated feed-forward part."""

    def __init__(self, operations: Any, **more: Any) -> None:
        super().__init__()
        self.attn = torch.nn.Module()
        for name in ("to_q", "to_k", "to_v"):
            setattr(self.attn, name, operations.Linear(WIDTH, WIDTH, **more))
        self.attn.to_out = torch.nn.ModuleList([operations.Linear(WIDTH, WIDTH, **more)])
        self.img_mlp = torch.nn.Module()
        self.img_mlp.gate_up = operations.Linear(WIDTH, 4 * WIDTH, bias=False, **more)
        self.img_mlp.out = operations.Linear(2 * WIDTH, WIDTH, bias=False, **more)

    def forward(self, x: torch.Tensor, shift: torch.Tensor, past: Any) -> tuple[torch.Tensor, Any]:
        attn: Any = self.attn
        mlp: Any = self.img_mlp
        moved = F.layer_norm(x, (WIDTH,)) + shift[:, None]
        key, value = attn.to_k(moved), attn.to_v(moved)
        pair = (key, value)
        if past is not None:
            key, value = torch.cat([past[0], key], 1), torch.cat([past[1], value], 1)
        x = x + attn.to_out[0](F.scaled_dot_product_attention(attn.to_q(moved), key, value))
        gate, up = mlp.gate_up(F.layer_norm(x, (WIDTH,))).chunk(2, -1)
        return x + mlp.out(F.silu(gate) * up), pair


class PrefixModel(torch.nn.Module):
    """Two blocks."""

    is_lasting = False
    """True if what is kept is not forgotten when a run begins, as with HiDream-O1."""

    def __init__(self, dtype: Any = None, device: Any = None, operations: Any = None, **_: Any) -> None:
        super().__init__()
        self.dtype = dtype
        more = {"dtype": dtype, "device": device}
        self.img_in = operations.Linear(16, WIDTH, **more)
        self.txt_in = operations.Linear(WIDTH, WIDTH, **more)
        self.modulation = torch.nn.Sequential(torch.nn.SiLU(), operations.Linear(WIDTH, WIDTH, **more))
        self.transformer_blocks = torch.nn.ModuleList([PrefixBlock(operations, **more) for _ in range(2)])
        self.proj_out = operations.Linear(WIDTH, 16, **more)
        self.kept: list[tuple[torch.Tensor, list[Any]]] = []
        self.rows: list[int] = []
        """Those that the modulation saw."""

    def reset_prefix_cache(self, _: bool) -> None:
        self.kept = []

    def forward(
        self, x: torch.Tensor, timesteps: torch.Tensor, context: Any = None, transformer_options: Any = None, **_: Any
    ) -> torch.Tensor:
        batch = len(x)
        times = torch.cat([timesteps, torch.zeros(1)])
        freqs = torch.linspace(0.1, 3, WIDTH)
        shifts = self.modulation(torch.cos(times[:, None] * freqs))
        self.rows.append(len(shifts))
        is_off = (transformer_options or {}).get("qwen_image21_cache", {}).get("device") == "off"
        key = context.clone()
        found = next((pairs for text, pairs in self.kept if text.shape == key.shape and torch.equal(text, key)), None)
        pairs = None if is_off and not self.is_lasting else found
        if pairs is None:
            prefix, pairs = self.txt_in(context), []
            for block in self.transformer_blocks:
                prefix, pair = block(prefix, shifts[batch:].expand(batch, -1), None)
                pairs.append(pair)
            self.kept.append((key, pairs))
        tokens = self.img_in(x.flatten(2).mT)
        for block, pair in zip(self.transformer_blocks, pairs, strict=True):
            tokens, _pair = block(tokens, shifts[:batch], pair)
        return self.proj_out(F.layer_norm(tokens, (WIDTH,))).mT.reshape(x.shape)


class LastingModel(PrefixModel):
    """Keeps it from one run to the next."""

    is_lasting = True

    def clear_kv_cache(self) -> None:
        self.kept = []


class PrefixBase(comfy.model_base.BaseModel):
    """How ComfyUI runs it."""

    def extra_conds(self, **kwargs: Any) -> Any:
        net: Any = self.diffusion_model
        if not net.is_lasting:
            net.reset_prefix_cache(True)
        return super().extra_conds(**kwargs)


def make_prefix_model(net: type[PrefixModel] = PrefixModel) -> Any:
    """A MODEL on the CPU."""
    config = comfy.supported_models.QwenImage({"image_model": "qwen_image"})
    config.set_inference_dtype(torch.float32, None)
    config.custom_operations = None
    model = PrefixBase(config, comfy.model_base.ModelType.FLOW, device="cpu", unet_model=net)
    fill(model)
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


def sample_prefix(model: Any, *, steps: int = 2, cfg: float = 1.0, batch: int = 1) -> torch.Tensor:
    """A run on a small latent."""
    conds = [[[noise(1, 6, WIDTH, seed=seed), {}]] for seed in (1, 2)]
    start = noise(batch, 16, 1, 4, 4)
    with torch.inference_mode():
        return comfy.sample.sample(
            model, start, steps, cfg, "euler", "simple", *conds, torch.zeros_like(start), disable_pbar=True, seed=0
        )
