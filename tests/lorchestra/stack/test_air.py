"""AIRs are taken apart, and what only looks like one is not."""

from __future__ import annotations

from dataclasses import replace

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
        ("urn:air:sdxl:lora:civitai:120096@135931.safetensors", replace(FULL, format="safetensors")),
        ("urn:air:sdxl:lora:civitai:120096@135931.safetensor", replace(FULL, format="safetensor")),
        ("urn:air:sdxl:lora:civitai:120096@135931:unet.ckpt", replace(FULL, format="ckpt", layer="unet")),
        ("urn:air:model:huggingface:stabilityai/sdxl-vae", Air("huggingface", "stabilityai/sdxl-vae", type="model")),
        ("lora:civitai:1@2", Air("civitai", "1", "2", type="lora")),
        ("sdxl:civitai:1@2", Air("civitai", "1", "2", "sdxl")),
        ("urn:air:sdxl:lora:orchestrator:job-1@a_b.safetensors",
         Air("orchestrator", "job-1", "a_b", "sdxl", "lora", format="safetensors")),
        ("urn:air:sdxl:lora:civitai:1@2+3", Air("civitai", "1", "2", "sdxl", "lora", "3")),
        ("urn:air:sdxl:lora:civitai:1@2+3.safetensors", Air("civitai", "1", "2", "sdxl", "lora", "3", "safetensors")),
        ("urn:air:flux1:lora:huggingface:owner/name@main", Air("huggingface", "owner/name", "main", "flux1", "lora")),
    ],
)  # fmt: skip
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
        "civitai:1@2:layer:more",
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


@pytest.mark.parametrize(
    "text",
    [
        "urn:air:sdxl:lora:civitai:120096@135931",
        "urn:air:sdxl:checkpoint:civitai:827184@2514310+2402203",
        "urn:air:sdxl:lora:civitai:1@2+3.safetensors",
        "urn:air:flux1:lora:huggingface:owner/name",
        "urn:air:sd1:model:civitai:1@2:unet.ckpt",
    ],
)
def test_the_long_form_comes_back_as_it_was(text: str) -> None:
    air = find_air(text)
    assert air is not None and air.urn == text


def test_there_is_no_long_form_of_what_is_not_known() -> None:
    assert Air("civitai", "1", "2").urn is None and Air("civitai", "1", "2", "sdxl").urn is None


@pytest.mark.parametrize(
    ("air", "page"),
    [
        (FULL, "https://civitai.com/models/120096?modelVersionId=135931"),
        (Air("civitai", "120096"), "https://civitai.com/models/120096"),
        (Air("huggingface", "owner/name", "main"), "https://huggingface.co/owner/name"),
        (Air("huggingface", "../x"), None),
        (Air("civitai", "a/b"), None),
        (Air("runware", "101", "1"), None),
    ],
)
def test_the_page_to_get_it_from(air: Air, page: str | None) -> None:
    assert air.page == page


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("civitai:1@2", "urn:air:sdxl:lora:CivitAI:1@2", True),
        ("civitai:1", "civitai:1@2", True),
        ("civitai:1@2", "civitai:1@3", False),
        ("civitai:1@2", "runware:1@2", False),
        ("urn:air:pony:lycoris:civitai:1@2", "urn:air:sdxl:lora:civitai:1@2", True),
        ("urn:air:sdxl:checkpoint:civitai:1@2", "urn:air:sdxl:lora:civitai:1@2", False),
        ("civitai:1@2+3", "civitai:1@2+4", False),
        ("civitai:1@2+3", "civitai:1@2", True),
    ],
)
def test_two_identifiers_of_one_thing(one: str, other: str, same: bool) -> None:
    first, second = find_air(one), find_air(other)
    assert first and second
    assert first.names(second) is second.names(first) is same


@given(st.text(max_size=600) | st.text("urnai:@+./-_19 ", max_size=40))
def test_never_raises(text: str) -> None:
    air = find_air(text)
    assert air is None or air.short
