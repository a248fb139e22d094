"""One layer of a file over several of the model: each gets its rows of what the formula makes of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.algorithm_files import KINDS, MATRIX, Kind, made
from support.closeness import apart, noise
from support.lora_files import factors, named, read, weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.apply.fuse import add_updates
from lorchestra.apply.live import Geometry, LiveLayer, LiveTerm
from lorchestra.apply.plan import make_plan
from lorchestra.errors import StackError
from lorchestra.fit.outcome import COMPATIBLE, INCOMPATIBLE, check_file
from lorchestra.fit.rows import Files, Located
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import read_base_model
from lorchestra.models.placing import place
from lorchestra.stack import Entry, Stack

IN = 16
EQUAL, GROUPED, UNEVEN = (16, 16, 16), (24, 8, 8), (40, 12, 12)
"""Rows of q, k and v. A quarter of all of them, which is a block of LoKr and of OFT, is 12, 10, and 16."""

Parts = Mapping[str, Tensor]


def model(folder: Path, counts: tuple[int, ...] = GROUPED) -> tuple[Path, list[Tensor]]:
    """A file with Krea 2's names for the attention of one block; and q, k and v."""
    weights = [weight((count, IN), number) for number, count in enumerate(counts)]
    tensors = {f"blocks.0.attn.w{part}.weight": item for part, item in zip("qkv", weights, strict=True)}
    tensors |= {
        f"blocks.0.attn.w{part}.bias": weight((len(item),), 9) for part, item in zip("qkv", weights, strict=True)
    }
    return write(folder / "base.safetensors", {**tensors, "txtfusion.projector.weight": weight((1, 4))}), weights


def lora(
    folder: Path, tensors: Mapping[str, Tensor], name: str = "transformer.transformer_blocks.0.attn.to_qkv"
) -> Path:
    return write(folder / "lora.safetensors", {name + end: tensor for end, tensor in tensors.items()})


def stack(path: Path, strength: float) -> Stack:
    return Stack((Entry(str(path), True, strength),)).checked()


def expected(kind: Kind, parts: Parts, weights: list[Tensor], strength: float) -> list[Tensor]:
    """W + s·Δ of the weights one below the other, by the formula."""
    whole = torch.cat(weights).double()
    changed = whole + strength * kind.delta(parts, whole)
    return list(changed.split([len(item) for item in weights]))


CUT = [kind for kind in MATRIX if kind not in ("DoRA by column", "BOFT", "OFT")]


@pytest.mark.parametrize("counts", [EQUAL, GROUPED, UNEVEN], ids=str)
@pytest.mark.parametrize("kind", CUT)
def test_merged_and_live_give_what_the_formula_gives(kind: str, counts: tuple[int, ...], tmp_path: Path) -> None:
    base, weights = model(tmp_path, counts)
    parts = made(kind, (sum(counts), IN))
    path = lora(tmp_path, parts)
    found = read_base_model(base)
    assert check_file(open_lora(path).examined, found).finding == "all 1 modules fit"
    files = Files(find=lambda entry, _: Located(entry.lora), open=open_lora)
    plan = make_plan(stack(path, 0.7), files, found)
    assert [outcome.applied for outcome in plan.outcomes] == [1]
    wanted = expected(KINDS[kind], parts, weights, 0.7)
    by_key = {change.key: items for change, items in plan.changes.items()}
    for part, before, after in zip("qkv", weights, wanted, strict=True):
        items = by_key[f"blocks.0.attn.w{part}.weight"]
        terms = [item.term() for item in items]
        merged = before.double().clone()
        add_updates(merged, [(item.place.offset, [term]) for item, term in zip(items, terms, strict=True)])
        assert apart(merged - before, after - before) < 1e-5
        live = LiveLayer(
            [LiveTerm(term.adapter, 0, item.place) for item, term in zip(items, terms, strict=True)],
            [],
            Geometry(tuple(before.shape)),
            torch.float32,
        )
        live.prepare(before)
        x = noise(2, 5, IN, seed=3)

        def run(x: Tensor, before: Tensor = before) -> Tensor:
            return x @ before.T

        y = live(x, run(x), run, torch.tensor([0.7]), [True])
        assert apart(y, x.double() @ after.T) < 1e-5


@pytest.mark.parametrize("kind", CUT)
def test_baked_into_a_file(kind: str, tmp_path: Path) -> None:
    base, weights = model(tmp_path)
    parts = made(kind, (sum(GROUPED), IN))
    bake(base, stack(lora(tmp_path, parts), -0.6), tmp_path / "out.safetensors")
    result = read(tmp_path / "out.safetensors")
    for part, before, after in zip("qkv", weights, expected(KINDS[kind], parts, weights, -0.6), strict=True):
        assert apart(result[f"blocks.0.attn.w{part}.weight"] - before, after - before) < 1e-4


@pytest.mark.parametrize("limit", [None, 0.001])
def test_blocks_that_turn_rows_of_one_layer_only(limit: float | None, tmp_path: Path) -> None:
    """Four blocks of 16 rows for 32 + 16 + 16; alpha limits all of them together."""
    base, weights = model(tmp_path, (32, 16, 16))
    parts = made("OFT", (64, IN))
    written = dict(parts)
    if limit is not None:
        written[".alpha"] = torch.tensor(limit)
        skew = parts[".oft_blocks"].double() - parts[".oft_blocks"].double().mT
        assert skew.norm() > 64 * limit
        parts[".oft_blocks"] = parts[".oft_blocks"].double() * (64 * limit / (skew.norm() + 1e-8))
    bake(base, stack(lora(tmp_path, written), 1.0), tmp_path / "out.safetensors")
    result = read(tmp_path / "out.safetensors")
    for part, before, after in zip("qkv", weights, expected(KINDS["OFT"], parts, weights, 1.0), strict=True):
        assert apart(result[f"blocks.0.attn.w{part}.weight"] - before, after - before) < 1e-3


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("DoRA by column", "its DoRA has a norm per column, which is taken over all rows, and the model has 3 layers"),
        ("BOFT", "BOFT exchanges the rows of the whole layer, and the model has 3 layers for it"),
        ("OFT", "its blocks turn 10 rows at a time, which are rows of two of the model's layers"),
    ],
)
def test_what_hangs_together_is_refused_in_words(kind: str, reason: str, tmp_path: Path) -> None:
    base, _ = model(tmp_path)
    file = open_lora(lora(tmp_path, made(kind, (sum(GROUPED), IN))))
    found = read_base_model(base)
    ((_, said),) = place(file.reading.modules, found.targets).misshapen
    assert reason in said
    assert check_file(file.examined, found).verdict == INCOMPATIBLE
    with pytest.raises(StackError, match="0 of 1 modules"):
        bake(base, stack(Path(file.path), 1.0), tmp_path / "out.safetensors")


def test_biases_are_cut_as_their_weights_are(tmp_path: Path) -> None:
    base, _ = model(tmp_path)
    total = sum(GROUPED)
    parts = factors((total, IN), 4, alpha=2)
    bias, diff = noise(total, seed=5), noise(total, seed=6)
    name = "diffusion_model.blocks.0.attn.qkv"
    path = write(
        tmp_path / "lora.safetensors", {**named(name, parts), f"{name}.lora_B.bias": bias, f"{name}.diff_b": diff}
    )
    before = read(base)
    bake(base, stack(path, 0.5), tmp_path / "out.safetensors")
    result = read(tmp_path / "out.safetensors")
    change = (0.5 * (bias * 2 / 4 + diff)).split(list(GROUPED))
    for part, added in zip("qkv", change, strict=True):
        key = f"blocks.0.attn.w{part}.bias"
        assert (result[key] - before[key] - added).abs().max() < 1e-6


def test_a_layer_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    base, _ = model(tmp_path)
    tensors = {
        **named("diffusion_model.blocks.0.attn.qkv", factors((sum(GROUPED), IN))),
        **named("diffusion_model.blocks.0.attn.wk", factors((8, IN))),
    }
    outcome = check_file(open_lora(write(tmp_path / "x.safetensors", tensors)).examined, read_base_model(base))
    assert (outcome.applied, outcome.misshapen) == (1, 1)
    assert "the file changes the same layer as diffusion_model.blocks.0.attn.qkv" in outcome.finding


FLUX = {
    "double_blocks.0.img_attn.qkv": (48, 16), "double_blocks.0.txt_attn.qkv": (48, 16),
    "single_blocks.0.linear1": (112, 16),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "native", "rows"),
    [
        ("transformer_blocks.0.attn.to_qkv", "double_blocks.0.img_attn.qkv", 48),
        ("transformer_blocks.0.attn.to_added_qkv", "double_blocks.0.txt_attn.qkv", 48),
        ("single_transformer_blocks.0.attn.to_qkv", "single_blocks.0.linear1", 48),
    ],
)
def test_fused_names_of_a_model_that_is_fused_itself(name: str, native: str, rows: int, tmp_path: Path) -> None:
    base = write(tmp_path / "flux.safetensors", {f"{key}.weight": weight(shape) for key, shape in FLUX.items()})
    parts = made("LoKr", (rows, 16))
    path = lora(tmp_path, parts, f"transformer.{name}")
    before = read(base)[f"{native}.weight"]
    assert check_file(open_lora(path).examined, read_base_model(base)).verdict == COMPATIBLE
    bake(base, stack(path, 1.0), tmp_path / "out.safetensors")
    after = read(tmp_path / "out.safetensors")[f"{native}.weight"]
    delta = KINDS["LoKr"].delta(parts, before[:rows])
    assert apart(after[:rows] - before[:rows], delta) < 1e-4
    assert torch.equal(after[rows:], before[rows:])
