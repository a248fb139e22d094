"""What a file's header says in words: kinds, problems, warnings, and the verdict on a base."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.sparse_files import base_shapes, lora_shapes, write_sparse

from lorchestra.errors import CheckpointError
from lorchestra.fit.outcome import BROKEN, COMPATIBLE, INCOMPATIBLE, NOT_A_LORA, PARTIAL, UNKNOWN, check_file
from lorchestra.lora.examined import read_examined
from lorchestra.models.base import base_by_name, read_base_model

Shapes = dict[str, tuple[int, ...]]
FLUX = lora_shapes("flux1_dev", "*_blocks.*")
SDXL = lora_shapes("sdxl", "*transformer_blocks.*")


def examined(folder: Path, shapes: Shapes, metadata: Mapping[str, str] | None = None, name: str = "x"):
    return read_examined(write_sparse(folder / f"{name}.safetensors", shapes, metadata))


def test_a_lora_for_another_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    base = base_by_name("sdxl")
    assert base is not None
    outcome = check_file(examined(tmp_path, FLUX), base)
    assert outcome.verdict == INCOMPATIBLE
    assert outcome.sentence == "made for FLUX.1, this model is SDXL: 0 of 304 modules fit. Choose an SDXL LoRA."
    assert outcome.made_for[0] == "flux1_dev"


def test_what_fits_by_chance_is_told_so(tmp_path: Path) -> None:
    base = base_by_name("hunyuan_video")
    assert base is not None
    outcome = check_file(examined(tmp_path, FLUX), base)
    assert outcome.verdict == INCOMPATIBLE
    assert "304 of 304 modules fit by name and shape, but only by chance" in outcome.sentence


def test_a_related_model_takes_what_fits(tmp_path: Path) -> None:
    base = base_by_name("chroma")
    assert base is not None
    outcome = check_file(examined(tmp_path, FLUX), base)
    assert (outcome.verdict, outcome.applied, outcome.unmatched) == (PARTIAL, 228, 76)


@pytest.mark.parametrize(
    ("shapes", "verdict", "sentence"),
    [
        ({"x.lora_down.weight": (4, 8)}, BROKEN, "x: the down half is there but the up half is missing"),
        (
            {
                "lora_unet_a.lora_A.weight": (4, 8),
                "lora_unet_a.lora_B.weight": (8, 4),
                "lora_unet_a.vera_lambda_b": (8,),
            },
            BROKEN,
            "VeRA",
        ),
        ({"controlnet_cond_embedding.conv_in.weight": (16, 3, 3, 3)}, NOT_A_LORA, "this is a ControlNet, not a LoRA"),
        ({"<token>": (2, 768)}, NOT_A_LORA, "this is a textual inversion (embedding), not a LoRA"),
    ],
)
def test_what_cannot_be_applied(tmp_path: Path, shapes: Shapes, verdict: str, sentence: str) -> None:
    base = base_by_name("sd15")
    assert base is not None
    outcome = check_file(examined(tmp_path, shapes), base)
    assert outcome.verdict == verdict
    assert sentence in outcome.sentence


@pytest.mark.parametrize(
    ("metadata", "warning"),
    [
        (
            {"ss_base_model_version": "flux1"},
            "its metadata says FLUX.1 (ss_base_model_version: flux1), its tensors say SDXL",
        ),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, None),
        ({"ss_base_model_version": "sd_1.5"}, None),  # ai-toolkit's word for not knowing
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, None),
        ({"ss_base_model_version": "a word of tomorrow"}, None),
    ],
)  # fmt: skip
def test_metadata_that_disagrees_is_a_warning(tmp_path: Path, metadata: Mapping[str, str], warning: str | None) -> None:
    found = examined(tmp_path, SDXL, metadata)
    assert found.identity.best == ("sdxl",)
    assert list(found.warnings) == ([warning] if warning else [])


@pytest.mark.parametrize(
    ("metadata", "first"),
    [
        ({}, "anima"),  # by far the commoner one
        ({"modelspec.architecture": "anima-preview/lora"}, "anima"),
        ({"modelspec.architecture": "cosmos-predict2"}, "cosmos_predict2_2b"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "anima"),  # which its tensors rule out
    ],
)
def test_metadata_settles_ties_alone(tmp_path: Path, metadata: Mapping[str, str], first: str) -> None:
    blocks = lora_shapes("cosmos_predict2_2b", "blocks.*attn*")
    found = examined(tmp_path, blocks, metadata).identity
    assert found.architectures[0] == first
    assert set(found.architectures) == {"anima", "cosmos_predict2_2b"}


def test_names_of_files_that_tell_more_than_tensors(tmp_path: Path) -> None:
    wan = lora_shapes("wan21_t2v_14b", "blocks.*attn.*")
    assert (
        "by its name: for the high-noise model of a pair such as Wan 2.2"
        in examined(tmp_path, wan, name="style_high_noise").warnings
    )


def test_evidence_names_a_layer_that_rules_a_rival_out(tmp_path: Path) -> None:
    evidence = examined(tmp_path, FLUX).evidence
    assert any("HunyuanVideo" in sentence or "Chroma" in sentence for sentence in evidence)


def test_packed_layers_make_a_verdict_unknown(tmp_path: Path) -> None:
    shapes = base_shapes("flux1_dev", "")
    packed = {f"{name}.qweight" if name.endswith("qkv.weight") else name: shape for name, shape in shapes.items()}
    packed = {name.replace(".weight.qweight", ".qweight"): shape for name, shape in packed.items()}
    base = read_base_model(write_sparse(tmp_path / "base.safetensors", packed))
    assert base.hidden
    assert check_file(examined(tmp_path, SDXL), base).verdict == UNKNOWN


def test_a_base_in_a_file_is_told_and_fits_its_own_loras(tmp_path: Path) -> None:
    base = read_base_model(write_sparse(tmp_path / "base.safetensors", base_shapes("sdxl")))
    assert (base.architectures[0], base.title, base.hidden) == ("sdxl", "SDXL", False)
    assert check_file(examined(tmp_path, SDXL), base).verdict == COMPATIBLE


def test_a_file_without_a_diffusion_model_is_no_base(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no diffusion model"):
        read_base_model(write_sparse(tmp_path / "x.safetensors", {"text_encoders.clip_l.transformer.a.bias": (4,)}))


def test_names_of_architectures_nobody_knows() -> None:
    assert base_by_name("nonsense") is None
