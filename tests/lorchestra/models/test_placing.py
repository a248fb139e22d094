"""Modules land on the layer that they were made for, or are told apart by why they do not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import unet_table

from lorchestra.architectures.sites import Place, Site, Targets, encoder_sites, has_text_encoders, model_sites
from lorchestra.files.header import Header
from lorchestra.models.placing import Placement, misfit, place
from lorchestra.spelling import prefixes, slots
from lorchestra.spelling.modules import Module, read_modules
from lorchestra.spelling.prefixes import flatten

SD15 = model_sites(
    {f"{native}.weight": (f"m.{native}.weight", shape) for native, _, shape in unet_table.rows(unet_table.SD15)}
)
TARGETS: Targets = {"model": SD15}


def module(name: str, shape: tuple[int, ...], rank: int = 4, **changes: tuple[int, ...] | str) -> Module:
    """A complete LoRA for a weight of this shape; `changes` are its algorithm and the shapes of slots."""
    component, path, _ = prefixes.split(name)
    out, *inner = shape
    shapes: dict[str, tuple[int, ...]] = {}
    if "algorithm" not in changes:
        shapes |= {"up": (out, rank, *[1] * (len(inner) - 1)), "down": (rank, *inner)}
    algorithm = "LoRA"
    for key, value in changes.items():
        if isinstance(value, str):
            algorithm = value
        else:
            shapes[key] = value
    return Module(name, component, path, algorithm, {slot: f"{name}.{slot}" for slot in shapes}, shapes)


def only(*modules: Module, targets: Targets = TARGETS, fallback: Mapping[str, Site] | None = None) -> Placement:
    return place(modules, targets, fallback)


SPELLINGS = {
    "kohya, diffusers' names": lambda native, diffusers: f"lora_unet_{flatten(diffusers)}",
    "kohya, native names": lambda native, diffusers: f"lora_unet_{flatten(native)}",
    "diffusers": lambda native, diffusers: f"unet.{diffusers}",
    "PEFT": lambda native, diffusers: f"base_model.model.{diffusers}",
    "PEFT in diffusers": lambda native, diffusers: f"unet.base_model.model.{diffusers}",
    "ComfyUI native": lambda native, diffusers: f"diffusion_model.{native}",
    "LyCORIS": lambda native, diffusers: f"lycoris_{flatten(diffusers)}",
    "bare": lambda native, diffusers: diffusers,
}


@pytest.mark.parametrize(
    "unet", [unet_table.SD15, unet_table.SDXL, unet_table.REFINER], ids=["SD 1.5", "SDXL", "refiner"]
)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_layer_in_every_spelling(spelling: str, unet: unet_table.Unet) -> None:
    rows = [row for row in unet_table.rows(unet) if len(row[2]) > 1]
    sites = model_sites({f"{native}.weight": (f"m.{native}.weight", shape) for native, _, shape in rows})
    modules = [module(SPELLINGS[spelling](native, diffusers), shape) for native, diffusers, shape in rows]
    placement = place(modules, {"model": sites})
    assert [item.site for item in placement.placed] == [Site(f"m.{native}.weight", shape) for native, _, shape in rows]
    assert placement.fitting == f"{len(rows)} of {len(rows)} modules"


Q = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
PROJ = "lora_unet_down_blocks_0_attentions_0_proj_in"
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"
NORM = "lora_unet_down_blocks_0_resnets_0_norm1"
LOHA = {"w1_a": (320, 2), "w1_b": (2, 768), "w2_a": (320, 2), "w2_b": (2, 768)}
LOKR = {"algorithm": "LoKr", "w1": (4, 4)}


@pytest.mark.parametrize(
    ("name", "shape", "parts"),
    [
        (Q, (320, 768), {}),
        (Q, (320, 768), {"up": (320, 4, 1, 1), "down": (4, 768, 1, 1)}),
        (PROJ, (320, 320, 1, 1), {}),
        (PROJ, (320, 320), {}),
        (CONV, (320, 320, 3, 3), {}),
        (CONV, (320, 320, 3, 3), {"down": (4, 320, 1, 1), "mid": (4, 4, 3, 3)}),
        (CONV, (320, 320, 3, 3), {"up": (320, 4)}),
        (NORM, (320, 1), {}),
        (Q, (320, 768), {"algorithm": "LoHa", **LOHA}),
        (CONV, (320, 320, 3, 3), {**LOKR, "w2": (80, 80, 3, 3)}),
        (CONV, (320, 320, 3, 3), {**LOKR, "w2_a": (80, 2), "w2_b": (2, 720)}),
        (CONV, (320, 320, 3, 3), {"algorithm": "OFT", "blocks": (4, 80, 80)}),
        (NORM, (320, 1), {"algorithm": "norm difference", "w_norm": (320,)}),
        (Q, (320, 768), {"algorithm": "(IA)³", "vector": (1, 768)}),
        (Q, (320, 768), {"algorithm": "weight replacement", "value": (320, 768)}),
        (Q, (320, 768), {"magnitude": (1, 768)}),
        (Q, (320, 768), {"magnitude_vector": (320,)}),
    ],
)
def test_linear_and_pointwise_layers_fit_each_other(
    name: str, shape: tuple[int, ...], parts: dict[str, tuple[int, ...] | str]
) -> None:
    """SD 1.x has 1x1 convolutions where SD 2.x has linear layers; LoRAs are written both ways."""
    assert len(only(module(name, shape, **parts)).placed) == 1


@pytest.mark.parametrize(
    ("name", "shape", "parts", "reason"),
    [
        (Q, (320, 1024), {}, "made for a weight of shape [320, 1024], the model's is [320, 768]"),
        (Q, (640, 768), {}, "made for a weight of shape [640, 768], the model's is [320, 768]"),
        (Q, (768, 320), {}, "made for a weight of shape [768, 320]"),
        (Q, (320, 256, 3, 1), {}, "made for a weight of shape [320, 256, 3, 1], the model's is [320, 768]"),
        (CONV, (320, 320), {}, "the model's is [320, 320, 3, 3]"),
        (CONV, (320, 320, 1, 1), {}, "the model's is [320, 320, 3, 3]"),
        (CONV, (320, 2880), {}, "made for a weight of shape [320, 2880]"),
        (CONV, (320, 320, 1, 1), {"mid": (4, 4, 5, 5)}, "made for a weight of shape [320, 320, 5, 5]"),
        (CONV, (320, 320, 3, 3), {"mid": (4, 4, 5, 5)}, "the down half has shape [4, 320, 3, 3]; with a core it must"),
        (Q, (320, 768), {"algorithm": "LoHa"}, "w1_a and w1_b and w2_a and w2_b are missing"),
        (Q, (320, 768), {"algorithm": "LoHa", **LOHA, "w2_b": (2, 769)}, "the factors are made for weights of shapes"),
        (Q, (320, 768), {"algorithm": "LoHa", **LOHA, "w1_b": (2, 64), "w2_b": (2, 64)}, "of shape [320, 64], the m"),
        (Q, (320, 768), {"algorithm": "LoKr", "w1": (4, 4), "w2": (80, 193)}, "made for a weight of shape [320, 772]"),
        (Q, (320, 768), {"algorithm": "full difference", "diff": (768, 320)}, "made for a weight of shape [768, 320]"),
        (Q, (320, 768), {"algorithm": "OFT", "blocks": (4, 81, 81)}, "made for a weight of shape [324, ?]"),
        (Q, (320, 768), {"algorithm": "(IA)³", "vector": (321, 1)}, "made for a weight of shape [321, ?]"),
        (Q, (320, 768), {"algorithm": "(IA)³", "vector": (5,)}, "made for 5 rows or columns, not [320, 768]"),
        (Q, (320, 768), {"magnitude": (5, 1)}, "the magnitude has shape [5, 1]; it must have 320 numbers"),
        (
            NORM,
            (320, 1),
            {"algorithm": "norm difference", "w_norm": (321,)},
            "made for a weight of shape [321]",
        ),
    ],
)
def test_what_does_not_fit_is_never_placed(
    name: str, shape: tuple[int, ...], parts: dict[str, tuple[int, ...] | str], reason: str
) -> None:
    placement = only(module(name, shape, **parts))
    assert not placement.placed
    assert reason in placement.misshapen[0][1]


def test_what_the_model_lacks() -> None:
    placement = only(
        module("lora_unet_down_blocks_9_x", (320, 768)),
        module("lora_te_text_model_x", (768, 768)),
        module("lora_te2_text_model_x", (768, 768)),
        module(Q, (320, 768)),
    )
    assert [item.name for item in placement.unmatched] == ["lora_unet_down_blocks_9_x"]
    assert len(placement.unused) == 2
    assert placement.fitting == "1 of 2 modules"


def test_a_text_encoder_that_is_connected_but_has_no_such_layer_is_no_unused_one() -> None:
    targets = encoder_sites({"clip_l": {"text_model.a": Site("a.weight", (8, 8))}})
    placement = only(module("lora_te_text_model_b", (8, 8)), targets=targets)
    assert len(placement.unmatched) == 1
    assert not placement.unused


def test_one_layer_named_twice_in_a_file_is_changed_once() -> None:
    """The first by name wins, whatever the order of the file, and the other one is reported."""
    native = "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k"
    placement = only(module(native, (320, 768)), module(Q, (320, 768)))
    assert [item.module.name for item in placement.placed] == [native]
    assert placement.misshapen[0][1] == f"the file changes the same layer as {native}"


def test_parts_of_one_weight_are_places_of_their_own() -> None:
    sites = {name: Site("qkv", (4, 8), Place((0, start, 4))) for name, start in (("q", 0), ("k", 4), ("v", 8))}
    placement = only(*(module(f"unet.{name}", (4, 8)) for name in "qkv"), targets={"model": sites})
    assert [item.site.place.offset for item in placement.placed] == [(0, 0, 4), (0, 4, 4), (0, 8, 4)]


def test_the_fallback_places_what_our_names_do_not() -> None:
    wanted = Site("other.weight", (320, 768))
    fallback = {"unknown.layer": wanted, Q: Site("wrong.weight", (1, 1))}
    placement = only(module("unknown.layer", (320, 768)), module(Q, (320, 768)), fallback=fallback)
    assert [item.site.key for item in placement.placed] == [
        "other.weight",
        "m.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
    ]
    # where our own place does not fit, the fallback's is tried, and never taken when it does not fit either
    assert only(module(Q, (64, 64)), fallback={Q: Site("w", (64, 64))}).placed[0].site.key == "w"
    assert not only(module(Q, (64, 64)), fallback={Q: Site("w", (64, 65))}).placed


def test_an_encoder_is_found_by_all_its_names() -> None:
    site = Site("k.weight", (8, 8))
    sites = encoder_sites({"clip_l": {"text_model.encoder.layers.0.mlp.fc1": site}})
    path = "text_model_encoder_layers_0_mlp_fc1"
    assert sites["te"][path] == sites["te1"][path] == sites["text_encoders"][f"clip_l_transformer_{path}"] == site
    assert has_text_encoders(sites)
    assert set(sites) == {"te", "te1", "text_encoders", "text_encoders:clip_l"}
    assert not has_text_encoders(TARGETS)


def bias(name: str, numbers: int, algorithm: str = "bias difference", slot: str = "diff_b") -> Module:
    component, path, _ = prefixes.split(name)
    return Module(name, component, path, algorithm, {slot: f"{name}.{slot}"}, {slot: (numbers,)}, "bias")


FLUX: Mapping[str, tuple[int, ...]] = {
    "double_blocks.0.img_attn.qkv.weight": (12, 4),
    "double_blocks.0.img_attn.qkv.bias": (12,),
    "double_blocks.0.img_mod.lin.weight": (24, 4),
    "double_blocks.0.img_attn.norm.query_norm.scale": (2,),
    "single_blocks.0.linear1.weight": (28, 4),
    "img_in.weight": (4, 6),
    "img_in.bias": (4,),
    "final_layer.adaLN_modulation.1.weight": (8, 4),
    "final_layer.adaLN_modulation.1.bias": (8,),
}
LUMINA = {"noise_refiner.0.attention.qkv.weight": (12, 8), "layers.0.adaLN_modulation.1.weight": (32, 8)}
QKV, ADA = "m.double_blocks.0.img_attn.qkv", "m.final_layer.adaLN_modulation.1"


def native(shapes: Mapping[str, tuple[int, ...] | None]) -> Targets:
    return {"model": model_sites({name: (f"m.{name}", shape) for name, shape in shapes.items()})}


@pytest.mark.parametrize(
    ("shapes", "made", "expected"),
    [
        (FLUX, module("transformer.x_embedder", (4, 6)), Site("m.img_in.weight", (4, 6))),
        (FLUX, bias("transformer.x_embedder", 4), Site("m.img_in.bias", (4,))),
        (FLUX, bias("lora_unet_img_in", 4, "LoRA bias", "bias"), Site("m.img_in.bias", (4,))),
        (FLUX, module("lora_unet_double_blocks_0_img_attn_qkv", (12, 4)), Site(f"{QKV}.weight", (12, 4))),
        *(
            (FLUX, made, Site(f"{QKV}.{end}", (4, *rest), Place((0, start, 4))))
            for start, part in ((0, "to_q"), (4, "to_k"), (8, "to_v"))
            for made, end, rest in (
                (module(f"transformer.transformer_blocks.0.attn.{part}", (4, 4)), "weight", (4,)),
                (module(f"lora_transformer_transformer_blocks_0_attn_{part}", (4, 4)), "weight", (4,)),
                (bias(f"transformer.transformer_blocks.0.attn.{part}", 4), "bias", ()),
            )
        ),
        (
            FLUX,
            module("transformer.single_transformer_blocks.0.proj_mlp", (16, 4)),
            Site("m.single_blocks.0.linear1.weight", (16, 4), Place((0, 12, 16))),
        ),
        (FLUX, module("transformer.norm_out.linear", (8, 4)), Site(f"{ADA}.weight", (8, 4), Place(None, True))),
        (FLUX, bias("transformer.norm_out.linear", 8), Site(f"{ADA}.bias", (8,), Place(None, True))),
        (
            FLUX,
            module("double_blocks.0.img_attn.norm.query_norm", (2, 1), algorithm="weight replacement", value=(2,)),
            Site("m.double_blocks.0.img_attn.norm.query_norm.scale", (2,)),
        ),
        *(
            (
                LUMINA,
                module(f"transformer.noise_refiner.0.attn.{part}", (count, 8)),
                Site("m.noise_refiner.0.attention.qkv.weight", (count, 8), Place((0, start, count))),
            )
            for part, start, count in (("to_q", 0, 8), ("to_k", 8, 2), ("to_v", 10, 2))
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Module) else "",
)
def test_biases_and_names_of_other_tools(shapes: Mapping[str, tuple[int, ...]], made: Module, expected: Site) -> None:
    """Thirds of fused weights and biases, halves that are swapped, queries with more heads than keys and values."""
    assert [item.site for item in only(made, targets=native(shapes)).placed] == [expected]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (bias("lora_unet_img_in", 5), "made for a bias of 5 numbers, the model's is [4]"),
        (module("transformer.transformer_blocks.0.attn.to_q", (12, 4)), "shape [12, 4], the model's is [4, 4]"),
        (module("transformer.noise_refiner.0.attn.to_k", (8, 8)), "shape [8, 8], the model's is [2, 8]"),
        (module("lora_unet_img_in", (4, 12)), "made for a weight of shape [4, 12], the model's is [4, 6]"),
    ],
)
def test_what_does_not_fit_a_bias_or_a_part(made: Module, reason: str) -> None:
    ((_, said),) = only(made, targets=native({**FLUX, **LUMINA})).misshapen
    assert reason in said


def test_a_bias_and_a_weight_of_one_layer_are_two_places() -> None:
    name = "lora_unet_img_in"
    placement = only(
        module(name, (4, 6)), module(name, (4, 6), algorithm="full difference", diff=(4, 6)), bias(name, 4),
        bias(name, 4, "LoRA bias", "bias"), targets=native(FLUX),
    )  # fmt: skip
    assert [item.site.key for item in placement.placed] == ["m.img_in.weight"] * 2 + ["m.img_in.bias"] * 2


def test_a_packed_weight_takes_what_is_sound() -> None:
    """Nobody can tell its shape, so that only contradictions among the file's own tensors count."""
    targets = native({"img_in.weight": None})
    assert only(module("lora_unet_img_in", (7, 9)), targets=targets).placed[0].site == Site("m.img_in.weight", None)
    ((_, said),) = only(module("lora_unet_img_in", (7, 9), down=(5, 9)), targets=targets).misshapen
    assert "rank 4" in said


LENGTHS = st.lists(st.integers(1, 3), min_size=1, max_size=4)


@given(LENGTHS, LENGTHS, st.booleans())
def test_a_placed_module_s_product_has_the_weight_s_size(shape: list[int], target: list[int], with_core: bool) -> None:
    """Whatever is placed can be multiplied and added: rows and elements agree."""
    made = module("unet.x", tuple(shape), rank=2)
    if with_core and len(shape) > 2:
        made = module("unet.x", tuple(shape), 2, down=(2, shape[1], *[1] * len(shape[2:])), mid=(2, 2, *shape[2:]))
    placement = only(made, targets={"model": {"x": Site("x", tuple(target))}})
    if placement.placed:
        inner = made.in_shape
        assert inner is not None
        size, wanted = 1, 1
        for length in (shape[0], *inner):
            size *= length
        for length in target:
            wanted *= length
        assert (shape[0], size) == (target[0], wanted)
    else:
        assert shape != target or len(shape) < 2


ODD_SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (320,), (4, 320), (1, 320, 1, 1), (2**62, 0), (2**62,) * 3)
WEIGHTS: tuple[tuple[int, ...] | None, ...] = ((), (0,), (320,), (320, 320), (320, 4, 3, 3), None)


@pytest.mark.parametrize("suffix", [*slots.SUFFIXES, ".diff_m"])
def test_a_module_with_only_some_of_its_slots_is_told_in_words(suffix: str) -> None:
    """`hada_w2_b` alone, `dora_scale` alone, and each beside one other tensor of the same layer."""
    for other in ("", ".alpha", ".dora_scale", ".on_input", ".weight", ".rescale", ".lora_down.weight", ".lora_A.bias"):
        for shape in ODD_SHAPES:
            shapes = {f"blocks.0{end}": shape for end in (suffix, other) if end}
            count = len(shapes)
            places = (["F32"] * count, [0] * count, [0] * count)
            reading = read_modules(Header("x.safetensors", shapes, {}, 0, 0, "", places))
            told = [*reading.leftovers, *(t for m in reading.modules for t in (*m.slots.values(), *m.doubled))]
            assert set(told) == set(shapes)  # none is lost
            for found in reading.modules:
                reasons = [misfit(found, weight) for weight in WEIGHTS]
                assert all(reason is None or reason.strip() for reason in reasons)
                if found.layout.problem:
                    assert reasons == [found.layout.problem] * len(WEIGHTS)


def test_a_vector_for_the_input_of_one_number_is_told_in_words() -> None:
    shapes = {"blocks.0.on_input": (), "blocks.0.weight": ()}
    (found,) = read_modules(Header("x.safetensors", shapes, {}, 0, 0, "", (["F32"] * 2, [0] * 2, [0] * 2))).modules
    assert misfit(found, (320, 640)) == "made for 1 rows or columns, not [320, 640]"
    assert misfit(found, (320, 1)) is None
