"""The card's data: always the same keys, always plain text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import lora_files
from support.sparse_files import lora_shapes, write_sparse

from lorchestra.library.card import read_details

SHAPES = lora_shapes("sdxl", "middle_block.1.*attn?.to_q*", rank=8)
METADATA = {
    "modelspec.title": "A <b>title</b>",
    "modelspec.description": "<p>Use it</p><script>alert(1)</script>",
    "modelspec.author": "somebody",
    "ss_sd_model_name": "ponyDiffusionV6XL.safetensors",
    "ss_base_model_version": "sdxl_base_v1-0",
    "ss_tag_frequency": json.dumps({"d": {"cat": 3, "dog": 5}}),
    "sshs_model_hash": "0x" + "A" * 64,
}


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    return write_sparse(tmp_path / "a.safetensors", SHAPES, METADATA)


def test_the_header_tells(lora: Path) -> None:
    found = read_details(lora)
    assert (found["kind"], found["problem"], found["family"][0]) == ("lora", None, "SDXL")
    assert (found["modules"], found["algorithms"]) == (len(SHAPES) // 2, {"LoRA": len(SHAPES) // 2})
    assert found["components"] == {"model": len(SHAPES) // 2}
    assert found["rank"] == {"min": 8, "median": 8, "max": 8, "kinds": 1}
    assert found["scale"]["median"] == 1  # without an alpha
    assert found["trained_on"] == "Pony"
    assert [claim["key"] for claim in found["claims"]] == ["ss_sd_model_name", "ss_base_model_version"]
    assert (found["triggers"], found["trigger_source"], found["tags"]) == ([], None, ["dog", "cat"])
    assert found["notes"] == [{"kind": "description", "text": "Use it"}]
    assert (found["title"], found["about"]) == ("A <b>title</b>", {"author": "somebody"})
    assert (found["model_hash"], found["sha256"], found["air"], found["preview"]) == ("a" * 64, None, None, False)


def test_alphas_are_read(tmp_path: Path) -> None:
    parts = lora_files.factors((32, 16), rank=4, alpha=2.0)
    path = lora_files.write(tmp_path / "a.safetensors", lora_files.named("lora_unet_mid_block", parts))
    assert read_details(path)["scale"] == {"min": 0.5, "median": 0.5, "max": 0.5, "kinds": 1}


def test_sidecars_come_first(lora: Path) -> None:
    info = {"trainedWords": ["pix"], "baseModel": "Illustrious", "id": 2, "modelId": 1, "model": {"name": "Nice"}}
    lora.with_suffix(".civitai.info").write_text(json.dumps(info))
    lora.with_suffix(".json").write_text(json.dumps({"preferred weight": 0.6, "notes": "mine"}))
    lora.with_suffix(".png").touch()
    found = read_details(lora)
    assert (found["title"], found["triggers"], found["trigger_source"]) == ("Nice", ["pix"], "sidecar")
    assert (found["weight"], found["air"], found["preview"]) == (0.6, "civitai:1@2", True)
    assert found["claims"][0] == {"key": "sidecar", "value": "Illustrious"}
    assert found["urn"] == "urn:air:sdxl:lora:civitai:1@2"
    assert found["notes"][0] == {"kind": "notes", "text": "mine"}
    assert found["sidecars"] == ["a.json", "a.civitai.info"]


@pytest.mark.parametrize(
    ("base_model", "word"),
    [("Flux.1 Kontext", "flux1kontext"), ("Flux.1 D", "flux1"), ("Something New", "flux1"), (None, "flux1")],
)
def test_the_long_form_of_an_air_says_what_the_file_is_made_for(
    tmp_path: Path, base_model: str | None, word: str
) -> None:
    path = write_sparse(tmp_path / "a.safetensors", lora_shapes("flux1_dev", "double_blocks.0.*", rank=4))
    info = {"id": 2, "modelId": 1, "baseModel": base_model}
    path.with_suffix(".civitai.info").write_text(json.dumps({key: value for key, value in info.items() if value}))
    assert read_details(path)["urn"] == f"urn:air:{word}:lora:civitai:1@2"


def test_what_nobody_knows_has_no_long_form(tmp_path: Path) -> None:
    path = write_sparse(tmp_path / "a.safetensors", {"odd.weight": [4, 4]})
    path.with_suffix(".civitai.info").write_text(json.dumps({"id": 2, "modelId": 1}))
    found = read_details(path)
    assert (found["air"], found["urn"]) == ("civitai:1@2", None)


def test_what_cannot_be_read_has_all_keys_and_a_reason(lora: Path, tmp_path: Path) -> None:
    keys = set(read_details(lora))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"\x05\0\0\0\0\0\0\0{}")
    broken.with_suffix(".txt").write_text("still noted")
    for path, reason in ((broken, "truncated"), (tmp_path / "gone.safetensors", "no such file"), (tmp_path, "folder")):
        found = read_details(path)
        assert set(found) == keys
        assert found["kind"] == "unreadable"
        assert reason in found["problem"].lower() or path is tmp_path
    assert read_details(broken)["notes"] == [{"kind": "notes", "text": "still noted"}]


def test_everything_can_be_sent(lora: Path) -> None:
    strange = {"modelspec.title": "\ud800x\x00", "modelspec.usage_hint": "<" * 500_000, "ss_tag_frequency": "[" * 9999}
    path = write_sparse(lora.with_name("b.safetensors"), SHAPES, strange)
    text = json.dumps(read_details(path), allow_nan=False)
    assert len(text) < 100_000
