"""What is kept of a file's strength: the balance's own figures, also by block, and in words where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lorchestra.analysis.balance import measure
from lorchestra.analysis.strengths import NotWanted, Strengths, measure_strengths, read_kept
from lorchestra.apply.plan import make_plan
from lorchestra.choices import AUTO, Choices
from lorchestra.demo.loras import write_lora
from lorchestra.errors import FileProblem
from lorchestra.fit.rows import Files, Located
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import base_by_name
from lorchestra.stack import Entry, Stack

LAYER = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    shapes = {
        "input_blocks.1.1.transformer_blocks.0.attn1.to_q": (320, 320),
        "input_blocks.4.1.transformer_blocks.0.attn1.to_k": (640, 640),
        "output_blocks.3.1.transformer_blocks.0.ff.net.2": (1280, 5120),
    }
    write_lora(tmp_path / "a.safetensors", shapes, "native", seed=1)
    return tmp_path / "a.safetensors"


def of_the_balance(row: Entry) -> float:
    base = base_by_name("sd15")
    assert base
    files = Files(lambda entry, _: Located(entry.lora), lambda path: open_lora(path, keep=False))
    return float(measure(make_plan(Stack((row,)), files, base, Choices(mode=AUTO))).strengths()[0])


@pytest.mark.parametrize(
    "blocks", [{}, {"input": 0.5}, {"attn": 0.0}, {"output.3": -1.0, "mlp": 2.0, "input.4": 0.25}, {"*": 0.3}]
)
def test_they_are_those_of_the_balance_at_any_weights(file: Path, blocks: dict[str, float]) -> None:
    found = measure_strengths(str(file))
    model, clip = found.at(blocks) or (0, 0)
    row = Entry(str(file), model=0.7, blocks=blocks)
    assert clip == 0
    assert 0.7 * model == pytest.approx(of_the_balance(row), rel=1e-5)
    assert read_kept(found.to_text()) == found


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    ia3 = {f"{LAYER}.weight": torch.randn(320), f"{LAYER}.on_input": torch.tensor(False)}
    plain = {f"{LAYER}.lora_A.weight": torch.randn(4, 320), f"{LAYER}.lora_B.weight": torch.randn(320, 4)}
    for tensors, problem in (
        (plain, ""),
        (plain | {f"{LAYER}.dora_scale": torch.rand(320, 1)}, "depends on the model's own weights"),
        (ia3, "depends on the model's own weights"),
    ):
        save_file(tensors, path)
        found = measure_strengths(str(path))
        assert problem in found.problem and bool(found.layers) == (not problem)


def test_of_a_model_that_nobody_knows_all_layers_count_but_none_by_block(tmp_path: Path) -> None:
    down, up = torch.randn(4, 20), torch.randn(20, 4)
    tensors = {"nobodys.layer.lora_A.weight": down, "nobodys.layer.lora_B.weight": up}
    save_file(tensors, tmp_path / "a.safetensors")
    found = measure_strengths(str(tmp_path / "a.safetensors"))
    assert found.at({}) == pytest.approx((float((up.double() @ down.double()).norm()), 0.0), rel=1e-5)
    assert found.at({"attn": 0.5}) is None
    assert read_kept(found.to_text()) == found


def test_a_value_that_is_no_number_is_an_error_in_words(tmp_path: Path) -> None:
    up = torch.randn(320, 4)
    up[3, 1] = float("nan")
    save_file({f"{LAYER}.lora_A.weight": torch.randn(4, 320), f"{LAYER}.lora_B.weight": up}, tmp_path / "a.safetensors")
    with pytest.raises(FileProblem, match="NaN"):
        measure_strengths(str(tmp_path / "a.safetensors"))


def test_it_ends_when_nobody_waits(file: Path) -> None:
    with pytest.raises(NotWanted):
        measure_strengths(str(file), lambda: False)


@pytest.mark.parametrize(
    "text", ["", "[]", "[0, []]", "[1, [[true, 3, 1]]]", '[1, [[true, {}, "x"]]]', "[1, [[true, {}, NaN]]]"]
)
def test_what_was_not_kept_by_us_is_measured_again(text: str) -> None:
    assert read_kept(text) is None
    assert read_kept(Strengths().to_text()) == Strengths()
