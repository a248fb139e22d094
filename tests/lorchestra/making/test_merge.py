"""Merged files do what the stack does, as far as their dtype can say it; TIES and DARE are those of PEFT."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from support.algorithm_files import CONVOLUTION, MATRIX, made
from support.exact import delta, same_bits
from support.lora_files import BLOCK, factors, named, read, unet, weight, write
from torch import Tensor

from lorchestra.apply.bake import bake
from lorchestra.cli.rows import read_rows
from lorchestra.errors import LorchestraError
from lorchestra.files.header import read_header
from lorchestra.making import methods
from lorchestra.making.choices import DARE, DARE_TIES, TIES
from lorchestra.making.low_rank import Limit
from lorchestra.making.merge import Made, merge
from lorchestra.making.methods import Method
from lorchestra.making.record import METADATA_KEY

Q = f"{BLOCK}.attn1.to_q"
KEY = f"model.diffusion_model.{Q}.weight"
LAYERS: Mapping[str, tuple[int, ...]] = {
    Q: (32, 32),
    f"{BLOCK}.ff.net.0.proj": (96, 32),
    "input_blocks.1.0.in_layers.2": (32, 32, 3, 3),
}
UNIT = {torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def lora(path: Path, seed: int, rank: int = 4, dtype: torch.dtype = torch.float32, prefix: str = "lora_unet_") -> Path:
    tensors: dict[str, Tensor] = {}
    for number, (layer, shape) in enumerate(LAYERS.items()):
        name = prefix + (layer.replace(".", "_") if prefix.endswith("_") else layer)
        parts = factors(shape, rank, seed=10 * seed + number, alpha=rank / 2, dtype=dtype)
        tensors |= named(name, parts)
    return write(path, tensors)


def base_file(folder: Path) -> Path:
    tensors = {name: tensor.double() for name, tensor in unet(torch.float32).items()}
    tensors["model.diffusion_model.input_blocks.1.0.in_layers.2.bias"] = weight((32,), 99).double()
    return write(folder / "base.safetensors", tensors)


def merged(folder: Path, rows: list[str], base: Path, name: str = "merged", **options: object) -> tuple[Path, Made]:
    output = folder / f"{name}.safetensors"
    done = merge(read_rows(rows, ""), output, model=base, architecture="sd15", force=True, **options)  # type: ignore[arg-type]
    return output, done


def baked(folder: Path, rows: list[str], base: Path, name: str) -> dict[str, Tensor]:
    output = folder / f"{name}-baked.safetensors"
    bake(base, read_rows(rows, ""), output, force=True)
    return read(output)


def distance(one: Mapping[str, Tensor], other: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> float:
    """‖Δ − Δ'‖ / ‖Δ‖ of the layer where it is largest."""
    return max(
        float((one[key] - other[key]).double().norm() / (one[key] - base[key]).double().norm())
        for key in base
        if not torch.equal(one[key], base[key])
    )


@pytest.mark.parametrize("dtype", UNIT, ids=str)
def test_it_does_what_the_stack_does(tmp_path: Path, dtype: torch.dtype) -> None:
    base = base_file(tmp_path)
    rows = [
        f"{lora(tmp_path / 'a.safetensors', 1, 4, dtype)}=0.7",
        f"{lora(tmp_path / 'b.safetensors', 2, 8, dtype)}=-0.3",
        f"{lora(tmp_path / 'c.safetensors', 3, 2, dtype, 'diffusion_model.')}=0.001",
    ]
    output, done = merged(tmp_path, rows, base)
    assert done.ranks == (14, 14, 14)
    assert {tensor.dtype for name, tensor in read(output).items() if "alpha" not in name} == {dtype}
    start, stack = read(base), baked(tmp_path, rows, base, "stack")
    assert distance(stack, baked(tmp_path, [f"{output}=1"], base, "merged"), start) <= 2 * UNIT[dtype]
    assert done.errors.worst <= 2 * UNIT[dtype]
    assert set(read(base)) == set(stack)


def test_one_file_at_one_is_itself_to_the_bit(tmp_path: Path) -> None:
    base = base_file(tmp_path)
    for dtype in (torch.float16, torch.bfloat16):
        tensors = named(f"lora_unet_{Q.replace('.', '_')}", factors((32, 32), 4, size=1, alpha=4, dtype=dtype))
        source = write(tmp_path / "a.safetensors", tensors)
        output, _ = merged(tmp_path, [f"{source}=1"], base)
        for name, tensor in read(output).items():
            assert "alpha" in name or same_bits(tensor, tensors[name])


def test_tiny_halves_keep_their_bits_in_fp16(tmp_path: Path) -> None:
    parts = factors((32, 32), 4, size=1e-3, dtype=torch.float16)
    source = write(tmp_path / "a.safetensors", named(f"diffusion_model.{Q}", parts))
    _, done = merged(tmp_path, [f"{source}=0.003"], base_file(tmp_path))
    assert done.errors.worst <= 4 * UNIT[torch.float16]  # the numbers times the weight are below 2⁻¹⁸


@pytest.mark.parametrize("kind", dict.fromkeys((*MATRIX, *CONVOLUTION)))
def test_every_algorithm(tmp_path: Path, kind: str) -> None:
    layer, shape = (
        (f"{BLOCK}.ff.net.0.proj", (96, 32)) if kind in MATRIX else ("input_blocks.1.0.in_layers.2", (32, 32, 3, 3))
    )
    base = base_file(tmp_path)
    other = {f"lora_unet_{layer.replace('.', '_')}{end}": part for end, part in made(kind, shape, 5).items()}
    rows = [f"{write(tmp_path / 'k.safetensors', other)}=0.6", f"{lora(tmp_path / 'a.safetensors', 1)}=0.5"]
    output, done = merged(tmp_path, rows, base)
    stack = baked(tmp_path, rows, base, "stack")
    assert distance(stack, baked(tmp_path, [f"{output}=1"], base, "merged"), read(base)) <= 1e-6
    assert done.whole == (0 if kind in ("LoRA", "Tucker", "LoHa", "LoKr") else 1)
    needs_model = kind not in ("LoRA", "Tucker", "LoHa", "LoKr", "diff")
    if needs_model:
        wide = tmp_path / "sd15.safetensors"
        with pytest.raises(LorchestraError, match="depends on the model's own weights; name the model's file with"):
            full = {f"lora_unet_{layer.replace('.', '_')}{end}": part for end, part in made(kind, (2560, 320)).items()}
            merge(read_rows([f"{write(wide, full)}=1"], ""), tmp_path / "out.safetensors", architecture="sd15")


def test_large_ranks_of_loha_are_written_whole(tmp_path: Path) -> None:
    parts = {
        f".hada_w{n}_{half}": weight((32, 8) if half == "a" else (8, 32), n) for n in (1, 2) for half in ("a", "b")
    }
    source = write(tmp_path / "a.safetensors", {f"lora_unet_{Q.replace('.', '_')}{end}": t for end, t in parts.items()})
    base = base_file(tmp_path)
    output, done = merged(tmp_path, [f"{source}=0.5"], base)
    assert (done.whole, done.ranks) == (1, ())
    expected = baked(tmp_path, [f"{source}=0.5"], base, "stack")
    assert distance(expected, baked(tmp_path, [f"{output}=1"], base, "merged"), read(base)) <= 1e-6


FLUX: Mapping[str, tuple[int, ...]] = {
    "double_blocks.0.img_attn.qkv": (96, 32),
    "double_blocks.0.img_attn.proj": (32, 32),
    "single_blocks.0.linear1": (224, 32),
}


@pytest.mark.parametrize("is_mixed", [False, True])
def test_parts_of_fused_layers(tmp_path: Path, is_mixed: bool) -> None:
    tensors = {f"model.diffusion_model.{name}.weight": weight(shape).double() for name, shape in FLUX.items()}
    base = write(tmp_path / "base.safetensors", tensors)
    parts = {
        f"transformer.transformer_blocks.0.attn.{name}": factors((32, 32), 2, seed=seed)
        for seed, name in enumerate(("to_q", "to_k", "to_v", "to_out.0"))
    }
    one = {key: t for module, part in parts.items() for key, t in named(module, part, "PEFT").items()}
    two = {key: t * 0.5 for key, t in one.items() if "to_k" not in key}
    if is_mixed:
        two = named("diffusion_model.double_blocks.0.img_attn.qkv", factors((96, 32), 3, seed=9))
    rows = [f"{write(tmp_path / 'a.safetensors', one)}=0.7", f"{write(tmp_path / 'b.safetensors', two)}=0.4"]
    output = tmp_path / "merged.safetensors"
    merge(read_rows(rows, ""), output, model=base, architecture="flux1_dev")
    names = set(read(output))
    assert any("qkv" in name for name in names) == is_mixed
    assert is_mixed or names == set(one)  # the names that both have, and no alphas where they have none
    stack = baked(tmp_path, rows, base, "stack")
    assert distance(stack, baked(tmp_path, [f"{output}=1"], base, "merged"), read(base)) <= 1e-6


def test_text_encoders_have_their_own_weights_and_names(tmp_path: Path) -> None:
    te = "text_model_encoder_layers_0_mlp_fc1"
    text, image = factors((3072, 768), 1), factors((320, 320), 1)
    name = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"
    a = write(tmp_path / "a.safetensors", named(f"lora_te_{te}", text) | named(f"diffusion_model.{name}", image))
    b = write(tmp_path / "b.safetensors", named(f"lora_te_{te}", text))
    output = tmp_path / "out.safetensors"
    done = merge(read_rows([f"{a}=0.5:0.25", f"{b}=0:-1"], ""), output, architecture="sd15")
    tensors = read(output)
    stem = "text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1"
    product = tensors[f"{stem}.lora_up.weight"] @ tensors[f"{stem}.lora_down.weight"]
    expected = -0.75 * delta(text, (3072, 768))
    assert (product - expected).abs().max() <= 1e-6 * expected.abs().max()
    assert done.examined.identity.architectures[0] == "sd15"


def test_the_order_of_the_rows_changes_no_bit(tmp_path: Path) -> None:
    base = base_file(tmp_path)
    rows = [f"{lora(tmp_path / f'{n}.safetensors', n)}={0.3 * n}" for n in (1, 2, 3)]
    for options in ({}, {"method": Method(DARE, 0.5, 7), "limit": Limit(4)}, {"method": Method(TIES), "whole": True}):
        results = {
            merged(tmp_path, list(order), base, **options)[0].read_bytes() for order in itertools.permutations(rows)
        }
        assert len(results) == 1


def test_a_rank_is_the_nearest_update_and_the_error_is_true(tmp_path: Path) -> None:
    base = base_file(tmp_path)
    rows = [f"{lora(tmp_path / 'a.safetensors', 1)}=0.7", f"{lora(tmp_path / 'b.safetensors', 2)}=0.3"]
    start, stack = read(base), baked(tmp_path, rows, base, "stack")
    for limit in (Limit(3), Limit(energy=0.9)):
        output, done = merged(tmp_path, rows, base, limit=limit)
        after = baked(tmp_path, [f"{output}=1"], base, "merged")
        errors, totals = 0.0, 0.0
        for layer, rank in zip(sorted(LAYERS), done.ranks, strict=True):
            key = f"model.diffusion_model.{layer}.weight"
            change = (stack[key] - start[key]).double().flatten(1)
            error = float((stack[key] - after[key]).double().square().sum())
            values = torch.linalg.svdvals(change)
            rank = 3 if limit.rank else rank
            if limit.rank:
                assert error == pytest.approx(float(values[rank:].square().sum()), rel=1e-4)
            else:
                assert error <= 0.1 * float(values.square().sum())
            errors, totals = errors + error, totals + float(values.square().sum())
        assert done.errors.overall == pytest.approx((errors / totals) ** 0.5, rel=1e-4)
        said = json.loads(read_header(output).metadata[METADATA_KEY])
        assert said["error"]["overall"] == pytest.approx(done.errors.overall, rel=0.01)


def deltas(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(24, 40, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("density", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("name", [TIES, DARE, DARE_TIES])
def test_the_methods_are_those_of_peft(name: str, density: float) -> None:
    merge_utils = pytest.importorskip("peft.utils.merge_utils")
    weights = [0.7, -0.4, 1.5]
    function = {TIES: merge_utils.ties, DARE: merge_utils.dare_linear, DARE_TIES: merge_utils.dare_ties}[name]
    torch.manual_seed(methods._seed(3, "layer"))  # pyright: ignore[reportPrivateUsage]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = function(deltas(), torch.tensor(weights), density)
    result = methods.joined(deltas(), weights, Method(name, density, 3), "layer")
    assert torch.allclose(result, expected, atol=1e-6)
    if density < 1 and name != TIES:
        assert not torch.equal(result, methods.joined(deltas(), weights, Method(name, density, 4), "layer"))


def test_ties_of_files(tmp_path: Path) -> None:
    merge_utils = pytest.importorskip("peft.utils.merge_utils")
    base = base_file(tmp_path)
    rows = [f"{lora(tmp_path / 'a.safetensors', 1)}=0.7", f"{lora(tmp_path / 'b.safetensors', 2)}=0.3"]
    output, _ = merged(tmp_path, rows, base, method=Method(TIES, 0.3), whole=True)
    updates = [delta(factors((32, 32), 4, seed=10 * seed, alpha=2), (32, 32)).float() for seed in (1, 2)]
    expected = merge_utils.ties(updates, torch.tensor([0.7, 0.3]), 0.3)
    found = read(output)[f"lora_unet_{Q.replace('.', '_')}.diff"]
    assert torch.allclose(found, expected, atol=1e-6 * float(expected.abs().max()))
    short, done = merged(tmp_path, rows, base, method=Method(TIES, 0.3), limit=Limit(32))
    assert done.errors.worst <= 1e-6
    assert not any(name.endswith(".diff") for name in read(short))


def test_what_it_says_of_itself(tmp_path: Path) -> None:
    tensors = named(f"lora_unet_{Q.replace('.', '_')}", factors((32, 32), 4))
    said = {"ss_base_model_version": "sd_v1", "modelspec.trigger_phrase": "pixel", "ss_tag_frequency": "{}"}
    a = write(tmp_path / "a.safetensors", tensors, said)
    b = write(
        tmp_path / "b.safetensors", {n: t * 2 for n, t in tensors.items()}, {**said, "modelspec.trigger_phrase": "warm"}
    )
    output, _ = merged(tmp_path, [f"{a}=0.7", f"{b}=0.3:0.1"], base_file(tmp_path), limit=Limit(2))
    metadata = read_header(output).metadata
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert sorted(metadata["modelspec.trigger_phrase"].split(", ")) == ["pixel", "warm"]
    assert "ss_tag_frequency" not in metadata
    record = json.loads(metadata[METADATA_KEY])
    assert (record["by"], record["method"], record["rank"], record["dtype"]) == ("merge", "sum", 2, "fp32")
    found = {row["name"]: (row["model"], row["clip"], len(row["sha256"])) for row in record["sources"]}
    assert found == {"a.safetensors": (0.7, 0.7, 64), "b.safetensors": (0.3, 0.1, 64)}
    assert len(record["base"][0]["sha256"]) == 64
