"""Names and shapes of GGUF files; broken ones are refused with a reason, quickly and in little memory."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.gguf_files import ARRAY, Q4_0, STRING, UINT32, array, entry, gguf, original_shape, tensor, text

from lorchestra.errors import CheckpointError
from lorchestra.files.gguf import MAX_ENTRIES, MAX_STRINGS, MAX_TENSORS, read_gguf

U64 = struct.Struct("<Q").pack
FLOAT64, BOOL = 12, 7
METADATA = [
    entry("general.architecture", STRING, text("flux")),
    entry("general.alignment", UINT32, struct.pack("<I", 64)),
    entry("a.bool", BOOL, b"\1"),
    entry("a.float", FLOAT64, bytes(8)),
    entry("tokens", ARRAY, array(STRING, [text("ä"), text(""), text("x" * 200)])),
    entry("scores", ARRAY, array(UINT32, [bytes(4)] * 100)),
    entry("nested", ARRAY, array(ARRAY, [array(UINT32, [bytes(4)]), array(STRING, [text("a")])])),
    original_shape("c.weight", (4, 3, 2, 2)),
]
TENSORS = [
    tensor("a.weight", (6, 4)),
    tensor("b.weight", (64, 32), kind=Q4_0),
    tensor("c.weight", (48,)),
    tensor("d", ()),
    tensor("ü.weight", (1, 2, 3, 4, 5)),
    tensor("new.weight", (2, 2), kind=999),
]
SHAPES = {
    "a.weight": (6, 4),
    "b.weight": (64, 32),
    "c.weight": (4, 3, 2, 2),
    "d": (),
    "ü.weight": (1, 2, 3, 4, 5),
    "new.weight": (2, 2),
}


def put(folder: Path, content: bytes, name: str = "x.gguf") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_reads_logical_shapes_in_torch_s_order(tmp_path: Path, version: int) -> None:
    path = put(tmp_path, gguf(TENSORS, METADATA, version=version))
    header = read_gguf(path)
    assert header.path == str(path)
    assert dict(header.shapes) == SHAPES
    assert 0 <= path.stat().st_size - 64 - header.size < 32


def test_a_file_without_tensors(tmp_path: Path) -> None:
    assert dict(read_gguf(put(tmp_path, gguf(data=0))).shapes) == {}


def test_only_the_header_is_read(tmp_path: Path) -> None:
    path = put(tmp_path, gguf({"a": (2,)}))
    with path.open("ab") as file:
        file.truncate(1 << 40)  # a sparse terabyte
    assert dict(read_gguf(path).shapes) == {"a": (2,)}


def nested(depth: int) -> bytes:
    value = array(UINT32, [])
    for _ in range(depth):
        value = array(ARRAY, [value])
    return value


REFUSALS = (
    ("empty", b"", "ends in the format's name"),
    ("another format", b"PK\3\4" + bytes(60), "not a GGUF file"),
    ("version 1", gguf(version=1), "version 1 is not supported"),
    ("version 4", gguf(version=4), "version 4 is not supported"),
    ("version 0", gguf(version=0), "version 0 is not supported"),
    ("big-endian", b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    ("cut in the counts", gguf()[:15], "the file ends in the number of tensors"),
    ("cut in a name", gguf([U64(999)], data=0), "the file ends in the name of a tensor"),
    ("cut in a tensor", gguf({"abcdefgh": (2, 2)}, data=0)[:60], "truncated"),
    ("tensor data is missing", gguf({"a": (2, 2)}, data=0), "begins at byte 0 of the data but the file holds 0"),
    ("tensor beyond the end", gguf([tensor("a", (2, 2), 2**63)]), "truncated"),
    ("too many tensors", gguf(counts=(MAX_TENSORS + 1, 0)), "above the limit"),
    ("too many entries", gguf(counts=(0, 2**64 - 1)), "above the limit"),
    ("more tensors than bytes", gguf(counts=(MAX_TENSORS, 0)), "more than the file has room for"),
    ("more entries than bytes", gguf(counts=(0, MAX_ENTRIES)), "more than the file has room for"),
    ("long name", gguf([U64(2**63)], data=999), "the name of a tensor claims"),
    ("long key", gguf(entries=[U64(70_000)], data=99_999), "the name of a metadata entry claims 70,000"),
    ("name is not UTF-8", gguf([tensor(b"\xff", (1,))]), "not UTF-8"),
    ("name twice", gguf([tensor("a", (1,))] * 2), "tensor 'a' is there twice"),
    ("many dimensions", gguf([tensor("a", (1,) * 9)]), "9 dimensions"),
    ("a length of 2**63", gguf([tensor("a", (2**63,))]), "impossible shape"),
    ("unknown type", gguf(entries=[entry("a", 13, bytes(8))]), "unknown type 13"),
    ("unknown type in a list", gguf(entries=[entry("a", ARRAY, array(13, []))]), "list of the unknown type 13"),
    ("long string", gguf(entries=[entry("a", STRING, U64(2**64 - 1))]), "more than the file has"),
    ("long list", gguf(entries=[entry("a", ARRAY, struct.pack("<IQ", UINT32, 2**64 - 1))]), "more than the file has"),
    ("list of strings", gguf(entries=[entry("a", ARRAY, struct.pack("<IQ", STRING, 2**64 - 1))]), "strings"),
    ("deep lists", gguf(entries=[entry("a", ARRAY, nested(9))]), "nested more than"),
    ("alignment 0", gguf(entries=[entry("general.alignment", UINT32, bytes(4))]), "no power of two"),
    ("alignment 48", gguf(entries=[entry("general.alignment", UINT32, struct.pack("<I", 48))]), "no power of two"),
    ("alignment of text", gguf(entries=[entry("general.alignment", STRING, text("a"))]), "not a UINT32"),
    ("original shape of text", gguf(entries=[entry("comfy.gguf.orig_shape.a", STRING, text("a"))]), "list of 1 to 8"),
    ("original shape of nothing", gguf({"a": (1,)}, [original_shape("a", ())]), "list of 1 to 8"),
    ("original shape is long", gguf({"a": (1,)}, [original_shape("a", [1] * 9)]), "list of 1 to 8"),
    ("original shape differs", gguf({"a": (6,)}, [original_shape("a", (2, 2))]), "cannot have had the shape (2, 2)"),
    ("original shape is negative", gguf({"a": (4,)}, [original_shape("a", (-2, -2))]), "cannot have had"),
    ("cut in an original shape", gguf(entries=[original_shape("a", (2, 2))])[:70], "truncated"),
)


@pytest.mark.parametrize(("content", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refuses_with_file_and_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = put(tmp_path, content)
    with pytest.raises(CheckpointError) as caught:
        read_gguf(path)
    assert caught.value.file == str(path)
    assert reason in caught.value.reason


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    for name, reason in (("", "a directory"), ("none", "no such file"), ("a\0b", "cannot be the name")):
        with pytest.raises(CheckpointError, match=reason):
            read_gguf(f"{tmp_path}/{name}")


@pytest.mark.skipif(os.name == "nt", reason="there are no pipes in folders")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.gguf")
    with pytest.raises(CheckpointError, match="not a regular file"):
        read_gguf(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    "make",
    [
        lambda: [entry("a", ARRAY, array(STRING, [text("")] * (MAX_STRINGS - 1)))],
        lambda: [entry("a", ARRAY, array(ARRAY, [array(STRING, [])] * (MAX_STRINGS - 1)))],
        lambda: [original_shape(f"{number}", [2**31 - 1 - number] * 8) for number in range(MAX_TENSORS)],
    ],
    ids=["strings", "lists", "shapes"],
)
def test_the_largest_header_is_read_in_little_memory_and_time(tmp_path: Path, make: Callable[[], list[bytes]]) -> None:
    entries = make()
    path = put(tmp_path, gguf({"a": (1,)}, entries))
    started = time.process_time()
    assert dict(read_gguf(path).shapes) == {"a": (1,)}
    assert time.process_time() - started < 20
    tracemalloc.start()
    try:
        if len(entries) > 1:  # tracing makes the others slow, and they hold nothing
            read_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()


@settings(deadline=None)
@given(cut=st.integers(0, 2_000), data=st.data())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, cut: int, data: st.DataObject
) -> None:
    content = bytearray(gguf(TENSORS, METADATA))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(4, len(content) - 8))
        new = data.draw(st.binary(min_size=1, max_size=8))
        content[at : at + len(new)] = new
    path = tmp_path_factory.getbasetemp() / "damaged.gguf"
    path.write_bytes(content[: max(0, len(content) - cut)])
    try:
        header = read_gguf(path)
    except CheckpointError as error:
        assert error.reason
    else:
        assert all(isinstance(length, int) and length >= 0 for shape in header.shapes.values() for length in shape)


@settings(deadline=None)
@given(content=st.binary(max_size=200))
def test_noise_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.gguf"
    path.write_bytes(b"GGUF\3\0\0\0" + content)
    try:
        read_gguf(path)
    except CheckpointError as error:
        assert error.reason


def test_agrees_with_the_gguf_package(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("gguf")
    path = tmp_path / "x.gguf"
    writer = library.GGUFWriter(path, "flux")
    writer.add_array("tokenizer.ggml.tokens", ["a", "ä", ""])
    writer.add_array("tokenizer.ggml.scores", [1.0] * 3)
    writer.add_array("comfy.gguf.orig_shape.c.weight", [4, 3, 2, 2])
    writer.add_tensor("a.weight", numpy.zeros((6, 4), "float32"))
    writer.add_tensor(
        "b.weight", numpy.zeros((64, 18), "uint8"), raw_dtype=library.GGMLQuantizationType.Q4_0
    )  # a block of 32 has 18 bytes
    writer.add_tensor("c.weight", numpy.zeros(48, "float16"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    shapes = dict(read_gguf(path).shapes)
    assert shapes.pop("c.weight") == (4, 3, 2, 2)
    theirs = {item.name: tuple(int(n) for n in reversed(item.shape)) for item in library.GGUFReader(path).tensors}
    assert theirs.pop("c.weight") == (48,)
    assert shapes == theirs == {"a.weight": (6, 4), "b.weight": (64, 32)}
