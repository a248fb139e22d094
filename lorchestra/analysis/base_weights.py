"""The weights of a base model's file, one at a time."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from ..apply.bake import is_plain
from ..apply.plan import Change
from ..files.header import read_header
from ..files.opening import open_regular
from ..lora.cache import read_tensor
from .balance import FindWeight


@contextmanager
def open_weights(path: str | Path) -> Generator[FindWeight]:
    """Gives the weights of a safetensors file in fp32; None for one that is quantized or is not in this file.

    Raises `HeaderError` if the file cannot be read.
    """
    header = read_header(path)
    with open_regular(path) as file:

        def find(change: Change) -> Tensor | None:
            info = header.tensors.get(change.key)
            if info is None or not is_plain(header, change.key):
                return None
            return read_tensor(file, header, info).float()

        yield find
