"""What a file is when it is not a LoRA, by the names of its tensors.

To add a kind: add a row to `KINDS`, above those whose marks its files have as well, with the reason for its test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..files.header import Header
from ..sentences import Template, say
from .modules import Module, Reading
from .slots import REPLACEMENT

LORA = "lora"
LANGUAGE_MODEL = "llm-lora"
EMPTY = "empty"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Names:
    """A file's names, made ready for the tests."""

    header: Header
    modules: tuple[Module, ...]
    rest: str
    """The tensors that belong to no module, one a line, a line break before the first and after the last as well."""
    count: int
    """How many tensors belong to no module."""

    @property
    def are_of_lora(self) -> bool:
        """True if most of them are called after LoRA: no model has such names, however they are written."""
        return self.rest.count("lora") * 2 > self.count


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of file."""

    id: str
    title: Template
    """With its article, for sentences: `a ControlNet`."""
    is_it: Callable[[Names], bool]


def kind(header: Header, reading: Reading) -> str:
    """`lora`, or what the file is instead: the id of a row of `KINDS`, `empty` or `unknown`; pure and total.

    A file with a LoRA's tensors is a LoRA, whatever else is in it, unless a row says why not.
    """
    if not header.shapes:
        return EMPTY
    rest = "\n" + "\n".join(reading.leftovers) + "\n" if reading.leftovers else "\n"
    if reading.embeddings and not reading.modules:
        return "textual-inversion"
    # The norm scales of a whole FLUX.1 look like those that a control LoRA replaces.
    is_adapter = any(module.algorithm != REPLACEMENT for module in reading.modules)
    names = Names(header, reading.modules if is_adapter else (), rest, len(reading.leftovers))
    for row in KINDS:
        if row.is_it(names) and not (row.id in _DENSE and names.are_of_lora):
            return row.id
    if reading.modules or "lora" in rest or _NUMBERED.search(rest):
        return LORA
    return UNKNOWN


def title(kind: str) -> str:
    """The kind with its article, for sentences: `controlnet` → `a ControlNet`."""
    known = _TITLES.get(kind)
    return say(known) if known else say("a file of an unknown kind")


def _has(*marks: str) -> Callable[[Names], bool]:
    """True when one of the marks stands in a name of a file without LoRA modules; `\\n` marks a start or an end."""
    return lambda names: not names.modules and any(mark in names.rest for mark in marks)


def _has_even_with_modules(*marks: str) -> Callable[[Names], bool]:
    return lambda names: any(mark in names.rest for mark in marks)


def _all_modules(pattern: str, spelling_start: str = "") -> Callable[[Names], bool]:
    """True when the name of every module fits; the first one that does not ends the search."""
    search = re.compile(pattern).search
    return lambda names: (
        bool(names.modules)
        and all(module.name.startswith(spelling_start) and search(module.name) is not None for module in names.modules)
    )


def _is_embedding(names: Names) -> bool:
    """A few rows as wide as a text encoder, each under a single word: `emb_params`, `clip_l`, `<my-token>`."""
    return (
        not names.modules
        and names.count <= 16
        and all(
            ("." not in name or "embed" in name)
            and 1 <= len(shape) <= 2
            and shape[-1] in _ENCODER_WIDTHS
            and (len(shape) == 1 or shape[0] <= 1024)
            for name, shape in names.header.shapes.items()
        )
    )


def _is_dense(names: Names) -> bool:
    """Whole weights, and next to nothing that a slot's name fits by accident (`b1.weight`, `diff`)."""
    return names.rest.count(".weight\n") >= 100 and len(names.modules) * 50 < names.count and not names.are_of_lora


def _is_packed(names: Names) -> bool:
    """Layers of Nunchaku's, q, k and v in one, whose halves have bare names; down is `[in, rank]` there."""
    for module in names.modules:
        if module.slots.get("down", "").endswith(".lora_down") and _NUNCHAKU.search(module.name):
            up, down = module.shapes.get("up", ()), module.shapes["down"]
            return not (len(up) == len(down) == 2 and up[1] == down[0] != down[1])
    return False


_DENSE = frozenset({"controlnet", "t2i-adapter", "checkpoint", "clip-vision", "text-encoder", "vae", "upscaler"})
"""Kinds that are whole weights, which are not called after LoRA."""

_ENCODER_WIDTHS = frozenset({768, 1024, 1280, 2048, 2304, 2560, 3584, 4096})
_NUNCHAKU = re.compile(r"transformer_blocks\.\d+\.(qkv_proj|out_proj|mlp_(context_)?fc[12])(_context)?$")
"""Source: `nunchaku/lora/flux/nunchaku_converter.py`. Example: `transformer_blocks.0.qkv_proj_context`."""
_NUMBERED = re.compile(r"\n(unet|text_encoder):\d+:(up|down)\n")

KINDS: tuple[Kind, ...] = (
    # Stability's Control-LoRAs say it in a tensor of that name; their halves are `.up` and `.down`
    Kind("control-lora", "a Control-LoRA (a ControlNet as the difference to a model)",
         _has_even_with_modules("\nlora_controlnet\n")),
    Kind("controlnet-lllite", "a ControlNet-LLLite", _has("\nlllite_")),
    # FaceID models have LoRA halves for the layers of their image prompt, `ip_adapter.0.to_k_lora.down.weight`
    Kind("ip-adapter", "an IP-Adapter", _all_modules(r"^ip_adapter\.")),
    Kind("ip-adapter", "an IP-Adapter",
         _has("\nip_adapter.", "\nimage_proj.", ".ip_adapter_double_stream", "\nip_adapter_proj_model.", ".to_k_ip.")),
    Kind("pulid", "a PuLID model", _has("\npulid_ca.", "\npulid_encoder.", "\nid_adapter_attn_layers.")),
    # Loaded by AnimateDiff's own nodes; a LoRA loader finds none of these layers in the model
    Kind("motion-lora", "an AnimateDiff motion LoRA", _all_modules(r"motion_modules[._]")),
    Kind("motion-module", "an AnimateDiff motion module", _has(".motion_modules.")),
    # A quantized model keeps its rounding error as halves named like a LoRA's
    Kind("svdquant", "a model quantized with SVDQuant", _has_even_with_modules(".qweight\n", ".wscales\n")),
    # The same halves alone: their numbers are permuted for Nunchaku's kernels
    Kind("nunchaku-lora", "a LoRA packed for Nunchaku", _is_packed),
    Kind("sam-lora", "a LoRA for Segment Anything", _has("\nw_a_000\n", "\nw_b_000\n")),
    # Raw PEFT around a causal language model; ACE-Step 1.5's layers stand one level higher
    Kind(LANGUAGE_MODEL, "a LoRA for a language model",
         _all_modules(r"^base_model\.model\.(model\.(decoder\.)?layers|transformer\.h|gpt_neox\.layers|"
                      r"base_model\.layers)\.\d+\.", "base_model.model.")),
    Kind(LANGUAGE_MODEL, "a LoRA for a language model", _has(".q_proj.lora_a\n", ".q_proj.lora_b\n")),
    Kind("controlnet", "a ControlNet",
         _has("controlnet_cond_embedding.", "\ncontrol_model.", "zero_conv", "controlnet_blocks.", "input_hint_block.",
              "controlnet_down_blocks.", "controlnet_x_embedder.", "\ncontrol_blocks.", "controlnet_mode_embedder.")),
    Kind("t2i-adapter", "a T2I-Adapter", _has("\nadapter.body.", "\nbody.0.block1.")),
    Kind("textual-inversion", "a textual inversion (embedding)", _is_embedding),
    Kind("checkpoint", "a whole checkpoint",
         _has_even_with_modules("\nmodel.diffusion_model.input_blocks.0.0.weight\n", "\ncond_stage_model.",
                                "\nconditioner.embedders.0.")),
    Kind("clip-vision", "a CLIP vision model",
         _has("\nvision_model.encoder.layers.", "\nvisual.transformer.resblocks.", "\nvision_model.embeddings.")),
    Kind("text-encoder", "a text encoder",
         _has("\ntext_model.encoder.layers.", "\nencoder.block.0.layer.0.SelfAttention.", "\ntransformer.resblocks.",
              "\nmodel.embed_tokens.weight\n", "\nmodel.language_model.embed_tokens.weight\n",
              "\nshared.weight\n", "\nbert.embeddings.")),
    Kind("vae", "a VAE",
         _has("\nfirst_stage_model.", "\npost_quant_conv.", "\ndecoder.conv_in.", "\ndecoder.conv1.", "\ndecoder.mid.",
              "\ndecoder.up_blocks.", "\ndecoder.middle.", "\ntaesd_", "\nvae.decoder.")),
    Kind("upscaler", "an upscaler",
         _has(".RDB1.conv1.", ".rdb1.conv1.", ".residual_group.")),
    Kind("checkpoint", "a whole checkpoint", _is_dense),
)  # fmt: skip
"""In the order of the tests; one kind may have two. Example of a name: `lllite_unet_…_to_q.down.0.weight`."""

_TITLES: Mapping[str, Template] = {row.id: row.title for row in KINDS} | {
    LORA: "a LoRA",
    EMPTY: "an empty file",
    UNKNOWN: "a file of an unknown kind",
}
