"""A scale that is said in plain metadata: applied where it is sure, told everywhere, never guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.lora_files import read, weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.cli import main
from lorchestra.convert import convert
from lorchestra.library.card import read_details
from lorchestra.lora.cache import open_lora
from lorchestra.lora.examined import read_examined
from lorchestra.lora.numbers import read_summary
from lorchestra.stack import Entry, Stack

NAME = "transformer.transformer_blocks.0.attn.add_q_proj"
RANK = 16
PATTERN = json.dumps({"add_q_proj": 4})
CONFIG = json.dumps({"r": RANK, "lora_alpha": 8, "rank_pattern": {}, "alpha_pattern": {"add_q_proj": 2}})


def tensors(alpha: float | None = None, name: str = NAME) -> dict[str, Tensor]:
    parts = {f"{name}.lora_A.weight": weight((RANK, 64), 1), f"{name}.lora_B.weight": weight((64, RANK), 2)}
    return parts if alpha is None else {**parts, f"{name}.alpha": torch.tensor(alpha)}


APPLIED: list[tuple[Mapping[str, str], float, str]] = [
    ({"alpha": "2"}, 0.125, "alpha"),
    ({"alpha": " 2.0 "}, 0.125, "alpha"),
    ({"alpha": "2e0"}, 0.125, "alpha"),
    ({"lora_alpha": "2"}, 0.125, "lora_alpha"),
    ({"network_alpha": "2"}, 0.125, "network_alpha"),
    ({"lora_alpha": "2", "lora_rank": "16"}, 0.125, "lora_alpha"),
    ({"lora_alpha": "2", "alpha": "2.0"}, 0.125, "lora_alpha"),
    ({"transformer.lora_alpha": "2", "transformer.r": "16"}, 0.125, "lora_alpha"),
    ({"transformer.lora_alpha": "2", "transformer.r": "999"}, 0.125, "lora_alpha"),  # the tensors' rank counts
    ({"alpha": "8", "use_rslora": "True"}, 2.0, "alpha"),
    ({"alpha": "8", "alpha_pattern": PATTERN}, 0.25, "alpha"),
    ({"lora_adapter_metadata": CONFIG}, 0.125, "lora_adapter_metadata"),
    ({"adapter_config": CONFIG}, 0.125, "adapter_config"),
    ({"peft_config": CONFIG, "alpha": "4"}, 0.125, "peft_config"),
    ({"lora_adapter_metadata": "oops", "alpha": "2"}, 0.125, "alpha"),
    ({"alpha": "32"}, 2.0, "alpha"),
]


@pytest.mark.parametrize(("metadata", "scale", "key"), APPLIED, ids=str)
def test_it_is_applied_and_told(
    tmp_path: Path, metadata: Mapping[str, str], scale: float, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.safetensors", tensors(), metadata)
    file = open_lora(path)
    (module,) = file.reading.modules
    assert file.adapter(module).scale == scale  # pyright: ignore[reportAttributeAccessIssue]
    said = f"scale {scale:g} from the metadata entry {key}"
    assert any(said == warning for warning in read_examined(path).warnings)
    summary = read_summary(path)
    assert summary.scale is not None
    assert (summary.scale.minimum, summary.scale_from) == (scale, f"the metadata entry {key}")
    assert read_details(path)["scale"]["min"] == scale
    main(["check", "--model", "qwen_image", str(path)])
    shown = capsys.readouterr().out
    assert "partial" in shown or "incompatible" in shown  # its widths are toys'


def test_the_report_says_it_and_the_bake_has_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = write(tmp_path / "base.safetensors", {"transformer_blocks.0.attn.add_q_proj.weight": weight((64, 64), 3)})
    path = write(tmp_path / "a.safetensors", tensors(), {"alpha": "2"})
    assert main(["check", "--model", str(base), str(path)]) == 0
    assert "all 1 modules fit; scale 0.125 from the metadata entry alpha" in capsys.readouterr().out
    result = bake(base, Stack((Entry(str(path), True, 0.5),)).checked(), tmp_path / "out.safetensors")
    assert "scale 0.125 from the metadata entry alpha" in str(result.outcomes[0])
    down, up = tensors().values()
    right = weight((64, 64), 3).double() + 0.5 * 0.125 * up.double() @ down.double()
    assert torch.equal(read(tmp_path / "out.safetensors")["transformer_blocks.0.attn.add_q_proj.weight"], right.float())


NOT_APPLIED: list[tuple[Mapping[str, str], str]] = [
    ({"alpha": "nan"}, "which is not an alpha that can be used"),
    ({"alpha": "inf"}, "which is not an alpha that can be used"),
    ({"alpha": "1e999"}, "which is not an alpha that can be used"),
    ({"alpha": "-2"}, "which is not an alpha that can be used"),
    ({"alpha": "0"}, "which is not an alpha that can be used"),
    ({"alpha": "0.0"}, "which is not an alpha that can be used"),
    ({"alpha": "[2, 4]"}, "which is not an alpha that can be used"),
    ({"alpha": "True"}, "which is not an alpha that can be used"),
    ({"alpha": "auto"}, "which is not an alpha that can be used"),
    ({"alpha": "0x10"}, "which is not an alpha that can be used"),
    ({"alpha": "1_6"}, "which is not an alpha that can be used"),
    ({"alpha": "\u0661\u0666"}, "which is not an alpha that can be used"),
    ({"alpha": '"2"'}, "which is not an alpha that can be used"),
    ({"alpha": "9" * 1000}, "which is not an alpha that can be used"),
    ({"alpha": "2", "lora_alpha": "8"}, "contradict each other"),
    ({"transformer.lora_alpha": "2", "alpha": "8"}, "contradict each other"),
    ({"ss_network_alpha": "2", "ss_network_dim": "16"}, "ss_network_alpha says alpha 2 for rank 16, but the file"),
    ({"ss_network_alpha": "2.0"}, "ss_network_alpha says alpha 2, but the file has no alphas: that is not applied"),
    ({"ot_config": '{"lora_alpha": 1.0, "lora_rank": 16}'}, "ot_config says alpha 1 for rank 16, but the file has no"),
    ({"lora_adapter_metadata": "oops"}, "is not JSON"),
]


@pytest.mark.parametrize(("metadata", "words"), NOT_APPLIED, ids=str)
def test_what_is_not_sure_is_told_and_not_applied(tmp_path: Path, metadata: Mapping[str, str], words: str) -> None:
    path = write(tmp_path / "a.safetensors", tensors(), metadata)
    file = open_lora(path)
    (module,) = file.reading.modules
    assert file.adapter(module).scale == 1.0  # pyright: ignore[reportAttributeAccessIssue]
    assert sum(words in warning for warning in read_examined(path).warnings) == 1
    assert any(words in warning for warning in read_summary(path).warnings)


@pytest.mark.parametrize(
    "metadata",
    [{}, {"format": "pt"}, {"alpha": ""}, {"alpha": "None"}, {"network_alpha": "null"}, {"rank": "16"},
     {"ss_network_alpha": "16", "ss_network_dim": "16"}, {"ss_network_alpha": "None"},
     {"ot_config": '{"lora_alpha": 16, "lora_rank": 16.0}'}, {"ot_config": "{"}, {"ot_config": '{"lora_alpha": "2"}'},
     {"my.own.alpha": "2"}],
    ids=str,
)  # fmt: skip
def test_what_says_nothing_is_not_told(tmp_path: Path, metadata: Mapping[str, str]) -> None:
    examined = read_examined(write(tmp_path / "a.safetensors", tensors(), metadata))
    assert not [warning for warning in examined.warnings if "alpha" in warning or "scale" in warning]


@pytest.mark.parametrize("metadata", [{"alpha": "2"}, {"ss_network_alpha": "2", "ss_network_dim": "16"}])
def test_an_alpha_as_a_tensor_counts_more(tmp_path: Path, metadata: Mapping[str, str]) -> None:
    path = write(tmp_path / "a.safetensors", tensors(8.0), metadata)
    file = open_lora(path)
    (module,) = file.reading.modules
    assert file.adapter(module).scale == 0.5  # pyright: ignore[reportAttributeAccessIssue]
    assert not [warning for warning in read_examined(path).warnings if "alpha" in warning]


def test_where_some_layers_have_an_alpha_the_rest_is_told(tmp_path: Path) -> None:
    other = tensors(name=NAME.replace("add_q", "add_k"))
    path = write(tmp_path / "a.safetensors", {**tensors(8.0), **other}, {"alpha": "2"})
    file = open_lora(path)
    assert sorted(file.adapter(module).scale for module in file.reading.modules) == [0.5, 1.0]  # pyright: ignore
    assert any("1 of its layers have no alpha" in warning for warning in read_examined(path).warnings)


@pytest.mark.parametrize("to", ["comfyui", "kohya", "diffusers"])
def test_a_converted_file_says_it_once(tmp_path: Path, to: str) -> None:
    base = write(tmp_path / "base.safetensors", {"transformer_blocks.0.attn.add_q_proj.weight": weight((64, 64), 3)})
    path = write(tmp_path / "a.safetensors", tensors(), {"alpha": "2", "title": "x"})
    convert(path, tmp_path / "c.safetensors", to, architecture="qwen_image", model=base)
    results = []
    for number, one in enumerate((path, tmp_path / "c.safetensors")):
        output = tmp_path / f"{number}.safetensors"
        bake(base, Stack((Entry(str(one), True, 1.0),)).checked(), output)
        results.append(read(output)["transformer_blocks.0.attn.add_q_proj.weight"])
    assert torch.allclose(*results, rtol=1e-6, atol=0)
    assert "alpha" not in open_lora(tmp_path / "c.safetensors").header.metadata
