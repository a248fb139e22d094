"""Names with a little too much or too little in them are still the layer's; what may be two layers is neither."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

import pytest

from lorchestra.architectures.index import index
from lorchestra.architectures.signatures import find_signature
from lorchestra.architectures.sites import Site, model_sites
from lorchestra.lora.identify import identify
from lorchestra.models.placing import place
from lorchestra.spelling import prefixes, slots
from lorchestra.spelling.modules import Module
from lorchestra.spelling.prefixes import flatten
from lorchestra.spelling.readings import readings

SDXL = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q", (640, 640), "sdxl"
FLUX = "double_blocks.0.img_attn.qkv", (9216, 3072), "flux1_dev"
WAN = "blocks.0.self_attn.q", (5120, 5120), "wan21_t2v_14b"
QWEN = "transformer_blocks.0.attn.add_q_proj", (3072, 3072), "qwen_image"
CLIP = "text_model.encoder.layers.0.self_attn.q_proj", (768, 768), "sdxl"


def module(tensor: str, shape: tuple[int, int]) -> Module:
    """The module of a down half's name."""
    split = slots.split(tensor)
    assert split is not None and split[1:] == ("LoRA", "down"), tensor
    component, path, _ = prefixes.split(split[0])
    shapes = {"up": (shape[0], 4), "down": (4, shape[1])}
    return Module(split[0], component, path, "LoRA", {"down": tensor, "up": "up"}, shapes)


def sites(architecture: str) -> Mapping[str, Site]:
    signature = find_signature(architecture)
    assert signature
    return model_sites({name: (name, shape) for name, shape in signature.shapes.items()})


SPELLED: list[tuple[tuple[str, tuple[int, int], str], str]] = [
    # a trailing underscore
    (SDXL, "lora_unet_{flat}_.lora_down.weight"),
    (FLUX, "lora_unet_{flat}_.lora_down.weight"),
    (WAN, "diffusion_model.{name}_.lora_A.weight"),
    (WAN, "diffusion_model.{name}..lora_A.weight"),
    (WAN, "diffusion_model.blocks._0.self_attn_.q.lora_A.weight"),
    # dots and underscores mixed: in the layer, its prefix, the half
    (SDXL, "lora_unet_down_blocks.1.attentions_0.transformer_blocks.0.attn1_to_q.lora_down.weight"),
    (SDXL, "lora_unet.{name}.lora_down.weight"),
    (SDXL, "lora.unet.{flat}.lora_down.weight"),
    (WAN, "diffusion_model_{flat}.lora_down.weight"),
    (QWEN, "transformer_{flat}.lora_down.weight"),
    (QWEN, "transformer_transformer.blocks_0.attn.add.q_proj.lora_A.weight"),
    (SDXL, "lora_unet_{flat}_lora_down.weight"),
    (SDXL, "lora_unet_unet_{flat}_lora_down.weight"),
    (FLUX, "{flat}_lora_A_weight"),
    (FLUX, "transformer.{name}.lora_A.default_weight"),
    (FLUX, "{name}.lora.down_weight"),
    # one prefix more
    (WAN, "diffusion_model.diffusion_model.{name}.lora_A.weight"),
    (WAN, "base_model.model.diffusion_model.{name}.lora_A.weight"),
    (WAN, "transformer.diffusion_model.{name}.lora_A.weight"),
    (FLUX, "lora_unet_diffusion_model_{flat}.lora_down.weight"),
    (FLUX, "lora_unet_lora_unet_{flat}.lora_down.weight"),
    (FLUX, "lycoris_lora_unet_{flat}.lora_down.weight"),
    (FLUX, "diffusion_model.lora_unet_{flat}.lora_down.weight"),
    (QWEN, "lora_unet_transformer_{flat}.lora_down.weight"),
    (QWEN, "transformer.transformer.{name}.lora_A.weight"),
    (SDXL, "lora_unet_unet_unet_{flat}.lora_down.weight"),
    (CLIP, "lora_te1_text_encoder_{flat}.lora_down.weight"),
    # one less
    (SDXL, "unet_{flat}.lora_down.weight"),
    (FLUX, "lora_{flat}.lora_down.weight"),
    (FLUX, "{flat}.lora_down.weight"),
    # a trainer's own
    (FLUX, "sliders_lora_{flat}.lora_down.weight"),
    (WAN, "my_trainer_v2_lora_{flat}.lora_down.weight"),
    (SDXL, "foo_lora_unet_{flat}.lora_down.weight"),
    (QWEN, "acme_lora_transformer_{flat}.lora_down.weight"),
    (WAN, "acme.lora.{name}.lora_A.weight"),
]


@pytest.mark.parametrize(("layer", "pattern"), SPELLED, ids=[pattern for _, pattern in SPELLED])
def test_it_is_the_layer_s(layer: tuple[str, tuple[int, int], str], pattern: str) -> None:
    name, shape, architecture = layer
    spelled = module(pattern.format(name=name, flat=flatten(name)), shape)
    plain = module(f"{name}.lora_A.weight", shape)
    if layer is CLIP:
        assert [item for item in readings(spelled) if item == ("te1", flatten(name))] or spelled.component == "te1"
        return
    assert architecture in identify([spelled]).architectures
    assert identify([spelled]).architectures == identify([plain]).architectures
    targets = {"model": sites(architecture)}
    (placed,) = place([spelled], targets).placed
    (expected,) = place([plain], targets).placed
    assert placed.site == expected.site


def test_no_name_that_is_known_is_read_as_another() -> None:
    """Of all names of all models, behind every prefix: no other reading of one is the name of another layer."""
    known = index()
    known._load(known.all)  # pyright: ignore[reportPrivateUsage]
    names = set(known._shapes)  # pyright: ignore[reportPrivateUsage]
    kinds = {re.sub(r"\d+", "0", name): name for name in names}
    wrong: set[tuple[str, str]] = set()
    for name in kinds.values():
        for prefix in ("", "lora_unet_", "lora_transformer_", "transformer.", "base_model.model.", "lycoris_"):
            component, path, _ = prefixes.split(prefix + name)
            if flatten(path) in names:
                spelled = Module(prefix + name, component, path, "LoRA", {}, {})
                wrong |= {(flatten(path), other) for _, other in readings(spelled) if other in names}
    # `lora_transformer_blocks_0` is OneTrainer's prefix before `blocks_0`, or `lora_` before `transformer_blocks_0`.
    assert all(f"transformer_{one}" == other or one == f"transformer_{other}" for one, other in wrong)


def test_what_may_be_two_layers_is_neither() -> None:
    name = "acme_lora_transformer_layers_0_cross_attn_to_q"
    spelled = module(f"{name}.lora_down.weight", (1536, 1536))
    paths = {path for _, path in readings(spelled)}
    assert {"transformer_layers_0_cross_attn_to_q", "layers_0_cross_attn_to_q"} <= paths
    both = {path: Site(path, (1536, 1536)) for path in paths}
    assert place([spelled], {"model": both}).placed == ()
    one = {path: Site("x", (1536, 1536)) for path in paths}
    assert len(place([spelled], {"model": one}).placed) == 1


@pytest.mark.parametrize(
    "name",
    ["transformer.transformer_blocks.0.norm1.linear", "xtransformer_blocks_0_attn_to_q", "sliders_double_blocks_0_x"],
)
def test_what_is_no_prefix_is_left_alone(name: str) -> None:
    assert ("model", "blocks_0_norm1_linear") not in readings(module(f"{name}.lora_A.weight", (8, 8)))
    assert all(path != "blocks_0_attn_to_q" for _, path in readings(module(f"{name}.lora_A.weight", (8, 8))))


def test_many_unknown_names_take_no_time() -> None:
    """As many modules as a file may have."""
    names = [f"lora_te1_lora_unet_transformer_unet_lora_x{number}_lora_unet_y" for number in range(25_000)]
    modules = [module(f"{name}.lora_A.weight", (8, 8)) for name in names]
    started = time.process_time()
    assert identify(modules).architectures == ()
    assert time.process_time() - started < 1
    assert len(place(modules, {"model": {}}).unused) == len(modules)
    assert time.process_time() - started < 2
    assert readings(module("lora_" * 100_000 + "x.lora_A.weight", (8, 8))) == ()
