"""What a file is that is called .safetensors and is none: told by its first bytes, with what to do about it.

To add a format: a row of `_FORMATS` with the bytes it starts with.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import quoted

SAMPLE = 512
"""Bytes that are looked at."""

_AGAIN = "Download the file again"

_FORMATS: tuple[tuple[bytes, str, str], ...] = (
    # What git leaves in place of large files: `version https://git-lfs.github.com/spec/v1`
    (b"version https://git-lfs", "a Git LFS pointer, a few lines that stand for the real file",
     "Run `git lfs pull` in its folder, or download the file itself"),
    (b"version https://hawser", "a Git LFS pointer, a few lines that stand for the real file",
     "Run `git lfs pull` in its folder, or download the file itself"),
    (b"/annex/objects/", "a git-annex pointer, one line that stands for the real file",
     "Run `git annex get` on it, or download the file itself"),
    (b"%PDF-", "a PDF document", _AGAIN),
    (b"GGUF", "a GGUF file", "Call it .gguf"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it"),
    (b"\x1f\x8b", "a gzip archive", "Unpack it"),
    (b"BZh", "a bzip2 archive", "Unpack it"),
    (b"\xfd7zXZ\0", "an xz archive", "Unpack it"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", "Unpack it"),
    (b"\x89PNG\r\n", "a PNG picture", _AGAIN),
    (b"\xff\xd8\xff", "a JPEG picture", _AGAIN),
    (b"GIF8", "a GIF picture", _AGAIN),
    (b"RIFF", "a WebP picture or another RIFF file", _AGAIN),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras saves models", "Choose another file"),
    (b"\x93NUMPY", "a NumPy array", "Choose another file"),
    (b"ggml", "a GGML file", "Choose another file"),
    (b"\x7fELF", "a program", "Delete it"),
    (b"MZ", "a program or library for Windows", "Delete it"),
    (b"SQLite format 3\0", "a SQLite database", _AGAIN),
)  # fmt: skip
"""(first bytes, what it is, what to do), the first that fits counts."""

_PYTORCH = re.compile(rb"/(data\.pkl|byteorder|version|\.format_version|data/\d+)$")
"""Files in the ZIP archives in which PyTorch saves pickles. Example: `archive/data.pkl`."""

_PAGE = re.compile(rb"<(!doctype html|html|head|body|script|!--)", re.IGNORECASE)
_XML = re.compile(rb"<(\?xml|svg|[a-z]+:|[a-z]+[ >])", re.IGNORECASE)
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def describe(start: bytes, pickle_reason: Callable[[], str], size: int) -> str | None:
    """What a file is, in words with what to do, from its first bytes and its size; None if that is not known.

    `pickle_reason` gives the words for pickles.
    """
    for magic, what, advice in _FORMATS:
        if start.startswith(magic):
            return _sentence(what, advice)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        first = start[30 : 30 + int.from_bytes(start[26:28], "little")]  # name of the first file in it
        return pickle_reason() if not first or _PYTORCH.search(first) else _sentence("a ZIP archive", "Unpack it")
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return pickle_reason()
    if len(start) > 8 and not start.strip(b"\0"):
        whole = "all of" if size <= len(start) else "the start of"
        return f"{whole} the file is zeros: its download was not finished, or its disk is damaged. {_AGAIN}"
    text = start
    for mark in _BOMS:
        text = text.removeprefix(mark)
    text = text.replace(b"\0", b"").lstrip()
    if _PAGE.match(text):
        return _sentence("a web page (HTML), such as a login or an error page", _DOWNLOAD)
    if _XML.match(text):
        return _sentence("an XML text, such as a server's error", _DOWNLOAD)
    if text[:1] in (b"{", b"[") and _is_text(text):
        return _sentence("a JSON text, such as a server's error or a setting", _DOWNLOAD)
    if len(start) >= 8 and _is_text(text):
        first = text.decode("utf-8", "replace").splitlines()[0].strip()
        return _sentence(f"a text that begins with {quoted(first)}", _DOWNLOAD)
    return None


_DOWNLOAD = "Download the file again; some pages need a login or a key for it"


def _sentence(what: str, advice: str) -> str:
    return f"this is {what}, not a safetensors file. {advice}"


def _is_text(start: bytes) -> bool:
    """True for UTF-8 without control characters; a character may be cut at the end."""
    try:
        text = start.decode()
    except UnicodeDecodeError as error:
        if len(start) - error.start > 3:
            return False
        text = start[: error.start].decode()
    return bool(text) and all(letter.isprintable() or letter in "\t\r\n\f" for letter in text)
