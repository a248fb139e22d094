"""Our names against ComfyUI's own maps, on real model classes built on the meta device."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import comfy.utils
import pytest
import torch
from support.models import UNETS, load_flux, make_unet

import nodes
from lorchestra.architectures.unet import diffusers_names


@pytest.mark.parametrize("name", UNETS)
def test_unet_names_agree_with_comfyuis(name: str) -> None:
    """Every layer that exists and that ComfyUI knows by diffusers' name has the same name here."""
    config, net = make_unet(name)
    native = {key[: -len(".weight")] for key in net.state_dict() if key.endswith(".weight")}
    theirs = {
        target[: -len(".weight")]: alias[: -len(".weight")]
        for alias, target in comfy.utils.unet_to_diffusers(config).items()
        if alias.endswith(".weight") and target[: -len(".weight")] in native
    }
    ours = diffusers_names(native)
    renamed = {"label_emb.0.0", "label_emb.0.2"}  # class_embedding there, add_embedding in diffusers itself
    assert {key: ours.get(key) for key in theirs.keys() - renamed} == {
        key: theirs[key] for key in theirs.keys() - renamed
    }
    assert len(theirs) > 300


@pytest.mark.oldest
def test_parts_of_a_fused_qkv_and_all_of_it_are_one_patch(pack: Any, stack_node: Any, loras: Any) -> None:
    """A diffusers-named Flux LoRA lands in the thirds of the fused qkv weight, next to a kohya one on the whole."""
    from safetensors.torch import save_file

    model = load_flux()
    key = "diffusion_model.double_blocks.0.img_attn.qkv.weight"
    before = dict(model.model.state_dict())[key].double().clone()
    generator = torch.Generator().manual_seed(1)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * 0.1

    parts = {
        "transformer.transformer_blocks.0.attn.to_k": (noise(256, 4), noise(4, 256)),
        "transformer.transformer_blocks.0.attn.to_v": (noise(256, 4), noise(4, 256)),
    }
    save_file(
        {
            f"{name}.lora_{half}.weight": tensor
            for name, (up, down) in parts.items()
            for half, tensor in (("B", up), ("A", down))
        },
        loras / "split.safetensors",
    )
    whole = noise(768, 2), noise(2, 256)
    save_file(
        {"lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": whole[0],
         "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": whole[1]},
        loras / "whole.safetensors",
    )  # fmt: skip
    out, _, _, report, _ = stack_node.execute(model=model, loras="<lora:split:0.5> <lora:whole:-0.25>").args
    assert "split: weight 0.5, all 2 modules fit" in report and "whole: weight -0.25, all 1 modules fit" in report
    ((_, patch, *_),) = out.patches[key]
    assert sys.modules["lorchestra_pack.nodes.host.patch"].FusedLoras is type(patch)
    out.patch_model(device_to=torch.device("cpu"))
    after = dict(out.model.state_dict())[key].double().clone()
    out.unpatch_model()
    exact = before - 0.25 * (whole[0].double() @ whole[1].double())
    for index, name in (
        (1, "transformer.transformer_blocks.0.attn.to_k"),
        (2, "transformer.transformer_blocks.0.attn.to_v"),
    ):
        up, down = parts[name]
        exact[index * 256 : (index + 1) * 256] += 0.5 * (up.double() @ down.double())
    assert torch.allclose(after, exact, atol=1e-6)
    assert not torch.allclose(after, before, atol=1e-3)


@pytest.mark.oldest
def test_import_registers_the_nodes_once(pack: Any) -> None:
    """The entrypoint gives an extension with the nodes that the README names."""
    names = [node.define_schema().node_id for node in asyncio.run(_nodes(pack))]
    assert names == [
        "LorchestraLoraStack", "LorchestraLoraSchedule", "LorchestraLoraCheck", "LorchestraApiExport",
        "LorchestraStackFromRequest",
        "LorchestraLoraBalance", "LorchestraLoraVariants", "LorchestraContactSheet", "LorchestraLoraRegion",
    ]  # fmt: skip


@pytest.mark.oldest
def test_the_nodes_stand_beside_comfyuis_own_loaders(pack: Any) -> None:
    for node in asyncio.run(_nodes(pack)):
        assert node.define_schema().category == f"{nodes.LoraLoader.CATEGORY}/Lorchestra"


async def _nodes(pack: Any) -> list[Any]:
    return await (await pack.comfy_entrypoint()).get_node_list()
