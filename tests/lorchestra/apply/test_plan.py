"""From rows to changes: every order of the rows is one plan, and what is not needed is not touched."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.algorithm_files import KINDS, MATRIX, made
from support.exact import delta, same_bits, sum_of, ulps_off
from support.lora_files import factors, named, weight, write
from torch import Tensor

from lorchestra.apply.fuse import Parts, add_updates
from lorchestra.apply.plan import Part, Plan, by_offset, make_plan
from lorchestra.architectures.sites import Site, Targets, encoder_sites, model_sites
from lorchestra.choices import AUTO, IGNORE, MERGE, SKIP, Choices
from lorchestra.errors import AdapterError, LorchestraError, MissingLora, StackError
from lorchestra.fit.outcome import COMPATIBLE, MISSING, OFF, PARTIAL
from lorchestra.fit.rows import Files, Located
from lorchestra.lora.cache import LoraCache, OpenLora, open_lora
from lorchestra.models.base import Base
from lorchestra.stack import Entry, Stack

SHAPES: Mapping[str, tuple[int, ...]] = {"a.to_q": (48, 40), "b.conv": (16, 12, 3, 3), "c.qkv": (30, 20)}
MODEL = model_sites({f"{name}.weight": (f"m.{name}.weight", shape) for name, shape in SHAPES.items()})
CLIP = encoder_sites({"clip_l": {"text_model.x": Site("t.x.weight", (24, 16))}})
TARGETS: Targets = {"model": MODEL, **CLIP}


def lora(path: Path, seed: int, rank: int = 4) -> Path:
    """A LoRA for all layers of the model and of its text encoder."""
    tensors: dict[str, Tensor] = {}
    for number, (name, shape) in enumerate(SHAPES.items()):
        tensors |= named(f"unet.{name}", factors(shape, rank, seed=10 * seed + number, alpha=3))
    tensors |= named("text_encoder.text_model.x", factors((24, 16), rank, seed=10 * seed + 9, alpha=3))
    return write(path, tensors)


def plan(
    *rows: Entry,
    targets: Targets = TARGETS,
    open_file: Callable[[str], OpenLora] = open_lora,
    find: Callable[[Entry, int], Located | None] = lambda entry, row: Located(entry.lora),
    schedules: bool = False,
    fallback: Callable[[], Mapping[str, Site]] = dict,
    expert: Callable[[], str | None] | None = None,
    **choices: str,
) -> Plan:
    """`expert` says which one of a pair the model's file is for by its name."""
    name = (lambda: (noise := expert()) and f"wan2.2_{noise}_noise_14B") if expert else (lambda: None)
    pair = (lambda: ("wan22_i2v_14b",)) if expert else tuple
    base = Base("test", targets, pair, find_fallback=fallback, find_listed_name=name)
    mode = AUTO if schedules else MERGE
    return make_plan(Stack(rows), Files(find, open_file), base, Choices(mode=mode, **choices))


def row(path: Path, model: float, clip: float | None = None, **changes: object) -> Entry:
    return Entry(str(path), model=model, clip=clip, **changes)


def updates(parts: Sequence[Part]) -> Parts:
    return [(offset, [item.term() for item in items]) for offset, items in by_offset(parts)]


def applied(made: Plan, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights after the plan, rounded once."""
    shapes = {f"m.{name}.weight": shape for name, shape in SHAPES.items()} | {"t.x.weight": (24, 16)}
    result: dict[str, Tensor] = {}
    for number, (key, shape) in enumerate(shapes.items()):
        start = weight(shape, number, dtype)
        wide = start.to(torch.float64 if dtype == torch.float64 else torch.float32, copy=True)
        for change, parts in made.changes.items():
            if change.key == key:
                wide = add_updates(wide, updates(parts))
        result[key] = wide.to(dtype)
    return result


def all_same(results: Sequence[Mapping[str, Tensor]]) -> bool:
    return all(same_bits(results[0][key], other[key]) for other in results for key in results[0])


DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
"""The last one for the test's sake: its sums show a changed order at once."""


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_orders_of_four_loras_are_one_result(tmp_path: Path, dtype: torch.dtype) -> None:
    """Two rows of one file, one negative, one at 0 whose file does not exist."""
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2, rank=8)
    rows = [row(a, 0.7, 0.2), row(a, 0.35), row(b, -0.8), row(tmp_path / "none.safetensors", 0)]
    results = [applied(plan(*order), dtype) for order in itertools.permutations(rows)]
    assert len(results) == 24
    assert all_same(results)
    assert not all_same([results[0], applied(plan(*rows[1:]), dtype)])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_all_orders_of_copies_links_and_files_with_one_header(tmp_path: Path, dtype: torch.dtype) -> None:
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)  # headers are the same
    copy, link = tmp_path / "z.safetensors", tmp_path / "0.safetensors"
    shutil.copy(a, copy)
    link.symlink_to(b)
    rows = [row(a, 0.1), row(copy, 0.2), row(b, 0.3), row(link, -0.7)]
    assert all_same([applied(plan(*order), dtype) for order in itertools.permutations(rows)])


def test_against_fp64(tmp_path: Path) -> None:
    paths = [lora(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2, 3)]
    weights = (0.75, -1.25, 0.3)
    made = plan(*(row(path, strength, 2 * strength) for path, strength in zip(paths, weights, strict=True)))
    for dtype in DTYPES[:3]:
        result = applied(made, dtype)
        for number, (name, shape) in enumerate([*SHAPES.items(), ("x", (24, 16))]):
            seeds = [10 * seed + (9 if name == "x" else number) for seed in (1, 2, 3)]
            updates = [
                (strength * (2 if name == "x" else 1), factors(shape, 4, seed=seed, alpha=3))
                for strength, seed in zip(weights, seeds, strict=True)
            ]
            key = "t.x.weight" if name == "x" else f"m.{name}.weight"
            assert ulps_off(result[key], sum_of(weight(shape, number, dtype), updates)) <= 0.51


@pytest.mark.parametrize("kind", ["copy", "symlink", "hard link", "same path", "other path"])
def test_one_file_under_two_names_is_one_file(tmp_path: Path, kind: str) -> None:
    a, b = lora(tmp_path / "a.safetensors", 1), tmp_path / "b.safetensors"
    if kind == "copy":
        shutil.copy(a, b)
    elif kind == "symlink":
        b.symlink_to(a)
    elif kind == "hard link":
        os.link(a, b)
    elif kind == "same path":
        b = a
    else:
        b = tmp_path / "." / ".." / tmp_path.name / "a.safetensors"
    made = plan(row(a, 0.1, 0.5), row(b, 0.2, 0.25))
    (chosen,) = made.chosen
    assert (chosen.weighted.model, chosen.weighted.clip) == (math.fsum((0.1, 0.2)), 0.75)
    assert all(len(parts) == 1 for parts in made.changes.values())
    assert all_same([applied(made, torch.float64), applied(plan(row(a, math.fsum((0.1, 0.2)), 0.75)), torch.float64)])
    assert [str(item.sentence) for item in made.outcomes] == [
        "weight model 0.3, clip 0.75, all 4 modules fit",
        "the same file as row 1, where it is added up",
    ]


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.floats(-100, 100)), min_size=1, max_size=7), st.randoms())
@settings(max_examples=25, deadline=None)
def test_weights_of_copies_add_up_exactly_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, float]], random: object
) -> None:
    """Rows of five names of one file: the sum is rounded once, so that neither order nor names change it."""
    folder = tmp_path_factory.getbasetemp() / "copies"
    if not folder.exists():
        lora(folder / "a.safetensors", 1)
        for name in "bcde":
            shutil.copy(folder / "a.safetensors", folder / f"{name}.safetensors")
    cache = LoraCache()
    shuffled = list(rows)
    random.shuffle(shuffled)  # pyright: ignore
    for order in (rows, shuffled):
        made = plan(*(row(folder / f"{name}.safetensors", value) for name, value in order), open_file=cache.open)
        total = math.fsum(value for _, value in rows)
        assert [item.weighted.model for item in made.chosen] == ([total] if total else [])
        assert len(made.outcomes) == len(rows)


def test_files_with_one_header_are_ordered_by_content_not_by_name(tmp_path: Path) -> None:
    """The two files change their names and the result stays, to the last bit of fp64."""
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    before = applied(plan(row(a, 0.7), row(b, -0.3)), torch.float64)
    spare = tmp_path / "spare"
    a.rename(spare)
    b.rename(a)
    spare.rename(b)
    assert all_same([before, applied(plan(row(b, 0.7), row(a, -0.3)), torch.float64)])
    assert not all_same([before, applied(plan(row(a, 0.7), row(b, -0.3)), torch.float64)])


def test_the_canonical_order_shows_in_fp64(tmp_path: Path) -> None:
    """Without it the tests above would prove nothing: the other order of the same sums gives other bits."""
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    made = plan(row(a, 0.7), row(b, -0.3))
    turned = Plan({change: parts[::-1] for change, parts in made.changes.items()}, made.outcomes, made.chosen)
    assert not all_same([applied(made, torch.float64), applied(turned, torch.float64)])


FLUX: Mapping[str, tuple[int, ...]] = {
    "double_blocks.0.img_attn.qkv.weight": (48, 16),
    "double_blocks.0.img_attn.qkv.bias": (48,),
    "final_layer.adaLN_modulation.1.weight": (32, 16),
}
FLUX_TARGETS: Targets = {"model": model_sites({name: (name, shape) for name, shape in FLUX.items()})}
QKV = "double_blocks.0.img_attn.qkv"


def everything(folder: Path) -> list[tuple[Path, float]]:
    """One file per algorithm, for the fused weight by turns whole and its middle third, and two for its bias."""
    files: list[tuple[Path, float]] = []
    for number, kind in enumerate(MATRIX):
        name, shape = (f"lora_unet_{QKV.replace('.', '_')}", (48, 16)) if number % 2 else (TO_K, (16, 16))
        tensors = {name + end: tensor for end, tensor in made(kind, shape, seed=number).items()}
        files.append((write(folder / f"{number}.safetensors", tensors), 0.4 - 0.1 * number))
    bias = {f"{QKV}.diff_b": weight((48,), 80), f"{TO_K}.diff_b": weight((16,), 81)}
    files.append((write(folder / "bias.safetensors", bias), 0.7))
    parts = named(TO_K, factors((16, 16), 4, seed=82, alpha=2)) | {f"{TO_K}.lora_up.bias": weight((16,), 83)}
    files.append((write(folder / "lora_bias.safetensors", parts), -0.3))
    return files


TO_K = "transformer.transformer_blocks.0.attn.to_k"


def test_all_algorithms_on_a_weight_and_its_parts_in_any_order(tmp_path: Path) -> None:
    """One change per weight, the same bits for every order, and each update taken from the original weight."""
    files, random = everything(tmp_path), Random(5)
    starts = {name: weight(FLUX[name], seed).double() for seed, name in enumerate((f"{QKV}.weight", f"{QKV}.bias"))}
    results: list[dict[str, Tensor]] = []
    for _ in range(12):
        random.shuffle(files)
        changes = plan(*(row(path, strength) for path, strength in files), targets=FLUX_TARGETS).changes
        assert {change.key for change in changes} == starts.keys()
        results.append(
            {change.key: add_updates(starts[change.key].clone(), updates(parts)) for change, parts in changes.items()}
        )
    assert all_same(results)
    expected = {name: start.clone() for name, start in starts.items()}
    for number, kind in enumerate(MATRIX):
        third = slice(0, 48) if number % 2 else slice(16, 32)
        start = starts[f"{QKV}.weight"][third]
        change = KINDS[kind].delta(made(kind, tuple(start.shape), seed=number), start)
        expected[f"{QKV}.weight"][third] += (0.4 - 0.1 * number) * change
    lora = factors((16, 16), 4, seed=82, alpha=2)
    expected[f"{QKV}.weight"][16:32] -= 0.3 * delta(lora, (16, 16))
    expected[f"{QKV}.bias"] += 0.7 * weight((48,), 80).double()
    expected[f"{QKV}.bias"][16:32] += 0.7 * weight((16,), 81).double() - 0.3 * 0.5 * weight((16,), 83).double()
    for name, result in results[0].items():
        torch.testing.assert_close(result, expected[name], rtol=1e-7, atol=1e-9)


def test_the_parts_of_a_change_stand_in_canonical_order(tmp_path: Path) -> None:
    """By file, and within one the whole first, then from the first row on, then by algorithm."""
    name = f"lora_unet_{QKV.replace('.', '_')}"
    tensors = named(TO_K, factors((16, 16))) | named(name, factors((48, 16))) | {f"{name}.diff": weight((48, 16))}
    tensors |= named(TO_K.replace("to_k", "to_v"), factors((16, 16)))
    files = [write(tmp_path / f"{n}.safetensors", tensors, {"n": str(n)}) for n in range(3)]
    (parts,) = plan(*(row(path, 1) for path in files), targets=FLUX_TARGETS).changes.values()
    one = [(None, "LoRA"), (None, "full difference"), ((0, 16, 16), "LoRA"), ((0, 32, 16), "LoRA")]
    assert [(part.place.offset, part.module.algorithm) for part in parts] == one * 3
    order = sorted(files, key=lambda path: open_lora(path).header.digest)
    assert [part.file.path for part in parts] == [str(path) for path in order for _ in range(4)]
    assert [offset for offset, _ in by_offset(parts[::-1])] == [None, (0, 16, 16), (0, 32, 16)]


def test_halves_that_a_tool_exchanges_are_exchanged_back(tmp_path: Path) -> None:
    name, shape = "transformer.norm_out.linear", (32, 16)
    key = "final_layer.adaLN_modulation.1.weight"
    for kind in ("LoRA", "LoKr", "DoRA by row"):
        tensors = {name + end: tensor for end, tensor in made(kind, shape).items()}
        path = write(tmp_path / f"{kind}.safetensors", tensors)
        ((change, parts),) = plan(row(path, 0.5), targets=FLUX_TARGETS).changes.items()
        assert change.key == key
        start = weight(shape).double()
        turned = KINDS[kind].delta(made(kind, shape), torch.cat([start[16:], start[:16]]))
        result = add_updates(start.clone(), updates(parts))
        torch.testing.assert_close(result, start + 0.5 * torch.cat([turned[16:], turned[:16]]), rtol=1e-7, atol=1e-9)


def never(*_: object) -> str:
    pytest.fail("this row's file is not needed")


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (Entry("none", model=0.0), "weight 0"),
        (Entry("none", model=0.0, clip=0.0), "weight 0"),
        (Entry("none", on=False, model=1.0), "off"),
        (Entry("none", on=False, model=1.0, schedule="0:1", blocks={"IN": 1.0}), "off"),
    ],
)
def test_a_row_that_does_nothing_is_not_looked_for(entry: Entry, sentence: str) -> None:
    made = plan(entry, find=never, open_file=never)  # pyright: ignore
    assert not made.changes
    assert [(item.verdict, item.sentence) for item in made.outcomes] == [(OFF, sentence)]


def test_a_clip_weight_without_a_clip_is_not_looked_for() -> None:
    entry = Entry("none", model=0.0, clip=1.0)
    made = plan(entry, targets={"model": MODEL}, find=never)  # pyright: ignore
    assert made.outcomes[0].sentence == "model weight 0, and no CLIP is connected"


def test_rows_that_cancel_are_not_opened(tmp_path: Path) -> None:
    none = tmp_path / "none.safetensors"
    made = plan(row(none, 0.3), row(none, -0.3), open_file=never)  # pyright: ignore
    assert not made.changes
    assert [item.verdict for item in made.outcomes] == [OFF, OFF]
    assert made.outcomes[0].sentence == "the weights of all rows of this file add up to 0"


def test_copies_that_cancel_change_nothing(tmp_path: Path) -> None:
    a, b = lora(tmp_path / "a.safetensors", 1), tmp_path / "b.safetensors"
    shutil.copy(a, b)
    made = plan(row(a, 0.3), row(b, -0.3))
    assert not made.changes
    assert not made.chosen
    assert [item.verdict for item in made.outcomes] == [OFF, OFF]


@pytest.mark.parametrize(("model", "clip", "changed"), [(1, 0, {"model"}), (0, 1, {"clip"}), (1, 1, {"model", "clip"})])
def test_parts_at_weight_zero_change_nothing(tmp_path: Path, model: float, clip: float, changed: set[str]) -> None:
    made = plan(row(lora(tmp_path / "a.safetensors", 1), model, clip))
    assert {change.component for change in made.changes} == changed
    assert made.outcomes[0].verdict == COMPATIBLE


def test_missing_files_are_all_named_with_their_rows(tmp_path: Path) -> None:
    rows = [row(lora(tmp_path / "a.safetensors", 1), 1), *(Entry(f"lost{n}") for n in range(8)), Entry("civitai:1@2")]

    def find(entry: Entry, number: int) -> Located | None:
        return Located(entry.lora) if entry.lora.startswith("/") else None

    with pytest.raises(MissingLora) as error:
        plan(*rows, find=find)
    head, *lines = str(error.value).split("\n")
    assert head.startswith("9 LoRAs were not found. Add the files to a LoRA folder, choose others,")
    assert lines == [
        *(f"row {n + 2}: lost{n} was not found" for n in range(8)),
        "row 10: no LoRA here is known as civitai:1@2 (https://civitai.com/models/1?modelVersionId=2)",
    ]
    known = row("x.safetensors", 1, sha256="AB" * 32, air="urn:air:sdxl:lora:civitai:1@2")
    with pytest.raises(MissingLora, match=r"row 1: x\.safetensors was not found") as error:
        plan(known, find=find)
    assert f"(AIR civitai:1@2, SHA-256 {'ab' * 32}, https://civitai.com/models/1?modelVersionId=2)" in str(error.value)
    made = plan(*rows, find=find, missing=SKIP)
    assert [item.verdict for item in made.outcomes] == [COMPATIBLE, *[MISSING] * 9]
    assert len(made.changes) == 4


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """A name of several files, a file that is not there, a broken one, and one for another model; each with its row."""
    good, other = lora(tmp_path / "a.safetensors", 1), tmp_path / "other.safetensors"
    write(other, named("nowhere", factors((8, 8), 2, seed=1)))
    bad = write(tmp_path / "bad.safetensors", {"unet.a.to_q.lora_up.weight": torch.ones(48, 4)})

    def find(entry: Entry, number: int) -> Located | None:
        if entry.lora == "twin":
            raise StackError("'twin' is in 2 folders. Choose one: a/twin, b/twin", number)
        return Located(entry.lora) if entry.lora.startswith("/") else None

    rows = [row(good, 1), Entry("twin"), Entry("lost"), row(bad, 1), row(other, 1)]
    with pytest.raises(StackError) as error:
        plan(*rows, find=find)
    assert error.value.row is None
    assert {number for number, _ in error.value.rows} == {2, 3, 4, 5}
    for text in (
        "row 2: 'twin' is in",
        "row 3: lost was not found",
        f"row 4: {bad}: module ",
        f"row 5: {other}: 0 of 1",
    ):
        assert text in str(error.value)
    with pytest.raises(StackError, match=r"row 2: 'twin' is in 2 folders") as error:
        plan(*rows, find=find, policy=IGNORE)
    assert error.value.row == 2


def test_what_this_version_does_not_apply_is_refused_with_the_row(tmp_path: Path) -> None:
    a = lora(tmp_path / "a.safetensors", 1)
    with pytest.raises(StackError, match=r"row 2: .* has a schedule"):
        plan(row(a, 1), row(a, 1, schedule="0:0, 1:1"))
    with pytest.raises(StackError, match=r"row 2: .* is for the positive conditioning alone"):
        plan(row(a, 1), row(a, 1, conditioning="positive"))
    for schedules in (False, True):
        with pytest.raises(StackError, match=r"row 1: blocks: 'IN 1=0' names no blocks"):
            plan(row(a, 1, blocks={"IN 1=0": 0.5}), schedules=schedules)


def test_a_schedule_that_never_changes_is_merged(tmp_path: Path) -> None:
    a = lora(tmp_path / "a.safetensors", 1)
    made = plan(row(a, 0.8, schedule="step 4:0.5"))
    assert made.is_constant
    assert made.outcomes[0].sentence == "weight model 0.4, clip 0.8, all 4 modules fit"
    assert all_same([applied(made, torch.float64), applied(plan(row(a, 0.4, 0.8)), torch.float64)])


def test_rows_of_one_file_with_schedules_are_one_part_a_module(tmp_path: Path) -> None:
    """The weight of the diffusion model is their sum at each moment, the text encoder's is constant."""
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    rows = [
        row(a, 0.5),
        row(a, 0.7, schedule="0:0, 1:1"),
        row(b, 1, 0),
        row(a, -0.2, 0.3, schedule="bell", conditioning="negative"),
    ]
    plans = [plan(*order, schedules=True) for order in itertools.permutations(rows)]
    for one in plans:
        assert not one.is_constant
        assert one.entries == tuple(item.weighted for item in one.chosen)
        number = next(n for n, item in enumerate(one.chosen) if item.file.path == str(a))
        assert not one.entries[number].is_constant and one.entries[1 - number].is_constant
        for change, parts in one.changes.items():
            assert len(parts) == (2 if change.component == "model" else 1)
            for part in parts:
                item = part.entry if part.entry is not None else number
                assert part.file is one.chosen[item].file
                assert (part.entry is None) == (change.component == "clip")
                weighted = one.entries[item]
                assert part.weight == (weighted.model if change.component == "model" else weighted.clip)
        values = [[w.at(x, c) for w in one.entries] for x in (0, 0.25, 0.5, 1) for c in ("positive", "negative")]
        assert values == [
            [w.at(x, c) for w in plans[0].entries] for x in (0, 0.25, 0.5, 1) for c in ("positive", "negative")
        ]
        assert one.entries[number].at(0.5, "positive") == pytest.approx(0.85)
        assert one.entries[number].at(0.5, "negative") == pytest.approx(0.65)
    assert plans[0].outcomes[0].sentence == (
        "weight 0.5 + 0.7 × schedule 0:0, 1:1 + -0.2 × schedule 0:0 cosine, 0.5:1 cosine, 1:0 on the negative "
        "conditioning; text encoder constant at 1.5; all 4 modules fit"
    )


def test_what_the_outcome_says_of_schedules(tmp_path: Path) -> None:
    a = lora(tmp_path / "a.safetensors", 1)
    made = plan(row(a, 0.7, schedule="fade-in"), schedules=True)
    assert made.outcomes[0].sentence == (
        "weight 0.7 × schedule 0:0, 1:1; text encoder constant at 0.7; all 4 modules fit"
    )
    made = plan(row(a, 0.7, 0, conditioning="positive"), schedules=True)
    assert made.outcomes[0].sentence == "weight 0.7 on the positive conditioning; all 3 modules fit"
    made = plan(row(a, 0.3, 1, schedule="0:0, 1:1"), row(a, -0.3, 1, schedule="fade-in"), schedules=True)
    assert {change.component for change in made.changes} == {"clip"}
    assert made.is_constant
    made = plan(row(a, 0.3, 0, schedule="0"))
    assert [item.sentence for item in made.outcomes] == ["the weights of all rows of this file add up to 0"]


def test_rows_for_the_other_model_of_a_pair_are_off(tmp_path: Path) -> None:
    a = lora(tmp_path / "a.safetensors", 1)
    rows = [
        row(a, 1, expert="high"),
        row(a, 0.5, expert="both"),
        Entry("none_low_noise.safetensors", expert="high"),
        Entry("none_HighNoise.safetensors", schedule="0:0, 1:1"),
    ]
    made = plan(*rows, expert=lambda: "low")
    assert [(item.verdict, item.sentence) for item in made.outcomes] == [
        (OFF, "for the high-noise model, and this is the low-noise one; not applied"),
        (COMPATIBLE, "weight 0.5, all 4 modules fit"),
        (OFF, "for the high-noise model, and this is the low-noise one; not applied"),
        (OFF, "for the high-noise model by its name, and this is the low-noise one; not applied"),
    ]
    plan(row(a, 1), row(a, 1, expert="both"), Entry("none", on=False, expert="high"), expert=never)
    assert (
        plan(
            *rows,
            expert=lambda: None,
            missing=SKIP,
            schedules=True,
            find=lambda e, _: Located(e.lora) if e.lora[0] == "/" else None,
        )
        .entries[0]
        .model
        == 1.5
    )
    assert (
        plan(*rows[:2]).chosen[0].weighted.model
        == plan(*rows[:2], expert=lambda: "high").chosen[0].weighted.model
        == 1.5
    )


def test_a_lora_of_which_nothing_fits_is_an_error_with_the_row(tmp_path: Path) -> None:
    a = lora(tmp_path / "a.safetensors", 1)
    wide = write(tmp_path / "b.safetensors", named("unet.a.to_q", factors((48, 41), 4)))
    other = write(tmp_path / "c.safetensors", named("unet.other", factors((48, 40), 4)))
    with pytest.raises(StackError, match=r"row 2: .*b.safetensors: 0 of 1 modules fit this model \(unet.a.to_q, made"):
        plan(row(a, 1), row(wide, 1))
    with pytest.raises(StackError, match=r"row 1: .*unet.other, the model has no such layer"):
        plan(row(other, 1), row(a, 1))


def test_a_lora_that_fits_in_part_says_what_is_left_out(tmp_path: Path) -> None:
    tensors = named("unet.a.to_q", factors((48, 40), 4)) | named("unet.b.conv", factors((16, 12), 4))
    tensors |= named("unet.other", factors((4, 4), 1)) | {"some.tensor": torch.ones(3)}
    made = plan(row(write(tmp_path / "a.safetensors", tensors), 0.5))
    (outcome,) = made.outcomes
    assert outcome.verdict == PARTIAL
    assert (outcome.applied, outcome.unmatched, outcome.misshapen, outcome.unread) == (1, 1, 1, 1)
    assert "1 of 3 modules fit; 1 tensors of the file belong to no LoRA module; left out: unet.b.conv" in str(outcome)
    assert [change.key for change in made.changes] == ["m.a.to_q.weight"]


def test_text_encoder_modules_without_a_clip_are_no_failure(tmp_path: Path) -> None:
    made = plan(row(lora(tmp_path / "a.safetensors", 1), 1), targets={"model": MODEL})
    (outcome,) = made.outcomes
    assert (outcome.verdict, outcome.applied, outcome.unused) == (COMPATIBLE, 3, 1)
    assert "1 text encoder modules are not used" in outcome.sentence


def test_the_fallback_is_asked_once_and_only_where_names_are_not_known(tmp_path: Path) -> None:
    calls: list[int] = []

    def fallback() -> Mapping[str, Site]:
        calls.append(1)
        return {"new.layer": Site("m.new.weight", (8, 8))}

    a = lora(tmp_path / "a.safetensors", 1)
    plan(row(a, 1), fallback=fallback)
    assert not calls
    new = [
        write(tmp_path / f"{seed}.safetensors", named("new.layer", factors((8, 8), 2, seed=seed))) for seed in (1, 2)
    ]
    made = plan(row(a, 1), row(new[0], 1), row(new[1], 1), fallback=fallback)
    assert len(calls) == 1
    assert {change.key: len(parts) for change, parts in made.changes.items()}["m.new.weight"] == 2


def test_a_bad_file_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    a = lora(tmp_path / "a.safetensors", 1)
    bad = write(tmp_path / "b.safetensors", {"unet.a.to_q.lora_up.weight": torch.ones(48, 4)})
    with pytest.raises(AdapterError, match=r"b.safetensors: module unet.a.to_q: the up half is there"):
        plan(row(a, 1), row(bad, 1))


class Counting:
    """Opens files so that every tensor that is read is counted."""

    def __init__(self) -> None:
        self.reads = 0
        self._files: dict[str, OpenLora] = {}

    def open(self, path: str) -> OpenLora:
        if path not in self._files:
            opened = open_lora(path)
            counting = self

            class Reader:
                @contextmanager
                def opened(self) -> Iterator[Callable[[str], Tensor]]:
                    with opened._tensors.opened() as read:

                        def counted(name: str) -> Tensor:
                            counting.reads += 1
                            return read(name)

                        yield counted

            self._files[path] = OpenLora(opened, Reader(), keep=True)
        return self._files[path]


def test_making_a_plan_reads_no_tensor_and_a_new_weight_reads_nothing_again(tmp_path: Path) -> None:
    a, b = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    counting = Counting()
    made = plan(row(a, 0.5), row(b, 0.5), open_file=counting.open)
    assert counting.reads == 0
    applied(made, torch.float16)
    assert counting.reads == 2 * 4 * 3
    applied(plan(row(a, 0.6), row(b, -0.5), open_file=counting.open), torch.float16)
    assert counting.reads == 2 * 4 * 3


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not say what a process reads")
def test_the_system_agrees_that_nothing_is_read_again(tmp_path: Path) -> None:
    """Two files with one header, 4 MB each: they are hashed once, and mapped once."""
    shape = (2000, 500)
    targets = {"model": model_sites({"x.weight": ("x.weight", shape)})}
    paths = [
        write(tmp_path / f"{seed}.safetensors", named("unet.x", factors(shape, 400, seed=seed))) for seed in (1, 2)
    ]
    cache = LoraCache()

    def read_bytes() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    def run(strength: float) -> int:
        before = read_bytes()
        made = plan(row(paths[0], strength), row(paths[1], 1), targets=targets, open_file=cache.open)
        start = weight(shape)
        add_updates(start, [item for parts in made.changes.values() for item in updates(parts)])
        return read_bytes() - before

    assert run(0.5) > 8_000_000
    assert run(0.6) < 4096


def test_an_error_of_a_row_leaves_the_others_alone(tmp_path: Path) -> None:
    """A cache that met a bad file serves the good ones as before."""
    cache, a = LoraCache(), lora(tmp_path / "a.safetensors", 1)
    bad = tmp_path / "b.safetensors"
    bad.write_bytes(b"")
    first = applied(plan(row(a, 1), open_file=cache.open), torch.float32)
    with pytest.raises(LorchestraError):
        plan(row(a, 1), row(bad, 1), open_file=cache.open)
    assert all_same([first, applied(plan(row(a, 1), open_file=cache.open), torch.float32)])


def test_the_same_row_object_twice(tmp_path: Path) -> None:
    twice = row(lora(tmp_path / "a.safetensors", 1), 0.25)
    made = plan(twice, twice)
    assert made.chosen[0].weighted.model == 0.5
    assert len(made.outcomes) == 2
