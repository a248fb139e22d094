"""MiniMax-H3's fused q, k and v, whose rows some trainers have head by head: merged, live, baked, converted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.algorithm_files import KINDS, MATRIX, made
from support.lora_files import read, weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.apply.fuse import Term, add_updates
from lorchestra.apply.live.geometry import Geometry
from lorchestra.apply.live.layer import LiveLayer
from lorchestra.apply.live.terms import LiveTerm
from lorchestra.architectures.sites import model_sites
from lorchestra.convert import convert
from lorchestra.errors import AdapterError, StackError
from lorchestra.lora.cache import open_lora
from lorchestra.lora.examined import read_examined
from lorchestra.models.placing import place
from lorchestra.stack import Entry, Stack

HEADS, WIDTH, INNER = 4, 4, 16
SHAPE = (3 * HEADS * WIDTH, INNER)
LAYERS = ("blocks.0", "token_refiner.blocks.0")
GROUPED = {"qkv_layout": "grouped"}
Metadata = Mapping[str, str] | None


def to_model(rows: Tensor) -> Tensor:
    """The formula of the issue: `[H, 3, D, in]` to `[3, H, D, in]`."""
    return rows.reshape(HEADS, 3, WIDTH, -1).transpose(0, 1).reshape(SHAPE)


def to_file(rows: Tensor) -> Tensor:
    return rows.reshape(3, HEADS, WIDTH, -1).transpose(0, 1).reshape(SHAPE)


def checkpoint(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    tensors = {"video_patch_proj.weight": weight((INNER, 8), 9, dtype)}
    for number, layer in enumerate(LAYERS):
        tensors[f"{layer}.attn.qkv_proj.weight"] = weight(SHAPE, number, dtype)
        tensors[f"{layer}.attn.q_norm.weight"] = torch.ones(WIDTH, dtype=dtype)
        tensors[f"{layer}.attn.k_norm.weight"] = torch.ones(WIDTH, dtype=dtype)
        tensors[f"{layer}.attn.out_proj.weight"] = weight((INNER, HEADS * WIDTH), 5 + number, dtype)
        tensors[f"{layer}.mlp.fc1.weight"] = weight((32, INNER), 7 + number, dtype)
    return write(folder / "h3.safetensors", {f"model.diffusion_model.{key}": value for key, value in tensors.items()})


def lora(path: Path, kind: str = "LoRA", metadata: Metadata = None, end: str = "", prefix: str = "") -> Path:
    """A file for every fused layer and another one; `end` is what PEFT puts before `.weight`."""
    tensors: dict[str, Tensor] = {}
    for number, layer in enumerate(LAYERS):
        for suffix, tensor in made(kind, SHAPE, number).items():
            tensors[f"{prefix}{layer}.attn.qkv_proj{renamed(suffix, end)}"] = tensor
        for suffix, tensor in made("LoRA", (INNER, HEADS * WIDTH), 3 + number).items():
            tensors[f"{prefix}{layer}.attn.out_proj{renamed(suffix, end)}"] = tensor
    if end:
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith(".alpha")}
    return write(path, tensors, metadata)


def renamed(suffix: str, end: str) -> str:
    if not end:
        return suffix
    return suffix.replace("lora_up", f"lora_B{end}").replace("lora_down", f"lora_A{end}")


def expected(layer: str, number: int, base: Mapping[str, Tensor], kind: str, by_head: bool, alpha: bool) -> Tensor:
    """The fused weight with the LoRA at 0.5, by the formula, in fp64."""
    start = base[f"model.diffusion_model.{layer}.attn.qkv_proj.weight"].double()
    parts = {end: tensor for end, tensor in made(kind, SHAPE, number).items() if alpha or end != ".alpha"}
    if not alpha:
        parts[".alpha"] = torch.tensor(4.0)  # the rank
    if not by_head:
        return start + 0.5 * KINDS[kind].delta(parts, start)
    return start + 0.5 * to_model(KINDS[kind].delta(parts, to_file(start)))


def baked(folder: Path, path: Path) -> dict[str, Tensor]:
    output = folder / "out.safetensors"
    bake(checkpoint(folder), Stack((Entry(str(path), True, 0.5),)).checked(), output, force=True)
    return read(output)


WRITTEN: list[tuple[str, str, Metadata, bool]] = [
    (".default", "", None, True),  # DiffSynth
    (".default", "pipe.dit.", None, True),
    (".default", "diffusion_model.", None, True),  # DiffSynth's, with a prefix put before it
    (".default", "", {"qkv_layout": "qkv"}, False),
    ("", "", {"key_format": "minimax-h3-native"}, True),  # FlashGen
    ("", "diffusion_model.", {"key_format": "minimax-h3-native", "qkv_layout": "contiguous"}, False),
    ("", "diffusion_model.", GROUPED, True),
    ("", "lora_unet_", {"qkv_layout": "per-head interleaved"}, True),
    ("", "", {"qkv_layout": "Interleaved"}, True),
    ("", "", None, False),  # larryvrh's
    ("", "diffusion_model.", {"format": "pt"}, False),  # ai-toolkit's
    ("", "diffusion_model.", {"key_format": "of tomorrow", "qkv_layout": "fused"}, False),
]


@pytest.mark.parametrize(("end", "prefix", "metadata", "by_head"), WRITTEN)
def test_which_files_are_head_by_head(tmp_path: Path, end: str, prefix: str, metadata: Metadata, by_head: bool) -> None:
    path = lora(tmp_path / "a.safetensors", "LoRA", metadata, end, prefix)
    file = open_lora(path)
    assert {module.by_head for module in file.reading.modules if "qkv" in module.name} == {by_head}
    assert not any(module.by_head for module in file.reading.modules if "qkv" not in module.name)
    base, after = read(checkpoint(tmp_path)), baked(tmp_path, path)
    for number, layer in enumerate(LAYERS):
        right = expected(layer, number, base, "LoRA", by_head, alpha=not end)
        found = after[f"model.diffusion_model.{layer}.attn.qkv_proj.weight"]
        assert torch.equal(found, right.float())


@pytest.mark.parametrize("kind", MATRIX)
def test_every_algorithm_is_baked_right(tmp_path: Path, kind: str) -> None:
    path = lora(tmp_path / "a.safetensors", kind, GROUPED)
    base, after = read(checkpoint(tmp_path)), baked(tmp_path, path)
    for number, layer in enumerate(LAYERS):
        right = expected(layer, number, base, kind, True, alpha=True)
        found = after[f"model.diffusion_model.{layer}.attn.qkv_proj.weight"].double()
        assert (found - right).abs().max() <= 2e-7 * right.abs().max()


@pytest.mark.parametrize("kind", MATRIX)
def test_every_algorithm_live_is_merged(tmp_path: Path, kind: str) -> None:
    file = open_lora(lora(tmp_path / "a.safetensors", kind, GROUPED))
    start = read(checkpoint(tmp_path))["model.diffusion_model.blocks.0.attn.qkv_proj.weight"]
    sites = model_sites({"blocks.0.attn.qkv_proj.weight": ("w", SHAPE), "blocks.0.attn.q_norm.weight": ("n", (WIDTH,))})
    placed = [item for item in place(file.reading.modules, {"model": sites}).placed if item.module.target == "weight"]
    assert [item.site.place.heads for item in placed] == [HEADS]
    adapter = file.adapter(placed[0].module)
    merged = add_updates(start.double().clone(), [(None, [Term(adapter, 0.5, heads=HEADS)])])
    right = start.double() + 0.5 * to_model(
        KINDS[kind].delta(made(kind, SHAPE, 0), to_file(start.double()))
    )  # fmt: skip
    assert (merged - right).abs().max() <= 1e-12 + 2e-7 * right.abs().max()
    x = torch.randn(3, 5, INNER, generator=torch.Generator().manual_seed(1))
    geometry = Geometry(SHAPE, has_bias=False)
    layer = LiveLayer([LiveTerm(adapter, 0, placed[0].site.place)], [], geometry, torch.float32)
    if layer.needs_base():
        layer.prepare(start, None)
    found = layer(x, x @ start.T, lambda values: values @ start.T, torch.tensor([0.5]), [True])
    assert (found.double() - x.double() @ merged.T).abs().max() <= 1e-5


@pytest.mark.parametrize("to", ["comfyui", "kohya"])
def test_a_converted_file_is_in_the_model_s_order(tmp_path: Path, to: str) -> None:
    path, output = lora(tmp_path / "a.safetensors", "LoRA", {**GROUPED, "title": "x"}), tmp_path / "c.safetensors"
    convert(path, output, to, architecture="minimax_h3", model=checkpoint(tmp_path))
    file = open_lora(output)
    assert not any(module.by_head for module in file.reading.modules)
    assert dict(file.header.metadata) == {"title": "x"}
    after = baked(tmp_path, path)
    again = baked(tmp_path, output)
    assert all(torch.equal(tensor, again[name]) for name, tensor in after.items())


def test_an_algorithm_whose_rows_cannot_be_reordered_is_not_converted(tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", "LoKr", GROUPED)
    with pytest.raises(AdapterError, match="cannot be taken apart by heads"):
        convert(path, tmp_path / "c.safetensors", "comfyui", architecture="minimax_h3", model=checkpoint(tmp_path))


def test_a_word_that_is_not_known_is_one_sentence_everywhere(tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", "LoRA", {"qkv_layout": "zigzag"})
    with pytest.raises(AdapterError, match="qkv_layout says 'zigzag', a word that is not known"):
        open_lora(path)
    problem = read_examined(path).problem
    assert problem is not None and "qkv_layout says 'zigzag'" in problem


def test_a_layer_whose_heads_cannot_be_counted_is_left_out_in_words(tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", "LoRA", GROUPED)
    odd = {"model.diffusion_model.blocks.0.attn.qkv_proj.weight": weight(SHAPE),
           "model.diffusion_model.blocks.0.attn.q_norm.weight": torch.ones(5)}  # fmt: skip
    base = write(tmp_path / "odd.safetensors", odd)
    with pytest.raises(StackError, match="how many heads this layer has is not known"):
        bake(base, Stack((Entry(str(path), True, 0.5),)).checked(), tmp_path / "out.safetensors")


def test_what_is_known_is_told(tmp_path: Path) -> None:
    path = lora(tmp_path / "a.safetensors", "LoRA", {"key_format": "of tomorrow", "base_schedule": "[1.0, 0.9, 0.0]"})
    warnings = read_examined(path).warnings
    assert "made for the sigmas [1.0, 0.9, 0.0]: set the sampler so" in warnings
    assert "its metadata entry key_format says 'of tomorrow', which is not known; it is read by its names" in warnings
    told = read_examined(lora(tmp_path / "b.safetensors", end=".default")).warnings
    assert "its q, k and v stand head by head, and are brought to the model's order" in told
