"""Workflows as the editor saves them, and what `/object_info` says of their nodes; small, and by hand."""

from __future__ import annotations

from typing import Any

Json = Any

OBJECT_INFO: dict[str, Json] = {
    "CheckpointLoaderSimple": {
        "input": {"required": {"ckpt_name": [["a.safetensors", "b.safetensors"], {"tooltip": "The checkpoint."}]}},
        "output": ["MODEL", "CLIP", "VAE"],
        "display_name": "Load Checkpoint",
    },
    "CLIPTextEncode": {
        "input": {
            "required": {
                "text": ["STRING", {"multiline": True, "dynamicPrompts": True, "tooltip": "The text to be encoded."}],
                "clip": ["CLIP"],
            }
        },
        "output": ["CONDITIONING"],
        "display_name": "CLIP Text Encode (Prompt)",
    },
    "ConditioningZeroOut": {"input": {"required": {"conditioning": ["CONDITIONING"]}}, "output": ["CONDITIONING"]},
    "EmptyLatentImage": {
        "input": {
            "required": {
                "width": ["INT", {"default": 512, "min": 16, "max": 16384, "step": 8}],
                "height": ["INT", {"default": 512, "min": 16, "max": 16384, "step": 8}],
                "batch_size": ["INT", {"default": 1, "min": 1, "max": 4096}],
            }
        },
        "output": ["LATENT"],
    },
    "KSampler": {
        "input": {
            "required": {
                "model": ["MODEL"],
                "seed": ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}],
                "steps": ["INT", {"default": 20, "min": 1, "max": 10000}],
                "cfg": ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1}],
                "sampler_name": [["euler", "heun"], {}],
                "scheduler": ["COMBO", {"options": ["normal", "karras"]}],
                "positive": ["CONDITIONING"],
                "negative": ["CONDITIONING"],
                "latent_image": ["LATENT"],
                "denoise": ["FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}],
            }
        },
        "output": ["LATENT"],
    },
    "VAEDecode": {"input": {"required": {"samples": ["LATENT"], "vae": ["VAE"]}}, "output": ["IMAGE"]},
    "SaveImage": {
        "input": {"required": {"images": ["IMAGE"], "filename_prefix": ["STRING", {"default": "ComfyUI"}]}},
        "output": [],
        "output_node": True,
        "display_name": "Save Image",
    },
    "LoadImage": {
        "input": {"required": {"image": [["here.png"], {"image_upload": True}]}},
        "output": ["IMAGE", "MASK"],
    },
    "ImageBlur": {
        "input": {"required": {"image": ["IMAGE"], "blur_radius": ["INT", {"default": 1, "min": 1, "max": 31}]}},
        "output": ["IMAGE"],
    },
    "PrimitiveInt": {"input": {"required": {"value": ["INT", {"min": 0, "max": 9999}]}}, "output": ["INT"]},
    "SaveVideo": {
        "input": {
            "required": {
                "video": ["IMAGE"],
                "format": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "auto", "inputs": {"required": {}}},
                            {
                                "key": "mp4",
                                "inputs": {
                                    "required": {
                                        "codec": [["h264", "av1"], {}],
                                        "crf": ["FLOAT", {"default": 23.0, "min": 0.0, "max": 51.0}],
                                    }
                                },
                            },
                        ]
                    },
                ],
                "prefix": ["STRING", {"default": "video"}],
            }
        },
        "output": [],
        "output_node": True,
    },
    "LorchestraLoraStack": {
        "input": {
            "required": {"model": ["MODEL"]},
            "optional": {"clip": ["CLIP"], "loras": ["LORCHESTRA_LORAS", {"default": ""}], "missing": [["error"], {}]},
        },
        "output": ["MODEL", "CLIP", "LORA_STACK", "STRING", "STRING"],
    },
}


def node(id_: Json, kind: str, values: Json = None, links: dict[str, Json] | None = None, **more: Json) -> Json:
    """A node; `links` is input → link's id. All sockets and widgets of `OBJECT_INFO` have a slot."""
    info = OBJECT_INFO.get(kind, {})
    specs = {**info.get("input", {}).get("required", {}), **info.get("input", {}).get("optional", {})}
    slots = [{"name": name, "type": _type(spec), "link": (links or {}).get(name)} for name, spec in specs.items()]
    for slot in slots:
        if slot["type"] in ("INT", "FLOAT", "STRING", "COMBO"):
            slot["widget"] = {"name": slot["name"]}
    slots += [{"name": name, "type": "*", "link": link} for name, link in (links or {}).items() if name not in specs]
    outputs = [{"name": kind_, "type": kind_, "links": []} for kind_ in info.get("output", [])]
    return {
        "id": id_,
        "type": kind,
        "inputs": slots,
        "outputs": outputs,
        "mode": 0,
        "widgets_values": values or [],
    } | more


def _type(spec: Json) -> str:
    return "COMBO" if isinstance(spec[0], list) else spec[0]


def text_to_image(**more: Json) -> Json:
    """The usual workflow: checkpoint, two prompts, latent, sampler, picture."""
    nodes = [
        node(4, "CheckpointLoaderSimple", ["a.safetensors"]),
        node(6, "CLIPTextEncode", ["a lighthouse"], {"clip": 1}),
        node(7, "CLIPTextEncode", ["blurry"], {"clip": 2}),
        node(5, "EmptyLatentImage", [512, 768, 1]),
        node(
            3, "KSampler", [1234, "randomize", 20, 7, "euler", "karras", 1],
            {"model": 3, "positive": 4, "negative": 5, "latent_image": 6},
        ),
        node(8, "VAEDecode", [], {"samples": 7, "vae": 8}),
        node(9, "SaveImage", ["picture"], {"images": 9}),
    ]  # fmt: skip
    links = [
        [1, 4, 1, 6, 1, "CLIP"], [2, 4, 1, 7, 1, "CLIP"], [3, 4, 0, 3, 0, "MODEL"], [4, 6, 0, 3, 6, "CONDITIONING"],
        [5, 7, 0, 3, 7, "CONDITIONING"], [6, 5, 0, 3, 8, "LATENT"], [7, 3, 0, 8, 0, "LATENT"], [8, 4, 2, 8, 1, "VAE"],
        [9, 8, 0, 9, 0, "IMAGE"],
    ]  # fmt: skip
    return {"nodes": nodes, "links": links, "version": 0.4, "extra": {}} | more


def subgraph(id_: str, nodes: Json, links: Json, inputs: Json = (), outputs: Json = (), name: str = "Inner") -> Json:
    """A subgraph's definition; `inputs` and `outputs` are (name, type, ids of links)."""
    slots = [[{"name": n, "type": t, "linkIds": list(ids)} for n, t, ids in some] for some in (inputs, outputs)]
    return {"id": id_, "name": name, "nodes": nodes, "links": links, "inputs": slots[0], "outputs": slots[1]}


def with_subgraph(values: Json = None, proxies: Json = None, depth: int = 1, **host: Json) -> Json:
    """A blur in `depth` subgraphs, between a picture and where it is saved; its radius is on the outermost node."""
    inner = [node(1, "ImageBlur", [5], {"image": 1, "blur_radius": 2})]
    kind = "inner-0"
    made = []
    for level in range(depth):
        made.append(
            subgraph(
                f"inner-{level}", inner,
                [{"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0, "type": "IMAGE"},
                 {"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 1, "target_slot": 1, "type": "INT"},
                 {"id": 3, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"}],
                [("image", "IMAGE", [1]), ("radius", "INT", [2])], [("out", "IMAGE", [3])],
            )
        )  # fmt: skip
        kind = f"inner-{level}"
        inner = [
            {"id": 1, "type": kind, "mode": 0, "outputs": [{"type": "IMAGE"}], "widgets_values": [],
             "inputs": [{"name": "image", "type": "IMAGE", "link": 1}, {"name": "radius", "type": "INT", "link": 2}]}
        ]  # fmt: skip
    outer = {
        "id": 20, "type": kind, "mode": 0, "outputs": [{"type": "IMAGE"}], "widgets_values": values or [],
        "inputs": [{"name": "image", "type": "IMAGE", "link": 30}],
        "properties": {"proxyWidgets": proxies} if proxies else {},
    } | host  # fmt: skip
    nodes = [node(8, "LoadImage", ["here.png"]), outer, node(9, "SaveImage", ["x"], {"images": 31})]
    links = [[30, 8, 0, 20, 0, "IMAGE"], [31, 20, 0, 9, 0, "IMAGE"]]
    return {"nodes": nodes, "links": links, "definitions": {"subgraphs": made}}
