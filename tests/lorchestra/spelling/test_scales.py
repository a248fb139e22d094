"""Alphas that are settings instead of tensors."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.files.header import Header, parse_header
from lorchestra.spelling.modules import Module, read_modules
from lorchestra.spelling.scales import CONFIG_NAME, METADATA_KEY, Scales, metadata_scales, read_adapter_config


def header(text: str | None = None, name: str = "transformer.blocks.0.attn.to_q", rank: int = 16) -> Header:
    shapes = {f"{name}.lora_A.weight": (rank, 8), f"{name}.lora_B.weight": (8, rank)}
    entries: dict[str, object] = {"__metadata__": {} if text is None else {METADATA_KEY: text}}
    for number, (tensor, shape) in enumerate(shapes.items()):
        entries[tensor] = {
            "dtype": "U8", "shape": shape, "data_offsets": [number * 8 * rank, (number + 1) * 8 * rank],
        }  # fmt: skip
    data = json.dumps(entries).encode()
    return parse_header(data, path="x.safetensors", file_size=8 + len(data) + 16 * rank)


def only(made: Header) -> Module:
    (module,) = read_modules(made).modules
    return module


def scales(settings: object, **kinds: Any) -> tuple[Scales, float | None]:
    made = header(settings if isinstance(settings, str) else json.dumps(settings), **kinds)
    found = metadata_scales(made)
    assert found is not None
    return found, found.scale(only(made))


PATTERNS: list[tuple[dict[str, float], float]] = [
    ({"to_q": 4}, 4),
    ({"attn.to_q": 4}, 4),
    ({"blocks.0.attn.to_q": 4}, 4),
    ({r"blocks\.0\.attn\.to_q": 4}, 4),
    ({"^blocks.0.attn.to_q": 4}, 4),
    ({"^blocks.0.attn.to_q$": 4}, 4),
    ({r"blocks\.\d+\.attn\.to_q": 4}, 4),
    ({r"blocks.[0-9]+.attn.to_q": 4}, 4),
    ({".*to_q": 4}, 4),
    ({".*o_q": 4}, 4),
    ({"to_k": 4}, 8),
    ({"o_q": 4}, 8),
    ({"blocks.0": 4}, 8),
    ({"^attn.to_q": 4}, 8),
    ({r"\d+": 4}, 8),
    ({"to_k": 1, "to_q": 4, "attn.to_q": 2}, 4),
    ({r"\d+\.attn\.to_q": 2, "to_q": 4}, 2),
    ({"to_q": 4, r"\d+\.attn\.to_q": 2}, 4),
]


@pytest.mark.parametrize(("patterns", "alpha"), PATTERNS)
def test_alpha_patterns_match_as_in_peft(patterns: dict[str, float], alpha: float) -> None:
    found, scale = scales({"transformer.r": 16, "transformer.lora_alpha": 8, "transformer.alpha_pattern": patterns})
    assert (scale, found.warnings) == (alpha / 16, ())


@pytest.mark.parametrize(("patterns", "alpha"), PATTERNS)
def test_the_table_is_peft_s_rule(patterns: dict[str, float], alpha: float) -> None:
    """The rule in PEFT's own words, `(.*\\.)?(key)$`, on the same rows."""
    import re

    name = "blocks.0.attn.to_q"
    first = next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", name)), 8)
    assert first == alpha


@pytest.mark.parametrize(
    ("settings", "name", "rank", "expected"),
    [
        ({"unet.r": 4, "unet.lora_alpha": 8}, "unet.mid_block.x", 4, 2),
        ({"unet.r": 4, "unet.lora_alpha": 8}, "unet.mid_block.x", 16, 0.5),  # the module's own rank counts
        ({"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": True}, "unet.x", 16, 2),
        ({"unet.r": 4, "unet.lora_alpha": 8, "unet.use_rslora": False}, "unet.x", 16, 0.5),
        ({"unet.r": 4, "unet.lora_alpha": 8}, "text_encoder.x", 4, None),
        ({"text_encoder_2.r": 4, "text_encoder_2.lora_alpha": 8}, "text_encoder_2.x", 4, 2),
        ({"text_encoder.r": 4, "text_encoder.lora_alpha": 8}, "text_encoder_2.x", 4, None),
        ({"transformer.r": 4, "transformer.lora_alpha": 8}, "transformer.x", 4, 2),
        ({"r": 4, "lora_alpha": 8}, "base_model.model.x", 4, 2),
        ({"transformer.r": 4, "transformer.target_modules": ["to_q"]}, "transformer.x", 4, None),
        ({}, "transformer.x", 4, None),
        # alpha = r is a scale of 1, of whatever rank a layer is that is not said to have another one
        ({"unet.r": 384, "unet.lora_alpha": 384}, "unet.x", 128, 1),
        ({"unet.r": 384, "unet.lora_alpha": 384, "unet.alpha_pattern": {"x": 64}}, "unet.x", 128, 0.5),
        ({"unet.r": 384, "unet.lora_alpha": 384, "unet.rank_pattern": {"x": 128}}, "unet.x", 128, 3),
        ({"unet.r": 4, "unet.lora_alpha": 0}, "unet.x", 4, 0),
        ({"unet.r": 4, "unet.lora_alpha": -2.5}, "unet.x", 4, -0.625),
    ],
)
def test_components(settings: dict[str, object], name: str, rank: int, expected: float | None) -> None:
    found, scale = scales(settings, name=name, rank=rank)
    assert (scale, found.warnings) == (expected, ())


def test_files_without_the_entry_have_no_scales() -> None:
    assert metadata_scales(header()) is None


def test_a_tensor_s_alpha_counts_more() -> None:
    module = only(header(rank=4))._replace(slots={"up": "u", "down": "d", "alpha": "a"})
    found, _ = scales({"transformer.r": 4, "transformer.lora_alpha": 8})
    assert found.scale(module) is None


@pytest.mark.parametrize("algorithm", ["VeRA", "full difference", "OFT"])
def test_algorithms_without_a_scale_have_none(algorithm: str) -> None:
    found, _ = scales({"transformer.r": 4, "transformer.lora_alpha": 8})
    assert found.scale(only(header())._replace(algorithm=algorithm)) is None


NONSENSE = [
    "", "oops", "[1]", "null", "[" * 100_000, '{"a":' * 100_000, '"' + "x" * 2_000_000 + '"', "{" * 2_000_000,
    '{"transformer.r": 0, "transformer.lora_alpha": 1}', '{"transformer.r": -1, "transformer.lora_alpha": 1}',
    '{"transformer.r": true, "transformer.lora_alpha": 1}', '{"transformer.r": "4", "transformer.lora_alpha": 1}',
    '{"transformer.r": NaN, "transformer.lora_alpha": 1}', '{"transformer.r": 4, "transformer.lora_alpha": Infinity}',
    '{"transformer.r": 4, "transformer.lora_alpha": [1]}', '{"r": 1' + "0" * 400 + ', "lora_alpha": 1}',
    '{"transformer.r": ' + "9" * 5000 + ', "transformer.lora_alpha": 1}', '{"transformer.lora_alpha": 1}',
]  # fmt: skip


@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: text[:40])
def test_nonsense_is_a_warning(text: str) -> None:
    found, scale = scales(text)
    assert scale is None
    assert len(found.warnings) == 1


@pytest.mark.parametrize("patterns", [[1], {"to_k": "x"}, {"(a+)+$": 1}, {"a.*b": 1}, {"[": 1}, {"x" * 300 + "+": 1}])
def test_patterns_that_cannot_be_read_are_named(patterns: object) -> None:
    found, scale = scales({"transformer.r": 16, "transformer.lora_alpha": 8, "transformer.alpha_pattern": patterns})
    assert scale == 0.5
    assert len(found.warnings) == 1
    assert "cannot be read" in found.warnings[0]


def test_hostile_patterns_take_no_time() -> None:
    patterns: dict[str, float] = {f"{number}{'a' * 200}.[0-9]+.": 1 for number in range(2000)}
    patterns |= {f"x{number}": 1 for number in range(20_000)}
    settings = {"transformer.r": 16, "transformer.lora_alpha": 8, "transformer.alpha_pattern": patterns}
    found, _ = scales(settings)
    module = only(header())
    started = time.process_time()
    for path in ("a.1" * 10_000, "1" * 250, "." * 32, "1." * 30):
        for _ in range(100):
            found.scale(module._replace(path=path))
    assert time.process_time() - started < 1


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), lambda inner: st.lists(inner)
                    | st.dictionaries(st.sampled_from(["transformer.r", "transformer.lora_alpha", "r", "lora_alpha",
                                                       "alpha_pattern", "transformer.alpha_pattern", "x.use_rslora"])
                                      | st.text(), inner)))  # fmt: skip
def test_any_json_is_read(value: object) -> None:
    _, scale = scales(json.dumps(value))
    assert scale is None or math.isfinite(scale)


def test_a_config_beside_peft_s_file(tmp_path: Path) -> None:
    file = tmp_path / "adapter_model.safetensors"
    assert read_adapter_config(file) is None
    config = {"peft_type": "LORA", "r": 16, "lora_alpha": 8, "alpha_pattern": {"to_q": 4}, "rank_pattern": {"to_q": 9}}
    (tmp_path / CONFIG_NAME).write_text(json.dumps(config))
    for name in ("base_model.model.x.to_q", "text_encoder.to_q"):
        found = read_adapter_config(file)
        assert found is not None
        assert found.scale(only(header(name=name))) == 0.25
        assert not found.warnings


def test_a_config_belongs_to_the_only_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_text('{"r": 4, "lora_alpha": 8}')
    file = tmp_path / "style.safetensors"
    file.touch()
    assert read_adapter_config(file) is not None
    (tmp_path / "other.SAFETENSORS").touch()
    assert read_adapter_config(file) is None
    assert read_adapter_config(tmp_path / "adapter_model.safetensors") is not None


@pytest.mark.parametrize("text", ["oops", "[" * 100_000, " " * 1_000_001, "\0", "[]"])
def test_a_broken_config_is_a_warning(tmp_path: Path, text: str) -> None:
    (tmp_path / CONFIG_NAME).write_text(text)
    found = read_adapter_config(tmp_path / "adapter_model.safetensors")
    assert found is not None
    assert (len(found.warnings), found.adapters) == (1, {})


def test_reading_a_config_never_raises(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).mkdir()
    for path in (
        tmp_path / "a.safetensors",
        "x\0.safetensors",
        "",
        "/",
        tmp_path / "none" / "adapter_model.safetensors",
    ):
        assert read_adapter_config(path) is None
    (tmp_path / "bytes").mkdir()
    (tmp_path / "bytes" / CONFIG_NAME).write_bytes(b"\xff\xfe{}")
    found = read_adapter_config(tmp_path / "bytes" / "adapter_model.safetensors")
    assert found is not None and found.warnings


def test_a_config_without_an_alpha_says_nothing(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_text('{"peft_type": "IA3"}')
    assert read_adapter_config(tmp_path / "adapter_model.safetensors") is None
