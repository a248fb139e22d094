"""A LoRA file as its header tells it: read, and checked as a whole; no tensor is opened."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AdapterError, NotALora, quoted
from ..files.header import Header, read_header
from ..sentences import say
from ..spelling import kinds
from ..spelling.modules import Reading
from ..spelling.scales import Scales, read_scales
from .problems import first_problem
from .reading import read
from .values import find_odd_value

if TYPE_CHECKING:
    from .examined import Examined


class LoraFile:
    """One LoRA file that can be applied, as far as its header tells."""

    def __init__(self, header: Header, reading: Reading, kind: str = "") -> None:
        self.header = header
        self.reading = reading
        self.kind = kind

    @property
    def path(self) -> str:
        """The path that the file was opened under."""
        return self.header.path

    @functools.cached_property
    def examined(self) -> Examined:
        """What the header says the file is."""
        from .examined import examine  # it needs all that is known of models, which takes a while to load

        return examine(self.header, self.reading, self.kind)

    @functools.cached_property
    def scales(self) -> Scales | None:
        """The scales that settings give to modules without an alpha, from the metadata or from beside the file."""
        return read_scales(self.header)

    def check_values(self) -> None:
        """Reads the values of its small tensors, once; raises `AdapterError` for one that cannot be applied.

        Raises `HeaderError` where they cannot be read.
        """
        if self._odd_value:
            raise AdapterError(self.path, *self._odd_value)

    @functools.cached_property
    def _odd_value(self) -> tuple[str, str] | None:
        return find_odd_value(self.header, self.reading.modules)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What its settings say that could not be read, in words."""
        return self.scales.warnings if self.scales else ()


def read_lora(path: str | Path) -> LoraFile:
    """Reads a LoRA file's header and checks all of it that the header tells.

    Raises `HeaderError` if the file is not a sound safetensors file, `AdapterError` if it holds no LoRA, if a half is
    missing, shapes contradict each other, tensors are not of floating point, or an algorithm is not supported: a file
    applies with all of its modules, or not at all.
    """
    header = read_header(path)
    reading, kind = read(header)
    if kind not in (kinds.LORA, kinds.EMPTY, kinds.UNKNOWN):
        raise NotALora(
            header.path, say("this is {kind}, not a LoRA", kind=kinds.title(kind)), say("Switch this row off.")
        )
    if not reading.modules:
        raise NotALora(header.path, _no_modules(header))
    found = first_problem(header, reading)
    if found:
        raise AdapterError(header.path, *found)
    return LoraFile(header, reading, kind)


def _no_modules(header: Header) -> str:
    if not header.tensors:
        return say("the file has no tensors")
    example = next(iter(header.tensors))
    return say(
        "none of its {count} tensors is named like a LoRA's; the first is {example}",
        count=len(header.tensors),
        example=quoted(example),
    )
