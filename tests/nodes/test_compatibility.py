"""The counts of `docs/compatibility.md`: what the running ComfyUI patches and what we place, on one small model."""

from __future__ import annotations

import datetime

import pytest

from lorchestra.architectures.signatures import find_signature
from tools import collect_signatures
from tools import compatibility as tool


@pytest.fixture(scope="module")
def counts() -> tool.Counts:
    return tool.count("koala_700m")


def test_lorchestra_places_every_layer(counts: tool.Counts) -> None:
    assert {spelling: count.ours for (_, spelling), count in counts.items()} == {
        spelling: count.layers for (_, spelling), count in counts.items()
    }


@pytest.mark.parametrize("spelling", ["kohya", "native", "kohya in diffusers' names", "LyCORIS LoKr"])
def test_comfyui_patches_what_it_reads(spelling: str, counts: tool.Counts) -> None:
    count = counts["koala_700m", spelling]
    assert count.comfyui == count.layers > 200


def test_comfyui_patches_nothing_of_raw_peft(counts: tool.Counts) -> None:
    assert counts["koala_700m", "raw PEFT"].comfyui == 0


def test_a_shape_that_does_not_fit_is_not_patched() -> None:
    signature = find_signature("koala_700m")
    assert signature
    judge = tool.Judge(collect_signatures.build(signature.shapes))
    layer, (out, inner) = next(item for item in signature.shapes.items() if item[0].endswith("proj_in.weight"))
    name = f"lora_unet_{layer.removesuffix('.weight').replace('.', '_')}"
    halves = {f"{name}.lora_down.weight": (4, inner), f"{name}.lora_up.weight": (out, 4)}
    assert judge.patched(halves, dict.fromkeys(halves, name)) == 1
    halves[f"{name}.lora_down.weight"] = (4, inner + 1)
    assert judge.patched(halves, dict.fromkeys(halves, name)) == 0
    magnitude = {**halves, f"{name}.lora_down.weight": (4, inner), f"{name}.lora_magnitude_vector": (out,)}
    assert judge.patched(magnitude, dict.fromkeys(magnitude, name)) == 0


def test_the_page_says_what_is_less() -> None:
    counts = {("sdxl", "kohya"): tool.Count(3, 3, 3), ("sdxl", "raw PEFT"): tool.Count(0, 2, 3)}
    text = tool.page(counts, ["newbie"], "0.33.0", datetime.date(2026, 1, 2))
    assert "| Stable Diffusion XL (`sdxl`) | 3 / 3 of 3 |" in text
    assert "**0 / 2 of 3**" in text
    assert "`sdxl`, raw PEFT: 2 of 3" in text
    assert "does not know these models: `newbie`" in text
