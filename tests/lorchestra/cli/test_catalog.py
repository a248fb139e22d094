"""`lorchestra index`, `find`, `missing`, `hash`: by what people and programs type, and what they get."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.cli import main, shelf
from lorchestra.demo.comfyui import ComfyUI
from lorchestra.demo.folders import Folders

SHAPES = lora_shapes("sdxl", "middle_block.1.*attn?.to_q*")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    loras = tmp_path / "loras"
    for name in ("styles/ink.safetensors", "pixel.safetensors", "people/pixel.safetensors"):
        write_sparse(loras / name, SHAPES, {"mark": name})
    (loras / "styles" / "ink.civitai.info").write_text(json.dumps({"modelId": 120096, "id": 135931}))
    return loras


def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, *words: str) -> tuple[int, str]:
    """A command on the folder, with a catalog of its own."""
    command, *rest = words
    code = main([command, *rest, "--folder", str(tmp_path / "loras"), "--catalog", str(tmp_path / "c.sqlite")])
    return code, capsys.readouterr().out


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_index_counts_and_keeps(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = tmp_path / "c.sqlite"
    assert run(capsys, tmp_path, "index") == (0, f"3 files: 0 hashed, 1 with an AIR; catalog {catalog}\n")
    assert run(capsys, tmp_path, "index", "--hash") == (0, f"3 files: 3 hashed, 1 with an AIR; catalog {catalog}\n")
    with sqlite3.connect(catalog) as connection:
        kept = dict(connection.execute("SELECT path, sha256 FROM contents"))
    connection.close()
    assert kept == {str(path): sha256(path) for path in folder.rglob("*.safetensors")}
    assert main(["index", str(folder / "styles"), "--catalog", str(catalog)]) == 0  # a part of it: the rest stays
    assert capsys.readouterr().out.startswith("1 files: 1 hashed, 1 with an AIR")
    assert run(capsys, tmp_path, "find", "styles/ink") == (
        0,
        f"{folder}/styles/ink.safetensors  (the same file name)\n",
    )


def test_find_by_each(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ink = folder / "styles" / "ink.safetensors"
    assert run(capsys, tmp_path, "index", "--hash")[0] == 0
    for wanted, why in (
        ("civitai:120096@135931", "the same AIR"),
        ("urn:air:sdxl:lora:civitai:120096", "the same AIR"),
        (sha256(ink).upper(), "the same content, by its hash"),
        (sha256(ink)[:10], "the same content, by its hash"),
        ("INK", "the same file name"),
    ):
        code, out = run(capsys, tmp_path, "find", wanted, "--json")
        answer = {"path": str(ink), "sha256": sha256(ink), "air": "civitai:120096@135931", "why": why}
        assert (code, json.loads(out)) == (0, [answer]), wanted
    code, out = run(capsys, tmp_path, "find", "pixel", "--json")
    assert code == 0 and len(json.loads(out)) == 2
    assert run(capsys, tmp_path, "find", "pix") == (1, "no LoRA here is known as pix\n")
    assert run(capsys, tmp_path, "find", "pix", "--json") == (1, "[]\n")


def workflow(*rows: dict[str, Any]) -> dict[str, Any]:
    """In UI form, with nodes of several packs, a subgraph, and nodes that do not run."""
    stack = json.dumps({"version": 1, "loras": rows})
    inner = {"id": 4, "type": "LoraLoader", "widgets_values": ["gone\\inner.safetensors", 1, 1]}
    return {
        "nodes": [
            {"id": 1, "type": "LorchestraLoraStack", "widgets_values": [stack, "error", "refuse", "auto"]},
            {"id": 2, "type": "LoraLoaderModelOnly", "widgets_values": ["styles/ink.safetensors", 1]},
            {"id": 3, "type": "LoraLoader", "mode": 4, "widgets_values": ["muted.safetensors", 1, 1]},
            {"id": 5, "type": "CheckpointLoaderSimple", "widgets_values": ["base.safetensors"]},
            {"id": 6, "type": "Power Lora Loader (rgthree)", "widgets_values": [
                {}, {"on": True, "lora": "pixel2.safetensors", "strength": 1},
                {"on": False, "lora": "x", "strength": 1},
            ]},
        ],
        "definitions": {"subgraphs": [{"id": "u", "name": "Styles", "nodes": [inner]}]},
    }  # fmt: skip


def test_missing_lists_what_is_not_there(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = sha256(folder / "people" / "pixel.safetensors")
    rows = (
        {"lora": "old/renamed.safetensors", "model": 1, "sha256": moved},
        {"lora": "civitai:120096@135931", "model": 1},
        {"lora": "civitai:1@2", "model": 0.5},
        {"lora": "off.safetensors", "model": 1, "on": False},
        {"lora": "none.safetensors", "model": 1, "sha256": "AB" * 32, "air": "urn:air:sdxl:lora:civitai:3@4"},
        {"lora": "z/pixel.safetensors", "model": 1},
    )
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(workflow(*rows)))
    assert run(capsys, tmp_path, "index", "--hash")[0] == 0
    code, out = run(capsys, tmp_path, "missing", str(file), "--json")
    found = [(item["lora"], item["node"], item["row"], item["page"]) for item in json.loads(out)]
    assert code == 1 and found == [
        ("civitai:1@2", "1", 3, "https://civitai.com/models/1?modelVersionId=2"),
        ("none.safetensors", "1", 5, "https://civitai.com/models/3?modelVersionId=4"),
        ("z/pixel.safetensors", "1", 6, None),
        ("pixel2.safetensors", "6", 1, None),
        ("gone\\inner.safetensors", "Styles/4", 1, None),
    ]
    assert [item["made_for"] for item in json.loads(out)][:3] == [[], ["SDXL", "SSD-1B", "Segmind Vega"], []]
    item = json.loads(out)[2]
    assert "is in 2 folders. Choose one: people/pixel.safetensors, pixel.safetensors" in item["why"]
    assert [one["why"] for one in item["candidates"]] == ["the same file name"] * 2
    code, out = run(capsys, tmp_path, "missing", str(file))
    assert code == 1 and out.startswith("5 of 8 LoRAs are missing:\ncivitai:1@2 (node 1, row 3)\n")
    assert (
        f"  sha256  {'AB' * 32}\n" in out
        and "  page    https://civitai.com/models/3?modelVersionId=4\n  for     SDXL, SSD-1B, Segmind Vega\n" in out
    )


def test_missing_reads_api_form_and_says_when_all_is_there(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prompt.json"
    inputs = {"model": ["1", 0], "lora_name": "styles/ink.safetensors", "strength_model": 1}
    file.write_text(json.dumps({"7:2": {"class_type": "LoraLoaderModelOnly", "inputs": inputs}}))
    assert run(capsys, tmp_path, "missing", str(file)) == (0, "all 1 LoRAs are there\n")
    file.write_text(json.dumps({"prompt": {"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}}))
    assert run(capsys, tmp_path, "missing", str(file)) == (0, "the workflow has no LoRAs\n")
    for text in ("[]", "{}", "no json", '{"a": 1}'):
        file.write_text(text)
        assert main(["missing", str(file), "--folder", str(folder), "--catalog", str(tmp_path / "c")]) == 2, text


def test_hash_prints_all_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sparse(tmp_path / "a.safetensors", SHAPES)
    data = path.read_bytes()
    tensors = hashlib.sha256(data[8 + int.from_bytes(data[:8], "little") :]).hexdigest()
    assert main(["hash", str(path), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["sha256"] == sha256(path) and found["autov2"] == sha256(path)[:10]
    assert (found["tensors"], found["autov3"]) == (tensors, tensors[:12])
    assert main(["hash", str(path), str(tmp_path / "gone")]) == 2
    out, err = capsys.readouterr()
    assert f"  autov3   {tensors[:12]}\n" in out and "gone" in err


def test_two_folders_of_one_catalog_do_not_mix(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files of one name in the folders of two ComfyUIs."""
    other = tmp_path / "other"
    write_sparse(other / "pixel.safetensors", SHAPES, {"mark": "another one"})
    catalog = ["--catalog", str(tmp_path / "c.sqlite")]
    assert main(["index", str(other), "--hash", *catalog]) == 0
    assert run(capsys, tmp_path, "index", "--hash")[0] == 0
    code, out = run(capsys, tmp_path, "find", sha256(other / "pixel.safetensors"), "--json")
    assert (code, out) == (1, "[]\n")
    assert main(["find", sha256(other / "pixel.safetensors"), "--folder", str(other), *catalog]) == 0
    shutil.rmtree(other)


def test_without_a_comfyui_or_a_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    assert main(["find", "a", "--catalog", str(tmp_path / "c")]) == 2
    assert "no ComfyUI was found; name a folder of LoRAs with --folder" in capsys.readouterr().err
    assert main(["find", "a", "--folder", str(tmp_path / "gone"), "--catalog", str(tmp_path / "c")]) == 2


@pytest.fixture
def comfyui(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation with LoRAs, a checkpoint, a diffusion model and a pickle."""
    monkeypatch.setattr("lorchestra.cli.shelf.find_comfyui", lambda: tmp_path)
    kinds = {kind: (str(tmp_path / kind), str(tmp_path / "gone")) for kind in ("checkpoints", "diffusion_models")}
    found = Folders((str(folder),), tmp_path / "user", **kinds)
    monkeypatch.setattr("lorchestra.cli.shelf.find_folders", lambda root: found)
    write_sparse(tmp_path / "checkpoints" / "xl" / "base.safetensors", base_shapes("sdxl"), {"a": "b"})
    (tmp_path / "checkpoints" / "xl" / "base.civitai.info").write_text(json.dumps({"modelId": 1, "id": 2}))
    (tmp_path / "checkpoints" / "old.ckpt").write_bytes(b"PK\3\4 a pickle")
    write_sparse(tmp_path / "diffusion_models" / "flux.safetensors", base_shapes("flux1_dev", ""), {"c": "d"})
    return tmp_path


def test_models_are_found_too(comfyui: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """By AIR, by name and by hash, with their folder; nothing of them is hashed without being asked for."""
    catalog = ["--catalog", str(comfyui / "c.sqlite")]
    base = comfyui / "checkpoints" / "xl" / "base.safetensors"
    monkeypatch.setattr("lorchestra.library.catalog.read_hashes", None)
    assert main(["index", "--models", *catalog]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"3 files: 0 hashed, 1 with an AIR; catalog {comfyui / 'c.sqlite'}",
        "2 checkpoints: 0 hashed, 1 with an AIR",
        "1 diffusion_models: 0 hashed, 0 with an AIR",
    ]
    for wanted, why in (("civitai:1@2", "the same AIR"), ("base", "the same file name")):
        assert main(["find", wanted, *catalog]) == 0
        assert capsys.readouterr().out == f"{base}  ({why}, in checkpoints)\n"
    assert main(["find", "flux", "--json", *catalog]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["folder"] == "diffusion_models" and answer["sha256"] is None
    assert main(["find", "ink", "--json", *catalog]) == 0
    assert "folder" not in json.loads(capsys.readouterr().out)[0]
    assert main(["find", "nothing", *catalog]) == 1
    assert capsys.readouterr().out == "no LoRA and no model here is known as nothing\n"
    with sqlite3.connect(comfyui / "c.sqlite") as connection:
        kept = {name: rest for name, *rest in connection.execute("SELECT name, folder, kind, architectures FROM files")}
    connection.close()
    assert kept["xl/base.safetensors"] == ["checkpoints", "model", '["sdxl"]']
    assert kept["old.ckpt"] == ["checkpoints", "unreadable", "[]"]
    assert kept["flux.safetensors"][:2] == ["diffusion_models", "model"] and "flux1_dev" in kept["flux.safetensors"][2]
    assert kept["pixel.safetensors"][0] == "loras"


def test_models_are_hashed_when_that_is_asked_for(comfyui: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Small ones here; a part of them is the folder of LoRAs in another place."""
    for path in (
        comfyui / "checkpoints" / "xl" / "base.safetensors",
        comfyui / "diffusion_models" / "flux.safetensors",
    ):
        write_sparse(path, SHAPES, {"model": path.name})
    catalog = ["--catalog", str(comfyui / "c.sqlite")]
    assert main(["index", "--hash", *catalog]) == 0
    assert capsys.readouterr().out.startswith("3 files: 3 hashed")
    assert main(["index", "--models", "--hash", *catalog]) == 0
    assert "2 checkpoints: 2 hashed" in capsys.readouterr().out
    digest = sha256(comfyui / "diffusion_models" / "flux.safetensors")
    assert main(["find", digest[:10], *catalog]) == 0
    assert capsys.readouterr().out.endswith("(the same content, by its hash, in diffusion_models)\n")
    assert main(["index", "--models", str(comfyui / "loras"), *catalog]) == 2
    assert "leave out the folders" in capsys.readouterr().err


def test_export_and_import_say_what_is_known_of_the_files(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row with a name alone becomes a request with its AIR."""
    stack = tmp_path / "stack.json"
    stack.write_text(json.dumps([{"lora": "styles/ink.safetensors", "model": 0.5}]))
    monkeypatch.setattr(shelf, "find_comfyui", lambda: None)
    assert main(["export", str(stack), "--to", "runware"]) == 2
    assert "no AIR" in capsys.readouterr().err
    assert main(["export", str(stack), "--to", "runware", "--folder", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == [{"model": "civitai:120096@135931", "weight": 0.5}] and err == ""
    monkeypatch.setattr(shelf, "find_comfyui", lambda: ComfyUI(tmp_path, tmp_path, ""))
    monkeypatch.setattr(shelf, "find_folders", lambda comfyui: Folders((str(folder),), tmp_path / "user"))
    assert main(["export", str(stack), "--to", "runware"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"model": "civitai:120096@135931", "weight": 0.5}]
    code, out = run(capsys, tmp_path, "import", str(stack))
    assert code == 0 and json.loads(out)["loras"][0]["air"] == "civitai:120096@135931"
