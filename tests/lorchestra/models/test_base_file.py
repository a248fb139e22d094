"""Names and logical shapes of base models, however they are stored."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gguf_files import gguf

from lorchestra.errors import CheckpointError, FileProblem, HeaderError
from lorchestra.files.header import DTYPE_BITS
from lorchestra.models.base_file import MAX_INDEX_BYTES, BaseFile, read_base

Tensors = Mapping[str, tuple[str, tuple[int, ...]]]


def put(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Path:
    """A sparse safetensors file."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, (dtype, shape) in tensors.items():
        size = DTYPE_BITS[dtype]
        for length in shape:
            size *= length
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [position, position + size // 8]}
        position += size // 8
    text = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    return path


def put_index(path: Path, weights: object) -> Path:
    path.write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    return path


FIRST: Tensors = {"a.weight": ("F16", (4, 2)), "a.bias": ("F16", (4,))}
SECOND: Tensors = {"b.weight": ("F8_E4M3", (8, 4))}
SHAPES = {"a.weight": (4, 2), "a.bias": (4,), "b.weight": (8, 4)}
INDEX = {"a.weight": "x-1.safetensors", "a.bias": "x-1.safetensors", "b.weight": "x-2.safetensors"}


def summary(base: BaseFile) -> tuple[Mapping[str, object], bool, tuple[str, ...]]:
    return dict(base.shapes), base.renamed, base.notes


def test_a_plain_file(tmp_path: Path) -> None:
    path = put(tmp_path / "x.safetensors", {**FIRST, **SECOND})
    base = read_base(str(path))
    assert summary(base) == (SHAPES, False, ())
    assert (base.path, base.files) == (str(path), (str(path),))
    assert base.header_bytes == path.stat().st_size - 24 - 32
    assert base.packed == frozenset()


def test_a_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(gguf({"a.weight": (4, 2), "b": ()}))
    base = read_base(path)
    assert summary(base) == ({"a.weight": (4, 2), "b": ()}, False, ())
    assert 0 <= path.stat().st_size - 64 - base.header_bytes < 32


@pytest.mark.parametrize("number", [1, 2])
def test_any_shard_stands_for_all(tmp_path: Path, number: int) -> None:
    files = [tmp_path / f"x.fp16-0000{index}-of-00002.safetensors" for index in (1, 2)]
    for file, tensors in zip(files, (FIRST, SECOND), strict=True):
        put(file, tensors)
    base = read_base(files[number - 1])
    assert summary(base) == (SHAPES, False, ())
    assert base.files == tuple(map(str, files))


def test_shards_of_gguf(tmp_path: Path) -> None:
    for number, name in enumerate(("a", "b"), 1):
        (tmp_path / f"x-0000{number}-of-00002.gguf").write_bytes(gguf({name: (number,)}))
    assert summary(read_base(tmp_path / "x-00001-of-00002.gguf")) == ({"a": (1,), "b": (2,)}, False, ())


def test_an_index(tmp_path: Path) -> None:
    put(tmp_path / "x-1.safetensors", FIRST)
    put(tmp_path / "x-2.safetensors", SECOND)
    assert summary(read_base(put_index(tmp_path / "x.safetensors.index.json", INDEX))) == (SHAPES, False, ())


@pytest.mark.parametrize("place", [".", "transformer", "unet"])
def test_a_diffusers_folder_with_an_index(tmp_path: Path, place: str) -> None:
    folder = tmp_path / place
    put(folder / "x-1.safetensors", FIRST)
    put(folder / "x-2.safetensors", SECOND)
    put_index(folder / "model.safetensors.index.json", INDEX)
    (folder / "model.fp16.safetensors.index.json").write_text("{}")
    (tmp_path / "vae").mkdir(exist_ok=True)
    assert summary(read_base(tmp_path)) == (SHAPES, False, ())


def test_a_diffusers_folder_with_one_file(tmp_path: Path) -> None:
    put(tmp_path / "unet/model.fp16.safetensors", SECOND)
    put(tmp_path / "unet/model.safetensors", FIRST)
    assert dict(read_base(tmp_path).shapes) == {"a.weight": (4, 2), "a.bias": (4,)}


def test_a_folder_with_shards_alone(tmp_path: Path) -> None:
    put(tmp_path / "x-00001-of-00002.safetensors", FIRST)
    put(tmp_path / "x-00002-of-00002.safetensors", SECOND)
    assert dict(read_base(tmp_path).shapes) == SHAPES


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "x-00001-of-00003.safetensors", FIRST)
    with pytest.raises(CheckpointError, match=r"00002-of-00003.*in 3 files is missing"):
        read_base(path)
    put(tmp_path / "x-1.safetensors", FIRST)
    with pytest.raises(CheckpointError, match=r"x-2\.safetensors: this shard of a model in 2 files is missing"):
        read_base(put_index(tmp_path / "x.safetensors.index.json", INDEX))


def test_shards_must_not_contradict(tmp_path: Path) -> None:
    for number in (1, 2):
        put(tmp_path / f"x-0000{number}-of-00002.safetensors", FIRST)
        (tmp_path / f"x-0000{number}-of-00002.gguf").write_bytes(gguf({"a": (1,)}))
    for suffix in ("safetensors", "gguf"):
        with pytest.raises(CheckpointError, match="is in another shard, too"):
            read_base(tmp_path / f"x-00001-of-00002.{suffix}")


def test_the_index_must_be_right(tmp_path: Path) -> None:
    put(tmp_path / "x-1.safetensors", FIRST)
    path = put_index(tmp_path / "x.safetensors.index.json", {"b.weight": "x-1.safetensors"})
    with pytest.raises(CheckpointError, match=r"the index says that tensor 'b\.weight' is here"):
        read_base(path)


INDICES = (
    ("not JSON", "{", "not an index"),
    ("deep", "[" * 100_000, "not an index"),
    ("a list", "[]", "not an index"),
    ("no map", "{}", "not an index"),
    ("an empty map", '{"weight_map": {}}', "not an index"),
    ("a number", '{"weight_map": {"a": 1}}', "impossible file 1"),
    ("a path", '{"weight_map": {"a": "../x.safetensors"}}', "impossible file"),
    ("a full path", '{"weight_map": {"a": "C:\\\\x.safetensors"}}', "impossible file"),
    ("a pickle", '{"weight_map": {"a": "x.bin"}}', "impossible file"),
    ("a NUL", '{"weight_map": {"a": "\\u0000.safetensors"}}', "impossible file"),
    ("many files", json.dumps({"weight_map": {f"{n}": f"{n}.safetensors" for n in range(1001)}}), "more than 1,000"),
    ("huge", " " * (MAX_INDEX_BYTES + 1), "at most 16,000,000 are read"),
)


@pytest.mark.parametrize(("text", "reason"), [row[1:] for row in INDICES], ids=[row[0] for row in INDICES])
def test_a_broken_index_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "x.safetensors.index.json"
    path.write_text(text)
    with pytest.raises(CheckpointError) as caught:
        read_base(path)
    assert reason in caught.value.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none.safetensors", "no such file"),
        ("none.gguf", "no such file"),
        ("none.safetensors.index.json", "no such file"),
        ("a\0.safetensors", "cannot be the name"),
        ("", "neither an index of shards nor a .safetensors file"),
        ("x-00004-of-00003.safetensors", "shard 4 of 3"),
        ("x-00000-of-00003.safetensors", "shard 0 of 3"),
        ("x-00001-of-99999.safetensors", "shard 1 of 99,999"),
        ("x.ckpt", "pickle"),
        ("a" * 300 + ".safetensors", "name too long"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "x.ckpt").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileProblem) as caught:
        read_base(f"{tmp_path}/empty" if not name else f"{tmp_path}/{name}")
    assert reason.lower() in caught.value.reason.lower()


def test_a_broken_safetensors_header_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(HeaderError):
        read_base(tmp_path / "x.safetensors")


def quantization(layers: Mapping[str, object]) -> dict[str, str]:
    return {"_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}


SCALE: tuple[str, tuple[int, ...]] = ("F32", ())
BLOCKS = ("F8_E4M3", (128, 8))
FORMATS = (
    ("full width", {"a.weight": ("BF16", (3, 5, 1, 1))}, {}, (3, 5, 1, 1)),
    ("fp8", {"a.weight": ("F8_E5M2", (100, 68))}, {}, (100, 68)),
    ("scaled fp8", {"a.weight": ("F8_E4M3", (100, 68)), "a.scale_weight": SCALE, "scaled_fp8": SCALE}, {}, (100, 68)),
    ("ComfyUI's fp8", {"a.weight": ("F8_E4M3", (100, 68)), "a.weight_scale": SCALE}, {}, (100, 68)),
    ("fp8 as bytes", {"a.weight": ("U8", (100, 68))}, {"a": {"format": "float8_e4m3fn"}}, (100, 68)),
    ("bytes", {"a.weight": ("U8", (100, 68))}, {}, None),
    ("fp4 of the file format", {"a.weight": ("F4", (128, 64))}, {}, (128, 64)),
    ("mxfp8", {"a.weight": ("F8_E4M3", (128, 64)), "a.weight_scale": ("U8", (128, 2))}, {}, (128, 64)),
    ("mxfp8, padded", {"a.weight": ("F8_E4M3", (128, 96)), "a.weight_scale": ("F8_E8M0", (128, 3))}, {}, None),
    ("mxfp8 by metadata", {"a.weight": ("F8_E4M3", (128, 96))}, {"a": {"format": "mxfp8"}}, None),
    ("nvfp4", {"a.weight": ("U8", (128, 64)), "a.weight_scale": BLOCKS, "a.weight_scale_2": SCALE}, {}, (128, 128)),
    ("nvfp4, padded", {"a.weight": ("U8", (128, 40)), "a.weight_scale_2": SCALE}, {}, None),
    ("nvfp4 of experts", {"a.weight": ("U8", (8, 128, 64)), "a.weight_scale_2": ("F32", (8,))}, {}, None),
    ("nvfp4 by metadata", {"a.weight": ("U8", (64, 64))}, {"a": {"format": "nvfp4"}}, (64, 128)),
    ("int8, one scale", {"a.weight": ("I8", (100, 68)), "a.weight_scale": SCALE}, {}, (100, 68)),
    ("int8, scale a row", {"a.weight": ("I8", (100, 68)), "a.weight_scale": ("F32", (100, 1))}, {}, (100, 68)),
    ("int8 by metadata", {"a.weight": ("I8", (100, 68))}, {"a": {"format": "int8_tensorwise"}}, (100, 68)),
    ("int8 of bitsandbytes", {"a.weight": ("I8", (100, 68)), "a.SCB": ("F32", (100,))}, {}, (100, 68)),
    ("int8 alone", {"a.weight": ("I8", (100, 68))}, {}, None),
    ("int4, rotated", {"a.weight": ("I8", (100, 64)), "a.weight_scale": ("F32", (2, 100))}, {}, None),
    (
        "int4 by metadata",
        {"a.weight": ("I8", (9, 8)), "a.weight_scale": SCALE},
        {"a": {"format": "convrot_w4a4"}},
        None,
    ),
    ("int4, two scales", {"a.weight": ("I8", (9, 8)), "a.weight_s_rel": BLOCKS, "a.weight_scale": SCALE}, {}, None),
    ("NF4", {"a.weight": ("U8", (8192, 1)), "a.weight.quant_state.bitsandbytes__nf4": ("U8", (80,))}, {}, None),
)


@pytest.mark.parametrize(("tensors", "layers", "shape"), [row[1:] for row in FORMATS], ids=[row[0] for row in FORMATS])
def test_quantized_weights(
    tmp_path: Path, tensors: Tensors, layers: Mapping[str, object], shape: tuple[int, ...] | None
) -> None:
    base = read_base(put(tmp_path / "x.safetensors", tensors, quantization(layers) if layers else None))
    assert base.shapes["a.weight"] == shape
    assert base.packed == (frozenset() if shape else {"a.weight"})
    assert base.renamed is False
    assert len(base.notes) == (shape is None)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"layers": []}', '{"layers": {"a": 1, "b": {"format": 2}}}', "[" * 99_999]
)
def test_unreadable_quantization_metadata_is_left_aside(tmp_path: Path, text: str) -> None:
    base = read_base(put(tmp_path / "x.safetensors", FIRST, {"_quantization_metadata": text}))
    assert base.shapes["a.weight"] == (4, 2)


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("transformer_blocks.0.qkv_proj.qweight", "SVDQuant"),
        ("a.weight_packed", "compressed-tensors"),
        ("a.W_q", "HQQ"),
        ("a.weight._data", "quanto"),
    ],
)
def test_quantizations_that_rename_layers_are_told(tmp_path: Path, name: str, tool: str) -> None:
    base = read_base(put(tmp_path / "x.safetensors", {name: ("I8", (4, 2)), **FIRST}))
    assert base.renamed is True
    assert base.packed == {name}
    assert tool in base.notes[1]


@settings(deadline=None)
@given(content=st.binary(max_size=80), name=st.sampled_from(["x.safetensors", "x.gguf", "x.safetensors.index.json"]))
def test_noise_is_refused_in_words(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    with pytest.raises(FileProblem) as caught:
        read_base(path)
    assert caught.value.reason
