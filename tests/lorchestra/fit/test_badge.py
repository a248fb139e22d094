"""A row's badge says what the check says, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.choices import AUTO, MERGE, SKIP, Choices
from lorchestra.errors import StackError
from lorchestra.fit import badge as badges
from lorchestra.fit.refusals import refusals
from lorchestra.fit.rows import Files, Located
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import Base, read_base_model
from lorchestra.stack import Entry, Stack

SDXL_LORA = lora_shapes("sdxl", "*attn?.to_*")


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("bases")
    sdxl = write_sparse(folder / "sdxl.safetensors", base_shapes("sdxl"))
    wan = write_sparse(folder / "wan_low_noise.safetensors", base_shapes("wan21_t2v_14b", ""))
    return {"sdxl": read_base_model(sdxl), "wan": read_base_model(wan), "none": None}


TE = {f"lora_te1_text_model_encoder_layers_0_self_attn_q_proj.lora_{half}.weight": shape
      for half, shape in (("down", (4, 768)), ("up", (768, 4)))}  # fmt: skip


@pytest.mark.parametrize(
    ("shapes", "base", "has_clip", "state", "sentence"),
    [
        (SDXL_LORA, "sdxl", True, badges.FITS, f"all {len(SDXL_LORA) // 2} modules fit"),
        ({**SDXL_LORA, **TE}, "sdxl", True, badges.FITS, f"all {len(SDXL_LORA) // 2 + 1} modules fit"),
        ({**SDXL_LORA, **TE}, "sdxl", False, badges.FITS, "1 text encoder modules are not used"),
        (TE, "sdxl", False, badges.PARTLY, "nothing is applied"),
        (lora_shapes("flux1_dev", "*_blocks.*"), "sdxl", True, badges.MISFIT,
         "made for FLUX.1, this model is SDXL: 0 of 304 modules fit. Choose an SDXL LoRA or switch this row off."),
        (lora_shapes("flux1_dev", "*_blocks.*"), "none", True, badges.UNKNOWN,
         "made for FLUX.1; whether it fits is told when the model is loaded"),
        ({"lora_unet_nobody_knows.lora_down.weight": (4, 8), "lora_unet_nobody_knows.lora_up.weight": (8, 4)},
         "sdxl", True, badges.UNKNOWN, "made for a model that is not known here"),
        (base_shapes("sd15", ""), "sdxl", True, badges.NOT_A_LORA, "not a LoRA"),
        ({"lora_unet_mid_block.lora_down.weight": (4, 8)}, "sdxl", True, badges.BROKEN, ""),
    ],
    ids=["fits", "encoders", "no-clip", "encoders-alone", "misfit", "no-model", "unknown", "checkpoint", "half"],
)  # fmt: skip
def test_states(
    tmp_path: Path, bases: dict[str, Any], shapes: Any, base: str, has_clip: bool, state: str, sentence: str
) -> None:
    path = str(write_sparse(tmp_path / "a.safetensors", shapes))
    badge = badges.look("a.safetensors", path, open_lora, bases[base], has_clip=has_clip)
    assert badge.state == state, badge
    assert sentence in badge.sentence
    assert not badge.sentence.startswith(("weight", "row 1", "a.safetensors"))
    rows = Stack((Entry("a.safetensors", model=1.0),))
    refused = refusals(rows, Files(lambda _, __: Located(path), open_lora), lambda: bases[base], Choices())
    if state == badges.MISFIT:
        assert list(map(str, refused)) == [f"row 1: a.safetensors: {badge.sentence}"]
        assert badge.if_off == badge.sentence.replace(" or switch this row off", "")
    assert bool(refused) == (state in (badges.MISFIT, badges.NOT_A_LORA, badges.BROKEN))


def test_a_file_that_is_no_safetensors_file_is_broken(tmp_path: Path, bases: dict[str, Any]) -> None:
    path = tmp_path / "a.safetensors"
    path.touch()
    assert badges.look("a", str(path), open_lora, bases["sdxl"]) == badges.Badge("broken", "the file is empty")


def problem_of(entry: Entry, base: Base | None = None, mode: str = AUTO) -> badges.Badge | None:
    return badges.row_problem(entry, lambda: base, Choices(SKIP, mode=mode))


def test_rows_that_cannot_be_applied(bases: dict[str, Any]) -> None:
    assert problem_of(Entry("a", model=0.0, clip=0.0, on=False)) is None
    assert problem_of(Entry("a", blocks={"mid": 0.5})) is None
    problem = problem_of(Entry("a", blocks={"(mid)": 0.5}))
    assert problem and problem.state == badges.BROKEN and "names no blocks" in problem.sentence
    assert problem_of(Entry("a", schedule="fade-in")) is None
    problem = problem_of(Entry("a", schedule="fade-in"), mode=MERGE)
    assert problem and "has a schedule" in problem.sentence
    problem = problem_of(Entry("wan_high_noise"), bases["wan"])
    assert problem and problem.state == badges.PARTLY and "for the high-noise model by its name" in problem.sentence
    assert problem_of(Entry("wan_low_noise"), bases["wan"]) is None


def test_a_bad_row_leaves_the_others_readable() -> None:
    rows = [{"lora": "a"}, {"lora": "b", "model": "much"}, 7, {"lora": "c", "on": False}]
    for value in (json.dumps({"version": 1, "loras": rows}), {"loras": rows}, json.dumps(rows)):
        found = badges.read_rows(value)
        assert [row.lora if isinstance(row, Entry) else "error" for row in found] == ["a", "error", "error", "c"]
    assert badges.read_rows("<lora:a:1>") == [Entry("a", model=1.0)]
    assert badges.read_rows("") == []
    assert badges.read_rows("<lora:a:much> <lora:b>") == [Entry("b", model=1.0)]  # the node applies just that
    for value in ("nonsense", {"version": 0, "loras": rows}, "<lora:a> and words"):
        with pytest.raises(StackError):
            badges.read_rows(value)
