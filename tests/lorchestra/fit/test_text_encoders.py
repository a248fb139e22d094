"""LoRAs for text encoders alone: what they are for, whether the CLIP has it, and what they do to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.closeness import apart, noise
from support.lora_files import factors, named, read, weight, write
from support.synthetic import header

from lorchestra.apply.bake import bake
from lorchestra.architectures.encoders import find_encoder
from lorchestra.architectures.sites import Shape
from lorchestra.errors import StackError
from lorchestra.fit.outcome import COMPATIBLE, INCOMPATIBLE, check_file
from lorchestra.lora.examined import examine
from lorchestra.models.base import base_by_name
from lorchestra.spelling import kinds
from lorchestra.stack import Entry, Stack


def llm(prefix: str, encoder: str, layers: int = 3) -> dict[str, Shape]:
    """PEFT's tensors for some layers of a language model; `#` in the prefix is the layer's number."""
    row = find_encoder(encoder)
    assert row
    tensors: dict[str, Shape] = {}
    for number in range(layers):
        query, key = row.query or row.width, row.key or row.query or row.width
        for name, (out, inner) in {
            "self_attn.q_proj": (query, row.width), "self_attn.v_proj": (key, row.width),
            "self_attn.o_proj": (row.width, query), "mlp.down_proj": (row.width, row.mlp),
        }.items():  # fmt: skip
            layer = f"{prefix}{number}.{name}"
            layer = layer.replace(".", "_") if prefix.endswith("_") else layer
            tensors |= {f"{layer}.lora_A.weight": (8, inner), f"{layer}.lora_B.weight": (out, 8)}
    return tensors


LLMS = [
    ("gemma3_12b", "ltx2_19b"),
    ("qwen25_7b", "qwen_image"),
    ("qwen3_4b", "z_image"),
    ("llama3_8b", "hunyuan_video"),
]
PREFIXES = [
    "text_encoders.transformer.model.layers.",
    "text_encoders.{word}.transformer.model.layers.",
    "text_encoders.{word}.model.layers.",
    "text_encoders.model.layers.",
    "text_encoder.model.layers.",
    "text_encoder.model.language_model.layers.",
    "text_encoder.language_model.model.layers.",
    "lora_te_layers_",
    "lora_te1_model_layers_",
    "model.language_model.layers.",
    "language_model.model.layers.",
    "model.layers.",
    "base_model.model.layers.",
    "base_model.model.model.layers.",
    "base_model.model.model.language_model.layers.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("encoder", "architecture"), LLMS)
def test_a_language_model_s(encoder: str, architecture: str, prefix: str) -> None:
    row = find_encoder(encoder)
    assert row
    examined = examine(header(llm(prefix.format(word=row.comfyui), encoder)))
    assert (examined.kind, examined.problem) == (kinds.LORA, None)
    base, flux = base_by_name(architecture), base_by_name("flux1_dev")
    assert base and flux
    found = check_file(examined, base)
    assert (found.verdict, found.finding) == (COMPATIBLE, "all 12 modules fit")
    if "te1" not in prefix:  # one encoder among several for kohya
        assert architecture in examined.identity.architectures
    assert any(f"it changes a text encoder alone, {row.title}" in sentence for sentence in examined.warnings)
    refused = check_file(examined, flux)
    assert refused.verdict == INCOMPATIBLE
    assert f"made for the text encoder {row.title}" in refused.finding
    assert "0 of 12 modules fit the connected CLIP" in refused.finding


@pytest.mark.parametrize(
    "prefix",
    ["lora_te2_encoder_block_", "lora_te3_encoder_block_", "text_encoder_2.encoder.block.", "encoder.block.",
     "text_encoders.t5xxl.transformer.encoder.block.", "t5.encoder.block.", "text_encoders.transformer.encoder.block."],
)  # fmt: skip
def test_t5(prefix: str) -> None:
    tensors: dict[str, Shape] = {}
    for name, (out, inner) in {
        "0.layer.0.SelfAttention.q": (4096, 4096), "1.layer.1.DenseReluDense.wo": (4096, 10240)
    }.items():  # fmt: skip
        layer = prefix + (name.replace(".", "_") if prefix.endswith("_") else name)
        tensors |= {f"{layer}.lora_A.weight": (8, inner), f"{layer}.lora_B.weight": (out, 8)}
    examined = examine(header(tensors))
    flux, sd15 = base_by_name("flux1_dev"), base_by_name("sd15")
    assert flux and sd15
    assert check_file(examined, flux).finding == "all 2 modules fit"
    refused = check_file(examined, sd15)
    assert refused.verdict == INCOMPATIBLE and "made for the text encoder T5-XXL" in refused.finding
    assert "flux1_dev" in examined.identity.architectures


@pytest.mark.parametrize(
    "start", ["text_encoders.transformer.", "text_encoders.gemma3_12b.transformer.model.", "text_encoder."]
)
def test_the_vision_tower_is_left_aside(start: str) -> None:
    tensors = llm("text_encoders.transformer.model.layers.", "gemma3_12b")
    for layer in ("vision_tower.vision_model.encoder.layers.0.self_attn.q_proj", "multi_modal_projector.x"):
        name = f"{start}{layer}"
        tensors |= {f"{name}.lora_A.weight": (8, 1152), f"{name}.lora_B.weight": (1152, 8)}
    base = base_by_name("ltx2_19b")
    assert base
    found = check_file(examine(header(tensors)), base)
    assert found.verdict == COMPATIBLE and found.applied == 12
    assert found.finding == (
        "all 12 modules fit; 2 modules for other parts of a text encoder, e.g. its vision tower, are left aside"
    )


def test_without_a_clip_nothing_is_refused() -> None:
    """As with any LoRA's text encoder part: the sentence says that it does nothing."""
    base = base_by_name("ltx2_19b")
    assert base
    alone = type(base)(base.name, {"model": base.targets["model"]}, base.find_architectures)
    found = check_file(examine(header(llm("text_encoders.transformer.model.layers.", "gemma3_12b"))), alone)
    assert found.verdict == COMPATIBLE and found.finding.startswith("nothing is applied; 12 text encoder modules")


@pytest.mark.parametrize(
    ("architecture", "layer"),
    [
        ("sd15", "lora_te_text_model_final_layer_norm"),
        ("sd15", "lora_te_text_model_encoder_layers_3_layer_norm1"),
        ("sdxl", "lora_te2_text_model_final_layer_norm"),
        ("flux1_dev", "lora_te3_encoder_final_layer_norm"),
        ("flux1_dev", "text_encoders.t5xxl.transformer.encoder.block.5.layer.1.layer_norm"),
        ("ltx2_19b", "text_encoders.transformer.model.norm"),
        ("ltx2_19b", "text_encoder.model.language_model.layers.7.pre_feedforward_layernorm"),
    ],
)
@pytest.mark.parametrize("end", [".diff", ".w_norm"])
def test_norms_have_a_place(architecture: str, layer: str, end: str) -> None:
    base = base_by_name(architecture)
    assert base
    width = {"sd15": 768, "sdxl": 1280, "flux1_dev": 4096, "ltx2_19b": 3840}[architecture]
    assert check_file(examine(header({f"{layer}{end}": (width,)})), base).finding == "all 1 modules fit"


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        ("text_encoders.t5xxl.transformer.shared", (32128, 4096)),
        ("lora_te3_shared", (32128, 4096)),
        ("text_encoder_2.encoder.embed_tokens", (32128, 4096)),
        ("text_encoder.text_model.embeddings.token_embedding", (49408, 768)),
        ("lora_te1_text_model_embeddings_position_embedding", (77, 768)),
        ("lora_te1_text_projection", (768, 768)),
    ],
)
def test_embeddings_have_a_place(layer: str, shape: Shape) -> None:
    base = base_by_name("flux1_dev")
    assert base
    assert check_file(examine(header({f"{layer}.diff": shape})), base).finding == "all 1 modules fit"
    halves = {f"{layer}.lora_A.weight": (4, shape[1]), f"{layer}.lora_B.weight": (shape[0], 4)}
    assert check_file(examine(header(halves)), base).finding == "all 1 modules fit"
    table = {f"{layer}.lora_embedding_A": (4, shape[0]), f"{layer}.lora_embedding_B": (shape[1], 4)}
    assert check_file(examine(header(table)), base).finding == "all 1 modules fit"


def test_everything_of_an_encoder_is_baked_as_the_formula_has_it(tmp_path: Path) -> None:
    """In SD 2's checkpoint, whose encoder has OpenCLIP's names, and its projection transposed."""
    start, width, tokens, out = "cond_stage_model.model.", 12, 30, 8
    tensors = {
        f"{start}token_embedding.weight": weight((tokens, width), 1),
        f"{start}positional_embedding": weight((7, width), 2),
        f"{start}ln_final.weight": weight((width,), 3),
        f"{start}ln_final.bias": weight((width,), 4),
        f"{start}text_projection": weight((width, out), 5),
        f"{start}transformer.resblocks.0.ln_1.weight": weight((width,), 6),
        "model.diffusion_model.out.2.weight": weight((4, 4, 3, 3), 7),
    }
    base = write(tmp_path / "base.safetensors", tensors)
    te = "lora_te_text_model"
    norm, bias, block = noise(width, seed=11), noise(width, seed=12), noise(width, seed=13)
    positions, projection = noise(7, width, seed=14), factors((out, width), 2, seed=15, alpha=1)
    a, b = noise(3, tokens, seed=16), noise(width, 3, seed=17)
    path = write(
        tmp_path / "lora.safetensors",
        {
            f"{te}_final_layer_norm.w_norm": norm,
            f"{te}_final_layer_norm.b_norm": bias,
            f"{te}_encoder_layers_0_layer_norm1.diff": block,
            f"{te}_embeddings_position_embedding.diff": positions,
            "text_encoder.text_model.embeddings.token_embedding.lora_embedding_A": a,
            "text_encoder.text_model.embeddings.token_embedding.lora_embedding_B": b,
            **named("lora_te_text_projection", projection),
        },
    )
    done = bake(base, Stack((Entry(str(path), True, 0.3, 0.5),)).checked(), tmp_path / "out.safetensors")
    assert done.outcomes[0].finding == "all 6 modules fit"
    result = read(tmp_path / "out.safetensors")
    wanted = {
        "token_embedding.weight": (b @ a).T,
        "positional_embedding": positions,
        "ln_final.weight": norm,
        "ln_final.bias": bias,
        "text_projection": (projection["up"] @ projection["down"]).T * 0.5,
        "transformer.resblocks.0.ln_1.weight": block,
    }
    for name, delta in wanted.items():  # with the clip's weight
        before = tensors[start + name]
        assert apart(result[start + name] - before, 0.5 * delta) < 1e-5, name
    assert torch.equal(result["model.diffusion_model.out.2.weight"], tensors["model.diffusion_model.out.2.weight"])


def test_a_file_for_another_encoder_is_refused_when_it_is_applied(tmp_path: Path) -> None:
    base = write(
        tmp_path / "base.safetensors",
        {
            "model.diffusion_model.out.2.weight": weight((4, 4, 3, 3), 7),
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": weight((16, 8)),
        },
    )
    tensors = {name: torch.zeros(shape) for name, shape in llm("text_encoder.model.layers.", "qwen3_0_6b", 1).items()}
    path = write(tmp_path / "lora.safetensors", tensors)
    with pytest.raises(StackError, match=r"made for the text encoder Qwen3 0\.6B, which .*Anima.* Connect the CLIP"):
        bake(base, Stack((Entry(str(path)),)).checked(), tmp_path / "out.safetensors")
