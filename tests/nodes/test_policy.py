"""What happens to rows that do not fit, by policy; and the LoRA Check, which only says so."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import comfy.model_patcher
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import load_flux, load_unet, patched, plain, same_bits
from support.sentences import english
from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.demo.loras import layers, write_lora
from tools import collect_signatures as tool

pytestmark = pytest.mark.oldest

POLICIES = ("refuse", "warn", "ignore")
SENTENCES = {
    "fits": "weight 0.75, all 2 modules fit",
    "part": "weight 0.75, 2 of 3 modules fit; left out: lora_unet_none, the model has no such layer",
    "flux": "made for FLUX.1 or Chroma; 0 of 38 modules fit this model. Choose a LoRA made for this model or",
    "clip": "1 text encoder modules are not used, no such CLIP is connected",
    "base": "this is a whole checkpoint, not a LoRA",
    "half": "module lora_unet_x: ",
    "gone": "not found",
}
"""File → what is said of it."""


@pytest.fixture(scope="module")
def model() -> Any:
    """A small MODEL that is none of those that are known."""
    return load_unet(torch.float16)


@pytest.fixture
def files(loras: Path) -> Path:
    """A file for each verdict."""
    fits = write_lora(loras / "fits.safetensors", layers("input_blocks.1.*attn1.to_[qk]"), seed=1)
    tensors = load_file(fits)
    save_file(
        {
            **tensors,
            "lora_unet_none.lora_down.weight": torch.ones(1, 8),
            "lora_unet_none.lora_up.weight": torch.ones(8, 1),
        },
        loras / "part.safetensors",
    )
    write_sparse(loras / "flux.safetensors", lora_shapes("flux1_dev", "double_blocks.*_attn.qkv.weight"))
    write_sparse(loras / "clip.safetensors", {"lora_te_x.lora_down.weight": (1, 8), "lora_te_x.lora_up.weight": (8, 1)})
    write_sparse(loras / "base.safetensors", base_shapes("sd15"))
    write_sparse(loras / "half.safetensors", {"lora_unet_x.lora_down.weight": (1, 8)})
    return loras


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("LoRA Stack: ")]


def test_a_row_that_is_skipped_because_its_file_is_missing_is_not_exported(
    stack_node: Any, export_node: Any, model: Any, files: Path
) -> None:
    """An export would name a file that had no part in the picture; a service may have what an AIR names."""
    upstream = [("gone.safetensors", 1.0, 1.0), ("part.safetensors", 1.0, 1.0)]
    far = {"lora": "far.safetensors", "air": "civitai:1@2"}
    own = [{"lora": "fits.safetensors"}, {"lora": "lost.safetensors"}, far]
    done = stack_node.execute(model=model, loras=json.dumps(own), missing="skip", lora_stack=upstream)
    rows = done.args[2]
    assert len(rows) == 5 and done.args[3].count("not found; skipped") == 3
    written = export_node.execute(rows, "json", "lorchestra/test", True)
    listed = [row["lora"] for row in json.loads(written.args[0])["loras"]]
    assert listed == ["part.safetensors", "fits.safetensors", "far.safetensors"]
    shown = written.ui["text"][0]
    assert "gone.safetensors: left out, because its file is missing" in shown and "lost.safetensors: left out" in shown


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("name", "is_refused", "is_told"),
    [
        ("fits", False, False),
        ("part", False, True),
        ("flux", True, True),
        ("clip", False, False),
        ("base", True, True),
        ("half", True, True),
        ("gone", True, True),
    ],
)
def test_policy_by_verdict(
    stack_node: Any, model: Any, files: Path, caplog: pytest.LogCaptureFixture,
    policy: str, name: str, is_refused: bool, is_told: bool,
) -> None:  # fmt: skip
    """With `refuse` an error; else what fits is applied, nothing else, and told in the log with `warn` alone."""
    caplog.set_level(logging.WARNING)
    rows = [{"lora": "fits", "model": 0.5}, {"lora": name}]
    before = plain(model)
    if is_refused and policy == "refuse":
        with pytest.raises(Exception, match=name) as error:
            stack_node.execute(model=model, loras=rows, policy=policy)
        assert SENTENCES[name] in str(error.value)
        assert same_bits(before, plain(model))
        return
    out, _, _, report, _ = stack_node.execute(model=model, loras=rows, policy=policy).args
    if name != "fits":  # there both rows are added up
        said = report.splitlines()[1]
        assert said.startswith(f"{name}: ") and SENTENCES[name] in said
        assert len(report.splitlines()) == 2
    told = warned(caplog)
    assert told == ([f"LoRA Stack: {said}"] if is_told and policy != "ignore" else [])
    if is_refused or name == "clip":
        alone = stack_node.execute(model=model, loras=rows[:1]).args[0]
        assert same_bits(patched(out), patched(alone))
    else:
        assert not same_bits(patched(out), before)


def test_rows_of_one_file_are_told_once(
    stack_node: Any, model: Any, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stack_node.execute(model=model, loras="<lora:flux:1> <lora:flux:0.5> <lora:part:1> <lora:part:1>", policy="warn")
    assert [line.split(":")[1].strip() for line in warned(caplog)] == ["flux", "part"]


def test_missing_may_be_skipped_without_a_word(
    stack_node: Any, model: Any, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = stack_node.execute(model=model, loras="<lora:gone:1>", missing="skip").args[3]
    assert report == "gone: not found; skipped" and warned(caplog) == []


def test_all_rows_for_another_model_are_in_one_error(stack_node: Any, model: Any, files: Path) -> None:
    write_sparse(files / "wan.safetensors", lora_shapes("wan21_t2v_14b", "blocks.*self_attn.q.weight"))
    with pytest.raises(Exception, match="row 1: flux: made for FLUX") as error:
        stack_node.execute(model=model, loras="<lora:flux:1> <lora:fits:1> <lora:wan:1>")
    assert "\nrow 3: wan: made for Wan 14B" in str(error.value)


def holding(model: Any, layer: torch.nn.Module) -> Any:
    """That MODEL with one layer more."""
    model.model.diffusion_model.add_module("packed", layer)
    return model


def nunchaku() -> torch.nn.Module:
    """A layer as Nunchaku's are."""
    layer = torch.nn.Module()
    layer.register_buffer("qweight", torch.zeros(8, 8, dtype=torch.int8))
    return layer


def test_a_quantization_that_hides_layers_lets_everything_pass(
    stack_node: Any, check_node: Any, files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packed = holding(load_unet(torch.float16), nunchaku())
    out, _, rows, report, _ = stack_node.execute(model=packed, loras="<lora:flux:1> <lora:part:1>", mode="merge").args
    assert report.splitlines()[0].startswith("flux: weight 1, whether it fits cannot be told")
    assert warned(caplog) == []
    assert len(out.patches) == 2
    assert [row["verdict"] for row in check(check_node, packed, rows)["rows"]] == ["unknown", "unknown"]


def test_what_is_packed_and_does_not_tell_its_shape(pack: Any) -> None:
    live_base = sys.modules[f"{pack.__name__}.nodes.host.model"].live_base
    plain_layer, packed_layer = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)
    packed_layer.weight = torch.nn.Parameter(torch.ones(8, 4).to(torch.uint8), requires_grad=False)
    assert not live_base(load_flux(), None).hidden
    assert not live_base(holding(load_flux(), plain_layer), None).hidden
    assert live_base(holding(load_flux(), packed_layer), None).hidden
    assert live_base(holding(load_flux(), nunchaku()), None).hidden

    class Foreign(torch.nn.Module):
        """As Nunchaku wraps FLUX.1: its layers are in no state dict."""

    foreign = load_flux()
    foreign.model.diffusion_model = Foreign()
    assert live_base(foreign, None).hidden


def check(check_node: Any, model: Any, rows: Any, **inputs: Any) -> dict[str, Any]:
    """The data, and that everything else says the same."""
    result = check_node.execute(model=model, lora_stack=rows, **inputs)
    passed, report, data, fitting = result.args
    assert passed is model
    assert result.ui["text"] == [report]
    assert [english(line) for line in result.ui["said"]] == report.split("\n")
    found = json.loads(data)
    assert set(found) == {"version", "model", "rows"} and found["version"] == 1
    assert report.splitlines() == [f"{row['lora']}: {row['sentence']}" for row in found["rows"]]
    wanted = [
        row["lora"].removesuffix(".safetensors")
        for row in found["rows"]
        if row["verdict"] in ("compatible", "partial", "unknown")
    ]
    assert [row[0].removesuffix(".safetensors") for row in fitting] == wanted
    return found


def test_check_gives_every_verdict(check_node: Any, model: Any, files: Path) -> None:
    before = plain(model)
    names = ("fits", "part", "flux", "clip", "base", "half", "gone")
    rows = [*((name, 0.75, 0.75) for name in names), ("fits", 0.25, 0.25), ("gone", 0.0, 0.0)]
    found = check(check_node, model, rows)
    verdicts = [row["verdict"] for row in found["rows"]]
    assert verdicts == [
        "compatible", "partial", "incompatible", "compatible", "not-a-lora", "broken", "missing", "compatible", "off",
    ]  # fmt: skip
    assert found["model"] == {"architectures": [], "title": None}
    assert found["rows"][1]["applied"] == 2 and found["rows"][1]["unmatched"] == 1
    assert not model.patches and same_bits(before, plain(model))


def test_check_reads_headers_alone(check_node: Any, model: Any, loras: Path) -> None:
    """Values that the Stack refuses, because they are no numbers, are not even looked at, but for the alphas."""
    write_lora(loras / "sound.safetensors", layers("input_blocks.1.*attn1.to_q"))
    tensors = {
        name: tensor if name.endswith(".alpha") else torch.full_like(tensor, torch.nan)
        for name, tensor in load_file(loras / "sound.safetensors").items()
    }
    save_file(tensors, loras / "nan.safetensors")
    assert check(check_node, model, [("nan", 1.0, 1.0)])["rows"][0]["verdict"] == "compatible"
    alphas = {name: torch.full_like(tensor, torch.nan) for name, tensor in tensors.items() if name.endswith(".alpha")}
    assert alphas
    save_file({**load_file(loras / "sound.safetensors"), **alphas}, loras / "alphas.safetensors")
    assert check(check_node, model, [("alphas", 1.0, 1.0)])["rows"][0]["verdict"] == "broken"


def test_check_says_what_the_model_and_the_loras_are(check_node: Any, stack_node: Any, loras: Path) -> None:
    """On a real SDXL without weights."""
    shapes = base_shapes("sdxl", "")
    device = torch.device("cpu")
    sdxl = comfy.model_patcher.ModelPatcher(tool.build(shapes), load_device=device, offload_device=device)
    write_sparse(loras / "style.safetensors", lora_shapes("flux1_dev", "*_blocks.*"))
    write_sparse(loras / "lines.safetensors", lora_shapes("sdxl", "*attn?.to_*"))
    found = check(check_node, sdxl, [("style", 0.5, 0.5), ("lines", 0.5, 0.5)])
    assert found["model"] == {"architectures": ["sdxl"], "title": "SDXL"}
    style, lines = found["rows"]
    assert style["verdict"] == "incompatible" and style["made_for"][0] == "flux1_dev"
    assert style["sentence"] == (
        "made for FLUX.1, this model is SDXL: 0 of 304 modules fit. Choose an SDXL LoRA or switch this row off."
    )
    assert lines["verdict"] == "compatible" and lines["made_for"] == ["sdxl"] and lines["evidence"]
    with pytest.raises(Exception, match=r"row 2: style: made for FLUX\.1, this model is SDXL: 0 of 304 modules fit"):
        stack_node.execute(model=sdxl, loras="<lora:lines:0> <lora:style:1>")


def test_a_checked_stack_goes_into_another(check_node: Any, stack_node: Any, model: Any, files: Path) -> None:
    """AIR and unknown keys of the rows that fit stay with them."""
    rows = [{"lora": "flux"}, {"lora": "fits", "air": "civitai:1@2", "note": "mine"}, {"lora": "part", "on": False}]
    stack = stack_node.execute(model=model, loras=rows, policy="ignore").args[2]
    fitting = check_node.execute(model=model, lora_stack=stack).args[3]
    assert fitting == [("fits.safetensors", 0.75, 0.75)]
    assert fitting[0].entry.extra == {"note": "mine"} and fitting[0].entry.air == "civitai:1@2"
    report = stack_node.execute(model=model, lora_stack=fitting).args[3]
    assert report == "fits.safetensors: weight 0.75, all 2 modules fit"
