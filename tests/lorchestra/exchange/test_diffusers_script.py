"""The Python script for diffusers: it reads back without being run, and does in diffusers what the stack says."""

from __future__ import annotations

import copy
import json
import runpy
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorchestra.errors import DialectError, StackError
from lorchestra.exchange import diffusers_script, read_any
from lorchestra.stack import Entry, Stack

STACK = Stack(
    (
        Entry("styles\\pixel art.v1.safetensors", model=0.75, clip=0.5),
        Entry("other/pixel art.v1.safetensors", model=-1.0),
        Entry('it\'s "q".safetensors', model=0.5, expert="low"),
        Entry("h.safetensors", model=0.25, clip=0.0, expert="high"),
        Entry("owner/name", model=1.0, air="huggingface:owner/name"),
    )
)


def test_the_script_reads_back_and_is_python() -> None:
    writing = diffusers_script.write(STACK)
    assert not writing.losses
    compile(writing.text, "loras.py", "exec")
    assert diffusers_script.read(writing.text).stack == read_any(writing.text).stack == STACK
    assert "pipeline.load_lora_weights('owner/name', adapter_name='name')" in writing.text
    assert "weights['pixel_art_v1'] = by_part(pipeline, 'pixel_art_v1', 0.75, 0.5)" in writing.text
    assert "weights['pixel_art_v1_2'] = -1.0" in writing.text


@pytest.mark.parametrize(
    ("text", "entries", "fields"),
    [
        (
            'pipe.load_lora_weights("owner/repo", weight_name="toy.safetensors", adapter_name="toy")\n'
            'pipe.load_lora_weights("nerijs/pixel", adapter_name="pixel")\n'
            'pipe.set_adapters(["pixel", "toy"], adapter_weights=[0.5, 1.0])',
            (
                Entry("owner/repo/toy.safetensors", model=1.0, air="huggingface:owner/repo"),
                Entry("nerijs/pixel", model=0.5, air="huggingface:nerijs/pixel"),
            ),
            [],
        ),
        (
            'pipe.load_lora_weights("a.safetensors", adapter_name="a")\npipe.load_lora_weights("b", adapter_name="b")\n'
            'pipe.set_adapters("b", 0.25)',
            (Entry("a.safetensors", on=False, model=1.0), Entry("b", model=0.25)),
            [],
        ),
        (
            'p.load_lora_weights("x", adapter_name="x"); p.set_adapters(\n  ["x"],  # all\n  [{"unet": {"down": 1},'
            ' "text_encoder": 0.5, "text_encoder_2": 0.25}])',
            (Entry("x", model=1.0, clip=0.5),),
            ["blocks", "weight"],
        ),
        (
            'p.load_lora_weights("x", adapter_name="x")\np.set_adapters(["x"], [{"text_encoder": 0.5}])',
            (Entry("x", model=1.0, clip=0.5),),
            [],
        ),
        ('pipe.load_lora_weights("x")', (Entry("x", model=1.0),), ["weight"]),
        (
            'pipe.load_lora_weights("x")\n'
            'pipe.fuse_lora(lora_scale=0.7)',
            (Entry("x", model=1.0),), ["fuse_lora", "weight"],
        ),
        (
            'pipe.load_lora_weights(path)\n'
            'pipe.load_lora_weights("y")',
            (Entry("y", model=1.0),), ["load_lora_weights", "weight"],
        ),
        (
            'pipe.load_lora_weights("x", adapter_name="x")\n'
            'pipe.set_adapters(names, w)',
            (Entry("x", model=1.0),), ["set_adapters", "weight"],
        ),
        ('pipe.load_lora_weights("x" ; pipe.set_adapters(', (), ["script"]),
        (
            '"""pipe.load_lora_weights("a")"""\n'
            '# pipe.load_lora_weights("b")\n'
            'pipe.load_lora_weights("c")',
            (Entry("c", model=1.0),), ["weight"],
        ),
        (
            'pipe.load_lora_weights("x", adapter_name="x")\n'
            'pipe.load_lora_weights("y", adapter_name="x")',
            (Entry("x", model=1.0),), ["load_lora_weights", "weight"],
        ),
        (
            'pipe.load_lora_weights("x", adapter_name="x", load_into_transformer_2=True)\n'
            'pipe.set_adapters(["z"])',
            (Entry("x", on=False, model=1.0, expert="low"),), ["set_adapters"],
        ),
    ],
)  # fmt: skip
def test_other_scripts(text: str, entries: tuple[Entry, ...], fields: list[str]) -> None:
    reading = diffusers_script.read(text)
    assert reading.stack.entries == entries
    assert [loss.field for loss in reading.losses] == fields


def test_nothing_is_ever_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    text = f'import os\nos.mkdir({str(trap)!r})\np.load_lora_weights(open({str(trap)!r}, "w").name)\n' + (
        f'p.load_lora_weights("x", adapter_name="x")\np.set_adapters(["x"], [__import__("os").mkdir({str(trap)!r})])'
    )
    diffusers_script.read(text)
    assert not trap.exists()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('p.load_lora_weights("x", adapter_name="x")\np.set_adapters(["x"], ["a"])', "weights['x']"),
        ('p.load_lora_weights("x", adapter_name="x")\np.set_adapters(["x"], [1e999])', "weights['x']"),
        ('p.load_lora_weights("x", adapter_name="x")\np.set_adapters(["x"], [1, 2])', "set_adapters"),
        ('p.load_lora_weights("x", adapter_name="x")\np.set_adapters(["x"], [{"unet": 101}])', "weights['x'].unet"),
        ('p.load_lora_weights("x\\ny", adapter_name="x")', "load_lora_weights('x')"),
    ],
)
def test_what_is_out_of_range_names_the_field(text: str, path: str) -> None:
    with pytest.raises(DialectError) as caught:
        diffusers_script.read(text)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "inner",
    [
        "-" * 1900 + "1", "(" * 1900, "a" + ".b" * 900, "f" + "()" * 900, "1+" * 900 + "1", "not " * 450 + "1",
        "lambda:" * 270 + "1", "a" + "[0]" * 600, "2**" * 600 + "1", "1 if 1 else " * 150 + "1", "{1:" * 600,
        "[" * 1900, "-" * 300_000 + "1", "1+" * 150_000 + "1", "f" + "()" * 150_000, "'" * 300_001, "\\'" * 150_000,
        "\"'\\\n" * 70_000,
        "'''" * 100_001, "#" * 300_000, "p.set_adapters(" * 25_000, "p.set_adapters();" * 20_000, "\n\\" * 150_000,
    ],
    ids=range(23),
)  # fmt: skip
def test_no_script_takes_long_or_goes_deep(inner: str) -> None:
    """Python's parser goes as deep as a text is long, and older ones end the process with it."""
    begun = time.process_time()
    try:
        reading = diffusers_script.read(f'p.load_lora_weights("x", adapter_name="x")\np.set_adapters({inner})')
    except StackError as error:
        assert len(str(error)) < 2000
    else:
        assert all(len(str(loss)) < 2000 for loss in reading.losses)
    assert time.process_time() - begun < 1.5


def test_python_warns_of_nothing_in_a_stranger_s_script() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", SyntaxWarning)
        read_any('pipeline.load_lora_weights("a", adapter_name="a")\npipeline.set_adapters(["a"], [1or 2])')
    assert told == []


def test_long_names_read_back() -> None:
    """A statement is long enough for every name that a row may have."""
    stack = Stack((Entry("x" * 1000 + "/" + "y" * 23, model=1.0, clip=0.5), Entry("z" * 1024, model=0.5)))
    reading = diffusers_script.read(diffusers_script.write(stack).text)
    assert reading.stack == stack and not reading.losses


@pytest.mark.parametrize("lora", ["civitai:1@2", "https://example.com/a.safetensors", "urn:air:sdxl:lora:runware:1@2"])
def test_what_diffusers_cannot_load_is_an_error(lora: str) -> None:
    with pytest.raises(DialectError, match="no file and no repository") as caught:
        diffusers_script.write(Stack((Entry("a"), Entry(lora))))
    assert (caught.value.row, caught.value.path) == (2, "load_lora_weights")


UNET, TEXT = "attentions.0.transformer_blocks.0.attn1.to_q", "encoder.layers.0.self_attn.q_proj"
"""How the layers' names end; how they begin differs between versions of transformers."""


@pytest.fixture(scope="module")
def pipeline_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of Stable Diffusion's kind, as small as it can be."""
    diffusers = pytest.importorskip("diffusers", reason="the package diffusers is not installed")
    transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(4, 8), layers_per_block=1, sample_size=8, in_channels=4, out_channels=4, norm_num_groups=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8, attention_head_dim=2,
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=[4, 8], in_channels=3, out_channels=3, latent_channels=4, norm_num_groups=2,
        down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
    )  # fmt: skip
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            hidden_size=8, intermediate_size=8, num_attention_heads=2, num_hidden_layers=1, vocab_size=16,
            max_position_embeddings=8, projection_dim=8,
        )
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("pipeline")
    (folder / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "a": 3}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    words = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    pipeline = diffusers.StableDiffusionPipeline(
        vae, text, words, unet, diffusers.DDIMScheduler(), None, None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder)
    return folder


def lora_file(path: Path, seed: int, sizes: Mapping[str, int]) -> dict[str, Any]:
    """Factors for the layers of these names, which are square."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    chance = torch.Generator().manual_seed(seed)
    tensors = {
        f"{layer}.lora_{side}.weight": torch.randn((2, size) if side == "A" else (size, 2), generator=chance)
        for layer, size in sizes.items()
        for side in "AB"
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return tensors


@pytest.mark.slow
def test_diffusers_does_what_the_stack_says(pipeline_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The script runs as its first lines say, and each layer gets each row's weight, to the last bits of fp32."""
    import torch
    from diffusers import DiffusionPipeline  # pyright: ignore[reportMissingImports]

    pipeline = DiffusionPipeline.from_pretrained(pipeline_folder)
    parts = {"unet": UNET, "text_encoder": TEXT}
    names = {
        part: next(name for name, _ in getattr(pipeline, part).named_modules() if name.endswith(end))
        for part, end in parts.items()
    }
    plain = {part: copy.deepcopy(getattr(pipeline, part).get_submodule(name)) for part, name in names.items()}
    sizes = {f"{part}.{name}": plain[part].in_features for part, name in names.items()}
    loras = tmp_path / "loras"
    files = [
        lora_file(loras / "styles" / "pixel.v1.safetensors", 1, sizes),
        lora_file(loras / "ink.safetensors", 2, sizes),
    ]
    stack = Stack((Entry("styles\\pixel.v1.safetensors", model=0.75, clip=-0.5), Entry("ink.safetensors", model=0.25)))
    script = tmp_path / "loras.py"
    script.write_text(diffusers_script.write(stack).text, encoding="utf-8")
    assert runpy.run_path(str(script))["add_loras"](pipeline, str(loras)) is pipeline
    assert pipeline.get_active_adapters() == ["pixel_v1", "ink"]
    for part, weights in {"unet": (0.75, 0.25), "text_encoder": (-0.5, 0.25)}.items():
        base, patched = plain[part], getattr(pipeline, part).get_submodule(names[part])
        key, x = f"{part}.{names[part]}", torch.randn(3, base.in_features)
        delta = sum(
            weight * file[f"{key}.lora_B.weight"] @ file[f"{key}.lora_A.weight"]
            for weight, file in zip(weights, files, strict=True)
        )
        with torch.no_grad():
            assert torch.allclose(patched(x), base(x) + x @ delta.T, rtol=1e-5, atol=1e-5)
            assert not torch.allclose(patched(x), base(x), rtol=1e-2)
    monkeypatch.setattr("sys.argv", ["loras.py", str(pipeline_folder), str(loras)])
    runpy.run_path(str(script), run_name="__main__")
