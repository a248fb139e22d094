"""LoRAs of all known base models as trainers write them: names and shapes only, nothing has weights.

Native names come from the signatures, diffusers' from the layers of diffusers' own classes (`aliases/diffusers*.json`),
so that our tables are not checked against themselves where that can be avoided.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import gcd, prod
from pathlib import Path

from support import unet_table

from lorchestra.architectures.aliases import Rows, alias_sites
from lorchestra.architectures.encoders import find_encoder
from lorchestra.architectures.patterns import Pattern, Shape
from lorchestra.architectures.signatures import find_signature, read_signatures
from lorchestra.architectures.unet import diffusers_names
from lorchestra.files.header import Header
from lorchestra.spelling.prefixes import flatten

ALL = tuple(signature.id for signature in read_signatures())

Layers = Mapping[str, Shape]
"""Dotted name of a layer in one tool's words → shape of its weight, or of the part of a fused one."""

Tensors = dict[str, Shape]

RANK = 4


def header(tensors: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> Header:
    """What would be read of a file with these tensors."""
    return Header("synthetic.safetensors", dict(tensors), dict(metadata or {}), 0, 0, "")


# Names


@cache
def native(architecture: str) -> Layers:
    """Linear layers and convolutions in ComfyUI's names."""
    signature = find_signature(architecture)
    assert signature, architecture
    return {
        name.removesuffix(".weight"): shape
        for name, shape in signature.shapes.items()
        if name.endswith(".weight") and len(shape) > 1
    }


_HERE = Path(__file__).parents[1] / "lorchestra" / "architectures" / "aliases"
_UNETS = {
    "sd15": unet_table.SD15,
    "sd21": unet_table.SD21,
    "sdxl": unet_table.SDXL,
    "sdxl_refiner": unet_table.REFINER,
}


@cache
def _diffusers_files() -> Mapping[str, Layers]:
    models: dict[str, Layers] = {}
    for file in ("diffusers_more.json", "diffusers.json"):
        for model, row in json.loads((_HERE / file).read_text("utf-8"))["models"].items():
            models[model] = {
                name: shape
                for text, size in row["layers"].items()
                for name, shape in Pattern(text, tuple(size)).items()
            }
    models["anima"] = {**models["cosmos_predict2_2b"], **models["anima"]}
    for model, table in _UNETS.items():
        models[model] = {diffusers: shape for _, diffusers, shape in unet_table.rows(table) if len(shape) > 1}
    return models


@cache
def diffusers(architecture: str) -> Layers:
    """Linear layers and convolutions in diffusers' names: of its own class if we have that, else by our tables."""
    known = _diffusers_files().get(architecture)
    if known is not None:
        return {name: shape for name, shape in known.items() if not _is_two_layers(architecture, name)}
    weights = native(architecture)
    names = {foreign: weights[ours] for ours, foreign in diffusers_names(weights).items()}
    return names or by_table(architecture)


def _is_two_layers(architecture: str, name: str) -> bool:
    """Ovis-Image's way into the feed-forward is two layers in ComfyUI; what becomes of it has a test of its own."""
    return architecture == "ovis_image" and name.endswith(OVIS_TWO_LAYERS)


OVIS_TWO_LAYERS = (".ff.net.0.proj", ".ff_context.net.0.proj")


@cache
def by_table(architecture: str, pieces: str = "") -> Layers:
    """Names by our tables that match a pattern; layers that have no such name keep their own."""
    weights = native(architecture)
    found: dict[str, Shape] = {}
    renamed: set[str] = set()
    for foreign, ours, rows in alias_sites(weights):
        if re.search(pieces, foreign):
            found[foreign] = _part(weights[ours], rows)
            renamed.add(ours)
    return {**{name: shape for name, shape in weights.items() if name not in renamed}, **found}


def _part(shape: Shape, rows: Rows | None) -> Shape:
    return shape if rows is None else (rows.length, *shape[1:])


def tencent(architecture: str) -> Layers:
    """HunyuanVideo's own names, q, k and v fused."""
    return by_table(architecture, r"_attn_(qkv|proj)$|_mod\.linear$|_mlp\.fc|mlp\.fc\d$|modulation\.linear$")


def tencent_split(architecture: str) -> Layers:
    """HunyuanVideo 1.5's own names, q, k and v apart."""
    return by_table(architecture, r"_attn_[qkv]$|_attn_proj$|_mod\.linear$|_mlp\.fc|mlp\.fc\d$|linear1_|linear2\.fc$")


def z_image_leaves(architecture: str) -> Layers:
    """The leaves of diffusers' Z-Image, which ai-toolkit writes and ComfyUI reads for Lumina 2 and NewBie as well."""
    return by_table(architecture, r"\.attention\.")


def xlabs(architecture: str) -> Layers:
    """Attention processors of x-flux: 1 is the image, 2 the text."""
    names = by_table(architecture, r"^double_blocks\.\d+\.processor\.(qkv|proj)_lora[12]$")
    return {name: shape for name, shape in names.items() if ".processor." in name}


def ace_without_decoder(architecture: str) -> Layers:
    """ACE-Step 1.5 as its own trainer names it."""
    return {
        name.removeprefix("decoder."): shape
        for name, shape in native(architecture).items()
        if name.startswith("decoder.layers.")
    }


def vace(architecture: str) -> Layers:
    """The part of Wan VACE that is a model of its own in DiffSynth."""
    return {name: shape for name, shape in native(architecture).items() if name.startswith("vace_blocks.")}


def simpletuner_anima(architecture: str) -> Layers:
    """diffusers' transformer in a wrapper; the adapter has its native name there."""
    of_transformer = {f"core.{name}": shape for name, shape in diffusers("cosmos_predict2_2b").items()}
    adapter = {name: shape for name, shape in native(architecture).items() if name.startswith("llm_adapter.blocks.")}
    return {**of_transformer, **adapter}


# What is trained

_BLOCK = re.compile(
    r"^(?:"
    r"(?:input_blocks|output_blocks)\.\d+\.\d+|middle_block\.\d+"  # UNets natively
    r"|(?:down_blocks|up_blocks|mid_block)\.(?:\d+\.)?(?:attentions|resnets|downsamplers|upsamplers)\.\d+"  # diffusers
    r"|(?:down_blocks|up_blocks)\.\d+\.\d+"  # Stable Cascade
    r"|.*?(?:blocks|layers|refiner|encoders|injector)\.(?:block)?\d+|face_adapter\.\d+"
    r")(?=\.)"
)
_NO_LINEAR = re.compile(r"\.ff_i\.gate$|norm_?[123]?$|layernorm|(?:^|\.)(?:time|clip|emb)_pos_embed|embed$")
_OF_RESNETS = ("emb_layers.1", "time_emb_proj")
"""Linear layers of resnets, which are trained where convolutions are."""
_ATTENTION = re.compile(r"attn|attention|injector\.\d+\.|face_adapter|fuser_blocks|\.(?:q|k|v|o|attn_out)$")
_NO_ATTENTION = re.compile(r"adaln|adaLN|norm\d?[._]|injector_adain|\.ff[._]|mlp")
_BESIDE = re.compile(
    r"llm_adapter|text_conditioner|distilled_guidance|^visual\.|lyric_encoder|connector|^encoder\.|tokenizer"
    r"|injector_adain|caption_projection"
)
"""Networks beside the blocks, which trainers leave out unless they are told otherwise."""

FULL, MAIN, ATTENTION, THREE_BLOCKS = "full", "main blocks", "attention only", "three blocks"
SELECTIONS = (FULL, MAIN, ATTENTION, THREE_BLOCKS)
"""All linear layers of all blocks; of the main network's; their attention; all linear layers of three blocks."""


def block_of(name: str) -> str | None:
    """The start of a name that says which block a layer is in; None outside of blocks."""
    match = _BLOCK.match(name)
    return match[0] if match else None


def select(layers: Layers, selection: str, *, seed: str = "", convolutions: bool = False) -> Layers:
    """The layers that such a training changes, in order."""

    def is_linear(name: str, shape: Shape) -> bool:
        if _NO_LINEAR.search(name):
            return False
        if convolutions:
            return True
        if name.endswith(_OF_RESNETS):
            return False
        return len(shape) == 2 or (name.endswith(("proj_in", "proj_out")) and prod(shape[2:]) == 1)

    found = {name: shape for name, shape in layers.items() if block_of(name) and is_linear(name, shape)}
    if selection == FULL:
        return found
    if selection == THREE_BLOCKS:
        blocks = sorted({str(block_of(name)) for name in found})
        chosen = random.Random(seed).sample(blocks, min(3, len(blocks)))
        return {name: shape for name, shape in found.items() if block_of(name) in chosen}
    main = {name: shape for name, shape in found.items() if not _BESIDE.search(name)}
    if selection == MAIN:
        return main
    return {name: shape for name, shape in main.items() if _ATTENTION.search(name) and not _NO_ATTENTION.search(name)}


# How it is written

Writer = Callable[[str, Shape], Iterator[tuple[str, Shape]]]


def _halves(down: str, up: str, *, alpha: bool = False) -> Writer:
    def write(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
        out, inner, *kernel = shape
        yield name + down, (RANK, inner, *kernel)
        yield name + up, (out, RANK, *([1] * len(kernel)))
        if alpha:
            yield f"{name}.alpha", ()

    return write


KOHYA = _halves(".lora_down.weight", ".lora_up.weight", alpha=True)
WITHOUT_ALPHA = _halves(".lora_down.weight", ".lora_up.weight")
PEFT = _halves(".lora_A.weight", ".lora_B.weight")
PEFT_NAMED = _halves(".lora_A.default.weight", ".lora_B.default.weight")
GENMO = _halves(".lora_A", ".lora_B")
DIFFUSERS_OLD = _halves(".lora.down.weight", ".lora.up.weight")


def processors(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """diffusers up to 0.20: `….attn1.processor.to_out_lora.down.weight`."""
    parent, _, leaf = name.removesuffix(".0").rpartition(".")
    yield f"{parent}.processor.{leaf}_lora.down.weight", (RANK, shape[1])
    yield f"{parent}.processor.{leaf}_lora.up.weight", (shape[0], RANK)


def xlabs_halves(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """`double_blocks.0.processor.qkv_lora1.down.weight`."""
    yield f"{name}.down.weight", (RANK, shape[1])
    yield f"{name}.up.weight", (shape[0], RANK)


def loha(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """LyCORIS' LoHa; convolutions flattened."""
    for side in ("w1", "w2"):
        yield f"{name}.hada_{side}_a", (shape[0], RANK)
        yield f"{name}.hada_{side}_b", (RANK, prod(shape[1:]))
    yield f"{name}.alpha", ()


def lokr(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """LyCORIS' LoKr with factor 8: the small factor whole, the large one as two halves, a kernel flattened."""
    out, inner = shape[0], prod(shape[1:])
    rows, columns = gcd(out, 8), gcd(inner, 8)
    yield f"{name}.lokr_w1", (rows, columns)
    yield f"{name}.lokr_w2_a", (out // rows, RANK)
    yield f"{name}.lokr_w2_b", (RANK, inner // columns)
    yield f"{name}.alpha", ()


def lokr_whole(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """ai-toolkit's and SimpleTuner's LoKr at full rank: both factors whole."""
    out, inner, *kernel = shape
    rows, columns = gcd(out, 16), gcd(inner, 16)
    yield f"{name}.lokr_w1", (rows, columns)
    yield f"{name}.lokr_w2", (out // rows, inner // columns, *kernel)
    yield f"{name}.alpha", ()


def dora(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """OneTrainer's DoRA, with a norm for every input."""
    yield from KOHYA(name, shape)
    yield f"{name}.dora_scale", (1, *shape[1:])


def oft(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """kohya's oft, which tells the rows alone."""
    blocks = gcd(shape[0], 8)
    yield f"{name}.oft_blocks", (blocks, shape[0] // blocks, shape[0] // blocks)
    yield f"{name}.alpha", ()


def oft_of_flux(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """kohya's OFT for Flux.1: fused layers have blocks for each of q, k, v and the MLP."""
    out, inner = shape
    rows = [inner] * (out // inner) if name.endswith("qkv") else [out]
    if name.endswith("linear1"):
        rows = [inner, inner, inner, out - 3 * inner]
    for number, part in enumerate(rows):
        yield f"{name}.oft_blocks.{number}", (4, part // 4, part // 4)
    yield f"{name}.alpha", ()


def peft_dora(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """PEFT's DoRA, with a norm for every row."""
    yield from PEFT(name, shape)
    yield f"{name}.lora_magnitude_vector", shape[:1]


def peft_oft(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """PEFT's OFT since 0.15 and OneTrainer's, which tell the columns alone: triangles of blocks of 32 or less."""
    width = gcd(prod(shape[1:]), 32)
    yield f"{name}.oft_R.weight", (prod(shape[1:]) // width, width * (width - 1) // 2)


def glora(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """LyCORIS' GLoRA since 2.0."""
    out, inner, *kernel = shape
    ones = [1] * len(kernel)
    yield f"{name}.a1.weight", (inner, RANK, *ones)
    yield f"{name}.a2.weight", (RANK, inner, *ones)
    yield f"{name}.b1.weight", (out, RANK, *ones)
    yield f"{name}.b2.weight", (RANK, inner, *kernel)
    yield f"{name}.alpha", ()


def full_difference(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """Extractions of whole layers."""
    yield f"{name}.diff", shape


# Which trainer writes what for which model


@dataclass(frozen=True)
class Spelling:
    """One way of writing, and the models that it is written for."""

    name: str
    """Who writes it."""
    names: Callable[[str], Layers]
    prefix: str
    is_flat: bool
    """True if dots are underscores."""
    write: Writer
    architectures: tuple[str, ...]
    convolutions: bool = False
    selections: tuple[str, ...] = SELECTIONS


SD = ("sd15", "sd21", "sdxl", "sdxl_refiner", "ssd1b", "segmind_vega", "koala_700m")
SD3 = ("sd3_medium", "sd35_medium", "sd35_large")
FLUX1 = ("flux1_dev", "flux1_schnell", "flux1_fill")
FLUX2 = ("flux2_dev", "flux2_klein_4b", "flux2_klein_9b")
CASCADE = ("cascade_c", "cascade_c_lite")
PIXART = ("pixart_alpha", "pixart_sigma")
WAN = tuple(name for name in ALL if name.startswith("wan"))
HUNYUAN = ("hunyuan_video", "hunyuan_video_i2v", "hunyuan_video15", "hunyuan_image21")
COSMOS = ("cosmos1_7b", "cosmos1_14b", "cosmos_predict2_2b", "cosmos_predict2_14b")
KANDINSKY = tuple(name for name in ALL if name.startswith("kandinsky5"))
LUMINA = ("lumina2", "newbie", "z_image")
LTX = ("ltxv_2b", "ltxv_13b", "ltx2_19b")
COGVIDEOX = ("cogvideox_2b", "cogvideox_5b")

DIFFUSERS_TRANSFORMERS = (
    *SD3, *CASCADE, "cascade_b", "auraflow", *PIXART, "hunyuan_dit", *FLUX1, "chroma", *FLUX2, "longcat_image",
    "ovis_image", "mochi", *LTX, *HUNYUAN, *COSMOS, "anima", "lumina2", "z_image", *WAN, "hidream_i1", "qwen_image",
    "krea2", *COGVIDEOX, "stable_audio", "ideogram4", "ace_step15", "ernie_image", "kandinsky5_lite_video", "joyimage",
    "minimax_music3",
)  # fmt: skip
"""Models of which diffusers has a class and ComfyUI other names, or the same by luck. Not here: MiniMax-H3, whose
modulation is pruned in the signature."""
SAME_IN_DIFFUSERS = ("ace_step", "omnigen2", "mage_flow", "kandinsky5_lite_image", "kandinsky5_pro_video")
"""Models whose native names are diffusers'."""

SPELLINGS: tuple[Spelling, ...] = (
    # ComfyUI reads these two for every model; sd-scripts, musubi-tuner and LyCORIS write the one, ai-toolkit,
    # diffusion-pipe and OneTrainer the other
    Spelling("kohya", native, "lora_unet_", True, KOHYA, ALL),
    Spelling("native", native, "diffusion_model.", False, PEFT, ALL),
    # sd-scripts for SD 1 and 2; LCM, LyCORIS and OneTrainer for all UNets
    Spelling("kohya in diffusers' names", diffusers, "lora_unet_", True, KOHYA, SD),
    Spelling("kohya LoCon", diffusers, "lora_unet_", True, KOHYA, SD, convolutions=True),
    Spelling("kohya LoCon, native", native, "lora_unet_", True, KOHYA, ("sdxl", "sdxl_refiner"), convolutions=True),
    Spelling("LoHa in kohya", native, "lora_unet_", True, loha, ("sdxl", *SD3, *FLUX1, "chroma", "anima", *WAN)),
    Spelling("LoHa in kohya, diffusers' names", diffusers, "lora_unet_", True, loha, SD, convolutions=True),
    Spelling("LoKr in kohya", native, "lora_unet_", True, lokr, ("sdxl", *SD3, *FLUX1, "chroma", "anima", *WAN)),
    Spelling("LoKr in kohya, diffusers' names", diffusers, "lora_unet_", True, lokr, SD, convolutions=True),
    Spelling("kohya OFT", diffusers, "oft_unet_", True, oft, ("sd15", "sd21")),
    Spelling("kohya OFT, native", native, "oft_unet_", True, oft, ("sdxl",)),
    Spelling("kohya OFT of Flux", native, "oft_unet_", True, oft_of_flux, ("flux1_dev", "flux1_schnell")),
    Spelling("GLoRA in kohya", native, "lora_unet_", True, glora, ("sdxl", "flux1_dev", "anima")),
    Spelling("GLoRA in kohya, diffusers' names", diffusers, "lora_unet_", True, glora, ("sd15", "sdxl")),
    Spelling("musubi HiDream-O1", native, "lora_unet_model_", True, KOHYA, ("hidream_o1",)),
    # OneTrainer
    Spelling("OneTrainer DoRA", diffusers, "lora_unet_", True, dora, ("sd15", "sd21", "sdxl")),
    Spelling("OneTrainer", diffusers, "lora_transformer_", True, KOHYA, (
        *SD3, *PIXART, "flux1_dev", "flux1_fill", "chroma", *FLUX2, "hunyuan_video", "hidream_i1", "qwen_image",
        "z_image", "ernie_image", "anima", "krea2", "ideogram4",
    )),
    Spelling("OneTrainer DoRA", diffusers, "lora_transformer_", True, dora, (*SD3, "flux1_dev", "chroma")),
    Spelling("OneTrainer OFT", diffusers, "lora_transformer_", True, peft_oft, (*SD3, "flux1_dev", "qwen_image")),
    Spelling("OneTrainer OFT", diffusers, "lora_unet_", True, peft_oft, ("sd15", "sdxl")),
    Spelling("OneTrainer prior", native, "lora_prior_unet_", True, KOHYA, CASCADE),
    Spelling("OneTrainer prior, diffusers' names", diffusers, "lora_prior_unet_", True, KOHYA, CASCADE),
    # LyCORIS' own wrapper around diffusers' models: SimpleTuner, early ai-toolkit
    Spelling("LyCORIS LoKr", diffusers, "lycoris_", True, lokr_whole, (*SD, *DIFFUSERS_TRANSFORMERS)),
    Spelling("LyCORIS LoHa", diffusers, "lycoris_", True, loha, ("sd15", "sdxl", *SD3, "flux1_dev", "hidream_i1")),
    Spelling("LyCORIS LoKr, native", native, "lycoris_", True, lokr_whole, SAME_IN_DIFFUSERS),
    Spelling("LyCORIS without decoder", ace_without_decoder, "lycoris_", True, lokr_whole, ("ace_step15",)),
    Spelling("ai-toolkit LoKr", native, "diffusion_model.", False, lokr_whole, (
        "flux2_klein_9b", "qwen_image", "krea2", *WAN,
    )),
    # diffusers and PEFT
    Spelling("diffusers", diffusers, "unet.", False, PEFT, (*SD, "svd")),
    Spelling("diffusers with lora.down", diffusers, "unet.", False, DIFFUSERS_OLD, (*SD, "svd")),
    Spelling("diffusers processors", diffusers, "unet.", False, processors, SD, selections=(ATTENTION,)),
    Spelling("diffusers processors, bare", diffusers, "", False, processors, SD, selections=(ATTENTION,)),
    Spelling("diffusers", diffusers, "transformer.", False, PEFT, DIFFUSERS_TRANSFORMERS),
    Spelling("diffusers", native, "transformer.", False, PEFT, SAME_IN_DIFFUSERS),
    Spelling("diffusers prior", diffusers, "prior.", False, PEFT, CASCADE),
    Spelling("PEFT DoRA", diffusers, "unet.", False, peft_dora, ("sd15", "sdxl")),
    Spelling("PEFT DoRA", diffusers, "transformer.", False, peft_dora, (*SD3, "flux1_dev", "qwen_image", "wan22_5b")),
    Spelling("raw PEFT", diffusers, "base_model.model.", False, PEFT, (
        *SD, *SD3, *FLUX1, "chroma", *FLUX2, "hidream_i1", "qwen_image", *PIXART, "z_image", *LTX, *WAN,
    )),
    Spelling("raw PEFT in a UNet", diffusers, "unet.base_model.model.", False, PEFT, (*SD, *PIXART)),
    Spelling("raw PEFT in a transformer", diffusers, "transformer.base_model.model.", False, PEFT, (*FLUX1, *SD3)),
    Spelling("raw PEFT, native", native, "base_model.model.", False, PEFT, ("hunyuan_dit", *FLUX2, "ace_step")),
    Spelling("raw PEFT without decoder", ace_without_decoder, "base_model.model.", False, PEFT, ("ace_step15",)),
    # names of one trainer or model
    Spelling("Tencent's names", tencent, "transformer.", False, PEFT, HUNYUAN),
    Spelling("Tencent's names", tencent, "diffusion_model.", False, PEFT, HUNYUAN),
    Spelling("musubi HunyuanVideo", tencent, "lora_unet_", True, KOHYA, HUNYUAN),
    Spelling("musubi HunyuanVideo 1.5", tencent_split, "lora_unet_", True, KOHYA, ("hunyuan_video15",)),
    Spelling("musubi Z-Image", diffusers, "lora_unet_", True, KOHYA, ("z_image",)),
    Spelling("ai-toolkit Z-Image", diffusers, "diffusion_model.", False, PEFT, ("z_image",)),
    Spelling("Z-Image's leaves", z_image_leaves, "transformer.", False, PEFT, LUMINA),
    Spelling("Z-Image's leaves", z_image_leaves, "lycoris_", True, lokr_whole, LUMINA),
    Spelling("SimpleTuner Anima", simpletuner_anima, "transformer.", False, PEFT, ("anima",)),
    Spelling("SimpleTuner Anima LoKr", simpletuner_anima, "lycoris_", True, lokr_whole, ("anima",)),
    Spelling("XLabs", xlabs, "", False, xlabs_halves, FLUX1, selections=(FULL,)),
    Spelling("Wan-Fun", native, "lora_unet__", True, KOHYA, WAN),
    # without a prefix: DiffSynth, Lightning, LTX, ACE-Step, Genmo, Black Forest Labs
    Spelling("DiffSynth", native, "", False, PEFT_NAMED, (*WAN, "qwen_image", *LTX, *FLUX1)),
    Spelling("DiffSynth in diffusers' names", diffusers, "", False, PEFT_NAMED, (*FLUX2, "z_image", *FLUX1)),
    Spelling("DiffSynth pipe.dit", native, "pipe.dit.", False, PEFT_NAMED, (*WAN, "qwen_image")),
    Spelling("DiffSynth pipe.vace", vace, "pipe.vace.", False, PEFT_NAMED, ("wan21_vace_14b", "wan21_vace_1_3b")),
    Spelling("ai-toolkit HiDream-O1", native, "diffusion_model.model.", False, PEFT, ("hidream_o1",)),
    Spelling("Lightning", native, "", False, KOHYA, ("qwen_image",)),
    Spelling("lightx2v", native, "diffusion_model.", False, KOHYA, WAN),
    Spelling("bare", native, "", False, PEFT, (
        *LTX, "ace_step", "omnigen2", *KANDINSKY, "mochi", *FLUX1, "krea2", "z_image", "mage_flow",
    )),
    Spelling("Genmo", native, "", False, GENMO, ("mochi",)),
    # extractions from finetunes
    Spelling("kijai's extractions", native, "diffusion_model.", False, WITHOUT_ALPHA, (*WAN, *FLUX1, "qwen_image")),
    Spelling("whole differences", native, "diffusion_model.", False, full_difference, (*WAN, *LTX, "sdxl")),
)  # fmt: skip
"""All of the reference's conventions for the models that somebody writes them for."""


def spellings(architecture: str) -> Iterator[Spelling]:
    """Those that are written for a model."""
    return (spelling for spelling in SPELLINGS if architecture in spelling.architectures)


def lora(architecture: str, spelling: Spelling, selection: str, seed: str = "") -> Tensors:
    """The tensors of a file."""
    layers = select(
        spelling.names(architecture),
        selection,
        seed=f"{architecture} {spelling.name} {seed}",
        convolutions=spelling.convolutions,
    )
    tensors: Tensors = {}
    for name, shape in layers.items():
        tensors.update(spelling.write(spelling.prefix + (flatten(name) if spelling.is_flat else name), shape))
    return tensors


def encoder(
    encoder_id: str, prefix: str, *, is_flat: bool = True, write: Writer = KOHYA, start: str = "", most: int = 10**6
) -> Tensors:
    """The tensors for one text encoder after a trainer's prefix; `start` chooses among a layer's several names."""
    found = find_encoder(encoder_id)
    assert found, encoder_id
    tensors: Tensors = {}
    first = None
    for name, shape in found.shapes():
        number = re.search(r"\.(\d+)\.", name)
        stem = name[: number.start()] if number else ""
        if not number or not name.startswith(start) or int(number[1]) >= most:
            continue
        first = first or stem
        if stem == first:
            tensors.update(write(prefix + (flatten(name) if is_flat else name), shape))
    return tensors
