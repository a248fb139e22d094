"""LoRA Balance: what it measures, with a model and without, and the rows that go out."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.models import load_unet, plain
from support.sparse_files import lora_shapes, write_sparse

from lorchestra.demo.loras import layers, write_lora

pytestmark = pytest.mark.oldest

LAYER = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q"


@pytest.fixture(scope="module")
def model() -> Any:
    return load_unet(torch.float32)


@pytest.fixture
def balance(pack: ModuleType) -> Any:
    """Runs the node: (rows, report, data)."""
    node = next(node for node in pack.node_list if node.__name__ == "LoraBalance")

    def run(rows: Any, **inputs: Any) -> tuple[Any, str, Any]:
        output = node.execute(lora_stack=rows, **inputs)
        stack, report, data, plot = output.args
        assert plot.dim() == 4 and plot.shape[-1] == 3 and 0 <= plot.amin() < plot.amax() <= 1
        (shown,) = output.ui["images"]
        assert shown["filename"].startswith("lorchestra_balance_")
        return stack, report, json.loads(data)

    return run


@pytest.fixture
def files(loras: Path) -> Path:
    some = layers("input_blocks.1.*attn1.to_[qk]")
    write_lora(loras / "weak.safetensors", some, seed=1)
    write_lora(loras / "strong.safetensors", some, seed=2, alpha=64)
    return loras


def rows(**weights: float) -> dict[str, Any]:
    return {
        "version": 1,
        "loras": [{"lora": f"{name}.safetensors", "model": weight} for name, weight in weights.items()],
    }


def test_with_a_model(balance: Any, files: Path, model: Any) -> None:
    out, report, data = balance(rows(weak=0.5, strong=0.5), model=model)
    assert "strong dominates" in report
    assert [row[:2] for row in out] == [("weak.safetensors", 0.5), ("strong.safetensors", 0.5)]
    weak, strong = data["loras"]
    assert strong["strength"] > 2 * weak["strength"]
    keys = [key for key in plain(model) if "input_blocks.1." in key and ("attn1.to_q" in key or "attn1.to_k" in key)]
    base = torch.cat([plain(model)[key].flatten() for key in keys]).norm()
    assert strong["of_model"] == pytest.approx(strong["strength"] / float(base), rel=1e-4)


def test_the_rows_go_out_with_suggested_weights(balance: Any, files: Path, model: Any) -> None:
    twice = rows(weak=0.25, strong=0.5)
    twice["loras"].append({"lora": "weak.safetensors", "model": 0.5, "air": "civitai:1@2"})
    out, _, data = balance(twice, model=model, weights="total")
    suggested = {row["row"]: row["model"] for row in data["suggested"]["total"]}
    assert out[0][1] + out[2][1] == pytest.approx(suggested[1], abs=1e-3)
    assert out[2][1] == pytest.approx(2 * out[0][1], abs=1e-3)
    assert out[1][1] == pytest.approx(suggested[2], abs=1e-3)
    assert out[2].entry.air == "civitai:1@2"


def test_without_a_model(balance: Any, loras: Path) -> None:
    """On the architecture that the file is made for."""
    save_file(
        {f"{LAYER}.lora_A.weight": torch.randn(4, 320), f"{LAYER}.lora_B.weight": torch.randn(320, 4)},
        loras / "a.safetensors",
    )
    _, report, data = balance(rows(a=1.0))
    assert report.startswith("SD 1")
    assert data["loras"][0]["blocks"] == {"input.1": {"attention": data["loras"][0]["strength"]}}


def test_what_cannot_be_compared_is_said(balance: Any, files: Path, loras: Path, model: Any) -> None:
    write_sparse(loras / "flux.safetensors", lora_shapes("flux1_dev", "double_blocks.0.img_attn.qkv.weight"))
    _, report, data = balance(rows(weak=0.5, flux=1.0, gone=1.0), model=model)
    assert [row["lora"] for row in data["loras"] if row["strength"]] == ["weak.safetensors"]
    assert "flux.safetensors: made for FLUX.1" in report
    assert "gone.safetensors: not found; skipped" in report


@pytest.mark.parametrize("empty", [None, {"version": 1, "loras": []}, rows(gone=1.0)])
def test_nothing_to_measure(balance: Any, loras: Path, empty: Any) -> None:
    assert balance(empty)[1].startswith("No LoRA does anything here")
