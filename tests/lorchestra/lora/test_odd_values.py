"""A value that cannot be applied is told before anything is applied: by every door in the same words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.lora_files import weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.apply.plan import make_plan
from lorchestra.choices import IGNORE, Choices
from lorchestra.cli import main
from lorchestra.errors import AdapterError, HeaderError
from lorchestra.fit.badge import look
from lorchestra.fit.outcome import BROKEN
from lorchestra.fit.rows import Files, Located
from lorchestra.library.card import read_details
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import read_base_model
from lorchestra.stack import Entry, Stack

LAYER = "transformer_blocks.0.attn.add_q_proj"
NAME = f"transformer.{LAYER}"
FP8 = torch.float8_e4m3fn

LORA = {f"{NAME}.lora_up.weight": weight((64, 4), 1), f"{NAME}.lora_down.weight": weight((4, 32), 2)}
LOKR = {f"{NAME}.lokr_w1": weight((4, 4), 1), f"{NAME}.lokr_w2_a": weight((16, 2), 2),
        f"{NAME}.lokr_w2_b": weight((2, 8), 3)}  # fmt: skip
SMALL = {name: (tensor * 10).to(FP8) for name, tensor in LORA.items()}
NOT_FINITE = "tensor has NaN or infinite values"

ODD: Mapping[str, tuple[dict[str, Tensor], str]] = {
    **{
        f"alpha {value} {dtype}": (
            {**LORA, f"{NAME}.alpha": torch.tensor(value).to(dtype)},
            f"module {NAME}: the alpha {NOT_FINITE}",
        )
        for value, dtype in [
            (math.nan, torch.float32),
            (-math.inf, torch.float64),
            (math.inf, torch.float16),
            (math.nan, torch.bfloat16),
            (math.inf, torch.float8_e5m2),
            (math.nan, FP8),
        ]
    },
    "alpha in a list": (
        {**LORA, f"{NAME}.alpha": torch.tensor([[math.nan]])},
        f"module {NAME}: the alpha {NOT_FINITE}",
    ),
    "alpha of half factors": (
        {**LOKR, f"{NAME}.alpha": torch.tensor(math.inf)},
        f"module {NAME}: the alpha {NOT_FINITE}",
    ),
    "scale": (
        {**SMALL, f"{NAME}.lora_up.scale_weight": torch.tensor(math.inf)},
        f"module {NAME}: the up_scale {NOT_FINITE}",
    ),
    "scale in fp16": (
        {**SMALL, f"{NAME}.lora_down.weight_scale": torch.tensor([math.nan]).half()},
        f"module {NAME}: the down_scale {NOT_FINITE}",
    ),
    "padded shape": (
        {**LORA, f"{NAME}.reshape_weight": torch.tensor([64, 33])},
        f"module {NAME}: it says that the weight becomes [64, 33], but its halves are for another shape",
    ),
    "padded shape that is no number": (
        {**LORA, f"{NAME}.reshape_weight": torch.tensor([64, math.nan]).bfloat16()},
        f"module {NAME}: the shape {NOT_FINITE}",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_every_door_says_it(tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    tensors, words = ODD[kind]
    path = write(tmp_path / "a.safetensors", tensors)
    model = write(tmp_path / "base.safetensors", {f"{LAYER}.weight": weight((64, 32), 3)})
    base = read_base_model(model)
    assert main(["check", "--json", "--model", str(model), str(path)]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["sentence"]) == (BROKEN, words)
    badge = look("a.safetensors", str(path), open_lora, base)
    assert (badge.state, badge.sentence) == (BROKEN, words)
    assert look("a.safetensors", str(path), open_lora, None) == badge
    assert read_details(path)["problem"] == words
    stack = Stack((Entry("a.safetensors", model=0.5),))
    files = Files(lambda _, __: Located(str(path)), open_lora)
    plan = make_plan(stack, files, base, Choices(policy=IGNORE))
    assert [(row.verdict, row.finding) for row in plan.outcomes] == [(BROKEN, f"{words}; skipped")]
    assert not plan.changes
    with pytest.raises(AdapterError) as caught:
        make_plan(stack, files, base)
    assert caught.value.reason == words
    with pytest.raises(AdapterError) as caught:
        bake(model, Stack((Entry(str(path), True, 0.5),)).checked(), tmp_path / "out.safetensors")
    assert caught.value.reason == words


def test_a_file_that_became_shorter_is_told(tmp_path: Path) -> None:
    """Its last alpha is gone when the values are read."""
    path = write(tmp_path / "a.safetensors", {**LORA, f"{NAME}.alpha": torch.tensor(1.0)})
    file = open_lora(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(HeaderError, match="became shorter"):
        file.check_values()
