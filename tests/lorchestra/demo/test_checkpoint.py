"""The demo's checkpoint and LoRAs: real names and widths, and every LoRA fits."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from support import unet_table
from support.exact import same_bits, sum_of, ulps_off
from support.lora_files import read

from lorchestra.algorithms.lora import LoRA
from lorchestra.apply.bake import bake
from lorchestra.architectures.unet import diffusers_names
from lorchestra.demo.checkpoint import UNET_PREFIX, checkpoint_shapes, unet_shapes, write_checkpoint
from lorchestra.demo.loras import SPELLINGS, Spelling, factors, layers, write_lora
from lorchestra.errors import LorchestraError
from lorchestra.files.header import read_header
from lorchestra.lora.cache import open_lora
from lorchestra.models.checkpoint import targets
from lorchestra.models.placing import place
from lorchestra.stack import Entry, Stack

SMALL = unet_table.Unet(320, (1, 1), (1, 1), 1, 768, False, blocks=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The UNet alone."""
    path = tmp_path_factory.mktemp("demo") / "unet.safetensors"
    return write_checkpoint(path, clip=False, vae=False)


def test_the_unet_is_built_as_the_real_one() -> None:
    expected = {f"{native}.weight": shape for native, _, shape in unet_table.rows(SMALL)}
    assert {name: shape for name, shape in unet_shapes().items() if name.endswith(".weight")} == expected


def test_the_file_holds_what_it_says(checkpoint: Path) -> None:
    header = read_header(checkpoint)
    shapes = {UNET_PREFIX + name: shape for name, shape in unet_shapes().items()}
    assert {name: info.shape for name, info in header.tensors.items()} == shapes
    assert checkpoint_shapes(clip=False, vae=False) == shapes
    assert {info.dtype for info in header.tensors.values()} == {"F16"}
    assert 85e6 < header.file_size < 95e6
    assert all(torch.isfinite(tensor).all() for tensor in read(checkpoint).values())


def test_all_parts_have_names_of_their_own() -> None:
    whole = checkpoint_shapes()
    assert whole.keys() > checkpoint_shapes(clip=False).keys()
    assert 480e6 < 2 * sum(math.prod(shape) for shape in whole.values()) < 520e6
    found = targets(whole)
    assert {"model", "te", "te1", "text_encoders", "text_encoders:clip_l"} == set(found)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_fits_and_says_the_same(tmp_path: Path, checkpoint: Path, spelling: Spelling) -> None:
    """The same numbers whatever the spelling: alpha is folded in where a spelling has no words for it."""
    chosen = layers("*attn1.to_*", "text_model.*.0.self_attn.*_proj")
    path = write_lora(tmp_path / "x.safetensors", chosen, spelling, rank=4, alpha=2, seed=3, dtype=torch.float32)
    file = open_lora(path)
    placement = place(file.reading.modules, targets(checkpoint_shapes()))
    assert placement.fitting == f"{len(chosen)} of {len(chosen)} modules"
    for item in placement.placed:
        native = item.site.key.removeprefix(UNET_PREFIX).removeprefix("cond_stage_model.transformer.")
        parts = factors(native.removesuffix(".weight"), item.site.shape, 4, seed=3)
        lora = file.adapter(item.module)
        assert isinstance(lora, LoRA)
        torch.testing.assert_close(lora.up * lora.scale, parts["up"] * 0.5)
        assert same_bits(lora.down, parts["down"])


def test_a_spelling_that_lacks_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LorchestraError, match="attention layers only"):
        write_lora(tmp_path / "x", layers("*in_layers.2"), "diffusers-processor")
    with pytest.raises(LorchestraError, match="kohya"):
        write_lora(tmp_path / "x", layers("*in_layers.2"), "peft", tucker=True)
    assert not (tmp_path / "x").exists()


def test_tucker_and_locon_are_baked_exactly_into_real_widths(tmp_path: Path, checkpoint: Path) -> None:
    chosen = layers("input_blocks.1.0.*_layers.[23]")
    paths = [
        write_lora(
            tmp_path / f"{tucker}.safetensors", chosen, rank=8, alpha=4, seed=4, tucker=tucker, dtype=torch.float32
        )
        for tucker in (False, True)
    ]
    output = tmp_path / "out.safetensors"
    result = bake(checkpoint, Stack(tuple(Entry(str(path), model=0.5) for path in paths)), output)
    assert result.changed == len(chosen) == 2
    before, after = read(checkpoint), read(output)
    for name, shape in chosen.items():
        updates = []
        for tucker in (False, True):
            parts = factors(name, shape, 8, seed=4, tucker=tucker)
            updates.append((0.5, {**parts, "alpha": torch.tensor(4.0)}))
        key = f"{UNET_PREFIX}{name}.weight"
        assert ulps_off(after[key], sum_of(before[key], updates)) <= 0.51


def test_diffusers_words_for_all_layers() -> None:
    names = [name.removesuffix(".weight") for name in unet_shapes() if name.endswith(".weight")]
    assert diffusers_names(names) == {native: words for native, words, _ in unet_table.rows(SMALL)}
