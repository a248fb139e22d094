"""The words of Civitai, Runware and A1111, both ways."""

from __future__ import annotations

import pytest

from lorchestra.architectures.ecosystems import (
    ECOSYSTEMS,
    find_a1111,
    find_by_a1111,
    find_by_base_model,
    find_by_ecosystem,
    find_by_runware,
    find_ecosystem,
    find_runware,
)
from lorchestra.architectures.names import ARCHITECTURES, title

IDS = {row.id for row in ARCHITECTURES}


def test_every_row_is_about_architectures_that_there_are() -> None:
    assert all(set(row.architectures) <= IDS for row in ECOSYSTEMS)
    words = [word for row in ECOSYSTEMS for word in (row.word, *row.aliases)]
    assert len(words) == len(set(words))
    bases = [word for row in ECOSYSTEMS for word in row.base_models]
    assert len(bases) == len(set(bases))


@pytest.mark.parametrize("architecture", sorted({one for row in ECOSYSTEMS for one in row.architectures}))
def test_there_and_back(architecture: str) -> None:
    word = find_ecosystem(architecture)
    assert word and architecture in find_by_ecosystem(word)
    runware, a1111 = find_runware(architecture), find_a1111(architecture)
    assert runware is None or architecture in find_by_runware(runware)
    assert a1111 is None or architecture in find_by_a1111(a1111)


@pytest.mark.parametrize(
    ("architecture", "base_model", "word"),
    [
        ("sdxl", None, "sdxl"),
        ("sdxl", "Pony", "sdxl"),  # Civitai's ecosystem is the root of the family
        ("auraflow", "Pony V7", "auraflow"),
        ("flux1_dev", None, "flux1"),
        ("flux1_dev", "Flux.1 Kontext", "flux1kontext"),
        ("flux1_schnell", "Flux.1 S", "flux1"),
        ("sd35_medium", None, "sd3_5m"),
        ("z_image", "ZImageBase", "zimagebase"),
        ("wan21_t2v_14b", "Wan Video 2.2 T2V-A14B", "wanvideo-22-t2v-a14b"),
        ("wan21_t2v_14b", None, "wanvideo"),
        ("ltx2_19b", "LTXV 2.3", "ltxv23"),
        ("sdxl", "no such word", "sdxl"),
        ("seedvr2_3b", None, None),
    ],
)
def test_what_is_written(architecture: str, base_model: str | None, word: str | None) -> None:
    assert find_ecosystem(architecture, base_model) == word


@pytest.mark.parametrize(
    ("word", "first"),
    [("sd1", "sd15"), ("SD15", "sd15"), ("pony", "sdxl"), ("NoobAI", "sdxl"), ("flux", "flux1_dev"), ("other", None)],
)
def test_what_is_read_in_airs(word: str, first: str | None) -> None:
    assert (find_by_ecosystem(word)[:1] or (None,))[0] == first


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("sd1x", "sd15"),
        ("sd-1-5", "sd15"),
        ("flux1d", "flux1_dev"),
        ("flux-1-dev", "flux1_dev"),
        ("fluxkontextdev", "flux1_dev"),
        ("illustrious", "sdxl"),
        ("qwen_image", "qwen_image"),
        ("z-image-turbo", "z_image"),
    ],
)
def test_what_is_read_of_runware(word: str, first: str) -> None:
    assert find_by_runware(word)[0] == first, title(first)


def test_a1111_and_base_models() -> None:
    assert [find_a1111(one) for one in ("sd15", "sd21", "sdxl", "sd35_large", "flux1_dev", "krea2")] == [
        "SD1", "SD2", "SDXL", "SD3", "Flux", None,
    ]  # fmt: skip
    assert find_by_a1111("Unknown") == () and find_by_base_model("Other") == ()
    assert find_by_base_model("Illustrious")[0] == "sdxl" and find_by_base_model("SDXL 1.0")[0] == "sdxl"
    assert find_by_base_model("Wan Video 14B i2v 720p") == ("wan21_i2v_14b",)
