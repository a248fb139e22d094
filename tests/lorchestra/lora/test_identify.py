"""What a file is made for where that is hard to tell, by its text encoders, and what a base model is."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest
from support import synthetic
from support.synthetic import ATTENTION, FULL, KOHYA, MAIN, PEFT, Tensors

from lorchestra.architectures.names import are_interchangeable
from lorchestra.architectures.patterns import Shape
from lorchestra.architectures.signatures import find_signature
from lorchestra.demo.checkpoint import checkpoint_shapes
from lorchestra.lora.identify import Identity, explain, identify
from lorchestra.models.recognise import identify_base
from lorchestra.spelling.modules import Module, read_modules

FLUX1 = ("flux1_dev", "flux1_schnell", "flux1_fill")
SD3 = ("sd35_medium", "sd3_medium", "sd35_large")
FEWER_SDXL = ("segmind_vega", "koala_700m", "ssd1b")
HUNYUAN_VIDEO = ("hunyuan_video", "hunyuan_video_i2v")
WAN_14B = (
    "wan21_t2v_14b", "wan22_i2v_14b", "wan21_i2v_14b", "wan22_s2v", "wan21_vace_14b", "wan22_animate",
    "wan21_camera_14b", "wan21_fun_control_14b", "wan21_humo_17b",
)  # fmt: skip
WITH_K_IMG = ("wan21_i2v_14b", "wan22_animate", "wan21_camera_14b", "wan21_fun_control_14b")
WITH_CLIP_L = ("sdxl", *FLUX1, *HUNYUAN_VIDEO, *SD3, *FEWER_SDXL, "hidream_i1")
WITH_CLIP_G = ("sdxl", *SD3, *FEWER_SDXL, "hidream_i1")


Part = Callable[[], Tensors]
"""Tensors of a file, made when a test asks for them."""


def modules_of(*parts: Part) -> tuple[Module, ...]:
    reading = read_modules(synthetic.header({name: shape for part in parts for name, shape in part().items()}))
    assert not reading.leftovers
    return reading.modules


def named(*parts: Part) -> Identity:
    return identify(modules_of(*parts))


def lora(architecture: str, spelling: str, pieces: str = "", selection: str = FULL) -> Part:
    """A file's tensors whose names match a pattern."""

    def make() -> Tensors:
        found = next(item for item in synthetic.spellings(architecture) if item.name == spelling)
        tensors = synthetic.lora(architecture, found, selection)
        return {name: shape for name, shape in tensors.items() if re.search(pieces, name)}

    return make


def encoder(encoder_id: str, prefix: str, *, start: str = "", most: int = 10**6) -> Part:
    return partial(synthetic.encoder, encoder_id, prefix, start=start, most=most)


def dotted(encoder_id: str, prefix: str, start: str = "") -> Part:
    return partial(synthetic.encoder, encoder_id, prefix, is_flat=False, write=PEFT, start=start)


KOHYA_SD = "kohya in diffusers' names"


@pytest.mark.parametrize(
    ("parts", "first", "tie"),
    [
        # SD 1.x and 2.x: self-attention alone is the same; a projection is a convolution in the one
        ([lora("sd15", KOHYA_SD, "attn1")], "sd15", {"sd15", "sd21", "svd"}),
        ([lora("sd21", KOHYA_SD, "attn1")], "sd15", {"sd15", "sd21", "svd"}),
        ([lora("sd15", KOHYA_SD, "attn1|proj_in")], "sd15", {"sd15"}),
        ([lora("sd21", KOHYA_SD, "attn1|proj_in")], "sd21", {"sd21", "svd"}),
        ([lora("sd15", KOHYA_SD, "attn2_to_k")], "sd15", {"sd15"}),
        ([lora("sd21", KOHYA_SD, "attn2_to_k")], "sd21", {"sd21", "svd"}),
        ([lora("sd21", KOHYA_SD, "attn1"), encoder("clip_h", "lora_te_", most=23)], "sd21", {"sd21"}),
        # … and SDXL: the blocks with attention, their widths, the depth
        ([lora("sdxl", KOHYA_SD, "attn1")], "sdxl", {"sdxl"}),
        ([lora("sdxl", KOHYA_SD, "up_blocks_0.*blocks_0_attn1")], "sdxl", {"sdxl", *FEWER_SDXL} - {"koala_700m"}),
        (
            [lora("sdxl", KOHYA_SD, "(down_blocks_[12]|mid_block).*_blocks_0_attn1")],
            "sd15",
            {"sd15", "sdxl", "sd21", "svd"},
        ),
        # Flux.1, Chroma, FLUX.2 klein
        ([lora("flux1_dev", "kohya", "", ATTENTION)], "flux1_dev", {*FLUX1, "chroma"}),
        ([lora("flux1_dev", "kohya", "mlp|linear")], "flux1_dev", {*FLUX1, "chroma"}),
        ([lora("flux1_dev", "kohya", "attn|_mod_")], "flux1_dev", {*FLUX1}),
        ([lora("chroma", "kohya", "", MAIN)], "flux1_dev", {*FLUX1, "chroma"}),
        ([lora("chroma", "kohya")], "chroma", {"chroma"}),
        ([lora("flux2_klein_4b", "kohya", "", ATTENTION)], "flux2_klein_4b", {"flux2_klein_4b"}),
        (
            [lora("flux2_klein_4b", "kohya", "double_blocks_[1-3]_(img|txt)_attn")],
            "flux1_dev",
            {*FLUX1, "chroma", *HUNYUAN_VIDEO, "flux2_klein_4b", "ovis_image", "longcat_image"},
        ),
        ([lora("flux1_dev", "kohya", "double_blocks_10_img_attn")], "flux1_dev", {*FLUX1, "chroma", *HUNYUAN_VIDEO}),
        # … and HunyuanVideo
        ([lora("flux1_dev", "kohya")], "flux1_dev", {*FLUX1}),
        ([lora("hunyuan_video", "kohya")], "hunyuan_video", {*HUNYUAN_VIDEO}),
        ([lora("hunyuan_video", "kohya", "single_blocks_3[89]")], "hunyuan_video", {*HUNYUAN_VIDEO}),
        ([lora("hunyuan_video", "kohya", "individual_token_refiner")], "hunyuan_video", {*HUNYUAN_VIDEO}),
        ([lora("flux1_dev", "kohya", "double_blocks_[0-2]_")], "flux1_dev", {*FLUX1, *HUNYUAN_VIDEO, "longcat_image"}),
        # Cosmos-Predict2 and Anima
        ([lora("cosmos_predict2_2b", "kohya")], "anima", {"anima", "cosmos_predict2_2b"}),
        ([lora("anima", "kohya")], "anima", {"anima"}),
        (
            [lora("anima", "kohya", "", MAIN), encoder("qwen3_0_6b", "lora_te_", start="layers")],
            "anima",
            {"anima"},
        ),
        # LTX-Video and LTX-2
        ([lora("ltxv_13b", "native")], "ltxv_13b", {"ltxv_13b", "ltx2_19b", "ltx23_22b"}),
        (
            [lora("ltx2_19b", "native", r"transformer_blocks\.\d+\.(attn|ff)")],
            "ltxv_13b",
            {"ltxv_13b", "ltx2_19b", "ltx23_22b"},
        ),
        ([lora("ltx2_19b", "native", r"transformer_blocks\.\d+\.")], "ltx2_19b", {"ltx2_19b", "ltx23_22b"}),
        ([lora("ltx23_22b", "native", r"transformer_blocks\.\d+\.")], "ltx23_22b", {"ltx23_22b"}),
        ([lora("qwen_image21", "native")], "qwen_image21", {"qwen_image21"}),
        # Wan
        ([lora("wan21_t2v_14b", "native")], "wan21_t2v_14b", {*WAN_14B}),
        ([lora("wan21_t2v_14b", "ai-toolkit LoKr")], "wan21_t2v_14b", {*WAN_14B}),
        ([lora("wan22_i2v_14b", "native")], "wan21_t2v_14b", {*WAN_14B}),
        ([lora("wan21_i2v_14b", "native")], "wan21_i2v_14b", {*WITH_K_IMG}),
        ([lora("wan21_vace_14b", "native")], "wan21_vace_14b", {"wan21_vace_14b"}),
        ([lora("wan21_t2v_1_3b", "native")], "wan21_t2v_1_3b", {"wan21_t2v_1_3b", "wan21_vace_1_3b"}),
        # Qwen-Image and what shares names with it
        ([lora("qwen_image", "kohya")], "qwen_image", {"qwen_image"}),
        ([lora("mage_flow", "kohya")], "mage_flow", {"mage_flow"}),
        ([lora("qwen_image", "diffusers", "attn")], "qwen_image", {"qwen_image"}),
        (
            [lora("qwen_image", "diffusers", r"blocks\.1?[0-8]\.attn")],
            "flux1_dev",
            {*FLUX1, "chroma", *HUNYUAN_VIDEO, "qwen_image"},
        ),
        ([lora("flux1_dev", "diffusers", r"\.transformer_blocks\..*attn")], "flux1_dev", {*FLUX1, "chroma"}),
        # one name, three widths
        ([lora("lumina2", "kohya", "attention_qkv")], "lumina2", {"lumina2"}),
        ([lora("newbie", "kohya", "attention_qkv")], "newbie", {"newbie"}),
        ([lora("z_image", "kohya", "attention_qkv")], "z_image", {"z_image"}),
        ([lora("ideogram4", "kohya", "attention_qkv")], "ideogram4", {"ideogram4"}),
    ],
)
def test_what_settles_it_or_else_ties(parts: Sequence[Part], first: str, tie: set[str]) -> None:
    found = named(*parts)
    assert (found.architectures[0], set(found.best)) == (first, tie)
    assert found.unplaced == 0


@pytest.mark.parametrize(
    ("parts", "best"),
    [
        # kohya: `lora_te_` is the only encoder of its model, numbered ones are of several
        ([encoder("clip_l", "lora_te_")], ("sd15",)),
        ([encoder("clip_l", "lora_te1_")], WITH_CLIP_L),
        ([encoder("clip_h", "lora_te_", most=23)], ("sd21",)),
        ([encoder("clip_g", "lora_te2_")], (*WITH_CLIP_G, "cascade_c", "cascade_c_lite", "cascade_b", "sdxl_refiner")),
        ([encoder("clip_l", "lora_te1_"), encoder("clip_g", "lora_te2_")], WITH_CLIP_G),
        (
            [encoder("clip_l", "lora_te1_"), encoder("clip_g", "lora_te2_"), encoder("t5xxl", "lora_te3_")],
            (*SD3, "hidream_i1"),
        ),
        # T5 is Flux.1's third one in kohya's files, its second one in OneTrainer's
        ([encoder("t5xxl", "lora_te3_")], (*FLUX1, "chroma", *SD3, "hidream_i1")),
        ([encoder("clip_l", "lora_te1_"), encoder("t5xxl", "lora_te3_")], (*FLUX1, *SD3, "hidream_i1")),
        ([encoder("t5xxl", "lora_te2_")], (*FLUX1, "chroma")),
        ([encoder("clip_l", "lora_te1_"), encoder("t5xxl", "lora_te2_")], FLUX1),
        # language models
        ([encoder("qwen3_0_6b", "lora_te_", start="layers")], ("anima", "ace_step15")),
        ([encoder("qwen3_0_6b", "lora_te_", start="model.layers")], ("anima", "ace_step15")),
        ([encoder("gemma2_2b", "lora_te_", start="layers")], ("lumina2",)),
        ([encoder("clip_g", "lora_prior_te_")], ("cascade_c", "cascade_c_lite", "cascade_b", "sdxl_refiner")),
        # diffusers and ComfyUI's own names
        ([dotted("clip_l", "text_encoder.")], ("sd15", *WITH_CLIP_L)),
        ([dotted("clip_l", "text_encoder."), dotted("clip_g", "text_encoder_2.")], WITH_CLIP_G),
        ([dotted("clip_l", "text_encoder."), dotted("t5xxl", "text_encoder_2.")], FLUX1),
        (
            [
                dotted("clip_l", "text_encoders.clip_l.transformer."),
                dotted("clip_g", "text_encoders.clip_g.transformer."),
            ],
            WITH_CLIP_G,
        ),
        ([dotted("qwen3_0_6b", "text_encoders.qwen3_06b.transformer.", "model.layers")], ("anima", "ace_step15")),
    ],
)
def test_text_encoders_alone(parts: Sequence[Part], best: Sequence[str]) -> None:
    found = named(*parts)
    assert set(found.best) == set(best)
    assert found.unplaced == 0
    assert found.best[0] == best[0]


@pytest.mark.parametrize(
    ("parts", "best"),
    [
        ([lora("sd15", KOHYA_SD), encoder("clip_l", "lora_te_")], ("sd15",)),
        ([lora("sd21", KOHYA_SD), encoder("clip_h", "lora_te_", most=23)], ("sd21",)),
        ([lora("sdxl", "kohya"), encoder("clip_l", "lora_te1_"), encoder("clip_g", "lora_te2_")], ("sdxl",)),
        (
            [
                lora("sd3_medium", "kohya"),
                encoder("clip_l", "lora_te1_"),
                encoder("clip_g", "lora_te2_"),
                encoder("t5xxl", "lora_te3_"),
            ],
            ("sd3_medium",),
        ),
        ([lora("flux1_dev", "kohya"), encoder("clip_l", "lora_te1_")], FLUX1),
        (
            [lora("flux1_dev", "OneTrainer"), encoder("clip_l", "lora_te1_"), encoder("t5xxl", "lora_te2_")],
            FLUX1,
        ),
        # an encoder's number that is not as usual is no reason against what the layers say
        ([lora("flux1_dev", "kohya"), encoder("clip_l", "lora_te_")], FLUX1),
        ([lora("chroma", "kohya", "", MAIN), encoder("t5xxl", "lora_te3_")], (*FLUX1, "chroma")),
        ([lora("lumina2", "kohya"), encoder("gemma2_2b", "lora_te_", start="layers")], ("lumina2",)),
        ([lora("hunyuan_video", "kohya"), encoder("clip_l", "lora_te2_")], HUNYUAN_VIDEO),
        (
            [lora("cascade_c", "OneTrainer prior"), encoder("clip_g", "lora_prior_te_")],
            ("cascade_c",),
        ),
    ],
)
def test_with_text_encoders(parts: Sequence[Part], best: Sequence[str]) -> None:
    found = named(*parts)
    assert (found.best, found.unplaced) == (tuple(best), 0)


def test_metadata_settles_a_tie_and_nothing_else() -> None:
    modules = modules_of(lora("chroma", "kohya", "", MAIN))
    assert identify(modules, claimed=["chroma"]).best == ("chroma",)
    assert identify(modules, claimed=["sdxl"]).best == identify(modules).best


def test_few_modules_are_no_evidence_of_completeness() -> None:
    """SSD-1B has one resnet in the middle, of which SDXL has two."""
    name = "lora_unet_mid_block_resnets_0_time_emb_proj"
    found = named(lambda: dict(KOHYA(name, (1280, 1280))))
    assert found.complete == ()
    assert "sdxl" in found.best


def test_a_flattened_kernel_is_no_evidence_of_a_linear_layer() -> None:
    """LyCORIS' LoHa and LoKr have SD 1.5's 1x1 convolutions as matrices."""
    spelling = next(item for item in synthetic.spellings("sd15") if item.write is synthetic.loha)
    found = named(lora("sd15", spelling.name, "attn1|proj_in"))
    assert found.best[0] == "sd15"


def test_nothing() -> None:
    assert identify(()) == Identity((), 0, (), 0, 0)
    found = named(lambda: dict(PEFT("encoder.nothing.like.it", (3, 5))))
    assert (found.architectures, found.ties, found.partial, found.modules, found.unplaced) == ((), 0, (), 1, 1)
    assert found.likeliest is None


def test_explanation_names_a_module_for_each_rival() -> None:
    modules = modules_of(lora("sd15", KOHYA_SD))
    sentences = explain(modules, identify(modules))
    assert any("Stable Diffusion 2.1 has another shape there" in sentence for sentence in sentences), sentences


# Base models

CHANNELS = ("patch_embedding", "img_in", "img_in.proj", "x_embedder", "input_blocks.0.0")
"""Layers that are wider where a model takes a picture or a mask as well."""


def shapes(architecture: str) -> dict[str, Shape | None]:
    signature = find_signature(architecture)
    assert signature
    return dict(signature.shapes)


def scaled(architecture: str, ends: Sequence[str]) -> dict[str, Shape | None]:
    """With the scales of an fp8 model."""
    own = shapes(architecture)
    linear = [name.removesuffix(".weight") for name, shape in own.items() if name.endswith(".weight") and shape]
    return {**own, **{f"{name}{end}": () for name in linear for end in ends}, "scaled_fp8": (0,)}


@pytest.mark.parametrize("architecture", synthetic.ALL)
def test_a_base_model_is_what_it_is(architecture: str) -> None:
    """First; and nothing of another family ties, which a LoRA could be for."""

    def check(base: Mapping[str, Shape | None], *, twins: bool = False) -> None:
        found = identify_base(base)
        assert twins or found[0] == architecture
        assert found
        assert all(are_interchangeable(architecture, name) for name in found)

    own = shapes(architecture)
    check(own)
    check(scaled(architecture, (".scale_weight", ".scale_input")))
    check(scaled(architecture, (".weight_scale", ".input_scale", ".comfy_quant")))
    for seed in range(3):
        missing = set(random.Random(seed).sample(sorted(own), len(own) // 50 + 1))
        check({name: shape for name, shape in own.items() if name not in missing}, twins=True)
    check({name: None if shape and len(shape) == 2 else shape for name, shape in own.items()}, twins=True)
    for name in CHANNELS:
        shape = own.get(f"{name}.weight")
        if shape:
            check({**own, f"{name}.weight": (shape[0], shape[1] + 20, *shape[2:])}, twins=True)


@pytest.mark.parametrize(
    "base",
    [
        {},
        {"a.weight": (3, 3)},
        {"encoder.layers.0.weight": None},
        {f"blocks.{number}.attn.to_q.weight": (64, 64) for number in range(8)},
        # the demo's UNet: names of SD 1.5, small
        {
            name.removeprefix("model.diffusion_model."): shape
            for name, shape in checkpoint_shapes(clip=False, vae=False).items()
        },
        # a half of a model is none
        dict(list(shapes("sdxl").items())[:800]),
    ],
    ids=["empty", "one tensor", "packed", "unknown", "tiny", "half"],
)
def test_a_base_model_that_is_none(base: Mapping[str, Shape | None]) -> None:
    assert identify_base(base) == ()
