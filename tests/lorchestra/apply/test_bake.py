"""Checkpoints with LoRAs baked in: exact, the same for every order, whole or not there at all."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import pytest
import torch
from safetensors.torch import load_file
from support.algorithm_files import CONVOLUTION, KINDS, MATRIX, made
from support.exact import DTYPES, delta, same_bits, sum_of, ulp, ulps_off
from support.lora_files import (
    BLOCK,
    DIFFUSERS_BLOCK,
    SUFFIXES,
    UNET_SHAPES,
    factors,
    locked,
    named,
    public_folder,
    read,
    unet,
    weight,
    write,
)
from torch import Tensor

from lorchestra.apply.bake import METADATA_KEY, bake, read_baked
from lorchestra.architectures.sites import Place
from lorchestra.architectures.unet import diffusers_names
from lorchestra.errors import AdapterError, CheckpointError, HeaderError, LorchestraError, StackError
from lorchestra.files.header import read_header
from lorchestra.files.key import read_sha256
from lorchestra.spelling.prefixes import flatten
from lorchestra.stack import Entry, Stack

Parts = dict[str, Tensor]
PREFIX = "model.diffusion_model."
TE = "cond_stage_model.transformer.text_model.encoder.layers.0"
KOHYA = {native: f"lora_unet_{flatten(name)}" for native, name in diffusers_names(UNET_SHAPES).items()}


def stack(*rows: tuple[Path, float] | tuple[Path, float, float] | Entry) -> Stack:
    return Stack(tuple(row if isinstance(row, Entry) else Entry(str(row[0]), True, *row[1:]) for row in rows)).checked()


def base(folder: Path, dtype: torch.dtype = torch.float16, extra: Mapping[str, Tensor] | None = None) -> Path:
    """A checkpoint with layers of the UNet and other tensors between them, in an order of its own."""
    tensors = {"first_stage_model.x.weight": weight((7, 5)), **unet(dtype)}
    tensors |= {
        f"{TE}.self_attn.q_proj.weight": weight((24, 24), 50, dtype),
        "odd": torch.tensor([True]),
        **(extra or {}),
    }
    tensors |= {"empty": torch.zeros(0, 4), "last.step": torch.tensor(7)}
    return write(folder / "base.safetensors", tensors, {"format": "pt", "title": 'ä\n"\\', "modelspec.license": "MIT"})


def lora(
    path: Path, seed: int, *, alpha: float | None = 2, tucker: bool = True, size: float = 0.03
) -> dict[str, Parts]:
    """Writes a LoRA for all layers of `base`; returns native name → its parts."""
    layers: dict[str, Parts] = {}
    for number, (native, shape) in enumerate(UNET_SHAPES.items()):
        with_core = tucker and shape[2:] == (3, 3)
        layers[native] = factors(shape, 4, seed=100 * seed + number, alpha=alpha, size=size, tucker=with_core)
    tensors: Parts = {}
    for native, parts in layers.items():
        tensors |= named(KOHYA[native], parts)
    text = factors((24, 24), 4, seed=100 * seed + 99, alpha=alpha, size=size)
    write(path, tensors | named("lora_te_text_model_encoder_layers_0_self_attn_q_proj", text))
    return layers


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


def leftovers(folder: Path) -> list[str]:
    """What an unfinished bake might have left."""
    return sorted(path.name for path in folder.rglob("*") if ".part" in path.name or path.name.startswith("."))


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2"])
def test_all_orders_of_four_loras_are_one_file(tmp_path: Path, dtype: str) -> None:
    """Two rows of one file, one negative, one at 0 whose file does not exist; whole files are compared."""
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    lora(a, 1), lora(b, 2, alpha=None)
    checkpoint = base(tmp_path, DTYPES[dtype])
    rows = [(a, 0.7, 0.2), (a, 0.35), (b, -0.8), (tmp_path / "none.safetensors", 0.0)]
    output = tmp_path / "out.safetensors"
    results = set()
    for order in itertools.permutations(rows):
        bake(checkpoint, stack(*order), output, force=True)
        results.add(output.read_bytes())
    assert len(results) == 1
    before, after = read(checkpoint), read(output)
    changed = {name for name in before if not same_bits(before[name], after[name])}
    assert changed == {f"{PREFIX}{name}.weight" for name in UNET_SHAPES} | {f"{TE}.self_attn.q_proj.weight"}


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
@pytest.mark.parametrize("size", [0.0003, 0.03], ids=["1 %", "100 %"])
def test_within_half_a_unit_of_fp64(tmp_path: Path, dtype: str, size: float) -> None:
    rows = []
    updates: dict[str, list[tuple[float, Parts]]] = {}
    for seed, strength in ((1, 0.75), (2, -1.5), (3, 0.1)):
        path = tmp_path / f"{seed}.safetensors"
        for native, parts in lora(path, seed, alpha=None if seed == 2 else 1, tucker=seed != 3, size=size).items():
            updates.setdefault(native, []).append((strength, parts))
        rows.append((path, strength))
    checkpoint, output = base(tmp_path, DTYPES[dtype]), tmp_path / "out.safetensors"
    result = bake(checkpoint, stack(*rows), output)
    assert result.changed == len(UNET_SHAPES) + 1
    before, after = read(checkpoint), read(output)
    for native, items in updates.items():
        name = f"{PREFIX}{native}.weight"
        assert after[name].dtype == DTYPES[dtype]
        assert ulps_off(after[name], sum_of(before[name], items)) <= 0.51, native


@pytest.mark.parametrize("dtype", ["F8_E4M3", "F8_E5M2"])
def test_fp8_is_rounded_to_nearest(tmp_path: Path, dtype: str) -> None:
    """As near as fp8 allows: no other number of the dtype is nearer, and what is too large becomes the largest."""
    kind = DTYPES[dtype]
    a, output = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    parts = factors((32, 32), 4, size=1.0)
    parts["up"][0] = 4e5  # beyond fp8
    write(a, named(KOHYA[f"{BLOCK}.attn1.to_q"], parts))
    checkpoint = base(tmp_path, kind)
    bake(checkpoint, stack((a, 0.5)), output)
    name = f"{PREFIX}{BLOCK}.attn1.to_q.weight"
    start, after = read(checkpoint)[name], read(output)[name]
    limit = torch.finfo(kind).max
    reference = sum_of(start, [(0.5, parts)]).clamp(-limit, limit)
    assert float(((after.double() - reference).abs() / ulp(reference, kind)).max()) <= 0.51
    assert torch.isfinite(after.float()).all()
    assert after.double().abs().max() == limit


@pytest.mark.parametrize("lora_dtype", DTYPES)
@pytest.mark.parametrize("spelling", SUFFIXES)
def test_every_spelling_and_dtype_of_files(tmp_path: Path, spelling: str, lora_dtype: str) -> None:
    """Each spelling with the names that go with it, UNet and text encoder, with and without alpha."""
    module = {
        "kohya": f"lora_unet_{flatten(DIFFUSERS_BLOCK)}_attn2_to_k",
        "diffusers processors": f"unet.{DIFFUSERS_BLOCK}.attn2.processor.to_k",
        "Mochi": f"diffusion_model.{BLOCK}.attn2.to_k",
        "PEFT with an adapter's name": f"base_model.model.{DIFFUSERS_BLOCK}.attn2.to_k",
    }.get(spelling, f"unet.{DIFFUSERS_BLOCK}.attn2.to_k")
    encoder = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    if spelling != "kohya":
        encoder = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
    on_model = factors((32, 24), 4, seed=1, size=0.1, alpha=2, dtype=DTYPES[lora_dtype])
    on_text = factors((24, 24), 2, seed=2, size=0.1, dtype=DTYPES[lora_dtype])
    a = write(tmp_path / "a.safetensors", named(module, on_model, spelling) | named(encoder, on_text, spelling))
    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    result = bake(checkpoint, stack((a, 0.7, -0.3)), output)
    assert result.outcomes[0].applied == 2
    before, after = read(checkpoint), read(output)
    for name, strength, parts in (
        (f"{PREFIX}{BLOCK}.attn2.to_k.weight", 0.7, on_model),
        (f"{TE}.self_attn.q_proj.weight", -0.3, on_text),
    ):
        assert not same_bits(before[name], after[name])
        assert ulps_off(after[name], sum_of(before[name], [(strength, parts)])) <= 0.51


@pytest.mark.parametrize("alpha", [0.0, -4.0, 1e-3])
def test_alphas(tmp_path: Path, alpha: float) -> None:
    a, output = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    layers = lora(a, 1, alpha=alpha)
    checkpoint = base(tmp_path, torch.float32)
    bake(checkpoint, stack((a, 1.0)), output)
    before, after = read(checkpoint), read(output)
    for native, parts in layers.items():
        name = f"{PREFIX}{native}.weight"
        assert ulps_off(after[name], sum_of(before[name], [(1.0, parts)])) <= 0.51
        assert torch.equal(before[name], after[name]) == (alpha == 0)


LAYER, CONV = f"{BLOCK}.ff.net.0.proj", "input_blocks.1.0.in_layers.2"
"""[96, 32] and [32, 32, 3, 3]."""


def everything(folder: Path, dtype: torch.dtype) -> tuple[Path, list[tuple[Path, float]]]:
    """A checkpoint with biases, and one file per algorithm for a linear layer, a convolution or both."""
    biases = {f"{PREFIX}{layer}.bias": weight((UNET_SHAPES[layer][0],), 90, dtype) for layer in (LAYER, CONV)}
    rows: list[tuple[Path, float]] = []
    for number, kind in enumerate(KINDS):
        tensors: Parts = {}
        for layer, kinds in ((LAYER, MATRIX), (CONV, CONVOLUTION)):
            if kind in kinds:
                parts = made(kind, UNET_SHAPES[layer], seed=number)
                tensors |= {KOHYA[layer] + end: tensor for end, tensor in parts.items()}
        rows.append((write(folder / f"{number}.safetensors", tensors), 0.4 - 0.1 * number))
    bias = {f"{KOHYA[layer]}.diff_b": weight((UNET_SHAPES[layer][0],), 91) for layer in (LAYER, CONV)}
    rows.append((write(folder / "bias.safetensors", bias), 0.7))
    return base(folder, dtype, biases), rows


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64", "F8_E4M3"])
def test_all_algorithms_in_any_order_are_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """Weights and biases, to half a unit of fp64; pieces are for plain LoRAs and make no difference to others."""
    checkpoint, rows = everything(tmp_path, DTYPES[dtype])
    output, random, results = tmp_path / "out.safetensors", Random(3), set[bytes]()
    for piece in (1 << 23, 1 << 23, 1 << 23, 1000):
        random.shuffle(rows)
        monkeypatch.setattr("lorchestra.apply.bake._PIECE", piece)
        assert bake(checkpoint, stack(*rows), output, force=True).changed == 4
        results.add(output.read_bytes())
    assert len(results) == 1
    before, after = read(checkpoint), read(output)
    for layer, kinds in ((LAYER, MATRIX), (CONV, CONVOLUTION)):
        start = before[f"{PREFIX}{layer}.weight"].double()
        reference = start.clone()
        for number, kind in enumerate(KINDS):
            if kind in kinds:
                parts = made(kind, UNET_SHAPES[layer], seed=number)
                reference += (0.4 - 0.1 * number) * KINDS[kind].delta(parts, start)
        # a unit of fp64 cannot be told from an fp64 reference
        close = 1e5 if dtype == "F64" else 0.51
        assert ulps_off(after[f"{PREFIX}{layer}.weight"], reference) <= close
        name = f"{PREFIX}{layer}.bias"
        assert ulps_off(after[name], before[name].double() + 0.7 * weight(before[name].shape, 91).double()) <= 0.51


def test_a_lora_that_makes_a_weight_grow_is_refused(tmp_path: Path) -> None:
    """ComfyUI widens the layer; a checkpoint with it would be another model."""
    name = KOHYA[f"{BLOCK}.attn1.to_q"]
    tensors = named(name, factors((32, 40), 4)) | {f"{name}.reshape_weight": torch.tensor([32, 40])}
    a, output = write(tmp_path / "a.safetensors", tensors), tmp_path / "out.safetensors"
    with pytest.raises(CheckpointError, match=r"a.safetensors makes tensor .*to_q.weight larger, which wo"):
        bake(base(tmp_path), stack((a, 1.0)), output)
    assert not output.exists()
    same = named(name, factors((32, 32), 4)) | {f"{name}.reshape_weight": torch.tensor([32, 32])}
    assert bake(base(tmp_path), stack((write(a, same), 1.0)), output).changed == 1


def test_what_turns_out_not_to_fit_is_refused_in_words(tmp_path: Path) -> None:
    """One block for all columns, 5 wide, tells nothing of the layer that it is for."""
    a, output = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    write(a, {f"{TO_Q}.oft_R.weight": torch.ones(1, 10)})
    with pytest.raises(CheckpointError, match=r"attn1.to_q.weight cannot be changed: OFT"):
        bake(base(tmp_path), stack((a, 1.0)), output)
    assert not output.exists()
    assert not leftovers(tmp_path)


WIDTH = 32


def sdxl(folder: Path, dtype: torch.dtype) -> Path:
    """Text encoders as SDXL checkpoints have them: CLIP-L split, CLIP-G with one weight for q, k and v."""
    tensors = unet(dtype)
    first = "conditioner.embedders.0.transformer.text_model.encoder.layers.0.self_attn"
    second = "conditioner.embedders.1.model.transformer.resblocks.0"
    tensors |= {
        f"{first}.{part}_proj.weight": weight((24, 24), n, dtype) for n, part in enumerate(("q", "k", "v", "out"))
    }
    tensors |= {
        f"{second}.attn.in_proj_weight": weight((3 * WIDTH, WIDTH), 60, dtype),
        f"{second}.attn.in_proj_bias": weight((3 * WIDTH,), 61, dtype),
        f"{second}.attn.out_proj.weight": weight((WIDTH, WIDTH), 62, dtype),
        f"{second}.mlp.c_fc.weight": weight((4 * WIDTH, WIDTH), 63, dtype),
    }
    return write(folder / "sdxl.safetensors", tensors)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32"])
@pytest.mark.parametrize("parts", ["qkv", "q", "k", "v", "qv"])
def test_q_k_and_v_land_in_their_thirds(tmp_path: Path, dtype: str, parts: str) -> None:
    kind = DTYPES[dtype]
    checkpoint, output = sdxl(tmp_path, kind), tmp_path / "out.safetensors"
    layer = "text_model_encoder_layers_0_self_attn"
    rows, expected = [], {}
    fused = "conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_weight"
    before = read(checkpoint)
    reference = before[fused].double()
    for seed, strength in ((1, 0.8), (2, -0.5)):
        tensors: Parts = {}
        for number, part in enumerate("qkv"):
            if part in parts:
                made = factors((WIDTH, WIDTH), 4, seed=10 * seed + number, alpha=1)
                tensors |= named(f"lora_te2_{layer}_{part}_proj", made)
                third = slice(number * WIDTH, (number + 1) * WIDTH)
                reference[third] += strength * delta(made, (WIDTH, WIDTH))
        other = factors((24, 24), 4, seed=10 * seed + 5)
        tensors |= named(f"lora_te1_{layer}_q_proj", other)
        expected.setdefault("te1", []).append((strength, other))
        rows.append((write(tmp_path / f"{seed}.safetensors", tensors), 0.0, strength))
    bake(checkpoint, stack(*rows), output)
    after = read(output)
    assert ulps_off(after[fused], reference) <= 0.51
    for number, part in enumerate("qkv"):
        third = slice(number * WIDTH, (number + 1) * WIDTH)
        assert same_bits(before[fused][third], after[fused][third]) == (part not in parts)
    first = "conditioner.embedders.0.transformer.text_model.encoder.layers.0.self_attn.q_proj.weight"
    assert ulps_off(after[first], sum_of(before[first], expected["te1"])) <= 0.51


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F8_E4M3"])
@pytest.mark.parametrize("piece", [7, 300, 1000, 40 * WIDTH + 1])
def test_pieces_make_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, piece: int) -> None:
    """Pieces that end inside a third, pieces of single rows, and pieces of less than a row; also of convolutions."""
    checkpoint = sdxl(tmp_path, DTYPES[dtype])
    a, output, other = (tmp_path / f"{name}.safetensors" for name in ("a", "out", "other"))
    tensors: Parts = {}
    for number, part in enumerate("qv"):
        layer = f"lora_te2_text_model_encoder_layers_0_self_attn_{part}_proj"
        tensors |= named(layer, factors((WIDTH, WIDTH), 4, seed=number))
    for number, (native, shape) in enumerate(UNET_SHAPES.items()):
        tensors |= named(KOHYA[native], factors(shape, 4, seed=number, tucker=shape[2:] == (3, 3)))
    write(a, tensors)
    calls: list[tuple[int, int]] = []
    bake(checkpoint, stack((a, 0.8)), output)
    monkeypatch.setattr("lorchestra.apply.bake._PIECE", piece)
    bake(checkpoint, stack((a, 0.8)), other, progress=lambda done, total: calls.append((done, total)))
    assert output.read_bytes() == other.read_bytes()
    total = read_header(checkpoint).file_size - read_header(checkpoint).data_start
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert len(calls) > 20


def test_an_offset_on_the_second_dimension(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No checkpoint of today needs it; ComfyUI's maps may give one."""
    from lorchestra.architectures.sites import Site

    shape = (16, 24, 3, 3)
    checkpoint = write(tmp_path / "base.safetensors", {"x.weight": weight(shape)})
    site = Site("x.weight", (16, 8, 3, 3), Place((1, 8, 8)))
    monkeypatch.setattr("lorchestra.apply.bake.checkpoint.targets", lambda shapes: {"model": {"x": site}})
    monkeypatch.setattr("lorchestra.apply.bake._PIECE", 500)
    parts = factors((16, 8, 3, 3), 4)
    a, output = write(tmp_path / "a.safetensors", named("unet.x", parts)), tmp_path / "out.safetensors"
    bake(checkpoint, stack((a, 0.8)), output)
    before, after = read(checkpoint)["x.weight"], read(output)["x.weight"]
    assert ulps_off(after[:, 8:16], sum_of(before[:, 8:16], [(0.8, parts)])) <= 0.51
    assert same_bits(before[:, :8], after[:, :8])
    assert same_bits(before[:, 16:], after[:, 16:])


def test_rows_that_do_nothing_give_a_copy_and_open_no_file(tmp_path: Path) -> None:
    checkpoint, output, none = base(tmp_path), tmp_path / "out.safetensors", tmp_path / "none.safetensors"
    rows = [(none, 0.0), Entry(str(none), on=False, model=1.0), (none, 0.5), (none, -0.5)]
    result = bake(checkpoint, stack(*rows), output)
    assert result.changed == 0
    before, after = read(checkpoint), read(output)
    assert before.keys() == after.keys()
    assert all(same_bits(before[name], after[name]) for name in before)


def test_copies_and_links_of_one_file_are_one_file(tmp_path: Path) -> None:
    a, copy, link = (tmp_path / f"{name}.safetensors" for name in ("a", "copy", "link"))
    lora(a, 1)
    shutil.copy(a, copy)
    link.symlink_to(a)
    checkpoint = base(tmp_path, torch.float32)
    outputs = [tmp_path / f"out{n}.safetensors" for n in range(3)]
    bake(checkpoint, stack((a, 0.5), (copy, 0.25), (link, -0.125)), outputs[0])
    bake(checkpoint, stack((link, -0.125), (copy, 0.25), (a, 0.5)), outputs[1])
    bake(checkpoint, stack((a, 0.625)), outputs[2])
    assert len({output.read_bytes() for output in outputs}) == 1


def test_two_files_with_one_header_that_change_names(tmp_path: Path) -> None:
    a, b, spare = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "spare"))
    lora(a, 1), lora(b, 2)
    checkpoint = base(tmp_path, torch.float64)
    outputs = [tmp_path / f"out{n}.safetensors" for n in range(2)]
    bake(checkpoint, stack((a, 0.5), (b, -0.7)), outputs[0])
    a.rename(spare)
    b.rename(a)
    spare.rename(b)
    bake(checkpoint, stack((b, 0.5), (a, -0.7)), outputs[1])
    first, second = (read(output) for output in outputs)
    assert all(same_bits(first[name], second[name]) for name in first)


def test_the_rest_of_the_file_stays(tmp_path: Path) -> None:
    """Metadata, the order of the tensors, dtypes, and every byte of tensors that no LoRA is for."""
    a = tmp_path / "a.safetensors"
    write(a, named(KOHYA[f"{BLOCK}.attn1.to_q"], factors((32, 32), 4)))
    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    result = bake(checkpoint, stack((a, 0.5)), output)
    assert (result.output, result.changed) == (str(output), 1)
    old, new = read_header(checkpoint), read_header(output)
    assert list(new.tensors.items()) == list(old.tensors.items())
    metadata = dict(new.metadata)
    baked = json.loads(metadata.pop(METADATA_KEY))
    assert metadata == old.metadata
    assert baked == [{"sha256": read_sha256(a), "name": "a.safetensors", "model": 0.5, "clip": 0.5}]
    assert new.data_start % 8 == 0
    changed = old.tensors[f"{PREFIX}{BLOCK}.attn1.to_q.weight"]
    before, after = checkpoint.read_bytes()[old.data_start :], output.read_bytes()[new.data_start :]
    assert before[: changed.start] == after[: changed.start]
    assert before[changed.end :] == after[changed.end :]
    assert before != after


def test_a_second_bake_is_added_to_the_record(tmp_path: Path) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    lora(a, 1), lora(b, 2)
    first, second, copy = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "third"))
    bake(base(tmp_path), stack((a, 0.5)), first)
    bake(first, stack((b, -1.0, 0.25)), second)
    bake(second, stack(), copy)
    rows = read_baked(read_header(second))
    assert [(row["name"], row["model"], row["clip"]) for row in rows] == [
        ("a.safetensors", 0.5, 0.5),
        ("b.safetensors", -1.0, 0.25),
    ]
    assert read_baked(read_header(copy)) == rows


def test_what_has_no_place_in_the_base_is_not_on_record(tmp_path: Path) -> None:
    """A LoRA for a text encoder, and a base without one."""
    checkpoint, output = write(tmp_path / "base.safetensors", unet()), tmp_path / "out.safetensors"
    a = write(tmp_path / "a.safetensors", named("lora_te_text_model_x", factors((4, 4), 1)))
    result = bake(checkpoint, stack((a, 1.0)), output)
    assert result.changed == 0
    assert read_baked(read_header(output)) == []


@pytest.mark.parametrize("record", ["", "oops", "{}", "null", "[" * 100_000])
def test_a_record_that_is_none_does_not_stop_a_bake(tmp_path: Path, record: str) -> None:
    checkpoint = write(tmp_path / "base.safetensors", unet(), {METADATA_KEY: record})
    lora(tmp_path / "a.safetensors", 1)
    bake(checkpoint, stack((tmp_path / "a.safetensors", 0.5)), tmp_path / "out.safetensors")
    assert len(read_baked(read_header(tmp_path / "out.safetensors"))) == 1


def test_a_header_with_half_a_surrogate_pair(tmp_path: Path) -> None:
    """Cut in the middle of an emoji: JSON allows it, UTF-8 does not."""
    checkpoint = write(tmp_path / "base.safetensors", unet(), {"comment": "\ud83d", "emoji": "🎻"})
    bake(checkpoint, stack(), tmp_path / "out.safetensors")
    metadata = read_header(tmp_path / "out.safetensors").metadata
    assert (metadata["comment"], metadata["emoji"]) == ("\ud83d", "🎻")


GOOD_PARTS = factors((32, 32), 4)
TO_Q = KOHYA[f"{BLOCK}.attn1.to_q"]
BAD_LORAS: dict[str, tuple[Parts, type[LorchestraError], str]] = {
    "up without down": ({f"{TO_Q}.lora_up.weight": torch.ones(32, 4)}, AdapterError, f"module {TO_Q}: the up half is"),
    "NaN": (
        named(TO_Q, {**GOOD_PARTS, "up": torch.full((32, 4), float("nan"))}),
        AdapterError,
        f"module {TO_Q}: the up tensor has NaN or infinite values",
    ),
    "infinite": (
        named(TO_Q, {**GOOD_PARTS, "down": torch.full((4, 32), float("inf"))}),
        AdapterError,
        f"module {TO_Q}: the down tensor has NaN or infinite values",
    ),
    "alpha is NaN": (
        named(TO_Q, {**GOOD_PARTS, "alpha": torch.tensor(float("nan")).bfloat16()}),
        AdapterError,
        f"module {TO_Q}: the alpha tensor has NaN or infinite values",
    ),
    "ranks differ": (named(TO_Q, {**GOOD_PARTS, "up": torch.ones(32, 5)}), AdapterError, "rank 5, the down half has"),
    "another algorithm": ({f"{TO_Q}.vera_lambda_b": torch.ones(32)}, AdapterError, "VeRA cannot be applied"),
    "another model": (named(TO_Q, factors((64, 32), 4)), StackError, "0 of 1 modules fit this model"),
    "no LoRA": ({"x": torch.ones(1)}, AdapterError, "none of its 1 tensors is named like a LoRA's"),
    "too strong": (
        named(TO_Q, {**GOOD_PARTS, "alpha": torch.tensor(1e9)}),
        CheckpointError,
        f"tensor {PREFIX}{BLOCK}.attn1.to_q.weight would not be finite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("case", BAD_LORAS)
def test_a_lora_that_cannot_be_used_leaves_nothing_behind(tmp_path: Path, case: str, existing: bool) -> None:
    """The error names file, module and reason; an output that was there before is as it was, even with force."""
    tensors, kind, reason = BAD_LORAS[case]
    good = tmp_path / "good.safetensors"
    lora(good, 1)
    bad = write(tmp_path / "bad.safetensors", tensors)
    checkpoint, output = base(tmp_path), tmp_path / "sub" / "out.safetensors"
    output.parent.mkdir()
    if existing:
        output.write_text("precious")
    with pytest.raises(kind) as error:
        bake(checkpoint, stack((good, 0.5), (bad, 1.0)), output, force=existing)
    assert reason in str(error.value)
    if kind is AdapterError:
        assert str(error.value).startswith(str(bad))
    assert [path.read_text() for path in output.parent.iterdir()] == (["precious"] if existing else [])


@pytest.mark.parametrize("case", ["truncated", "empty", "a directory", "a symlink loop", "missing"])
def test_files_that_cannot_be_read_leave_nothing_behind(tmp_path: Path, case: str) -> None:
    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    bad = tmp_path / "bad.safetensors"
    if case == "truncated":
        lora(bad, 1)
        bad.write_bytes(bad.read_bytes()[:-9])
    elif case == "empty":
        bad.touch()
    elif case == "a directory":
        bad.mkdir()
    elif case == "a symlink loop":
        bad.symlink_to(bad.name)
    for files in ((checkpoint, bad), (bad, bad)):
        with pytest.raises(HeaderError, match=r"bad.safetensors: "):
            bake(files[0], stack((files[1], 1.0)), output)
    assert not output.exists()
    assert not leftovers(tmp_path)


class Stop(BaseException):
    """Something that is no Exception, as KeyboardInterrupt."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop, MemoryError, RuntimeError])
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("is_named", [False, True], ids=["unnamed", "named"])
def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException], force: bool, is_named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system has files without a name, and elsewhere."""
    if is_named:
        monkeypatch.setattr("lorchestra.files.new_file._UNNAMED", None)
    checkpoint, output, a = base(tmp_path), tmp_path / "out.safetensors", tmp_path / "a.safetensors"
    lora(a, 1)
    if force:
        output.write_text("precious")
    calls = 0

    def progress(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        assert leftovers(tmp_path) or not is_named
        if calls == 5:
            raise error

    with pytest.raises(error):
        bake(checkpoint, stack((a, 0.5)), output, force=force, progress=progress)
    assert not leftovers(tmp_path)
    assert output.exists() == force
    assert not force or output.read_text() == "precious"


WAITING = """
import json, os, signal, sys, time
import lorchestra.apply.bake
from lorchestra.cli import main

def wait(*arguments):
    print("in the middle", flush=True)
    time.sleep(60)

lorchestra.apply.bake.add_updates = wait
for line in sys.stdin:
    errors, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        # a process that was started in the background, or with nohup, ignores these
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        sys.exit(main(arguments))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Each line has a process of its own, a copy of this one: torch takes seconds to load."""


@pytest.fixture(scope="module")
def waiting() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WAITING]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.terminate()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, name: str, waiting: subprocess.Popen[str]) -> None:
    checkpoint, output, a = base(tmp_path), tmp_path / "out.safetensors", tmp_path / "a.safetensors"
    errors = tmp_path / "errors.txt"
    lora(a, 1)
    arguments = ["bake", str(checkpoint), "--lora", f"{a}=0.5", "-o", str(output)]
    assert waiting.stdin is not None and waiting.stdout is not None
    waiting.stdin.write(json.dumps([str(errors), arguments]) + "\n")
    waiting.stdin.flush()
    number, said = sorted(waiting.stdout.readline() for _ in range(2))  # two processes say them
    assert said == "in the middle\n"
    os.kill(int(number), getattr(signal, name))
    code = int(waiting.stdout.readline())
    if name == "SIGKILL":
        assert code == -signal.SIGKILL
        if not can_be_unnamed(tmp_path):
            pytest.skip("files have names here from the beginning")
    else:
        assert code == 130
        assert errors.read_text().splitlines()[-1] == "lorchestra: interrupted"
    assert not output.exists()
    assert not leftovers(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are not bytes")
def test_any_name_will_do_in_any_locale(tmp_path: Path) -> None:
    """Accents, a line break, and bytes that are not UTF-8; what is written can be read by others."""
    checkpoint, output = base(tmp_path), tmp_path / "ö.safetensors"
    command: list[str | bytes | Path] = [sys.executable, "-m", "lorchestra", "bake", checkpoint, "-o", output]
    names = ("é ü.safetensors".encode(), b"a\nb.safetensors", b"\xe9.safetensors")
    for seed, name in enumerate(names):
        lora(path := tmp_path / os.fsdecode(name), seed)
        command += ["--lora", os.fsencode(path) + b"=0.5"]
    variables = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, env=variables, check=False)
    assert done.returncode == 0, done.stderr
    record = read_baked(read_header(output))
    assert sorted(row["name"] for row in record) == sorted(name.decode("utf-8", "replace") for name in names)
    assert load_file(output)


def can_be_unnamed(folder: Path) -> bool:
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except (AttributeError, OSError):
        return False
    return True


def test_a_full_disk(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    from lorchestra.files import new_file as module

    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    real = os.fdopen

    def full(handle: int, mode: str) -> object:
        os.close(handle)
        return open("/dev/full", mode, buffering=0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.os, "fdopen", full)
        with pytest.raises(CheckpointError, match=r"out.safetensors: the file cannot be written \(No space left"):
            bake(checkpoint, stack(), output)
    assert os.fdopen is real
    assert not output.exists()
    assert not leftovers(tmp_path)


def test_an_existing_file_is_replaced_with_force_alone(tmp_path: Path) -> None:
    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    output.write_text("precious")
    with pytest.raises(CheckpointError, match="exists already; use --force"):
        bake(checkpoint, stack(), output)
    assert output.read_text() == "precious"
    bake(checkpoint, stack(), output, force=True)
    assert read_header(output).tensors == read_header(checkpoint).tensors


def test_a_file_that_comes_while_we_bake_is_not_replaced(tmp_path: Path) -> None:
    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    with pytest.raises(CheckpointError, match="exists already; use --force"):
        bake(checkpoint, stack(), output, progress=lambda done, total: output.write_text("precious") and None)
    assert output.read_text() == "precious"
    assert not leftovers(tmp_path)


def test_a_link_without_a_target_is_an_existing_file(tmp_path: Path) -> None:
    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    output.symlink_to("nowhere")
    with pytest.raises(CheckpointError, match="exists already"):
        bake(checkpoint, stack(), output)
    assert output.is_symlink()


def test_with_force_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    checkpoint, output, target = base(tmp_path), tmp_path / "out.safetensors", tmp_path / "target"
    target.write_text("precious")
    output.symlink_to(target)
    bake(checkpoint, stack(), output, force=True)
    assert target.read_text() == "precious"
    assert not output.is_symlink()


@pytest.mark.parametrize("how", ["same path", "symlink", "hard link", "other path"])
@pytest.mark.parametrize("which", ["base", "lora", "lora that is off", "lora at 0"])
def test_the_files_that_are_read_are_never_written(tmp_path: Path, how: str, which: str) -> None:
    checkpoint, a = base(tmp_path), tmp_path / "a.safetensors"
    lora(a, 1)
    source = checkpoint if which == "base" else a
    content = source.read_bytes()
    output = tmp_path / "out.safetensors"
    if how == "same path":
        output = source
    elif how == "symlink":
        output.symlink_to(source)
    elif how == "hard link":
        os.link(source, output)
    else:
        output = tmp_path / ".." / tmp_path.name / source.name
    entry = Entry(str(a), on=which != "lora that is off", model=0.0 if which == "lora at 0" else 0.5)
    with pytest.raises(CheckpointError, match="this is the base or one of the LoRAs"):
        bake(checkpoint, stack(entry), output, force=True)
    assert source.read_bytes() == content
    assert not leftovers(tmp_path)


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    checkpoint = base(tmp_path)
    (tmp_path / "folder").mkdir()
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    cases: dict[str, tuple[Path, str]] = {
        "a folder": (tmp_path / "folder", "this is a directory"),
        "no folder": (tmp_path / "none" / "out.safetensors", "does not exist"),
        "under a file": (checkpoint / "out.safetensors", "does not exist"),
        "under a loop": (loop / "out.safetensors", "the file cannot be written"),
        "a long name": (tmp_path / ("x" * 300), "the file cannot be written"),
        "a NUL": (tmp_path / "a\0b", "cannot be the name of a file"),
        "half a surrogate pair": (tmp_path / "\ud83d", "cannot be the name of a file"),
    }
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        cases["a pipe"] = (tmp_path / "pipe", "a device or a pipe")
        cases["a device"] = (Path(os.devnull), "a device or a pipe")
    for output, reason in cases.values():
        with pytest.raises(CheckpointError, match=reason):
            bake(checkpoint, stack(), output, force=True)
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("length", [40, 200, 255 - len(".safetensors")])
def test_names_may_be_as_long_as_the_system_allows(tmp_path: Path, length: int) -> None:
    output = tmp_path / ("ü" * ((length - 1) // 2) + ".safetensors")
    bake(base(tmp_path), stack(), output)
    assert output.exists()


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_may_not_be_written(mode: int) -> None:
    with public_folder() as folder:
        checkpoint, closed = base(folder), folder / "closed"
        closed.mkdir()
        with locked(closed, mode), pytest.raises(CheckpointError, match=r"out.safetensors: the file cannot be written"):
            bake(checkpoint, stack(), closed / "out.safetensors")
        assert not leftovers(folder)


def test_files_that_may_not_be_read() -> None:
    with public_folder() as folder:
        checkpoint, a = base(folder), folder / "a.safetensors"
        lora(a, 1)
        for path in (checkpoint, a):
            with locked(path, 0), pytest.raises(HeaderError, match=rf"{path.name}: .*permission denied"):
                bake(checkpoint, stack((a, 1.0)), folder / "out.safetensors")


def test_the_output_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    output = tmp_path / "out.safetensors"
    bake(base(tmp_path), stack(), output)
    other = tmp_path / "other"
    other.touch()
    assert output.stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("suffix", [".scale_weight", ".weight_scale", ".comfy_quant", ".weight_scale_2"])
def test_a_scaled_weight_is_refused_where_a_lora_changes_it(tmp_path: Path, suffix: str) -> None:
    """Its numbers are not the weight itself; other layers of such a checkpoint can be changed."""
    scaled = f"{PREFIX}{BLOCK}.attn1.to_q"
    checkpoint = base(tmp_path, torch.float8_e4m3fn, {scaled + suffix: torch.ones(())})
    a, b, output = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "out"))
    write(a, named(TO_Q, factors((32, 32), 4)))
    write(b, named(KOHYA[f"{BLOCK}.attn2.to_k"], factors((32, 24), 4)))
    with pytest.raises(CheckpointError, match=rf"{checkpoint}: tensor {scaled}.weight is quantized \(F8_E4M3\)"):
        bake(checkpoint, stack((a, 0.5), (b, 0.5)), output)
    assert not output.exists()
    bake(checkpoint, stack((b, 0.5)), output)
    assert output.exists()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32], ids=str)
def test_an_integer_weight_is_refused_where_a_lora_changes_it(tmp_path: Path, dtype: torch.dtype) -> None:
    name = f"{PREFIX}{BLOCK}.attn1.to_q.weight"
    checkpoint = write(tmp_path / "base.safetensors", {**unet(), name: torch.ones(32, 32).to(dtype)})
    a = write(tmp_path / "a.safetensors", named(TO_Q, factors((32, 32), 4)))
    with pytest.raises(
        CheckpointError, match=r"the model's weights are quantized \((int8|packed into bytes|packed into integers)\)"
    ):
        bake(checkpoint, stack((a, 0.5)), tmp_path / "out.safetensors")
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2"])
def test_a_result_that_is_not_finite_is_refused(tmp_path: Path, dtype: str) -> None:
    """Two LoRAs of opposite infinities would make NaN; a model with one NaN draws black pictures."""
    checkpoint = base(tmp_path, DTYPES[dtype])
    huge = {**factors((32, 32), 1), "alpha": torch.tensor(1e308, dtype=torch.float64)}
    a = write(tmp_path / "a.safetensors", named(TO_Q, huge))
    with pytest.raises(CheckpointError, match="would not be finite"):
        bake(checkpoint, stack((a, 100.0)), tmp_path / "out.safetensors")
    assert not leftovers(tmp_path)


def test_the_base_changes_while_we_bake(tmp_path: Path) -> None:
    checkpoint, output = base(tmp_path), tmp_path / "out.safetensors"
    other = write(tmp_path / "x", unet(torch.bfloat16))

    def replace(done: int, total: int) -> None:
        if other.exists():
            other.replace(checkpoint)

    with pytest.raises(CheckpointError, match=r"base.safetensors: the file changed while it was read"):
        bake(checkpoint, stack(), output, progress=replace)
    checkpoint = base(tmp_path)

    def cut(done: int, total: int) -> None:
        os.truncate(checkpoint, 2000)

    with pytest.raises(CheckpointError, match=r"base.safetensors: the file became shorter"):
        bake(checkpoint, stack(), output, progress=cut)
    assert not output.exists()
    assert not leftovers(tmp_path)


def test_a_lora_changes_while_we_bake(tmp_path: Path) -> None:
    checkpoint, output, a = base(tmp_path), tmp_path / "out.safetensors", tmp_path / "a.safetensors"
    lora(a, 1)
    lora(tmp_path / "x", 2)

    def replace(done: int, total: int) -> None:
        if (tmp_path / "x").exists():
            (tmp_path / "x").replace(a)

    with pytest.raises(AdapterError, match=r"a.safetensors: .*the file changed after it was opened"):
        bake(checkpoint, stack((a, 1.0)), output, progress=replace)
    assert not leftovers(tmp_path)


def test_the_safetensors_library_reads_what_we_write(tmp_path: Path) -> None:
    from safetensors import safe_open

    a, output = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    lora(a, 1)
    bake(base(tmp_path), stack((a, 0.5)), output)
    with safe_open(output, framework="pt") as file:
        assert METADATA_KEY in file.metadata()
        assert file.get_tensor("last.step") == 7


LARGE = """
import resource, sys
from lorchestra.cli import main

code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured in kilobytes on Linux")
def test_peak_memory_stays_under_a_gigabyte_and_a_half(tmp_path: Path) -> None:
    """A checkpoint of 1 GB, half of it one tensor as large as those of FLUX.2, and eight LoRAs on it."""
    name = f"{PREFIX}double_blocks.0.img_mlp.0"
    shape = (36864, 6144)
    end, rest = 2 * shape[0] * shape[1], 550_000_000
    header = {f"{name}.weight": {"dtype": "BF16", "shape": shape, "data_offsets": [0, end]}}
    header["other.weight"] = {"dtype": "F16", "shape": [rest // 2], "data_offsets": [end, end + rest]}
    text = json.dumps(header).encode()
    checkpoint, output = tmp_path / "base.safetensors", tmp_path / "out.safetensors"
    with checkpoint.open("wb") as file:  # zeros that take no room
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end + rest)
    arguments = ["bake", str(checkpoint), "-o", str(output)]
    layers = [factors(shape, 16, seed=seed, dtype=torch.float16) for seed in range(8)]
    for seed, parts in enumerate(layers):
        path = write(tmp_path / f"{seed}.safetensors", named("diffusion_model.double_blocks.0.img_mlp.0", parts))
        arguments += ["--lora", f"{path}=0.5"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LARGE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    peak = int(done.stdout.splitlines()[-1]) * 1024
    assert peak < 1.5e9
    with output.open("rb") as file:
        file.seek(read_header(output).data_start + 2 * shape[1] * 30_000)
        values = torch.frombuffer(bytearray(file.read(2 * shape[1])), dtype=torch.bfloat16).reshape(1, -1)
    cut = [(0.5, {"up": parts["up"][30_000:30_001], "down": parts["down"]}) for parts in layers]
    assert ulps_off(values, sum_of(torch.zeros(1, shape[1]), cut)) <= 0.51
    checkpoint.unlink()
    output.unlink()
