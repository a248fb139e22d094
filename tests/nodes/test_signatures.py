"""The data about base models against the models that the running ComfyUI builds."""

from __future__ import annotations

import pytest

from lorchestra.architectures.signatures import find_signature
from tools import collect_signatures as tool

SMALL = ("koala_700m", "wan21_t2v_1_3b", "flux2_klein_4b", "stable_audio", "ace_step15")
"""Quickly built; the last two are those that the meta device alone cannot build. ComfyUI 0.3.64 has two of the five."""


@pytest.mark.parametrize("name", SMALL)
def test_comfyui_builds_these_tensors(name: str) -> None:
    """The class that ComfyUI picks for these names and shapes has these names and shapes."""
    signature = find_signature(name)
    assert signature
    try:
        model = tool.build(signature.shapes)
    except tool.NotBuilt as reason:
        pytest.skip(str(reason))
    assert type(model.model_config).__name__ == signature.comfy_class
    assert tool.tensors(model) == signature.shapes


@pytest.mark.parametrize("name", ["koala_700m", "flux2_klein_4b"])
def test_names_that_are_ours_or_comfyuis_lead_to_the_same_layer(name: str) -> None:
    """Every right name in ComfyUI's own LoRA map is known: by our rules or by the file, and there as ComfyUI has it."""
    signature = find_signature(name)
    assert signature
    try:
        names = tool.further_names(tool.build(signature.shapes))
    except tool.NotBuilt as reason:
        pytest.skip(str(reason))
    listed = {
        foreign: tool.Target(native, alias.offset, alias.swapped)
        for alias in signature.aliases
        for foreign, native in alias.pairs()
    }
    assert names.items() <= listed.items()


def test_a_part_of_a_model_is_not_built() -> None:
    with pytest.raises(tool.NotBuilt, match="this ComfyUI"):
        tool.build({"some.weight": (4, 4)})
