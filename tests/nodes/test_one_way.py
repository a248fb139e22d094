"""Formats that cannot be packed again: never merged, and what cannot be done is said before the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("comfy.quant_ops", reason="this ComfyUI is older than packed weights")
pytest.importorskip("comfy_kitchen.tensor.awq_w4a16", reason="this ComfyUI is older than packed weights")

import comfy.sd
from comfy import quant_ops, sd1_clip, supported_models_base
from comfy_kitchen.tensor import awq_w4a16 as awq
from support.algorithm_files import made
from support.live_runs import Outputs, Stacks, apart, hooks, kohya, named, row, sample_wan
from support.quantized import FORMATS, is_packed, load_wan, packed_wan, wan_state

LAYER, SHAPE = "blocks.0.self_attn.v", (256, 256)


class OneWayLayout(quant_ops.TensorCoreFP8E4M3Layout):
    """Numbers that are packed once, as NF4's are."""

    @classmethod
    def quantize(cls, tensor: torch.Tensor, **_: Any) -> Any:
        raise NotImplementedError("this format requires offline calibration")


@pytest.fixture(autouse=True)
def layouts() -> None:
    """Known to ComfyUI by name."""
    quant_ops.register_layout_class("OneWayLayout", OneWayLayout)
    quant_ops.register_layout_class("TensorCoreAWQW4A16Layout", awq.TensorCoreAWQW4A16Layout)


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


def awq_weight(weight: torch.Tensor) -> Any:
    """`[out, in]` in 4 bits, with a scale and a middle for every 64 numbers; made as a calibration would."""
    groups = weight.reshape(len(weight), -1, 64)
    low, high = groups.amin(2), groups.amax(2)
    scale, zero = (high - low) / 15, low + (high - low) / 15 * 8
    numbers = ((groups - zero[..., None]) / scale[..., None] + 8).round().clamp(0, 15).to(torch.uint8)
    numbers = numbers.reshape(weight.shape)
    packed = (numbers[:, 0::2] | (numbers[:, 1::2] << 4)).view(torch.int8)
    layout = awq.TensorCoreAWQW4A16Layout
    params = layout.Params(
        scale=scale.T.contiguous(), orig_dtype=torch.float32, orig_shape=tuple(weight.shape), zeros=zero.T.contiguous()
    )
    return quant_ops.QuantizedTensor(packed, "TensorCoreAWQW4A16Layout", params)


def packed_layers(model: Any) -> list[tuple[str, Any]]:
    """Those of the blocks, by path."""
    modules = model.model.diffusion_model.named_modules()
    return [
        (path, module) for path, module in modules if is_packed(f"{path}.weight") and hasattr(module, "in_features")
    ]


def one_way(name: str) -> tuple[Any, Any]:
    """(a model whose blocks are packed in this format, the same numbers in fp32)."""
    model, exact = packed_wan(FORMATS["fp8 e4m3"])
    with torch.inference_mode():  # as ComfyUI's loaders run
        return _packed(name, model, exact)


def _packed(name: str, model: Any, exact: Any) -> tuple[Any, Any]:
    if name == "OneWay":
        for _, module in packed_layers(model):
            weight = module.weight
            packed = quant_ops.QuantizedTensor(weight._qdata, "OneWayLayout", weight._params)
            module.weight, module.layout_type = torch.nn.Parameter(packed, requires_grad=False), "OneWayLayout"
        return model, exact
    state = wan_state()
    for path, module in packed_layers(model):
        weight = awq_weight(state[f"{path}.weight"])
        state[f"{path}.weight"] = weight.dequantize().float()
        module.weight = torch.nn.Parameter(weight, requires_grad=False)
        module.layout_type = "TensorCoreAWQW4A16Layout"
    return model, load_wan(state)


@pytest.fixture
def files(loras: Path) -> Path:
    """A LoRA, one that makes the weight larger, and one for a norm."""
    save_file(named(kohya(LAYER), made("LoRA", SHAPE)), loras / "a.safetensors")
    norm = {"lora_unet_blocks_0_norm3.diff": torch.full((256,), 0.5)}
    save_file({**norm, **named(kohya(LAYER), made("LoRA", SHAPE))}, loras / "norm.safetensors")
    return loras


@pytest.mark.parametrize("mode", ["auto", "merge", "live"])
@pytest.mark.parametrize("name", ["OneWay", "AWQW4A16"])
def test_it_is_live_by_itself(name: str, mode: str, files: Path, stacked: Stacks) -> None:
    """In every mode; what can be merged still is, and the report says what is live and why."""
    model, exact = one_way(name)
    rows = [row("norm", 0.8)]
    out = stacked(model, rows, mode)
    assert (len(out.injections), len(out.patches)) == (1, 1)
    told = f"norm.safetensors: 1 module works live, because {name} weights cannot be packed again"
    assert (told in stacked.report) == (mode == "merge")
    outputs = Outputs(out, LAYER)
    sample_wan(out, steps=1)
    x, y = outputs.inputs[LAYER], outputs.values[LAYER]
    with torch.inference_mode():
        plain = model.model.diffusion_model.get_submodule(LAYER)(x)
    parts = made("LoRA", SHAPE)
    delta = parts[".lora_up.weight"].double() @ parts[".lora_down.weight"].double() * 0.75
    assert apart(y - plain, 0.8 * x.double() @ delta.T) <= 1e-5
    assert apart(sample_wan(out, steps=1), sample_wan(stacked(exact, rows, "merge"), steps=1)) <= 1e-4
    assert hooks(model) == 0


def test_what_can_be_packed_again_is_merged(files: Path, stacked: Stacks) -> None:
    """If that is asked for."""
    for name, form in FORMATS.items():
        model, _ = packed_wan(form)
        out = stacked(model, [row("a", 0.8)], "merge")
        assert (len(out.injections), len(out.patches)) == (0, 1), name


def test_what_is_neither_live_nor_merged_is_refused(loras: Path, stacked: Stacks) -> None:
    """Before the run, in words."""
    model, _ = one_way("OneWay")
    save_file(
        {
            "diffusion_model.blocks.0.self_attn.v.reshape_weight": torch.tensor([256, 320]),
            **named(f"diffusion_model.{LAYER}", made("LoRA", (256, 320))),
        },
        loras / "wide.safetensors",
    )
    for mode in ("auto", "merge", "live"):
        with pytest.raises(Exception, match=r"wide\.safetensors: .* packed as OneWay\. It cannot be packed again"):
            stacked(model, [row("wide")], mode)


def small_clip() -> Any:
    """A CLIP of one narrow layer, by ComfyUI's own classes."""
    config = json.loads((Path(sd1_clip.__file__).parent / "sd1_clip_config.json").read_text())
    config |= {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "num_hidden_layers": 1}
    target = supported_models_base.ClipTarget(sd1_clip.SD1Tokenizer, sd1_clip.SD1ClipModel)
    target.params = {"textmodel_json_config": config, "clip_model": sd1_clip.SDClipModel}
    return comfy.sd.CLIP(target)


def test_a_text_encoder_that_cannot_be_merged_is_refused(loras: Path, stack_node: Any) -> None:
    """It has no live path; without a weight for it, and where it can be packed again, all is well."""
    layer = "text_model.encoder.layers.0.self_attn.q_proj"
    save_file(named(f"lora_te_{layer.replace('.', '_')}", made("LoRA", (64, 64))), loras / "te.safetensors")
    model, clip = load_wan(wan_state()), small_clip()

    def run(weight: float) -> Any:
        rows = [row("te", 0.5, clip=weight)]
        return stack_node.execute(model=model, clip=clip, loras=json.dumps({"version": 1, "loras": rows})).args[1]

    assert len(run(0.8).patcher.patches) == 1
    module = clip.cond_stage_model.get_submodule(f"clip_l.transformer.{layer}")
    with torch.inference_mode():
        weight = quant_ops.QuantizedTensor.from_float(torch.ones(64, 64), "TensorCoreFP8E4M3Layout")
        module.weight = torch.nn.Parameter(weight, requires_grad=False)
    assert len(run(0.8).patcher.patches) == 1
    with torch.inference_mode():
        packed = quant_ops.QuantizedTensor(weight._qdata, "OneWayLayout", weight._params)
        module.weight = torch.nn.Parameter(packed, requires_grad=False)
    sentence = (
        r"te\.safetensors changes a text encoder whose weights are packed as OneWay\. They cannot be packed again\. "
        "Set its CLIP weight to 0"
    )
    with pytest.raises(Exception, match=sentence):
        run(0.8)
    assert run(0.0) is clip
