"""The demo's prompt in ComfyUI's API format: checkpoint, LoRA Stack, sampler, picture."""

from __future__ import annotations

from typing import Any

Json = Any
"""A value as `json.loads` gives it."""

CHECKPOINT = "v1-5-pruned-emaonly-fp16.safetensors"
"""The checkpoint that the example workflow names, as ComfyUI's own template does."""
POSITIVE = "a lighthouse by the sea, evening light"
NEGATIVE = "blurry"
STACK_NODE = "2"
"""Id of the LoRA Stack in `demo_prompt`, for those who look for its outputs."""
SAVE_NODE = "8"
"""Id of the node that saves the picture."""


def demo_prompt(
    loras: Json = None,
    *,
    checkpoint: str = CHECKPOINT,
    missing: str = "error",
    positive: str = POSITIVE,
    negative: str = NEGATIVE,
    seed: int = 1,
    steps: int = 8,
    cfg: float = 7.0,
    width: int = 256,
    height: int = 256,
    prefix: str = "lorchestra",
) -> dict[str, Json]:
    """A prompt that makes one picture.

    `loras` is the stack in any form that the node reads; None leaves the LoRA Stack node out. A bare list is wrapped in
    `__value__`, because ComfyUI takes lists of two for links.
    """
    model: list[Json] = ["1", 0]
    clip: list[Json] = ["1", 1]
    prompt: dict[str, Json] = {"1": _node("CheckpointLoaderSimple", ckpt_name=checkpoint)}
    if loras is not None:
        wrapped: dict[str, Json] = {"__value__": loras}
        value = wrapped if isinstance(loras, list) else loras
        prompt[STACK_NODE] = _node("LorchestraLoraStack", model=model, clip=clip, loras=value, missing=missing)
        model, clip = [STACK_NODE, 0], [STACK_NODE, 1]
    prompt["3"] = _node("CLIPTextEncode", clip=clip, text=positive)
    prompt["4"] = _node("CLIPTextEncode", clip=clip, text=negative)
    prompt["5"] = _node("EmptyLatentImage", width=width, height=height, batch_size=1)
    prompt["6"] = _node(
        "KSampler", model=model, positive=["3", 0], negative=["4", 0], latent_image=["5", 0], seed=seed, steps=steps,
        cfg=cfg, sampler_name="euler", scheduler="normal", denoise=1.0,
    )  # fmt: skip
    prompt["7"] = _node("VAEDecode", samples=["6", 0], vae=["1", 2])
    prompt[SAVE_NODE] = _node("SaveImage", images=["7", 0], filename_prefix=prefix)
    return prompt


def _node(kind: str, **inputs: Json) -> dict[str, Json]:
    return {"class_type": kind, "inputs": inputs}
