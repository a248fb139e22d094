"""Our names of layers against those of the running ComfyUI's own map, on models that it builds on the meta device."""

from __future__ import annotations

import re

import pytest

from lorchestra.architectures.signatures import find_signature
from lorchestra.architectures.sites import Site, model_sites
from lorchestra.spelling.prefixes import flatten, split
from tools import collect_signatures as tool

MODELS = (
    "sd35_medium",
    "auraflow",
    "pixart_alpha",
    "hunyuan_dit",
    "flux1_schnell",
    "flux2_klein_4b",
    "chroma",
    "hunyuan_video",
    "lumina2",
    "z_image",
    "krea2",
    "ace_step15",
)

WRITTEN_BY_NOBODY = {
    # one table of ComfyUI's serves FLUX.1 and FLUX.2
    "flux1_schnell|chroma": r"transformer_blocks_\d+_ff(_context)?_linear_(in|out)"
    r"|single_transformer_blocks_\d+_attn_to_(out|qkv_mlp_proj)",
    "flux2_klein_4b": r"transformer_blocks_\d+_ff(_context)?_net_.+|single_blocks_\d+_linear1_qkv"
    r"|single_transformer_blocks_\d+_(attn_to_[qkv]|proj_mlp|proj_out)|time_text_embed_.+",
}
"""Models → flattened names of ComfyUI's that are no trainer's for them."""


@pytest.mark.parametrize("model", MODELS)
def test_every_right_name_of_comfyuis_leads_to_the_same_place(model: str) -> None:
    """Right is what exists and lies inside: ComfyUI's map also names layers that a model lacks, and for Lumina 2 rows
    beyond the end."""
    signature = find_signature(model)
    assert signature
    try:
        built = tool.build(signature.shapes)
    except tool.NotBuilt as reason:
        pytest.skip(str(reason))
    shapes = tool.tensors(built)
    ours = model_sites({name: (name, shape) for name, shape in shapes.items()})
    unwritten = next((names for models, names in WRITTEN_BY_NOBODY.items() if re.fullmatch(models, model)), "")
    wrong: dict[str, tuple[tool.Target, Site | None]] = {}
    checked = 0
    for name, target in tool.comfyui_map(built).items():
        flat = flatten(split(name)[1])
        key = f"{target.native}.weight" if f"{target.native}.weight" in shapes else target.native
        shape = shapes.get(key)
        if shape is None or re.fullmatch(unwritten, flat):
            continue
        offset = target.offset
        if offset and offset[1] + offset[2] > shape[offset[0]]:
            continue
        place = ours.get(flat)
        checked += 1
        if place is None or (place.key, place.place.offset, place.place.swapped) != (key, offset, target.swapped):
            wrong[name] = target, place
    assert wrong == {}
    assert checked > len(shapes)
