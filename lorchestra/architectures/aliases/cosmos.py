"""Cosmos 1, Cosmos-Predict2 and Anima as diffusers calls their layers.

Sources: diffusers' `CosmosTransformer3DModel` and `AnimaTextConditioner` with their conversions from the original
names; SimpleTuner's `AnimaTransformerModel`.
"""

from __future__ import annotations

from .rules import Rule, Table

_NATIVE_1 = "blocks.block#.blocks"

COSMOS_1 = Table(
    name="Cosmos 1 in diffusers",
    needs=("blocks.block0.blocks.0.block.attn.to_q.0", "blocks.block0.blocks.2.block.layer1"),
    lacks=(),
    rules=(
        *(
            Rule(f"transformer_blocks.#.attn{index + 1}.{foreign}", f"{_NATIVE_1}.{index}.block.attn.{native}")
            for index in (0, 1)
            for foreign, native in (
                ("to_q", "to_q.0"),
                ("norm_q", "to_q.1"),
                ("to_k", "to_k.0"),
                ("norm_k", "to_k.1"),
                ("to_v", "to_v.0"),
                ("to_out.0", "to_out.0"),
            )
        ),
        Rule("transformer_blocks.#.ff.net.0.proj", f"{_NATIVE_1}.2.block.layer1"),
        Rule("transformer_blocks.#.ff.net.2", f"{_NATIVE_1}.2.block.layer2"),
        *(
            Rule(
                f"transformer_blocks.#.norm{index + 1}.linear_{number}",
                f"{_NATIVE_1}.{index}.adaLN_modulation.{number}",
            )
            for index in (0, 1, 2)
            for number in (1, 2)
        ),
        Rule("patch_embed.proj", "x_embedder.proj.1"),
        Rule("time_embed.t_embedder.linear_#", "t_embedder.1.linear_#"),
        Rule("time_embed.norm", "affline_norm"),
        Rule("norm_out.linear_#", "final_layer.adaLN_modulation.#"),
        Rule("proj_out", "final_layer.linear"),
    ),
)

_NEEDS = ("blocks.0.adaln_modulation_self_attn.1", "blocks.0.self_attn.output_proj", "blocks.0.mlp.layer1")

_BLOCK = (
    ("attn1.to_q", "self_attn.q_proj"),
    ("attn1.to_k", "self_attn.k_proj"),
    ("attn1.to_v", "self_attn.v_proj"),
    ("attn1.to_out.0", "self_attn.output_proj"),
    ("attn1.norm_q", "self_attn.q_norm"),
    ("attn1.norm_k", "self_attn.k_norm"),
    ("attn2.to_q", "cross_attn.q_proj"),
    ("attn2.to_k", "cross_attn.k_proj"),
    ("attn2.to_v", "cross_attn.v_proj"),
    ("attn2.to_out.0", "cross_attn.output_proj"),
    ("attn2.norm_q", "cross_attn.q_norm"),
    ("attn2.norm_k", "cross_attn.k_norm"),
    ("ff.net.0.proj", "mlp.layer1"),
    ("ff.net.2", "mlp.layer2"),
    ("norm1.linear_#", "adaln_modulation_self_attn.#"),
    ("norm2.linear_#", "adaln_modulation_cross_attn.#"),
    ("norm3.linear_#", "adaln_modulation_mlp.#"),
)
"""Part of a block of Cosmos-Predict2: diffusers' name, native name."""

_ADAPTER = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "self_attn.q_norm",
    "self_attn.k_norm",
    "cross_attn.q_proj",
    "cross_attn.k_proj",
    "cross_attn.v_proj",
    "cross_attn.o_proj",
    "cross_attn.q_norm",
    "cross_attn.k_norm",
    "norm_self_attn",
    "norm_cross_attn",
    "norm_mlp",
    "mlp.0",
    "mlp.2",
)

_PREDICT2 = (
    *((f"transformer_blocks.#.{foreign}", f"blocks.#.{native}") for foreign, native in _BLOCK),
    ("patch_embed.proj", "x_embedder.proj.1"),
    ("time_embed.t_embedder.linear_#", "t_embedder.1.linear_#"),
    ("time_embed.norm", "t_embedding_norm"),
    ("norm_out.linear_#", "final_layer.adaln_modulation.#"),
    ("proj_out", "final_layer.linear"),
)
"""Layers of Cosmos-Predict2: diffusers' name, native name."""

COSMOS_PREDICT2 = Table(
    name="Cosmos-Predict2 and Anima in diffusers",
    needs=_NEEDS,
    lacks=(),
    rules=(
        *(Rule(foreign, native) for foreign, native in _PREDICT2),
        # a component of its own in diffusers' pipeline, hence the start of the name
        *(Rule(f"text_conditioner.blocks.#.{layer}", f"llm_adapter.blocks.#.{layer}") for layer in _ADAPTER),
        Rule("text_conditioner.out_proj", "llm_adapter.out_proj"),
        Rule("text_conditioner.embed", "llm_adapter.embed"),
        Rule("text_conditioner.norm", "llm_adapter.norm"),
    ),
)

ANIMA_SIMPLETUNER = Table(
    name="Anima in SimpleTuner",
    needs=(*_NEEDS, "llm_adapter.out_proj"),
    lacks=(),
    rules=tuple(Rule(f"core.{foreign}", native) for foreign, native in _PREDICT2),
)
"""SimpleTuner wraps diffusers' transformer and the adapter, which keeps its native name, into one model."""
