"""Layers that some tools have as one and others as several: q, k and v, and the two ways into a gated MLP.

diffusers' `fuse_qkv_projections` makes `to_qkv`, `to_kv`, `to_added_qkv` and `to_added_kv`; language models are often
served with `qkv_proj` and `gate_up_proj`. The rows of the parts stand one below the other in the order given.

To add a name: add its end with the ends of its parts to `_JOINED`.
"""

from __future__ import annotations

from collections.abc import Iterator

_QKV = (
    ("to_q", "to_k", "to_v"),
    ("q_proj", "k_proj", "v_proj"),
    ("q", "k", "v"),
    ("wq", "wk", "wv"),
    ("to_query", "to_key", "to_value"),
    ("query", "key", "value"),
)
_KV = tuple((k, v) for _, k, v in _QKV)
_ADDED_QKV = (("add_q_proj", "add_k_proj", "add_v_proj"),)
_ADDED_KV = (("add_k_proj", "add_v_proj"),)
_GATED = (("gate_proj", "up_proj"), ("gate", "up"), ("gate_layer", "proj"))

_JOINED: dict[str, tuple[tuple[str, ...], ...]] = {
    "to_qkv": _QKV,
    "qkv": _QKV,
    "qkv_proj": _QKV,
    "wqkv": _QKV,
    "in_proj": _QKV,  # torch's MultiheadAttention
    "to_kv": _KV,
    "kv": _KV,
    "kv_proj": _KV,
    "to_added_qkv": _ADDED_QKV,
    "add_qkv_proj": _ADDED_QKV,
    "to_added_kv": _ADDED_KV,
    "add_kv_proj": _ADDED_KV,
    "kv_img": (("k_img", "v_img"),),
    "gate_up_proj": _GATED,
    "gate_up": _GATED,
    "net_0_proj": (("net_0_proj_0", "net_0_proj_1"),),  # slices by number, from the tables of `aliases`
}
"""End of a name after an underscore or a dot → the ends of the parts' names, of which a model has one set.

Example: `blocks_3_attn_to_qkv` is `blocks_3_attn_wq`, `…_wk` and `…_wv` in Krea 2.
"""

_ENDS = tuple(f"_{end}" for end in _JOINED)
_LONGEST = max(map(len, _JOINED))
_BIAS = "_bias"


def has_parts(flat: str) -> bool:
    """Whether a flattened name may stand for several layers; for nearly all it does not, which this is quick to say."""
    return flat.removesuffix(_BIAS).endswith(_ENDS)


def parts_of(flat: str) -> Iterator[tuple[str, ...]]:
    """The flattened names of the layers that a flattened name may stand for, in the order of their rows.

    Example: `layers_0_self_attn_qkv_proj` → (`layers_0_self_attn_to_q`, …), (`layers_0_self_attn_q_proj`, …), …
    """
    name, bias = (flat[: -len(_BIAS)], _BIAS) if flat.endswith(_BIAS) else (flat, "")
    if not name.endswith(_ENDS):  # nearly always
        return
    position = name.rfind("_", max(0, len(name) - _LONGEST - 1))
    while position >= 0:
        for ends in _JOINED.get(name[position + 1 :], ()):
            yield tuple(f"{name[: position + 1]}{end}{bias}" for end in ends)
        position = name.rfind("_", max(0, len(name) - _LONGEST - 1), position)
