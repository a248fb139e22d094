"""Every way in which a safetensors header can be wrong is refused, with the file and the reason."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorchestra.errors import HeaderError
from lorchestra.files.header import DTYPE_BITS, MAX_HEADER_BYTES, parse_header, read_header

GOOD: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "a.lora_down.weight": {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]},
    "a.alpha": {"dtype": "F32", "shape": [], "data_offsets": [8, 12]},
}


def tensor(start: int, end: int, **changes: object) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end], **changes}


def to_bytes(header: object, data: int = 12) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def put(folder: Path, content: bytes, name: str = "x.safetensors") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_reads_names_shapes_dtypes_and_metadata(tmp_path: Path) -> None:
    path = put(tmp_path, to_bytes(GOOD))
    header = read_header(path)
    assert header.path == str(path)
    assert header.metadata == {"format": "pt"}
    info = header.tensors["a.lora_down.weight"]
    assert (info.dtype, info.shape, info.start, info.end) == ("F16", (2, 2), 0, 8)
    assert header.tensors["a.alpha"].shape == ()
    assert header.file_size == path.stat().st_size == header.data_start + 12


def test_agrees_with_the_safetensors_library(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    library = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "x.safetensors"
    arrays = {"b": numpy.zeros((3, 1), "float32"), "a": numpy.zeros((0, 4), "float16"), "c": numpy.zeros((), "int64")}
    library.save_file(arrays, path, metadata={"ä": "\n"})
    header = read_header(path)
    assert {name: info.shape for name, info in header.tensors.items()} == {"a": (0, 4), "b": (3, 1), "c": ()}
    assert header.metadata == {"ä": "\n"}


@pytest.mark.parametrize("size", [640, 768, 1024, 1280])
def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path: Path, size: int) -> None:
    """640 is 80 02 in little-endian bytes, which is how a pickle of protocol 2 starts."""
    text = json.dumps(GOOD).encode().ljust(size)
    assert len(read_header(put(tmp_path, to_bytes(text))).tensors) == 2
    with pytest.raises(HeaderError, match="truncated"):
        read_header(put(tmp_path, to_bytes(text)[: size // 2]))


REFUSALS: tuple[tuple[str, object, str], ...] = (
    ("not JSON", b"{oops", "not JSON"),
    ("no JSON at all", b"", "all of the file is zeros"),
    ("not UTF-8", b'{"\xff":1}', "not UTF-8 at byte 2"),
    ("a list", [], "not a JSON object"),
    ("a number", 1, "not a JSON object"),
    ("nested", b"[" * 100_000, "the header is n"),  # nested too deeply, or not JSON: that depends on the Python
    ("a number of many digits", b'{"a":' + b"1" * 10_000 + b"}", "not JSON"),
    ("duplicate name", b'{"a":{},"a":{}}', "'a' twice"),
    ("duplicate key in a tensor", b'{"a":{"dtype":"U8","dtype":"F16"}}', "'dtype' twice"),
    ("tensor is a string", {"a": "F16"}, "'a' is not described"),
    ("no dtype", {"a": {"shape": [], "data_offsets": [0, 1]}}, "unknown dtype None"),
    ("unknown dtype", {"a": tensor(0, 12, dtype="F17")}, "unknown dtype 'F17'"),
    ("dtype in small letters", {"a": tensor(0, 12, dtype="f16")}, "unknown dtype 'f16'"),
    ("dtype is a list", {"a": tensor(0, 12, dtype=["F16"])}, "unknown dtype"),
    ("shape is a number", {"a": tensor(0, 12, shape=12)}, "impossible shape"),
    ("negative shape", {"a": tensor(0, 12, shape=[-12])}, "impossible shape"),
    ("fractional shape", {"a": tensor(0, 12, shape=[12.0])}, "impossible shape"),
    ("boolean shape", {"a": tensor(0, 12, shape=[True])}, "impossible shape"),
    ("huge shape", {"a": tensor(0, 12, shape=[2**64])}, "impossible shape"),
    ("shape whose product overflows", {"a": tensor(0, 12, shape=[2**32, 2**32])}, "do not fit U8"),
    ("millions of lengths", {"a": tensor(0, 12, shape=[2**62] * 300_000)}, "300,000 dimensions"),
    ("a text among the lengths", {"a": tensor(0, 12, shape=[2**31, "4"])}, "impossible shape [2147483648, '4']"),
    ("a text among huge lengths", {"a": tensor(0, 12, shape=[2**64, "4"])}, "impossible shape"),
    ("a list among the lengths", {"a": tensor(0, 12, shape=[2**31, [4]])}, "impossible shape"),
    ("an object among the lengths", {"a": tensor(0, 12, shape=[2**31, {}])}, "impossible shape"),
    ("no number among the lengths", {"a": tensor(0, 12, shape=[12, None])}, "impossible shape [12, None]"),
    ("a fraction among the lengths", {"a": tensor(0, 12, shape=[12, 1.0])}, "impossible shape [12, 1.0]"),
    ("a boolean among the lengths", {"a": tensor(0, 12, shape=[12, True])}, "impossible shape [12, True]"),
    ("a negative length among others", {"a": tensor(0, 12, shape=[-3, -4])}, "impossible shape [-3, -4]"),
    ("lengths as text", {"a": tensor(0, 12, shape="12")}, "impossible shape '12'"),
    ("text as offsets", {"a": tensor(0, 12, data_offsets=["0", "12"])}, "impossible data_offsets"),
    ("fractional offsets", {"a": tensor(0, 12, data_offsets=[0, 12.0])}, "impossible data_offsets [0, 12.0]"),
    ("boolean offset", {"a": tensor(0, 12, data_offsets=[False, 12])}, "impossible data_offsets [False, 12]"),
    ("offsets of 2^64", {"a": tensor(0, 12, data_offsets=[2**64, 2**64 + 12])}, "impossible data_offsets"),
    ("dtype is a number", {"a": tensor(0, 12, dtype=8)}, "unknown dtype 8"),
    ("dtype is null", {"a": tensor(0, 12, dtype=None)}, "unknown dtype None"),
    ("shape of another size", {"a": tensor(0, 12, shape=[11])}, "do not fit U8"),
    ("three offsets", {"a": tensor(0, 12, data_offsets=[0, 1, 2])}, "impossible data_offsets"),
    ("negative offset", {"a": tensor(0, 12, data_offsets=[-1, 11])}, "impossible data_offsets"),
    ("backward offsets", {"a": tensor(0, 12, data_offsets=[12, 0])}, "before it starts"),
    ("out of the file", {"a": tensor(0, 13)}, "truncated"),
    ("far out of the file", {"a": tensor(2**62, 2**62 + 12)}, "truncated"),
    ("overlap", {"a": tensor(0, 8), "b": tensor(4, 12)}, "'a' and 'b' overlap at byte 4"),
    ("same bytes", {"a": tensor(0, 12), "b": tensor(0, 12)}, "overlap"),
    ("empty tensor inside another", {"a": tensor(0, 12), "b": tensor(6, 6)}, "overlap"),
    ("hole", {"a": tensor(0, 4), "b": tensor(8, 12)}, "bytes 4 to 8"),
    ("misaligned", {"a": tensor(1, 12)}, "bytes 0 to 1"),
    ("bytes after the last tensor", {"a": tensor(0, 8)}, "4 bytes after the last"),
    ("nothing but data", {}, "12 bytes after the last"),
)


@pytest.mark.parametrize("is_compact", [False, True], ids=["spaced", "compact"])
@pytest.mark.parametrize(("header", "reason"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refuses_with_file_and_reason(tmp_path: Path, header: object, reason: str, is_compact: bool) -> None:
    """As Python's `json` writes it, and as the safetensors library does: each has its own quick way."""
    if is_compact and not isinstance(header, bytes):
        header = json.dumps(header, separators=(",", ":")).encode()
    path = put(tmp_path, to_bytes(header))
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    assert caught.value.file == str(path)
    assert reason in caught.value.reason
    assert str(caught.value) == f"{path}: {caught.value.reason}"
    assert len(caught.value.reason) < 1000


METADATA: tuple[tuple[str, bytes, dict[str, str], str], ...] = (
    ("a list", b'["a"]', {}, "not a JSON object"),
    ("numbers", b'{"epoch":3,"a":"b"}', {"a": "b"}, "'epoch' is not a string"),
    ("invalid UTF-8", b'{"a":"b\xff"}', {"a": "b\ufffd"}, "'a' is not UTF-8"),
    ("nested", b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b',"a":"b"}', {"a": "b"}, "'x' is not a string"),
    ("long", b'{"a":"' + b"b" * 3_000_000 + b'","c":"d"}', {"a": "b" * 1000 + "…", "c": "d"}, "too many to be read"),
)


@pytest.mark.parametrize(("text", "expected", "note"), [row[1:] for row in METADATA], ids=[row[0] for row in METADATA])
def test_metadata_that_cannot_be_read_are_told(
    tmp_path: Path, text: bytes, expected: dict[str, str], note: str
) -> None:
    tensors = json.dumps({"a.alpha": tensor(0, 12)}).encode()[1:]
    header = read_header(put(tmp_path, to_bytes(b'{"__metadata__":' + text + b"," + tensors)))
    assert header.metadata == expected
    assert len(header.unreadable) == 1 and note in header.unreadable[0]
    assert header.tensors["a.alpha"].end == 12


def test_the_hash_is_that_of_the_whole_header(tmp_path: Path) -> None:
    for size in (100, 3_000_000):
        text = json.dumps({"__metadata__": {"a": "b" * size}, "t": tensor(0, 12)}).encode()
        assert read_header(put(tmp_path, to_bytes(text))).digest == hashlib.sha256(text).hexdigest()


def test_refuses_lying_lengths(tmp_path: Path) -> None:
    good = to_bytes(GOOD)
    for length, reason in (
        (len(good), "truncated"),
        (MAX_HEADER_BYTES, "truncated"),
        (MAX_HEADER_BYTES + 1, "above the limit"),
        (2**64 - 1, "above the limit"),
    ):
        with pytest.raises(HeaderError, match=reason):
            read_header(put(tmp_path, struct.pack("<Q", length) + good[8:]))
    with pytest.raises(HeaderError, match="not JSON"):
        read_header(put(tmp_path, struct.pack("<Q", 5) + good[8:]))


def test_refuses_every_truncation(tmp_path: Path) -> None:
    good = to_bytes(GOOD)
    for size in range(len(good)):
        with pytest.raises(HeaderError, match=r"empty|too few|truncated"):
            read_header(put(tmp_path, good[:size]))


@pytest.mark.parametrize(
    "content",
    [pickle.dumps({"w": b"x" * 100}, protocol) for protocol in (2, 3, 4, 5)] + [b"PK\x03\x04" + bytes(100)],
    ids=["protocol 2", "protocol 3", "protocol 4", "protocol 5", "zip"],
)
def test_refuses_pickles_with_the_way_to_convert_them(tmp_path: Path, content: bytes) -> None:
    for name in ("x.safetensors", "x.pt", "X.CKPT", "x.bin"):
        with pytest.raises(HeaderError, match="pickle file") as caught:
            read_header(put(tmp_path, content, name))
        assert "convert it" in caught.value.reason
        assert "weights_only=True" in caught.value.reason
        assert ".safetensors" in caught.value.reason


def test_refuses_what_is_no_file(tmp_path: Path) -> None:
    loop = tmp_path / "loop.safetensors"
    loop.symlink_to(loop)
    fifo = tmp_path / "fifo.safetensors"
    os.mkfifo(fifo)
    for path, reason in (
        (tmp_path / "missing.safetensors", "no such file"),
        (tmp_path, "directory"),
        (loop, "cannot be read"),
        (fifo, "not a regular file"),
        (tmp_path / "a\0b", "cannot be the name"),
        (tmp_path / "a\ud800b", "cannot be the name"),
        (put(tmp_path, b"", "empty.safetensors"), "the file is empty"),
        (put(tmp_path, b"1234567", "short.safetensors"), "only 7 bytes"),
    ):
        with pytest.raises(HeaderError, match=reason) as caught:
            read_header(path)
        assert caught.value.file == str(path)


def test_reads_no_tensor(tmp_path: Path) -> None:
    """A terabyte with nothing in it, which takes no room on the disk."""
    size = 2**40
    text = json.dumps({"a": tensor(0, size)}).encode()
    path = put(tmp_path, struct.pack("<Q", len(text)) + text)
    try:
        os.truncate(path, 8 + len(text) + size)
    except OSError:
        pytest.skip("the file system has no sparse files of this size")
    assert read_header(path).tensors["a"].shape == (size,)


def test_follows_a_link(tmp_path: Path) -> None:
    link = tmp_path / "link.safetensors"
    link.symlink_to(put(tmp_path, to_bytes(GOOD)))
    assert read_header(link).path == str(link)


def check(content: bytes) -> None:
    """Either a header or a HeaderError with a file and a reason."""
    try:
        header = parse_header(content, path="x", file_size=8 + len(content) + 16)
    except HeaderError as error:
        assert error.file == "x" and error.reason
    else:
        assert sum(info.end - info.start for info in header.tensors.values()) == 16


@given(st.binary(max_size=200))
def test_fuzzed_bytes(content: bytes) -> None:
    check(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
NATURAL = st.sampled_from([0, 1, 2, 4, 8, 16, 2**31, 2**63 - 1]) | st.integers(-2, 20)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(sorted(DTYPE_BITS)) | JSON,
        "shape": st.lists(NATURAL, max_size=4) | JSON,
        "data_offsets": st.tuples(NATURAL, NATURAL).map(list) | JSON,
        "other": JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__", "\ud800"]), TENSOR | JSON, max_size=3) | JSON)
def test_fuzzed_json(header: object) -> None:
    check(json.dumps(header).encode())


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_fuzzed_changes_of_a_sound_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(to_bytes(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = put(tmp_path_factory.getbasetemp(), bytes(content[: data.draw(st.integers(0, len(content)))]))
    try:
        read_header(path)
    except HeaderError as error:
        assert error.file == str(path) and error.reason
