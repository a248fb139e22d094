"""Weights per block: each layer gets its row's weight times the factors of the patterns that mean it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.lora_files import factors, named, write

from lorchestra.apply.plan import Plan, make_plan
from lorchestra.architectures.blocks import BlockNames
from lorchestra.architectures.sites import Site, encoder_sites, model_sites
from lorchestra.choices import AUTO, Choices
from lorchestra.errors import StackError
from lorchestra.fit.rows import Files, Located
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import Base
from lorchestra.stack import Entry, Stack

LAYERS = [
    "double_blocks.0.img_attn.proj",
    "double_blocks.1.img_mlp.0",
    "double_blocks.2.img_attn.proj",
    "single_blocks.0.linear1",
]
TARGETS = {
    "model": model_sites({f"{name}.weight": (f"diffusion_model.{name}.weight", (8, 6)) for name in LAYERS}),
    **encoder_sites(
        {
            "clip_l": {
                "text_model.encoder.layers.3.mlp.fc1": Site(
                    "clip_l.transformer.text_model.encoder.layers.3.mlp.fc1.weight", (8, 6)
                )
            }
        }
    ),
}


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    tensors = {}
    for number, name in enumerate(LAYERS):
        tensors |= named(f"diffusion_model.{name}", factors((8, 6), 2, seed=number))
    tensors |= named("text_encoder.text_model.encoder.layers.3.mlp.fc1", factors((8, 6), 2, seed=9))
    return write(tmp_path / "a.safetensors", tensors)


def plan(*rows: Entry) -> Plan:
    files = Files(lambda entry, _: Located(entry.lora), open_lora)
    return make_plan(Stack(rows), files, Base("test", TARGETS), Choices(mode=AUTO))


def weights(made: Plan) -> Mapping[str, float]:
    """Layer → weight, of what is changed."""
    return {
        change.key.removesuffix(".weight")
        .removeprefix("diffusion_model.")
        .removeprefix("clip_l.transformer."): part.weight
        for change, (part,) in made.changes.items()
    }


TEXT = "text_model.encoder.layers.3.mlp.fc1"


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ({"attn": 0.5}, [0.4, 0.8, 0.4, 0.8, 0.8]),
        ({"double_blocks.0-1": 0.5}, [0.4, 0.4, 0.8, 0.8, 0.8]),
        ({"double": 0.5, "attn": 0.5}, [0.2, 0.4, 0.2, 0.8, 0.8]),
        ({"attn": 0}, [None, 0.8, None, 0.8, 0.8]),
        ({"text_encoder": 0, "single": 2}, [0.8, 0.8, 0.8, 1.6, None]),
        ({"clip_l.layers.0-3": 0.25}, [0.8, 0.8, 0.8, 0.8, 0.2]),
        ({"*": 0.5, "double attn": -1}, [-0.4, 0.4, -0.4, 0.4, 0.4]),
        ({"early": 0, "late": 0}, [None, 0.8, None, 0.8, 0.8]),
        ({"*": 0}, [None] * 5),
    ],
)
def test_each_layer_has_its_weight(lora: Path, blocks: dict[str, float], expected: list[float | None]) -> None:
    found = weights(plan(Entry(str(lora), model=0.8, blocks=blocks)))
    assert found == pytest.approx({
        name: weight for name, weight in zip([*LAYERS, TEXT], expected, strict=True) if weight is not None
    })  # fmt: skip


def test_rows_of_one_file_add_up_per_block(lora: Path) -> None:
    rows = Entry(str(lora), model=0.5, blocks={"attn": 0}), Entry(str(lora), model=0.25, blocks={"double": 2})
    first, second = (weights(plan(*order)) for order in (rows, rows[::-1]))
    assert first == second == {LAYERS[0]: 0.5, LAYERS[1]: 1.0, LAYERS[2]: 0.5, LAYERS[3]: 0.75, TEXT: 0.75}


def test_rows_that_cancel_as_a_whole_stay_where_blocks_differ(lora: Path) -> None:
    found = weights(plan(Entry(str(lora), model=1, blocks={"attn": 0}), Entry(str(lora), model=-1)))
    assert found == {LAYERS[0]: -1, LAYERS[2]: -1}


def test_one_entry_for_each_set_of_factors(lora: Path) -> None:
    """The live path has as many weights as there are different factors, whatever they are."""
    made = plan(Entry(str(lora), model=0.8, blocks={"attn": 0.5}, schedule="0:0, 1:1"))
    assert [entry.model for entry in made.entries] == [0.4, 0.8]
    assert [entry.at(0.5, "positive") for entry in made.entries] == pytest.approx([0.2, 0.4])
    assert not made.is_constant
    assert {part.entry for change, (part,) in made.changes.items() if change.component == "model"} == {0, 1}


def test_beside_a_row_without_blocks(lora: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "b.safetensors", named(f"diffusion_model.{LAYERS[0]}", factors((8, 6), 2, seed=5)))
    made = plan(Entry(str(lora), model=0.8, blocks={"attn": 0.5}), Entry(str(other), model=0.3))
    for change, parts in made.changes.items():
        for part in parts:
            if part.entry is not None:
                assert made.entries[part.entry].model == part.weight, change
    assert sorted(entry.model for entry in made.entries) == [0.3, 0.4, 0.8]


def test_what_is_said(lora: Path) -> None:
    (outcome,) = plan(Entry(str(lora), model=0.8, blocks={"attn": 0.5, "double_blocks.90": 0, "audio": 0})).outcomes
    assert outcome.sentence == (
        "weight 0.8, all 5 modules fit; by block: attn × 0.5, double_blocks.90 × 0, audio × 0; none of its layers here "
        "is in double_blocks.90, audio"
    )


def test_what_is_no_pattern_is_refused(lora: Path) -> None:
    with pytest.raises(StackError, match=r"row 1: blocks: '\(attn\)' names no blocks"):
        plan(Entry(str(lora), model=0.8, blocks={"(attn)": 0.5}))


def test_models_with_sound() -> None:
    keys = [
        "diffusion_model.transformer_blocks.0.attn1.to_q.weight",
        "diffusion_model.transformer_blocks.0.audio_attn1.to_q.weight",
        "diffusion_model.transformer_blocks.0.audio_to_video_attn.to_q.weight",
    ]
    names = BlockNames(keys)
    assert ["video" in names.labels(key) for key in keys] == [True, False, True]
    assert ["audio" in names.labels(key) for key in keys] == [False, True, True]
    assert "video" not in BlockNames(keys[:1]).labels(keys[0])


def test_thirds() -> None:
    names = BlockNames([f"diffusion_model.blocks.{number}.attn.weight" for number in range(30)])
    thirds = ["early"] * 10 + ["mid"] * 10 + ["late"] * 10
    for number, third in enumerate(thirds):
        assert third in names.labels(f"diffusion_model.blocks.{number}.attn.weight")
    unet = BlockNames(["input_blocks.0.0.weight"])
    assert "early" in unet.labels("input_blocks.11.0.weight")
    assert "late" in unet.labels("output_blocks.0.0.weight")
