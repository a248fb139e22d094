"""The encoders' layers against ComfyUI's own text encoders, built without memory."""

from __future__ import annotations

import json
from pathlib import Path

import comfy.ops
import pytest
import torch
from comfy import clip_model
from comfy.text_encoders import bert, llama, t5

from lorchestra.architectures.encoders import ENCODERS, LLM, find_encoder

COMFY = Path(clip_model.__file__).parent
OPS = comfy.ops.disable_weight_init
META = torch.device("meta")
T5_CONFIGS = {
    "t5xxl": "t5_config_xxl", "t5xxl_old": "t5_old_config_xxl", "umt5xxl": "umt5_config_xxl",
    "umt5base": "umt5_config_base", "mt5xl": "mt5_config_xl", "pile_t5xl": "t5_pile_config_xl",
    "t5base": "t5_config_base", "byt5_small": "byt5_config_small_glyph",
}  # fmt: skip
LLMS = {
    "gemma2_2b": "Gemma2_2B", "gemma3_4b": "Gemma3_4B", "gemma3_12b": "Gemma3_12B", "llama3_8b": "Llama2",
    "mistral3_24b": "Mistral3Small24B", "ministral3_3b": "Ministral3_3B", "qwen25_3b": "Qwen25_3B",
    "qwen25_7b": "Qwen25_7BVLI", "qwen3_0_6b": "Qwen3_06B", "qwen3_1_7b": "Ovis25_2B", "qwen3_4b": "Qwen3_4B",
    "qwen3_8b": "Qwen3_8B",
}  # fmt: skip
CLIPS = {"clip_l": "sd1_clip_config", "clip_h": "text_encoders/sd2_clip_config", "clip_g": "clip_config_bigg"}


def built(encoder: str) -> torch.nn.Module | None:
    """ComfyUI's model of it; None for those that this ComfyUI does not have."""
    if encoder in CLIPS:
        config = json.loads((COMFY / f"{CLIPS[encoder]}.json").read_text())
        return clip_model.CLIPTextModel(config, torch.float32, META, OPS)
    if encoder in T5_CONFIGS:
        path = COMFY / "text_encoders" / f"{T5_CONFIGS[encoder]}.json"
        return t5.T5(json.loads(path.read_text()), torch.float32, META, OPS) if path.is_file() else None
    if encoder == "bert":
        config = json.loads((COMFY / "text_encoders" / "hydit_clip.json").read_text())
        return bert.BertModel(config, torch.float32, META, OPS)
    if encoder == "jina_clip_2":
        jina_clip_2 = pytest.importorskip("comfy.text_encoders.jina_clip_2")
        return jina_clip_2.XLMRobertaModel({}, torch.float32, META, OPS)
    if encoder in LLMS:
        family = getattr(llama, LLMS[encoder], None)
        return family({}, torch.float32, META, OPS) if family else None
    return None


@pytest.mark.parametrize("encoder", [*CLIPS, *T5_CONFIGS, *LLMS, "bert", "jina_clip_2"])
def test_every_layer_has_comfyui_s_name_and_shape(encoder: str) -> None:
    model = built(encoder)
    if model is None:
        pytest.skip("this ComfyUI has no such text encoder")
    row = find_encoder(encoder)
    assert row is not None
    weights = {
        name.removesuffix(".weight"): tuple(weight.shape)
        for name, weight in model.state_dict().items()
        if name.endswith(".weight") and weight.dim() == 2 and not name.startswith("vision_model.")
    }
    said = {name: shape for name, shape in row.shapes() if name in weights}
    assert said == {name: weights[name] for name in said}
    rest = {name for name in weights if name not in said}
    assert not {name for name in rest if "layers." in name or "block." in name or "layer." in name} - BIASES
    assert len(said) >= row.layers * 4


BIASES = {f"encoder.block.{number}.layer.0.SelfAttention.relative_attention_bias" for number in range(24)}
"""T5's table of positions, which no LoRA changes."""


def test_llms_that_share_a_model_with_another() -> None:
    """Qwen3-VL's text half is Qwen3 of the same size."""
    for twin, encoder in (("qwen3vl_4b", "qwen3_4b"), ("qwen3vl_8b", "qwen3_8b")):
        rows = [find_encoder(name) for name in (twin, encoder)]
        assert rows[0] is not None and rows[1] is not None
        assert dict(rows[0].shapes()) == dict(rows[1].shapes())
    checked = {*LLMS, "qwen3vl_4b", "qwen3vl_8b", "qwen3vl_32b"}
    assert all(encoder.id in checked for encoder in ENCODERS if encoder.kind == LLM)
