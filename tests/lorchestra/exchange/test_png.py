"""Texts in PNG pictures: found without a pixel decoded, and bounded whatever stands in the file."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from support.png_files import BROKEN, WITHOUT, chunk, picture

from lorchestra.cli import main
from lorchestra.errors import DialectError
from lorchestra.exchange import png
from lorchestra.limits import MAX_TEXT

TEXT = "a cat <lora:pixel:0.7>\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 8x8"


def find(data: bytes) -> str:
    assert data.startswith(png.SIGNATURE)
    return png.find_parameters(io.BytesIO(data[8:]))


class Pipe(io.RawIOBase):
    """A file that cannot go to another place, as standard input."""

    def __init__(self, data: bytes) -> None:
        self.inner = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self.inner.read(size)

    def seekable(self) -> bool:
        return False


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("text", [TEXT, TEXT + " é", TEXT + " 猫", ""])
def test_what_pillow_writes_is_read(text: str, zipped: bool) -> None:
    data = picture(zipped, Comment="x", parameters=text)
    assert find(data) == text
    pipe: Any = Pipe(data[8:])
    assert png.find_parameters(pipe) == text


def test_a_text_behind_the_pixels_counts_and_one_behind_the_end_does_not() -> None:
    plain, text = picture(), chunk(b"tEXt", b"parameters\0late")
    end = plain.index(b"IEND") - 4
    assert find(plain[:end] + text + plain[end:]) == "late"
    with pytest.raises(DialectError, match="no text"):
        find(plain + text)
    assert find(plain[:end] + text) == "late"


def test_comfyui_s_own_pictures_are_told() -> None:
    with pytest.raises(DialectError, match="drop the picture on the canvas"):
        find(picture(prompt="{}", workflow="{}"))
    assert find(picture(prompt="{}", parameters=TEXT)) == TEXT


@pytest.mark.parametrize(
    ("body", "said"),
    [
        *((body, said) for said, body in BROKEN.items()),
        *((body, "no text") for body in WITHOUT),
        (chunk(b"tEXt", b"parameters\0abc", check=1), "checksum"),
        (b"\0\0\0", "cut off"),
        (chunk(b"abCd", b"") * (png.MAX_CHUNKS + 1), "more than 200,000 chunks"),
    ],
    ids=range(16),
)
def test_hostile_pictures_are_refused_in_words_and_at_once(body: bytes, said: str) -> None:
    for file in (io.BytesIO(body), Pipe(body)):
        begun = time.process_time()
        with pytest.raises(DialectError, match=said):
            png.find_parameters(file)  # pyright: ignore[reportArgumentType]
        assert time.process_time() - begun < 2


def test_a_text_of_a_picture_s_own_size_is_passed_over() -> None:
    """A large text under another name is skipped, not read."""
    body = chunk(b"tEXt", b"Comment\0" + b"a" * (MAX_TEXT + 1)) + chunk(b"tEXt", b"parameters\0found")
    assert png.find_parameters(io.BytesIO(body)) == "found"


def test_the_shell_reads_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture(parameters=TEXT))
    assert main(["import", str(path)]) == 0
    out, err = capsys.readouterr()
    assert '"lora": "pixel"' in out and "prompt" in err and "Sampler" in err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert main(["import", "-"]) == 0
    assert capsys.readouterr().out == out
    path.write_bytes(picture(workflow="{}"))
    assert main(["import", str(path)]) == 2
    assert "drop the picture on the canvas" in capsys.readouterr().err
