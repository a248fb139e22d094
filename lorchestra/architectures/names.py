"""The architectures: what people call them, which can stand in for each other, and which text encoders they have.

To add an architecture: add its signature, then one row to `ARCHITECTURES` with the signature's id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Encoders = Mapping[str, tuple[str, ...]]
"""Component as LoRA files say it (`te`, `te1` … `te4`) → ids in `encoders.py` of what trainers mean by it."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """One base model, or several with the same layers."""

    id: str
    """As in the signatures: `flux1_dev`."""
    title: str
    """The word that people use: `FLUX.1 [dev]`."""
    family: str
    """Architectures of one family stand in for each other: a LoRA for one is meant to work on the others."""
    family_title: str
    """`FLUX.1`."""
    encoders: Encoders
    notes: tuple[str, ...] = ()
    """Models with just these layers, which differ in their weights; and what is good to know."""


def _numbered(*encoders: str) -> Encoders:
    """Encoders as diffusers, kohya and OneTrainer number them: the first one is `te` as well."""
    result = {f"te{number}": (encoder,) for number, encoder in enumerate(encoders, 1)}
    return {"te": (encoders[0],), **result}


_CLIP_L = _numbered("clip_l")
_SDXL = _numbered("clip_l", "clip_g")
_SD3 = _numbered("clip_l", "clip_g", "t5xxl")
_FLUX1: Encoders = {"te": ("clip_l",), "te1": ("clip_l",), "te2": ("t5xxl",), "te3": ("t5xxl",)}
"""T5 is OneTrainer's and diffusers' second encoder, and kohya's third."""
_T5 = _numbered("t5xxl")
_HUNYUAN_VIDEO: Encoders = {"te": ("llama3_8b", "clip_l"), "te1": ("llama3_8b", "clip_l"), "te2": ("clip_l",)}
_HUNYUAN_DIT = _numbered("bert", "mt5xl")
_UMT5 = _numbered("umt5xxl")
_QWEN_VL = _numbered("qwen25_7b")
_KANDINSKY = _numbered("qwen25_7b", "clip_l")
_HUNYUAN_IMAGE = _numbered("qwen25_7b", "byt5_small")
_CLIP_G: Encoders = {"te": ("clip_g",), "te1": ("clip_g",), "te2": ("clip_g",)}
_NONE: Encoders = {}

ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture(
        "sd15", "Stable Diffusion 1.5", "sd15", "SD 1.5", _CLIP_L,
        ("Stable Diffusion 1.1 to 1.5, their inpainting models and all finetunes",),
    ),
    Architecture(
        "sd21", "Stable Diffusion 2.1", "sd21", "SD 2", _numbered("clip_h"),
        ("Stable Diffusion 2.0 and 2.1, 512 and 768 pixels",),
    ),
    Architecture(
        "sdxl", "Stable Diffusion XL", "sdxl", "SDXL", _SDXL,
        ("Pony, Illustrious, NoobAI, Animagine, Playground 2, Lightning, Turbo and Hyper are SDXL as well",),
    ),
    Architecture("sdxl_refiner", "SDXL Refiner", "sdxl_refiner", "SDXL Refiner", _CLIP_G),
    Architecture(
        "ssd1b", "SSD-1B", "ssd1b", "SSD-1B", _SDXL,
        ("An SDXL with fewer layers: LoRAs for SDXL fit in part",),
    ),
    Architecture(
        "segmind_vega", "Segmind Vega", "segmind_vega", "Segmind Vega", _SDXL,
        ("An SDXL with fewer layers: LoRAs for SDXL fit in part",),
    ),
    Architecture(
        "koala_700m", "KOALA 700M", "koala_700m", "KOALA", _SDXL,
        ("An SDXL with fewer layers: LoRAs for SDXL fit in part",),
    ),
    Architecture("svd", "Stable Video Diffusion", "svd", "Stable Video Diffusion", _NONE),
    Architecture("sd3_medium", "Stable Diffusion 3 Medium", "sd3_medium", "SD 3 Medium", _SD3),
    Architecture("sd35_medium", "Stable Diffusion 3.5 Medium", "sd35_medium", "SD 3.5 Medium", _SD3),
    Architecture(
        "sd35_large", "Stable Diffusion 3.5 Large", "sd35_large", "SD 3.5 Large", _SD3,
        ("Stable Diffusion 3.5 Large Turbo as well",),
    ),
    Architecture("cascade_c", "Stable Cascade (stage C)", "cascade_c", "Stable Cascade (stage C)", _CLIP_G),
    Architecture(
        "cascade_c_lite", "Stable Cascade (stage C, lite)", "cascade_c_lite", "Stable Cascade (stage C, lite)", _CLIP_G
    ),
    Architecture("cascade_b", "Stable Cascade (stage B)", "cascade_b", "Stable Cascade (stage B)", _CLIP_G),
    Architecture("auraflow", "AuraFlow", "auraflow", "AuraFlow", _numbered("pile_t5xl"), ("Pony V7 as well",)),
    Architecture("pixart_alpha", "PixArt-α", "pixart", "PixArt", _T5),
    Architecture("pixart_sigma", "PixArt-Σ", "pixart", "PixArt", _T5),
    Architecture("hunyuan_dit", "Hunyuan-DiT", "hunyuan_dit", "Hunyuan-DiT", _HUNYUAN_DIT),
    Architecture(
        "flux1_dev", "FLUX.1 [dev]", "flux1", "FLUX.1", _FLUX1, ("Krea, Kontext and all finetunes of FLUX.1 as well",)
    ),
    Architecture("flux1_schnell", "FLUX.1 [schnell]", "flux1", "FLUX.1", _FLUX1),
    Architecture(
        "flux1_fill", "FLUX.1 Fill", "flux1", "FLUX.1", _FLUX1, ("Only the first layer (img_in) is wider than dev's",)
    ),
    Architecture(
        "chroma", "Chroma", "chroma", "Chroma", {**_T5, "te2": ("t5xxl",), "te3": ("t5xxl",)},
        ("Made from FLUX.1 without its modulation layers: LoRAs for FLUX.1 fit in part",),
    ),
    Architecture("flux2_dev", "FLUX.2 [dev]", "flux2_dev", "FLUX.2 [dev]", _numbered("mistral3_24b")),
    Architecture("flux2_klein_4b", "FLUX.2 [klein] 4B", "flux2_klein_4b", "FLUX.2 [klein] 4B", _numbered("qwen3_4b")),
    Architecture("flux2_klein_9b", "FLUX.2 [klein] 9B", "flux2_klein_9b", "FLUX.2 [klein] 9B", _numbered("qwen3_8b")),
    Architecture("longcat_image", "LongCat-Image", "longcat_image", "LongCat-Image", _QWEN_VL),
    Architecture("ovis_image", "Ovis-Image", "ovis_image", "Ovis-Image", _numbered("qwen3_1_7b")),
    Architecture("mochi", "Mochi 1", "mochi", "Mochi 1", _T5),
    Architecture("ltxv_2b", "LTX-Video 2B", "ltxv_2b", "LTX-Video 2B", _T5),
    Architecture("ltxv_13b", "LTX-Video 13B", "ltxv_13b", "LTX-Video 13B", _T5),
    Architecture("ltx2_19b", "LTX-2", "ltx2", "LTX-2", _numbered("gemma3_12b"), ("LTX-2 19B",)),
    Architecture(
        "ltx23_22b", "LTX-2.3", "ltx23", "LTX-2.3", _numbered("gemma3_12b"),
        ("LTX-2 with gates in its attention and a modulation by the prompt: LoRAs for LTX-2 fit in part",
         "LTX-2.5 has the same layers and another text encoder"),
    ),
    Architecture(
        "hunyuan_video", "HunyuanVideo", "hunyuan_video", "HunyuanVideo", _HUNYUAN_VIDEO,
        ("FramePack and SkyReels V1 as well",),
    ),
    Architecture(
        "hunyuan_video_i2v", "HunyuanVideo (image to video)", "hunyuan_video", "HunyuanVideo", _HUNYUAN_VIDEO
    ),
    Architecture("hunyuan_video15", "HunyuanVideo 1.5", "hunyuan_video15", "HunyuanVideo 1.5", _HUNYUAN_IMAGE),
    Architecture("hunyuan_image21", "HunyuanImage 2.1", "hunyuan_image21", "HunyuanImage 2.1", _HUNYUAN_IMAGE),
    Architecture("cosmos1_7b", "Cosmos 1 7B", "cosmos1_7b", "Cosmos 1 7B", _numbered("t5xxl_old")),
    Architecture("cosmos1_14b", "Cosmos 1 14B", "cosmos1_14b", "Cosmos 1 14B", _numbered("t5xxl_old")),
    Architecture(
        "cosmos_predict2_2b", "Cosmos-Predict2 2B", "cosmos_predict2_2b", "Cosmos-Predict2 2B", _numbered("t5xxl_old")
    ),
    Architecture(
        "cosmos_predict2_14b", "Cosmos-Predict2 14B", "cosmos_predict2_14b", "Cosmos-Predict2 14B",
        _numbered("t5xxl_old"),
    ),
    Architecture(
        "anima", "Anima", "anima", "Anima", _numbered("qwen3_0_6b"),
        ("Made from Cosmos-Predict2 2B with another text encoder",),
    ),
    Architecture("lumina2", "Lumina-Image 2.0", "lumina2", "Lumina-Image 2.0", _numbered("gemma2_2b")),
    Architecture("newbie", "NewBie Image", "newbie", "NewBie Image", _numbered("gemma3_4b", "jina_clip_2")),
    Architecture(
        "z_image", "Z-Image", "z_image", "Z-Image", _numbered("qwen3_4b"), ("Turbo, Base and Edit",)
    ),
    Architecture("wan21_t2v_1_3b", "Wan 2.1 1.3B", "wan_1_3b", "Wan 1.3B", _UMT5),
    Architecture("wan21_t2v_14b", "Wan 2.1 14B (text to video)", "wan_14b", "Wan 14B", _UMT5),
    Architecture(
        "wan21_i2v_14b", "Wan 2.1 14B (image to video)", "wan_14b", "Wan 14B", _UMT5,
        ("480p, 720p and first-last-frame",),
    ),
    Architecture("wan22_5b", "Wan 2.2 5B", "wan_5b", "Wan 5B", _UMT5),
    Architecture(
        "wan22_i2v_14b", "Wan 2.2 14B", "wan_14b", "Wan 14B", _UMT5,
        ("High and low noise have the same layers: the file does not say which one a LoRA is for",),
    ),
    Architecture("wan21_vace_14b", "Wan 2.1 VACE 14B", "wan_14b", "Wan 14B", _UMT5),
    Architecture("wan21_vace_1_3b", "Wan 2.1 VACE 1.3B", "wan_1_3b", "Wan 1.3B", _UMT5),
    Architecture("wan21_camera_14b", "Wan 2.1 Fun Camera 14B", "wan_14b", "Wan 14B", _UMT5),
    Architecture("wan21_fun_control_14b", "Wan 2.1 Fun Control 14B", "wan_14b", "Wan 14B", _UMT5),
    Architecture("wan21_humo_17b", "HuMo 17B", "wan_14b", "Wan 14B", _UMT5),
    Architecture("wan22_animate", "Wan 2.2 Animate 14B", "wan_14b", "Wan 14B", _UMT5),
    Architecture("wan22_s2v", "Wan 2.2 S2V 14B", "wan_14b", "Wan 14B", _UMT5),
    Architecture(
        "hidream_i1", "HiDream-I1", "hidream_i1", "HiDream-I1",
        _numbered("clip_l", "clip_g", "t5xxl", "llama3_8b"), ("Full, Dev, Fast and E1",),
    ),
    Architecture("hidream_o1", "HiDream-O1", "hidream_o1", "HiDream-O1", _NONE),
    Architecture("ace_step", "ACE-Step", "ace_step", "ACE-Step", _numbered("umt5base")),
    Architecture("omnigen2", "OmniGen2", "omnigen2", "OmniGen2", _numbered("qwen25_3b")),
    Architecture(
        "qwen_image", "Qwen-Image", "qwen_image", "Qwen-Image", _QWEN_VL,
        ("Qwen-Image, Edit, Edit-2509, Edit-2511 and Layered",),
    ),
    Architecture("qwen_image21", "Qwen-Image-2.1", "qwen_image21", "Qwen-Image-2.1", _numbered("qwen3vl_8b")),
    Architecture("krea2", "Krea 2", "krea2", "Krea 2", _numbered("qwen3vl_4b")),
    Architecture("mage_flow", "MageFlow", "mage_flow", "MageFlow", _numbered("qwen3vl_4b")),
    Architecture(
        "kandinsky5_lite_video", "Kandinsky 5 Lite (video)", "kandinsky5_lite_video", "Kandinsky 5 Lite (video)",
        _KANDINSKY,
    ),
    Architecture(
        "kandinsky5_pro_video", "Kandinsky 5 Pro (video)", "kandinsky5_pro_video", "Kandinsky 5 Pro (video)", _KANDINSKY
    ),
    Architecture(
        "kandinsky5_lite_image", "Kandinsky 5 Lite (image)", "kandinsky5_lite_image", "Kandinsky 5 Lite (image)",
        _KANDINSKY,
    ),
    Architecture("ernie_image", "ERNIE-Image", "ernie_image", "ERNIE-Image", _numbered("ministral3_3b")),
    Architecture("ideogram4", "Ideogram 4", "ideogram4", "Ideogram 4", _numbered("qwen3vl_8b")),
    Architecture("minimax_h3", "MiniMax H3", "minimax_h3", "MiniMax H3", _numbered("qwen3vl_32b")),
    Architecture("minimax_music3", "MiniMax Music 3", "minimax_music3", "MiniMax Music 3", _NONE),
    Architecture("cogvideox_2b", "CogVideoX 2B", "cogvideox_2b", "CogVideoX 2B", _T5),
    Architecture("cogvideox_5b", "CogVideoX 5B", "cogvideox_5b", "CogVideoX 5B", _T5, ("CogVideoX 1.5 5B as well",)),
    Architecture("joyimage", "JoyImage", "joyimage", "JoyImage", _numbered("qwen3vl_8b")),
    Architecture("ace_step15", "ACE-Step 1.5", "ace_step15", "ACE-Step 1.5", _numbered("qwen3_0_6b")),
    Architecture("stable_audio", "Stable Audio Open", "stable_audio", "Stable Audio Open", _numbered("t5base")),
    Architecture("seedvr2_3b", "SeedVR2 3B", "seedvr2_3b", "SeedVR2 3B", _NONE),
)  # fmt: skip
"""Sources: ComfyUI's text encoders of each model; for the numbers, kohya's and OneTrainer's tables of prefixes."""

_BY_ID = {architecture.id: architecture for architecture in ARCHITECTURES}


def find_architecture(architecture: str) -> Architecture | None:
    """The row with this id, or None."""
    return _BY_ID.get(architecture)


def title(architecture: str) -> str:
    """What people call it; the id itself where there is no row."""
    found = _BY_ID.get(architecture)
    return found.title if found else architecture


def are_interchangeable(first: str, second: str) -> bool:
    """True when a LoRA for one architecture is meant to work on the other: FLUX.1 [dev] and [schnell]."""
    one, other = _BY_ID.get(first), _BY_ID.get(second)
    return first == second or (one is not None and other is not None and one.family == other.family)


RELATED: tuple[frozenset[str], ...] = (
    frozenset({"sdxl", "ssd1b", "segmind_vega", "koala_700m"}),
    frozenset({"flux1", "chroma"}),
    frozenset({"sd3_medium", "sd35_medium"}),
    frozenset({"sd21", "svd"}),
    frozenset({"lumina2", "newbie"}),
    frozenset({"cosmos_predict2_2b", "anima"}),
    frozenset({"ltxv_13b", "ltx2", "ltx23"}),
)
"""Families of which one was made from another: a LoRA of one does something useful on the other as far as it fits."""


def are_related(first: str, second: str) -> bool:
    """True when a LoRA for one architecture does something useful on the other, even if only a part of it fits."""
    if are_interchangeable(first, second):
        return True
    one, other = _BY_ID.get(first), _BY_ID.get(second)
    return one is not None and other is not None and any({one.family, other.family} <= group for group in RELATED)


def family_titles(architectures: Iterable[str], most: int = 3) -> list[str]:
    """What people call the families of these architectures, each once, in order."""
    titles = dict.fromkeys(_BY_ID[name].family_title for name in architectures if name in _BY_ID)
    return list(titles)[:most]


def with_article(title: str) -> str:
    """Example: `an SDXL`, `a FLUX.1`, `an LTX-Video 2B`."""
    spelled = len(title) > 1 and title[:2].isupper() and title[0] in "AEFHILMNORSX" and not title.startswith(_WORDS)
    return f"{'an' if spelled or title[0] in 'AEIOaeio' else 'a'} {title}"


_WORDS = ("FLUX", "SEED", "ERNIE", "HUN", "MINI", "NEW", "LONG", "LUM", "KOALA")
"""Titles in capitals that are spoken as words."""
