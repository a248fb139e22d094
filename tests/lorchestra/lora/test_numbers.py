"""What a LoRA file holds, in numbers."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import pytest
import torch
from support.lora_files import factors, named, write
from torch import Tensor

from lorchestra.errors import HeaderError
from lorchestra.lora.numbers import Summary, read_summary
from lorchestra.lora.values import _e4m3


def summary(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Summary:
    return read_summary(write(path / "x.safetensors", tensors, metadata))


def test_a_mixed_file(tmp_path: Path) -> None:
    tensors = named("lora_unet_a", factors((20, 10), 4, alpha=2, dtype=torch.float16))
    tensors |= named("lora_unet_b", factors((20, 10, 3, 3), 8, alpha=8, dtype=torch.float16))
    tensors |= named("lora_unet_c", factors((20, 10, 3, 3), 8, tucker=True))
    tensors |= named("text_encoder_2.d", factors((20, 10), 16), "PEFT")
    tensors |= {"e.lora_up.weight": torch.ones(4, 2), "f.hada_w1_a": torch.ones(4, 2), "<s1>": torch.ones(3)}
    result = summary(tmp_path, tensors)
    assert result.file == str(tmp_path / "x.safetensors")
    assert result.size == (tmp_path / "x.safetensors").stat().st_size
    assert (result.tensors, result.modules) == (14, 6)
    assert result.algorithms == {"LoRA": 3, "LoCon": 1, "LoCon Tucker": 1, "LoHa": 1}
    assert result.spellings == {"kohya": 3, "bare": 2, "diffusers": 1}
    assert result.components == {"model": 5, "te2": 1}
    assert result.dtypes == {"F32": 8, "F16": 6}
    assert result.rank is not None
    assert (result.rank.minimum, result.rank.median, result.rank.maximum) == (4, 8, 16)
    assert result.rank.counts == {"8": 2, "4": 1, "16": 1}
    assert result.scale is not None
    assert result.scale.counts == {"1": 3, "0.5": 1}
    assert result.without_alpha == 2
    assert result.incomplete == ("e",)
    assert result.leftovers == ("<s1>",)
    json.dumps(result.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.int64,
     torch.int32, torch.int16, torch.int8, torch.uint8],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (1,)])
def test_alphas_of_every_dtype(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    parts = factors((20, 10), 4)
    parts["alpha"] = torch.full(shape, 3.0).to(dtype)
    result = summary(tmp_path, named("x", parts))
    assert result.scale is not None
    assert result.scale.minimum == 0.75
    assert result.without_alpha == 0
    assert not result.odd_alphas


@pytest.mark.parametrize(
    "alpha",
    [
        torch.tensor(float("nan")),
        torch.tensor(float("inf")).bfloat16(),
        torch.ones(2),
        torch.ones(2, 1),
        torch.tensor(True),
    ],
    ids=str,
)
def test_an_alpha_that_is_not_one_finite_number_is_named(tmp_path: Path, alpha: Tensor) -> None:
    tensors = named("bad", {**factors((20, 10), 4), "alpha": alpha}) | named("good", factors((20, 10), 4, alpha=2))
    result = summary(tmp_path, tensors)
    assert result.odd_alphas == ("bad",)
    assert result.scale is not None
    assert (result.scale.minimum, result.scale.maximum) == (0.5, 0.5)
    json.dumps(result.to_json(), allow_nan=False)


def test_all_bytes_of_e4m3_are_decoded_as_torch_does() -> None:
    expected = torch.arange(256, dtype=torch.int16).to(torch.uint8).view(torch.float8_e4m3fn).double().tolist()
    for byte, value in enumerate(expected):
        decoded = _e4m3(byte)
        assert decoded == value or (math.isnan(decoded) and math.isnan(value)), byte


def test_doubled_halves_are_named(tmp_path: Path) -> None:
    result = summary(tmp_path, {f"x.lora_{half}.{who}.weight": torch.ones(4, 4) for who in "ab" for half in "AB"})
    assert result.doubled == ("x.lora_A.b.weight", "x.lora_B.b.weight")
    assert not result.leftovers


@pytest.mark.parametrize("tensors", [{}, {"x": torch.ones(1)}, {"a.alpha": torch.tensor(1.0)}])
def test_files_without_modules(tmp_path: Path, tensors: dict[str, Tensor]) -> None:
    result = summary(tmp_path, tensors)
    assert (result.modules, result.rank, result.scale, result.without_alpha) == (0, None, None, 0)
    assert result.leftovers == tuple(tensors)


def test_ranks_of_zero_are_no_ranks(tmp_path: Path) -> None:
    result = summary(tmp_path, {"x.lora_A.weight": torch.ones(0, 4), "x.lora_B.weight": torch.ones(4, 0)})
    assert (result.modules, result.rank) == (1, None)


def test_metadata_that_matters_is_shortened(tmp_path: Path) -> None:
    metadata = {
        "ss_network_dim": "16",
        "modelspec.title": "a\n b\t c",
        "ss_training_comment": "x" * 1000,
        "ss_learning_rate": "1e-4",
    }
    result = summary(tmp_path, {}, metadata)
    assert result.metadata == {
        "modelspec.title": "a b c",
        "ss_network_dim": "16",
        "ss_training_comment": "x" * 299 + "…",
    }


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, ()),
        ({"modelspec.trigger_phrase": "  pixel  art "}, ("pixel art",)),
        ({"modelspec.trigger_phrase": " ", "ss_tag_frequency": '{"10_a": {"cat": 2}}'}, ("cat",)),
        (
            {"ss_tag_frequency": '{"a": {"cat": 2, "dog ": 5, "": 9}, "b": {"cat": 4, "x": "many", "y": null}}'},
            ("cat", "dog", "x", "y"),
        ),
        ({"ss_tag_frequency": json.dumps({"a": {f"{n}": n for n in range(30)}})}, tuple(map(str, range(29, 17, -1)))),
        ({"ss_tag_frequency": "oops"}, ()),
        ({"ss_tag_frequency": "[1]"}, ()),
        ({"ss_tag_frequency": '{"a": [1]}'}, ()),
        ({"ss_tag_frequency": "[" * 100_000}, ()),
        ({"ss_tag_frequency": '{"a": {"b": ' + "9" * 5000 + "}}"}, ()),
    ],
)  # fmt: skip
def test_trigger_words(tmp_path: Path, metadata: dict[str, str], words: tuple[str, ...]) -> None:
    assert summary(tmp_path, {}, metadata).trigger_words == words


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(HeaderError, match="there is no such file"):
        read_summary(tmp_path / "none.safetensors")
    path = write(tmp_path / "x.safetensors", named("x", factors((4, 4), 1, alpha=1)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(HeaderError, match="truncated"):
        read_summary(path)


def test_a_file_that_is_cut_after_its_header_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lorchestra.lora import numbers as module

    path = write(tmp_path / "x.safetensors", named("x", factors((4, 4), 1, alpha=1)))
    header = module.read_header(path)
    monkeypatch.setattr(module, "read_header", lambda _: header)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(HeaderError, match="became shorter"):
        read_summary(path)
    path.unlink()
    with pytest.raises(HeaderError, match="there is no such file"):
        read_summary(path)


def test_only_the_header_and_the_alphas_are_read(tmp_path: Path) -> None:
    """A file that claims 100 GB of tensors, most of them a hole, is summed up at once."""
    size = 10**11
    shapes = {"x.lora_A.weight": [1, size // 4], "x.lora_B.weight": [1, 1], "x.alpha": []}
    header, position = {}, 0
    for name, shape in shapes.items():
        end = position + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    path = tmp_path / "x.safetensors"
    try:
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.seek(8 + len(text) + position - 4)
            file.write(struct.pack("<f", 0.5))
    except OSError:
        pytest.skip("this file system has no holes")
    result = read_summary(path)
    assert result.size > size
    assert result.scale is not None
    assert result.scale.minimum == 0.5
