"""Texts in JPEG and WebP pictures: found without a pixel decoded, and bounded whatever stands in the file."""

from __future__ import annotations

import io
import json
import random
import time
from pathlib import Path

import pytest
from support.exif_files import BROKEN, WITHOUT, jpeg, picture, tiff, unicode, webp

from lorchestra.cli import main
from lorchestra.errors import DialectError
from lorchestra.exchange import pictures

TEXT = "a cat <lora:pixel:0.7>\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8"


def find(data: bytes) -> str:
    file = io.BytesIO(data)
    start = file.read(pictures.LONGEST_START)
    assert pictures.is_picture(start)
    return pictures.find_parameters(start, file)


class Pipe(io.BytesIO):
    """A file that cannot go to another place, as standard input."""

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
@pytest.mark.parametrize("text", [TEXT, TEXT + " é", TEXT + " 猫 😀", "a"])
def test_what_is_written_is_found(form: str, text: str) -> None:
    """In both byte orders, and in the plain forms of other programs."""
    for comment in (
        unicode(text),
        unicode(text, "le"),
        unicode("\ufeff" + text, "le"),
        unicode("\ufeff" + text, "be"),
        unicode(text + "\0"),
        b"ASCII\0\0\0" + text.encode(),
        bytes(8) + text.encode(),
        text.encode(),
    ):
        assert find(picture(form, comment)) == text, comment[:12]
    pipe = Pipe(picture(form, unicode(text)))
    assert pictures.find_parameters(pipe.read(pictures.LONGEST_START), pipe) == text


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_byte_order_of_the_rest_does_not_count(order: str) -> None:
    """AUTOMATIC1111 has its text in one order in files of either."""
    for write in (jpeg, webp):
        assert find(write(tiff(unicode(TEXT), order))) == TEXT
        assert find(write(tiff(unicode(TEXT, "le"), order))) == TEXT


def test_fooocus_writes_into_the_first_folder() -> None:
    assert find(picture("JPEG", t37510=TEXT)) == TEXT
    assert find(jpeg(tiff(b"abc", at=int.from_bytes(b"abc\0", "little")))) == "abc"  # in place of where it is
    assert find(jpeg(tiff(TEXT.encode()), before=b"\xe0\0\2\xff")) == TEXT  # behind another part
    assert find(webp(b"Exif\0\0" + tiff(TEXT.encode()))) == TEXT


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_pictures_without_one(form: str) -> None:
    with pytest.raises(DialectError, match="no user comment"):
        find(picture(form))
    for texts in ({"t271": "workflow:{}"}, {"t272": "prompt:{}"}):
        with pytest.raises(DialectError, match="drop the picture on the canvas"):
            find(picture(form, **texts))


@pytest.mark.parametrize("words", BROKEN)
def test_what_is_broken_is_said(words: str) -> None:
    started = time.process_time()
    with pytest.raises(DialectError, match=words):
        find(BROKEN[words])
    assert time.process_time() - started < 1


@pytest.mark.parametrize("data", WITHOUT)
def test_nothing_is_found_where_nothing_is(data: bytes) -> None:
    with pytest.raises(DialectError, match="nothing about LoRAs"):
        find(data + bytes(max(0, 12 - len(data))) if data[:4] == b"RIFF" else data)


def test_no_bytes_raise_anything_else() -> None:
    choice = random.Random(5)
    sound = [
        picture("JPEG", unicode(TEXT)),
        picture("WEBP", unicode(TEXT)),
        jpeg(tiff(unicode(TEXT))),
        webp(tiff(b"a")),
    ]
    for number in range(2000):
        data = bytearray(sound[number % len(sound)])
        for _ in range(choice.randint(1, 4)):
            data[choice.randrange(12, len(data))] = choice.choice((0, 1, 8, 0x7F, 0xFF, choice.randrange(256)))
        cut = choice.choice((len(data), choice.randrange(12, len(data))))
        try:
            assert isinstance(find(bytes(data[:cut])), str)
        except DialectError as error:
            assert str(error)


def test_the_command_line_imports_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("JPEG", "WEBP"):
        file = tmp_path / f"a.{form.lower()}"
        file.write_bytes(picture(form, unicode(TEXT)))
        assert main(["import", str(file)]) == 0
        assert json.loads(capsys.readouterr().out)["loras"][0]["lora"] == "pixel"
    file.write_bytes(picture("JPEG"))
    assert main(["import", str(file)]) == 2
    assert "no user comment" in capsys.readouterr().err
    file.write_text("RIFF is no picture <lora:a:1>")
    assert main(["import", str(file), "--from", "a1111"]) == 0
