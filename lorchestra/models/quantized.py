"""Which quantization a base model's file has, by the names and dtypes of its tensors, and what to say about it."""

from __future__ import annotations

from collections.abc import Mapping

from ..files.header import TensorInfo
from ..sentences import say

GGUF = "GGUF"

RENAMED = {
    ".qweight": "SVDQuant, GPTQ or AWQ",
    ".weight_packed": "compressed-tensors",
    ".W_q": "HQQ",
    ".weight._data": "quanto",
    ".weight._packed": "quanto",
    ".weight.int_data": "torchao",
    ".weight._qdata": "torchao",
    ".weight.qdata": "torchao",
    "._weight_qdata": "torchao",
    ".weight.tensor_impl.int_data": "torchao",
    ".weight.layout_tensor.int_data": "torchao",
}
"""End of a name → tool, for quantizations whose files do not have the layers under their own names."""

_MARKS = (
    (".quant_state.bitsandbytes__nf4", "bitsandbytes NF4"),
    (".quant_state.bitsandbytes__fp4", "bitsandbytes FP4"),
    (".SCB", "bitsandbytes int8"),
    (".weight_zeros", "AWQ with 4 bits"),
    (".weight_s_rel", "int4"),
    (".weight_scale_2", "NVFP4"),
)
"""End of the name of a tensor beside a packed weight → what packed it; the first that is there counts."""


def find_quantization(tensors: Mapping[str, TensorInfo]) -> str:
    """What packed the weights, as people call it: `bitsandbytes NF4`; empty if the weights are plain, or scaled fp8."""
    for name in tensors:
        end = next((end for end in RENAMED if name.endswith(end)), None)
        if end == ".qweight":
            return _of_qweight(name.removesuffix(end), tensors)
        if end:
            return RENAMED[end]
    for end, title in _MARKS:
        if any(name.endswith(end) for name in tensors):
            return title
    weights = [info for name, info in tensors.items() if name.endswith(".weight") and len(info.shape) > 1]
    packed = next((info.dtype for info in weights if info.dtype in _INTEGERS), "")
    return _INTEGERS.get(packed, "")


_INTEGERS = {"I8": "int8", "U8": "packed into bytes", "I32": "packed into integers", "I16": "packed into integers"}
"""Dtype of a weight matrix that says nothing more of how it is packed."""


def _of_qweight(layer: str, tensors: Mapping[str, TensorInfo]) -> str:
    """SVDQuant has its scales under names of its own; GPTQ packs the rows of the transposed weight, AWQ its columns."""
    if any(f"{layer}{end}" in tensors for end in (".wscales", ".smooth", ".smooth_factor", ".proj_down", ".wcscales")):
        return "SVDQuant, for Nunchaku"
    packed, scales = tensors[f"{layer}.qweight"], tensors.get(f"{layer}.scales")
    if scales is None or len(packed.shape) != 2 or not scales.shape:
        return RENAMED[".qweight"]
    return "GPTQ" if packed.shape[1] == scales.shape[-1] else "AWQ"


def words(quantization: str) -> str:
    """The fact, for every sentence about it."""
    return say("the model's weights are quantized ({quantization})", quantization=quantization)


def no_bake(quantization: str) -> str:
    """What is said when something shall be written into such a file."""
    return (
        f"{words(quantization)}: nothing can be baked into this file. Bake into the model's fp16, bf16 or fp8 "
        "checkpoint"
    )
