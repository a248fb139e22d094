"""LoRAs of all 72 architectures in every spelling that somebody writes: named, placed and never refused wrongly.

`pytest -rP -k numbers` prints the numbers and the table of ties.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import pytest
from support import synthetic
from support.synthetic import ATTENTION, FULL, MAIN, THREE_BLOCKS, Spelling, Tensors

from lorchestra.architectures.names import are_interchangeable, are_related
from lorchestra.architectures.patterns import Shape
from lorchestra.architectures.signatures import find_signature
from lorchestra.fit.outcome import COMPATIBLE, INCOMPATIBLE, PARTIAL, Outcome, finding
from lorchestra.lora.examined import Examined
from lorchestra.lora.identify import Identity, identify
from lorchestra.models.base import Base, base_by_name
from lorchestra.models.placing import place
from lorchestra.spelling import kinds
from lorchestra.spelling.modules import Reading, read_modules
from lorchestra.stack import Entry

SPELLED_BY_ALL = ("kohya", "native", "diffusers")
"""The spellings in which files are also checked against further models."""


@dataclass(frozen=True)
class Row:
    """What became of one file."""

    spelling: Spelling
    selection: str
    reading: Reading
    identity: Identity
    own: Outcome
    """Against the model that it was made for."""

    @property
    def name(self) -> str:
        return f"{self.spelling.name} ({self.spelling.prefix}), {self.selection}"


def base(architecture: str) -> Base:
    found = base_by_name(architecture)
    assert found, architecture
    return found


def read(tensors: Mapping[str, Shape]) -> Reading:
    return read_modules(synthetic.header(tensors))


def named(tensors: Mapping[str, Shape]) -> Identity:
    return identify(read(tensors).modules)


def checked(reading: Reading, identity: Identity, architecture: str) -> Outcome:
    model = base(architecture)
    examined = Examined(synthetic.header({}), reading, kinds.LORA, (), identity)
    return finding(Entry("x.safetensors"), place(reading.modules, model.targets), examined, model)


@cache
def rows(architecture: str) -> tuple[Row, ...]:
    """Every file for an architecture."""
    return tuple(_rows(architecture))


def _rows(architecture: str) -> Iterator[Row]:
    for spelling in synthetic.spellings(architecture):
        full = synthetic.lora(architecture, spelling, FULL)
        for selection in spelling.selections:
            tensors = full if selection == FULL else synthetic.lora(architecture, spelling, selection)
            if selection == MAIN and tensors == full:  # nothing beside the blocks
                continue
            reading = read(tensors)
            identity = identify(reading.modules)
            yield Row(spelling, selection, reading, identity, checked(reading, identity, architecture))


@pytest.mark.parametrize("architecture", synthetic.ALL)
def test_a_file_is_named_and_all_of_it_placed(architecture: str) -> None:
    for row in rows(architecture):
        assert row.reading.modules, row.name
        assert not row.reading.leftovers, row.name
        assert architecture in row.identity.best, f"{row.name}: {row.identity.best}"
        assert row.identity.unplaced == 0, row.name
        assert (row.own.verdict, row.own.applied) == (COMPATIBLE, len(row.reading.modules)), f"{row.name}: {row.own}"


@pytest.mark.parametrize("architecture", synthetic.ALL)
def test_a_file_is_not_refused_by_a_related_model_of_which_it_changes_a_layer(architecture: str) -> None:
    others = [other for other in synthetic.ALL if other != architecture and are_related(architecture, other)]
    for row in rows(architecture):
        if row.spelling.name not in SPELLED_BY_ALL:
            continue
        for other in others:
            found = checked(row.reading, row.identity, other)
            wanted = INCOMPATIBLE if not found.applied else PARTIAL if found.unmatched + found.misshapen else COMPATIBLE
            assert found.verdict == wanted, f"{row.name} on {other}: {found}"


INSTEAD: Mapping[str, str] = {
    # the same layers in their blocks
    "flux1_schnell": "flux1_dev",
    "flux1_fill": "flux1_dev",
    "hunyuan_video_i2v": "hunyuan_video",
    "pixart_alpha": "pixart_sigma",
    "wan22_i2v_14b": "wan21_t2v_14b",
    "wan21_camera_14b": "wan21_i2v_14b",
    "wan21_fun_control_14b": "wan21_i2v_14b",
    # Chroma without its guidance layers is Flux.1 without modulation, Anima without its adapter is Cosmos-Predict2
    "chroma": "flux1_dev",
    "cosmos_predict2_2b": "anima",
    # only where attention alone is trained
    "sd3_medium": "sd35_medium",
    # only in diffusers' names, which hide that Cosmos 1 is built otherwise
    "cosmos1_14b": "cosmos_predict2_14b",
    # only kohya's OFT, which tells a layer's rows and not its columns
    "sd21": "sd15",
}
"""What is named first where an architecture ties with a commoner one, but for files of three blocks."""

INSTEAD_BY_BLOCKS: Mapping[str, frozenset[str]] = {
    "flux1_schnell": frozenset({"flux1_dev"}),
    "flux1_fill": frozenset({"flux1_dev"}),
    "chroma": frozenset({"flux1_dev"}),
    "longcat_image": frozenset({"flux1_dev"}),
    "hunyuan_video": frozenset({"flux1_dev"}),
    "hunyuan_video_i2v": frozenset({"flux1_dev", "hunyuan_video"}),
    "mage_flow": frozenset({"qwen_image"}),
    "newbie": frozenset({"lumina2"}),
    "pixart_alpha": frozenset({"pixart_sigma"}),
    "sd21": frozenset({"sd15"}),
    "sd3_medium": frozenset({"sd35_medium"}),
    "koala_700m": frozenset({"sdxl"}),
    "segmind_vega": frozenset({"sdxl", "sd15"}),
    "ssd1b": frozenset({"sdxl"}),
    "cosmos1_14b": frozenset({"cosmos_predict2_14b"}),
    "cosmos_predict2_2b": frozenset({"anima"}),
    "wan22_i2v_14b": frozenset({"wan21_t2v_14b"}),
    "wan21_i2v_14b": frozenset({"wan21_t2v_14b"}),
    "wan21_vace_14b": frozenset({"wan21_t2v_14b"}),
    "wan22_animate": frozenset({"wan21_t2v_14b", "wan21_i2v_14b"}),
    "wan22_s2v": frozenset({"wan21_t2v_14b"}),
    "wan21_camera_14b": frozenset({"wan21_t2v_14b", "wan21_i2v_14b"}),
    "wan21_fun_control_14b": frozenset({"wan21_t2v_14b", "wan21_i2v_14b"}),
    "wan21_humo_17b": frozenset({"wan21_t2v_14b"}),
    "ltx23_22b": frozenset({"ltx2_19b", "ltxv_13b"}),
    "wan21_vace_1_3b": frozenset({"wan21_t2v_1_3b"}),
}
"""What may be named first where the three blocks of a file are in both."""


def test_numbers() -> None:
    """All files; what is named first in a tie is what is commoner, and the ties are those we know."""
    count: Counter[str] = Counter()
    instead: Counter[tuple[str, str, str]] = Counter()
    for architecture in synthetic.ALL:
        for row in rows(architecture):
            first = row.identity.best[0]
            count["files"] += 1
            count["modules"] += len(row.reading.modules)
            count["placed"] += row.own.applied
            if first == architecture:
                count["right one first"] += 1
                continue
            count["in a tie behind a commoner one"] += 1
            instead[architecture, first, row.selection] += 1
            known = (
                INSTEAD_BY_BLOCKS.get(architecture, frozenset[str]())
                if row.selection == THREE_BLOCKS
                else {INSTEAD.get(architecture)}
            )
            assert first in known, f"{architecture}, {row.name}: {row.identity.best}"
    print(dict(count))
    for (architecture, first, selection), number in sorted(instead.items()):
        print(f"{architecture} → {first}, {selection}: {number}")
    assert count["files"] >= 1800
    assert count["placed"] == count["modules"]
    assert {architecture for architecture, _, selection in instead if selection != THREE_BLOCKS} == set(INSTEAD)


def spelled(architecture: str, name: str) -> Spelling:
    """The spelling of that name for an architecture."""
    return next(spelling for spelling in synthetic.spellings(architecture) if spelling.name == name)


DIFFUSERS_KOHYA = "kohya in diffusers' names"

WRONG: tuple[tuple[str, str, str, str], ...] = (
    # all modules fit by name and shape
    ("flux1_dev", "kohya", FULL, "hunyuan_video"),
    ("flux1_dev", "kohya", ATTENTION, "hunyuan_video"),
    ("flux1_dev", "diffusers", FULL, "hunyuan_video"),
    ("mage_flow", "kohya", FULL, "qwen_image"),
    ("longcat_image", "kohya", FULL, "flux1_dev"),
    # a part of them does
    ("hunyuan_video", "kohya", FULL, "flux1_dev"),
    ("sd15", DIFFUSERS_KOHYA, FULL, "sdxl"),
    ("sd15", DIFFUSERS_KOHYA, ATTENTION, "sdxl"),
    ("sd15", DIFFUSERS_KOHYA, FULL, "sd21"),
    ("sd15", DIFFUSERS_KOHYA, ATTENTION, "sd21"),
    ("sd21", DIFFUSERS_KOHYA, FULL, "sd15"),
    ("sdxl", "kohya", FULL, "sd15"),
    ("sdxl", DIFFUSERS_KOHYA, FULL, "sd15"),
    ("sdxl", "diffusers", ATTENTION, "sd21"),
    ("sdxl", "kohya", THREE_BLOCKS, "sd15"),
    ("qwen_image", "diffusers", FULL, "flux1_dev"),
    ("qwen_image", "kohya", FULL, "mage_flow"),
    ("flux1_dev", "diffusers", FULL, "qwen_image"),
    ("flux1_dev", "kohya", FULL, "qwen_image"),
    ("auraflow", "diffusers", FULL, "flux1_dev"),
    ("auraflow", "diffusers", FULL, "chroma"),
    ("flux1_dev", "kohya", FULL, "flux2_klein_4b"),
    ("flux1_dev", "diffusers", FULL, "flux2_klein_4b"),
    ("flux2_klein_4b", "kohya", FULL, "flux1_dev"),
    ("flux2_klein_4b", "diffusers", FULL, "flux1_dev"),
    ("flux1_dev", "kohya", FULL, "longcat_image"),
    ("ovis_image", "kohya", FULL, "flux1_dev"),
    ("mage_flow", "diffusers", FULL, "flux1_dev"),
    ("cosmos1_7b", "diffusers", FULL, "ltxv_13b"),
    # none does
    ("wan21_t2v_1_3b", "kohya", FULL, "wan21_t2v_14b"),
    ("wan21_t2v_14b", "kohya", FULL, "wan22_5b"),
    ("ltxv_2b", "diffusers", FULL, "ltxv_13b"),
    ("lumina2", "diffusers", FULL, "z_image"),
    ("z_image", "diffusers", FULL, "lumina2"),
    ("sd3_medium", "kohya", FULL, "sd35_large"),
    ("anima", "kohya", FULL, "wan21_t2v_14b"),
    ("krea2", "kohya", FULL, "wan21_t2v_14b"),
    ("z_image", "kohya", FULL, "ideogram4"),
    ("mochi", "diffusers", FULL, "ltxv_2b"),
    ("cogvideox_5b", "diffusers", FULL, "ltxv_13b"),
)
"""(what the file is made for, spelling, what is trained, the wrong model)"""


@pytest.mark.parametrize(("made_for", "spelling", "selection", "model"), WRONG)
def test_wrong_models(made_for: str, spelling: str, selection: str, model: str) -> None:
    reading = read(synthetic.lora(made_for, spelled(made_for, spelling), selection))
    assert checked(reading, identify(reading.modules), model).verdict == INCOMPATIBLE


@pytest.mark.parametrize("made_for", synthetic.ALL)
def test_a_whole_file_is_refused_by_all_models_that_are_not_related(made_for: str) -> None:
    """Cosmos 1 14B and Cosmos-Predict2 14B have the same names and shapes in diffusers."""
    reading = read(synthetic.lora(made_for, spelled(made_for, "kohya"), FULL))
    identity = identify(reading.modules)
    relatives = {other for other in synthetic.ALL if any(are_related(other, one) for one in identity.best)}
    for model in synthetic.ALL:
        if model not in relatives:
            assert checked(reading, identity, model).verdict == INCOMPATIBLE, model


@pytest.mark.parametrize(
    ("made_for", "spelling", "selection", "model", "share"),
    [
        ("sdxl", "kohya", FULL, "ssd1b", 0.499),
        ("sdxl", DIFFUSERS_KOHYA, FULL, "segmind_vega", 0.235),
        ("sdxl", "kohya", FULL, "koala_700m", 0.175),
        ("ssd1b", DIFFUSERS_KOHYA, FULL, "sdxl", 1),
        ("segmind_vega", DIFFUSERS_KOHYA, FULL, "sdxl", 1),
        ("flux1_dev", "kohya", FULL, "chroma", 0.75),
        ("flux1_dev", "kohya", ATTENTION, "chroma", 1),
        ("chroma", "kohya", FULL, "flux1_dev", 0.958),
        ("chroma", "kohya", MAIN, "flux1_dev", 1),
        ("sd3_medium", "kohya", FULL, "sd35_medium", 0.945),
        ("sd35_medium", "kohya", FULL, "sd3_medium", 0.852),
        ("lumina2", "kohya", FULL, "newbie", 1),
        ("newbie", "kohya", FULL, "lumina2", 0.748),
        ("wan21_t2v_14b", "kohya", FULL, "wan21_i2v_14b", 1),
        ("wan21_i2v_14b", "kohya", FULL, "wan21_t2v_14b", 0.833),
        ("wan21_vace_14b", "kohya", FULL, "wan21_t2v_14b", 0.818),
        ("wan22_animate", "kohya", FULL, "wan21_t2v_14b", 0.794),
        ("wan22_s2v", "kohya", FULL, "wan21_t2v_14b", 0.87),
        ("cosmos_predict2_2b", "kohya", FULL, "anima", 1),
        ("anima", "kohya", FULL, "cosmos_predict2_2b", 0.882),
        ("ltxv_13b", "kohya", FULL, "ltx2_19b", 1),
        ("ltx2_19b", "kohya", FULL, "ltxv_13b", 0.351),
        ("sd21", DIFFUSERS_KOHYA, FULL, "svd", 1),
        ("svd", "diffusers", FULL, "sd21", 0.5),
        ("pixart_alpha", "kohya", FULL, "pixart_sigma", 1),
    ],
)
def test_related_models(made_for: str, spelling: str, selection: str, model: str, share: float) -> None:
    reading = read(synthetic.lora(made_for, spelled(made_for, spelling), selection))
    found = checked(reading, identify(reading.modules), model)
    assert found.verdict == (COMPATIBLE if share == 1 else PARTIAL)
    assert found.applied / len(reading.modules) == pytest.approx(share, abs=0.001)


def test_ovis_way_into_the_feed_forward_is_two_layers() -> None:
    """diffusers has one layer there, ComfyUI two: such modules are left out, and the rest tells what the file is."""
    tensors = synthetic.lora("ovis_image", spelled("ovis_image", "diffusers"), FULL)
    for number in range(6):
        for end in synthetic.OVIS_TWO_LAYERS:
            tensors.update(synthetic.PEFT(f"transformer.transformer_blocks.{number}{end}", (16384, 3072)))
    reading = read(tensors)
    identity = identify(reading.modules)
    assert (identity.architectures, identity.likeliest, identity.unplaced) == ((), "ovis_image", 12)
    assert checked(reading, identity, "ovis_image").verdict == PARTIAL


def extraction(architecture: str) -> Tensors:
    """All layers of a model as kijai and lightx2v extract them: halves, differences of norms, biases, modulations."""
    signature = find_signature(architecture)
    assert signature
    tensors: Tensors = {}
    for name, shape in signature.shapes.items():
        layer, _, kind = f"diffusion_model.{name}".rpartition(".")
        if kind == "bias":
            tensors[f"{layer}.diff_b"] = shape
        elif kind == "weight" and len(shape) == 2:
            tensors.update(synthetic.WITHOUT_ALPHA(layer, shape))
        elif kind == "weight":
            tensors[f"{layer}.diff"] = shape
        elif kind == "modulation" and ".blocks." in layer:
            tensors[f"{layer}.diff_m"] = shape
    return tensors


@pytest.mark.parametrize(
    "architecture", [name for name in synthetic.ALL if name.startswith(("wan", "flux1", "ltx", "qwen", "hunyuan"))]
)
def test_extractions_of_whole_models(architecture: str) -> None:
    """Layers outside of the blocks tell apart what the blocks do not; all of schnell's are in dev as well."""
    reading = read(extraction(architecture))
    identity = identify(reading.modules)
    assert identity.best[0] == ("flux1_dev" if architecture == "flux1_schnell" else architecture)
    assert architecture in identity.best
    assert not reading.leftovers
    assert checked(reading, identity, architecture).applied == len(reading.modules)


def test_control_lora_of_black_forest_labs() -> None:
    """Bare native names with biases and norm scales; the input layer is for twice as many channels."""
    tensors: Tensors = {}
    for name, shape in synthetic.native("flux1_dev").items():
        shape = (shape[0], 128) if name == "img_in" else shape
        tensors.update(synthetic.PEFT(name, shape))
        tensors[f"{name}.lora_B.bias"] = shape[:1]
    signature = find_signature("flux1_dev")
    assert signature
    for name, shape in signature.shapes.items():
        if name.endswith(("query_norm.weight", "key_norm.weight")):
            tensors[f"{name.removesuffix('.weight')}.scale"] = shape
    reading = read(tensors)
    identity = identify(reading.modules)
    assert "flux1_dev" in identity.best
    assert all(are_interchangeable("flux1_dev", name) for name in identity.best)
    assert not reading.leftovers
