"""What stands beside a LoRA file is read within bounds, and never trusted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lorchestra.library.plaintext import MAX_PLAIN, plain
from lorchestra.library.scan import read_folder
from lorchestra.library.sidecars import (
    MAX_JSON,
    PREVIEWS,
    SIDECARS,
    Sidecars,
    find_preview,
    find_previews,
    read_image,
    read_sidecars,
)

SHA = "0123456789ABCDEF" * 4
CIVITAI = {
    "id": 135931,
    "modelId": 120096,
    "name": "v1.1",
    "baseModel": "Pony",
    "trainedWords": ["pixel art, ", "pixel art", "8-bit"],
    "description": "<p>Best at <b>0.8</b></p><script>alert(1)</script>",
    "model": {"name": "Pixel Art", "type": "LORA", "tags": ["style"]},
    "files": [{"type": "Model", "primary": True, "hashes": {"SHA256": SHA}}, {"type": "Training Data"}],
}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """A name for a LoRA with a dot in it; the file itself is not needed."""
    return tmp_path / "pixel.v1.safetensors"


def put(lora: Path, suffix: str, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    lora.with_name(lora.stem + suffix).write_text(text, encoding="utf-8")


def test_civitai_info(lora: Path) -> None:
    put(lora, ".civitai.info", CIVITAI)
    assert read_sidecars(lora) == Sidecars(
        title="Pixel Art (v1.1)",
        triggers=("pixel art", "8-bit"),
        description="Best at 0.8",
        base_model="Pony",
        sha256=SHA.lower(),
        air="civitai:120096@135931",
        tags=("style",),
        sources=("pixel.v1.civitai.info",),
    )


def test_lora_manager(lora: Path) -> None:
    tips = json.dumps({"strength": 0.8, "strength_min": 0.5, "strength_max": "1.2", "clip_strength": 0.4})
    own = {"model_name": "Mine", "sha256": SHA, "base_model": "SDXL 1.0", "notes": "for icons", "usage_tips": tips}
    put(lora, ".metadata.json", {**own, "civitai": CIVITAI, "tags": ["a", 3, None, "a"]})
    found = read_sidecars(lora)
    assert (found.title, found.weight, found.weight_range, found.clip) == ("Mine", 0.8, (0.5, 1.2), 0.4)
    assert (found.notes, found.description, found.base_model) == ("for icons", "Best at 0.8", "SDXL 1.0")
    assert (found.triggers, found.tags, found.air) == (("pixel art", "8-bit"), ("a",), "civitai:120096@135931")


@pytest.mark.parametrize(
    ("suffix", "value", "nsfw"),
    [
        (".civitai.info", {"images": [{"nsfwLevel": 4}, {"nsfwLevel": 1}], "model": {"nsfw": False}}, True),
        (".civitai.info", {"images": [{"nsfwLevel": 2}, {"nsfwLevel": 16}], "model": {"nsfw": True}}, False),
        (".civitai.info", {"images": [{"nsfw": "Mature"}]}, True),
        (".civitai.info", {"images": [{"nsfw": "Soft"}]}, False),
        (".civitai.info", {"images": ["x"], "model": {"nsfw": True}}, True),
        (".civitai.info", {"images": [{"nsfwLevel": "4", "nsfw": 1}]}, None),
        (".metadata.json", {"preview_nsfw_level": 8, "civitai": {"images": [{"nsfwLevel": 1}]}}, True),
        (".metadata.json", {"civitai": {"images": [{"nsfwLevel": 4}]}}, True),
        (".cm-info.json", {"Nsfw": False}, False),
    ],
)
def test_pictures_that_are_not_safe_for_work(lora: Path, suffix: str, value: Any, nsfw: bool | None) -> None:
    put(lora, suffix, value)
    assert read_sidecars(lora).nsfw is nsfw


def test_a1111(lora: Path) -> None:
    put(lora, ".json", {"activation text": "pixel, 8-bit", "preferred weight": 0.7, "notes": "n", "sd version": "SDXL"})
    found = read_sidecars(lora)
    assert (found.triggers, found.weight, found.notes, found.base_model) == (("pixel, 8-bit",), 0.7, "n", "SDXL")
    put(lora, ".json", {"preferred weight": 0, "sd version": "Unknown", "activation text": ""})
    assert read_sidecars(lora) == Sidecars()


def test_others(lora: Path) -> None:
    put(lora, ".cm-info.json", {"ModelName": "P", "ModelId": 1, "VersionId": 2, "Hashes": {"SHA256": SHA}})
    put(lora, ".txt", "use with care\n\n\n\n")
    put(lora, ".swarm.json", {"modelspec.title": "Q", "modelspec.trigger_phrase": "pix"})
    found = read_sidecars(lora)
    assert (found.title, found.air, found.notes, found.triggers) == ("P", "civitai:1@2", "use with care", ("pix",))
    assert found.sources == ("pixel.v1.cm-info.json", "pixel.v1.swarm.json", "pixel.v1.txt")


def test_the_user_s_own_words_come_first(lora: Path) -> None:
    put(lora, ".civitai.info", CIVITAI)
    put(lora, ".json", {"activation text": "mine", "notes": "note"})
    found = read_sidecars(lora)
    assert (found.triggers, found.notes, found.title) == (("mine",), "note", "Pixel Art (v1.1)")
    assert found.sources == ("pixel.v1.json", "pixel.v1.civitai.info")


@pytest.mark.parametrize(
    "text",
    [
        "", "nonsense", "[]", "null", "12", "[" * 200_000, '{"notes": ' * 5000, '{"notes": 1, "trainedWords": "a"}',
        '{"preferred weight": NaN, "activation text": {"a": 1}, "notes": []}', '{"preferred weight": 1e999}',
        '{"civitai": [1], "usage_tips": "{", "model": 3, "files": [[[]]], "hashes": 2, "modelId": true, "id": 1}',
        '{"preferred weight": ' + "9" * 5000 + "}", '{"activation text": "' + "x" * MAX_JSON + '"}',
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".json", ".metadata.json", ".civitai.info", ".cm-info.json", ".swarm.json"])
def test_bad_json_says_nothing(lora: Path, suffix: str, text: str) -> None:
    put(lora, suffix, text)
    assert read_sidecars(lora) == Sidecars()


def test_words_are_bounded_and_whole(lora: Path) -> None:
    put(lora, ".json", {"activation text": "\ud800" + "a" * 5000, "notes": "<li>x" * 90_000})
    put(lora, ".civitai.info", {"trainedWords": [f"w{number}" for number in range(5000)]})
    found = read_sidecars(lora)
    assert len(found.triggers[0]) <= 300
    assert found.notes and len(found.notes) <= MAX_PLAIN
    json.dumps([found.triggers, found.notes]).encode()
    lora.with_name(lora.stem + ".json").unlink()
    assert len(read_sidecars(lora).triggers) == 64


def test_a_folder_in_a_sidecar_s_place_says_nothing(lora: Path) -> None:
    for suffix in SIDECARS:
        lora.with_name(lora.stem + suffix).mkdir()
    assert read_sidecars(lora) == Sidecars()


def test_a_listing_saves_asking_the_disk(lora: Path) -> None:
    put(lora, ".json", {"notes": "note"})
    assert read_sidecars(lora, listed=frozenset()) == Sidecars()
    assert read_sidecars(lora, listed={"pixel.v1.json"}).notes == "note"


def test_previews(lora: Path) -> None:
    assert find_preview(lora) is None
    for suffix in reversed(PREVIEWS):
        lora.with_name(lora.stem + suffix).write_bytes(PNG)
        assert find_preview(lora) == str(lora.with_name(lora.stem + suffix))
    assert find_preview(lora, listed={"pixel.v1.webp", "pixel.png"}) == str(lora.with_name("pixel.v1.webp"))


def test_images_with_a_number(lora: Path) -> None:
    """By number, after those without one; what is another LoRA's and what stands after a gap is not among them."""
    names = ["3.jpg", "_2.webp", ".0.png", ".1.png", "_1.png", ".7.png", ".1a.png", "-2.png", ".2.mp4", ".webp"]
    for name in names:
        lora.with_name(lora.stem + name).touch()
    numbered = [".0.png", ".1.png", "_1.png", "_2.webp"]
    assert [Path(file).name for file in find_previews(lora)] == [lora.stem + end for end in (".webp", *numbered)]
    lora.with_name(f"{lora.stem}_1.safetensors").touch()
    lora.with_name(f"{lora.stem}.webp").unlink()
    numbered.remove("_1.png")
    assert [Path(file).name for file in find_previews(lora)] == [lora.stem + end for end in numbered]
    assert find_preview(lora) == find_preview(lora, {lora.stem + end for end in numbered}) == find_previews(lora)[0]
    assert read_folder(str(lora.parent)).images[lora.stem] == len(numbered)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 20, "image/jpeg"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"GIF89a\0\0\0\0", "image/gif"),
        (b"\0\0\0\x20ftypavif\0\0\0\0", "image/avif"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>", None),
        (b"<!doctype html><script>x</script>", None),
        (b"", None),
    ],
)
def test_only_images_are_images(lora: Path, data: bytes, kind: str | None) -> None:
    file = lora.with_suffix(".png")
    file.write_bytes(data)
    assert read_image(file) == (None if kind is None else (data, kind))
    assert read_image(lora.parent) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Use <b>pixel</b> &amp; grid</p><script>x()</script>", "Use pixel & grid"),
        ("one<br>two<br/>three", "one\ntwo\nthree"),
        ("<ul><li>a</li><li>b</li></ul>", "• a\n\n• b"),
        ("<style>p{}</style><p>a</p>", "a"),
        ("use <lora:pixel:0.7> at a < b", "use <lora:pixel:0.7> at a < b"),
        ("<p>use <lora:pixel:0.7></p>", "use <lora:pixel:0.7>"),
        ("&lt;script&gt;x&lt;/script&gt;", "<script>x</script>"),
        ("a\x00b\tc\r\nd", "ab c\nd"),
        ("<!-- hidden --><p>shown", "shown"),
        ("<script>never closed", ""),
    ],
)
def test_plain_text(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_rgthree(lora: Path) -> None:
    words = [
        {"word": "pixel art", "civitai": True},
        {"word": "mine", "user": True},
        {"word": "1girl", "count": 90, "metadata": True},
    ]
    info = {
        "name": "Pixel - v1",
        "trainedWords": words,
        "strengthMin": 0.4,
        "strengthMax": 0.9,
        "userNote": "mine",
        "sha256": SHA,
    }
    put(lora, ".safetensors.rgthree-info.json", {**info, "baseModel": "SDXL 1.0", "raw": {"civitai": CIVITAI}})
    found = read_sidecars(lora)
    assert (found.title, found.triggers, found.weight_range) == ("Pixel - v1", ("pixel art", "mine"), (0.4, 0.9))
    assert (found.notes, found.sha256, found.air) == ("mine", SHA.lower(), "civitai:120096@135931")
    assert (found.base_model, found.tags) == ("SDXL 1.0", ("style",))


def test_other_hashes(lora: Path) -> None:
    hashes = {
        "SHA256": SHA,
        "AutoV1": "0BADCAFE",
        "AutoV2": SHA[:10],
        "AutoV3": "AB" * 6,
        "BLAKE3": "CD" * 32,
        "CRC32": "no",
    }
    put(lora, ".civitai.info", {"files": [{"hashes": hashes}]})
    assert read_sidecars(lora).hashes == ("0badcafe", SHA[:10].lower(), "ab" * 6, "cd" * 32)
