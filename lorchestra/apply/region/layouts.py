"""Which layers of a model see the picture, and where its tokens stand among the others.

To add a kind of model: a `Layout` with the class of its diffusion model in ComfyUI, a row in `LAYOUTS`, and a row in
`tests/nodes/test_region.py`, which runs a small one. The patterns are of the layers' paths in the diffusion model; each
layer that is not named is refused. Each layout has the file that it was read from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

PICTURE, JOINT, ELSEWHERE = "picture", "joint", "elsewhere"
"""Tokens of the picture, those of the text before them, or no picture at all: text, times, vectors of modulation."""


@dataclass(frozen=True)
class Layout:
    """One kind of model."""

    title: str
    model: str
    """ComfyUI's class of the diffusion model, with its module."""
    picture: str
    """Layers that see the picture, and behind it the pictures beside it; convolutions see its grid."""
    elsewhere: str
    """Layers that see something else."""
    joint: str = r"(?!)"
    """Layers that see the text, then the picture, then the pictures beside it."""
    patch: int = 1
    """Pixels of the latent in a token, each way, as the model has it; 0 for UNets, whose levels halve the picture."""
    fills: bool = False
    """True if the model fills text and picture up, each to a `multiple` of tokens."""
    multiple: int = 1
    frame_step: int = 1
    """Frames of a video in one of the latent, the first of which is alone."""
    refuses: tuple[str, ...] = ()
    """Arguments of a call that put tokens where they are not expected."""

    def kind(self, path: str) -> str | None:
        """What a layer sees: `PICTURE`, `JOINT` or `ELSEWHERE`; None if that is not known."""
        return next((kind for kind, pattern in self._patterns if pattern.match(path)), None)

    @cached_property
    def _patterns(self) -> tuple[tuple[str, re.Pattern[str]], ...]:
        named = ((ELSEWHERE, self.elsewhere), (JOINT, self.joint), (PICTURE, self.picture))
        return tuple((kind, re.compile(pattern, re.VERBOSE)) for kind, pattern in named)


UNET = Layout(
    "Stable Diffusion 1, 2 and XL",
    "comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel",  # also comfy/ldm/modules/attention.py
    picture=r"(input_blocks | middle_block | output_blocks) \. (?!.*(time_stack | time_mixer | time_pos)) | out\.2$",
    elsewhere=r"time_embed\. | label_emb\. | (?!.*time_stack) .*\.(emb_layers\.\d+ | attn2\.to_[kv])$",
    patch=0,
)
FLUX = Layout(
    "FLUX.1 and FLUX.2",
    "comfy.ldm.flux.model.Flux",
    picture=r"img_in$ | double_blocks\.\d+\.img_(attn|mlp)\. | final_layer\.linear$",
    joint=r"single_blocks\.\d+\.linear[12]$",
    elsewhere=r"(txt_in | time_in | vector_in | guidance_in | txt_norm | \w+_modulation\w*)(\.|$)"
    r"| double_blocks\.\d+\.(txt_ | img_mod\.) | single_blocks\.\d+\.modulation\. | final_layer\.adaLN_modulation\.",
)
SD3 = Layout(
    "Stable Diffusion 3",
    "comfy.ldm.modules.diffusionmodules.mmdit.OpenAISignatureMMDITWrapper",
    picture=r"x_embedder\.proj$ | joint_blocks\.\d+\.x_block\.(attn2? | mlp)\. | final_layer\.linear$",
    elsewhere=r"(t_embedder | y_embedder | context_embedder | context_processor)(\.|$)"
    r"| joint_blocks\.\d+\.(context_block\. | x_block\.adaLN_modulation\.) | final_layer\.adaLN_modulation\.",
)
QWEN = Layout(
    "Qwen-Image",
    "comfy.ldm.qwen_image.model.QwenImageTransformer2DModel",
    picture=r"img_in$ | transformer_blocks\.\d+\.(attn\.to_(q|k|v|out)(\.|$) | img_mlp\.) | proj_out$",
    elsewhere=r"txt_in$ | time_text_embed\. | norm_out\."
    r"| transformer_blocks\.\d+\.(attn\.(add_\w+_proj | to_add_out)$ | txt_ | img_mod\.)",
)
Z_IMAGE = Layout(
    "Z-Image",
    "comfy.ldm.lumina.model.NextDiT",  # Lumina 2's too, which fills nothing up
    picture=r"x_embedder$ | noise_refiner\.\d+\.(attention | feed_forward)\.",
    joint=r"layers\.\d+\.(attention | feed_forward)\. | final_layer\.linear$",
    elsewhere=r"(cap_embedder | context_refiner | t_embedder | clip_text_pooled_proj | time_text_embed)\."
    r"| (.*\.)?adaLN_modulation\.",
    fills=True,
    refuses=("ref_latents", "ref_contexts", "siglip_feats"),
)
WAN = Layout(
    "Wan",
    "comfy.ldm.wan.model.WanModel",
    picture=r"patch_embedding$ | blocks\.\d+\.(self_attn\. | ffn\. | cross_attn\.[qo]$) | head\.head$",
    elsewhere=r"(text_embedding | time_embedding | time_projection | img_emb)\."
    r"| blocks\.\d+\.cross_attn\.[kv](_img)?$",
    frame_step=4,
    refuses=("reference_latent", "context_latents", "time_dim_concat"),
)
LAYOUTS = (UNET, FLUX, SD3, QWEN, Z_IMAGE, WAN)


def find_layout(model: object) -> Layout | None:
    """The layout of a diffusion model, by its very class, since one that is derived from it may do more; with the
    sizes that the model has. None if it is not known."""
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    found = next((layout for layout in LAYOUTS if name == layout.model), None)
    if found is None or not found.patch:
        return found
    patch, multiple = getattr(model, "patch_size", None), getattr(model, "pad_tokens_multiple", None)
    if isinstance(patch, (tuple, list)):
        sizes = cast("Sequence[object]", patch)
        patch = sizes[2] if len(sizes) == 3 and sizes[0] == 1 and sizes[1] == sizes[2] else None
    if not isinstance(patch, int) or (found.fills and not multiple):
        return None
    return replace(found, patch=patch, multiple=int(multiple or 1) if found.fills else 1)
