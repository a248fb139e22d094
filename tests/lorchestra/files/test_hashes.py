"""Hashes of files, against what other implementations say of the same bytes."""

from __future__ import annotations

import hashlib
import struct
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lorchestra.errors import HeaderError
from lorchestra.files.hashes import find_hash, read_hashes

NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def addnet(data: bytes) -> str:
    """As A1111 and kohya define it, written down a second time: the bytes behind the header."""
    (length,) = struct.unpack("<Q", data[:8])
    return hashlib.sha256(data[8 + length :]).hexdigest()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A safetensors file of more than 1.1 MB, so that it has an AutoV1."""
    tensors = {f"t{number}": torch.arange(number, number + 50_000, dtype=torch.float32) for number in range(7)}
    save_file(tensors, tmp_path / "a.safetensors", {"ss_output_name": "a"})
    return tmp_path / "a.safetensors"


def test_one_pass_gives_what_each_definition_gives(large: Path) -> None:
    data = large.read_bytes()
    hashes = read_hashes(large)
    assert hashes.sha256 == hashlib.sha256(data).hexdigest()
    assert hashes.autov1 == hashlib.sha256(data[0x100000:0x110000]).hexdigest()[:8]
    assert hashes.autov2 == hashes.sha256[:10]
    assert hashes.tensors == addnet(data) and hashes.autov3 == addnet(data)[:12]
    assert hashes.crc32 == f"{zlib.crc32(data):08x}"


def test_blake3_is_the_packages(large: Path) -> None:
    blake3 = pytest.importorskip("blake3")
    assert read_hashes(large).blake3 == blake3.blake3(large.read_bytes()).hexdigest()


def test_only_the_tensors_hash_outlives_other_metadata(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0), "b": torch.ones(3)}
    save_file(tensors, tmp_path / "one.safetensors", {"title": "one"})
    save_file(tensors, tmp_path / "two.safetensors", {"title": "another title"})
    one, two = (read_hashes(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    assert one.tensors == two.tensors is not None
    assert one.sha256 != two.sha256 and one.crc32 != two.crc32 and one.autov1 is two.autov1 is None


@pytest.mark.parametrize(
    "data", [b"", b"1234567", b"PK\3\4" + bytes(100), struct.pack("<Q", 1 << 40) + b"{" + bytes(50)]
)
def test_what_is_no_safetensors_file_has_no_tensors_hash(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(data)
    hashes = read_hashes(path)
    assert hashes.sha256 == hashlib.sha256(data).hexdigest()
    assert hashes.tensors is hashes.autov3 is None


def test_a_text_is_known_in_any_of_its_forms(large: Path) -> None:
    hashes = read_hashes(large)
    assert hashes.find_kind(hashes.sha256.upper()) == "SHA256"
    assert hashes.find_kind("0x" + (hashes.tensors or "")) == "tensors"
    assert hashes.find_kind(f"SHA256:{hashes.sha256}") == "SHA256"
    assert hashes.find_kind(hashes.autov2.upper()) == "AutoV2"
    assert hashes.find_kind(f" {hashes.autov3} ") == "AutoV3"
    assert hashes.find_kind(hashes.autov1 or "") == "AutoV1"
    assert hashes.find_kind(hashes.crc32) == "CRC32"
    assert hashes.find_kind(hashes.sha256[:11]) is None and hashes.find_kind("0" * 64) is None


@pytest.mark.parametrize("text", ["", "xyz", "12345678g", "1234567", "a" * 65, "a" * 200, NOTHING, NOTHING[:10]])
def test_what_is_not_a_hash(text: str) -> None:
    assert find_hash(text) is None


def test_progress_ends_it(large: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_hashes(large, lambda done, size: seen.append((done, size)))
    assert seen[-1] == (large.stat().st_size,) * 2 and len(seen) == 2

    class Stopped(Exception):
        """Thrown by a test."""

    def stop(done: int, size: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        read_hashes(large, stop)


def test_a_file_that_grows_meanwhile(large: Path) -> None:
    def grow(done: int, size: int) -> None:
        if done < size:
            with large.open("ab") as file:
                file.write(b"more")

    with pytest.raises(HeaderError, match="changed while it was read"):
        read_hashes(large, grow)


def test_a_missing_file_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(HeaderError, match="there is no such file"):
        read_hashes(tmp_path / "none.safetensors")
    with pytest.raises(HeaderError, match="directory"):
        read_hashes(tmp_path)
