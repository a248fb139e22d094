"""Runs of models with live stacks, and what was asked of their layers meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import comfy.model_management
import comfy.sample
import torch
from comfy.patcher_extension import WrappersMP
from support.models import plain

Rows = Sequence[dict[str, Any]]


def row(name: str, model: float = 1.0, **more: Any) -> dict[str, Any]:
    """A row of the stack."""
    return {"lora": f"{name}.safetensors", "model": model, **more}


class Stacks:
    """Models with rows of LoRAs on them, by the node LoRA Stack."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.report = ""
        """Of the last one."""

    def __call__(self, base: Any, rows: Rows, mode: str = "live") -> Any:
        loras = json.dumps({"version": 1, "loras": list(rows)})
        out = self._node.execute(model=base, loras=loras, mode=mode).args
        self.report = out[3]
        return out[0]


def noise(*shape: int, seed: int = 5) -> torch.Tensor:
    """The same for the same seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sample(model: Any, *, steps: int = 2, cfg: float = 2.0, batch: int = 1, **more: Any) -> torch.Tensor:
    """A run on a small latent of SD 1.5's, as the KSampler node does it."""
    positive, negative = noise(1, 77, 768, seed=1), noise(1, 77, 768, seed=2)
    start = noise(batch, 4, 8, 8)
    options: dict[str, Any] = {"latent_image": torch.zeros_like(start), "sampler_name": "euler", "seed": 0, **more}
    with torch.inference_mode():
        return comfy.sample.sample(
            model, start, steps, cfg, options.pop("sampler_name"), "normal", [[positive, {}]], [[negative, {}]],
            options.pop("latent_image"), disable_pbar=True, **options,
        )  # fmt: skip


def sample_wan(model: Any, *, steps: int = 2, cfg: float = 1.0, **more: Any) -> torch.Tensor:
    """A run on a small video latent, 2 frames."""
    conds = [[noise(1, 6, 64, seed=1), {}]], [[noise(1, 6, 64, seed=2), {}]]
    start = noise(1, 16, 2, 4, 4)
    with torch.inference_mode():
        return comfy.sample.sample(
            model, start, steps, cfg, "euler", "simple", *conds, torch.zeros_like(start), disable_pbar=True, seed=0,
            **more,
        )  # fmt: skip


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """Relative distance."""
    return float((one.double() - other.double()).norm() / other.double().norm())


def weights(model: Any) -> dict[str, torch.Tensor]:
    """The model's own, with nothing loaded."""
    comfy.model_management.unload_all_models()
    return plain(model)


def hooks(model: Any) -> int:
    """Everything that is on the model's layers: hooks before and after them, functions of their weights."""
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(getattr(module, "weight_function", ()))
        for module in model.model.modules()
    )


class Recorder:
    """What the model was asked, and what it answered."""

    def __init__(self, model: Any) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any], torch.Tensor]] = []
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", self)

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        answer = executor(*args, **kwargs)
        self.calls.append((args, kwargs, answer.clone()))
        return answer


def ask(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """The model's answer to a recorded question, without any wrapper."""
    options = {key: value for key, value in args[5].items() if key != "wrappers"}
    with torch.inference_mode():
        comfy.model_management.load_models_gpu([model])
        return model.model.apply_model(*args[:5], options, *args[6:], **kwargs)


class Outputs:
    """What single layers were given and gave in the first call of the model."""

    def __init__(self, model: Any, *layers: str) -> None:
        self.values: dict[str, torch.Tensor] = {}
        self.inputs: dict[str, torch.Tensor] = {}
        self._layers = layers
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "test", self)

    def __call__(self, executor: Any, *args: Any, **kwargs: Any) -> Any:
        def record(name: str) -> Callable[..., None]:
            def hook(module: Any, args: Any, output: torch.Tensor) -> None:
                self.inputs.setdefault(name, args[0].clone())
                self.values.setdefault(name, output.clone())

            return hook

        modules = {name: executor.class_obj.diffusion_model.get_submodule(name) for name in self._layers}
        handles = [module.register_forward_hook(record(name)) for name, module in modules.items()]
        try:
            return executor(*args, **kwargs)
        finally:
            for handle in handles:
                handle.remove()


def kohya(name: str) -> str:
    """The name in kohya's spelling."""
    return "lora_unet_" + name.replace(".", "_")


def named(layer: str, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parts under a module's name."""
    return {layer + end: tensor for end, tensor in parts.items()}
