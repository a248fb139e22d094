"""What Civitai, Runware and A1111 call the architectures, both ways.

An AIR has Civitai's *ecosystem*, the root of a family: Pony and Illustrious are `sdxl` there. Civitai's *base model*
is the word of its pages and sidecars, and tells Pony from SDXL. Runware has two vocabularies for its uploads, an older
one and a newer one, A1111 and Forge one word in a LoRA's `.json`.

To add a word: add it to the row of its architectures. Words are compared without case, `-`, `_`, `.` and spaces.
Sources: civitai/civitai `packages/civitai-shared/src/basemodel.constants.ts`; Runware's model upload reference and its
SDKs; AUTOMATIC1111/stable-diffusion-webui `extensions-builtin/Lora/ui_edit_user_metadata.py`, and Forge's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .claims import normal
from .names import family_titles


@dataclass(frozen=True, slots=True)
class Ecosystem:
    """One family under the words of others."""

    word: str
    """In an AIR; the one that is written."""
    architectures: tuple[str, ...]
    """Ids, the one that is meant first."""
    base_models: tuple[str, ...] = ()
    """Civitai's base models, as its pages write them; the first is the plain one."""
    aliases: tuple[str, ...] = ()
    """In AIRs of other writers and of other times."""
    runware: tuple[str, ...] = ()
    """Words of Runware's uploads, the newer one first."""
    a1111: str | None = None


_WAN_14B = ("wan21_t2v_14b", "wan21_i2v_14b", "wan21_vace_14b", "wan22_i2v_14b", "wan22_animate", "wan22_s2v")
_FLUX2 = ("flux2_dev", "flux2_klein_4b", "flux2_klein_9b")
_FLUX1 = ("flux1_dev", "flux1_schnell", "flux1_fill")

ECOSYSTEMS: tuple[Ecosystem, ...] = (
    Ecosystem(
        "sd1", ("sd15",), ("SD 1.5", "SD 1.4", "SD 1.5 LCM", "SD 1.5 Hyper"), ("sd15", "sd14"),
        ("sd-1-5", "sd1x", "sd-1-5-lcm", "sd1xlcm", "sd-1-5-hyper", "sdhyper", "sd-1-5-distilled"), "SD1",
    ),
    Ecosystem(
        "sd2", ("sd21",), ("SD 2.1", "SD 2.0", "SD 2.0 768", "SD 2.1 768", "SD 2.1 Unclip"), ("sd21", "sd20"),
        ("sd-2-1",), "SD2",
    ),
    Ecosystem(
        "sd3", ("sd3_medium", "sd35_large"), ("SD 3", "SD 3.5", "SD 3.5 Large", "SD 3.5 Large Turbo"), ("sd35",),
        ("sd3",), "SD3",
    ),
    Ecosystem("sd3_5m", ("sd35_medium",), ("SD 3.5 Medium",)),
    Ecosystem(
        "sdxl", ("sdxl", "ssd1b", "segmind_vega", "koala_700m"),
        (
            "SDXL 1.0", "SDXL 0.9", "SDXL 1.0 LCM", "SDXL Lightning", "SDXL Hyper", "SDXL Turbo",
            "Pony", "Illustrious", "NoobAI",
        ),
        ("pony", "illustrious", "noobai"),
        (
            "sdxl", "pony", "illustrious", "noobai", "sdxl-lightning", "sdxllightning", "sdxl-turbo", "sdxlturbo",
            "sdxl-hyper", "sdxlhyper", "sdxl-lcm", "sdxllcm",
        ),
        "SDXL",
    ),
    Ecosystem("sdxldistilled", ("sdxl",), ("SDXL Distilled",), (), ("sdxl-distilled", "sdxldistilled")),
    Ecosystem("svd", ("svd",), ("SVD", "SVD XT")),
    Ecosystem("scascade", ("cascade_c", "cascade_c_lite", "cascade_b"), ("Stable Cascade",)),
    Ecosystem("auraflow", ("auraflow",), ("AuraFlow", "Pony V7")),
    Ecosystem("pixarta", ("pixart_alpha",), ("PixArt a",)),
    Ecosystem("pixarte", ("pixart_sigma",), ("PixArt E",)),
    Ecosystem("hydit1", ("hunyuan_dit",), ("Hunyuan 1",)),
    Ecosystem(
        "flux1", _FLUX1, ("Flux.1 D", "Flux.1 S"), ("flux",),
        ("flux-1-dev", "flux1d", "flux-1-schnell", "flux1s"), "Flux",
    ),
    Ecosystem("fluxkrea", _FLUX1, ("Flux.1 Krea",)),
    Ecosystem("flux1kontext", _FLUX1, ("Flux.1 Kontext",), (), ("flux-1-kontext-dev", "fluxkontextdev")),
    Ecosystem("chroma", ("chroma",), ("Chroma",)),
    Ecosystem(
        "flux2", _FLUX2,
        ("Flux.2 D", "Flux.2 Klein 9B", "Flux.2 Klein 9B-base", "Flux.2 Klein 4B", "Flux.2 Klein 4B-base"),
    ),
    Ecosystem("mochi", ("mochi",), ("Mochi",)),
    Ecosystem("ltxv", ("ltxv_2b", "ltxv_13b"), ("LTXV",)),
    Ecosystem("ltxv2", ("ltx2_19b",), ("LTXV2",)),
    Ecosystem("ltxv23", ("ltx2_19b",), ("LTXV 2.3",)),
    Ecosystem("hyv1", ("hunyuan_video", "hunyuan_video_i2v"), ("Hunyuan Video",)),
    Ecosystem("anima", ("anima",), ("Anima",)),
    Ecosystem("lumina", ("lumina2",), ("Lumina",)),
    Ecosystem("zimageturbo", ("z_image",), ("ZImageTurbo",), ("zimage",), ("z-image-turbo",)),
    Ecosystem("zimagebase", ("z_image",), ("ZImageBase",), (), ("z-image",)),
    Ecosystem("wanvideo", (*_WAN_14B, "wan21_t2v_1_3b", "wan21_vace_1_3b", "wan22_5b"), ("Wan Video",)),
    Ecosystem("wanvideo1_3b_t2v", ("wan21_t2v_1_3b", "wan21_vace_1_3b"), ("Wan Video 1.3B t2v",)),
    Ecosystem("wanvideo14b_t2v", ("wan21_t2v_14b", "wan21_vace_14b"), ("Wan Video 14B t2v",)),
    Ecosystem("wanvideo14b_i2v_480p", ("wan21_i2v_14b",), ("Wan Video 14B i2v 480p",)),
    Ecosystem("wanvideo14b_i2v_720p", ("wan21_i2v_14b",), ("Wan Video 14B i2v 720p",)),
    Ecosystem("wanvideo-22-ti2v-5b", ("wan22_5b",), ("Wan Video 2.2 TI2V-5B",)),
    Ecosystem("wanvideo-22-i2v-a14b", ("wan22_i2v_14b", "wan22_animate", "wan22_s2v"), ("Wan Video 2.2 I2V-A14B",)),
    Ecosystem("wanvideo-22-t2v-a14b", ("wan21_t2v_14b",), ("Wan Video 2.2 T2V-A14B",)),
    Ecosystem("hidream", ("hidream_i1",), ("HiDream",), (), ("hidreamdev", "hidreamfull")),
    Ecosystem("hidream-o1", ("hidream_o1",), ("HiDream-O1",)),
    Ecosystem("ace", ("ace_step", "ace_step15"), ("ACE Audio",)),
    Ecosystem("qwen", ("qwen_image",), ("Qwen",), (), ("qwen-image", "qwen_image")),
    Ecosystem("krea2", ("krea2",), ("Krea 2",)),
    Ecosystem("mageflow", ("mage_flow",), ("MageFlow",)),
    Ecosystem("ernie", ("ernie_image",), ("Ernie", "Ernie Turbo")),
    Ecosystem("ideogram", ("ideogram4",), ("Ideogram 4.0",)),
    Ecosystem("cogvideox", ("cogvideox_5b", "cogvideox_2b"), ("CogVideoX",)),
)  # fmt: skip
"""Where an architecture stands in several rows, the first is the plain one.

Civitai has no word for the other architectures, and files them under `other`.
"""


def find_ecosystem(architecture: str, base_model: str | None = None) -> str | None:
    """The ecosystem for an AIR of a LoRA for an architecture; None if Civitai has none.

    `base_model` is what a sidecar says; it chooses among the ecosystems of one architecture, such as FLUX.1 Kontext.
    """
    rows = [row for row in ECOSYSTEMS if architecture in row.architectures]
    wanted = normal(base_model or "")
    said = (row for row in rows if wanted in map(normal, row.base_models))
    first = next(iter(rows), None)
    found = next(said, first)
    return found.word if found else None


def find_by_ecosystem(word: str) -> tuple[str, ...]:
    """The architectures that an AIR's ecosystem may mean; empty if it is not known."""
    wanted = normal(word)
    return _find(lambda row: (row.word, *row.aliases), wanted)


def find_families(word: str | None) -> list[str]:
    """What people call the families of models that an AIR's ecosystem may mean; empty if it is not known."""
    return family_titles(find_by_ecosystem(word)) if word else []


def find_by_base_model(text: str) -> tuple[str, ...]:
    """The architectures that one of Civitai's base models means; empty if it is not known."""
    return _find(lambda row: row.base_models, normal(text))


def find_runware(architecture: str) -> str | None:
    """Runware's newer word for an architecture; None if it has none."""
    return next((row.runware[0] for row in ECOSYSTEMS if architecture in row.architectures and row.runware), None)


def find_by_runware(word: str) -> tuple[str, ...]:
    """The architectures that a word of Runware's means, of either vocabulary."""
    return _find(lambda row: row.runware, normal(word))


def find_a1111(architecture: str) -> str | None:
    """The `sd version` of A1111 and Forge; None if they have none."""
    return next((row.a1111 for row in ECOSYSTEMS if architecture in row.architectures and row.a1111), None)


def find_by_a1111(word: str) -> tuple[str, ...]:
    """The architectures that an `sd version` means; empty for `Unknown`."""
    return _find(lambda row: (row.a1111,) if row.a1111 else (), normal(word))


def _find(words: Callable[[Ecosystem], tuple[str, ...]], wanted: str) -> tuple[str, ...]:
    """The architectures of the first row that has a word."""
    return next((row.architectures for row in ECOSYSTEMS if wanted in map(normal, words(row))), ())
