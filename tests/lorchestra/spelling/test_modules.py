"""A header's tensors, put together to modules; nothing is dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.lora_files import SUFFIXES

from lorchestra.files.header import Header, parse_header
from lorchestra.spelling.modules import Module, read_modules
from lorchestra.spelling.slots import SUFFIXES as ALL_SUFFIXES


def header(shapes: Mapping[str, tuple[int, ...]]) -> Header:
    """A header of 8-bit tensors with these shapes, in this order."""
    entries, position = {}, 0
    for name, shape in shapes.items():
        size = 1
        for length in shape:
            size *= length
        entries[name] = {"dtype": "U8", "shape": shape, "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(entries).encode()
    return parse_header(text, path="x.safetensors", file_size=8 + len(text) + position)


def only(shapes: Mapping[str, tuple[int, ...]]) -> Module:
    (module,) = read_modules(header(shapes)).modules
    return module


@pytest.mark.parametrize("spelling", SUFFIXES)
def test_every_spelling_gives_the_same_module(spelling: str) -> None:
    names = SUFFIXES[spelling]
    module = only({f"unet.a.to_q{names['up']}": (20, 4), f"unet.a.to_q{names['down']}": (4, 10)})
    assert (module.name, module.component, module.path) == ("unet.a.to_q", "model", "a.to_q")
    assert (module.algorithm, module.rank, module.out_features, module.in_shape) == ("LoRA", 4, 20, (10,))
    assert module.is_complete
    assert module.slots["up"].endswith(names["up"])


@pytest.mark.parametrize(
    ("shapes", "kind", "in_shape"),
    [
        ({"up": (20, 4), "down": (4, 10)}, "LoRA", (10,)),
        ({"up": (20, 4, 1, 1), "down": (4, 10, 1, 1)}, "LoRA", (10, 1, 1)),
        ({"up": (20, 4, 1, 1), "down": (4, 10, 3, 3)}, "LoCon", (10, 3, 3)),
        ({"up": (20, 4, 1, 1, 1), "down": (4, 10, 3, 1, 1)}, "LoCon", (10, 3, 1, 1)),
        ({"up": (20, 4, 1, 1), "down": (4, 10, 1, 1), "mid": (4, 4, 3, 3)}, "LoCon Tucker", (10, 3, 3)),
        ({"up": (20, 4), "down": (4,)}, "LoRA", None),
        ({"up": (20, 4), "down": ()}, "LoRA", None),
        ({"up": (20, 4)}, "LoRA", None),
    ],
)
def test_kind_and_in_shape(shapes: dict[str, tuple[int, ...]], kind: str, in_shape: tuple[int, ...] | None) -> None:
    module = only({f"x{SUFFIXES['kohya'][slot]}": shape for slot, shape in shapes.items()})
    assert (module.kind, module.in_shape) == (kind, in_shape)


@pytest.mark.parametrize("slot", ["up", "down", "mid"])
def test_a_half_alone_is_a_module_that_is_not_complete(slot: str) -> None:
    module = only({f"x{SUFFIXES['kohya'][slot]}": (4, 4, 1, 1), "x.alpha": ()})
    assert not module.is_complete


def test_what_belongs_to_no_module_is_left_over() -> None:
    reading = read_modules(header({"x.lora_A": (1, 1), "y.alpha": (), "z.weight": (2,), "<s1>": (3,)}))
    assert [module.name for module in reading.modules] == ["x"]
    assert sorted(reading.leftovers) == ["<s1>", "y.alpha", "z.weight"]


def modules_of(*names: str) -> list[tuple[str, str, set[str]]]:
    reading = read_modules(header(dict.fromkeys(names, (4, 4))))
    assert not reading.leftovers
    return [(module.algorithm, module.target, set(module.slots)) for module in reading.modules]


def test_dora_stays_with_its_base_and_a_bias_is_a_module_of_its_own() -> None:
    assert modules_of("x.lora_A.weight", "x.lora_B.weight", "x.dora_scale", "x.lora_B.bias", "x.alpha") == [
        ("LoRA", "weight", {"up", "down", "alpha", "magnitude"}),
        ("LoRA bias", "bias", {"bias", "down", "alpha"}),
    ]


def test_differences_of_weight_and_bias_are_two_modules() -> None:
    assert modules_of("x.diff", "x.diff_b", "y.w_norm", "y.b_norm") == [
        ("full difference", "weight", {"diff"}),
        ("bias difference", "bias", {"diff_b"}),
        ("norm difference", "weight", {"w_norm"}),
        ("norm bias difference", "bias", {"b_norm"}),
    ]


def test_a_bias_is_looked_up_under_a_name_of_its_own() -> None:
    reading = read_modules(header({"diffusion_model.img_in.diff": (4, 4), "diffusion_model.img_in.diff_b": (4,)}))
    assert [module.flat for module in reading.modules] == ["img_in", "img_in_bias"]


def test_butterfly_blocks_are_told_by_their_dimensions() -> None:
    assert [only({"x.oft_blocks": shape}).algorithm for shape in ((4, 2, 2), (3, 4, 2, 2))] == ["OFT", "BOFT"]


def test_kohya_s_oft_of_a_fused_layer_is_a_module_for_each_slice() -> None:
    layer = "oft_unet_double_blocks_0_img_attn_qkv"
    shapes: dict[str, tuple[int, ...]] = {f"{layer}.oft_blocks.{number}": (4, 8, 8) for number in range(3)}
    reading = read_modules(header({**shapes, f"{layer}.alpha": ()}))
    assert [module.flat for module in reading.modules] == [f"double_blocks_0_img_attn_qkv_{n}" for n in range(3)]
    assert all(set(module.slots) == {"blocks", "alpha"} and not module.layout.problem for module in reading.modules)


def test_lycoris_ia3_has_a_weight_only_beside_on_input() -> None:
    assert modules_of("x.weight", "x.on_input") == [("(IA)³", "weight", {"weight", "on_input"})]
    assert read_modules(header({"x.weight": (4,)})).leftovers == ("x.weight",)


def test_norm_scales_of_control_loras_replace_the_model_s() -> None:
    module = only({"double_blocks.0.img_attn.norm.query_norm.scale": (128,)})
    assert (module.algorithm, module.flat) == ("weight replacement", "double_blocks_0_img_attn_norm_query_norm")


def test_bundled_embeddings_are_left_aside_and_named() -> None:
    names = {"bundle_emb.cat.string_to_param.*": (2, 768), "bundle_emb.dog.string_to_param.*": (2, 768)}
    reading = read_modules(header({"x.lora_A.weight": (1, 1), "x.lora_B.weight": (1, 1), **names}))
    assert (reading.embeddings, reading.leftovers) == (("cat", "dog"), ())


@pytest.mark.parametrize("order", [0, 1])
def test_a_half_in_two_spellings_is_kept_as_doubled(order: int) -> None:
    """Whichever comes first: halves of different adapters must not be mixed silently."""
    names = ["x.lora_down.weight", "x.lora_A.weight", "x.lora_B.weight", "x.lora_up.weight"]
    module = only(dict.fromkeys(names if order else reversed(names), (4, 4)))
    assert sorted([*module.slots.values(), *module.doubled]) == sorted(names)
    assert len(module.doubled) == 2


def test_two_adapters_in_one_file_are_doubled() -> None:
    module = only({f"x.lora_{half}.{adapter}.weight": (4, 4) for adapter in ("a", "b") for half in "AB"})
    assert module.doubled == ("x.lora_A.b.weight", "x.lora_B.b.weight")


def test_spellings_are_counted() -> None:
    shapes = {}
    for name in ("lora_unet_a", "lora_unet_b", "unet.c"):
        shapes |= {f"{name}.lora_A.weight": (1, 1), f"{name}.lora_B.weight": (1, 1)}
    assert read_modules(header(shapes)).spellings == {"kohya": 2, "diffusers": 1}


def test_modules_come_in_the_order_of_their_names_whatever_the_file_s_order() -> None:
    names = ["b", "a", "c"]
    shapes = {f"{name}.lora_{half}.weight": (1, 1) for half in "AB" for name in names}
    assert [module.name for module in read_modules(header(shapes)).modules] == ["a", "b", "c"]


MODULES = st.sampled_from(["", "a", "b.c", "a.lora", "x_lora"])
NAMES = st.lists(st.builds(str.__add__, MODULES, st.sampled_from([*ALL_SUFFIXES, ".weight"])), unique=True, max_size=12)


SHARED = ("alpha", "magnitude", "magnitude_vector", "down")
"""Slots that several algorithms on one layer have in common; the bias of an up half uses the down half's rank."""


@given(NAMES)
@example([".oft_blocks", ".oft_blocks.1", ".oft_R.weight"])
@example([".alpha", ".lora_B.bias"])
@example([".oft_blocks", ".lora_down.weight", ".lora_A.weight", ".oft_blocks.1"])
def test_every_tensor_is_in_exactly_one_place(names: list[str]) -> None:
    reading = read_modules(header(dict.fromkeys(names, (1,))))
    placed = [*reading.leftovers]
    for module in reading.modules:
        own = {slot: tensor for slot, tensor in module.slots.items() if slot not in SHARED}
        placed += [*own.values(), *module.doubled]
    shared = {tensor for module in reading.modules for slot, tensor in module.slots.items() if slot in SHARED}
    assert sorted([*placed, *shared]) == sorted(names)
