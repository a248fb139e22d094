"""What one call of a model is about: the latent picture or video, its text, and pictures beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import StackError


class RegionError(StackError):
    """A mask cannot be laid over what a layer sees."""


@dataclass(frozen=True, slots=True)
class Grid:
    """The cells of a picture in a layer, frame by frame and row by row."""

    frames: int
    height: int
    width: int
    patch: int
    """Pixels of the latent in a cell, each way; the last ones may reach beyond the latent."""

    @property
    def count(self) -> int:
        """Tokens."""
        return self.frames * self.height * self.width


@dataclass(frozen=True, slots=True)
class Picture:
    """The latent of one call."""

    height: int
    width: int
    frames: int = 1
    batch: int = 1
    """Pictures in the run; a call has this many for each conditioning in it."""
    text: int = 0
    """Tokens of the prompt."""
    beside: tuple[tuple[int, int, int], ...] = ()
    """Frames, height and width of the latents whose tokens stand behind the picture's: reference pictures."""

    def grid(self, patch: int) -> Grid:
        """Its cells, of `patch` pixels each way."""
        return _grid(self.frames, self.height, self.width, patch)

    def levels(self) -> Iterator[Grid]:
        """Its cells in a UNet, halved at each level and rounded up."""
        grid = self.grid(1)
        yield grid
        while grid.height > 1 or grid.width > 1:
            grid = self.grid(2 * grid.patch)
            yield grid

    def count_beside(self, patch: int) -> int:
        """Tokens of the pictures beside it."""
        return sum(_grid(*size, patch).count for size in self.beside)


def _grid(frames: int, height: int, width: int, patch: int) -> Grid:
    return Grid(frames, -(-height // patch), -(-width // patch), patch)
