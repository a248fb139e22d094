"""Whatever a file holds, what reads headers answers or raises our errors; it takes little memory and never hangs."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import broken_files
from support.broken_files import CORPUS, LIMIT, SECONDS, Broken

from lorchestra.architectures.sites import model_sites
from lorchestra.errors import LorchestraError
from lorchestra.files.header import Header, parse_header
from lorchestra.lora.examined import examine
from lorchestra.lora.metadata import trained_on, training, trigger_words
from lorchestra.lora.numbers import read_summary
from lorchestra.models.placing import place
from lorchestra.spelling import slots

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a process is measured as Linux has it")


def outcomes(folder: Path, rows: list[Broken]) -> dict[str, dict[str, Any]]:
    """What became of those files, by name."""
    process = subprocess.run(
        [sys.executable, broken_files.__file__, folder, *(row.name for row in rows)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.returncode == 0, process.stderr
    return {line["name"]: line for line in map(json.loads, process.stdout.splitlines())}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return outcomes(tmp_path_factory.mktemp("quick"), [row for row in CORPUS if not row.slow])


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return outcomes(tmp_path_factory.mktemp("slow"), [row for row in CORPUS if row.slow])


ROWS = [pytest.param(row, id=row.name, marks=pytest.mark.slow if row.slow else ()) for row in CORPUS]


@pytest.mark.parametrize("row", ROWS)
def test_a_broken_file_is_refused_or_read_within_bounds(row: Broken, request: pytest.FixtureRequest) -> None:
    result = request.getfixturevalue("slow" if row.slow else "quick")[row.name]
    assert "raised" not in result, result["raised"]
    assert result["seconds"] < SECONDS
    assert result["memory"] < LIMIT
    assert ("refused" in result) is not row.is_read, result
    if row.is_read:
        assert result["code"] in (0, 1)
        assert result["said"] < 10_000
        assert len(result["unreadable"]) <= 20
    else:
        assert result["code"] == 2
    if row.made_for:
        assert row.made_for in result["made_for"]
        assert result["placed"] == 20


@pytest.mark.parametrize("name", ["50 MB of tags", "invalid UTF-8 in metadata", "a JSON bomb in metadata"])
def test_unreadable_metadata_is_told(name: str, quick: dict[str, dict[str, Any]]) -> None:
    assert quick[name]["unreadable"]


def everything(header: Header) -> None:
    """Asks for all that a header can tell; for every module as well."""
    found = examine(header)
    assert found.problem is None or found.problem
    assert all([*found.warnings, *found.evidence])
    training(header.metadata), trained_on(header.metadata), trigger_words(header.metadata)
    place(found.reading.modules, {"model": SITES})
    for module in found.reading.modules:
        assert module.kind
        assert module.layout.problem or module.rank is None or module.rank >= 0
        if found.scales:
            found.scales.scale(module)


SITES = model_sites(
    {
        f"{name}.weight": (f"{name}.weight", shape)
        for name, shape in {"x": (8, 4), "blocks.0.q": (4, 4), "conv": (4, 4, 3, 3), "img_in": (8, 8)}.items()
    }
)

LAYERS = st.sampled_from(
    ["x", "", "lora_unet_x", "diffusion_model.x", "blocks.0.q", "lora_te1_text_model_encoder_layers_0_mlp_fc1",
     "conv", "unet.conv", "img_in", "base_model.model.x", "text_encoders.clip_l.transformer.x", "lora_te_x", "unet:0",
     "é\ud83d"]
) | st.text(max_size=4)  # fmt: skip
NAMES = st.builds(str.__add__, LAYERS, st.sampled_from([*slots.SUFFIXES, ".weight", "", ":up", ":down"]))
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 8, 320, 2**20]), max_size=5).map(tuple)
KEYS = st.sampled_from(
    ["ss_tag_frequency", "ss_network_dim", "ss_network_alpha", "ss_network_args", "software", "lora_adapter_metadata",
     "ss_base_model_version", "modelspec.architecture", "modelspec.trigger_phrase", "unet", "text_encoder", "ss_v2"]
) | st.text(max_size=3)  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = (
    st.text(max_size=8)
    | st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)).map(
        json.dumps
    )
    | LEAVES
)
DTYPES = st.sampled_from(["F32", "BF16", "F8_E4M3", "I64", "F4"])


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(NAMES, SHAPES, DTYPES), max_size=8), st.dictionaries(KEYS, VALUES, max_size=4))
def test_fuzzed_names_shapes_and_metadata(tensors: list[tuple[str, Any, str]], metadata: dict[str, Any]) -> None:
    described: dict[str, Any] = {"__metadata__": metadata}
    position = 0
    bits = {"F32": 32, "BF16": 16, "F8_E4M3": 8, "I64": 64, "F4": 4}
    for name, shape, dtype in tensors:
        size = bits[dtype]
        for length in shape:
            size *= length
        if name not in described:
            described[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size // 8]}
            position += size // 8
    text = json.dumps(described).encode()
    with contextlib.suppress(LorchestraError):
        everything(parse_header(text, path="x.safetensors", file_size=8 + len(text) + position))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_fuzzed_changes_of_a_sound_header(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    shapes, end = broken_files.described({**broken_files.lora(2), "x.dora_scale": (8, 1)})
    text = bytearray(json.dumps({"__metadata__": {"ss_tag_frequency": '{"a": {"b": 1}}'}, **shapes}).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place_ = data.draw(st.integers(0, len(text) - 1))
        text[place_ : place_ + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"[", b"]", b"{", b"}", b'"', b",", b":", b"\\", b"0", b"-", b"\xff", b" ", b"e", b""])
        )
    path = tmp_path_factory.getbasetemp() / "x.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    with contextlib.suppress(LorchestraError):
        everything(parse_header(bytes(text), path=str(path), file_size=8 + len(text) + end))
    with contextlib.suppress(LorchestraError):
        read_summary(path)


PIECES = st.sampled_from(
    [b'"a":"b"', b'"ss_tag_frequency":"{}"', b'"x":[1,[],{}]', b'"y":{"a":"]"}', b'"z":1', b'"\xff":"\xfe"',
     b'"q":"\\"\\\\"']
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, max_size=6), st.sampled_from([b"", b" ", b"\n\t "]))
def test_long_and_short_headers_have_the_same_metadata(pieces: list[bytes], space: bytes) -> None:
    """A long header is walked through, a short one parsed; they differ where the same key comes twice."""
    pieces = list(dict.fromkeys(pieces))
    inside = (b"," + space).join(pieces)
    tensor = b'"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    text = b'{"__metadata__":' + space + b"{" + space + inside + space + b"}" + space + b"," + space + tensor
    short = text + b"}"
    long = text + b" " * 1_000_000 + b"}"
    one, other = (parse_header(each, path="x", file_size=8 + len(each) + 1) for each in (short, long))
    assert one.metadata == other.metadata
    assert one.shapes == other.shapes == {"t": (1,)}
    assert one.tensors == other.tensors
    assert len(one.unreadable) == len(other.unreadable)
