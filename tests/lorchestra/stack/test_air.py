"""AIRs are taken apart, and what only looks like one is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.stack.air import Air, find_air

FULL = Air("civitai", "120096", "135931", "sdxl", "lora")


@pytest.mark.parametrize(
    ("text", "air"),
    [
        ("civitai:120096@135931", Air("civitai", "120096", "135931")),
        ("runware:z-image@turbo", Air("runware", "z-image", "turbo")),
        ("runware:kandinsky-5.0-image-lite@1", Air("runware", "kandinsky-5.0-image-lite", "1")),
        ("civitai:120096", Air("civitai", "120096")),
        ("urn:air:sdxl:lora:civitai:120096@135931", FULL),
        ("air:sdxl:lora:civitai:120096@135931", FULL),
        ("URN:AIR:sdxl:lora:civitai:120096@135931", FULL),
        ("sdxl:lora:civitai:120096@135931", FULL),
        ("urn:air:sdxl:lora:civitai:120096@135931.safetensors", FULL),
        ("urn:air:sdxl:lora:civitai:1@2+3", Air("civitai", "1", "2", "sdxl", "lora", "3")),
        ("urn:air:sdxl:lora:civitai:1@2+3.safetensors", Air("civitai", "1", "2", "sdxl", "lora", "3")),
        ("urn:air:flux1:lora:huggingface:owner/name@main", Air("huggingface", "owner/name", "main", "flux1", "lora")),
    ],
)
def test_finds(text: str, air: Air) -> None:
    assert find_air(text) == air


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pixel",
        "pixel.safetensors",
        "styles/pixel.safetensors",
        "styles\\pixel.safetensors",
        "C:/loras/a.safetensors",
        "C:\\loras\\a.safetensors",
        "C:/loras/a@2.safetensors",
        "https://civitai.com/api/download/models/135931",
        "109395@84321",
        "civitai:",
        ":1@2",
        "civitai:1@",
        "civitai: 1@2",
        "civitai:1@2\n",
        "сivitai:1@2",  # a Cyrillic letter
        "civitai:" + "1" * 600,
    ],
)
def test_finds_none(text: str) -> None:
    assert find_air(text) is None


WORD = st.text("abcXYZ019-_", min_size=2, max_size=8)


@given(WORD, WORD, WORD)
def test_short_form_is_an_air(source: str, identifier: str, version: str) -> None:
    air = find_air(f"urn:air:sdxl:lora:{source}:{identifier}@{version}")
    assert air is not None
    assert air.short == f"{source}:{identifier}@{version}"
    assert find_air(air.short) == Air(source, identifier, version)


@given(st.text(max_size=600) | st.text("urnai:@+./-_19 ", max_size=40))
def test_never_raises(text: str) -> None:
    air = find_air(text)
    assert air is None or air.short
