"""Layers and widths of the text encoders, by the names that LoRA files use after the prefix of a text encoder.

To add an encoder: add a row to `ENCODERS` with the widths of its published config, and its id to the `encoders` of the
architectures in `names.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

CLIP = "CLIP"
T5 = "T5"
"""With a gated feed-forward: T5 1.1, UMT5, mT5, ByT5."""
T5_FIRST = "T5 of 2019"
"""With one way into the feed-forward."""
BERT = "BERT"
LLM = "LLM"
"""A decoder in Llama's names: Llama, Mistral, Qwen, Gemma."""
XLM_ROBERTA = "XLM-RoBERTa"


@dataclass(frozen=True, slots=True)
class Encoder:
    """One text encoder."""

    id: str
    title: str
    """As people call it: `CLIP-L`."""
    comfyui: str
    """ComfyUI's word in `text_encoders.<word>.transformer.…`."""
    kind: str
    """One of this module's constants; it decides the names of the layers."""
    layers: int
    width: int
    mlp: int
    """Width inside the feed-forward."""
    query: int = 0
    """Rows of the query projection; 0 where they are the width."""
    key: int = 0
    """Rows of the key and of the value projection; 0 where they are those of the query."""
    projection: int = 0
    """Rows of CLIP's `text_projection`; 0 where there is none."""

    def shapes(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every layer that LoRAs change, as (name, (out, in)); a layer with several names in use comes under each.

        Example: CLIP-L begins with (`text_model.encoder.layers.0.self_attn.q_proj`, (768, 768)).
        """
        parts = tuple(self._parts())
        for start in _STARTS[self.kind]:
            for number in range(self.layers):
                for name, shape in parts:
                    yield f"{start}{number}.{name}", shape
        if self.projection:
            yield "text_projection", (self.projection, self.width)

    def parameters(self) -> Iterator[tuple[str, tuple[int, ...] | None]]:
        """What else may be changed: norms, embeddings and biases, as (name, shape), weights without `.weight`.

        The shape is None where it is not in this table: tokens are not counted here.
        """
        for start in _STARTS[self.kind]:
            for number in range(self.layers):
                for norm in self._norms():
                    yield f"{start}{number}.{norm}", (self.width,)
                    if self.kind == CLIP:
                        yield f"{start}{number}.{norm}.bias", (self.width,)
                for name, shape in self._parts() if self.kind == CLIP else ():
                    yield f"{start}{number}.{name}.bias", shape[:1]
        for name, shape in _OUTSIDE.get(self.kind, ()):
            yield name, None if shape is None else (*shape, self.width)

    def _norms(self) -> tuple[str, ...]:
        if self.kind == LLM and self.id.startswith("gemma"):
            return (*_NORMS[LLM], "pre_feedforward_layernorm", "post_feedforward_layernorm")
        return _NORMS.get(self.kind, ())

    def _parts(self) -> Iterator[tuple[str, tuple[int, int]]]:
        width, mlp = self.width, self.mlp
        query = self.query or width
        key = self.key or query
        rows = {"q": (query, width), "k": (key, width), "v": (key, width), "o": (width, query)}
        rows |= {"in": (mlp, width), "out": (width, mlp), "qkv": (query + 2 * key, width)}
        for name, part in _PARTS[self.kind]:
            yield name, rows[part]


_STARTS = {
    CLIP: ("text_model.encoder.layers.",),
    T5: ("encoder.block.",),
    T5_FIRST: ("encoder.block.",),
    BERT: ("encoder.layer.", "bert.encoder.layer."),
    # The model alone; in its causal wrapper; in a wrapper with eyes, of today and of transformers before 4.52
    LLM: ("layers.", "model.layers.", "model.language_model.layers.", "language_model.layers.",
          "language_model.model.layers."),
    XLM_ROBERTA: ("encoder.layers.", "model.encoder.layers."),
}  # fmt: skip
"""Kind → what stands before the layer's number."""

_NORMS = {
    CLIP: ("layer_norm1", "layer_norm2"),
    T5: ("layer.0.layer_norm", "layer.1.layer_norm"),
    T5_FIRST: ("layer.0.layer_norm", "layer.1.layer_norm"),
    LLM: ("input_layernorm", "post_attention_layernorm"),
}
"""Kind → the norms in a layer."""

_T5_OUTSIDE: tuple[tuple[str, tuple[int, ...] | None], ...] = (("shared", None), ("encoder.final_layer_norm", ()))
_OUTSIDE: dict[str, tuple[tuple[str, tuple[int, ...] | None], ...]] = {
    CLIP: (
        ("text_model.embeddings.token_embedding", None),
        ("text_model.embeddings.position_embedding", (77,)),
        ("text_model.final_layer_norm", ()),
        ("text_model.final_layer_norm.bias", ()),
    ),
    T5: _T5_OUTSIDE,
    T5_FIRST: _T5_OUTSIDE,
    LLM: (("model.embed_tokens", None), ("model.norm", ())),
}
"""Kind → what stands outside the layers: name, and its shape without the width; None where that is not known here."""

_LLAMA = (
    ("self_attn.q_proj", "q"), ("self_attn.k_proj", "k"), ("self_attn.v_proj", "v"), ("self_attn.o_proj", "o"),
    ("mlp.gate_proj", "in"), ("mlp.up_proj", "in"), ("mlp.down_proj", "out"),
)  # fmt: skip
_T5_ATTENTION = tuple((f"layer.0.SelfAttention.{part}", part) for part in "qkvo")
_PARTS = {
    CLIP: (
        ("self_attn.q_proj", "q"), ("self_attn.k_proj", "k"), ("self_attn.v_proj", "v"), ("self_attn.out_proj", "o"),
        ("mlp.fc1", "in"), ("mlp.fc2", "out"),
    ),
    T5: (
        *_T5_ATTENTION,
        ("layer.1.DenseReluDense.wi_0", "in"), ("layer.1.DenseReluDense.wi_1", "in"),
        ("layer.1.DenseReluDense.wo", "out"),
    ),
    T5_FIRST: (*_T5_ATTENTION, ("layer.1.DenseReluDense.wi", "in"), ("layer.1.DenseReluDense.wo", "out")),
    BERT: (
        ("attention.self.query", "q"), ("attention.self.key", "k"), ("attention.self.value", "v"),
        ("attention.output.dense", "o"), ("intermediate.dense", "in"), ("output.dense", "out"),
    ),
    LLM: _LLAMA,
    XLM_ROBERTA: (("mixer.Wqkv", "qkv"), ("mixer.out_proj", "o"), ("mlp.fc1", "in"), ("mlp.fc2", "out")),
}  # fmt: skip
"""Kind → (name within the layer, which shape)."""

ENCODERS: tuple[Encoder, ...] = (
    Encoder("clip_l", "CLIP-L", "clip_l", CLIP, 12, 768, 3072, projection=768),
    Encoder("clip_h", "OpenCLIP-H", "clip_h", CLIP, 24, 1024, 4096, projection=1024),
    Encoder("clip_g", "CLIP-G", "clip_g", CLIP, 32, 1280, 5120, projection=1280),
    Encoder("t5xxl", "T5-XXL", "t5xxl", T5, 24, 4096, 10240),
    Encoder("t5xxl_old", "T5-11B", "t5xxl", T5_FIRST, 24, 1024, 65536, query=16384),
    Encoder("umt5xxl", "UMT5-XXL", "umt5xxl", T5, 24, 4096, 10240),
    Encoder("umt5base", "UMT5-base", "umt5base", T5, 12, 768, 2048),
    Encoder("mt5xl", "mT5-XL", "mt5xl", T5, 24, 2048, 5120),
    Encoder("pile_t5xl", "Pile-T5-XL", "pile_t5xl", T5, 24, 2048, 5120),
    Encoder("t5base", "T5-base", "t5base", T5_FIRST, 12, 768, 3072),
    Encoder("byt5_small", "Glyph-ByT5", "byt5_small", T5, 12, 1472, 3584, query=384),
    Encoder("bert", "Chinese BERT", "hydit_clip", BERT, 24, 1024, 4096),
    Encoder("gemma2_2b", "Gemma 2 2B", "gemma2_2b", LLM, 26, 2304, 9216, query=2048, key=1024),
    Encoder("gemma3_4b", "Gemma 3 4B", "gemma3_4b", LLM, 34, 2560, 10240, query=2048, key=1024),
    Encoder("gemma3_12b", "Gemma 3 12B", "gemma3_12b", LLM, 48, 3840, 15360, query=4096, key=2048),
    Encoder("jina_clip_2", "Jina CLIP v2", "jina_clip_2", XLM_ROBERTA, 24, 1024, 4096),
    Encoder("llama3_8b", "Llama 3 8B", "llama", LLM, 32, 4096, 14336, key=1024),
    Encoder("mistral3_24b", "Mistral Small 3 24B", "mistral3_24b", LLM, 40, 5120, 32768, query=4096, key=1024),
    Encoder("ministral3_3b", "Ministral 3 3B", "ministral3_3b", LLM, 26, 3072, 9216, query=4096, key=1024),
    Encoder("qwen25_3b", "Qwen2.5-VL 3B", "qwen25_3b", LLM, 36, 2048, 11008, key=256),
    Encoder("qwen25_7b", "Qwen2.5-VL 7B", "qwen25_7b", LLM, 28, 3584, 18944, key=512),
    Encoder("qwen3_0_6b", "Qwen3 0.6B", "qwen3_06b", LLM, 28, 1024, 3072, query=2048, key=1024),
    Encoder("qwen3_1_7b", "Qwen3 1.7B", "qwen3_2b", LLM, 28, 2048, 6144, key=1024),
    Encoder("qwen3_4b", "Qwen3 4B", "qwen3_4b", LLM, 36, 2560, 9728, query=4096, key=1024),
    Encoder("qwen3vl_4b", "Qwen3-VL 4B", "qwen3vl_4b", LLM, 36, 2560, 9728, query=4096, key=1024),
    Encoder("qwen3_8b", "Qwen3 8B", "qwen3_8b", LLM, 36, 4096, 12288, key=1024),
    Encoder("qwen3vl_8b", "Qwen3-VL 8B", "qwen3vl_8b", LLM, 36, 4096, 12288, key=1024),
    Encoder("qwen3vl_32b", "Qwen3-VL 32B", "qwen3vl_32b", LLM, 64, 5120, 25600, query=8192, key=1024),
)
"""Widths as in the models' published configs.

Example: Gemma 2 2B has 8 heads of 256 (2048) over a width of 2304 and 4 heads for keys and values (1024).
"""

COMFYUI_WORDS = frozenset(encoder.comfyui for encoder in ENCODERS)
"""ComfyUI's words for the encoders, which begin the names of their tensors: `clip_l`, `t5xxl`, `gemma3_12b`."""

_BY_ID = {encoder.id: encoder for encoder in ENCODERS}


def find_encoder(encoder: str) -> Encoder | None:
    """The encoder with this id, or None."""
    return _BY_ID.get(encoder)


def encoder_titles(encoders: Iterable[Iterable[str]], most: int = 3) -> str:
    """What people call them: of each tuple one is meant. Example: ((`clip_l`,), (`t5xxl`, `umt5xxl`)) →
    `CLIP-L and T5-XXL or UMT5-XXL`.
    """
    rows = [[row.title for name in names if (row := _BY_ID.get(name))][:most] for names in encoders]
    return " and ".join(" or ".join(dict.fromkeys(row)) for row in rows if row)
