"""One layer of a file over several of a real ComfyUI model, and LoRAs for text encoders alone, on its own classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import comfy.model_patcher
import comfy.ops
import comfy.sd
import pytest
import torch
from comfy import clip_model
from comfy.text_encoders import llama, t5
from safetensors.torch import save_file
from support.algorithm_files import KINDS, made
from support.live_runs import Stacks, apart, hooks, named, noise, row, sample_wan
from support.lora_files import factors
from support.models import load_unet, patched, plain

CUT = ("LoRA", "LoHa", "LoKr", "GLoRA", "DoRA by row", "(IA)³ of PEFT", "diff", "set")


@pytest.fixture(scope="module")
def wan() -> Any:
    """A small Wan, whose q, k and v are three layers."""
    pytest.importorskip("comfy.quant_ops")  # what makes it here needs them
    from support.quantized import load_wan, wan_state

    return load_wan(wan_state())


@pytest.fixture(scope="module")
def unet() -> Any:
    """A model that nothing is done to."""
    return load_unet(torch.float32)


@pytest.fixture
def stacked(stack_node: Any) -> Stacks:
    """Models with rows of LoRAs on them."""
    return Stacks(stack_node)


@pytest.mark.parametrize("kind", CUT)
def test_a_fused_layer_is_merged_and_live_as_the_formula_has_it(
    kind: str, wan: Any, loras: Path, stacked: Stacks
) -> None:
    bare = plain(wan)
    keys = [f"diffusion_model.blocks.0.self_attn.{part}.weight" for part in "qkv"]
    whole = torch.cat([bare[key] for key in keys]).double()
    parts = made(kind, tuple(whole.shape))
    save_file(named("diffusion_model.blocks.0.self_attn.qkv", parts), loras / "a.safetensors")
    rows = [row("a", 0.8)]
    merged = stacked(wan, rows, "merge")
    assert "all 1 modules fit" in stacked.report
    wanted = (whole + 0.8 * KINDS[kind].delta(parts, whole)).split([len(bare[key]) for key in keys])
    found = patched(merged)
    for key, weight in zip(keys, wanted, strict=True):
        assert apart(found[key] - bare[key], weight - bare[key].double()) < 1e-4, key
    live = stacked(wan, rows)
    result = sample_wan(live)
    assert apart(result, sample_wan(merged)) <= 1e-5
    assert apart(result, sample_wan(wan)) > 1e-4
    assert hooks(wan) == 0


class Encoders(torch.nn.Module):
    """What a CLIP's model is to the patcher: encoders by ComfyUI's words, each with its `transformer`."""

    def __init__(self, **encoders: torch.nn.Module) -> None:
        super().__init__()
        for word, transformer in encoders.items():
            holder = torch.nn.Module()
            holder.transformer = transformer
            setattr(self, word, holder)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.05)


def clip_of(**encoders: torch.nn.Module) -> Any:
    """A CLIP with small encoders of ComfyUI's classes."""
    clip = comfy.sd.CLIP(no_init=True)
    model = Encoders(**encoders)
    cpu = torch.device("cpu")
    clip.cond_stage_model = model
    clip.patcher = comfy.model_patcher.ModelPatcher(model, cpu, cpu)
    clip.tokenizer, clip.layer_idx, clip.tokenizer_options = None, None, {}
    clip.use_clip_schedule, clip.apply_hooks_to_conds = False, None
    return clip


OPS = comfy.ops.disable_weight_init
CPU = torch.device("cpu")


def gemma() -> torch.nn.Module:
    """Gemma 3's layers, two of them and small; without its vision tower."""
    if not hasattr(llama, "Gemma3_12B"):
        pytest.skip("this ComfyUI has no Gemma 3 12B")
    config = llama.Gemma3_12B_Config(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1,
    )  # fmt: skip
    config.head_dim = 8
    found = torch.nn.Module()
    found.model = llama.Llama2_(config, device=CPU, dtype=torch.float32, ops=OPS)
    return found


def small_t5() -> torch.nn.Module:
    config = {
        "d_ff": 24, "d_kv": 4, "d_model": 16, "dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True,
        "model_type": "t5", "num_heads": 4, "num_layers": 2, "vocab_size": 40,
    }  # fmt: skip
    return t5.T5(config, torch.float32, CPU, OPS)


def small_clip() -> torch.nn.Module:
    config = {
        "hidden_act": "quick_gelu", "projection_dim": 16, "hidden_size": 16, "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_hidden_layers": 2, "eos_token_id": 39, "vocab_size": 40, "max_position_embeddings": 7,
    }  # fmt: skip
    return clip_model.CLIPTextModel(config, torch.float32, CPU, OPS)


def applied(
    stack_node: Any, unet: Any, clip: Any, loras: Path, tensors: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], str]:
    """What the row changes in the CLIP at a clip weight of 0.5, by key; and the report."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, loras / "te.safetensors")
    stack = json.dumps({"version": 1, "loras": [row("te", 0.0, clip=0.5)]})
    _, out, _, report = stack_node.execute(model=unet, clip=clip, loras=stack).args[:4]
    before, after = plain(clip.patcher), patched(out.patcher)
    return {key: after[key] - weight for key, weight in before.items() if not torch.equal(after[key], weight)}, report


@pytest.mark.parametrize(
    "start",
    ["text_encoders.transformer.model.layers", "text_encoders.gemma3_12b.transformer.model.layers",
     "text_encoder.model.language_model.layers", "model.language_model.layers"],
)  # fmt: skip
def test_gemma_for_ltx_2(start: str, stack_node: Any, unet: Any, loras: Path) -> None:
    """With a fused q, k and v of unequal heights, and a part for the vision tower that is not loaded."""
    clip = clip_of(gemma3_12b=gemma())
    qkv, up, aside = (factors(shape, 2, seed=seed) for seed, shape in enumerate(((32, 16), (24, 16), (9, 9))))
    changed, report = applied(
        stack_node, unet, clip, loras,
        {
            **_lora(f"{start}.1.self_attn.qkv_proj", qkv), **_lora(f"{start}.0.mlp.up_proj", up),
            **_lora(f"{start.rpartition('.')[0]}.vision_tower.x" if "model.layers" in start
                    else f"{start.replace('layers', 'vision_tower.x')}", aside),
        },
    )  # fmt: skip
    assert "all 2 modules fit" in report and "vision tower" in report
    layer = "gemma3_12b.transformer.model.layers"
    delta = 0.5 * qkv["up"].double() @ qkv["down"].double()
    for part, rows in zip("qkv", delta.split([16, 8, 8]), strict=True):
        assert apart(changed.pop(f"{layer}.1.self_attn.{part}_proj.weight"), rows) < 1e-5
    assert apart(changed.pop(f"{layer}.0.mlp.up_proj.weight"), 0.5 * up["up"].double() @ up["down"].double()) < 1e-5
    assert not changed


def _lora(name: str, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{name}.lora_A.weight": parts["down"], f"{name}.lora_B.weight": parts["up"]}


def test_norms_embeddings_and_projections(stack_node: Any, unet: Any, loras: Path) -> None:
    """Layers of encoders that are not linear ones."""
    clip = clip_of(clip_l=small_clip(), t5xxl=small_t5())
    te = "lora_te1_text_model"
    tokens = clip.cond_stage_model.clip_l.transformer.text_model.embeddings.token_embedding.weight.shape[0]
    tensors = {
        f"{te}_encoder_layers_1_layer_norm2.diff": noise(16, seed=1),
        f"{te}_final_layer_norm.w_norm": noise(16, seed=2),
        f"{te}_final_layer_norm.b_norm": noise(16, seed=3),
        f"{te}_embeddings_token_embedding.diff": noise(tokens, 16, seed=4),
        "text_encoder.text_model.embeddings.position_embedding.diff": noise(7, 16, seed=5),
        "lora_te1_text_projection.diff": noise(16, 16, seed=6),
        "lora_te3_encoder_block_1_layer_0_layer_norm.diff": noise(16, seed=7),
        "text_encoders.t5xxl.transformer.encoder.final_layer_norm.w_norm": noise(16, seed=8),
        "lora_te3_encoder_block_0_layer_1_DenseReluDense_wi_1.diff": noise(24, 16, seed=9),
    }
    wanted = dict(
        zip(
            (
                "clip_l.transformer.text_model.encoder.layers.1.layer_norm2.weight",
                "clip_l.transformer.text_model.final_layer_norm.weight",
                "clip_l.transformer.text_model.final_layer_norm.bias",
                "clip_l.transformer.text_model.embeddings.token_embedding.weight",
                "clip_l.transformer.text_model.embeddings.position_embedding.weight",
                "clip_l.transformer.text_projection.weight",
                "t5xxl.transformer.encoder.block.1.layer.0.layer_norm.weight",
                "t5xxl.transformer.encoder.final_layer_norm.weight",
                "t5xxl.transformer.encoder.block.0.layer.1.DenseReluDense.wi_1.weight",
            ),
            tensors.values(),
            strict=True,
        )
    )
    a, b = noise(3, 40, seed=10), noise(16, 3, seed=11)
    tensors |= {"text_encoder_2.shared.lora_embedding_A": a, "text_encoder_2.shared.lora_embedding_B": b}
    wanted["t5xxl.transformer.shared.weight"] = (b @ a).T
    changed, report = applied(stack_node, unet, clip, loras, tensors)
    assert f"all {len(wanted)} modules fit" in report
    assert changed.keys() == wanted.keys()
    for key, delta in wanted.items():
        assert apart(changed[key], 0.5 * delta) < 1e-5, key


def test_an_encoder_that_is_not_connected_is_refused_in_words(stack_node: Any, unet: Any, loras: Path) -> None:
    clip = clip_of(clip_l=small_clip())
    tensors = _lora("text_encoders.transformer.model.layers.0.self_attn.q_proj", factors((4096, 3840), 1))
    with pytest.raises(Exception, match=r"made for the text encoder Gemma 3 12B, .* 0 of 1 modules fit the connected"):
        applied(stack_node, unet, clip, loras, tensors)
