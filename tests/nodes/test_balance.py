"""LoRA Balance: what it measures, with a model and without, and the rows that go out."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from comfy import model_management
from safetensors.torch import save_file
from support.algorithm_files import made
from support.models import load_unet, plain
from support.sparse_files import lora_shapes, write_sparse

import nodes
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
    (patched,) = nodes.LoraLoaderModelOnly().load_lora_model_only(model, "strong.safetensors", 5.0)
    model_management.load_models_gpu([patched])
    assert balance(rows(weak=0.5, strong=0.5), model=model)[2] == data, "the model is loaded with other patches now"
    model_management.unload_all_models()


def test_the_rows_go_out_with_suggested_weights(balance: Any, files: Path, model: Any) -> None:
    twice = rows(weak=0.25, strong=0.5)
    twice["loras"].append({"lora": "weak.safetensors", "model": 0.5, "air": "civitai:1@2"})
    out, _, data = balance(twice, model=model, weights="total")
    suggested = {row["row"]: row["model"] for row in data["suggested"]["total"]}
    assert out[0][1] + out[2][1] == pytest.approx(suggested[1], abs=1e-3)
    assert out[2][1] == pytest.approx(2 * out[0][1], abs=1e-3)
    assert out[1][1] == pytest.approx(suggested[2], abs=1e-3)
    assert out[2].entry.air == "civitai:1@2"


def test_the_face_gets_the_weights_of_the_rows_that_are_on(pack: ModuleType, files: Path) -> None:
    """Equal weights make equal norms: measured again at them."""
    node = next(node for node in pack.node_list if node.__name__ == "LoraBalance")
    given = rows(weak=0.5, strong=0.15)
    given["loras"].insert(1, {"lora": "gone.safetensors", "on": False})
    (suggested,) = node.execute(lora_stack=given).ui["suggested"]
    assert suggested["rows"] == [["weak.safetensors", 0.5, None], ["strong.safetensors", 0.15, None]]
    assert list(suggested["weights"]) == ["equal", "total", "interference"]
    weak, strong = (model for model, _ in suggested["weights"]["equal"])
    output = node.execute(lora_stack=rows(weak=weak, strong=strong))
    first, second = (lora["strength"] for lora in json.loads(output.args[2])["loras"])
    assert first == pytest.approx(second, rel=1e-3)
    assert node.execute(lora_stack=rows(weak=0.5)).ui["suggested"] == []


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


def own(row: dict[str, Any]) -> tuple[Any, float]:
    return row["row"], row["strength"]


def test_loras_of_comfyuis_loader_are_counted_before(balance: Any, files: Path, model: Any) -> None:
    """As if they stood in rows, but that no weight is suggested for them."""
    alone = balance(rows(weak=0.5, strong=0.4), model=model)[2]
    loader = nodes.LoraLoaderModelOnly()
    (loaded,) = loader.load_lora_model_only(model, "strong.safetensors", 0.4)
    out, report, data = balance(rows(weak=0.5), model=loaded, weights="total")
    assert [row["row"] for row in data["loras"]] == ["b1", 1]
    weak, strong = alone["loras"]
    assert data["loras"][0]["strength"] == pytest.approx(strong["strength"], rel=1e-6)
    assert data["loras"][0]["model"] == 0.4
    assert data["loras"][1]["strength"] == pytest.approx(weak["strength"], rel=1e-6)
    assert data["pairs"][0]["cosine"] == pytest.approx(alone["pairs"][0]["cosine"], abs=1e-6)
    assert data["loras"][0]["blocks"].keys() == strong["blocks"].keys()
    assert "LoRA 1 (before this node) dominates" in report
    assert [row["row"] for row in data["suggested"]["total"]] == [1]
    assert [row[:2] for row in out] == [("weak.safetensors", 0.75)]
    (twice,) = nodes.LoraLoaderModelOnly().load_lora_model_only(loaded, "weak.safetensors", -0.5)
    _, report, data = balance(rows(weak=0.5), model=twice)
    assert [row["row"] for row in data["loras"]] == ["b1", "b2", 1]
    assert data["pairs"][2]["cosine"] == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("kind", ["LoRA", "Tucker", "LoHa", "LoKr", "diff"])
def test_what_comfyui_loads_is_what_we_load(balance: Any, loras: Path, model: Any, kind: str) -> None:
    layer, shape = LAYER.removesuffix("to_q") + "to_out.0", (320, 320)
    if "Tucker" in kind:
        layer, shape = "diffusion_model.input_blocks.1.0.in_layers.2", (320, 320, 3, 3)
    tensors = {f"{layer}{end}": part.contiguous() for end, part in made(kind, shape, 3).items()}
    save_file(tensors, loras / "kind.safetensors")
    ours = balance(rows(kind=0.7), model=model)[2]["loras"]
    (loaded,) = nodes.LoraLoaderModelOnly().load_lora_model_only(model, "kind.safetensors", 0.7)
    (theirs,) = balance({"version": 1, "loras": []}, model=loaded)[2]["loras"]
    assert theirs["strength"] == pytest.approx(ours[0]["strength"], rel=1e-5)
    assert theirs["blocks"].keys() == ours[0]["blocks"].keys()


@pytest.mark.parametrize("mode", ["merge", "live"])
def test_our_own_stacks_are_counted_before_by_their_names(
    balance: Any, pack: ModuleType, files: Path, model: Any, mode: str
) -> None:
    alone = balance(rows(weak=0.5, strong=0.4), model=model)[2]
    stack = next(node for node in pack.node_list if node.__name__ == "LoraStack")
    loaded = stack.execute(loras=json.dumps(rows(strong=0.4)), model=model, mode=mode).args[0]
    assert loaded is not model
    _, report, data = balance(rows(weak=0.5), model=loaded.clone())
    assert [(row["row"], row["lora"]) for row in data["loras"]] == [
        ("b1", "strong.safetensors"),
        (1, "weak.safetensors"),
    ]
    assert data["loras"][0]["strength"] == pytest.approx(alone["loras"][1]["strength"], rel=1e-6)
    assert data["pairs"][0]["cosine"] == pytest.approx(alone["pairs"][0]["cosine"], abs=1e-6)
    assert "strong (before this node)" in report


def test_patches_that_are_not_read_are_told(balance: Any, files: Path, model: Any) -> None:
    patched = model.clone()
    key = f"{LAYER}.weight"
    patched.add_patches({key: ("set", (torch.zeros(320, 320),))})
    patched.add_patches({key: ("diff", (torch.ones(320, 320),))}, 0.5, 0.5)
    patched.add_patches({(key, None, lambda difference: difference): ("diff", (torch.ones(320, 320),))}, 0.5)
    patched.add_patches({key: ("diff", (torch.full((320, 320), torch.nan),))})
    patched.add_patches({key: ("diff", (torch.ones(3, 3),))})
    patched.add_patches({key: ("diff", (torch.ones(320, 320),))}, 0.25)
    _, report, data = balance(rows(weak=0.5), model=patched)
    assert own(data["loras"][0]) == ("b1", pytest.approx(80, rel=1e-5))
    for why in ("a kind that is not read", "mixed with", "by a function", "not finite", "does not fit"):
        assert "differences of weights (before this node): 1 layer is not counted: it" in report
        assert why in report
