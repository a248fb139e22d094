"""Base models in diffusers' files: what is made for ComfyUI's layers lands on diffusers', and the other way round."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from support.algorithm_files import KINDS, made
from support.closeness import apart

from lorchestra.algorithms import read as read_adapter
from lorchestra.algorithms.rows import cut
from lorchestra.architectures.diffusers_names import diffusers_names
from lorchestra.architectures.signatures import find_signature
from lorchestra.architectures.sites import Place, Shape
from lorchestra.models.checkpoint import targets
from lorchestra.models.placing import place
from lorchestra.models.recognise import identify_base
from lorchestra.spelling import prefixes
from lorchestra.spelling.modules import Module


def diffusers_file(architecture: str) -> dict[str, Shape]:
    """The tensors of the model as diffusers' `save_pretrained` names them."""
    signature = find_signature(architecture)
    assert signature
    shapes = signature.shapes
    weights = {name.removesuffix(".weight"): shape for name, shape in shapes.items() if name.endswith(".weight")}
    result: dict[str, Shape] = {}
    for native, names in diffusers_names(weights).items():
        for alias in names:
            rows = alias.rows.length if alias.rows else weights[native][0]
            result[f"{alias.foreign}.weight"] = (rows, *weights[native][1:])
            if f"{native}.bias" in shapes:
                result[f"{alias.foreign}.bias"] = (rows,)
    return result


def lora(name: str, out: int, inner: int) -> Module:
    component, path, _ = prefixes.split(name)
    shapes = {"up": (out, 4), "down": (4, inner)}
    return Module(name, component, path, "LoRA", {slot: slot for slot in shapes}, shapes)


@pytest.mark.parametrize(
    ("architecture", "name", "shape", "keys"),
    [
        ("flux1_dev", "lora_unet_double_blocks_3_img_attn_qkv", (9216, 3072),
         [f"transformer_blocks.3.attn.to_{part}" for part in "qkv"]),
        ("flux1_dev", "diffusion_model.double_blocks.3.txt_attn.qkv", (9216, 3072),
         [f"transformer_blocks.3.attn.add_{part}_proj" for part in "qkv"]),
        ("flux1_dev", "lora_unet_single_blocks_7_linear1", (21504, 3072),
         [*(f"single_transformer_blocks.7.attn.to_{part}" for part in "qkv"), "single_transformer_blocks.7.proj_mlp"]),
        ("flux1_dev", "double_blocks.0.processor.qkv_lora1", (9216, 3072),
         [f"transformer_blocks.0.attn.to_{part}" for part in "qkv"]),
        ("flux1_dev", "transformer.transformer_blocks.3.attn.to_qkv", (9216, 3072),
         [f"transformer_blocks.3.attn.to_{part}" for part in "qkv"]),
        ("lumina2", "lora_unet_layers_3_attention_qkv", (3840, 2304), [f"layers.3.attn.to_{part}" for part in "qkv"]),
        ("sdxl", "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", (640, 640),
         ["down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"]),
        ("wan21_t2v_14b", "diffusion_model.blocks.3.self_attn.q", (5120, 5120), ["blocks.3.attn1.to_q"]),
    ],
)  # fmt: skip
def test_native_names_on_a_file_of_diffusers(architecture: str, name: str, shape: Shape, keys: list[str]) -> None:
    shapes = diffusers_file(architecture)
    assert architecture in identify_base(shapes)
    placement = place([lora(name, *shape)], targets(shapes))
    assert [item.site.key.removesuffix(".weight") for item in placement.placed] == keys
    if len(keys) > 1:
        rows = [item.rows for item in placement.placed if item.rows]
        assert [row.length for row in rows] == [shapes[f"{key}.weight"][0] for key in keys]
        assert rows[0].start == 0 and rows[-1].start + rows[-1].length == rows[0].total == shape[0]
    assert placement.modules == [lora(name, *shape)]


def test_halves_that_diffusers_has_the_other_way_round() -> None:
    """Scale and shift of FLUX.1's last modulation; under diffusers' own name they are as they lie there."""
    found = targets(diffusers_file("flux1_dev"))
    for name, swapped in (("lora_unet_final_layer_adaLN_modulation_1", True), ("transformer.norm_out.linear", False)):
        (placed,) = place([lora(name, 6144, 3072)], found).placed
        assert (placed.site.key, placed.site.place) == ("norm_out.linear.weight", Place(None, swapped))


def test_a_native_file_gets_no_further_names() -> None:
    signature = find_signature("flux1_dev")
    assert signature
    found = targets(dict(signature.shapes))["model"]
    assert all(not site.pieces for site in found.values())


@pytest.mark.parametrize("kind", ["LoRA", "LoHa", "LoKr", "GLoRA", "DoRA by row"])
@pytest.mark.parametrize("edges", [(0, 5, 16, 40), (0, 20, 40), (0, 1, 39, 40)])
def test_every_row_of_a_cut_module_is_the_whole_one_s(kind: str, edges: tuple[int, ...]) -> None:
    """Also where cuts go through the blocks of LoKr, which are ten rows here."""
    from lorchestra.spelling import slots
    from lorchestra.spelling.rows import parted

    weight = torch.randn(40, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    made_parts = made(kind, (40, 12))
    parts = {(slots.split(f"x{end}") or ("", "", end))[2]: tensor for end, tensor in made_parts.items()}
    alpha = float(parts.pop("alpha"))
    algorithm = KINDS[kind].algorithm
    shapes = {slot: tuple(tensor.shape) for slot, tensor in parts.items()}
    counts = [high - low for low, high in pairwise(edges)]
    found = parted(algorithm, shapes, counts)
    assert not isinstance(found, str)
    whole = KINDS[kind].delta(made_parts, weight)
    covered = 0
    for piece in (rows for layer in found for rows in layer):
        assert piece.start == covered
        covered += piece.length
        adapter = read_adapter(algorithm, *cut(algorithm, parts, alpha, piece))
        delta = adapter.update(weight[piece.start : covered])
        assert apart(delta, whole[piece.start : covered]) < 1e-6
    assert covered == 40


def test_modules_are_counted_once() -> None:
    """However many tensors of the file each of them lands on."""
    shapes = diffusers_file("flux1_dev")
    modules = [
        lora("lora_unet_double_blocks_0_img_attn_qkv", 9216, 3072),
        lora("transformer.transformer_blocks.1.attn.to_q", 3072, 3072),
        lora("lora_unet_double_blocks_2_img_mlp_0", 12288, 3072),
    ]
    placement = place(modules, targets(shapes))
    assert placement.fitting == "3 of 3 modules" and len(placement.placed) == 5
