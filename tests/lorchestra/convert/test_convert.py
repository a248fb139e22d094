"""Conversions: the same update on the same model, whatever the names, or an error that names what cannot be said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from support.algorithm_files import MATRIX, made
from support.lora_files import BLOCK, UNET_SHAPES, factors, named, read, weight, write
from torch import Tensor

from lorchestra.architectures.sites import Targets
from lorchestra.convert import convert
from lorchestra.convert.halves import Half, folded, joined
from lorchestra.convert.layers import layers_by_name
from lorchestra.errors import AdapterError, CheckpointError, LorchestraError
from lorchestra.files.header import read_header
from lorchestra.lora.cache import open_lora
from lorchestra.models.placing import place
from lorchestra.spelling.modules import read_modules
from lorchestra.spelling.scales import METADATA_KEY
from lorchestra.spelling.targets import COMFYUI, DIFFUSERS, KOHYA, TARGETS

FLUX: Mapping[str, tuple[int, ...]] = {
    "img_in": (32, 16),
    "double_blocks.0.img_attn.qkv": (96, 32),
    "double_blocks.0.txt_attn.qkv": (96, 32),
    "double_blocks.0.img_attn.proj": (32, 32),
    "double_blocks.0.img_mlp.0": (128, 32),
    "double_blocks.0.img_mod.lin": (192, 32),
    "single_blocks.0.linear1": (224, 32),
    "single_blocks.0.linear2": (32, 160),
    "final_layer.adaLN_modulation.1": (64, 32),
}
HUNYUAN = {
    "img_in.proj": (32, 16), "txt_in.individual_token_refiner.blocks.0.self_attn.qkv": (96, 32),
    "double_blocks.0.img_attn.qkv": (96, 32), "double_blocks.0.img_attn.proj": (32, 32),
}  # fmt: skip
Z_IMAGE = {
    "noise_refiner.0.attention.qkv": (96, 32), "layers.0.attention.qkv": (96, 32), "layers.0.attention.out": (32, 32),
    "layers.0.feed_forward.w1": (64, 32),
}  # fmt: skip
MODELS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "flux1_dev": FLUX, "hunyuan_video": HUNYUAN, "z_image": Z_IMAGE, "sd15": UNET_SHAPES,
}  # fmt: skip
"""Architectures at widths that cost nothing."""


def checkpoint(folder: Path, architecture: str) -> Path:
    tensors: dict[str, Tensor] = {}
    for number, (name, shape) in enumerate(MODELS[architecture].items()):
        tensors[f"model.diffusion_model.{name}.weight"] = weight(shape, number)
        tensors[f"model.diffusion_model.{name}.bias"] = weight(shape[:1], 100 + number)
    return write(folder / f"{architecture}.safetensors", tensors)


def converted(folder: Path, lora: Path, to: str, architecture: str, name: str = "out.safetensors") -> Path:
    output = folder / name
    done = convert(lora, output, to, architecture=architecture, model=checkpoint(folder, architecture), force=True)
    assert done.architecture == architecture
    return output


def deltas(lora: Path, model: Path) -> dict[str, Tensor]:
    """What the file adds to the model's tensors, fp64, by their native names; nothing of `convert` is used."""
    from lorchestra.models.checkpoint import targets

    weights = {name: tensor.double() for name, tensor in read(model).items()}
    places: Targets = targets({name: tuple(tensor.shape) for name, tensor in weights.items()})
    file = open_lora(lora)
    placement = place(file.reading.modules, places)
    assert not placement.unmatched and not placement.misshapen and not placement.unused
    result: dict[str, Tensor] = {}
    for placed in placement.placed:
        site = placed.site
        whole = weights[site.key]
        start, length = site.place.offset[1:] if site.place.offset else (0, whole.shape[0])
        part = whole[start : start + length]
        delta = file.adapter(placed.module).update(exchanged(part) if site.place.swapped else part)
        total = result.setdefault(site.key, torch.zeros_like(whole))
        total[start : start + length] += exchanged(delta) if site.place.swapped else delta
    return result


def exchanged(tensor: Tensor) -> Tensor:
    first, second = tensor.chunk(2)
    return torch.cat([second, first])


def assert_same_update(before: Path, after: Path, model: Path, error: float = 1e-6) -> None:
    first, second = deltas(before, model), deltas(after, model)
    assert first.keys() == second.keys()
    for key, delta in first.items():
        assert (second[key] - delta).abs().max() <= error * delta.abs().max(), key


def ends(module: str, parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {module + end: tensor for end, tensor in parts.items()}


PLACES = {
    "a whole layer": ("flux1_dev", "diffusion_model.double_blocks.0.img_attn.proj", (32, 32)),
    "a part with a name": ("flux1_dev", "transformer.transformer_blocks.0.attn.to_k", (32, 32)),
    "a part without a name": ("hunyuan_video", "transformer.transformer_blocks.0.attn.to_k", (32, 32)),
    "exchanged rows": ("flux1_dev", "transformer.norm_out.linear", (64, 32)),
}
"""Where a module may be: (architecture, name in the file, shape of what it changes)."""

NO_NAME = {"(IA)³ on the input", "(IA)³ of PEFT"}
"""Kinds that ComfyUI never reads."""

NEVER: Mapping[tuple[str, str], set[str]] = {
    ("a whole layer", COMFYUI): NO_NAME,
    ("a part with a name", COMFYUI): NO_NAME,
    ("a part without a name", COMFYUI): {*MATRIX} - {"LoRA", "LoHa", "LoKr", "diff"},
    ("exchanged rows", COMFYUI): {*NO_NAME, "OFT", "BOFT"},
    **{(where, DIFFUSERS): {*MATRIX} - {"LoRA", "DoRA by row"} for where in PLACES},
}
"""(place, spelling) → kinds that cannot be said there; kohya's are ComfyUI's."""


@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("kind", MATRIX)
def test_every_algorithm_in_every_place(tmp_path: Path, kind: str, where: str, to: str) -> None:
    architecture, name, shape = PLACES[where]
    lora = write(tmp_path / "a.safetensors", ends(name, made(kind, shape)), {"modelspec.title": "x"})
    if kind in NEVER[where, COMFYUI if to == KOHYA else to]:
        with pytest.raises(AdapterError, match=rf"module {name}: .*cannot be (said|converted)"):
            converted(tmp_path, lora, to, architecture)
        assert not (tmp_path / "out.safetensors").exists()
        return
    output = converted(tmp_path, lora, to, architecture)
    # PEFT's DoRA lacks the 2⁻²³ that LyCORIS adds to every norm
    error = 1e-5 if "DoRA" in kind and to == DIFFUSERS else 1e-6
    assert_same_update(lora, output, tmp_path / f"{architecture}.safetensors", error)
    assert read_header(output).metadata["modelspec.title"] == "x"
    if to != DIFFUSERS and where in ("a whole layer", "a part with a name"):
        kept, before = read(output).values(), read(lora).values()
        if where == "a whole layer" or "LoRA" not in kind:  # those become one LoRA on the whole layer
            assert sorted(map(_bits, kept)) == sorted(map(_bits, before))


def _bits(tensor: Tensor) -> bytes:
    return bytes(tensor.contiguous().reshape(-1).view(torch.uint8).tolist())


SPELLINGS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "kohya": ("lora_unet_", {"double_blocks.0.img_attn.qkv": "double_blocks_0_img_attn_qkv",
                             "single_blocks.0.linear2": "single_blocks_0_linear2"}, "kohya"),
    "ai-toolkit": ("diffusion_model.", {"double_blocks.0.img_attn.qkv": "double_blocks.0.img_attn.qkv"}, "PEFT"),
    "diffusers": ("transformer.", {
        "q": "transformer_blocks.0.attn.to_q", "v": "transformer_blocks.0.attn.to_v",
        "mlp": "single_transformer_blocks.0.proj_mlp", "sq": "single_transformer_blocks.0.attn.to_q",
        "norm": "norm_out.linear", "mod": "transformer_blocks.0.norm1.linear",
    }, "PEFT"),
    "OneTrainer": ("lora_transformer_", {"q": "transformer_blocks_0_attn_to_q",
                                         "p": "single_transformer_blocks_0_proj_out"}, "kohya"),
    "PEFT with an adapter's name": ("base_model.model.", {"k": "transformer_blocks.0.attn.add_k_proj"},
                                    "PEFT with an adapter's name"),
    "XLabs": ("double_blocks.0.processor.", {"q": "qkv_lora1"}, "diffusers"),
}  # fmt: skip
SHAPES = {
    "double_blocks.0.img_attn.qkv": (96, 32), "single_blocks.0.linear2": (32, 160), "mlp": (128, 32), "norm": (64, 32),
    "p": (32, 160), "mod": (192, 32),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("to", TARGETS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling(tmp_path: Path, spelling: str, to: str, dtype: torch.dtype) -> None:
    prefix, names, style = SPELLINGS[spelling]
    tensors: dict[str, Tensor] = {}
    for seed, (kind, name) in enumerate(names.items()):
        shape = SHAPES.get(kind, (96, 32) if spelling == "XLabs" else (32, 32))
        alpha = (3.0, 8.0)[seed % 2] if style == "kohya" else None
        parts = factors(shape, 4, seed=seed, alpha=alpha, dtype=dtype)
        tensors |= (
            named(prefix + name, parts, style)
            if spelling != "XLabs"
            else {f"{prefix}{name}.{half}.weight": parts[half] for half in ("up", "down")}
        )
    lora = write(tmp_path / "a.safetensors", tensors)
    output = converted(tmp_path, lora, to, "flux1_dev")
    assert_same_update(lora, output, tmp_path / "flux1_dev.safetensors")
    spellings = read_modules(read_header(output)).spellings
    assert list(spellings) == [{COMFYUI: "ComfyUI native", KOHYA: "kohya", DIFFUSERS: "diffusers"}[to]]


def test_parts_of_a_layer_become_one_lora(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for seed, name in enumerate("qkv"):
        tensors |= named(
            f"lora_transformer_transformer_blocks_0_attn_to_{name}", factors((32, 32), 4, seed=seed, alpha=2)
        )
    output = converted(tmp_path, write(tmp_path / "a.safetensors", tensors), COMFYUI, "flux1_dev")
    found = read(output)
    name = "diffusion_model.double_blocks.0.img_attn.qkv"
    assert set(found) == {f"{name}.lora_up.weight", f"{name}.lora_down.weight", f"{name}.alpha"}
    assert found[f"{name}.alpha"] == 6  # 2/4 of each, and twelve ranks together
    up = found[f"{name}.lora_up.weight"]
    assert up.shape == (96, 12) and not up[:32, 4:].any() and not up[64:, :8].any()
    assert torch.equal(up[:32, :4], tensors["lora_transformer_transformer_blocks_0_attn_to_q.lora_up.weight"])


@pytest.mark.parametrize("alpha", [4.0, 8.0, 0.5, None])
def test_there_and_back(tmp_path: Path, alpha: float | None) -> None:
    """kohya → diffusers → kohya: fused layers are taken apart and come together again as they were."""
    tensors: dict[str, Tensor] = {}
    for seed, name in enumerate(FLUX):
        path = "lora_unet_" + name.replace(".", "_")
        tensors |= named(path, factors(FLUX[name], 4, seed=seed, alpha=alpha, dtype=torch.float16))
    lora = write(tmp_path / "a.safetensors", tensors)
    middle = converted(tmp_path, lora, DIFFUSERS, "flux1_dev", "b.safetensors")
    assert any(".single_transformer_blocks.0.proj_mlp." in name for name in read(middle))
    after = read(converted(tmp_path, middle, KOHYA, "flux1_dev", "c.safetensors"))
    assert {name for name in tensors if not name.endswith(".alpha")} == set(after)
    factor = 1.0 if alpha is None else alpha / 4
    for name, tensor in after.items():
        expected = tensors[name].double() * (factor if "lora_up" in name else 1)
        assert torch.equal(tensor.double(), expected)  # in fp32 where an eighth is too small for fp16
        assert tensor.dtype == torch.float16 or alpha == 0.5


def test_unet_names(tmp_path: Path) -> None:
    lora = write(
        tmp_path / "a.safetensors",
        named(f"diffusion_model.{BLOCK}.attn1.to_q", factors((32, 32), alpha=1))
        | named("diffusion_model.input_blocks.1.1.proj_in", factors((32, 32)))
        | named("diffusion_model.input_blocks.1.0.in_layers.2", factors((32, 32, 3, 3), tucker=True, alpha=3))
        | named("text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1", factors((3072, 768), 2)),
    )
    model = checkpoint(tmp_path, "sd15")
    kohya = tmp_path / "kohya.safetensors"
    convert(lora, kohya, KOHYA, architecture="sd15", model=model)
    start = "lora_unet_down_blocks_0_attentions_0_"
    assert {name.partition(".")[0] for name in read(kohya)} == {
        f"{start}transformer_blocks_0_attn1_to_q", f"{start}proj_in", "lora_unet_down_blocks_0_resnets_0_conv1",
        "lora_te_text_model_encoder_layers_0_mlp_fc1",
    }  # fmt: skip
    output = tmp_path / "diffusers.safetensors"
    convert(kohya, output, DIFFUSERS, architecture="sd15", model=model)
    found = read(output)
    start = "unet.down_blocks.0."
    assert found[f"{start}attentions.0.proj_in.lora_A.weight"].shape == (4, 32, 1, 1)
    assert found[f"{start}resnets.0.conv1.lora_A.weight"].shape == (4, 32, 3, 3)
    assert "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_B.weight" in found
    before, after = deltas_of_unet(lora, model), deltas_of_unet(output, model)
    assert before.keys() == after.keys() and len(before) == 3
    for key, delta in before.items():
        assert (after[key] - delta).abs().max() <= 1e-6 * delta.abs().max()


def deltas_of_unet(lora: Path, model: Path) -> dict[str, Tensor]:
    """As `deltas`, without the text encoder."""
    tensors = {name: tensor for name, tensor in read(lora).items() if "text_" not in name}
    return deltas(write(lora.parent / "unet_only.safetensors", tensors), model)


@pytest.mark.parametrize(
    ("architecture", "layer", "shape", "names"),
    [
        ("sdxl", "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1", (3072, 768),
         ("lora_te1_text_model_encoder_layers_0_mlp_fc1", "text_encoder.text_model.encoder.layers.0.mlp.fc1")),
        ("sdxl", "text_encoders.clip_g.transformer.text_model.encoder.layers.0.mlp.fc1", (5120, 1280),
         ("lora_te2_text_model_encoder_layers_0_mlp_fc1", "text_encoder_2.text_model.encoder.layers.0.mlp.fc1")),
        ("flux1_dev", "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q", (4096, 4096),
         ("lora_te3_encoder_block_0_layer_0_SelfAttention_q",
          "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q")),
        ("sd3_medium", "text_encoders.t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q", (4096, 4096),
         ("lora_te3_encoder_block_0_layer_0_SelfAttention_q",
          "text_encoder_3.encoder.block.0.layer.0.SelfAttention.q")),
        ("anima", "text_encoders.qwen3_06b.transformer.model.layers.0.self_attn.q_proj", (2048, 1024),
         ("lora_te_layers_0_self_attn_q_proj", None)),
        ("omnigen2", "text_encoders.qwen25_3b.transformer.model.layers.0.self_attn.k_proj", (256, 2048),
         ("lora_te_layers_0_self_attn_k_proj", None)),
    ],
)  # fmt: skip
def test_text_encoders(
    tmp_path: Path, architecture: str, layer: str, shape: tuple[int, ...], names: tuple[str, str | None]
) -> None:
    lora = write(tmp_path / "a.safetensors", named(layer, factors(shape, 2)))
    for to, name in zip((COMFYUI, KOHYA, DIFFUSERS), (layer, *names), strict=True):
        output = tmp_path / f"{to}.safetensors"
        if name is None:
            with pytest.raises(AdapterError, match="no LoRA for the text encoder"):
                convert(lora, output, to, architecture=architecture)
            continue
        convert(lora, output, to, architecture=architecture)
        assert all(tensor.startswith(f"{name}.lora_") for tensor in read(output))
        back = tmp_path / f"{to}_back.safetensors"
        convert(output, back, COMFYUI, architecture=architecture)
        assert set(read(back)) == set(read(lora))


def test_scales_from_settings_become_alphas(tmp_path: Path) -> None:
    settings = {
        "transformer.r": 4, "transformer.lora_alpha": 2,
        "transformer.alpha_pattern": {"transformer_blocks.0.attn.to_q": 6},
    }  # fmt: skip
    name = "transformer.transformer_blocks.0.attn.to_"
    tensors = named(f"{name}out.0", factors((32, 32), 4), "PEFT") | named(f"{name}q", factors((32, 32), 4), "PEFT")
    lora = write(tmp_path / "a.safetensors", tensors, {METADATA_KEY: json.dumps(settings), "author": "x"})
    output = converted(tmp_path, lora, COMFYUI, "flux1_dev")
    assert_same_update(lora, output, tmp_path / "flux1_dev.safetensors")
    found = read(output)
    assert found["diffusion_model.double_blocks.0.img_attn.proj.alpha"] == 2
    assert found["diffusion_model.double_blocks.0.img_attn.qkv.alpha"] == 6
    assert read_header(output).metadata == {"author": "x"}


def test_diffusers_settings(tmp_path: Path) -> None:
    """All scales are in the tensors; the settings say the ranks, and that alphas are equal to them."""
    tensors = named("lora_unet_double_blocks_0_img_attn_proj", factors((32, 32), 4, alpha=1))
    tensors |= named("lora_unet_double_blocks_0_img_attn_qkv", factors((96, 32), 8, alpha=3, dtype=torch.bfloat16))
    output = converted(tmp_path, write(tmp_path / "a.safetensors", tensors), DIFFUSERS, "flux1_dev")
    settings = json.loads(read_header(output).metadata[METADATA_KEY])
    assert settings["transformer.r"] == settings["transformer.lora_alpha"] == 8
    assert settings["transformer.rank_pattern"] == {"transformer_blocks.0.attn.to_out.0": 4}
    assert settings["transformer.alpha_pattern"] == settings["transformer.rank_pattern"]
    assert settings["transformer.target_modules"] == [
        f"transformer_blocks.0.attn.to_{name}" for name in ("k", "out.0", "q", "v")
    ]
    found = read(output)
    to_q = "transformer.transformer_blocks.0.attn.to_q"
    assert found[f"{to_q}.lora_B.weight"].dtype == torch.float32  # 3/8 of a bf16 number needs more bits
    assert found[f"{to_q}.lora_A.weight"].dtype == torch.bfloat16


def test_biases(tmp_path: Path) -> None:
    name = "transformer.transformer_blocks.0.attn.to_k"
    tensors = named(name, factors((32, 32), 4, alpha=2), "PEFT") | {f"{name}.lora_B.bias": torch.randn(32)}
    tensors |= {"diffusion_model.double_blocks.0.img_attn.proj.diff_b": torch.randn(32)}
    lora = write(tmp_path / "a.safetensors", tensors)
    output = converted(tmp_path, lora, COMFYUI, "flux1_dev")
    assert_same_update(lora, output, tmp_path / "flux1_dev.safetensors")
    found = read(output)
    bias = found["diffusion_model.double_blocks.0.img_attn.qkv.diff_b"]
    assert torch.equal(bias[32:64], tensors[f"{name}.lora_B.bias"] / 2) and not bias[:32].any()
    with pytest.raises(AdapterError, match="diffusers loads LoRA only, this is bias difference"):
        converted(tmp_path, lora, DIFFUSERS, "flux1_dev")
    tensors.pop("diffusion_model.double_blocks.0.img_attn.proj.diff_b")
    lora = write(tmp_path / "a.safetensors", tensors)
    output = converted(tmp_path, lora, DIFFUSERS, "flux1_dev")
    assert_same_update(lora, output, tmp_path / "flux1_dev.safetensors")


def test_doras_on_all_parts_become_one(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for seed, part in enumerate("qkv"):
        name = f"transformer.transformer_blocks.0.attn.to_{part}"
        parts = factors((32, 32), 4, seed=seed)
        tensors |= named(name, parts, "PEFT") | {f"{name}.lora_magnitude_vector": weight((32,), seed).abs() + 0.1}
    lora = write(tmp_path / "a.safetensors", tensors)
    for architecture in ("hunyuan_video", "flux1_dev"):
        output = converted(tmp_path, lora, COMFYUI, architecture)
        found = read(output)
        assert found["diffusion_model.double_blocks.0.img_attn.qkv.dora_scale"].shape == (96, 1)
        assert_same_update(lora, output, tmp_path / f"{architecture}.safetensors", 1e-5)
        back = converted(tmp_path, output, DIFFUSERS, architecture, "back.safetensors")
        assert {name: tuple(tensor.shape) for name, tensor in read(back).items()} == {
            name: tuple(tensor.shape) for name, tensor in tensors.items()
        }


def test_dora_on_some_layers_is_not_said_in_diffusers(tmp_path: Path) -> None:
    start = "diffusion_model.double_blocks.0.img_attn."
    tensors = ends(f"{start}proj", made("DoRA by row", (32, 32))) | ends(f"{start}qkv", made("LoRA", (96, 32)))
    lora = write(tmp_path / "a.safetensors", tensors)
    with pytest.raises(AdapterError, match=r"img_attn.qkv: .*all layers have DoRA or none"):
        converted(tmp_path, lora, DIFFUSERS, "flux1_dev")


def test_what_no_name_is_for_is_written_whole_and_said(tmp_path: Path) -> None:
    name = "transformer.transformer_blocks.0.attn.to_"
    tensors = ends(f"{name}q", made("LoHa", (32, 32))) | ends(f"{name}k", made("LoRA", (32, 32)))
    lora = write(tmp_path / "a.safetensors", tensors)
    output, model = tmp_path / "out.safetensors", checkpoint(tmp_path, "hunyuan_video")
    done = convert(lora, output, COMFYUI, architecture="hunyuan_video", model=model)
    assert_same_update(lora, output, model)
    assert list(read(output)) == ["diffusion_model.double_blocks.0.img_attn.qkv.diff"]
    assert len(done.notes) == 1 and "LoHa and LoRA there has no name that ComfyUI reads" in done.notes[0]


def test_what_belongs_to_no_module_stays(tmp_path: Path) -> None:
    tensors = named("lora_unet_double_blocks_0_img_attn_proj", factors((32, 32)))
    extra = {"bundle_emb.my-token.string_to_param.*": torch.tensor([float("nan"), 1]), "odd.thing": torch.ones(2)}
    lora = write(tmp_path / "a.safetensors", tensors | extra)
    output, model = tmp_path / "out.safetensors", checkpoint(tmp_path, "flux1_dev")
    done = convert(lora, output, COMFYUI, architecture="flux1_dev", model=model)
    found = read(output)
    assert all(_bits(found[name]) == _bits(tensor) for name, tensor in extra.items())
    assert done.notes == (
        "tensors that belong to no module stay as they are: 2, e.g. bundle_emb.my-token.string_to_param.*",
    )


def test_a_control_lora_widens_the_input(tmp_path: Path) -> None:
    parts = factors((32, 24), 4)
    tensors = {f"img_in.lora_{half}.weight": parts[part] for half, part in (("A", "down"), ("B", "up"))}
    tensors |= {"img_in.lora_B.bias": torch.ones(32)}
    lora = write(tmp_path / "a.safetensors", tensors | {"img_in.reshape_weight": torch.tensor([32, 24])})
    output = converted(tmp_path, lora, COMFYUI, "flux1_dev")
    found = read(output)
    assert found["diffusion_model.img_in.reshape_weight"].tolist() == [32, 24]
    assert torch.equal(found["diffusion_model.img_in.diff_b"], torch.ones(32))
    with pytest.raises(AdapterError, match="diffusers has no word for a layer that becomes wider"):
        converted(tmp_path, lora, DIFFUSERS, "flux1_dev")


def one(folder: Path, name: str = "lora_unet_double_blocks_0_img_attn_proj", **changes: Tensor) -> Path:
    return write(folder / "a.safetensors", named(name, {**factors((32, 32), alpha=2), **changes}))


def test_errors_leave_nothing_behind(tmp_path: Path) -> None:
    model = checkpoint(tmp_path, "flux1_dev")
    output = tmp_path / "out.safetensors"
    cases: list[tuple[Path, str]] = [
        (one(tmp_path / "1", up=torch.full((32, 4), float("nan"))), "NaN or infinite"),
        (one(tmp_path / "2", "lora_unet_double_blocks_9_img_attn_proj"), r"FLUX.1 \[dev\] has no such layer"),
        (one(tmp_path / "3", "lora_unet_double_blocks_0_img_attn_qkv"), r"made for a weight of shape \[32, 32\]"),
        (one(tmp_path / "4", alpha=torch.tensor(float("inf"))), "NaN or infinite"),
        (one(tmp_path / "5", up=torch.full((32, 4), 1e38), alpha=torch.tensor(1e38)), "would not be finite"),
        (
            write(tmp_path / "6" / "a.safetensors", {"first_stage_model.a.weight": torch.ones(2)}),
            "this is a VAE, not a LoRA",
        ),
        (tmp_path / "none.safetensors", "no such file"),
    ]
    for lora, message in cases:
        with pytest.raises(LorchestraError, match=message):
            convert(lora, output, DIFFUSERS, architecture="flux1_dev", model=model)
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["flux1_dev.safetensors"]


def test_the_output_is_not_overwritten(tmp_path: Path) -> None:
    lora, model = one(tmp_path), checkpoint(tmp_path, "flux1_dev")
    with pytest.raises(CheckpointError, match="one of the files to read"):
        convert(lora, lora, COMFYUI, architecture="flux1_dev", model=model, force=True)
    output = tmp_path / "out.safetensors"
    output.write_text("precious")
    with pytest.raises(CheckpointError, match="exists already"):
        convert(lora, output, COMFYUI, architecture="flux1_dev", model=model)
    assert output.read_text() == "precious"
    convert(lora, output, COMFYUI, architecture="flux1_dev", model=model, force=True)
    assert len(read(output)) == 3


def test_what_a_file_is_for_is_found_out(tmp_path: Path) -> None:
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    lora = write(tmp_path / "a.safetensors", named(f"unet.{name}", factors((640, 2048), 4), "PEFT"))
    done = convert(lora, tmp_path / "out.safetensors", KOHYA)
    assert (done.architecture, done.title) == ("sdxl", "Stable Diffusion XL")
    odd = write(tmp_path / "b.safetensors", named("unet.nothing.like.that", factors((640, 2048), 4), "PEFT"))
    with pytest.raises(AdapterError, match=r"no model that we know has all of its layers.*--architecture"):
        convert(odd, tmp_path / "out2.safetensors", KOHYA)


def test_ties_that_do_not_matter(tmp_path: Path) -> None:
    """Flux.1 and HunyuanVideo call this layer the same natively, so that it does not matter which it is."""
    name = "diffusion_model.double_blocks.0.img_attn.proj"
    lora = write(tmp_path / "a.safetensors", named(name, factors((3072, 3072), 1)))
    convert(lora, tmp_path / "out.safetensors", COMFYUI)
    assert set(read(tmp_path / "out.safetensors")) == set(read(lora))


def test_folding() -> None:
    half = torch.tensor([1.5, 2.0], dtype=torch.float16)
    assert folded(half, Fraction(1)) is half
    assert folded(half, Fraction(1, 4)).dtype == torch.float16
    assert folded(half, Fraction(3)).dtype == torch.float32
    tiny = torch.tensor([6e-8], dtype=torch.float16)  # the smallest number of all
    assert folded(tiny, Fraction(1, 2)).dtype == torch.float32 and folded(tiny, Fraction(1, 2)) == tiny.float() / 2


def test_joining_keeps_shared_down_halves() -> None:

    down, up = torch.randn(4, 8), torch.randn(16, 4)
    halves = [Half(start, up[start : start + 8], down.clone(), Fraction(1, 2), torch.tensor(2.0)) for start in (0, 8)]
    result = joined(halves, 16, folds=False)
    assert torch.equal(result[0], up) and torch.equal(result[1], down) and result[2] == 2
    other = Half(8, up[8:], torch.randn(4, 8), Fraction(2), torch.tensor(8.0))
    joint_up, joint_down, alpha = joined([halves[0], other], 16, folds=False)
    assert joint_up.shape == (16, 8) and alpha == 4  # 1/2 of eight ranks, four times as much in the second block
    assert torch.equal(joint_up[8:, 4:], up[8:] * 4)
    exact = up[8:].double() @ other.down.double() * 2
    assert torch.allclose((joint_up[8:].double() @ joint_down.double()) * 0.5, exact, rtol=1e-6)


def test_layers_of_unknown_architectures() -> None:
    assert layers_by_name("nothing") is None
