"""The ends of tensor names: which tensor of which adapter algorithm a suffix stands for.

To add a spelling: add its suffixes to `SUFFIXES`, one line each, with the slot that the algorithm in
`lorchestra/algorithms/` expects. Sources are the writers named in each comment.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LORA = "LoRA"
LORA_BIAS = "LoRA bias"
LOHA = "LoHa"
LOKR = "LoKr"
GLORA = "GLoRA"
DORA = "DoRA"
"""A modifier: its magnitude stands beside the tensors of LoRA, LoHa, LoKr or GLoRA."""
OFT = "OFT"
BOFT = "BOFT"
IA3 = "(IA)³"
DIFF = "full difference"
DIFF_BIAS = "bias difference"
NORM = "norm difference"
NORM_BIAS = "norm bias difference"
REPLACEMENT = "weight replacement"
EMBEDDING = "LoRA of an embedding"
"""PEFT's: the table of tokens has a row for each, and the halves are the other way round."""

BIASES = frozenset({LORA_BIAS, DIFF_BIAS, NORM_BIAS})
"""Algorithms that change a layer's bias; all others change its weight."""

SUFFIXES: Mapping[str, tuple[str, str]] = {
    # kohya sd-scripts, musubi-tuner, LyCORIS, OneTrainer: `lora_unet_…_to_q.lora_down.weight`
    ".lora_down.weight": (LORA, "down"),
    ".lora_up.weight": (LORA, "up"),
    ".lora_mid.weight": (LORA, "mid"),
    # PEFT and everything built on it: `….to_q.lora_A.weight`
    ".lora_A.weight": (LORA, "down"),
    ".lora_B.weight": (LORA, "up"),
    # Genmo Mochi: `….lora_A` without `.weight`
    ".lora_A": (LORA, "down"),
    ".lora_B": (LORA, "up"),
    # kohya's without `.weight`; files packed for Nunchaku have these ends too, under names of their own: see `kinds.py`
    ".lora_down": (LORA, "down"),
    ".lora_up": (LORA, "up"),
    # diffusers before PEFT: `….to_q.lora.down.weight`; its attention processors: `….processor.to_q_lora.down.weight`
    ".lora.down.weight": (LORA, "down"),
    ".lora.up.weight": (LORA, "up"),
    "_lora.down.weight": (LORA, "down"),
    "_lora.up.weight": (LORA, "up"),
    # diffusers' text encoders: `….q_proj.lora_linear_layer.down.weight`
    ".lora_linear_layer.down.weight": (LORA, "down"),
    ".lora_linear_layer.up.weight": (LORA, "up"),
    # The scale, in kohya's, LyCORIS' and OneTrainer's files
    ".alpha": ("", "alpha"),
    # PEFT's and kohya's bias of the up half; Black Forest Labs' control LoRAs have one
    ".lora_B.bias": (LORA_BIAS, "bias"),
    ".lora_up.bias": (LORA_BIAS, "bias"),
    # ComfyUI: the base weight is padded with zeros to this shape first
    ".reshape_weight": (LORA, "shape"),
    # DoRA: LyCORIS, kohya, OneTrainer; PEFT and OneTrainer's diffusers format
    ".dora_scale": (DORA, "magnitude"),
    ".lora_magnitude_vector": (DORA, "magnitude_vector"),
    ".lora_magnitude_vector.weight": (DORA, "magnitude_vector"),
    # LyCORIS
    ".hada_w1_a": (LOHA, "w1_a"),
    ".hada_w1_b": (LOHA, "w1_b"),
    ".hada_w2_a": (LOHA, "w2_a"),
    ".hada_w2_b": (LOHA, "w2_b"),
    ".hada_t1": (LOHA, "t1"),
    ".hada_t2": (LOHA, "t2"),
    ".lokr_w1": (LOKR, "w1"),
    ".lokr_w1_a": (LOKR, "w1_a"),
    ".lokr_w1_b": (LOKR, "w1_b"),
    ".lokr_w2": (LOKR, "w2"),
    ".lokr_w2_a": (LOKR, "w2_a"),
    ".lokr_w2_b": (LOKR, "w2_b"),
    ".lokr_t2": (LOKR, "t2"),
    ".a1.weight": (GLORA, "a1"),
    ".a2.weight": (GLORA, "a2"),
    ".b1.weight": (GLORA, "b1"),
    ".b2.weight": (GLORA, "b2"),
    ".on_input": (IA3, "on_input"),
    ".w_norm": (NORM, "w_norm"),
    ".b_norm": (NORM_BIAS, "b_norm"),
    # Orthogonal ones: LyCORIS and kohya (`oft_blocks`), LyCORIS before 2.0 (`oft_diag`)
    ".oft_blocks": (OFT, "blocks"),
    ".oft_diag": (OFT, "diag"),
    # kohya's `oft_flux`: one tensor for all of a layer, or one for each of q, k, v and the MLP of a fused one
    ".oft_blocks.0": (OFT, "blocks"),
    ".oft_blocks.1": (OFT, "blocks_1"),
    ".oft_blocks.2": (OFT, "blocks_2"),
    ".oft_blocks.3": (OFT, "blocks_3"),
    # PEFT (`oft_r` up to 0.13, `oft_s` up to 0.14), OneTrainer (`scaled_oft` is a mark without a value)
    ".oft_R.weight": (OFT, "rotation"),
    ".oft_R": (OFT, "rotation"),
    ".oft_r": (OFT, "rotation"),
    ".oft_s": (OFT, "scale"),
    ".oft_R.scaled_oft": (OFT, "scaled"),
    ".scaled_oft": (OFT, "scaled"),
    ".rescale": (OFT, "rescale"),
    ".boft_R": (BOFT, "rotation"),
    ".boft_s": (BOFT, "scale"),
    # PEFT
    ".ia3_l": (IA3, "vector"),
    # ComfyUI, kijai's extractions, lightx2v (whose `.diff_m` is in `_MODULATION`)
    ".diff": (DIFF, "diff"),
    ".diff_b": (DIFF_BIAS, "diff_b"),
    ".set_weight": (REPLACEMENT, "value"),
    # PEFT's other tuners: recognised, so that they are refused by name
    ".lora_E": ("AdaLoRA", "singular"),
    ".ranknum": ("AdaLoRA", "rank"),
    ".vera_A": ("VeRA", "shared_a"),
    ".vera_B": ("VeRA", "shared_b"),
    ".vera_lambda_b": ("VeRA", "b"),
    ".vera_lambda_d": ("VeRA", "d"),
    ".fourierft_spectrum": ("FourierFT", "spectrum"),
    ".vblora_logits_A": ("VB-LoRA", "a"),
    ".vblora_logits_B": ("VB-LoRA", "b"),
    ".vblora_vector_bank": ("VB-LoRA", "bank"),
    ".randlora_A": ("RandLoRA", "shared_a"),
    ".randlora_B": ("RandLoRA", "shared_b"),
    ".randlora_lambda": ("RandLoRA", "lambda"),
    ".randlora_gamma": ("RandLoRA", "gamma"),
    ".hra_u": ("HRA", "u"),
    ".gralora_A": ("GraLoRA", "a"),
    ".gralora_B": ("GraLoRA", "b"),
    ".gralora_A_general": ("GraLoRA", "a_general"),
    ".gralora_B_general": ("GraLoRA", "b_general"),
    ".shira_weight": ("SHiRA", "weight"),
    ".delora_lambda": ("DeLoRA", "lambda"),
    ".delora_w_norm": ("DeLoRA", "norm"),
    ".waveft_spectrum": ("WaveFT", "spectrum"),
    ".miss_block": ("MiSS", "block"),
    ".bone_block": ("Bone", "block"),
    ".c3a_kernel": ("C3A", "kernel"),
    ".road_theta": ("RoAd", "theta"),
    ".road_alpha": ("RoAd", "alpha_of_road"),
    ".hira_A": ("HiRA", "a"),
    ".hira_B": ("HiRA", "b"),
    ".glora_A": ("PEFT's GLoRA", "a"),
    ".glora_B": ("PEFT's GLoRA", "b"),
    ".glora_C": ("PEFT's GLoRA", "c"),
    ".glora_D": ("PEFT's GLoRA", "d"),
    ".glora_E": ("PEFT's GLoRA", "e"),
    ".psoft_R": ("PSOFT", "rotation"),
    ".pvera_lambda_b": ("PVeRA", "b"),
    ".pvera_lambda_d": ("PVeRA", "d"),
    ".trainable_tokens_delta": ("trainable tokens", "delta"),
    ".lora_embedding_A": (EMBEDDING, "down"),
    ".lora_embedding_B": (EMBEDDING, "up"),
}  # fmt: skip
"""Suffix → (algorithm, slot). The algorithm of `.alpha` is that of the module's other slots."""

SCALES = frozenset(
    {".scale_weight", ".weight_scale", ".weight_scale_inv", ".scale_input", ".input_scale", ".comfy_quant"}
)
"""What follows the name of a tensor that is quantized, without its `.weight`: its scale, or a note beside it.

Example: `….lora_down.scale_weight` is the scale of `….lora_down.weight`. See `quantized.py`.
"""

_MODULATION = ".diff_m"
"""End of lightx2v's differences of Wan's `modulation`, a parameter beside the layers of a block.

Example: `diffusion_model.blocks.0.diff_m` is about `blocks.0.modulation`.
"""

_UNDERSCORED = {suffix[5:]: value for suffix, value in SUFFIXES.items() if suffix.startswith("_lora.")}

_NAMED = frozenset(
    {".lora_A", ".lora_B", ".lora_magnitude_vector", ".oft_R", ".oft_r", ".oft_s", ".boft_R", ".boft_s", ".ia3_l"}
    | {".lora_embedding_A", ".lora_embedding_B"}
)
"""PEFT's parameters, which an adapter's name may follow: `.lora_A.default.weight`, `.ia3_l.default`."""


def split(name: str) -> tuple[str, str, str] | None:
    """A tensor's name taken apart into (module as the file spells it, algorithm, slot); None when no suffix fits.

    The longest suffix wins. PEFT puts the adapter's name before `.weight`; it is skipped:
    `x.to_q.lora_A.default.weight` → (`x.to_q`, `LoRA`, `down`).
    """
    # Two quick ways for nearly all names: underscored modules, and dotted ones whose slot begins with `lora_`.
    dot = name.find(".")
    found = SUFFIXES.get(name[dot:])
    if found is None:
        dot = name.rfind(".lora_")
        found = SUFFIXES.get(name[dot:])
    if found is None or dot < 0:
        return _split_slowly(name)
    return name[:dot], found[0], found[1]


def _split_slowly(name: str) -> tuple[str, str, str] | None:
    last = name.rfind(".")
    if last < 0:
        return _split_loosely(name)
    second = name.rfind(".", 0, last)
    if second >= 0:
        third = name.rfind(".", 0, second)
        if third >= 0:
            found = SUFFIXES.get(name[third:])
            if found:
                return name[:third], found[0], found[1]
            if name[third:second] in _NAMED and name[last:] == ".weight" and name[second:last] not in SCALES:
                algorithm, slot = SUFFIXES[name[third:second]]
                return name[:third], algorithm, slot
        found = SUFFIXES.get(name[second:])
        if found:
            return name[:second], found[0], found[1]
        found = _UNDERSCORED.get(name[second:])
        if found and name.endswith("_lora", 0, second):
            return name[: second - 5], found[0], found[1]
        if found and name.endswith(("_lora1", "_lora2"), 0, second):  # XLabs: the image's and the text's half
            return name[:second], found[0], found[1]
        if name[second:last] in _NAMED and name[last:] not in SCALES:
            algorithm, slot = SUFFIXES[name[second:last]]
            return name[:second], algorithm, slot
    found = SUFFIXES.get(name[last:])
    if found:
        return name[:last], found[0], found[1]
    if name[last:] == _MODULATION:
        return f"{name[:last]}.modulation", DIFF, "diff"
    return _split_loosely(name)


def _split_loosely(name: str) -> tuple[str, str, str] | None:
    """The same for ends whose dots and underscores are mixed up: `…_to_q_lora_down.weight`, `….to_q.lora.up_weight`."""
    start = max(0, len(name) - _LONGEST_END)
    match = _MIXED.search(name, start)
    if match is None or match.start() == 0:
        return None
    algorithm, slot = _MIXED_SUFFIXES[match[1].replace(".", "_").replace("_default", "")]
    return name[: match.start()], algorithm, slot


_LONGEST_END = 64
_DISTINCT = (".lora_down.", ".lora_up.", ".lora_mid.", ".lora_A.w", ".lora_B.w", ".hada_", ".lokr_", ".dora_scale")
"""Starts of the suffixes that are still told from a layer's name when a dot is written as an underscore."""
_MIXED_SUFFIXES = {
    suffix[1:].replace(".", "_"): value for suffix, value in SUFFIXES.items() if suffix.startswith(_DISTINCT)
}
_MIXED = re.compile(
    "[._]+("
    + "|".join(
        "[._]".join(suffix.split("_")[:-1]) + "(?:[._]default)?[._]weight"
        if suffix.endswith("_weight")
        else "[._]".join(suffix.split("_"))
        for suffix in sorted(_MIXED_SUFFIXES, key=len, reverse=True)
    )
    + r")\Z"
)
"""Example: `_lora_down.weight`; PEFT's `default` may stand before `weight`."""
