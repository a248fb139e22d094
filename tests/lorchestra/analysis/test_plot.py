"""The picture of a balance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from io import BytesIO

import pytest
import torch
from PIL import Image

from lorchestra.analysis.balance import Balance, Compared, Group, Pairs, nothing
from lorchestra.analysis.plot import AGAINST, ALONG, NOTHING, WEAK_TO_STRONG, draw
from lorchestra.schedule.plot import GRID, LARGEST, Picture, png, svg


def balance(gram: Sequence[Sequence[float]], blocks: Sequence[str], name: str = "lora") -> Balance:
    """The products lie in the first block; the others have nothing."""
    table = torch.tensor(gram, dtype=torch.float64)
    count = len(table)
    groups = [
        Group("clip" if block.startswith("clip") else "model", block, "other", t, t.diagonal().clamp_min(0).sqrt())
        for block, t in zip(blocks, [table, *[table * 0] * (len(blocks) - 1)], strict=True)
    ]
    unknown = torch.full((count, count), torch.nan, dtype=torch.float64)
    loras = tuple(Compared(n + 1, f"folder/{name}{n}.safetensors", 1.0, 1.0, False) for n in range(count))
    return Balance(loras, tuple(groups), Pairs(unknown, unknown, unknown, unknown), ())


def texts(picture: Picture) -> list[str]:
    return [label.text for label in picture.labels]


def colours(picture: Picture) -> list[str]:
    return [box.colour for box in picture.boxes]


def test_rows_by_blocks_and_pairs() -> None:
    picture = draw(balance([[4, 1], [1, 1]], ["input.1", "input.4", "middle", "clip_l.layers.0", "clip_l.layers.1"]))
    told = texts(picture)
    assert [text for text in ("input", "1", "4", "middle", "clip_l") if text not in told] == []
    assert told.count("1  lora0") == 2
    assert told.count("0.50") == 2 + 1  # and at the end of the scale
    assert "2   67%" in told
    found = colours(picture)
    assert found[:2] == [WEAK_TO_STRONG[-1], found[1]]
    assert found[2:8] == [NOTHING] * 6
    assert ALONG in found


def test_against_each_other() -> None:
    assert AGAINST in colours(draw(balance([[1, -0.9], [-0.9, 1]], ["middle"])))


def test_what_is_not_known() -> None:
    picture = draw(balance([[math.nan, math.nan], [math.nan, 1]], ["middle"]))
    assert texts(picture).count("?") == 3
    assert "not known" in texts(picture)
    assert colours(picture)[0] == GRID


def test_nothing_is_there() -> None:
    assert texts(draw(nothing())) == ["No LoRA does anything here."]
    picture = draw(balance([[0]], ["middle"]))
    assert colours(picture)[0] == NOTHING
    assert "0   0%" in texts(picture)


@pytest.mark.parametrize("count", [1, 12, 64])
def test_all_of_it_is_in_the_picture(count: int) -> None:
    blocks = [f"double_blocks.{n}" for n in range(19)] + [f"single_blocks.{n}" for n in range(38)]
    picture = draw(balance(torch.eye(count).tolist(), blocks, "a_name_that_is_longer_than_what_there_is_room_for_"))
    assert picture.width <= LARGEST and picture.height <= LARGEST
    assert all(box.corner[0] + box.width <= picture.width for box in picture.boxes)
    assert all(box.corner[1] + box.height <= picture.height for box in picture.boxes)
    assert all(0 <= label.at[1] <= picture.height for label in picture.labels)
    assert "1  a_name_that_is…re_is_room_for_0"[:15] in {text[:15] for text in texts(picture)}
    assert max(len(text) for text in texts(picture) if text.startswith("1  ")) <= 33


def test_more_blocks_than_there_is_room_for() -> None:
    blocks = [f"blocks{n}.{n}" for n in range(400)]
    assert draw(balance([[1]], blocks)).width <= LARGEST


def test_both_kinds_of_file() -> None:
    picture = draw(balance([[4, 1], [1, 1]], ["middle"], "<a>"))
    assert "&lt;a&gt;0" in svg(picture)
    image = Image.open(BytesIO(png(picture)))
    assert image.size == (picture.width, picture.height)
    box = picture.boxes[0]
    x, y = box.corner[0] + box.width / 2, box.corner[1] + box.height / 2
    pixel = image.getpixel((round(x), round(y)))
    assert pixel == tuple(int(box.colour[at : at + 2], 16) for at in (1, 3, 5))
