"""Modules land on the layer that they were made for, or are told apart by why they do not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import unet_table
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.placing import (
    Placement,
    Site,
    Targets,
    encoder_sites,
    has_text_encoders,
    model_sites,
    place,
)
from lorchestra.spelling import prefixes
from lorchestra.spelling.modules import Module
from lorchestra.spelling.prefixes import flatten

SD15 = model_sites({native: (f"m.{native}.weight", shape) for native, _, shape in unet_table.rows(unet_table.SD15)})
TARGETS: Targets = {"model": SD15}


def module(name: str, shape: tuple[int, ...], rank: int = 4, **changes: tuple[int, ...] | str) -> Module:
    """A complete LoRA for a weight of this shape; `changes` replace its algorithm or the shapes of its slots."""
    component, path, _ = prefixes.split(name)
    out, *inner = shape
    shapes: dict[str, tuple[int, ...]] = {"up": (out, rank, *[1] * (len(inner) - 1)), "down": (rank, *inner)}
    algorithm = "LoRA"
    for key, value in changes.items():
        if isinstance(value, str):
            algorithm = value
        else:
            shapes[key] = value
    return Module(name, component, path, algorithm, {slot: f"{name}.{slot}" for slot in shapes}, shapes)


def only(*modules: Module, targets: Targets = TARGETS, fallback: Mapping[str, Site] | None = None) -> Placement:
    return place(modules, targets, fallback)


SPELLINGS = {
    "kohya, diffusers' names": lambda native, diffusers: f"lora_unet_{flatten(diffusers)}",
    "kohya, native names": lambda native, diffusers: f"lora_unet_{flatten(native)}",
    "diffusers": lambda native, diffusers: f"unet.{diffusers}",
    "PEFT": lambda native, diffusers: f"base_model.model.{diffusers}",
    "PEFT in diffusers": lambda native, diffusers: f"unet.base_model.model.{diffusers}",
    "ComfyUI native": lambda native, diffusers: f"diffusion_model.{native}",
    "LyCORIS": lambda native, diffusers: f"lycoris_{flatten(diffusers)}",
    "bare": lambda native, diffusers: diffusers,
}


@pytest.mark.parametrize(
    "unet", [unet_table.SD15, unet_table.SDXL, unet_table.REFINER], ids=["SD 1.5", "SDXL", "refiner"]
)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_layer_in_every_spelling(spelling: str, unet: unet_table.Unet) -> None:
    rows = [row for row in unet_table.rows(unet) if len(row[2]) > 1]
    sites = model_sites({native: (f"m.{native}.weight", shape) for native, _, shape in rows})
    modules = [module(SPELLINGS[spelling](native, diffusers), shape) for native, diffusers, shape in rows]
    placement = place(modules, {"model": sites})
    assert [item.site for item in placement.placed] == [Site(f"m.{native}.weight", shape) for native, _, shape in rows]
    assert placement.fitting == f"{len(rows)} of {len(rows)} modules"


Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
PROJ = "lora_unet_down_blocks_0_attentions_0_proj_in"
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"


@pytest.mark.parametrize(
    ("name", "shape", "parts"),
    [
        (Q, (320, 768), {}),
        (Q, (320, 768), {"up": (320, 4, 1, 1), "down": (4, 768, 1, 1)}),
        (PROJ, (320, 320, 1, 1), {}),
        (PROJ, (320, 320), {}),
        (CONV, (320, 320, 3, 3), {}),
        (CONV, (320, 320, 3, 3), {"down": (4, 320, 1, 1), "mid": (4, 4, 3, 3)}),
        (CONV, (320, 320, 3, 3), {"up": (320, 4)}),
    ],
)
def test_linear_and_pointwise_layers_fit_each_other(
    name: str, shape: tuple[int, ...], parts: dict[str, tuple[int, ...]]
) -> None:
    """SD 1.x has 1x1 convolutions where SD 2.x has linear layers; LoRAs are written both ways."""
    assert len(only(module(name, shape, **parts)).placed) == 1


@pytest.mark.parametrize(
    ("name", "shape", "parts", "reason"),
    [
        (Q, (320, 1024), {}, "made for a weight of shape [320, 1024], the model's is [320, 768]"),
        (Q, (640, 768), {}, "made for a weight of shape [640, 768], the model's is [320, 768]"),
        (Q, (768, 320), {}, "made for a weight of shape [768, 320]"),
        (Q, (320, 256, 3, 1), {}, "made for a weight of shape [320, 256, 3, 1], the model's is [320, 768]"),
        (CONV, (320, 320), {}, "the model's is [320, 320, 3, 3]"),
        (CONV, (320, 320, 1, 1), {}, "the model's is [320, 320, 3, 3]"),
        (CONV, (320, 2880), {}, "made for a weight of shape [320, 2880]"),
        (CONV, (320, 320, 3, 3), {"mid": (4, 4, 5, 5)}, "made for a weight of shape [320, 320, 5, 5]"),
        (Q, (320, 768), {"algorithm": "LoHa", "up": (), "down": ()}, "LoHa cannot change a weight"),
        ("lora_unet_down_blocks_0_resnets_0_norm1", (320, 1), {}, "LoRA cannot change a weight of shape [320]"),
    ],
)
def test_what_does_not_fit_is_never_placed(
    name: str, shape: tuple[int, ...], parts: dict[str, tuple[int, ...]], reason: str
) -> None:
    placement = only(module(name, shape, **parts))
    assert not placement.placed
    assert reason in placement.misshapen[0][1]


def test_what_the_model_lacks() -> None:
    placement = only(
        module("lora_unet_down_blocks_9_x", (320, 768)),
        module("lora_te_text_model_x", (768, 768)),
        module("lora_te2_text_model_x", (768, 768)),
        module(Q, (320, 768)),
    )
    assert [item.name for item in placement.unmatched] == ["lora_unet_down_blocks_9_x"]
    assert len(placement.unused) == 2
    assert placement.fitting == "1 of 2 modules"


def test_a_text_encoder_that_is_connected_but_has_no_such_layer_is_no_unused_one() -> None:
    targets = encoder_sites({"clip_l": {"text_model.a": Site("a.weight", (8, 8))}})
    placement = only(module("lora_te_text_model_b", (8, 8)), targets=targets)
    assert len(placement.unmatched) == 1
    assert not placement.unused


def test_one_layer_named_twice_in_a_file_is_changed_once() -> None:
    """The first by name wins, whatever the order of the file, and the other one is reported."""
    native = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k"
    placement = only(module(native, (320, 768)), module(Q, (320, 768)))
    assert [item.module.name for item in placement.placed] == [native]
    assert placement.misshapen[0][1] == f"the file changes the same layer as {native}"


def test_parts_of_one_weight_are_places_of_their_own() -> None:
    sites = {name: Site("qkv", (4, 8), (0, start, 4)) for name, start in (("q", 0), ("k", 4), ("v", 8))}
    placement = only(*(module(f"unet.{name}", (4, 8)) for name in "qkv"), targets={"model": sites})
    assert [item.site.offset for item in placement.placed] == [(0, 0, 4), (0, 4, 4), (0, 8, 4)]


def test_the_fallback_places_what_our_names_do_not() -> None:
    wanted = Site("other.weight", (320, 768))
    fallback = {"unknown.layer": wanted, Q: Site("wrong.weight", (1, 1))}
    placement = only(module("unknown.layer", (320, 768)), module(Q, (320, 768)), fallback=fallback)
    assert [item.site.key for item in placement.placed] == [
        "other.weight",
        "m.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    ]
    # where our own place does not fit, the fallback's is tried, and never taken when it does not fit either
    assert only(module(Q, (64, 64)), fallback={Q: Site("w", (64, 64))}).placed[0].site.key == "w"
    assert not only(module(Q, (64, 64)), fallback={Q: Site("w", (64, 65))}).placed


def test_an_encoder_is_found_by_all_its_names() -> None:
    site = Site("k.weight", (8, 8))
    sites = encoder_sites({"clip_l": {"text_model.encoder.layers.0.mlp.fc1": site}})
    path = "text_model_encoder_layers_0_mlp_fc1"
    assert sites["te"][path] == sites["te1"][path] == sites["text_encoders"][f"clip_l_transformer_{path}"] == site
    assert has_text_encoders(sites)
    assert set(sites) == {"te", "te1", "text_encoders"}
    assert not has_text_encoders(TARGETS)


LENGTHS = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@given(LENGTHS, LENGTHS, st.booleans())
def test_a_placed_module_s_product_has_the_weight_s_size(shape: list[int], target: list[int], with_core: bool) -> None:
    """Whatever is placed can be multiplied and added: rows and elements agree."""
    made = module("unet.x", tuple(shape), rank=2)
    if with_core and len(shape) > 2:
        made = module("unet.x", tuple(shape), down=(2, shape[1], *[1] * len(shape[2:])), mid=(2, 2, *shape[2:]))
    placement = only(made, targets={"model": {"x": Site("x", tuple(target))}})
    if placement.placed:
        inner = made.in_shape
        assert inner is not None
        size, wanted = 1, 1
        for length in (shape[0], *inner):
            size *= length
        for length in target:
            wanted *= length
        assert (shape[0], size) == (target[0], wanted)
    else:
        assert shape != target or len(shape) < 2
