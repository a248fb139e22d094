"""Strengths and pairs of a stack against updates that are built in fp64."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from support.algorithm_files import KINDS, made
from support.exact import delta
from support.lora_files import factors, named, weight, write
from torch import Tensor

from lorchestra.analysis.balance import Balance, measure
from lorchestra.apply.plan import Change, make_plan
from lorchestra.architectures.sites import Site, encoder_sites, model_sites
from lorchestra.choices import AUTO, Choices
from lorchestra.fit.rows import Files, Located
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import Base
from lorchestra.stack import Entry, Stack

SHAPES: Mapping[str, tuple[int, ...]] = {
    "double_blocks.0.img_attn.proj": (48, 40),
    "double_blocks.1.img_mlp.0": (32, 40),
    "input_blocks.4.0.conv": (16, 12, 3, 3),
    "double_blocks.2.qkv": (30, 20),
}
MODEL = model_sites({f"{name}.weight": (f"diffusion_model.{name}.weight", shape) for name, shape in SHAPES.items()})
CLIP = encoder_sites({"clip_l": {"text_model.x": Site("clip_l.transformer.text_model.x.weight", (24, 16))}})


def balance(*rows: Entry, weights: bool = False, targets: object = None) -> Balance:
    base = Base("test", targets or {"model": MODEL, **CLIP})  # pyright: ignore
    files = Files(lambda entry, _: Located(entry.lora), lambda path: open_lora(path, keep=False))
    plan = make_plan(Stack(rows), files, base, Choices(mode=AUTO))
    return measure(plan, _weight if weights else None)


def _weight(change: Change) -> Tensor:
    name = change.key.removeprefix("diffusion_model.").removesuffix(".weight")
    return weight(SHAPES[name], 0) if name in SHAPES else weight((24, 16), 0)


def lora(path: Path, seed: int, rank: int = 4, spelling: str = "kohya") -> tuple[Path, dict[str, Tensor]]:
    """A file, and what it adds to each layer at weight 1."""
    tensors: dict[str, Tensor] = {}
    updates: dict[str, Tensor] = {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        parts = factors(shape, rank, seed=10 * seed + number, alpha=3)
        tensors |= named(f"diffusion_model.{name}", parts, spelling)
        updates[name] = delta(parts, shape)
    parts = factors((24, 16), rank, seed=10 * seed + 9, alpha=3)
    return write(path, tensors | named("text_encoder.text_model.x", parts)), updates | {"x": delta(parts, (24, 16))}


def gram_of(*updates: Mapping[str, Tensor]) -> np.ndarray:
    """⟨Δᵢ, Δⱼ⟩ over all layers."""
    return np.array([[sum(float((a[k] * b[k]).sum()) for k in a if k in b) for b in updates] for a in updates])


def test_strengths_and_cosines(tmp_path: Path) -> None:
    (a, first), (b, second) = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2, rank=7)
    found = balance(Entry(str(a), model=0.7, clip=0.2), Entry(str(b), model=-0.4))
    scaled = [
        {name: update * (clip if name == "x" else model) for name, update in updates.items()}
        for updates, model, clip in ((first, 0.7, 0.2), (second, -0.4, -0.4))
    ]
    expected = gram_of(*scaled)
    np.testing.assert_allclose(found.gram(), expected, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.strengths(), np.sqrt(np.diagonal(expected)), rtol=1e-5)
    cosine = expected[0, 1] / np.sqrt(expected[0, 0] * expected[1, 1])
    assert found.cosines()[0, 1] == pytest.approx(cosine, abs=1e-6)
    other = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    only = gram_of({n: u for n, u in first.items() if n != "x"}, {"x": second["x"] * 2})
    np.testing.assert_allclose(found.gram(other), only, rtol=1e-5, atol=1e-9)


def test_blocks_and_parts(tmp_path: Path) -> None:
    a, first = lora(tmp_path / "a.safetensors", 1)
    found = balance(Entry(str(a), model=2.0))
    assert [(group.component, group.block, group.part) for group in found.groups] == [
        ("model", "input.4", "other"),
        ("model", "double_blocks.0", "attention"),
        ("model", "double_blocks.1", "MLP"),
        ("model", "double_blocks.2", "attention"),
        ("clip", "clip_l", "other"),
    ]
    for name, block in (("double_blocks.1.img_mlp.0", "double_blocks.1"), ("input_blocks.4.0.conv", "input.4")):
        assert found.strengths(groups=found.blocks()[block])[0] == pytest.approx(
            2 * float(first[name].norm()), rel=1e-5
        )
        spectral = float(torch.linalg.matrix_norm(first[name].flatten(1), 2))
        (group,) = found.blocks()[block]
        assert spectral * 0.9 < float(group.spectral[0]) <= spectral * (1 + 1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Tucker"])
def test_every_algorithm_beside_a_lora(tmp_path: Path, kind: str) -> None:
    """With the model's weights at hand, which some need; against the update that is built in fp64."""
    name, shape = "double_blocks.0.img_attn.proj", SHAPES["double_blocks.0.img_attn.proj"]
    ends = made(kind, shape, 3)
    path = write(tmp_path / "k.safetensors", {f"diffusion_model.{name}{end}": part for end, part in ends.items()})
    a, first = lora(tmp_path / "a.safetensors", 1)
    other = {name: KINDS[kind].delta(ends, _weight(Change("model", f"diffusion_model.{name}.weight")))}
    found = balance(Entry(str(a), model=1.0, clip=0), Entry(str(path), model=1.0), weights=True)
    expected = gram_of({n: u for n, u in first.items() if n != "x"}, other)
    np.testing.assert_allclose(found.gram(), expected, rtol=1e-5, atol=1e-6)
    spectral = float(torch.linalg.matrix_norm(other[name].flatten(1), 2))
    assert spectral * 0.9 < found.spectral()[1] <= spectral * (1 + 1e-4)
    assert found.base() == pytest.approx(
        float(torch.cat([_weight(Change("model", f"{name}.weight")).flatten() for name in SHAPES]).norm()), rel=1e-5
    )


def test_without_the_models_weights_it_says_what_is_left_out(tmp_path: Path) -> None:
    name, shape = "double_blocks.0.img_attn.proj", SHAPES["double_blocks.0.img_attn.proj"]
    ends = made("OFT", shape, 3)
    path = write(tmp_path / "k.safetensors", {f"diffusion_model.{name}{end}": part for end, part in ends.items()})
    a, _ = lora(tmp_path / "a.safetensors", 1)
    found = balance(Entry(str(a)), Entry(str(path)))
    assert found.left_out == ((1, "what it does depends on the model's own weights, which are not at hand", 1),)
    assert found.base() is None


def test_parts_of_a_fused_layer_meet_the_whole(tmp_path: Path) -> None:
    """One file has q, k and v apart, the other the fused layer."""
    whole = factors((30, 20), 4, seed=1)
    apart = [factors((10, 20), 2, seed=seed) for seed in (2, 3)]
    sites = model_sites({"blocks.0.attn.qkv.weight": ("diffusion_model.blocks.0.attn.qkv.weight", (30, 20))})
    q, v = (Site("diffusion_model.blocks.0.attn.qkv.weight", (10, 20), _place(start)) for start in (0, 20))
    targets = {"model": {**sites, "blocks_0_attn_q": q, "blocks_0_attn_v": v}}
    first = write(tmp_path / "a.safetensors", named("diffusion_model.blocks.0.attn.qkv", whole))
    tensors = named("diffusion_model.blocks.0.attn.q", apart[0]) | named("diffusion_model.blocks.0.attn.v", apart[1])
    found = balance(
        Entry(str(first), model=1), Entry(str(write(tmp_path / "b.safetensors", tensors)), model=1), targets=targets
    )
    second = torch.zeros(30, 20, dtype=torch.float64)
    second[:10], second[20:] = delta(apart[0], (10, 20)), delta(apart[1], (10, 20))
    expected = gram_of({"w": delta(whole, (30, 20))}, {"w": second})
    np.testing.assert_allclose(found.gram(), expected, rtol=1e-5, atol=1e-9)


def _place(start: int) -> object:
    from lorchestra.architectures.sites import Place

    return Place((0, start, 10))


def test_subspaces(tmp_path: Path) -> None:
    """Half of the inputs are shared, and no outputs but by chance."""
    name, shape = "double_blocks.0.img_attn.proj", (48, 40)
    basis = torch.linalg.qr(torch.randn(40, 8, generator=torch.Generator().manual_seed(1)))[0].T
    outs = torch.linalg.qr(torch.randn(48, 8, generator=torch.Generator().manual_seed(2)))[0]
    parts = [
        {"up": outs[:, :4] * 0.1, "down": basis[:4]},
        {"up": outs[:, 4:] * 0.2, "down": basis[2:6] * 3},
    ]
    paths = [
        write(tmp_path / f"{index}.safetensors", named(f"diffusion_model.{name}", part))
        for index, part in enumerate(parts)
    ]
    found = balance(*(Entry(str(path), model=1) for path in paths))
    assert found.pairs.inputs[0, 1] == pytest.approx(0.5, abs=1e-3)
    assert found.pairs.outputs[0, 1] == pytest.approx(0, abs=1e-3)
    assert found.cosines()[0, 1] == pytest.approx(0, abs=1e-6)
    assert shape == SHAPES[name]


def test_sign_conflicts_are_estimated_with_their_error(tmp_path: Path) -> None:
    (a, first), (b, second) = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    found = balance(Entry(str(a), model=1), Entry(str(b), model=1))
    opposite = sum(int((first[n].sign() * second[n].sign() < 0).sum()) for n in first)
    share = opposite / sum(update.numel() for update in first.values())
    error = found.pairs.errors[0, 1]
    assert 0 < error < 0.1
    assert abs(found.pairs.conflicts[0, 1] - share) < 4 * error
    same = balance(Entry(str(a), model=1, clip=0), Entry(str(_negated(tmp_path, first)), model=1))
    assert same.pairs.conflicts[0, 1] == 1
    assert same.cosines()[0, 1] == pytest.approx(-1, abs=1e-5)


def _negated(folder: Path, updates: Mapping[str, Tensor]) -> Path:
    tensors = {f"diffusion_model.{name}.diff": -updates[name].float() for name in SHAPES}
    return write(folder / "negated.safetensors", tensors)


def test_ranks_of_one_and_of_more_than_the_layer_has(tmp_path: Path) -> None:
    """Ranks lie in blocks of their own; those of 1,024 take one each."""
    made = [lora(tmp_path / f"{seed}.safetensors", seed, rank) for seed, rank in enumerate((1, 1024, 1, 4))]
    found = balance(*(Entry(str(path), model=1) for path, _ in made))
    expected = gram_of(*(updates for _, updates in made))
    scale = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    np.testing.assert_allclose(found.gram().numpy() / scale, expected / scale, atol=1e-5)
    assert not bool(found.pairs.inputs.isnan().any())


def test_halves_that_nearly_cancel(tmp_path: Path) -> None:
    """As where a trainer's own start is taken off: [up, -up] · [down; down + a little]."""
    name, shape = "double_blocks.0.img_attn.proj", SHAPES["double_blocks.0.img_attn.proj"]
    parts = factors(shape, 4, seed=1)
    little = factors(shape, 4, seed=2)["down"] * 1e-4
    both = {"up": torch.cat([parts["up"], -parts["up"]], 1), "down": torch.cat([parts["down"], parts["down"] + little])}
    path = write(tmp_path / "a.safetensors", named(f"diffusion_model.{name}", both))
    expected = float(delta(both, shape).norm())
    assert balance(Entry(str(path), model=1)).strengths()[0] == pytest.approx(expected, rel=1e-5)


def test_the_order_of_the_rows_changes_nothing_but_the_order(tmp_path: Path) -> None:
    (a, _), (b, _) = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    rows = Entry(str(a), model=0.5), Entry(str(b), model=0.9)
    one, other = balance(*rows), balance(*rows[::-1])
    np.testing.assert_array_equal(one.gram(), other.gram().flip(0, 1))
    assert [item.row for item in one.loras] == [1, 2]


def test_more_than_can_be_compared(tmp_path: Path) -> None:
    from lorchestra.errors import StackError

    name = "double_blocks.0.img_attn.proj"
    rows = [
        Entry(str(write(tmp_path / f"{n}.safetensors", named(f"diffusion_model.{name}", factors((48, 40), 1, seed=n)))))
        for n in range(257)
    ]
    with pytest.raises(StackError, match="257 LoRAs cannot be compared at once; at most 256 can"):
        balance(*rows)


def test_bad_input_is_said_and_never_a_wrong_number(tmp_path: Path) -> None:
    """LoRAs without a common layer have nothing to compare; a value that is no number is an error with its place."""
    from lorchestra.analysis.report import report
    from lorchestra.errors import AdapterError

    apart = [
        Entry(
            str(
                write(tmp_path / f"{n}.safetensors", named(f"diffusion_model.{name}", factors(SHAPES[name], 2, seed=n)))
            )
        )
        for n, name in enumerate(("double_blocks.0.img_attn.proj", "double_blocks.1.img_mlp.0"))
    ]
    found = balance(*apart)
    assert found.cosines()[0, 1] == 0 and bool(found.pairs.inputs[0, 1].isnan())
    assert "not known" in report(found)
    parts = factors(SHAPES["double_blocks.2.qkv"], 2, seed=5)
    parts["up"][3, 1] = float("nan")
    broken = Entry(str(write(tmp_path / "nan.safetensors", named("diffusion_model.double_blocks.2.qkv", parts))))
    with pytest.raises(AdapterError, match="NaN"):
        balance(*apart, broken)


def test_two_hundred_rows_of_one_layer(tmp_path: Path) -> None:
    """In several blocks of halves, compared with each other; against updates that are built in fp64."""
    name = "double_blocks.0.img_attn.proj"
    parts = [factors(SHAPES[name], 8, seed=n) for n in range(200)]
    rows = [
        Entry(str(write(tmp_path / f"{n:03}.safetensors", named(f"diffusion_model.{name}", part))), model=1.0)
        for n, part in enumerate(parts)
    ]
    updates = torch.stack([delta(part, SHAPES[name]).flatten() for part in parts])
    expected = (updates @ updates.T).numpy()
    scale = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    np.testing.assert_allclose(balance(*rows).gram().numpy() / scale, expected / scale, atol=1e-5)
