"""LoRA Variants and Contact Sheet: each variant is the plain stack, and the sheet says how far its picture is."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image
from support.live_runs import row, sample
from support.models import load_narrow_unet, narrow_layers

from lorchestra.demo.loras import write_lora

pytestmark = pytest.mark.oldest


@pytest.fixture(scope="module")
def model() -> Any:
    return load_narrow_unet()


@pytest.fixture
def files(loras: Path) -> Path:
    some = narrow_layers("input_blocks.1.*attn1.to_[qkv]", "middle_block.1.*")
    for seed, name in enumerate(("warm", "lines", "grain")):
        write_lora(loras / f"{name}.safetensors", some, seed=seed, alpha=8)
    return loras


def node_of(pack: ModuleType, name: str) -> Any:
    return next(node for node in pack.node_list if node.__name__ == name)


def rows(*some: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "loras": list(some)}


@pytest.mark.parametrize("mode", ["merge", "live"])
def test_each_variant_gives_what_a_stack_of_its_rows_gives(
    pack: ModuleType, stack_node: Any, files: Path, model: Any, mode: str
) -> None:
    some = rows(row("warm", 0.75), row("lines", 0.5), row("grain", 1.0, on=False))
    models, clips, labels, axes, report = node_of(pack, "LoraVariants").execute(model, some, mode=mode).args
    assert labels == ["without", "warm 0.75", "lines 0.5", "all"]
    assert json.loads(axes) == {"version": 1, "columns": labels[1:], "rows": [""]}
    assert clips == [None] * 4
    assert report.splitlines()[:4] == ["1. without", "2. warm 0.75", "3. lines 0.5", "4. all"]
    stacks = ([], [row("warm", 0.75)], [row("lines", 0.5)], [row("warm", 0.75), row("lines", 0.5)])
    found = [sample(one, steps=1) for one in models]
    for one, by_hand in zip(found, stacks, strict=True):
        alone = stack_node.execute(model=model, loras=json.dumps(rows(*by_hand)), mode=mode).args[0]
        assert torch.equal(one, sample(alone, steps=1))
    assert len({tuple(one.flatten().tolist()) for one in found}) == 4
    assert torch.equal(found[0], sample(model, steps=1))  # and nothing stays behind


def test_a_table_of_two_rows(pack: ModuleType, files: Path, model: Any) -> None:
    some = rows(row("warm", 0.75), row("lines", 0.5))
    kind = {"variants": "two rows crossed", "weights": "0.5, 1", "second_weights": "0 0.5 1"}
    models, _, labels, axes, _ = node_of(pack, "LoraVariants").execute(model, some, **kind).args
    assert len(models) == len(labels) == 7
    assert json.loads(axes)["columns"] == ["warm 0.5", "warm 1"]
    assert json.loads(axes)["rows"] == ["lines 0", "lines 0.5", "lines 1"]


def test_what_is_missing_stops_or_is_skipped(pack: ModuleType, files: Path, model: Any) -> None:
    node = node_of(pack, "LoraVariants")
    some = rows(row("warm", 0.75), row("gone", 1.0), row("lines", 0.5))
    with pytest.raises(Exception, match=r"gone\.safetensors"):
        node.execute(model, some)
    _, _, labels, _, report = node.execute(model, some, unfit="skip").args
    assert labels == ["without", "warm 0.75", "lines 0.5", "all"]
    assert "gone.safetensors: not found" in report
    with pytest.raises(Exception, match="there is no LoRA to compare"):
        node.execute(model, rows(row("gone", 1.0)), unfit="skip")
    with pytest.raises(Exception, match="this would be 5 variants, the one without LoRAs included; at most 4"):
        node.execute(model, rows(row("warm"), row("lines"), row("grain")), most=4)


@pytest.fixture
def sheet(pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the node as ComfyUI does, which sets what is hidden: its output, and the folder where it saved."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "get_output_directory", lambda: str(tmp_path))
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    node = node_of(pack, "ContactSheet")

    def run(images: list[torch.Tensor], **lists: Any) -> tuple[Any, Path]:
        return node.execute(images=images, **lists), tmp_path

    return run


def picture(*values: float, size: tuple[int, int] = (64, 48)) -> torch.Tensor:
    """A batch of pictures, each of one grey."""
    return torch.stack([torch.full((size[1], size[0], 3), value) for value in values])


def test_a_sheet_says_how_far_each_picture_is(sheet: Any) -> None:
    noisy = picture(0.5) + 0.2 * torch.rand(1, 48, 64, 3, generator=torch.Generator().manual_seed(1))
    out, folder = sheet([picture(0.5), picture(0.6), noisy, picture(0.5)], labels=["without", "a", "b", "c"])
    drawn, where, report = out.args
    assert "2. a: 10.0 % · 0." in report
    assert "3. b: 9.9 % · 0.7" in report
    assert "“b” changes the picture most" in report  # about as far in colour as a, and in structure too
    assert "No difference at all: c." in report
    saved = Image.open(next(folder.glob("lora_compare_*.png")))
    assert (saved.width, saved.height) == (drawn.shape[2], drawn.shape[1])
    assert where.shape[:3] == (1, drawn.shape[1] + 30, drawn.shape[2])  # with a line below
    assert out.ui["images"][0]["filename"].startswith("lora_compare_")
    # The pictures are there, pixel by pixel.
    assert torch.allclose(drawn[0, 10:58, 10:74], picture(0.5)[0], atol=1 / 255)


def test_a_table_has_its_heads(sheet: Any) -> None:
    axes = json.dumps({"version": 1, "columns": ["a 0.5", "a 1"], "rows": ["b 0", "b 1"]})
    out, _ = sheet([picture(value / 10) for value in range(5)], labels=list("01234"), axes=[axes])
    assert out.args[0].shape[1] > 3 * 48 + 3 * 40


def test_a_batch_is_the_pictures_or_each_has_one(sheet: Any) -> None:
    report = sheet([picture(0.5, 0.6)], labels=["without", "a"])[0].args[2]
    assert "2. a: 10.0 %" in report
    report = sheet([picture(0.5, 0.5), picture(0.6, 0.7)], labels=["without", "a"])[0].args[2]
    assert "2. a: 15.0 %" in report
    assert "Of each batch the first picture is shown" in report


def test_what_cannot_be_measured_is_said(sheet: Any) -> None:
    report = sheet([picture(0.5), picture(0.5, size=(32, 32))])[0].args[2]
    assert "2. 2: another size" in report
    assert "Pictures of another size than the first are shown and not measured." in report
    assert "1 - SSIM was not measured" in sheet([picture(0.5, size=(8, 8)), picture(0.6, size=(8, 8))])[0].args[2]


@pytest.mark.parametrize(
    ("lists", "sentence"),
    [
        ({"labels": ["a"]}, "2 pictures came in and 1 labels"),
        ({"axes": ["x"]}, "axes"),
        ({"axes": ['{"columns": ["a"]}']}, "connect the axes of LoRA Variants"),
        ({"axes": ['{"columns": ["a", "b"], "rows": [""]}']}, "axes are for 3 pictures, and 2 came in"),
    ],
)
def test_lists_that_do_not_belong_together(sheet: Any, lists: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        sheet([picture(0.5), picture(0.6)], **lists)


def test_too_many_pictures(sheet: Any) -> None:
    with pytest.raises(Exception, match="101 pictures came in; a sheet has at most 100"):
        sheet([picture(0.5, size=(8, 8))] * 101)
