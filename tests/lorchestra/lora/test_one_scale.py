"""α/rank has one answer: what is applied is what `inspect`, `identify` and the info card show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.lora_files import weight

from lorchestra.cli.identify import to_json
from lorchestra.library.card import read_details
from lorchestra.lora.cache import open_lora
from lorchestra.lora.examined import read_examined
from lorchestra.lora.numbers import read_summary

RANK = 8
NAME = "base_model.model.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
Settings = Mapping[str, Any] | None
CONFIG = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16}


def write(folder: Path, config: Settings, metadata: Settings, alpha: float | None) -> Path:
    tensors = {f"{NAME}.lora_A.weight": weight((RANK, 320), 1), f"{NAME}.lora_B.weight": weight((320, RANK), 2)}
    if alpha is not None:
        tensors[f"{NAME}.alpha"] = torch.tensor(alpha)
    said = None if metadata is None else {"lora_adapter_metadata": json.dumps(metadata)}
    path = folder / "adapter_model.safetensors"
    save_file(tensors, path, said)
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("config", "metadata", "alpha", "scale"),
    [
        (CONFIG, None, None, 2.0),
        ({**CONFIG, "use_rslora": True}, None, None, 16 / math.sqrt(RANK)),
        ({**CONFIG, "alpha_pattern": {"to_q": 4}}, None, None, 0.5),
        (None, {"r": RANK, "lora_alpha": 16}, None, 2.0),
        ({**CONFIG, "lora_alpha": 1}, {"r": RANK, "lora_alpha": 16}, None, 2.0),  # the metadata comes first
        (CONFIG, None, 4.0, 0.5),  # a tensor is always right
        (None, None, 4.0, 0.5),
        (None, None, None, 1.0),
    ],
    ids=["config", "rslora", "pattern", "metadata", "both", "tensor", "alpha", "nothing"],
)
def test_one_answer_everywhere(
    tmp_path: Path,
    config: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    alpha: float | None,
    scale: float,
) -> None:
    path = write(tmp_path, config, metadata, alpha)
    file = open_lora(path)
    (module,) = file.reading.modules
    adapter: Any = file.adapter(module)
    assert adapter.scale == pytest.approx(scale, rel=1e-12)
    shown = read_summary(path).scale
    assert shown is not None and (shown.minimum, shown.maximum) == (adapter.scale, adapter.scale)
    card = read_details(path)["scale"]
    assert (card["min"], card["max"]) == (adapter.scale, adapter.scale)
    identified = to_json(read_examined(path))["scale"]
    if alpha is None:
        assert (identified["min"], identified["max"]) == (adapter.scale, adapter.scale)
    else:
        assert identified is None  # it reads the header alone, and says so
