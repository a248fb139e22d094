"""The list of algorithms: every one reads, updates, and survives being packed into a plain tuple."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, cast

import pytest
import torch
from support.closeness import apart, noise
from torch import Tensor

from lorchestra.algorithms import ALGORITHMS, SUPPORTED, DoRA, pack, read, unpack
from lorchestra.spelling import slots
from lorchestra.spelling.layouts import layout

Parts = dict[str, Tensor]

LORA: Parts = {"up": noise(24, 4, seed=1, size=0.01), "down": noise(4, 24, seed=2)}
LOHA: Parts = {slot: noise(24, 24, seed=seed, size=0.1) for seed, slot in enumerate(("w1_a", "w1_b", "w2_a", "w2_b"))}
GLORA: Parts = {
    slot: noise(*shape, seed=seed, size=0.1)
    for seed, (slot, shape) in enumerate({"a1": (24, 4), "a2": (4, 24), "b1": (24, 4), "b2": (4, 24)}.items())
}
EXAMPLES: list[tuple[str, Parts]] = [
    ("LoRA", LORA),
    ("LoRA", LORA | {"shape": torch.tensor([24, 24])}),
    ("LoRA", {"up": noise(24, 4, 1, 1), "down": noise(4, 24, 1, 1), "mid": noise(4, 4, 1, 1)}),
    ("LoRA", LORA | {"magnitude": noise(24, 1, seed=3).abs()}),
    ("LoRA", LORA | {"magnitude_vector": noise(24, seed=3).abs()}),
    ("LoHa", LOHA),
    ("LoHa", LOHA | {"magnitude": noise(1, 24, seed=3).abs()}),
    ("LoKr", {"w1": noise(4, 4), "w2_a": noise(6, 2), "w2_b": noise(2, 6), "magnitude": noise(24, 1).abs()}),
    ("LoKr", {"w1_a": noise(4, 2), "w1_b": noise(2, 4), "w2": noise(6, 6)}),
    ("GLoRA", GLORA),
    ("GLoRA", GLORA | {"magnitude": noise(24, 1).abs()}),
    ("OFT", {"blocks": noise(6, 4, 4, size=0.1), "rescale": noise(24, 1)}),
    ("OFT", {"diag": torch.eye(4).repeat(6, 1, 1) + noise(6, 4, 4, size=0.01)}),
    ("OFT", {"rotation": noise(6, 6, size=0.1), "scaled": torch.tensor(True)}),
    ("OFT", {"rotation": noise(6, 4, 4, size=0.1)}),
    ("OFT", {"rotation": noise(6, 4, 4, size=0.1), "scale": noise(24, 1)}),
    ("OFT", {"blocks": noise(2, 6, 4, 4, size=0.1), "rescale": noise(24, 1)}),
    ("BOFT", {"blocks": noise(2, 6, 4, 4, size=0.1)}),
    ("BOFT", {"rotation": noise(1, 6, 4, 4, size=0.1), "scale": noise(24, 1)}),
    ("(IA)³", {"vector": noise(24, 1)}),
    ("(IA)³", {"weight": noise(24), "on_input": torch.tensor(1)}),
    ("full difference", {"diff": noise(24, 24)}),
    ("bias difference", {"diff_b": noise(24)}),
    ("norm difference", {"w_norm": noise(24)}),
    ("norm bias difference", {"b_norm": noise(24)}),
    ("LoRA bias", LORA | {"bias": noise(24)}),
    ("weight replacement", {"value": noise(24)}),
    ("LoRA of an embedding", {"up": noise(24, 4), "down": noise(4, 24)}),
]


@pytest.mark.parametrize(("algorithm", "parts"), EXAMPLES)
def test_read_update_pack(algorithm: str, parts: Parts) -> None:
    assert layout(algorithm, {slot: tuple(tensor.shape) for slot, tensor in parts.items()}).problem is None
    adapter = read(algorithm, parts, 2.0)
    is_vector = algorithm in {*slots.BIASES, slots.NORM, slots.REPLACEMENT}
    weight = noise(24, seed=9) if is_vector else noise(24, 24, seed=9)
    before, inputs = weight.clone(), {slot: tensor.clone() for slot, tensor in parts.items()}
    update = adapter.update(weight)
    assert update.shape == weight.shape
    assert update.dtype == torch.float32
    assert apart(update, adapter.update(weight.double())) < 1e-6
    packed = pack(adapter)
    _check_plain(packed)
    again = unpack(packed)
    assert type(again) is type(adapter)
    assert torch.equal(again.update(weight), update)
    assert torch.equal(weight, before)
    assert all(torch.equal(tensor, inputs[slot]) for slot, tensor in parts.items())


@pytest.mark.parametrize(("algorithm", "parts"), EXAMPLES)
def test_moved_tensors(algorithm: str, parts: Parts) -> None:
    """What ComfyUI does with a packed adapter: the tensors are replaced wherever they are."""
    packed = pack(read(algorithm, parts, None))
    moved = _moved(packed)
    assert _fields(unpack(moved)) == {_name(tensor) for tensor in _tensors(moved)}


def test_an_algorithm_that_is_not_there_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="VeRA is not an algorithm"):
        read("VeRA", {}, None)


def test_every_algorithm_has_an_example_and_a_class_of_its_own() -> None:
    assert {algorithm for algorithm, _ in EXAMPLES} == {row.name for row in ALGORITHMS}
    assert len(set(SUPPORTED)) == len(SUPPORTED) == len(ALGORITHMS) + 1
    listed = [cls for row in ALGORITHMS for cls in row.classes]
    assert len(set(listed)) == len(listed)
    assert DoRA not in listed


def test_reshape_weight_is_kept_with_the_lora() -> None:
    parts = {"up": noise(24, 4), "down": noise(4, 24), "shape": torch.tensor([24, 24])}
    assert cast("Any", read("LoRA", parts, None)).padded == (24, 24)


def _check_plain(value: object) -> None:
    if isinstance(value, tuple):
        for item in cast("tuple[object, ...]", value):
            _check_plain(item)
    else:
        assert value is None or isinstance(value, (Tensor, int, float, bool, str))


def _moved(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_moved(item) for item in cast("tuple[Any, ...]", value))
    return value.clone() if isinstance(value, Tensor) else value


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, tuple):
        return [tensor for item in cast("tuple[Any, ...]", value) for tensor in _tensors(item)]
    return [value] if isinstance(value, Tensor) else []


def _fields(adapter: Any) -> set[int]:
    values = [getattr(adapter, field.name) for field in fields(adapter)]
    own = {_name(value) for value in values if isinstance(value, Tensor)}
    return own | (_fields(adapter.base) if isinstance(adapter, DoRA) else set())


def _name(tensor: Tensor) -> int:
    return tensor.data_ptr()
