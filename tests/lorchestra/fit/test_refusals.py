"""What is refused before anything is loaded: what is certain, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
from support import synthetic
from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.architectures.patterns import Shape
from lorchestra.choices import AUTO, ERROR, IGNORE, MERGE, REFUSE, SKIP, WARN, Choices
from lorchestra.demo.checkpoint import checkpoint_shapes
from lorchestra.errors import StackError, all_in_one
from lorchestra.fit.refusals import refusals
from lorchestra.fit.rows import Files, Located, changed_sentence, missing_sentence
from lorchestra.lora.cache import LoraCache
from lorchestra.models.base import Base, read_base_model
from lorchestra.stack import Entry, Stack

DEMO = "demo"
LORAS: Mapping[str, Mapping[str, Shape]] = {
    "flux.safetensors": lora_shapes("flux1_dev", "*_blocks.*"),
    "flux-attention.safetensors": lora_shapes("flux1_dev", "*attn.qkv.weight"),
    "sdxl.safetensors": lora_shapes("sdxl", "*attn?.to_*"),
    "sd15.safetensors": lora_shapes("sd15", "*attn?.to_*"),
    "two-layers.safetensors": lora_shapes("sd15", "input_blocks.1.1.*attn1.to_[qk].weight"),
    "wan.safetensors": lora_shapes("wan21_t2v_14b", "blocks.*attn*"),
    "nobody-knows.safetensors": {"lora_unet_x_1.lora_down.weight": (1, 24), "lora_unet_x_1.lora_up.weight": (48, 1)},
    "clip.safetensors": {"lora_te1_nothing.lora_down.weight": (1, 24), "lora_te1_nothing.lora_up.weight": (48, 1)},
    "half.safetensors": {"lora_unet_x_1.lora_down.weight": (1, 24)},
    "checkpoint.safetensors": base_shapes("sd15"),
}
"""A file for each name."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All the LoRAs, and broken files."""
    folder = tmp_path_factory.mktemp("loras")
    for name, shapes in LORAS.items():
        write_sparse(folder / name, shapes)
    (folder / "empty.safetensors").touch()
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Base]:
    """A base model by its architecture, read from a file."""
    folder = tmp_path_factory.mktemp("bases")

    @cache
    def read(name: str) -> Base:
        shapes = checkpoint_shapes(vae=False) if name == DEMO else base_shapes(name)
        return read_base_model(write_sparse(folder / f"{name}.safetensors", shapes))

    return read


CACHE = LoraCache()


def never() -> Base | None:
    pytest.fail("the base is not needed")


def check(
    folder: Path,
    *entries: Entry,
    base: Callable[[], Base | None] = never,
    missing: str = ERROR,
    policy: str = REFUSE,
    schedules: bool = False,
    has_clip: bool = True,
) -> list[str]:
    def find(entry: Entry, row: int) -> Located | None:
        path = folder / entry.lora
        return Located(str(path)) if path.exists() else None

    choices = Choices(missing, policy, AUTO if schedules else MERGE)
    return [str(one) for one in refusals(Stack(entries), Files(find, CACHE.open), base, choices, has_clip=has_clip)]


@pytest.mark.parametrize(
    ("lora", "model", "sentence"),
    [
        ("flux", "sdxl", "made for FLUX.1, this model is SDXL: 0 of 304 modules fit. Choose an SDXL LoRA"),
        ("flux", "sd15", "made for FLUX.1, this model is SD 1.5: 0 of 304 modules fit. Choose an SD 1.5 LoRA"),
        ("sd15", "sdxl", "made for SD 1.5, this model is SDXL: "),
        ("sdxl", "sd15", "made for SDXL, this model is SD 1.5: "),
        ("sdxl", "flux1_dev", "made for SDXL, this model is FLUX.1: 0 of 560 modules fit. Choose a FLUX.1 LoRA"),
        ("wan", "qwen_image", "made for Wan 14B, this model is Qwen-Image: 0 of "),
        ("flux", DEMO, "made for FLUX.1; 0 of 304 modules fit this model. Choose a LoRA made for this model"),
    ],
)
def test_a_lora_for_another_model(
    folder: Path, base: Callable[[str], Base], lora: str, model: str, sentence: str
) -> None:
    (found,) = check(folder, Entry(f"{lora}.safetensors"), base=lambda: base(model))
    assert found.startswith(f"row 1: {lora}.safetensors: {sentence}")
    assert found.endswith(" or switch this row off.")


@pytest.mark.parametrize(
    ("lora", "model"),
    [
        ("sdxl", "sdxl"),
        ("flux", "flux1_schnell"),
        ("flux", "chroma"),
        ("sdxl", "ssd1b"),
        ("sd15", DEMO),
        ("two-layers", "sd15"),
        ("clip", "sdxl"),
        ("nobody-knows", "sdxl"),
        ("nobody-knows", DEMO),
    ],
)
def test_what_fits_or_may_fit_passes(folder: Path, base: Callable[[str], Base], lora: str, model: str) -> None:
    assert check(folder, Entry(f"{lora}.safetensors"), base=lambda: base(model)) == []


def test_a_base_that_nobody_knows(folder: Path, tmp_path: Path) -> None:
    """Without ComfyUI's prefix its layers may be renamed when it is loaded."""
    shapes = {f"layers.{number}.weight": (64, 64) for number in range(40)}
    for prefix, count in (("", 0), ("model.diffusion_model.", 1)):
        path = write_sparse(tmp_path / "new.safetensors", {prefix + name: shape for name, shape in shapes.items()})
        unknown = read_base_model(path)
        assert unknown.architectures == ()
        assert len(check(folder, Entry("flux.safetensors"), base=lambda: unknown)) == count  # noqa: B023
    assert check(folder, Entry("flux.safetensors"), base=lambda: None) == []


def test_a_quantization_that_renames_layers(folder: Path, tmp_path: Path) -> None:
    shapes = base_shapes("sdxl", "") | {"x.qweight": (8, 8)}
    packed = read_base_model(write_sparse(tmp_path / "packed.safetensors", shapes))
    assert packed.hidden
    assert check(folder, Entry("flux.safetensors"), base=lambda: packed) == []


LAYOUTS = ("sd15", "sdxl", "flux1_dev", "flux2_klein_4b", "sd35_medium", "qwen_image", "z_image", "wan21_t2v_14b",
           "hunyuan_video", "pixart_sigma", "auraflow", "lumina2", "chroma", "ltxv_13b", "cogvideox_5b")  # fmt: skip


def _files(architecture: str) -> Iterator[tuple[str, Mapping[str, Shape]]]:
    """The model as a checkpoint, alone, and with diffusers' names."""
    yield "checkpoint", base_shapes(architecture)
    yield "alone", base_shapes(architecture, "")
    layers = synthetic.diffusers(architecture)
    if layers:
        yield "diffusers", {f"{name}.weight": shape for name, shape in layers.items()}


@pytest.mark.parametrize("architecture", LAYOUTS)
def test_a_lora_of_the_same_model_is_never_refused(tmp_path: Path, architecture: str) -> None:
    """In all spellings, whatever the layout of the base's file is."""
    names: list[str] = []
    for number, spelling in enumerate(synthetic.spellings(architecture)):
        names.append(f"{number}.safetensors")
        write_sparse(tmp_path / names[-1], synthetic.lora(architecture, spelling, spelling.selections[-1]))
    for layout, shapes in _files(architecture):
        found = read_base_model(write_sparse(tmp_path / f"{layout}-base.safetensors", shapes))
        assert check(tmp_path, *map(Entry, names), base=lambda: found) == [], layout  # noqa: B023


def test_rows_that_do_nothing_are_not_looked_at(folder: Path) -> None:
    """Off, at weight 0, for text encoders alone, or cancelled by another row."""
    flux = "flux.safetensors"
    rows = [
        Entry(flux, on=False),
        Entry(flux, model=0),
        Entry(flux, model=0.5, clip=1),
        Entry(flux, model=-0.5, clip=1),
    ]
    assert check(folder, *rows) == []
    assert check(folder, Entry("checkpoint.safetensors", model=0, clip=1), has_clip=False) == []


def test_all_rows_are_told_each_with_its_number(folder: Path, base: Callable[[str], Base]) -> None:
    names = ("sdxl", "flux", "gone", "half", "checkpoint", "flux", "flux-attention", "empty")
    found = check(folder, *(Entry(f"{name}.safetensors") for name in names), base=lambda: base("sdxl"))
    assert [line.partition(": ")[0] for line in found] == ["row 3", "row 2", "row 4", "row 5", "row 7", "row 8"]
    assert "gone.safetensors was not found" in found[0]
    assert "row 4: half.safetensors: module lora_unet_x_1: " in found[2]
    assert "checkpoint" in found[3].removeprefix("row 5: checkpoint.safetensors: ")
    assert str(folder) not in "".join(found)


def test_a_name_of_several_files_hides_nothing_of_the_other_rows(folder: Path, base: Callable[[str], Base]) -> None:
    """Nor does a schedule that cannot be merged; and they are refused under every policy."""

    def find(entry: Entry, row: int) -> Located | None:
        if entry.lora == "twin":
            raise StackError("'twin' is in 2 folders. Choose one: a/twin, b/twin", row)
        path = folder / entry.lora
        return Located(str(path)) if path.exists() else None

    names = ("flux.safetensors", "twin", "gone", "sdxl.safetensors")
    stack = Stack((*map(Entry, names), Entry("sdxl.safetensors", schedule="0:0, 1:1")))
    files = Files(find, CACHE.open)
    found = refusals(stack, files, lambda: base("sdxl"), Choices(mode=MERGE))
    assert [one.row for one in found] == [3, 1, 2, 5]
    found = refusals(stack, files, lambda: base("sdxl"), Choices(policy=WARN, mode=MERGE))
    assert [one.row for one in found] == [2, 5]


def test_broken_files_are_told_without_a_base(folder: Path) -> None:
    (found,) = check(folder, Entry("flux.safetensors"), Entry("empty.safetensors"), base=lambda: None)
    assert found.startswith("row 2: empty.safetensors: ")
    (found,) = check(folder, Entry("half.safetensors", model=0, clip=1))
    assert found.startswith("row 1: half.safetensors: ")


def test_many_rows_are_counted(folder: Path, base: Callable[[str], Base], tmp_path: Path) -> None:
    for number in range(12):
        write_sparse(tmp_path / f"{number}", LORAS["flux-attention.safetensors"], {"number": str(number)})
    rows = [Entry(str(number)) for number in range(12)]
    files = Files(lambda entry, _: Located(str(tmp_path / entry.lora)), CACHE.open)
    found = all_in_one(refusals(Stack(tuple(rows)), files, lambda: base("sdxl"), Choices()))
    lines = str(found).splitlines()
    assert len(lines) == 9 and lines[-1] == "… and 4 more rows"
    assert [row for row, _ in found.rows] == list(range(1, 13))
    assert all(sentence.startswith(f"{row - 1}: made for FLUX.1") for row, sentence in found.rows)


@pytest.mark.parametrize("policy", [WARN, IGNORE])
def test_other_policies_refuse_nothing(folder: Path, policy: str) -> None:
    rows = [Entry(f"{name}.safetensors") for name in ("flux", "gone", "empty", "checkpoint")]
    assert check(folder, *rows, policy=policy) == []
    (scheduled,) = check(folder, Entry("flux.safetensors", schedule="0:0, 1:1"), policy=policy)
    assert scheduled.startswith("row 1: flux.safetensors has a schedule")
    assert check(folder, Entry("flux.safetensors", schedule="0:0, 1:1"), policy=policy, schedules=True) == []


def test_schedules_change_nothing_where_they_are_allowed(folder: Path, base: Callable[[str], Base]) -> None:
    """A weight that is 0 at first is a weight; one that is always 0 is none."""
    rows = [
        Entry("flux.safetensors", schedule="0:0, 1:1", conditioning="negative"),
        Entry("flux-attention.safetensors", schedule="0", clip=1),
    ]
    (found,) = check(folder, *rows, base=lambda: base("sdxl"), schedules=True)
    assert found.startswith("row 1: flux.safetensors: made for FLUX.1")


def wan(noise: str) -> Base:
    return Base(noise, {}, lambda: ("wan22_i2v_14b",), find_listed_name=lambda: f"wan2.2_{noise}_noise_14B.safetensors")


def test_rows_for_the_other_model_of_a_pair_are_not_looked_at(folder: Path) -> None:
    rows = [Entry("gone_high_noise.safetensors"), Entry("gone.safetensors", expert="high")]
    assert check(folder, *rows, base=lambda: wan("low")) == []
    (found,) = check(folder, *rows, base=lambda: wan("high"))
    assert found.split("\n")[1:] == [
        "row 1: gone_high_noise.safetensors was not found",
        "row 2: gone.safetensors was not found",
    ]


def test_advice_names_nothing_that_is_set_already() -> None:
    gone, off = Entry("gone"), Entry("gone", on=False)
    ways = "Add the file to a LoRA folder, choose another one"
    assert missing_sentence(gone, Choices()) == (
        f"gone was not found. {ways}, switch the row off, or let the node skip it."
    )
    assert missing_sentence(off, Choices()) == f"gone was not found. {ways}, or let the node skip it."
    for choices in (Choices(missing=SKIP), Choices(policy=WARN)):
        assert missing_sentence(gone, choices) == (
            f"gone was not found; the row is skipped. {ways}, or switch the row off."
        )
    assert missing_sentence(off, Choices(missing=SKIP)) == (
        "gone was not found. Add the file to a LoRA folder, or choose another one."
    )
    assert "let the node skip" in changed_sentence(Choices())
    assert "let the node" not in changed_sentence(Choices(policy=WARN))


def test_missing_files_may_be_skipped(folder: Path, base: Callable[[str], Base]) -> None:
    rows = [Entry("gone.safetensors"), Entry("flux.safetensors")]
    (found,) = check(folder, *rows, base=lambda: base("sdxl"), missing=SKIP)
    assert found.startswith("row 2: flux.safetensors: made for FLUX.1")
