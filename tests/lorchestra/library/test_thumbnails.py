"""Thumbnails: what they are made of, what is refused before it is decoded, and what is kept of them."""

from __future__ import annotations

import io
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lorchestra.library import thumbnails
from lorchestra.library.thumbnails import MAX_PIXELS, SIDE, PictureError, Thumbnails, make_thumbnail

KINDS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and has no pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100)))


def gradient(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    assert image.format == "WEBP"
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_of_every_kind_that_is_shown(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"  # what counts are its bytes
    gradient(1000, 500).save(path, kind)
    image = opened(make_thumbnail(str(path)))
    assert image.size == (SIDE, SIDE // 2)
    assert image.getpixel((SIDE // 2, 5)) != image.getpixel((SIDE // 2, SIDE // 2 - 5))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK", "F"])
def test_of_every_mode(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a"
    gradient(40, 20, mode).save(path, "JPEG" if mode == "CMYK" else "PNG" if mode != "F" else "TIFF")
    if mode == "F":
        with pytest.raises(PictureError, match="not a picture of a kind that is shown"):
            make_thumbnail(str(path))
        return
    image = opened(make_thumbnail(str(path)))
    assert image.size == (40, 20)  # none is made larger
    assert image.mode in ("RGB", "RGBA")


def test_it_stands_upright_and_takes_no_words_along(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    exif[0x010E] = "a prompt"
    path = tmp_path / "a.jpg"
    gradient(100, 50).save(path, exif=exif)
    made = make_thumbnail(str(path))
    assert opened(made).size == (50, 100)
    assert b"a prompt" in path.read_bytes() and b"a prompt" not in made


def test_of_an_animation_its_first_frame_alone_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    first, second = Image.new("RGB", (60, 60), "red"), Image.new("RGB", (60, 60), "blue")
    first.save(path, save_all=True, append_images=[second] * 3)
    with path.open("ab") as file:
        file.truncate(200_000_000)  # more than may be read
    red, green, blue = opened(make_thumbnail(str(path))).convert("RGB").getpixel((30, 30))  # type: ignore[misc]
    assert red > 200 and green < 60 and blue < 60


def huge_comment() -> bytes:
    """A GIF whose first picture comes after more bytes than may be read."""
    start = b"GIF89a" + struct.pack("<HH", 10, 10) + b"\x00\x00\x00"
    return start + b"!\xfe" + (b"\xff" + bytes(255)) * 400


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "50,000 × 50,000": (lambda: png_header(50_000, 50_000), "too many"),
    "too many, though Pillow would": (lambda: png_header(MAX_PIXELS // 5000 + 1, 5000), "too many"),
    "broken": (lambda: png_header(100, 100), "broken"),
    "cut": (lambda: b"\x89PNG\r\n\x1a\n", "broken"),
    "no JPEG": (lambda: b"\xff\xd8\xff" + os.urandom(500), "broken"),
    "no WebP": (lambda: b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(40), "broken"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "this is SVG"),
    "SVG in XML": (lambda: b"  <?XML version='1.0'?><svg/>", "this is SVG"),
    "PostScript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture of a kind"),
    "nothing": (lambda: b"", "not a picture of a kind"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(tmp_path: Path, name: str) -> None:
    make, words = BAD[name]
    path = tmp_path / "bad.png"
    path.write_bytes(make())
    started = time.monotonic()
    with pytest.raises(PictureError, match=words):
        Thumbnails(tmp_path / "kept").read(str(path))
    assert time.monotonic() - started < 2


def test_no_more_is_read_than_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "MAX_READ", 50_000)
    path = tmp_path / "a.gif"
    path.write_bytes(huge_comment())
    with pytest.raises(PictureError, match="50,000 bytes"):
        make_thumbnail(str(path))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files.")
def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    for name in ("a.png", "gone.png", "."):
        with pytest.raises(PictureError):
            Thumbnails(tmp_path / "kept").read(str(tmp_path / name))


def test_it_is_made_once_and_anew_for_another_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(path: str) -> bytes:
        made.append(path)
        return make_thumbnail(path)

    monkeypatch.setattr(thumbnails, "make_thumbnail", make)
    path, kept = tmp_path / "a.png", Thumbnails(tmp_path / "kept")
    gradient(100, 100).save(path)
    assert kept.read(str(path)) == kept.read(str(path)) == Thumbnails(tmp_path / "kept").read(str(path))
    assert len(made) == 1
    gradient(50, 100).save(path)
    os.utime(path, ns=(1, 1))
    assert opened(kept.read(str(path))).size == (50, 100)
    assert len(made) == 2
    path.write_bytes(b"broken")
    for _ in range(2):
        with pytest.raises(PictureError):
            kept.read(str(path))
    assert len(made) == 3  # what was tried in vain is known until the file changes


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path) -> None:
    kept = Thumbnails(tmp_path / "kept", most=12_000)
    noise = [Image.effect_noise((70, 70), 90) for _ in range(6)]
    paths = []
    for number, image in enumerate(noise):
        paths.append(tmp_path / f"{number}.png")
        image.save(paths[-1])
        kept.read(str(paths[-1]))
        for place in (tmp_path / "kept").rglob("*.webp"):
            state = place.stat()
            os.utime(place, (state.st_atime, state.st_mtime - 100))
    left = list((tmp_path / "kept").rglob("*.webp"))
    assert 0 < sum(place.stat().st_size for place in left) <= 12_000
    assert len(left) < len(paths)
    assert kept._place(thumbnails.find_key(paths[-1])) in left  # type: ignore[arg-type]
    assert kept._place(thumbnails.find_key(paths[0])) not in left  # type: ignore[arg-type]


def test_without_room_on_the_disk_there_are_thumbnails_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"a file where the folder should be")
    path = tmp_path / "a.png"
    gradient(100, 100).save(path)
    assert opened(Thumbnails(tmp_path / "kept").read(str(path))).size == (100, 100)
