"""What writers of metadata call the architectures: `sdxl_base_v1-0`, `stable-diffusion-xl-v1-base`, `wan2.1` …

To add a word: add it, without case, `-`, `_`, `.` and spaces, to the row of its architectures.
"""

from __future__ import annotations

from dataclasses import dataclass

_FLUX1 = ("flux1_dev", "flux1_schnell", "flux1_fill")
_WAN_14B = (
    "wan21_t2v_14b", "wan22_i2v_14b", "wan21_i2v_14b", "wan21_vace_14b", "wan22_animate", "wan22_s2v",
    "wan21_camera_14b", "wan21_fun_control_14b", "wan21_humo_17b",
)  # fmt: skip
_WAN = (*_WAN_14B, "wan21_t2v_1_3b", "wan21_vace_1_3b", "wan22_5b")
_LTXV = ("ltxv_2b", "ltxv_13b")
_SD3 = ("sd3_medium", "sd35_medium", "sd35_large")
_PIXART = ("pixart_alpha", "pixart_sigma")
_CASCADE = ("cascade_c", "cascade_c_lite")
_KANDINSKY5 = ("kandinsky5_lite_video", "kandinsky5_pro_video", "kandinsky5_lite_image")
_FLUX2 = ("flux2_dev", "flux2_klein_4b", "flux2_klein_9b")
_COSMOS2 = ("cosmos_predict2_2b", "cosmos_predict2_14b")


@dataclass(frozen=True, slots=True)
class Words:
    """Values that name the same architectures."""

    words: tuple[str, ...]
    """As `normal` writes them; one that ends with `*` is a start."""
    architectures: tuple[str, ...]
    """Ids, the one that is most often meant first; a claim about one of a family is a claim about the family."""


BASE_MODELS: tuple[Words, ...] = (
    # sd-scripts, OneTrainer, SimpleTuner (`<family>-<flavour>`). ai-toolkit's `sd_1.5` is not here: it writes that
    # for want of anything better, for FLUX.1 as well.
    Words(("sdv1", "sdv1v", "stablediffusionv1", "stablediffusionv1inpainting", "sd1x*", "sd1"), ("sd15",)),
    Words(("sdv2", "sdv2v", "stablediffusionv2*", "sd21", "sd2x*", "sd2"), ("sd21",)),
    Words(
        ("sdxlbasev10", "sdxlbase*", "sdxl10", "sdxl", "stablediffusionxl*", "sdxlv*"),
        ("sdxl",),
    ),
    Words(("sdxlrefiner*", "stablediffusionxlv1refiner"), ("sdxl_refiner",)),
    Words(("ssd", "ssd1b"), ("ssd1b",)),
    Words(("vega", "segmindvega"), ("segmind_vega",)),
    Words(("sd3", "sd3medium", "stablediffusion3m", "stablediffusion3medium", "stablediffusionv3medium"),
          ("sd3_medium", "sd35_medium", "sd35_large")),
    Words(("sd35medium", "stablediffusion35medium"), ("sd35_medium",)),
    Words(("sd3large", "sd35large*", "stablediffusion35large*", "stablediffusion335large"), ("sd35_large",)),
    Words(("sd35", "sd3*", "stablediffusionv35", "stablediffusion3*"), _SD3),
    Words(("stablecascadev1prior", "wuerstchenv2prior", "stablecascade*"), _CASCADE),
    Words(("auraflow*", "ponyv7"), ("auraflow",)),
    Words(("pixartsigma*",), ("pixart_sigma", "pixart_alpha")),
    Words(("pixart*",), _PIXART),
    Words(("hunyuandit*",), ("hunyuan_dit",)),
    Words(("flux1dev", "flux1kontext*", "fluxkontext*", "flux1krea*", "fluxdev", "fluxkrea", "flux1*"), _FLUX1),
    Words(("flux1schnell", "fluxschnell"), ("flux1_schnell", "flux1_dev", "flux1_fill")),
    Words(("flux1fill*",), ("flux1_fill", "flux1_dev", "flux1_schnell")),
    Words(("flux", "fluxbooru", "fluxfluxbooru", "fluxlibreflux"), _FLUX1),
    Words(("chroma*",), ("chroma",)),
    Words(("flux2dev*",), ("flux2_dev",)),
    Words(("flux2klein4b*",), ("flux2_klein_4b",)),
    Words(("flux2klein9b*",), ("flux2_klein_9b",)),
    Words(("flux2*",), _FLUX2),
    Words(("longcatimage*",), ("longcat_image",)),
    Words(("ovisimage*",), ("ovis_image",)),
    Words(("mochi*", "genmomochi*"), ("mochi",)),
    Words(("ltxv2b*",), ("ltxv_2b",)),
    Words(("ltxv13b*",), ("ltxv_13b",)),
    Words(("ltx23*", "ltx25*", "ltxv23*", "ltxvideo23*", "ltxvideo223*", "ltx222b*"), ("ltx23_22b", "ltx2_19b")),
    Words(("ltx219b*",), ("ltx2_19b",)),
    Words(("ltx2*", "ltxv2", "ltxvideo2*", "ltxav*"), ("ltx2_19b", "ltx23_22b")),
    Words(("ltxv*", "ltxvideo*"), _LTXV),
    Words(("hunyuanvideo15*",), ("hunyuan_video15",)),
    # SimpleTuner's HunyuanVideo is 1.5
    Words(("hunyuanvideot2v*", "hunyuanvideoi2v*"), ("hunyuan_video15", "hunyuan_video", "hunyuan_video_i2v")),
    Words(("hunyuanvideo", "framepack*", "skyreelsv1*"), ("hunyuan_video", "hunyuan_video_i2v")),
    Words(("hunyuanimage*",), ("hunyuan_image21",)),
    Words(("cosmospredict22b", "cosmos2b"), ("cosmos_predict2_2b",)),
    Words(("cosmospredict214b", "cosmos14b"), ("cosmos_predict2_14b",)),
    Words(("cosmospredict2*",), _COSMOS2),
    Words(("anima*",), ("anima",)),
    Words(("lumina2*", "lumina", "luminaimage2*"), ("lumina2",)),
    Words(("newbie*",), ("newbie",)),
    Words(("zimage*",), ("z_image",)),
    # musubi-tuner says `wan2.1` for every Wan
    Words(("wan*",), _WAN),
    Words(("want2v480p13b21", "wan2113b", "wanvace13b21", "wan2114b13b"), ("wan21_t2v_1_3b", "wan21_vace_1_3b")),
    Words(("wan225b", "wanti2v5b22", "wan22ti2v5b"), ("wan22_5b",)),
    Words(("wan2214b*", "wan22i2v*", "wan22t2v*", "want2v480p14b*", "wani2v*", "wanflf2v*", "wanvace14b*",
           "wan21i2v*", "wan2114b*", "wananimegen*"), _WAN_14B),
    Words(("wans2v*",), ("wan22_s2v",)),
    Words(("hidreamo1*",), ("hidream_o1",)),
    Words(("hidream*",), ("hidream_i1",)),
    Words(("acestep15*", "acestepv15*"), ("ace_step15",)),
    Words(("acestep*",), ("ace_step",)),
    Words(("omnigen2*",), ("omnigen2",)),
    Words(("qwenimage2*",), ("qwen_image21",)),
    Words(("qwenimage2509*", "qwenimage2511*", "qwenimage2512*", "qwenimage*"), ("qwen_image",)),
    Words(("krea2*",), ("krea2",)),
    Words(("mageflow*",), ("mage_flow",)),
    Words(("kandinsky5imaget2i*", "kandinsky5imagei2i*", "kandinsky5image"), ("kandinsky5_lite_image",)),
    Words(("kandinsky5*",), _KANDINSKY5),
    Words(("ernie*",), ("ernie_image",)),
    Words(("ideogram*",), ("ideogram4",)),
    Words(("minimaxh3*",), ("minimax_h3",)),
    Words(("minimaxmusic*",), ("minimax_music3",)),
    Words(("cogvideox2b",), ("cogvideox_2b",)),
    Words(("cogvideox5b", "cogvideox155b"), ("cogvideox_5b",)),
    Words(("cogvideox*",), ("cogvideox_2b", "cogvideox_5b")),
    Words(("joyimage*",), ("joyimage",)),
    Words(("stableaudio*",), ("stable_audio",)),
    Words(("seedvr2*",), ("seedvr2_3b",)),
    Words(("svd*", "stablevideodiffusion*"), ("svd",)),
)  # fmt: skip
"""Values of `ss_base_model_version` and `modelspec.architecture`; the longest start that fits wins."""

NETWORK_MODULES: tuple[Words, ...] = (
    Words(("networkslorasd3",), _SD3),
    Words(("networksloraflux", "networksoftflux"), (*_FLUX1, "chroma")),
    Words(("networksloralumina",), ("lumina2",)),
    Words(("networksloraanima",), ("anima",)),
    Words(("networkslorahunyuanimage",), ("hunyuan_image21",)),
    Words(("networkslorawan",), _WAN),
    Words(("networksloraframepack",), ("hunyuan_video", "hunyuan_video_i2v")),
    Words(("networkslorahv15",), ("hunyuan_video15",)),
    Words(("networksloraqwenimage",), ("qwen_image",)),
    Words(("networkslorazimage",), ("z_image",)),
    Words(("networksloraflux2",), _FLUX2),
    Words(("networkslorakandinsky",), _KANDINSKY5),
    Words(("networkslorakrea2",), ("krea2",)),
    Words(("networksloraideogram4",), ("ideogram4",)),
    Words(("networkslorahidreamo1",), ("hidream_o1",)),
)
"""Values of `ss_network_module` that tell: `networks.lora` alone is SD's in sd-scripts, HunyuanVideo's in musubi."""

LABELS: tuple[tuple[str, str], ...] = (
    ("noobai", "NoobAI"),
    ("illustrious", "Illustrious"),
    ("wainsfw", "Illustrious"),
    ("waiillustrious", "Illustrious"),
    ("animagine", "Animagine"),
    ("ponydiffusion", "Pony"),
    ("ponyxl", "Pony"),
    ("ponyrealism", "Pony"),
    ("autismmix", "Pony"),
    ("kontext", "FLUX.1 Kontext"),
    ("fluxkrea", "FLUX.1 Krea"),
    ("flux1krea", "FLUX.1 Krea"),
)
"""Part of the base model's file name → what people call its kind; tensors cannot tell these apart."""


def normal(value: str) -> str:
    """The value as the tables have it: `stable-diffusion-xl-v1-base/lora` → `stablediffusionxlv1base`."""
    return value.split("/", 1)[0].strip().casefold().translate(_DROPPED)


_DROPPED = {ord(character): None for character in "-_. "}


def find_architectures(table: tuple[Words, ...], value: str) -> tuple[str, ...]:
    """The architectures that a value names; empty for words that are not in the table."""
    word = normal(value)
    best, length = (), -1
    for row in table:
        for entry in row.words:
            start = entry.removesuffix("*")
            fits = word.startswith(start) if start != entry else word == entry
            rank = len(start) * 2 + (start == entry)
            if fits and rank > length:
                best, length = row.architectures, rank
    return best
