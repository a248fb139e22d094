"""LoRAs in parts of the picture, on small models of each family that has regions, over whole runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.sample
import pytest
import torch
from safetensors.torch import save_file
from support.families import FAMILIES, KNOWN, linear_layers, lora_tensors
from support.live_runs import Outputs, apart, hooks, kohya, named, noise, row
from support.models import load_narrow_unet

pytestmark = pytest.mark.oldest
UNET = "Stable Diffusion 1.5"
REGIONAL = (UNET, "FLUX.1", "FLUX.2", "Stable Diffusion 3", "Qwen-Image", "Z-Image", "Wan")
HERE = tuple(name for name in REGIONAL if name == UNET or name in KNOWN)
SEEN = {
    UNET: ("input_blocks.1.1.transformer_blocks.0.attn1.to_q", (8, 8), 0),
    "FLUX.1": ("single_blocks.0.linear1", (2, 2), 6),
    "Stable Diffusion 3": ("joint_blocks.0.x_block.attn.qkv", (2, 2), 0),
    "Qwen-Image": ("transformer_blocks.0.attn.to_q", (2, 2), 0),
    "Z-Image": ("layers.0.attention.qkv", (2, 2), 8),
    "Wan": ("blocks.0.self_attn.q", (2, 2, 2), 0),
}
"""Family → a layer that sees the picture, the grid of its tokens, and the tokens before them."""


class Subject:
    """A small model, and how it runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = load_narrow_unet() if name == UNET else FAMILIES[name].make()

    def sample(self, model: Any, size: tuple[int, int] | None = None, *, cfg: float = 2.0, batch: int = 1) -> Any:
        """A run of two steps with both conditionings."""
        shape = (1, 4, 8, 8) if self.name == UNET else FAMILIES[self.name].latent[0]
        start = noise(batch, *shape[1:-2], *(size or shape[-2:]))
        text, cond = ((77, 768), {}) if self.name == UNET else (FAMILIES[self.name].text, FAMILIES[self.name].cond())
        conds = [[[noise(1, *text, seed=seed), dict(cond)]] for seed in (1, 2)]
        with torch.inference_mode():
            return comfy.sample.sample(
                model, start, 2, cfg, "euler", "simple", *conds, torch.zeros_like(start), disable_pbar=True, seed=0
            )

    def layers(self) -> dict[str, tuple[int, ...]]:
        """Linear layers, and a convolution of the UNet."""
        layers: dict[str, Any] = linear_layers(self.model)
        if self.name == UNET:
            layers = {path: shape for path, shape in layers.items() if "input_blocks" in path or "emb" in path}
        return layers


@pytest.fixture(scope="module")
def subjects() -> Callable[[str], Subject]:
    """Made when they are asked for."""
    made: dict[str, Subject] = {}

    def find(name: str) -> Subject:
        return made.setdefault(name, made.get(name) or Subject(name))

    return find


@pytest.fixture
def nodes(pack: Any) -> dict[str, Any]:
    """Our nodes by the names of their classes."""
    return {node.__name__: node for node in pack.node_list}


class Regional:
    """Rows with masks, through the nodes."""

    def __init__(self, nodes: dict[str, Any]) -> None:
        self._nodes = nodes
        self.report = ""

    def rows(self, given: list[dict[str, Any]], mask: torch.Tensor | None, **more: Any) -> Any:
        """A LORA_STACK."""
        stack = self._nodes["StackFromRequest"].execute(request=json.dumps({"version": 1, "loras": given})).args[0]
        return stack if mask is None else self._nodes["LoraRegion"].execute(stack, mask, **more).args[0]

    def __call__(self, model: Any, *stacks: Any, mode: str = "auto") -> Any:
        joined = [one for stack in stacks for one in stack]
        out = self._nodes["LoraStack"].execute(model=model, loras=None, lora_stack=joined, mode=mode).args
        self.report = out[3]
        return out[0]


@pytest.fixture
def regional(nodes: dict[str, Any]) -> Regional:
    """The nodes, put together."""
    return Regional(nodes)


def ramp(height: int = 24, width: int = 40) -> torch.Tensor:
    """A mask with a soft border, of a size that no model has."""
    return torch.linspace(-0.5, 1.5, width).clamp(0, 1).expand(1, height, width).clone()


KINDS = (
    "LoKr",
    "DoRA by row",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("LoHa", "GLoRA", "DoRA by column", "OFT", "diff", "set")),
)


@pytest.mark.parametrize("name", HERE)
def test_masks_of_ones_zeros_and_halves(
    name: str, subjects: Callable[[str], Subject], loras: Path, regional: Regional
) -> None:
    """Ones are no mask, zeros are off, and two halves are the whole."""
    subject = subjects(name)
    model, mask = subject.model, ramp()
    layers = subject.layers()
    save_file(lora_tensors("LoRA", layers), loras / "a.safetensors")
    rows = [row("a", 0.8)]
    bare = subject.sample(model)
    whole = subject.sample(regional(model, regional.rows(rows, None), mode="live"))
    assert apart(whole, bare) > 1e-3
    ones = subject.sample(regional(model, regional.rows(rows, torch.ones_like(mask))))
    assert apart(ones, whole) <= 1e-6
    off = regional(model, regional.rows(rows, torch.zeros_like(mask)))
    assert "off, because the mask of its region is empty" in regional.report
    assert torch.equal(subject.sample(off), bare)
    halves = [regional.rows(rows, one, text="by area") for one in (mask, 1 - mask)]
    assert apart(subject.sample(regional(model, *halves)), whole) <= 1e-6
    half = subject.sample(regional(model, halves[0]))
    assert min(apart(half, bare), apart(half, whole)) > 1e-4
    assert hooks(model) == 0


@pytest.mark.parametrize("name", [name for name in HERE if name in SEEN])
def test_a_layer_gets_its_part_token_by_token(
    name: str, subjects: Callable[[str], Subject], loras: Path, regional: Regional
) -> None:
    """In the first layer that a LoRA changes, each token is exactly with it, or without it."""
    subject = subjects(name)
    layer, grid, before = SEEN[name]
    shape = linear_layers(subject.model)[layer]
    save_file(lora_tensors("LoRA", {layer: shape}), loras / "a.safetensors")
    mask = torch.zeros(1, 16, 16)
    mask[:, 8:, :8] = 1  # below, on the left
    found: list[torch.Tensor] = []
    for stack in (None, regional.rows([row("a")], None), regional.rows([row("a")], mask, text="not at all")):
        model = subject.model.clone() if stack is None else regional(subject.model, stack, mode="live")
        outputs = Outputs(model, layer)
        subject.sample(model)
        found.append(outputs.values[layer])
    bare, whole, part = found
    here = torch.zeros(grid, dtype=torch.bool)
    here[..., grid[-2] // 2 :, : grid[-1] // 2] = True
    tokens = torch.zeros(bare.shape[1], dtype=torch.bool)
    tokens[before : before + here.numel()] = here.flatten()
    assert torch.equal(part[:, ~tokens], bare[:, ~tokens])
    assert torch.allclose(part[:, tokens], whole[:, tokens], atol=1e-5)
    assert apart(whole[:, tokens], bare[:, tokens]) > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["FLUX.1"])
def test_every_algorithm_has_regions(
    name: str, kind: str, subjects: Callable[[str], Subject], loras: Path, regional: Regional
) -> None:
    """Also those that depend on the layer's weight; two halves are the whole."""
    subject = subjects(name)
    save_file(lora_tensors(kind, subject.layers()), loras / "a.safetensors")
    whole = subject.sample(regional(subject.model, regional.rows([row("a", 0.8)], None), mode="live"))
    halves = [regional.rows([row("a", 0.8)], one, text="by area") for one in (ramp(), 1 - ramp())]
    assert apart(subject.sample(regional(subject.model, *halves)), whole) <= 1e-5


def test_convolutions_have_regions(subjects: Callable[[str], Subject], loras: Path, regional: Regional) -> None:
    """A kernel of 3 × 3, one that halves the picture, and 1 × 1; on a picture whose sides are odd."""
    subject = subjects(UNET)
    inner = dict(subject.model.model.diffusion_model.named_modules())
    tensors: dict[str, torch.Tensor] = {}
    for path in ("input_blocks.1.0.in_layers.2", "input_blocks.2.0.op", "input_blocks.1.1.proj_in"):
        out, width, *kernel = inner[path].weight.shape
        parts = {".lora_down.weight": noise(4, width, *kernel) * 0.3, ".lora_up.weight": noise(out, 4, 1, 1) * 0.3}
        tensors |= named(kohya(path), parts)
    save_file(tensors, loras / "a.safetensors")
    model, size = subject.model, (9, 7)
    whole = subject.sample(regional(model, regional.rows([row("a")], None), mode="live"), size)
    halves = [regional.rows([row("a")], one) for one in (ramp(), 1 - ramp())]
    assert apart(subject.sample(regional(model, *halves), size), whole) <= 1e-6
    assert apart(subject.sample(regional(model, halves[0]), size), whole) > 1e-4


def test_schedules_conditionings_and_several_rows(
    subjects: Callable[[str], Subject], loras: Path, regional: Regional
) -> None:
    """A row with a schedule, one for the negative conditioning and one without a region, in one stack."""
    subject = subjects("FLUX.1")
    for seed, name in enumerate("abc"):
        save_file(lora_tensors("LoRA", subject.layers(), seed), loras / f"{name}.safetensors")
    rows = [row("a", schedule="0:0, 1:1"), row("b", 0.7, conditioning="negative")]
    plain = regional.rows([row("c", 0.5)], None)
    whole = subject.sample(regional(subject.model, regional.rows(rows, None), plain))
    halves = [regional.rows(rows, one, text="by area") for one in (ramp(), 1 - ramp())]
    assert apart(subject.sample(regional(subject.model, *halves, plain)), whole) <= 1e-6


def test_a_mask_for_each_picture_and_each_frame(
    subjects: Callable[[str], Subject], loras: Path, regional: Regional
) -> None:
    """Pictures of a batch have a mask each; a video one for each frame, of the latent or of the film."""
    flux, wan = subjects("FLUX.1"), subjects("Wan")
    save_file(lora_tensors("LoRA", flux.layers()), loras / "a.safetensors")
    save_file(lora_tensors("LoRA", wan.layers()), loras / "w.safetensors")
    masks = torch.stack([torch.ones(8, 8), torch.zeros(8, 8)])
    both = flux.sample(regional(flux.model, regional.rows([row("a")], masks, text="not at all")), batch=2)
    with_one = regional(flux.model, regional.rows([row("a")], masks[:1], text="not at all"))
    one, none = (flux.sample(model, batch=2) for model in (with_one, flux.model))
    assert apart(both[:1], one[:1]) <= 1e-6
    assert torch.equal(both[1:], none[1:])
    film = torch.cat([torch.ones(1, 8, 8), torch.rand(1, 8, 8).expand(4, 8, 8)])  # 5 frames are 2 of the latent
    by_frame = wan.sample(regional(wan.model, regional.rows([row("w")], film)))
    by_latent = wan.sample(regional(wan.model, regional.rows([row("w")], film[:2])))
    assert apart(by_frame, by_latent) <= 1e-6
    for subject, name, count in ((flux, "a", 3), (wan, "w", 4)):
        with pytest.raises(Exception, match=rf"The mask of a region has {count} (pictures|frames)"):
            subject.sample(regional(subject.model, regional.rows([row(name)], torch.ones(count, 8, 8))))


def test_what_is_refused(
    subjects: Callable[[str], Subject], loras: Path, regional: Regional, nodes: dict[str, Any]
) -> None:
    """Bad masks, merging, models and layers that are not known, and calls for a part of the picture: in words."""
    flux = subjects("FLUX.1")
    save_file(lora_tensors("LoRA", flux.layers()), loras / "a.safetensors")
    rows = [row("a")]
    for mask, words in (
        (torch.full((1, 4, 4), float("nan")), "NaN"),
        (torch.ones(0, 4, 4), "no pixels"),
        (torch.ones(4), "expected a MASK"),
        (None, "expected a MASK"),
    ):
        with pytest.raises(Exception, match=words):
            nodes["LoraRegion"].execute(regional.rows(rows, None), mask)
    with pytest.raises(Exception, match="none of the 1 rows"):
        regional.rows(rows, ramp(), rows="2")
    with pytest.raises(Exception, match=r"a\.safetensors has a region; merging changes the whole picture"):
        regional(flux.model, regional.rows(rows, ramp()), mode="merge")
    if "LTX video" in KNOWN:
        ltx = FAMILIES["LTX video"].make()
        save_file(lora_tensors("LoRA", linear_layers(ltx)), loras / "l.safetensors")
        with pytest.raises(Exception, match=r"regions are not known for this model \(LTXVModel\)"):
            regional(ltx, regional.rows([row("l")], ramp()))
    model = regional(flux.model, regional.rows(rows, ramp()))
    start = noise(1, 16, 4, 8)
    area = {**FAMILIES["FLUX.1"].cond(), "area": (4, 4, 0, 0)}
    cond = [[noise(1, 6, 32), area]]
    with (
        pytest.raises(Exception, match=r"called for a part of the picture \(4 × 4 of 4 × 8\)"),
        torch.inference_mode(),
    ):
        comfy.sample.sample(model, start, 1, 1.0, "euler", "simple", cond, cond, torch.zeros_like(start), seed=0)
    assert hooks(flux.model) == 0


def test_export_tells_that_regions_are_lost(loras: Path, regional: Regional, nodes: dict[str, Any]) -> None:
    """No text has masks."""
    save_file(lora_tensors("LoRA", {"img_in": (64, 64)}), loras / "a.safetensors")
    stack = regional.rows([row("a")], ramp())
    for form in ("a1111", "json"):
        shown = nodes["ApiExport"].execute(stack, form, "region", True).ui["text"][0]
        assert "region" in shown.partition("can't store")[2]
