"""The ends of tensor names: which tensor of which adapter algorithm a suffix stands for.

To add a spelling: add its suffixes to `SUFFIXES`, one line each, with the slot that the algorithm in
`lorchestra/algorithms/` expects. Sources are the writers named in each comment.
"""

from __future__ import annotations

from collections.abc import Mapping

LORA = "LoRA"

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
    # Algorithms that are recognised, so that a file which uses them is named and not misread
    ".lora_B.bias": ("LoRA bias", "bias"),
    ".dora_scale": ("DoRA", "magnitude"),
    ".lora_magnitude_vector": ("DoRA", "magnitude"),
    ".lora_magnitude_vector.weight": ("DoRA", "magnitude"),
    ".hada_w1_a": ("LoHa", "w1_a"),
    ".hada_w1_b": ("LoHa", "w1_b"),
    ".hada_w2_a": ("LoHa", "w2_a"),
    ".hada_w2_b": ("LoHa", "w2_b"),
    ".hada_t1": ("LoHa", "t1"),
    ".hada_t2": ("LoHa", "t2"),
    ".lokr_w1": ("LoKr", "w1"),
    ".lokr_w1_a": ("LoKr", "w1_a"),
    ".lokr_w1_b": ("LoKr", "w1_b"),
    ".lokr_w2": ("LoKr", "w2"),
    ".lokr_w2_a": ("LoKr", "w2_a"),
    ".lokr_w2_b": ("LoKr", "w2_b"),
    ".lokr_t2": ("LoKr", "t2"),
    ".a1.weight": ("GLoRA", "a1"),
    ".a2.weight": ("GLoRA", "a2"),
    ".b1.weight": ("GLoRA", "b1"),
    ".b2.weight": ("GLoRA", "b2"),
    ".oft_blocks": ("OFT", "blocks"),
    ".oft_diag": ("OFT", "blocks"),
    ".oft_R.weight": ("OFT", "blocks"),
    ".oft_R": ("OFT", "blocks"),
    ".rescale": ("OFT", "rescale"),
    ".boft_R": ("BOFT", "blocks"),
    ".boft_s": ("BOFT", "rescale"),
    ".on_input": ("(IA)³", "on_input"),
    ".ia3_l": ("(IA)³", "vector"),
    ".diff": ("full difference", "diff"),
    ".diff_b": ("bias difference", "diff_b"),
    ".w_norm": ("norm difference", "w_norm"),
    ".b_norm": ("norm bias difference", "b_norm"),
    ".set_weight": ("weight replacement", "value"),
    ".reshape_weight": ("weight padding", "shape"),
}  # fmt: skip
"""Suffix → (algorithm, slot). The algorithm of `.alpha` is that of the module's other slots."""

_UNDERSCORED = {suffix[5:]: value for suffix, value in SUFFIXES.items() if suffix.startswith("_lora.")}


def split(name: str) -> tuple[str, str, str] | None:
    """A tensor's name taken apart into (module as the file spells it, algorithm, slot); None when no suffix fits.

    The longest suffix wins. PEFT puts the adapter's name before `.weight`; it is skipped:
    `x.to_q.lora_A.default.weight` → (`x.to_q`, `LoRA`, `down`).
    """
    last = name.rfind(".")
    if last < 0:
        return None
    second = name.rfind(".", 0, last)
    if second >= 0:
        third = name.rfind(".", 0, second)
        if third >= 0:
            found = SUFFIXES.get(name[third:])
            if found:
                return name[:third], found[0], found[1]
            middle = name[third:second]
            if middle in (".lora_A", ".lora_B") and name[last:] == ".weight":
                algorithm, slot = SUFFIXES[middle]
                return name[:third], algorithm, slot
        found = SUFFIXES.get(name[second:])
        if found:
            return name[:second], found[0], found[1]
        found = _UNDERSCORED.get(name[second:])
        if found and name.endswith("_lora", 0, second):
            return name[: second - 5], found[0], found[1]
    found = SUFFIXES.get(name[last:])
    return (name[:last], found[0], found[1]) if found else None
