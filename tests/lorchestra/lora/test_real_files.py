"""LoRAs that people trained, in a folder beside the repository; without it these tests are skipped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support import unet_table
from support.exact import sum_of, ulps_off
from support.lora_files import read, weight, write

from lorchestra.apply.bake import bake
from lorchestra.architectures.sites import model_sites
from lorchestra.cli import main
from lorchestra.lora.cache import open_lora
from lorchestra.lora.numbers import read_summary
from lorchestra.models.placing import place
from lorchestra.stack import Entry, Stack

FOLDER = Path(__file__).resolve().parents[4] / "shared" / "loras"
DIFFUSERS = FOLDER / "catundchat_sd15_diffusers.safetensors"
NUMBERED = FOLDER / "cloneofsimo_disney_sd15.safetensors"
SD15 = {native: shape for native, _, shape in unet_table.rows(unet_table.SD15)}

pytestmark = pytest.mark.skipif(
    not (DIFFUSERS.is_file() and NUMBERED.is_file()), reason="the real LoRA files (../shared/loras) are not here"
)


def test_all_128_modules_find_their_place_in_sd_15() -> None:
    file = open_lora(DIFFUSERS)
    placement = place(
        file.reading.modules, {"model": model_sites({f"{name}.weight": (name, shape) for name, shape in SD15.items()})}
    )
    assert placement.fitting == "128 of 128 modules"
    expected = {native for native in SD15 if ".attn" in native}
    assert {item.site.key for item in placement.placed} == expected
    assert len(expected) == 128


def test_none_of_its_cross_attention_fits_sd_2() -> None:
    sites = model_sites({f"{native}.weight": (native, shape) for native, _, shape in unet_table.rows(unet_table.SD21)})
    placement = place(open_lora(DIFFUSERS).reading.modules, {"model": sites})
    assert len(placement.misshapen) == 32  # k and v of 16 cross-attention layers
    assert all(reason.endswith("1024]") for _, reason in placement.misshapen)


def test_summaries() -> None:
    result = read_summary(DIFFUSERS)
    assert (result.modules, result.tensors, result.without_alpha) == (128, 256, 128)
    assert result.spellings == {"diffusers attention processors": 128}
    assert result.rank is not None
    assert (result.rank.minimum, result.rank.maximum) == (4, 4)
    assert not result.leftovers
    numbered = read_summary(NUMBERED)
    assert (numbered.modules, numbered.tensors, numbered.leftovers) == (192, 386, ())
    assert numbered.spellings == {"cloneofsimo numbers": 192}
    assert numbered.components == {"model": 144, "te": 48}


def test_inspect_shows_both(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(DIFFUSERS), str(NUMBERED)]) == 0
    shown = capsys.readouterr().out
    assert "modules     128 (model 128)" in shown
    assert "spelling    cloneofsimo numbers 192" in shown
    assert main(["inspect", "--json", str(DIFFUSERS), str(NUMBERED)]) == 0
    assert [item["modules"] for item in json.loads(capsys.readouterr().out)] == [128, 192]


def test_every_number_finds_its_place_in_sd_15() -> None:
    modules = [module for module in open_lora(NUMBERED).reading.modules if module.component == "model"]
    sites = model_sites({f"{name}.weight": (name, shape) for name, shape in SD15.items()})
    placement = place(modules, {"model": sites})
    assert placement.fitting == "144 of 144 modules"
    expected = {native for native in SD15 if ".attn" in native or native.endswith(".ff.net.0.proj")}
    assert {item.site.key for item in placement.placed} == expected


def test_real_numbers_are_baked_exactly(tmp_path: Path) -> None:
    """Into the smallest layers of SD 1.5 that it changes, and the layers around them that tell where those are."""
    names = {name: shape for name, shape in SD15.items() if len(shape) > 1 and name.startswith("input_blocks.1.")}
    tensors = {
        f"model.diffusion_model.{name}.weight": weight(shape, number, torch.float16)
        for number, (name, shape) in enumerate(names.items())
    }
    base = write(tmp_path / "base.safetensors", tensors)
    result = bake(base, Stack((Entry(str(DIFFUSERS), model=0.8),)), tmp_path / "out.safetensors")
    assert result.changed == 8
    before, after, lora = read(base), read(tmp_path / "out.safetensors"), read(DIFFUSERS)
    block = "down_blocks.0.attentions.0.transformer_blocks.0"
    for attention in ("attn1", "attn2"):
        for part in ("q", "k", "v", "out"):
            start = f"{block}.{attention}.processor.to_{part}_lora"
            parts = {half: lora[f"{start}.{half}.weight"] for half in ("up", "down")}
            leaf = "to_out.0" if part == "out" else f"to_{part}"
            key = f"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.{attention}.{leaf}.weight"
            assert ulps_off(after[key], sum_of(before[key], [(0.8, parts)])) <= 0.51
