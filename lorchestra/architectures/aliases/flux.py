"""Names for FLUX.1 (dev, schnell, Krea, Kontext, Fill), Chroma, LongCat-Image and Ovis-Image.

Sources: diffusers' `FluxTransformer2DModel`, `ChromaTransformer2DModel`, `LongCatImageTransformer2DModel` and
`OvisImageTransformer2DModel`, and its conversion of original checkpoints; XLabs' x-flux (`modules/layers.py`).

Ovis-Image's `ff.net.0.proj` and `ff_context.net.0.proj` are two native layers in one (`up_proj`, then `gate_proj`);
they have no counterpart the other way round. Names of FLUX.2 (`ff.linear_in`, `attn.to_qkv_mlp_proj`, `attn.to_out`),
which ComfyUI takes for FLUX.1 too, are left out: they are never written for these models.
"""

from __future__ import annotations

from .rules import (
    FIRST_THIRD,
    LAST_THIRD,
    LINEAR1_KEY,
    LINEAR1_MLP,
    LINEAR1_QKV,
    LINEAR1_QUERY,
    LINEAR1_VALUE,
    SECOND_THIRD,
    SWAPPED,
    Rule,
    Table,
)

_NEEDS = ("double_blocks.0.img_attn.qkv",)
_LACKS = ("img_in.proj", "double_stream_modulation_img.lin")
"""HunyuanVideo and HunyuanImage; FLUX.2."""

DOUBLE_ATTENTION = (
    Rule("transformer_blocks.#.attn.to_q", "double_blocks.#.img_attn.qkv", FIRST_THIRD),
    Rule("transformer_blocks.#.attn.to_k", "double_blocks.#.img_attn.qkv", SECOND_THIRD),
    Rule("transformer_blocks.#.attn.to_v", "double_blocks.#.img_attn.qkv", LAST_THIRD),
    Rule("transformer_blocks.#.attn.add_q_proj", "double_blocks.#.txt_attn.qkv", FIRST_THIRD),
    Rule("transformer_blocks.#.attn.add_k_proj", "double_blocks.#.txt_attn.qkv", SECOND_THIRD),
    Rule("transformer_blocks.#.attn.add_v_proj", "double_blocks.#.txt_attn.qkv", LAST_THIRD),
    Rule("transformer_blocks.#.attn.to_out.0", "double_blocks.#.img_attn.proj"),
    Rule("transformer_blocks.#.attn.to_add_out", "double_blocks.#.txt_attn.proj"),
    Rule("transformer_blocks.#.attn.norm_q", "double_blocks.#.img_attn.norm.query_norm"),
    Rule("transformer_blocks.#.attn.norm_k", "double_blocks.#.img_attn.norm.key_norm"),
    Rule("transformer_blocks.#.attn.norm_added_q", "double_blocks.#.txt_attn.norm.query_norm"),
    Rule("transformer_blocks.#.attn.norm_added_k", "double_blocks.#.txt_attn.norm.key_norm"),
)
"""The attention of the double blocks, which FLUX.2 calls the same."""

BLOCKS = (
    *DOUBLE_ATTENTION,
    Rule("transformer_blocks.#.norm1.linear", "double_blocks.#.img_mod.lin"),
    Rule("transformer_blocks.#.norm1_context.linear", "double_blocks.#.txt_mod.lin"),
    Rule("transformer_blocks.#.ff.net.0.proj", "double_blocks.#.img_mlp.0"),
    Rule("transformer_blocks.#.ff.net.2", "double_blocks.#.img_mlp.2"),
    Rule("transformer_blocks.#.ff_context.net.0.proj", "double_blocks.#.txt_mlp.0"),
    Rule("transformer_blocks.#.ff_context.net.2", "double_blocks.#.txt_mlp.2"),
    Rule("single_transformer_blocks.#.attn.to_q", "single_blocks.#.linear1", LINEAR1_QUERY),
    Rule("single_transformer_blocks.#.attn.to_k", "single_blocks.#.linear1", LINEAR1_KEY),
    Rule("single_transformer_blocks.#.attn.to_v", "single_blocks.#.linear1", LINEAR1_VALUE),
    # all that is left of linear1: Ovis-Image has twice as many rows here as the others
    Rule("single_transformer_blocks.#.proj_mlp", "single_blocks.#.linear1", LINEAR1_MLP),
    Rule("single_transformer_blocks.#.proj_out", "single_blocks.#.linear2"),
    Rule("single_transformer_blocks.#.norm.linear", "single_blocks.#.modulation.lin"),
    Rule("single_transformer_blocks.#.attn.norm_q", "single_blocks.#.norm.query_norm"),
    Rule("single_transformer_blocks.#.attn.norm_k", "single_blocks.#.norm.key_norm"),
)
"""The double and single blocks, which HunyuanVideo calls the same."""

TABLE = Table(
    name="FLUX.1 in diffusers",
    needs=_NEEDS,
    lacks=_LACKS,
    rules=(
        *BLOCKS,
        Rule("x_embedder", "img_in"),
        Rule("context_embedder", "txt_in"),
        Rule("time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"),
        Rule("time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"),
        Rule("time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"),
        Rule("time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"),
        Rule("time_text_embed.text_embedder.linear_1", "vector_in.in_layer"),
        Rule("time_text_embed.text_embedder.linear_2", "vector_in.out_layer"),
        Rule("norm_out.linear", "final_layer.adaLN_modulation.1", SWAPPED),
        Rule("proj_out", "final_layer.linear"),
    ),
)

CHROMA = Table(
    name="Chroma in diffusers, beyond FLUX.1's names",
    needs=("distilled_guidance_layer.in_proj",),
    lacks=(),
    rules=(
        Rule("distilled_guidance_layer.layers.#.linear_1", "distilled_guidance_layer.layers.#.in_layer"),
        Rule("distilled_guidance_layer.layers.#.linear_2", "distilled_guidance_layer.layers.#.out_layer"),
    ),
)

LONGCAT = Table(
    name="LongCat-Image in diffusers, beyond FLUX.1's names",
    needs=(*_NEEDS, "double_blocks.0.img_mod.lin", "double_blocks.0.img_mlp.0"),
    lacks=(*_LACKS, "vector_in.in_layer"),
    rules=(
        Rule("time_embed.timestep_embedder.linear_1", "time_in.in_layer"),
        Rule("time_embed.timestep_embedder.linear_2", "time_in.out_layer"),
    ),
)

OVIS = Table(
    name="Ovis-Image in diffusers, beyond FLUX.1's names",
    needs=("double_blocks.0.img_mlp.down_proj",),
    lacks=_LACKS,
    rules=(
        Rule("transformer_blocks.#.ff.net.2", "double_blocks.#.img_mlp.down_proj"),
        Rule("transformer_blocks.#.ff_context.net.2", "double_blocks.#.txt_mlp.down_proj"),
        Rule("timestep_embedder.linear_1", "time_in.in_layer"),
        Rule("timestep_embedder.linear_2", "time_in.out_layer"),
        Rule("context_embedder_norm", "txt_norm"),
    ),
)

OVIS_SLICED = Table(
    name="Ovis-Image by the numbers of slices",
    needs=OVIS.needs,
    lacks=_LACKS,
    rules=tuple(
        Rule(f"transformer_blocks.#.{theirs}.net.0.proj.{number}", f"double_blocks.#.{ours}_mlp.{part}")
        for theirs, ours in (("ff", "img"), ("ff_context", "txt"))
        for number, part in enumerate(("up_proj", "gate_proj"))
    ),
)
"""`joined` makes diffusers' layers of these."""

XLABS = Table(
    name="FLUX.1 in XLabs' x-flux",
    needs=_NEEDS,
    lacks=_LACKS,
    rules=(
        # `double_blocks.0.processor.qkv_lora1.down.weight`; 1 is the image's stream, 2 the text's
        Rule("double_blocks.#.processor.qkv_lora1", "double_blocks.#.img_attn.qkv"),
        Rule("double_blocks.#.processor.proj_lora1", "double_blocks.#.img_attn.proj"),
        Rule("double_blocks.#.processor.qkv_lora2", "double_blocks.#.txt_attn.qkv"),
        Rule("double_blocks.#.processor.proj_lora2", "double_blocks.#.txt_attn.proj"),
        Rule("single_blocks.#.processor.qkv_lora", "single_blocks.#.linear1", LINEAR1_QKV),
        Rule("single_blocks.#.processor.proj_lora", "single_blocks.#.linear2"),
        # the same once `.processor.` and `_lora.down` are taken for diffusers' attention processors
        Rule("double_blocks.#.qkv_lora1", "double_blocks.#.img_attn.qkv"),
        Rule("double_blocks.#.proj_lora1", "double_blocks.#.img_attn.proj"),
        Rule("double_blocks.#.qkv_lora2", "double_blocks.#.txt_attn.qkv"),
        Rule("double_blocks.#.proj_lora2", "double_blocks.#.txt_attn.proj"),
        Rule("single_blocks.#.qkv_lora", "single_blocks.#.linear1", LINEAR1_QKV),
        Rule("single_blocks.#.proj_lora", "single_blocks.#.linear2"),
        Rule("single_blocks.#.qkv", "single_blocks.#.linear1", LINEAR1_QKV),
        Rule("single_blocks.#.proj", "single_blocks.#.linear2"),
        # as ComfyUI renames the former
        Rule("single_blocks.#.linear1_qkv", "single_blocks.#.linear1", LINEAR1_QKV),
    ),
)

SLICED = Table(
    name="FLUX.1 by the numbers of slices",
    needs=_NEEDS,
    lacks=_LACKS,
    rules=(
        *(
            Rule(f"double_blocks.#.{stream}_attn.qkv.{number}", f"double_blocks.#.{stream}_attn.qkv", rows)
            for stream in ("img", "txt")
            for number, rows in enumerate((FIRST_THIRD, SECOND_THIRD, LAST_THIRD))
        ),
        *(
            Rule(f"single_blocks.#.linear1.{number}", "single_blocks.#.linear1", rows)
            for number, rows in enumerate((LINEAR1_QUERY, LINEAR1_KEY, LINEAR1_VALUE, LINEAR1_MLP))
        ),
    ),
)
"""The slices of fused layers by their numbers: kohya's OFT with `split_qkv`, OneTrainer's OMI."""
