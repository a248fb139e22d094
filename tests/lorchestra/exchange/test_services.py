"""Requests as each program documents them: what is read of them, and what is written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lorchestra.errors import DialectError
from lorchestra.exchange import find_dialect_or_raise, read_any
from lorchestra.stack import Entry, Stack

AIR = "civitai:120096@135931"
URN = f"urn:air:sdxl:lora:{AIR}"
URL = "https://example.com/pixel.safetensors"
DOWNLOAD = "https://civitai.com/api/download/models/135931"
SHA256 = "0123456789abcdef" * 4
SWARM_PICTURE = {
    "sui_image_params": {"prompt": "a cat", "loras": ["styles/pixel", "b"], "loraweights": ["0.7", "1"]},
    "sui_models": [{"name": "styles/pixel.safetensors", "param": "loras", "hash": "0x" + SHA256}],
}
INVOKE = {"key": "4f-1", "hash": "blake3:" + SHA256, "name": "pixel", "base": "sdxl", "type": "lora"}
INVOKE_EXTRA = {"key": "4f-1", "base": "sdxl", "hash": SHA256}


@pytest.mark.parametrize(
    ("dialect", "request_", "entries", "fields"),
    [
        (
            "lora-manager-recipe",
            {
                "title": "r",
                "loras": [
                    {
                        "file_name": "pixel", "hash": SHA256, "strength": 0.7, "modelVersionId": 135931,
                        "modelName": "Pixel",
                    },
                    {"file_name": "b", "hash": "0123456789AB", "strength": 1, "modelVersionId": "", "exclude": True},
                    {"file_name": "", "hash": "", "strength": "", "modelVersionId": 12} | {"strength": None},
                ],
            },
            (
                Entry("pixel", model=0.7, sha256=SHA256, extra={"modelName": "Pixel", "modelVersionId": 135931}),
                Entry("b", on=False, model=1.0, extra={"hash": "0123456789ab"}),
                Entry(
                    "https://civitai.com/api/download/models/12", model=1.0, extra={"modelVersionId": 12}
                ),
            ),
            [(None, "request")],
        ),
        (
            "civitai",
            {
                "meta": {
                    "prompt": "x",
                    "civitaiResources": [
                        {"type": "checkpoint", "modelVersionId": 1},
                        {"type": "lora", "weight": 0.7, "modelVersionId": 135931, "modelVersionName": "v1"},
                        {"weight": -0.5, "air": URN},
                        {"weight": 1, "modelVersionId": 7},
                    ],
                    "resources": [{"name": "pixel", "type": "lora", "weight": 0.7, "hash": "0123456789"}],
                }
            },
            (
                Entry(DOWNLOAD, model=0.7, extra={"modelVersionName": "v1", "modelVersionId": 135931}),
                Entry(URN, model=-0.5, air=URN),
            ),
            [(None, "request"), (1, "civitaiResources[0]"), (4, "civitaiResources[3]"), (None, "resources")],
        ),
        (
            "civitai",
            [{"name": "pixel", "type": "LORA", "hash": "0123456789"}],
            (Entry("pixel", model=1.0, extra={"hash": "0123456789"}),),
            [],
        ),
        (
            "civitai-orchestration",
            {"$type": "textToImage", "additionalNetworks": {URN: {"strength": 0.7, "triggerWord": "pxl"}, AIR: {}}},
            (Entry(URN, model=0.7, air=URN, extra={"triggerWord": "pxl"}), Entry(AIR, model=1.0, air=AIR)),
            [(None, "request")],
        ),
        ("civitai-orchestration", {"loras": {URN: 0.7}}, (Entry(URN, model=0.7, air=URN),), []),
        (
            "civitai-orchestration",
            {"steps": [{"$type": "imageGen", "input": {"loras": [{"air": AIR, "strength": 0.5}]}}, {"$type": "x"}]},
            (Entry(AIR, model=0.5, air=AIR),),
            [],
        ),
        (
            "civitai-orchestration",
            {"additionalNetworks": {"urn:air:sd1:embedding:civitai:1@2": {"strength": 1}, URN: {"strength": 1}}},
            (Entry(URN, model=1.0, air=URN),),
            [(1, "additionalNetworks['urn:air:sd1:embedding:civitai:1@2']")],
        ),
        (
            "swarmui",
            {"prompt": "a cat", "loras": "styles/pixel, b,c", "loraweights": "0.7", "loratencweights": "0.7,0.5"},
            (Entry("styles/pixel", model=0.7), Entry("b", model=1.0, clip=0.5), Entry("c", model=1.0)),
            [(None, "request")],
        ),
        (
            "swarmui",
            {"loras": ["a", "b"], "loraweights": [1, "0.5"], "lorasectionconfinement": "0,2"},
            (Entry("a", model=1.0), Entry("b", model=0.5, extra={"section": 2})),
            [(2, "section")],
        ),
        (
            "swarmui",
            SWARM_PICTURE,
            (Entry("styles/pixel", model=0.7, extra={"hash": SHA256[:12]}), Entry("b", model=1.0)),
            [(None, "request")],
        ),
        (
            "fal",
            {"prompt": "x", "loras": [{"path": URL, "scale": 0.7}, {"path": "owner/name", "force": True}]},
            (
                Entry(URL, model=0.7),
                Entry("owner/name", model=1.0, air="huggingface:owner/name", extra={"force": True}),
            ),
            [(None, "request")],
        ),
        (
            "fal-wan",
            [{"path": URL, "transformer": "low", "weight_name": "x.safetensors"}, {"path": DOWNLOAD, "scale": 2}],
            (
                Entry(URL, model=1.0, expert="low", extra={"weight_name": "x.safetensors"}),
                Entry(DOWNLOAD, model=2.0, expert="high", extra={"modelVersionId": 135931}),
            ),
            [],
        ),
        (
            "replicate",
            {"input": {"prompt": "x", "lora_weights": "owner/name", "extra_lora": URL, "extra_lora_scale": 2.5}},
            (Entry("owner/name", model=1.0, air="huggingface:owner/name"), Entry(URL, model=2.5)),
            [(None, "request")],
        ),
        (
            "replicate",
            {"lora_weights": "civitai.com/models/120096?modelVersionId=135931", "lora_scale": -1},
            (Entry("civitai.com/models/120096?modelVersionId=135931", model=-1.0, air=AIR),),
            [],
        ),
        (
            "replicate-multi",
            {"hf_loras": ["owner/name", URL], "lora_scales": [0.8]},
            (Entry("owner/name", model=0.8, air="huggingface:owner/name"), Entry(URL, model=1.0)),
            [],
        ),
        (
            "together",
            {"model": "black-forest-labs/FLUX.1-dev-lora", "image_loras": [{"path": URL, "scale": 1}]},
            (Entry(URL, model=1.0),),
            [(None, "request")],
        ),
        (
            "invokeai",
            {
                "loras": [
                    {"model": INVOKE, "weight": 0.5},
                    {"lora": {"name": "b", "hash": "sha256:" + SHA256}, "isEnabled": False},
                ]
            },
            (Entry("pixel", model=0.5, extra=INVOKE_EXTRA), Entry("b", on=False, model=0.75, sha256=SHA256)),
            [],
        ),
        (
            "invokeai-graph",
            {"nodes": {"a": {"type": "lora_selector", "lora": INVOKE, "weight": 2}, "b": {"type": "denoise"}}},
            (Entry("pixel", model=2.0, extra=INVOKE_EXTRA),),
            [(None, "request")],
        ),
        (
            "draw-things",
            {"steps": 8, "loras": [{"file": "a_f16.ckpt"}, {"file": "b.ckpt", "weight": 1, "mode": "refiner"}]},
            (Entry("a_f16.ckpt", model=0.6), Entry("b.ckpt", model=1.0, extra={"mode": "refiner"})),
            [(None, "request"), (2, "mode")],
        ),
        (
            "sglang",
            {"lora_nickname": "toy", "lora_path": "/loras/pixel.safetensors", "target": "all", "strength": 0.8},
            (Entry("/loras/pixel.safetensors", model=0.8, expert="both", extra={"lora_nickname": "toy"}),),
            [],
        ),
        (
            "sglang",
            {
                "lora_nickname": ["lora1", "b", "c"],
                "lora_path": ["/x/lora1.safetensors", None, "o/n"],
                "target": ["transformer", "transformer_2", "critic"],
            },
            (
                Entry("/x/lora1.safetensors", model=1.0, expert="high"),
                Entry("b", model=1.0, expert="low"),
                Entry("o/n", model=1.0, extra={"lora_nickname": "c", "target": "critic"}),
            ),
            [(3, "target")],
        ),
        ("vllm-omni", {"n": 1, "lora": {"name": "a", "scale": 0.5}}, (Entry("a", model=0.5),), [(None, "request")]),
        (
            "vllm-omni",
            {"extra_body": {"lora": {"name": "toy", "local_path": "/l/pixel", "lora_scale": 2, "int_id": 3}}},
            (Entry("/l/pixel", model=2.0, extra={"name": "toy"}),),
            [],
        ),
        ("vllm-omni", {"lora": [{"name": "a"}]}, (Entry("a", model=1.0),), []),
        (
            "lightx2v",
            {
                "infer_steps": 4,
                "lora_configs": [
                    {"name": "high_noise_model", "path": "/l/high.safetensors", "strength": 0.5},
                    {"name": "low_noise_model", "path": "/l/low.safetensors"},
                    {"name": "wan2.1", "path": "/l/c.safetensors", "alpha": None},
                ],
            },
            (
                Entry("/l/high.safetensors", model=0.5, expert="high"),
                Entry("/l/low.safetensors", model=1.0, expert="low"),
                Entry("/l/c.safetensors", model=1.0, extra={"name": "wan2.1", "alpha": None}),
            ),
            [(None, "request")],
        ),
    ],
)  # fmt: skip
def test_what_programs_document_is_read(
    dialect: str, request_: Any, entries: tuple[Entry, ...], fields: list[tuple[int | None, str]]
) -> None:
    reading = find_dialect_or_raise(dialect).read(request_)
    assert reading.stack.entries == entries
    assert [(loss.row, loss.field) for loss in reading.losses] == fields
    assert read_any(json.dumps(request_)) == reading


ROW = Entry("styles/pixel.safetensors", model=0.7, air=URN, sha256=SHA256)
PAIR = (Entry("a.safetensors", model=0.5, expert="high"), Entry("b.safetensors", model=1.0, clip=0.25, expert="low"))


@pytest.mark.parametrize(
    ("dialect", "entries", "options", "request_", "fields"),
    [
        (
            "lora-manager-recipe", (ROW, Entry("b", on=False)), {},
            {
                "loras": [
                    {"file_name": "pixel", "hash": SHA256, "strength": 0.7, "modelVersionId": 135931, "exclude": False},
                    {"file_name": "b", "hash": "", "strength": 0.75, "modelVersionId": 0, "exclude": True},
                ]
            },
            [(1, "air"), (1, "lora")],
        ),
        ("civitai", (ROW,), {}, [{"type": "lora", "weight": 0.7, "air": URN, "modelVersionId": 135931}], []),
        (
            "civitai", (Entry("pixel", model=0.7, sha256=SHA256),), {},
            [{"type": "lora", "weight": 0.7, "hash": SHA256[:10], "name": "pixel"}], [(1, "sha256")],
        ),
        ("civitai-orchestration", (ROW,), {}, {"additionalNetworks": {URN: {"strength": 0.7}}}, []),
        (
            "swarmui", PAIR, {},
            {"loras": "a,b", "loraweights": "0.5,1", "loratencweights": "0.5,0.25"}, [(1, "expert"), (2, "expert")],
        ),
        ("swarmui-prompt", PAIR, {}, "<lora:a:0.5> <lora:b:1:0.25>", [(1, "expert"), (2, "expert")]),
        ("fal", (ROW,), {}, {"loras": [{"path": DOWNLOAD, "scale": 0.7}]}, [(1, "sha256"), (1, "air")]),
        ("fal", (Entry(URL, model=9.0),), {}, {"loras": [{"path": URL, "scale": 9.0}]}, []),
        (
            "fal-input", (Entry(URL, model=9.0),), {"clamp": True},
            {"loras": [{"path": URL, "scale": 4.0}]}, [(1, "model")],
        ),
        (
            "fal-wan", PAIR, {"allow_names": True},
            {"loras": [
                {"path": "a.safetensors", "scale": 0.5, "transformer": "high"},
                {"path": "b.safetensors", "scale": 1.0, "transformer": "low"},
            ]},
            [(2, "clip")],
        ),
        (
            "replicate", (Entry("x", model=0.7, air="huggingface:owner/name"), Entry(URL, model=3.0)), {},
            {"lora_weights": "owner/name", "lora_scale": 0.7, "extra_lora": URL, "extra_lora_scale": 3.0}, [],
        ),
        ("replicate-multi", (Entry(URL, model=0.7),), {}, {"hf_loras": [URL], "lora_scales": [0.7]}, []),
        ("together", (Entry(URL, model=0.7),), {}, {"image_loras": [{"path": URL, "scale": 0.7}]}, []),
        (
            "invokeai", (ROW,), {},
            {"loras": [{"model": {"hash": f"sha256:{SHA256}", "name": "pixel", "type": "lora"}, "weight": 0.7}]},
            [(1, "lora"), (1, "air")],
        ),
        (
            "invokeai-graph", (Entry("pixel", model=0.7, extra=INVOKE_EXTRA),), {},
            {"nodes": {"lora_0": {"id": "lora_0", "type": "lora_selector", "lora": INVOKE, "weight": 0.7}}}, [],
        ),
        (
            "draw-things", PAIR, {},
            {"loras": [{"file": "a.safetensors", "weight": 0.5}, {"file": "b.safetensors", "weight": 1.0}]},
            [(1, "expert"), (2, "clip"), (2, "expert")],
        ),
        (
            "sglang", PAIR, {},
            {
                "lora_nickname": ["a", "b"], "lora_path": ["a.safetensors", "b.safetensors"], "strength": [0.5, 1.0],
                "target": ["transformer", "transformer_2"],
            },
            [(2, "clip")],
        ),
        (
            "sglang", (Entry("x/a.safetensors"), Entry("y/a.safetensors")), {},
            {
                "lora_nickname": ["a", "a_2"], "lora_path": ["x/a.safetensors", "y/a.safetensors"],
                "strength": [0.75, 0.75],
            },
            [],
        ),
        (
            "vllm-omni", PAIR, {}, {"lora": [{"name": "a", "scale": 0.5}, {"name": "b", "scale": 1.0}]},
            [(1, "expert"), (2, "clip"), (2, "expert")],
        ),
        (
            "vllm-omni", (Entry("x/a.safetensors", model=0.5),), {"paths": True},
            {"lora": {"name": "a", "path": "x/a.safetensors", "scale": 0.5}}, [],
        ),
        (
            "lightx2v", PAIR, {},
            {"lora_configs": [
                {"name": "high_noise_model", "path": "a.safetensors", "strength": 0.5},
                {"name": "low_noise_model", "path": "b.safetensors", "strength": 1.0},
            ]},
            [(2, "clip")],
        ),
    ],
)  # fmt: skip
def test_what_is_written(
    dialect: str, entries: tuple[Entry, ...], options: dict[str, Any], request_: Any, fields: list[tuple[int, str]]
) -> None:
    writing = find_dialect_or_raise(dialect).write(Stack(entries), **options)
    assert writing.value == request_
    assert writing.text == request_ if isinstance(request_, str) else json.loads(writing.text) == request_
    assert [(loss.row, loss.field) for loss in writing.losses] == fields


@pytest.mark.parametrize(
    ("dialect", "entries", "path", "said"),
    [
        ("runware", (Entry("a"),), "lora[0].model", "has no AIR"),
        ("runware", (Entry("a", air=AIR), Entry("b", model=5.0, air=AIR)), "lora[1].weight", "-4 … 4"),
        ("civitai", (Entry("a", on=False), Entry("a")), "resources[0].air", "no AIR and no hash"),
        ("civitai-orchestration", (Entry("a"),), "additionalNetworks", "has no AIR"),
        ("civitai-orchestration", (ROW, ROW), f"additionalNetworks['{URN}']", "row 1 has the same AIR"),
        ("swarmui", (Entry("a,b"),), "loras[0]", "has a comma"),
        ("swarmui", (Entry("a", clip=11.0),), "loratencweights[0]", "-10 … 10"),
        ("fal", (Entry("a.safetensors"),), "loras[0].path", "cannot see"),
        ("fal", (Entry("styles/pixel"),), "loras[0].path", "cannot see"),
        ("fal", (Entry("a", air="civitai:1"),), "loras[0].path", "cannot see"),
        ("fal-input", (Entry(URL, model=-0.5),), "loras[0].scale", "0 … 4"),
        ("replicate", (Entry(URL, model=4.0),), "lora_scale", "-1 … 3"),
        ("replicate", (Entry(URL), Entry(URL)), "extra_lora", "put the sum"),
        ("together", (Entry("a"),), "image_loras[0].path", "cannot see"),
        ("invokeai", (Entry("a"),), "loras[0].model", "has no hash"),
        ("invokeai", (ROW, ROW), "loras[1].model", "row 1 has the same model"),
        ("invokeai-graph", (Entry("a"),), "nodes['lora_0'].lora", "has no hash"),
    ],
)
def test_what_cannot_be_written_names_the_field(dialect: str, entries: tuple[Entry, ...], path: str, said: str) -> None:
    with pytest.raises(DialectError, match=said) as caught:
        find_dialect_or_raise(dialect).write(Stack(entries))
    assert caught.value.path == path and path in str(caught.value)


@pytest.mark.parametrize(
    ("dialect", "request_", "path"),
    [
        ("lora-manager-recipe", {"loras": [{"file_name": "a", "strength": "0.7"}]}, "loras[0].strength"),
        ("lora-manager-recipe", {"loras": [{"file_name": "a", "modelVersionId": -3}]}, "loras[0].modelVersionId"),
        ("lora-manager-recipe", {"loras": [{"strength": 1}]}, "loras[0].file_name"),
        ("civitai", [{"type": "lora", "weight": float("nan"), "modelVersionId": 1}], "resources[0].weight"),
        ("civitai", [{"type": "lora", "weight": 1, "modelVersionId": "x"}], "resources[0].modelVersionId"),
        ("civitai", [{"type": "lora", "air": "x"}], "resources[0].air"),
        (
            "civitai-orchestration",
            {"additionalNetworks": {AIR: {"strength": 101}}},
            f"additionalNetworks['{AIR}'].strength",
        ),
        ("civitai-orchestration", {"loras": {"pixel": 1}}, "loras['pixel']"),
        ("swarmui", {"loras": "a", "loraweights": "much"}, "loraweights[0]"),
        ("swarmui", {"loras": ["a", 3]}, "loras[1]"),
        ("swarmui", {"loras": "a", "lorasectionconfinement": "1.5"}, "lorasectionconfinement[0]"),
        ("fal", {"loras": [{"path": URL}, {"path": URL, "scale": True}]}, "loras[1].scale"),
        ("fal", {"loras": [{"path": URL, "transformer": "mid"}]}, "loras[0].transformer"),
        ("fal", {"loras": "x"}, "loras"),
        ("replicate", {"lora_weights": 3}, "lora_weights"),
        ("replicate", {"lora_weights": URL, "lora_scale": "1"}, "lora_scale"),
        ("replicate-multi", {"hf_loras": [URL], "lora_scales": [1, 2]}, "lora_scales"),
        ("together", {"image_loras": [{"path": URL}]}, "image_loras[0].scale"),
        ("invokeai", {"loras": [{"model": {"key": "x"}, "weight": []}]}, "loras[0].weight"),
        ("invokeai", {"loras": [{"model": {}}]}, "loras[0].model.name"),
        ("draw-things", {"loras": [{"file": "a", "mode": "x"}]}, "loras[0].mode"),
        ("draw-things", {"loras": [{"file": None}]}, "loras[0].file"),
        ("sglang", {"lora_nickname": ["a"], "lora_path": ["b", "c"]}, "lora_path"),
        ("sglang", {"lora_nickname": ["a"], "target": ["x"]}, "target[0]"),
        ("sglang", {"lora_path": "a"}, "lora_nickname"),
        ("vllm-omni", {"lora": {"scale": 1}}, "lora[0].name"),
        ("lightx2v", {"lora_configs": [{"path": "a", "strength": None}, {"strength": 1}]}, "lora_configs[1].path"),
    ],
)
def test_what_cannot_be_read_names_the_field(dialect: str, request_: Any, path: str) -> None:
    with pytest.raises(DialectError) as caught:
        find_dialect_or_raise(dialect).read(request_)
    assert caught.value.path == path and path in str(caught.value)
