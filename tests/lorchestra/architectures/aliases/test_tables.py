"""The alias tables against diffusers' own layers (`diffusers.json`) and against all base models that are known.

`diffusers.json` has the weights of two and more dimensions of diffusers' classes, which were built with the named
configuration on the meta device.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lorchestra.architectures.aliases import (
    TABLES,
    ace_step,
    alias_sites,
    auraflow,
    flux,
    flux2,
    hunyuan_original,
    krea2,
    lumina,
    pixart,
    sd3,
)
from lorchestra.architectures.aliases.rules import Rows, Rule, Shape, Table, aliases
from lorchestra.architectures.patterns import expand
from lorchestra.architectures.signatures import find_signature, read_signatures
from lorchestra.spelling.prefixes import flatten

DIFFUSERS: dict[str, Any] = json.loads((Path(__file__).parent / "diffusers.json").read_text("utf-8"))["models"]

WITHOUT_COUNTERPART = {
    "ovis_image": {f"transformer_blocks.{n}.{ff}.net.0.proj" for n in range(6) for ff in ("ff", "ff_context")},
}
"""diffusers' layers that are no part of a single native one: Ovis-Image's are two in one."""

UNREACHED = {
    "ovis_image": ("gate_proj", "up_proj"),
    # the encoders and the tokenizer are not in diffusers' transformer
    "ace_step15": ("encoder.", "tokenizer.", "detokenizer."),
}
"""Native layers, by a piece of their name, that no layer of diffusers' is a part of."""


@cache
def layers(model: str) -> dict[str, Shape]:
    """Native layer → shape."""
    signature = find_signature(model)
    assert signature
    return {name.removesuffix(".weight"): shape for name, shape in signature.shapes.items() if name.endswith(".weight")}


@cache
def places(model: str) -> dict[str, tuple[str, Rows | None]]:
    """Flattened name, native or other, → native layer and rows."""
    result: dict[str, tuple[str, Rows | None]] = {flatten(name): (name, None) for name in layers(model)}
    for foreign, native, rows in alias_sites(layers(model)):
        result.setdefault(flatten(foreign), (native, rows))
    return result


@pytest.mark.parametrize("model", DIFFUSERS)
def test_every_layer_of_diffusers_has_its_place(model: str) -> None:
    """With the shape that it has in diffusers; together they cover each native layer exactly once."""
    covered: dict[str, list[tuple[int, int]]] = {}
    without: set[str] = set()
    for pattern, wanted in DIFFUSERS[model]["layers"].items():
        for name in expand(pattern):
            place = places(model).get(flatten(name))
            if place is None:
                without.add(name)
                continue
            native, rows = place
            shape = layers(model)[native]
            start, length = rows[:2] if rows else (0, shape[0])
            assert [length, *shape[1:]] == wanted, name
            covered.setdefault(native, []).append((start, start + length))
    assert without == WITHOUT_COUNTERPART.get(model, set())
    for native, shape in layers(model).items():
        if len(shape) < 2 or any(piece in native for piece in UNREACHED.get(model, ())):
            assert native not in covered
            continue
        spans = sorted(covered[native])
        assert spans[0][0] == 0
        assert spans[-1][1] == shape[0]
        assert all(before[1] == after[0] for before, after in pairwise(spans)), native


@pytest.mark.parametrize(
    ("model", "foreign", "native", "rows"),
    [
        ("sd3_medium", "transformer_blocks.3.attn.add_k_proj", "joint_blocks.3.context_block.attn.qkv", (1536, 1536)),
        ("sd35_medium", "transformer_blocks.12.attn2.to_v", "joint_blocks.12.x_block.attn2.qkv", (3072, 1536)),
        (
            "sd3_medium",
            "transformer_blocks.22.norm1_context.linear",
            "joint_blocks.22.context_block.adaLN_modulation.1",
            None,
        ),
        (
            "sd3_medium",
            "transformer_blocks.23.norm1_context.linear",
            "joint_blocks.23.context_block.adaLN_modulation.1",
            (0, 3072, True),
        ),
        ("sd35_large", "norm_out.linear", "final_layer.adaLN_modulation.1", (0, 4864, True)),
        ("auraflow", "joint_transformer_blocks.0.attn.to_q", "double_layers.0.attn.w2q", None),
        ("auraflow", "joint_transformer_blocks.0.ff_context.linear_2", "double_layers.0.mlpC.c_fc2", None),
        ("auraflow", "norm_out.linear", "modF.1", (0, 6144, True)),
        ("pixart_alpha", "transformer_blocks.27.attn2.to_v", "blocks.27.cross_attn.kv_linear", (1152, 1152)),
        ("pixart_sigma", "transformer_blocks.0.attn1.to_k", "blocks.0.attn.qkv", (1152, 1152)),
        ("flux1_dev", "transformer_blocks.18.attn.to_v", "double_blocks.18.img_attn.qkv", (6144, 3072)),
        ("flux1_dev", "transformer_blocks.0.ff_context.net.2", "double_blocks.0.txt_mlp.2", None),
        ("flux1_dev", "single_transformer_blocks.37.proj_mlp", "single_blocks.37.linear1", (9216, 12288)),
        ("flux1_dev", "single_transformer_blocks.37.proj_out", "single_blocks.37.linear2", None),
        ("flux1_fill", "x_embedder", "img_in", None),
        # XLabs, as it writes them and as names of attention processors are read
        ("flux1_dev", "double_blocks.0.processor.qkv_lora1", "double_blocks.0.img_attn.qkv", None),
        ("flux1_dev", "double_blocks.0.processor.proj_lora2", "double_blocks.0.txt_attn.proj", None),
        ("flux1_dev", "double_blocks.0.qkv_lora2", "double_blocks.0.txt_attn.qkv", None),
        ("flux1_dev", "single_blocks.5.processor.qkv_lora", "single_blocks.5.linear1", (0, 9216)),
        ("flux1_dev", "single_blocks.5.qkv", "single_blocks.5.linear1", (0, 9216)),
        ("flux1_dev", "single_blocks.5.proj", "single_blocks.5.linear2", None),
        ("chroma", "single_transformer_blocks.0.attn.to_q", "single_blocks.0.linear1", (0, 3072)),
        ("longcat_image", "time_embed.timestep_embedder.linear_2", "time_in.out_layer", None),
        ("ovis_image", "single_transformer_blocks.26.proj_mlp", "single_blocks.26.linear1", (9216, 24576)),
        ("flux2_klein_4b", "single_transformer_blocks.0.attn.to_qkv_mlp_proj", "single_blocks.0.linear1", None),
        ("flux2_dev", "double_stream_modulation_img.linear", "double_stream_modulation_img.lin", None),
        ("flux2_klein_9b", "transformer_blocks.7.attn.add_q_proj", "double_blocks.7.txt_attn.qkv", (0, 4096)),
        ("hunyuan_video", "double_blocks.19.img_attn_qkv", "double_blocks.19.img_attn.qkv", None),
        ("hunyuan_video", "double_blocks.19.txt_mlp.fc2", "double_blocks.19.txt_mlp.2", None),
        ("hunyuan_video", "single_blocks.39.modulation.linear", "single_blocks.39.modulation.lin", None),
        ("hunyuan_video_i2v", "txt_in.c_embedder.linear_1", "txt_in.c_embedder.in_layer", None),
        ("hunyuan_video15", "double_blocks.53.txt_attn_k", "double_blocks.53.txt_attn.qkv", (2048, 2048)),
        ("hunyuan_image21", "double_blocks.0.img_mod.linear", "double_blocks.0.img_mod.lin", None),
        ("lumina2", "layers.25.attention.to_k", "layers.25.attention.qkv", (2304, 768)),
        ("lumina2", "context_refiner.1.attn.to_v", "context_refiner.1.attention.qkv", (3072, 768)),
        ("newbie", "layers.35.attention.to_v", "layers.35.attention.qkv", (3072, 768)),
        ("z_image", "layers.29.attention.to_v", "layers.29.attention.qkv", (7680, 3840)),
        ("z_image", "noise_refiner.0.attention.to_out.0", "noise_refiner.0.attention.out", None),
        ("krea2", "transformer_blocks.27.attn.to_out", "blocks.27.attn.wo", None),
        ("krea2", "text_fusion.refiner_blocks.1.ff.down", "txtfusion.refiner_blocks.1.mlp.down", None),
        ("ace_step15", "layers.23.self_attn.q_proj", "decoder.layers.23.self_attn.q_proj", None),
        ("ace_step15", "layers.23.cross_attn.to_out.0", "decoder.layers.23.cross_attn.o_proj", None),
    ],
)
def test_examples(model: str, foreign: str, native: str, rows: tuple[int, ...] | None) -> None:
    assert native in layers(model)
    assert places(model)[flatten(foreign)] == (native, Rows(*rows) if rows else None)


@pytest.mark.parametrize(
    ("model", "foreign"),
    [
        # FLUX.1's names on FLUX.2 and the other way round, which ComfyUI takes
        ("flux2_klein_4b", "single_transformer_blocks.0.proj_mlp"),
        ("flux2_klein_4b", "transformer_blocks.0.norm1.linear"),
        ("flux2_klein_4b", "transformer_blocks.0.ff.net.2"),
        ("flux1_dev", "single_transformer_blocks.0.attn.to_qkv_mlp_proj"),
        ("flux1_dev", "transformer_blocks.0.ff.linear_in"),
        # layers that Chroma and SD3 medium do not have
        ("chroma", "transformer_blocks.0.norm1.linear"),
        ("sd3_medium", "transformer_blocks.0.attn2.to_q"),
        # Ideogram 4 has `attention.qkv` in its layers as well, but is no Lumina
        ("ideogram4", "layers.0.attn.to_q"),
        ("hunyuan_video", "double_blocks.0.qkv_lora1"),
    ],
)
def test_names_that_a_model_does_not_have(model: str, foreign: str) -> None:
    assert flatten(foreign) not in places(model)


OURS = (
    sd3.TABLE,
    auraflow.TABLE,
    pixart.TABLE,
    flux.TABLE,
    flux.CHROMA,
    flux.LONGCAT,
    flux.OVIS,
    flux.XLABS,
    flux2.TABLE,
    hunyuan_original.TABLE,
    lumina.TABLE,
    lumina.LUMINA2,
    krea2.TABLE,
    ace_step.TABLE,
    ace_step.DIFFUSERS,
)


@pytest.mark.parametrize("table", OURS, ids=lambda table: table.name)
def test_every_rule_is_for_a_layer_of_a_known_model(table: Table) -> None:
    """Else the rule has a typing error."""
    assert table in TABLES
    models = [layers(signature.id) for signature in read_signatures() if table.fits(layers(signature.id))]

    def is_used(rule: Rule) -> bool:
        alone = Table(table.name, (), (), (rule,))
        return any(next(aliases((alone,), model), None) for model in models)

    assert [rule for rule in table.rules if not is_used(rule)] == []


@pytest.mark.parametrize("model", [signature.id for signature in read_signatures()])
def test_a_name_means_one_layer(model: str) -> None:
    """No other tool's name is that of another native layer, and none means two, also once dots are underscores."""
    meant: dict[str, tuple[str, Rows | None]] = {flatten(name): (name, None) for name in layers(model)}
    assert len(meant) == len(layers(model))
    for foreign, native, rows in alias_sites(layers(model)):
        assert meant.setdefault(flatten(foreign), (native, rows)) == (native, rows), foreign
        assert rows is None or 0 <= rows.start < rows.start + rows.length <= layers(model)[native][0]


def test_names_of_tables_are_different() -> None:
    assert len({table.name for table in TABLES}) == len(TABLES)
