"""A file that is called .safetensors and is something else is told by what it is, with what to do."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.cli import main
from lorchestra.errors import HeaderError
from lorchestra.files.foreign import SAMPLE, describe
from lorchestra.files.header import read_header


def zipped(name: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(name, b"x" * 100)
    return target.getvalue()


def saved() -> bytes:
    target = io.BytesIO()
    torch.save({"a": torch.zeros(4)}, target)
    return target.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 151112\n"

FOREIGN: list[tuple[bytes, str, str]] = [
    (b"<!DOCTYPE html>\n<html><head><title>Log in</title>", "a web page (HTML)", "Download the file again"),
    (b"\n\n  <html lang='en'>", "a web page (HTML)", "Download the file again"),
    (b"\xef\xbb\xbf<!doctype HTML>", "a web page (HTML)", "Download the file again"),
    ("<html>".encode("utf-16"), "a web page (HTML)", "Download the file again"),
    (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "an XML text", "Download the file again"),
    (b'{"error":"Unauthorized","message":"log in"}', "a JSON text", "Download the file again"),
    (b'[{"a": 1}]', "a JSON text", "Download the file again"),
    (b"Entry not found", "a text that begins with 'Entry not found'", "Download the file again"),
    (b"Invalid username or password.", "a text that begins with", "Download the file again"),
    (POINTER, "a Git LFS pointer", "git lfs pull"),
    (b"/annex/objects/SHA256E-s151112--0123.safetensors\n", "a git-annex pointer", "git annex get"),
    (zipped("lora.safetensors"), "a ZIP archive", "Unpack it"),
    (zipped("archive/data.pkl"), "a pickle file", "convert it"),
    (saved(), "a pickle file", "convert it"),
    (pickle.dumps({"a": 1}, 2), "a pickle file", "convert it"),
    (b"\x89PNG\r\n\x1a\n" + bytes(40), "a PNG picture", "Download the file again"),
    (b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(40), "a JPEG picture", "Download the file again"),
    (b"GIF89a" + bytes(40), "a GIF picture", "Download the file again"),
    (b"RIFF\x24\0\0\0WEBPVP8 ", "a WebP picture", "Download the file again"),
    (b"GGUF\x03\0\0\0" + bytes(40), "a GGUF file", "Call it .gguf"),
    (b"7z\xbc\xaf\x27\x1c\0\x04" + bytes(40), "a 7z archive", "Unpack it"),
    (b"Rar!\x1a\x07\x01\0" + bytes(40), "a RAR archive", "Unpack it"),
    (gzip.compress(b"x" * 100, mtime=0), "a gzip archive", "Unpack it"),
    (b"\xfd7zXZ\0\0\x04" + bytes(40), "an xz archive", "Unpack it"),
    (b"\x28\xb5\x2f\xfd\x04\x58" + bytes(40), "a Zstandard archive", "Unpack it"),
    (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF document", "Download the file again"),
    (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file", "Choose another file"),
    (b"\x7fELF\x02\x01\x01" + bytes(40), "a program", "Delete it"),
    (bytes(100), "all of the file is zeros", "Download the file again"),
    (bytes(100_000), "the start of the file is zeros", "Download the file again"),
    (b"PK\x03\x04" + bytes(70_000_000), "a pickle file", "convert it"),  # as a number, 67,324,752
]  # fmt: skip


@pytest.mark.parametrize(("content", "what", "advice"), FOREIGN, ids=[row[1] + row[0][:6].hex() for row in FOREIGN])
def test_it_is_told_by_what_it_is(tmp_path: Path, content: bytes, what: str, advice: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    assert what in caught.value.reason and advice in caught.value.reason
    assert "claims" not in caught.value.reason


def test_one_sentence_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(POINTER)
    for command in (["inspect"], ["identify"], ["check", "--model", "sdxl"]):
        main([*command, str(path)])
        shown = capsys.readouterr()
        assert "this is a Git LFS pointer" in shown.out + shown.err, command


def test_a_header_that_only_looks_like_something_else(tmp_path: Path) -> None:
    """A header of 0x8a1f bytes starts as gzip does."""
    text = json.dumps({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}).encode()
    for length in (0x8B1F, 0x5A4D):
        path = tmp_path / f"{length}.safetensors"
        path.write_bytes(struct.pack("<Q", length) + text.ljust(length))
        assert list(read_header(path).shapes) == ["a"]


@pytest.mark.parametrize("padding", [b"\0", b"\0" * 7, b"  \0\0"])
def test_a_header_padded_with_nul(tmp_path: Path, padding: bytes) -> None:
    """The safetensors library refuses it: `trailing characters`."""
    from safetensors import SafetensorError, safe_open

    text = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode() + padding
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(SafetensorError, match="trailing"):
        safe_open(path, framework="pt")
    with pytest.raises(HeaderError, match=rf"padded with {padding.count(0)} NUL bytes"):
        read_header(path)


@pytest.mark.parametrize("padding", [b" ", b" \t\n\r "])
def test_a_header_padded_with_spaces_is_read(tmp_path: Path, padding: bytes) -> None:
    text = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode() + padding
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    assert read_header(path).shapes == {"a": (4,)}


@given(st.binary(max_size=SAMPLE) | st.text(max_size=SAMPLE // 4).map(str.encode))
def test_any_bytes_have_words_or_none(start: bytes) -> None:
    began = time.process_time()
    found = describe(start, lambda: "pickle", len(start))
    assert found is None or (found and "\n" not in found)
    assert time.process_time() - began < 0.2
