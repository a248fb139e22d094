"""A header's tensors, put together to modules; nothing is dropped."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lora_files import SUFFIXES

from lorchestra.header import Header, parse_header
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


def test_another_algorithm_beside_lora_names_the_module() -> None:
    both = {"x.lora_A.weight": (4, 10), "x.lora_B.weight": (20, 4), "x.dora_scale": (20, 1), "x.lora_B.bias": (20,)}
    assert only(both).algorithm == "DoRA + LoRA bias"
    assert only({"x.diff": (20, 10), "x.diff_b": (20,)}).algorithm == "bias difference + full difference"


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


@given(NAMES)
def test_every_tensor_is_in_exactly_one_place(names: list[str]) -> None:
    reading = read_modules(header(dict.fromkeys(names, (1,))))
    placed = [*reading.leftovers]
    for module in reading.modules:
        placed += [*module.slots.values(), *module.doubled]
    assert sorted(placed) == sorted(names)
