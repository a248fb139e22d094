"""A workflow from another machine finds its files by hash or by AIR, and gives the same result there; in ComfyUI."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import folder_paths
import pytest
import torch
from support.models import load_unet, patched, same_bits

from lorchestra.demo.loras import layers, write_lora

pytestmark = pytest.mark.oldest

COUNT = 12


@pytest.fixture(scope="module")
def model() -> Any:
    """A small MODEL."""
    return load_unet(torch.float16)


@pytest.fixture
def process(pack: ModuleType) -> Iterator[Any]:
    """The pack's caches, with a library of its own."""
    module = importlib.import_module(f"{pack.__name__}.nodes.host.process")
    module.lora_library.cache_clear()
    yield module
    module.lora_library.cache_clear()


@pytest.fixture
def here(loras: Path) -> list[dict[str, Any]]:
    """The rows of a workflow of 12 LoRAs, with their hashes and AIRs."""
    rows = []
    for number in range(COUNT):
        path = write_lora(loras / f"style {number}.safetensors", layers("*attn1.to_q"), seed=number)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        air = f"urn:air:sdxl:lora:civitai:{number + 1}@{number + 101}"
        rows.append({"lora": path.name, "model": 0.1 * (number + 1), "sha256": sha256, "air": air})
    return rows


def rename_all(loras: Path, rows: list[dict[str, Any]]) -> list[Path]:
    """The files as they are on another machine."""
    moved = []
    for number, row in enumerate(rows):
        target = loras / f"folder {number % 3}" / f"other name {number}.safetensors"
        target.parent.mkdir(exist_ok=True)
        shutil.move(loras / row["lora"], target)
        moved.append(target)
    folder_paths.filename_list_cache.pop("loras", None)
    return moved


def text(rows: list[dict[str, Any]]) -> str:
    return json.dumps({"version": 1, "loras": rows})


def run(stack_node: Any, model: Any, rows: list[dict[str, Any]]) -> tuple[Any, str]:
    assert stack_node.validate_inputs(loras=text(rows), missing="error", policy="refuse") is True
    out = stack_node.execute(model=model, loras=text(rows)).args
    return patched(out[0]), out[3]


def test_by_hash_where_all_files_have_other_names(
    stack_node: Any, model: Any, loras: Path, process: Any, here: list[dict[str, Any]]
) -> None:
    expected, report = run(stack_node, model, here)
    assert "used" not in report
    rename_all(loras, here)
    shelf = process.lora_library()
    for file in shelf.files():
        assert shelf.hashes(file)
    process.lora_library.cache_clear()  # as after a restart
    found, report = run(stack_node, model, here)
    assert same_bits(expected, found)
    lines = report.splitlines()
    assert len(lines) == COUNT
    for number, line in enumerate(lines):
        assert line.endswith(f"; used folder {number % 3}/other name {number}.safetensors, found by its hash")


def test_by_air_where_sidecars_have_them(
    stack_node: Any, model: Any, loras: Path, process: Any, here: list[dict[str, Any]]
) -> None:
    expected, _ = run(stack_node, model, here)
    for number, path in enumerate(rename_all(loras, here)):
        info = {"modelId": number + 1, "id": number + 101}
        path.with_suffix(".civitai.info").write_text(json.dumps(info))
    process.lora_library.cache_clear()
    only_airs = [{"lora": row["air"], "model": row["model"]} for row in here]
    found, report = run(stack_node, model, only_airs)
    assert same_bits(expected, found)
    assert "found by its AIR civitai:1@101" in report
    rows = stack_node.execute(model=model, loras=text(only_airs)).args[2]
    assert rows[0][0] == "folder 0/other name 0.safetensors"  # as other packs find it


def test_the_missing_are_listed_and_no_others(
    stack_node: Any, model: Any, loras: Path, process: Any, here: list[dict[str, Any]]
) -> None:
    for number in (2, 5, 11):
        (loras / here[number]["lora"]).unlink()
    folder_paths.filename_list_cache.pop("loras", None)
    process.lora_library().read_now(60)
    verdict = stack_node.validate_inputs(loras=text(here), missing="error", policy="refuse")
    head, *lines = verdict.split("\n")
    assert head.startswith("3 LoRAs were not found.")
    assert lines == [
        f"row {number + 1}: style {number}.safetensors was not found (AIR civitai:{number + 1}@{number + 101}, "
        f"SHA-256 {here[number]['sha256']}, https://civitai.com/models/{number + 1}?modelVersionId={number + 101})"
        for number in (2, 5, 11)
    ]
    with pytest.raises(Exception, match="3 LoRAs were not found"):
        stack_node.execute(model=model, loras=text(here))


def test_the_guide_s_request_runs(stack_node: Any, model: Any, loras: Path, process: Any) -> None:
    """Two LoRAs of a hosted service's request, whose files have other names here."""
    for name, (number, version), seed in (("watercolour", (120096, 135931), 1), ("ink", (82098, 87153), 2)):
        path = write_lora(loras / "styles" / f"{name}.safetensors", layers("*attn1.to_q"), seed=seed)
        path.with_suffix(".metadata.json").write_text(json.dumps({"civitai": {"modelId": number, "id": version}}))
    request = [{"model": "civitai:120096@135931", "weight": 1.0}, {"model": "civitai:82098@87153", "weight": 0.5}]
    assert stack_node.validate_inputs(loras=request) is True
    out = stack_node.execute(model=model, loras=request).args
    by_name = [("styles/watercolour.safetensors", 1.0, 1.0), ("styles/ink.safetensors", 0.5, 0.5)]
    assert same_bits(patched(out[0]), patched(stack_node.execute(model=model, lora_stack=by_name).args[0]))
    assert out[2] == by_name


def test_a_file_that_changed_is_refused_or_told(
    stack_node: Any, model: Any, loras: Path, process: Any, here: list[dict[str, Any]]
) -> None:
    path = write_lora(loras / here[0]["lora"], layers("*attn1.to_q"), seed=99)
    shelf = process.lora_library()
    assert shelf.hashes(shelf.files([path.name])[0])
    verdict = stack_node.validate_inputs(loras=text(here[:1]), missing="error", policy="refuse")
    assert verdict == (
        "row 1: style 0.safetensors: the file has changed since this workflow was saved. Choose the file again if this "
        "one is meant, or let the node skip and warn"
    )
    report = stack_node.execute(model=model, loras=text(here[:1]), policy="warn").args[3]
    assert report.endswith("; the file has changed since this workflow was saved")
