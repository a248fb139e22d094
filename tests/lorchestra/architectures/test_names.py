"""The architectures' names, families and text encoders."""

from __future__ import annotations

import pytest

from lorchestra.architectures.encoders import ENCODERS, find_encoder
from lorchestra.architectures.names import ARCHITECTURES, are_interchangeable, find_architecture, title

IDS = [architecture.id for architecture in ARCHITECTURES]


def test_ids_and_titles_are_there_once() -> None:
    assert len(set(IDS)) == len(IDS) == 77
    titles = [architecture.title for architecture in ARCHITECTURES]
    assert len(set(titles)) == len(titles)


def test_a_family_has_one_title_and_a_title_one_family() -> None:
    titles = {architecture.family: architecture.family_title for architecture in ARCHITECTURES}
    assert all(titles[row.family] == row.family_title for row in ARCHITECTURES)
    assert len(set(titles.values())) == len(titles)


def test_every_encoder_is_known_and_used() -> None:
    used = {name for row in ARCHITECTURES for names in row.encoders.values() for name in names}
    assert used == {encoder.id for encoder in ENCODERS}


def test_a_model_with_encoders_has_a_first_one() -> None:
    for row in ARCHITECTURES:
        assert not row.encoders or row.encoders["te"] == row.encoders["te1"], row.id


@pytest.mark.parametrize(
    ("architecture", "component", "encoders"),
    [
        ("sd15", "te", ("clip_l",)),
        ("sd21", "te", ("clip_h",)),
        ("sdxl", "te1", ("clip_l",)),
        ("sdxl", "te2", ("clip_g",)),
        ("sdxl_refiner", "te2", ("clip_g",)),
        ("flux1_dev", "te1", ("clip_l",)),
        ("flux1_dev", "te2", ("t5xxl",)),  # OneTrainer
        ("flux1_dev", "te3", ("t5xxl",)),  # kohya
        ("sd3_medium", "te3", ("t5xxl",)),
        ("chroma", "te1", ("t5xxl",)),  # OneTrainer
        ("hidream_i1", "te4", ("llama3_8b",)),  # OneTrainer
        ("hunyuan_video", "te1", ("llama3_8b", "clip_l")),
        ("anima", "te", ("qwen3_0_6b",)),
        ("lumina2", "te", ("gemma2_2b",)),
    ],
)
def test_components(architecture: str, component: str, encoders: tuple[str, ...]) -> None:
    row = find_architecture(architecture)
    assert row is not None
    assert row.encoders[component] == encoders


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("flux1_dev", "flux1_schnell", True),
        ("flux1_fill", "flux1_dev", True),
        ("wan21_t2v_14b", "wan22_i2v_14b", True),
        ("wan21_vace_1_3b", "wan21_t2v_1_3b", True),
        ("pixart_alpha", "pixart_sigma", True),
        ("hunyuan_video", "hunyuan_video_i2v", True),
        ("flux1_dev", "hunyuan_video", False),
        ("flux1_dev", "chroma", False),
        ("wan21_t2v_14b", "wan21_t2v_1_3b", False),
        ("ltxv_13b", "ltx2_19b", False),
        ("nobody", "nobody", True),
        ("nobody", "sd15", False),
    ],
)
def test_interchangeable(first: str, second: str, expected: bool) -> None:
    assert are_interchangeable(first, second) is are_interchangeable(second, first) is expected


def test_titles() -> None:
    assert title("sdxl") == "Stable Diffusion XL"
    assert title("a model of tomorrow") == "a model of tomorrow"
    assert find_architecture("a model of tomorrow") is None
    assert find_encoder("nobody") is None
