"""The made-up LoRAs: the same numbers in every spelling."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorchestra.demo.loras import SPELLINGS, Spelling, layers, write_lora
from lorchestra.errors import AdapterError, LorchestraError

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

LAYERS = {
    **layers("input_blocks.1.1.*.attn1.to_q", "output_blocks.3.1.*.attn2.to_out.0"),
    **layers("text_model.encoder.layers.3.self_attn.q_proj"),
}


def updates(path: Path) -> list[torch.Tensor]:
    """alpha / rank · up · down of every layer, in the order of the shapes and values."""
    tensors = {name: tensor.float() for name, tensor in safetensors.load_file(path).items()}
    found: list[torch.Tensor] = []
    for name, down in tensors.items():
        for one, other in (("lora_down", "lora_up"), ("lora_A", "lora_B"), (".down.", ".up.")):
            if one in name:
                alpha = tensors.get(name.replace(".lora_down.weight", ".alpha"))
                ratio = 1.0 if alpha is None or alpha is down else float(alpha) / len(down)
                found.append(ratio * tensors[name.replace(one, other)] @ down)
    return sorted(found, key=lambda update: (update.shape, float(update.sum())))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_describe_the_same_update(tmp_path: Path, spelling: Spelling) -> None:
    options = {"rank": 4, "alpha": 2, "seed": 7, "dtype": torch.float32}
    expected = updates(write_lora(tmp_path / "kohya.safetensors", LAYERS, "kohya", **options))
    given = updates(write_lora(tmp_path / "other.safetensors", LAYERS, spelling, **options))
    assert len(given) == len(expected) == len(LAYERS)
    for one, other in zip(given, expected, strict=True):
        assert torch.allclose(one, other)


@pytest.mark.parametrize(
    ("spelling", "keys"),
    [
        (
            "kohya",
            (
                "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
                "lora_unet_up_blocks_1_attentions_1_transformer_blocks_0_attn2_to_out_0.alpha",
                "lora_te_text_model_encoder_layers_3_self_attn_q_proj.lora_up.weight",
            ),
        ),
        (
            "diffusers-processor",
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight",
                "unet.up_blocks.1.attentions.1.transformer_blocks.0.attn2.processor.to_out_lora.up.weight",
                "text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora_linear_layer.down.weight",
            ),
        ),
        (
            "diffusers",
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora.up.weight",
                "text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora.down.weight",
            ),
        ),
        (
            "peft",
            (
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight",
                "text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora_B.weight",
            ),
        ),
        (
            "native",
            (
                "diffusion_model.input_blocks.1.1.transformer_blocks.0.attn1.to_q.lora_A.weight",
                "text_encoders.clip_l.transformer.text_model.encoder.layers.3.self_attn.q_proj.lora_B.weight",
            ),
        ),
    ],
)
def test_names_are_spelled_as_trainers_do(tmp_path: Path, spelling: Spelling, keys: tuple[str, ...]) -> None:
    tensors = safetensors.load_file(write_lora(tmp_path / "a.safetensors", LAYERS, spelling))
    assert set(keys) <= tensors.keys()


def test_convolutions_with_and_without_a_middle(tmp_path: Path) -> None:
    convolution = layers("input_blocks.1.0.in_layers.2")
    name = "lora_unet_down_blocks_0_resnets_0_conv1"
    plain = safetensors.load_file(write_lora(tmp_path / "a.safetensors", convolution, rank=2))
    assert plain[f"{name}.lora_down.weight"].shape == (2, 320, 3, 3)
    assert plain[f"{name}.lora_up.weight"].shape == (320, 2, 1, 1)
    tucker = safetensors.load_file(write_lora(tmp_path / "b.safetensors", convolution, rank=2, tucker=True))
    assert tucker[f"{name}.lora_down.weight"].shape == (2, 320, 1, 1)
    assert tucker[f"{name}.lora_mid.weight"].shape == (2, 2, 3, 3)


def test_what_a_spelling_cannot_say_is_an_error(tmp_path: Path) -> None:
    convolution = layers("input_blocks.1.0.in_layers.2")
    with pytest.raises(AdapterError, match="attention layers only"):
        write_lora(tmp_path / "a.safetensors", convolution, "diffusers-processor")
    with pytest.raises(AdapterError, match="diffusers has no name"):
        write_lora(tmp_path / "a.safetensors", {"no.such.layer": (4, 4)}, "peft")
    with pytest.raises(LorchestraError, match="kohya spelling"):
        write_lora(tmp_path / "a.safetensors", convolution, "peft", tucker=True)
