"""Masks in the cells of layers, by the tables of layouts; no model is run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lorchestra.apply.region import Picture, RegionError, share
from lorchestra.apply.region.layouts import ELSEWHERE, FLUX, JOINT, PICTURE, QWEN, SD3, UNET, WAN, Z_IMAGE
from lorchestra.apply.region.reading import read_region
from lorchestra.errors import StackError
from lorchestra.stack.choosing import choose_rows
from lorchestra.stack.entry import Entry
from lorchestra.stack.stack import Stack

LAYERS = (
    (UNET, "input_blocks.1.0.in_layers.2", PICTURE),
    (UNET, "middle_block.1.transformer_blocks.0.attn2.to_q", PICTURE),
    (UNET, "middle_block.1.transformer_blocks.0.attn2.to_k", ELSEWHERE),
    (UNET, "input_blocks.1.0.emb_layers.1", ELSEWHERE),
    (UNET, "input_blocks.1.1.time_stack.0.attn1.to_q", None),
    (FLUX, "double_blocks.3.img_attn.qkv", PICTURE),
    (FLUX, "double_blocks.3.img_mod.lin", ELSEWHERE),
    (FLUX, "double_blocks.3.txt_mlp.0", ELSEWHERE),
    (FLUX, "single_blocks.9.linear1", JOINT),
    (FLUX, "single_blocks.9.modulation.lin", ELSEWHERE),
    (FLUX, "double_stream_modulation_img.lin", ELSEWHERE),
    (SD3, "joint_blocks.0.x_block.attn2.qkv", PICTURE),
    (SD3, "joint_blocks.0.context_block.mlp.fc1", ELSEWHERE),
    (QWEN, "transformer_blocks.0.attn.to_out.0", PICTURE),
    (QWEN, "transformer_blocks.0.attn.to_add_out", ELSEWHERE),
    (Z_IMAGE, "layers.0.attention.qkv", JOINT),
    (Z_IMAGE, "layers.0.adaLN_modulation.0", ELSEWHERE),
    (Z_IMAGE, "siglip_refiner.0.attention.qkv", None),
    (WAN, "blocks.0.cross_attn.k_img", ELSEWHERE),
    (WAN, "blocks.0.cross_attn.o", PICTURE),
    (WAN, "vace_blocks.0.self_attn.q", None),
)


@pytest.mark.parametrize(("layout", "path", "kind"), LAYERS, ids=lambda value: value if isinstance(value, str) else "")
def test_what_a_layer_sees(layout: object, path: str, kind: str | None) -> None:
    assert layout.kind(path) == kind  # type: ignore[attr-defined]


MASK = torch.tensor([[1.0, 0.0], [0.5, 0.25]])
Z = replace(Z_IMAGE, patch=2, multiple=4)
ROWS = (
    (replace(FLUX, patch=2), "img_in", (1, 4, 8), Picture(4, 4), [1, 0, 0.5, 0.25]),
    (replace(FLUX, patch=2), "img_in", (1, 5, 8), Picture(4, 4, beside=((1, 2, 2),)), [1, 0, 0.5, 0.25, 9]),
    (replace(FLUX, patch=2), "single_blocks.0.linear1", (1, 6, 8), Picture(4, 4, text=2), [9, 9, 1, 0, 0.5, 0.25]),
    (Z, "layers.0.attention.qkv", (1, 8, 8), Picture(4, 4, text=3), [9, 9, 9, 9, 1, 0, 0.5, 0.25]),
    (Z, "noise_refiner.0.attention.qkv", (1, 4, 8), Picture(4, 2), [0.5, 0.375, 9, 9]),
    (UNET, "middle_block.1.proj_in", (2, 4, 8), Picture(3, 3), None),
    (UNET, "input_blocks.1.0.in_layers.2", (2, 8, 1, 1), Picture(2, 2), [0.4375]),
    (replace(WAN, patch=2), "head.head", (1, 8, 8), Picture(4, 4, 2), [1, 0, 0.5, 0.25] * 2),
)


@pytest.mark.parametrize(("layout", "path", "shape", "picture", "expected"), ROWS)
def test_tokens_in_their_order(
    layout: object, path: str, shape: tuple[int, ...], picture: Picture, expected: list[float] | None
) -> None:
    """9 stands for tokens that are no picture; halves are the whole, whatever the sides."""
    region, _ = read_region(MASK, "not at all")
    found = share(region, layout, path, torch.zeros(shape), picture)  # type: ignore[arg-type]
    if expected is not None:
        assert found.flatten().tolist() == pytest.approx([0 if one == 9 else one for one in expected])
    whole, other = read_region(MASK, "whole")[0], read_region(1 - MASK, "not at all")[0]
    total = share(whole, layout, path, torch.zeros(shape), picture)  # type: ignore[arg-type]
    total = total + share(other, layout, path, torch.zeros(shape), picture)  # type: ignore[arg-type]
    assert total.flatten().tolist() == pytest.approx([1] * total.numel())


def test_what_does_not_fit_is_told() -> None:
    region, is_cut = read_region(torch.tensor([[2.0, -1.0]]), "whole")
    assert is_cut and region.mask.tolist() == [[[1, 0]]]
    for shape in ((1, 5, 8), (1, 8), (1, 8, 3, 3)):
        with pytest.raises(RegionError, match="img_in sees"):
            share(region, replace(FLUX, patch=2), "img_in", torch.zeros(shape), Picture(4, 4))
    with pytest.raises(RegionError, match="before the size of the picture is known"):
        share(region, FLUX, "img_in", torch.zeros(1, 4, 8), None)
    with pytest.raises(StackError, match="text is"):
        read_region(MASK, "sometimes")


def test_rows_are_chosen_by_number_and_name() -> None:
    stack = Stack((Entry("people/ink.safetensors"), Entry("night.safetensors"), Entry("3.safetensors")))
    for text, rows in (
        ("", {1, 2, 3}),
        ("1, night", {1, 2}),
        ("INK", {1}),
        ("people/ink.safetensors", {1}),
        ("3", {3}),
    ):
        assert choose_rows(stack, text) == rows
    for text in ("0", "4", "in", "-1"):
        with pytest.raises(StackError, match="none of the 3 rows"):
            choose_rows(stack, text)
