"""Native and diffusers' names of the whole UNets of the Stable Diffusion family, against how those are built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import unet_table
from support.unet_table import Unet

from lorchestra.architectures.unet import diffusers_names


@pytest.mark.parametrize(
    ("unet", "layers"),
    [(unet_table.SD15, 391), (unet_table.SD21, 391), (unet_table.SDXL, 1050), (unet_table.REFINER, 742)],
    ids=["SD 1.5", "SD 2.1", "SDXL", "SDXL refiner"],
)
def test_every_layer_of_the_real_models_has_its_name(unet: Unet, layers: int) -> None:
    """The counts are those of the real models' state dicts."""
    expected = {native: diffusers for native, diffusers, _ in unet_table.rows(unet)}
    assert len(expected) == layers
    assert diffusers_names(expected) == expected


@given(
    st.integers(1, 4).flatmap(
        lambda levels: st.tuples(st.lists(st.integers(0, 2), min_size=levels, max_size=levels), st.integers(1, 3))
    )
)
def test_every_depth_works(structure: tuple[list[int], int]) -> None:
    """Also one resolution without any transformer, as in distilled models."""
    depths, blocks = structure
    unet = Unet(8, [1] * len(depths), depths, 1, 8, True, blocks=blocks)
    expected = {native: diffusers for native, diffusers, _ in unet_table.rows(unet)}
    assert diffusers_names(expected) == expected
    assert len(set(expected.values())) == len(expected)


def test_layers_without_norms_are_enough() -> None:
    """LoRAs change no norms, and tables of their targets leave them out."""
    rows = list(unet_table.rows(unet_table.SD15))
    expected = {native: diffusers for native, diffusers, shape in rows if len(shape) > 1}
    assert diffusers_names(expected) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "input_blocks",
        "input_blocks.x.0.op",
        "input_blocks.².0.op",
        "input_blocks.-1.0.op",
        "input_blocks." + "9" * 5000 + ".0.op",
        "middle_block",
        "middle_block.0",
        "middle_block.7.in_layers.2",
        "middle_block.0.unknown",
        "double_blocks.0.img_attn.qkv",
    ],
)
def test_names_of_other_models_have_none(name: str) -> None:
    assert diffusers_names([name]) == {}


@given(st.lists(st.text(max_size=30)))
def test_any_names_are_read(names: list[str]) -> None:
    diffusers_names(names)
