"""Trigger words are found in prompts as people write them."""

from __future__ import annotations

import time

import pytest

from lorchestra.workflow.words import is_said, joined, spoken


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("pixel art", "a cat, pixel art, 8-bit"),
        ("Pixel Art", "PIXEL_ART"),
        ("pixel_art", "pixel\n  art"),
        ("pixel art", "(pixel art:1.2), cat"),
        ("pixel art", "((pixel art)), [cat]"),
        ("pixel art", "[pixel art:0.5]"),
        ("(pixel art:0.8)", "pixel art"),
        ("hatsune miku (vocaloid)", r"hatsune miku \(vocaloid\), smile"),
        (r"hatsune miku \(vocaloid\)", "hatsune_miku (vocaloid)"),
        ("pixel art, 8-bit", "8-bit and pixel art"),
        ("pixel art,,", "pixel art"),
        ("8-bit", "8-bit"),
        ("c++", "c++"),
        ("像素", "一只猫，像素风格"),
        ("ohwx", "photo of ohwx man"),
        ("Straße", "STRASSE"),
    ],
)
def test_said(word: str, prompt: str) -> None:
    assert is_said(spoken(word), spoken(prompt))


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("pixel art", "pixel, art"),
        ("pixel art", "pixel arts"),
        ("art", "party"),
        ("pixel", "<lora:pixel:0.7>, a cat"),
        ("pixel art, 8-bit", "pixel art"),
        ("", "pixel art"),
        (" , ", "pixel art"),
        ("()", "pixel art"),
        ("pixel", ""),
    ],
)
def test_not_said(word: str, prompt: str) -> None:
    assert not is_said(spoken(word), spoken(prompt))


def test_joined_has_each_word_once() -> None:
    assert joined(["pixel art,", "8-bit", "Pixel  Art", " ", ",", "a, b"]) == "pixel art, 8-bit, a, b"


@pytest.mark.parametrize("text", ["(" * 100_000, ":1" * 50_000, "<lora:" * 20_000, "a_" * 50_000, ":" + "1" * 100_000])
def test_takes_no_time(text: str) -> None:
    start = time.process_time()
    assert not is_said("pixel", spoken(text))
    assert time.process_time() - start < 1
