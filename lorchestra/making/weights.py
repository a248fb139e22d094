"""The weights of a base model's file, layer by layer, their rows in the order that its LoRAs have."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..algorithms.row_order import to_file
from ..architectures.sites import Site, Targets
from ..errors import CheckpointError, shortened
from ..files.header import Header, TensorInfo, read_header
from ..files.opening import RegularFile, open_regular
from ..lora.cache import DTYPES, dequantized, read_tensor
from ..models import checkpoint
from ..models.base_file import BaseFile, read_base
from ..models.placing import place
from ..spelling.modules import Module

_SCALE_ENDS = (".weight_scale", ".scale_weight")
"""Scales of fp8 weights, as ComfyUI reads them: one number, or one for each row."""
_PACKED_ENDS = (".weight_scale_2", ".weight_scale_inv", ".comfy_quant")
"""What else stands beside a weight that is quantized; one of fp8 has a `comfy_quant` too."""


@dataclass(frozen=True)
class Weights:
    """An open base model."""

    path: str
    base: BaseFile
    targets: Targets
    _tensors: Mapping[str, tuple[Header, RegularFile, TensorInfo]]

    def dtype(self, site: Site) -> torch.dtype:
        """As the file has it."""
        _, _, info = self._tensors[(site.pieces or (site,))[0].key]
        return DTYPES.get(info.dtype, torch.float32)

    def is_plain(self, key: str) -> bool:
        """True if a tensor is of floating point and of more than eight bits: its numbers are what is meant."""
        dtype = DTYPES.get(self._tensors[key][2].dtype)
        return dtype is not None and dtype.is_floating_point and dtype.itemsize > 1

    def read(self, site: Site) -> Tensor:
        """The weight at a place, fp32 or, where the file needs it, fp64; its rows as LoRAs have them.

        Raises `CheckpointError` for one that is quantized other than fp8 with plain scales, or is not finite.
        """
        if site.pieces:
            return torch.cat([self.read(piece) for piece in site.pieces])
        weight = self._whole(site.key)
        if site.place.offset is not None:
            weight = weight.narrow(*site.place.offset)
        if site.place.transposed:
            return weight.T.contiguous()
        return to_file(weight, site.place.swapped, site.place.heads)

    def read_for(self, module: Module) -> Tensor | None:
        """The weight that a module of a LoRA is for, in the order of its rows; None if it is not in this file."""
        placed = place([module], self.targets).placed
        if not placed:
            return None
        parts = [self.read(item.site) for item in placed]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _whole(self, key: str) -> Tensor:
        header, file, info = self._tensors[key]
        stem = key.removesuffix(".weight")
        scale = next((stem + end for end in _SCALE_ENDS if stem + end in self._tensors), None)
        dtype = DTYPES.get(info.dtype)
        is_fp8 = dtype is not None and dtype.is_floating_point and dtype.itemsize == 1
        packed = [stem + end for end in _PACKED_ENDS if stem + end in self._tensors]
        if dtype is None or not dtype.is_floating_point or (packed and not is_fp8) or (scale and not is_fp8):
            raise self._quantized(key, info)
        tensor = read_tensor(file, header, info)
        if scale is not None:
            scale_header, scale_file, scale_info = self._tensors[scale]
            scale_dtype = DTYPES.get(scale_info.dtype)
            if scale_dtype is None or not scale_dtype.is_floating_point or scale_dtype.itemsize == 1:
                raise self._quantized(key, info)
            try:
                factor = read_tensor(scale_file, scale_header, scale_info)
                tensor = dequantized({"w": tensor, "w_scale": factor})["w"]
            except ValueError as error:
                raise CheckpointError(header.path, f"tensor {shortened(key)}: {error}") from error
        elif packed and is_fp8 and f"{stem}.comfy_quant" not in packed:
            raise self._quantized(key, info)
        wide = tensor if tensor.dtype == torch.float64 else tensor.float()
        if wide.numel() and not bool(wide.isfinite().all()):
            raise CheckpointError(header.path, f"tensor {shortened(key)} has NaN or infinite values")
        return wide

    def _quantized(self, key: str, info: TensorInfo) -> CheckpointError:
        return CheckpointError(
            self.path,
            f"tensor {shortened(key)} is quantized ({info.dtype}): its weights cannot be read here. Take the fp16, "
            "bf16 or fp8 checkpoint",
        )


@contextlib.contextmanager
def open_weights(path: str | Path) -> Generator[Weights]:
    """Opens a base model: a .safetensors file, shards, or a diffusers folder; errors as `read_base`, and for GGUF."""
    base = read_base(path)
    with contextlib.ExitStack() as files:
        tensors: dict[str, tuple[Header, RegularFile, TensorInfo]] = {}
        for name in base.files:
            if not name.lower().endswith(".safetensors"):
                raise CheckpointError(path, "its weights are quantized (GGUF). Take the fp16, bf16 or fp8 checkpoint")
            header = read_header(name)
            file = files.enter_context(open_regular(name, CheckpointError))
            tensors.update({key: (header, file, info) for key, info in header.tensors.items()})
        yield Weights(str(path), base, checkpoint.targets(base.shapes), tensors)
        for _, file, _ in tensors.values():
            if file.has_changed():
                raise CheckpointError(file.path, "the file changed while it was read")
