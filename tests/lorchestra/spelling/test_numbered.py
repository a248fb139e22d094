"""cloneofsimo's numbers: the layers in the order of diffusers' UNet, and nothing where the widths do not agree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from lorchestra.files.header import Header, parse_header, read_header
from lorchestra.spelling.modules import read_modules
from lorchestra.spelling.numbered import SPELLING, real_names

Halves = list[tuple[tuple[int, ...], tuple[int, ...]]]

REAL = Path(__file__).resolve().parents[4] / "shared" / "loras" / "cloneofsimo_disney_sd15.safetensors"

BLOCKS = [  # as named_modules gives them: down, up, then the middle
    *[(f"down_blocks.{level}.attentions.{number}", 320 << level) for level in range(3) for number in range(2)],
    *[(f"up_blocks.{level}.attentions.{number}", 1280 >> (level - 1)) for level in range(1, 4) for number in range(3)],
    ("mid_block.attentions.0", 1280),
]


def header(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> Header:
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    position = 0
    for name, shape in shapes.items():
        size = 1
        for length in shape:
            size *= length
        entries[name] = {"dtype": "U8", "shape": shape, "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(entries).encode()
    return parse_header(text, path="x.safetensors", file_size=8 + len(text) + position)


def unet(context: int = 768, *, feed_forward: str = "second", attention: bool = True) -> dict[str, tuple[int, int]]:
    """Layer → (out, in) in the order of the numbers."""
    layers: dict[str, tuple[int, int]] = {}
    for block, width in BLOCKS:
        start = f"{block}.transformer_blocks.0"
        parts = {}
        for name, inner in (("attn1", width), ("attn2", context)):
            parts[name] = {
                f"{start}.{name}.to_q": (width, width),
                f"{start}.{name}.to_k": (width, inner),
                f"{start}.{name}.to_v": (width, inner),
                f"{start}.{name}.to_out.0": (width, width),
            }
        parts["ff"] = {f"{start}.ff.net.0.proj": (8 * width, width)}
        order = {"second": ("attn1", "ff", "attn2"), "last": ("attn1", "attn2", "ff"), "": ("attn1", "attn2")}
        for part in order[feed_forward]:
            if attention or part == "ff":
                layers |= parts[part]
    return layers


def clip(width: int, blocks: int) -> dict[str, tuple[int, int]]:
    return {
        f"text_model.encoder.layers.{block}.self_attn.{leaf}_proj": (width, width)
        for block in range(blocks)
        for leaf in ("k", "v", "q", "out")
    }


def numbered(part: str, layers: Mapping[str, tuple[int, int]], rank: int = 4) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (out, inner) in enumerate(layers.values()):
        shapes |= {f"{part}:{number}:up": (out, rank), f"{part}:{number}:down": (rank, inner)}
    return shapes


DEFAULT = '["GEGLU", "CrossAttention", "Attention"]'
CLIP = '["CLIPAttention"]'


@pytest.mark.parametrize(
    ("layers", "classes"),
    [
        (unet(), DEFAULT),
        (unet(1024), DEFAULT),
        (unet(feed_forward="last"), DEFAULT),
        (unet(feed_forward=""), '["CrossAttention", "Attention"]'),
        (unet(1024, feed_forward=""), '["Attention"]'),
        (unet(attention=False), '["GEGLU"]'),
    ],
)
def test_unets(layers: Mapping[str, tuple[int, int]], classes: str) -> None:
    names = real_names(header(numbered("unet", layers), {"unet": classes}))
    assert names == {
        f"unet:{number}:{half}": f"unet.{layer}.lora.{half}.weight"
        for number, layer in enumerate(layers)
        for half in ("up", "down")
    }


@pytest.mark.parametrize(("width", "blocks"), [(768, 12), (1024, 23), (1024, 24)])
def test_text_encoders(width: int, blocks: int) -> None:
    layers = clip(width, blocks)
    names = real_names(header(numbered("text_encoder", layers), {"text_encoder": CLIP}))
    assert [names[f"text_encoder:{number}:up"] for number in range(len(layers))] == [
        f"text_encoder.{layer}.lora.up.weight" for layer in layers
    ]


def test_convolutions_and_steps_of_the_extended_kind() -> None:
    """Numbers and shapes of a few layers as the trainer's own code gave them with diffusers 0.11.1."""
    known = {
        0: ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", (320, 320)),
        18: ("down_blocks.0.resnets.0.conv1", (320, 320, 3, 3)),
        19: ("down_blocks.0.resnets.0.time_emb_proj", (320, 1280)),
        45: ("down_blocks.1.resnets.0.conv_shortcut", (640, 320, 1, 1)),
    }
    from lorchestra.spelling import numbered as module

    layers = list(module._unet(frozenset({"CrossAttention", "Attention", "GEGLU", "ResnetBlock2D"}), 768, False))
    assert len(layers) == 224
    for number, (name, shape) in known.items():
        assert layers[number] == (name, shape[0], shape[1:])
    shapes = {}
    for number, (_, rows, inner) in enumerate(layers):
        ones = (1,) * (len(inner) - 1)
        shapes |= {f"unet:{number}:up": (rows, 1, *ones), f"unet:{number}:down": (1, *inner)}
    metadata = {"unet": '["ResnetBlock2D", "CrossAttention", "Attention", "GEGLU"]'}
    assert len(real_names(header(shapes, metadata))) == 448


def test_a_whole_file_is_read() -> None:
    shapes = numbered("unet", unet(), 1) | numbered("text_encoder", clip(768, 12), 2) | {"<s1>": (768,)}
    reading = read_modules(header(shapes, {"unet": DEFAULT, "text_encoder": CLIP, "<s1>": "<embed>"}))
    assert reading.spellings == {SPELLING: 192}
    assert reading.embeddings == ("<s1>",)
    assert not reading.leftovers
    assert {module.rank for module in reading.modules if module.component == "te"} == {2}
    first = next(module for module in reading.modules if module.slots["up"] == "unet:4:up")
    assert (first.path, first.out_features) == ("down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj", 2560)


def changed(**changes: tuple[int, ...] | None) -> dict[str, tuple[int, ...]]:
    shapes = numbered("unet", unet())
    for name, shape in changes.items():
        shapes.pop(name.replace("_", ":"))
        if shape:
            shapes[name.replace("_", ":")] = shape
    return shapes


@pytest.mark.parametrize(
    ("shapes", "metadata"),
    [
        (numbered("unet", unet()), {}),
        (numbered("unet", unet()), {"unet": "oops"}),
        (numbered("unet", unet()), {"unet": "[" * 100_000}),
        (numbered("unet", unet()), {"unet": '"GEGLU"'}),
        (numbered("unet", unet()), {"unet": '["CrossAttention", "Attention"]'}),
        (numbered("unet", unet()), {"unet": '["GEGLU", "CrossAttention", "SomethingElse"]'}),
        (numbered("unet", unet(640)), {"unet": DEFAULT}),
        (numbered("unet", dict(reversed(unet().items()))), {"unet": DEFAULT}),
        (changed(unet_143_up=None), {"unet": DEFAULT}),
        (changed(unet_70_up=None), {"unet": DEFAULT}),
        (changed(unet_70_up=(1281, 4)), {"unet": DEFAULT}),
        (changed(unet_70_up=(1280, 8)), {"unet": DEFAULT}),
        (changed(unet_70_up=(1280,)), {"unet": DEFAULT}),
        (changed(unet_70_down=(4,)), {"unet": DEFAULT}),
        (numbered("unet", unet()) | {"more": (1,)}, {"unet": DEFAULT}),
        (numbered("text_encoder", clip(768, 11)), {"text_encoder": CLIP}),
        (numbered("text_encoder", clip(768, 12)), {"text_encoder": "[]"}),
        (numbered("text_encoder", clip(1280, 32)), {"text_encoder": CLIP}),
        ({"x.lora_A.weight": (4, 4)}, {"unet": DEFAULT}),
    ],
)
def test_what_does_not_agree_has_no_names(shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, str]) -> None:
    assert real_names(header(shapes, metadata)) == {}


@pytest.mark.skipif(not REAL.is_file(), reason="the real LoRA files (../shared/loras) are not here")
def test_the_real_file() -> None:
    made = read_header(REAL)
    reading = read_modules(made)
    assert len(reading.modules) == 144 + 48
    assert reading.embeddings == ("<s1>", "<s2>")
    assert not reading.leftovers
    shapes = {f"unet.{name}": shape for name, shape in unet().items()}
    shapes |= {f"text_encoder.{name}": shape for name, shape in clip(768, 12).items()}
    assert {module.name: (module.out_features, *(module.in_shape or ())) for module in reading.modules} == shapes
