"""How much of a mask falls on each token of a layer.

Masks are scaled by the mean of the area, so that those of two regions that make a whole still do at their border: first
to the latent's size, then to the cells of the layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...sentences import say
from ...stack.region import Region
from .layouts import ELSEWHERE, JOINT, PICTURE, Layout
from .picture import Grid, Picture, RegionError


def share(region: Region, layout: Layout, path: str, y: Tensor, picture: Picture | None) -> Tensor | float:
    """What a layer's output `y` is multiplied by: a number, or a tensor, fp32 on the CPU, that spreads over `y`.

    `y` is `[rows, tokens, channels]`, or `[rows, channels, (frames,) height, width]` of a convolution. Raises
    `RegionError`, which names the layer, where its tokens are not those of the picture, and for a mask with a number of
    frames that does not fit.
    """
    kind = layout.kind(path)
    if kind == ELSEWHERE:
        return region.elsewhere
    if kind is None:
        raise RegionError(unknown_layer(path, layout.title))
    if picture is None:
        raise RegionError(
            say("{layer} runs before the size of the picture is known. Take the LoRA's region away.", layer=path)
        )
    if y.dim() == 3:
        cells = _of_tokens(region, layout, kind, y.shape[1], picture)
    elif y.dim() in (4, 5) and kind == PICTURE:
        cells = _of_positions(region, layout, tuple(y.shape[2:]), picture)
    else:
        cells = None
    if cells is None:
        found = " × ".join(map(str, y.shape[2:] if y.dim() > 3 else y.shape[1:2]))
        raise _other(path, found, layout, picture)
    return _for_rows(cells, len(y), path)


def _of_positions(region: Region, layout: Layout, size: tuple[int, ...], picture: Picture) -> Tensor | None:
    """`[masks, 1, (frames,) height, width]`; None for a size that no layer has."""
    for grid in _grids(layout, picture):
        if size == (grid.height, grid.width) and grid.frames == 1:
            return scaled(region.mask, picture, grid, layout)
        if size == (grid.frames, grid.height, grid.width):
            return scaled(region.mask, picture, grid, layout)[:, None]
    return None


def _of_tokens(region: Region, layout: Layout, kind: str, count: int, picture: Picture) -> Tensor | None:
    """`[masks, tokens, 1]`; None for a number of tokens that no layer has."""
    before = _filled(picture.text, layout) if kind == JOINT else 0
    for grid in _grids(layout, picture):
        beside = picture.count_beside(layout.patch) if layout.patch else 0
        counts = [before + _filled(grid.count, layout) + beside]
        if layout.fills and kind == PICTURE:
            counts.append(grid.count)  # before it is filled up
        if count in counts:
            tokens = scaled(region.mask, picture, grid, layout).flatten(1)
            behind = count - before - grid.count
            return torch.nn.functional.pad(tokens, (before, behind), value=region.elsewhere)[:, :, None]
    return None


def scaled(mask: Tensor, picture: Picture, grid: Grid, layout: Layout) -> Tensor:
    """The mask `[frames, height, width]` in the cells of a grid, `[masks, frames, height, width]`: one for all pictures
    of the batch, or one for each."""
    cells = torch.nn.functional.adaptive_avg_pool2d(mask, (picture.height, picture.width))
    missing = (0, grid.width * grid.patch - picture.width, 0, grid.height * grid.patch - picture.height)
    if grid.patch > 1:
        cells = torch.nn.functional.pad(cells[:, None], missing, mode="replicate")
        cells = torch.nn.functional.avg_pool2d(cells, grid.patch)[:, 0]
    count, frames, step = len(cells), picture.frames, layout.frame_step
    if count == 1:
        return cells.expand(frames, -1, -1)[None]
    if frames > 1:
        if count == frames:
            return cells[None]
        if step > 1 and count == (frames - 1) * step + 1:
            later = cells[1:].reshape(frames - 1, step, *cells.shape[1:]).mean(1)
            return torch.cat([cells[:1], later])[None]
        raise RegionError(_wrong_frames(count, frames, step))
    if count == picture.batch:
        return cells[:, None]
    raise RegionError(
        say(
            "The mask of a region has {count} pictures, and the batch has {batch}. Give it one mask, or {batch}.",
            count=count,
            batch=picture.batch,
        )
    )


def _wrong_frames(count: int, frames: int, step: int) -> str:
    video = (frames - 1) * step + 1
    wanted = f"{frames}" if step == 1 else f"{frames} or {video}"
    return say(
        "The mask of a region has {count} frames, and the latent video has {frames}. Give it 1 mask, or {wanted}.",
        count=count,
        frames=frames,
        wanted=wanted,
    )


def unknown_layer(path: str, title: str) -> str:
    """What is said of a layer of a known model of which it is not known what it sees."""
    return say(
        "{layer} of {model}: it is not known where the picture is in what this layer sees, so it can have no region. "
        "Take the LoRA's region away.",
        layer=path,
        model=title,
    )


def _grids(layout: Layout, picture: Picture) -> list[Grid]:
    return [picture.grid(layout.patch)] if layout.patch else list(picture.levels())


def _filled(count: int, layout: Layout) -> int:
    return -(-count // layout.multiple) * layout.multiple


def _for_rows(cells: Tensor, rows: int, path: str) -> Tensor:
    """One mask spreads over all rows; several are for the pictures of the batch, in each conditioning anew."""
    if len(cells) == 1:
        return cells
    if rows % len(cells):
        raise RegionError(
            say("{layer} sees {rows} rows, and there are {count} masks.", layer=path, rows=rows, count=len(cells))
        )
    return cells.repeat(rows // len(cells), *[1] * (cells.dim() - 1))


def _other(path: str, found: str, layout: Layout, picture: Picture) -> RegionError:
    expected = " or ".join(f"{one.height} × {one.width}" for one in _grids(layout, picture)[:4])
    return RegionError(
        say(
            "{layer} sees {found} tokens, and the picture has {expected}, with {text} tokens of text. Perhaps another "
            "node changes what it sees. A region can't be laid over it: take the LoRA's region away, or that node.",
            layer=path,
            found=found,
            expected=expected,
            text=picture.text,
        )
    )
