"""`lorchestra demo`: the whole of it on made-up files, from a checkpoint to a picture."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from ..errors import LorchestraError
from ..files.new_file import write_new
from .export import Subparsers

_WEIGHTS = {"warm": 0.75, "lines": 0.5, "glow": -0.4, "texture": 0.3}
"""LoRA of the demo → weight in the stack that is baked."""


def add_demo(subparsers: Subparsers) -> None:
    """Adds `lorchestra demo`."""
    parser = subparsers.add_parser(
        "demo",
        help="make a small model and LoRAs, bake them, and draw a picture",
        description="Makes a small checkpoint with the names and widths of Stable Diffusion 1.5 (filled with noise) "
        "and LoRAs in four spellings, inspects them, bakes them in two orders and compares the files. Where a ComfyUI "
        "is found, it runs the example workflow in it and saves the picture.",
    )
    parser.add_argument("-o", "--output", default="demo-output", metavar="FOLDER", help="default: demo-output")
    parser.add_argument("--no-comfyui", action="store_true", help="leave ComfyUI out")
    parser.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> int:
    """Runs the demo; the exit code is 1 when two orders give different files, 2 when something cannot be used."""
    folder = Path(args.output)
    started = time.monotonic()
    checkpoint, loras = _make_files(folder)
    _inspect(loras)
    same = _bake(folder, checkpoint, loras)
    if args.no_comfyui:
        print("\n4. ComfyUI was left out, as asked.")
    else:
        _draw(folder)
    print(f"\nDone in {time.monotonic() - started:.0f} s. Everything is in {folder.absolute()}")
    return 0 if same else 1


def _make_files(folder: Path) -> tuple[Path, dict[str, Path]]:
    from ..demo.checkpoint import write_checkpoint
    from ..demo.loras import layers, write_lora
    from ..demo.prompt import CHECKPOINT

    print("1. Making a small checkpoint with the names and widths of Stable Diffusion 1.5, filled with noise …")
    checkpoint = write_checkpoint(folder / "models" / "checkpoints" / CHECKPOINT)
    print(f"   {checkpoint}: {checkpoint.stat().st_size / 1e6:.0f} MB")
    print("   … and LoRAs for it, each in another spelling:")
    attention = layers("*attn1.to_*", "*attn2.to_*")
    text = layers("text_model.*_proj")
    where = folder / "models" / "loras" / "lorchestra-demo"
    loras = {
        "warm": write_lora(where / "warm.safetensors", {**attention, **text}, "kohya", rank=8, alpha=4, seed=1),
        "lines": write_lora(where / "lines.safetensors", attention, "peft", rank=16, seed=2),
        "glow": write_lora(where / "glow.safetensors", attention, "diffusers-processor", rank=4, seed=3),
        "texture": write_lora(
            where / "texture.safetensors", layers("*in_layers.2", "*out_layers.3"), "kohya", rank=8, seed=4, tucker=True
        ),
    }
    for path in loras.values():
        print(f"   {path}")
    return checkpoint, loras


def _inspect(loras: dict[str, Path]) -> None:
    from ..lora.numbers import read_summary
    from .inspect import block

    print("\n2. What the LoRA files hold (lorchestra inspect):\n")
    print("\n\n".join(block(read_summary(path)) for path in loras.values()))


def _bake(folder: Path, checkpoint: Path, loras: dict[str, Path]) -> bool:
    from ..apply.bake import bake
    from ..files.key import read_sha256
    from ..stack import Entry, Stack

    print("\n3. Baking the four LoRAs into the checkpoint, in two different orders (lorchestra bake):\n")
    entries = [Entry(str(path), model=_WEIGHTS[name]) for name, path in loras.items()]
    orders = (entries, entries[::-1])
    hashes: list[str] = []
    for number, order in enumerate(orders, 1):
        output = folder / f"baked-order-{number}.safetensors"
        result = bake(checkpoint, Stack(tuple(order)), output, force=True)
        hashes.append(read_sha256(output))
        names = " + ".join(f"{Path(entry.lora).stem} {entry.model:g}" for entry in order)
        print(f"   {names}\n   → {output}: {result.changed} tensors changed, SHA-256 {hashes[-1][:16]}…")
    same = len(set(hashes)) == 1
    print("   The two files are the same, to the bit." if same else "   THE TWO FILES DIFFER. This is a bug.")
    return same


def _draw(folder: Path) -> None:
    from ..demo.comfyui import Server, find_comfyui, pack_root

    pack, comfyui = pack_root(), find_comfyui()
    if comfyui is None or pack is None:
        what = "no ComfyUI was found" if comfyui is None else "this is not the node pack's folder"
        print(f"\n4. No picture: {what}. Set COMFYUI_PATH to a ComfyUI folder and run this again.")
        return
    print(f"\n4. Running the example workflow in ComfyUI {comfyui.version} (headless, on the CPU) …")
    workflow = pack / "example_workflows" / "lora_stack.json"
    with Server(comfyui, folder, pack=pack, arguments=["--use-pytorch-cross-attention"]) as server:
        outputs = server.run(_example_prompt(workflow))
        pictures = _save(outputs, folder / "picture-with-loras", server)
        without = server.run(_without_loras(_example_prompt(workflow)))
        pictures += _save(without, folder / "picture-without-loras", server)
    for output in outputs.values():
        for text in output.get("text", []):
            print("   " + text.replace("\n", "\n   "))
    print(f"   {workflow.name}, run through ComfyUI's API, gave {' and '.join(map(str, pictures))}")


def _example_prompt(workflow: Path) -> dict[str, Any]:
    from ..demo.workflow import to_prompt

    try:
        prompt = to_prompt(json.loads(workflow.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError) as error:
        raise LorchestraError(f"{workflow}: the example workflow cannot be read ({error})") from error
    for node in prompt.values():
        if node["class_type"] == "EmptyLatentImage":  # small enough for a CPU
            node["inputs"].update(width=256, height=256)
        elif node["class_type"] == "KSampler":
            node["inputs"]["steps"] = 8
    return prompt


def _without_loras(prompt: dict[str, Any]) -> dict[str, Any]:
    for node in list(prompt.values()):
        if node["class_type"] == "LorchestraLoraStack":
            node["inputs"]["loras"] = '{"version": 1, "loras": []}'
    return {number: node for number, node in prompt.items() if node["class_type"] != "LorchestraApiExport"}


def _save(outputs: dict[str, Any], stem: Path, server: Any) -> list[Path]:
    saved: list[Path] = []
    for output in outputs.values():
        for image in output.get("images", []):
            path = stem.with_suffix(Path(image["filename"]).suffix)
            write_new(path, server.view(image), force=True)
            saved.append(path)
    return saved
