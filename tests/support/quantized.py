"""A small Wan whose linear weights are packed, in each format that ComfyUI loads, beside the same numbers in fp32."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import comfy.ops
import comfy.sd
import torch
from comfy.ldm.wan.model import WanModel
from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor

CONFIG = {"config": json.dumps({"transformer": {"text_dim": 64}})}
"""What the file says of the model beyond its shapes: a width of text that keeps it small."""


@dataclass(frozen=True)
class Format:
    """How weights are packed."""

    name: str
    """ComfyUI's own, in `QUANT_ALGOS`."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """What a layer's `comfy_quant` says beside it."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """For packing."""
    packs_inputs: bool = False
    """True if a CPU, too, rounds a layer's inputs before the product; others multiply unpacked weights in fp32."""

    @property
    def is_int8(self) -> bool:
        """True if ComfyUI may use a weight without running its layer."""
        return self.name == "int8_tensorwise"

    def pack(self, weight: torch.Tensor) -> Any:
        """A quantized tensor."""
        return QuantizedTensor.from_float(weight, QUANT_ALGOS[self.name]["comfy_tensor_layout"], **self.options)


FORMATS = {
    "fp8 e4m3": Format("float8_e4m3fn", options={"scale": "recalculate"}),
    "fp8 e5m2": Format("float8_e5m2", options={"scale": "recalculate"}),
    "mxfp8": Format("mxfp8"),
    "nvfp4": Format("nvfp4"),
    "int8": Format("int8_tensorwise", packs_inputs=True),
    "int8 by row": Format("int8_tensorwise", options={"per_channel": True}, packs_inputs=True),
    "int8 convrot": Format(
        "int8_tensorwise", {"convrot": True, "convrot_groupsize": 256}, {"per_channel": True, "convrot": True}, True
    ),
    "w4a4": Format("convrot_w4a4", packs_inputs=True),
    "w4a8": Format("asym_w4a8_int8", packs_inputs=True),
}


def wan_state(blocks: int = 1) -> dict[str, torch.Tensor]:
    """A Wan 2.1 for text to video, 256 wide, with numbers of the usual sizes."""
    net = WanModel(
        dim=256, ffn_dim=512, num_heads=2, num_layers=blocks, text_dim=64, operations=comfy.ops.disable_weight_init,
        device="meta", dtype=torch.float32,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(3)
    state: dict[str, torch.Tensor] = {}
    for name, value in net.state_dict().items():
        size = value[0].numel() ** -0.5 if value.dim() > 1 else 0.05
        state[name] = torch.randn(value.shape, generator=generator) * size
        if "norm" in name and name.endswith("weight"):
            state[name] += 1
    return state


def is_packed(name: str) -> bool:
    """True for the weights that such files have packed: those of the blocks' linear layers."""
    return name.startswith("blocks.") and name.endswith(".weight") and "norm" not in name


def load_wan(state: dict[str, torch.Tensor], metadata: dict[str, str] | None = None, operations: Any = None) -> Any:
    """A MODEL from a file's tensors, by ComfyUI's own loader; `operations` are another pack's layers."""
    options = {"dtype": torch.float32, **({} if operations is None else {"custom_operations": operations})}
    with torch.inference_mode():  # as ComfyUI's loaders run
        return comfy.sd.load_diffusion_model_state_dict(
            dict(state), model_options=options, metadata={**CONFIG, **(metadata or {})}
        )


def packed_wan(form: Format, *, in_metadata: bool = False, **settings: Any) -> tuple[Any, Any]:
    """(the model with packed weights, the same numbers in fp32); `settings` for every layer, beside the format's.

    The format of a layer is said by a tensor beside it, or by the file's metadata.
    """
    state = wan_state()
    packed, exact, layers = dict(state), dict(state), {}
    for name in filter(is_packed, state):
        weight = form.pack(state[name])
        layers[name.removesuffix(".weight")] = {"format": form.name, **form.settings, **settings}
        del packed[name]
        packed |= {key: value.clone() for key, value in weight.state_dict(name).items()}
        exact[name] = weight.dequantize().float()
    if in_metadata:
        return load_wan(packed, {"_quantization_metadata": json.dumps({"layers": layers})}), load_wan(exact)
    for name, said in layers.items():
        packed[f"{name}.comfy_quant"] = torch.tensor(list(json.dumps(said).encode()), dtype=torch.uint8)
    return load_wan(packed), load_wan(exact)


class Q8Tensor(torch.Tensor):
    """Blocks of 32 numbers of 8 bits, each with a scale in fp16, as bytes; `tensor_shape` is the shape unpacked.

    The layout of llama.cpp's Q8_0, in a tensor that goes with its shape, as the usual GGUF loaders hand it over.
    """

    tensor_shape: torch.Size

    @staticmethod
    def pack(weight: torch.Tensor) -> Q8Tensor:
        """From `[out, in]`; in is a multiple of 32."""
        blocks = weight.reshape(-1, 32)
        scale = (blocks.abs().amax(1, keepdim=True) / 127).half()
        numbers = (blocks / scale.float()).round().clamp(-127, 127).to(torch.int8)
        packed = torch.cat([scale.view(torch.uint8), numbers.view(torch.uint8)], 1)
        return Q8Tensor.of(packed.reshape(len(weight), -1), weight.shape)

    @staticmethod
    def of(data: torch.Tensor, shape: torch.Size) -> Q8Tensor:
        """Bytes that say their shape."""
        tensor = data.as_subclass(Q8Tensor)
        tensor.tensor_shape = shape
        return tensor

    def unpack(self) -> torch.Tensor:
        """`[out, in]` in fp32."""
        blocks = self.as_subclass(torch.Tensor).reshape(-1, 34)
        scale = blocks[:, :2].contiguous().view(torch.float16).float()
        return (blocks[:, 2:].contiguous().view(torch.int8).float() * scale).reshape(self.tensor_shape)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Moved, with its shape."""
        return Q8Tensor.of(super().to(*args, **kwargs).as_subclass(torch.Tensor), self.tensor_shape)

    def clone(self, *args: Any, **kwargs: Any) -> Any:
        """Copied, with its shape."""
        return Q8Tensor.of(super().clone(*args, **kwargs).as_subclass(torch.Tensor), self.tensor_shape)

    def detach(self) -> Any:
        """Itself, with its shape."""
        return Q8Tensor.of(super().detach().as_subclass(torch.Tensor), self.tensor_shape)


class Q8Ops(comfy.ops.manual_cast):
    """Layers that unpack such weights at each use."""

    class Linear(comfy.ops.manual_cast.Linear):
        """Its weight is packed where the file's is."""

        def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any, **kwargs: Any) -> None:
            found = state_dict.get(f"{prefix}weight")
            if not isinstance(found, Q8Tensor):
                super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
                return
            weight: Any = torch.nn.Parameter(found, requires_grad=False)
            weight.tensor_shape = found.tensor_shape
            self.weight = weight
            if self.bias is not None:
                self.bias = torch.nn.Parameter(state_dict[f"{prefix}bias"], requires_grad=False)

        def forward_comfy_cast_weights(self, x: torch.Tensor) -> torch.Tensor:
            if not isinstance(self.weight, Q8Tensor):
                return super().forward_comfy_cast_weights(x)
            weight = self.weight.unpack().to(x.device, x.dtype)
            bias = None if self.bias is None else self.bias.to(x.device, x.dtype)
            for function in self.weight_function:
                weight = function(weight)
            for function in self.bias_function:
                bias = function(bias)
            return torch.nn.functional.linear(x, weight, bias)
