"""Pictures in requests: base64, a data URI, an asset; nothing is fetched and nothing else is kept."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.service import make_service

from lorchestra.service.assets import Assets
from lorchestra.service.http import Refusal
from lorchestra.service.media import load

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 20
TEXT = base64.b64encode(PNG).decode()


@pytest.fixture
def assets(tmp_path: Path) -> Iterator[Assets]:
    service, _ = make_service(tmp_path)
    yield service.assets
    asyncio.run(service.close())


def kept(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "input" / "lorchestra"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.parametrize(
    "sent", [TEXT, f"data:image/png;base64,{TEXT}", f"{TEXT[:8]}\n{TEXT[8:]}", f"data:;base64,{TEXT}"]
)
def test_a_picture_is_kept_once_under_a_name_of_our_own(tmp_path: Path, assets: Assets, sent: str) -> None:
    name = load(sent, "image", "image", assets)
    assert name.startswith("lorchestra/") and name.endswith(".png")
    assert (tmp_path / "input" / name).read_bytes() == PNG
    assert load(TEXT, "mask", "image", assets) == name
    assert len(kept(tmp_path)) == 1


def test_an_asset_is_named_by_its_id_or_its_official_reference(assets: Assets) -> None:
    asset = assets.add_bytes(PNG, "a.png", "image/png")
    name = f"lorchestra/{asset.id}.png"
    assert load(asset.id, "image", "image", assets) == name
    assert load({"__type": "core/ASSET", "info": {"id": asset.id}}, "image", "image", assets) == name


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("http://127.0.0.1/a.png", "invalid_input"),
        ("file:///etc/passwd", "invalid_input"),
        ("HTTPS://evil.example/a.png", "invalid_input"),
        ("../../secret.png", "invalid_input"),
        ("/etc/passwd", "invalid_input"),
        ("data:image/png,abc", "invalid_input"),
        ("data:image/svg+xml;base64," + base64.b64encode(b"<svg/>").decode(), "invalid_input"),
        (base64.b64encode(b"#!/bin/sh").decode(), "invalid_input"),
        ("", "invalid_input"),
        (5, "invalid_input"),
        (None, "invalid_input"),
        ([], "invalid_input"),
        ({"id": 1}, "invalid_input"),
        ({"__type": "core/ASSET", "info": {"id": 5}}, "invalid_input"),
        ("00000000-0000-4000-8000-000000000000", "missing_asset"),
    ],
)
def test_what_is_no_picture_is_told(tmp_path: Path, assets: Assets, sent: Any, code: str) -> None:
    with pytest.raises(Refusal) as raised:
        load(sent, "image", "photo", assets)
    assert (raised.value.code, raised.value.path) == (code, "photo")
    assert kept(tmp_path) == []


def test_a_picture_is_no_sound(assets: Assets) -> None:
    with pytest.raises(Refusal, match="not audio"):
        load(TEXT, "audio", "sound", assets)


def test_what_nobody_has_used_for_a_month_goes(tmp_path: Path, assets: Assets, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    old, used = assets.add_bytes(PNG, "a.png", "image/png"), assets.add_bytes(PNG + b"2", "b.png", "image/png")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 29 * 24 * 3600)
    assert assets.loadable(used.id)
    monkeypatch.setattr(time, "time", lambda: now + 31 * 24 * 3600)
    new = assets.add_bytes(PNG + b"3", "c.png", "image/png")
    assert assets.loadable(old.id) is None
    assert [path.stem for path in kept(tmp_path)] == sorted([used.id, new.id])
