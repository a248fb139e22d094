"""Writes `lorchestra/architectures/signatures.json`: names and shapes of base models, from ComfyUI's own classes.

    ~/ComfyUI/.venv/bin/python tools/collect_signatures.py [--check] [--comfyui ~/ComfyUI]
    ~/ComfyUI/.venv/bin/python tools/collect_signatures.py --add some_id some_model.safetensors

Every model of the file is recognised by ComfyUI from its names and shapes, as a checkpoint would be, built as the class
that ComfyUI picks, without weights (torch's meta device), and written down again with the names that the class has now.
So the file is its own list of models, whatever ComfyUI's versions call their settings, and `--add` takes a new model
from the header of a checkpoint. What the running ComfyUI does not know, or an older ComfyUI builds differently, keeps
its old data and is reported.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).absolute().parents[1]
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # at the end: in front, our `nodes/` would hide ComfyUI's `nodes.py`

from lorchestra.architectures.aliases import alias_sites
from lorchestra.architectures.patterns import Pattern, Shape, compact, ranges
from lorchestra.architectures.signatures import AliasPattern, Offset, Signature, from_json
from lorchestra.architectures.unet import diffusers_names
from lorchestra.demo.comfyui import find_comfyui
from lorchestra.files.header import read_header
from lorchestra.spelling.prefixes import flatten, split

FILE = ROOT / "lorchestra" / "architectures" / "signatures.json"
PREFIX = "diffusion_model."

NOT_WRITTEN = (
    # ComfyUI has one table for Flux.1 and Flux.2, so that either model gets the other's names too
    ("Flux|FluxSchnell|FluxInpaint|Chroma|ChromaRadiance|LongCatImage",
     r"transformer_blocks\.\d+\.ff(_context)?\.linear_(in|out)"
     r"|single_transformer_blocks\.\d+\.attn\.to_(out|qkv_mlp_proj)"),
    ("Flux2",
     r"transformer_blocks\.\d+\.ff(_context)?\.net\..+|single_blocks\.\d+\.linear1_qkv|time_text_embed\..+"
     r"|single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp|proj_out)"),
    # diffusers calls it add_embedding in these models
    ("SDXL|SDXLRefiner|SSD1B|Segmind_Vega|KOALA_.+|SVD_.+",
     r"class_embedding\..+"),
)  # fmt: skip
"""Names in ComfyUI's map that no trainer writes for the model: (classes, names), both as regular expressions."""


class NotBuilt(Exception):
    """The running ComfyUI cannot build a model; the text says why."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a name of ComfyUI's own LoRA map leads."""

    native: str
    """Without `.weight`."""
    offset: Offset | None = None
    swapped: bool = False


def main() -> int:
    """The command line; 0 when the file is up to date or was written, 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, help="folder of the ComfyUI to ask; found as the tests find it")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the file is out of date")
    parser.add_argument("--add", nargs=2, metavar=("ID", "CHECKPOINT"), help="also add the model of this checkpoint")
    arguments = parser.parse_args()
    found = find_comfyui()
    root = arguments.comfyui or (found.root if found else None)
    if root is None:
        parser.error("No ComfyUI was found. Say where it is: --comfyui FOLDER.")
    version = start_comfyui(root)
    data = json.loads(FILE.read_text("utf-8"))
    signatures = {signature.id: signature for signature in from_json(data)}
    wanted: dict[str, Mapping[str, Shape]] = {name: signature.shapes for name, signature in signatures.items()}
    if arguments.add:
        name, checkpoint = arguments.add
        wanted[name] = checkpoint_shapes(Path(checkpoint))
    older = _numbers(version) < _numbers(data["comfyui"])
    if older:
        print(f"ComfyUI {version} is older than {data['comfyui']}, which the file is from: nothing known is changed.")
    changed = kept = 0
    for name, shapes in sorted(wanted.items()):
        before = signatures.get(name)
        try:
            after = collect(name, shapes)
        except NotBuilt as reason:
            print(f"{name}: {'kept as it was' if before else 'not added'}; {reason}")
            kept += 1
            continue
        if after == before:
            continue
        print(f"{name}: {difference(before, after)}{', kept as it was' if older and before else ''}")
        if older and before:
            kept += 1
        else:
            changed += 1
            signatures[name] = after
    text = to_text(data["comfyui"] if older else version, signatures.values())
    # another version of ComfyUI alone is no change: its number is written when something else is
    stale = changed > 0 or text.partition("\n")[2] != _body(FILE)
    print(f"ComfyUI {version}: {len(signatures)} models, {changed} changed, {kept} kept as they were.")
    if arguments.check:
        print("The file is out of date; run this without --check." if stale else "The file is up to date.")
        return 1 if stale else 0
    if stale:
        FILE.write_text(text, "utf-8", newline="\n")
    return 0


def start_comfyui(root: Path) -> str:
    """Makes the ComfyUI in that folder importable, on the CPU, and returns its version."""
    sys.path.insert(0, str(root.expanduser()))
    saved, sys.argv = sys.argv, ["main.py", "--cpu"]
    try:
        import comfy.options

        comfy.options.enable_args_parsing()
        import comfy.cli_args
    finally:
        sys.argv = saved
    import comfyui_version

    return comfyui_version.__version__


def collect(name: str, shapes: Mapping[str, Shape]) -> Signature:
    """What the running ComfyUI makes of a model with these tensors; raises NotBuilt."""
    model = build(shapes)
    return Signature(
        id=name,
        comfy_class=type(model.model_config).__name__,
        tensors=len(built := tensors(model)),
        patterns=compact(built),
        aliases=alias_patterns(further_names(model)),
    )


def build(shapes: Mapping[str, Shape]) -> Any:
    """ComfyUI's model for a diffusion model with these tensors, on the meta device; raises NotBuilt."""
    import torch
    from comfy import model_detection

    class LiteralsOnCpu(torch.overrides.TorchFunctionMode):
        """Keeps the values of small tensors that a constructor computes with; the meta device has none."""

        def __torch_function__(
            self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if func in (torch.tensor, torch.arange):
                kwargs["device"] = "cpu"
            return func(*args, **kwargs)

    weights = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    try:
        config = model_detection.model_config_from_unet(weights, "", metadata=_settings(shapes))
        if config is None:
            raise NotBuilt("this ComfyUI does not recognise it.")
        config.set_inference_dtype(torch.bfloat16, None)
        config.custom_operations = None
        with LiteralsOnCpu():
            return config.get_model(_conditioner(config), "", device="meta")
    except NotBuilt:
        raise
    except Exception as error:  # whatever an unknown model does to code that was not written for it
        raise NotBuilt(f"this ComfyUI cannot build it: {type(error).__name__}: {error}") from error


def _settings(shapes: Mapping[str, Shape]) -> dict[str, str]:
    """What ComfyUI reads from LTX-2.3's metadata, as its tensors tell it: LTX-2 has none of these layers."""
    if "transformer_blocks.0.attn1.to_gate_logits.weight" not in shapes:
        return {}
    connector = "video_embeddings_connector.transformer_1d_blocks."
    settings = {
        "apply_gated_attention": True,
        "connector_apply_gated_attention": f"{connector}0.attn1.to_gate_logits.weight" in shapes,
        "cross_attention_adaln": "transformer_blocks.0.prompt_scale_shift_table" in shapes,
        "use_prompt_adaln_single": "prompt_adaln_single.linear.weight" in shapes,
        "ff_bias": "transformer_blocks.0.ff.net.2.bias" in shapes,
        "caption_proj_before_connector": "caption_projection.linear_1.weight" not in shapes,
        "caption_projection_first_linear": False,
        "connector_num_layers": len({name.split(".")[2] for name in shapes if name.startswith(connector)}),
        "connector_num_attention_heads": 32,
        "connector_attention_head_dim": 128,
        "audio_connector_attention_head_dim": 64,
        "audio_cross_attention_dim": 2048,
    }
    return {"config": json.dumps({"transformer": settings})}


def _conditioner(config: Any) -> dict[str, Any]:
    """The tensors beside the diffusion model that a constructor insists on: Stable Audio's two numbers."""
    if type(config).__name__ != "StableAudio":
        return {}
    from comfy.ldm.audio.embedders import NumberConditioner

    weights = NumberConditioner(768).state_dict()
    return {
        f"conditioner.conditioners.{number}.{name}": weight
        for number in ("seconds_start", "seconds_total")
        for name, weight in weights.items()
    }


def tensors(model: Any) -> dict[str, Shape]:
    """Native name → shape of all tensors of the diffusion model."""
    return {
        name[len(PREFIX) :]: tuple(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name.startswith(PREFIX)
    }


def comfyui_map(model: Any) -> dict[str, Target]:
    """ComfyUI's own LoRA names of the diffusion model → where they lead, as it has them, mistakes included."""
    import comfy.lora
    import comfy.utils

    result: dict[str, Target] = {}
    for name, target in comfy.lora.model_lora_keys_unet(model, {}).items():
        key, *rest = (target,) if isinstance(target, str) else target
        offset, change = (*rest, None, None)[:2]
        if change in (None, comfy.utils.swap_scale_shift):  # no other change to a weight can be said in the file
            native = key[len(PREFIX) :].removesuffix(".weight")
            result[name] = Target(native, tuple(offset) if offset else None, swapped=change is not None)
    return result


def further_names(model: Any) -> dict[str, Target]:
    """Those of ComfyUI's LoRA names that are right and that our rules do not give, without prefix."""
    shapes = {name.removesuffix(".weight"): shape for name, shape in tensors(model).items()}
    layers = {name.removesuffix(".weight"): shape for name, shape in tensors(model).items() if name.endswith(".weight")}
    ours = {flatten(name) for name in (*shapes, *diffusers_names(layers).values())}
    ours |= {flatten(alias.foreign) for alias in alias_sites(layers)}
    comfy_class = type(model.model_config).__name__
    unreal = [re.compile(names) for classes, names in NOT_WRITTEN if re.fullmatch(classes, comfy_class)]
    result: dict[str, Target] = {}
    flattened: set[str] = set()
    # dotted names first: the same name with underscores adds nothing
    for name, target in sorted(comfyui_map(model).items(), key=lambda item: (-item[0].count("."), item[0])):
        path = split(name)[1]
        flat = flatten(path)
        if flat in ours or flat in flattened or not _is_inside(target, shapes.get(target.native)):
            continue
        flattened.add(flat)
        if not any(names.fullmatch(path) for names in unreal):
            result[path] = target
    return result


def _is_inside(target: Target, shape: Shape | None) -> bool:
    if shape is None or target.offset is None:
        return shape is not None
    dimension, start, length = target.offset
    return dimension < len(shape) and start + length <= shape[dimension]


def alias_patterns(names: Mapping[str, Target]) -> tuple[AliasPattern, ...]:
    """The names by patterns, sorted; names that differ only in the first number, the same on both sides, are one."""
    groups: dict[tuple[str, str, Target], list[int]] = {}
    for name, target in names.items():
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        if number and re.search(r"(?<=\.)\d+", target.native + ".") and number[0] in target.native.split("."):
            head, tail = name[: number.start()], name[number.end() :]
            native_head, _, native_tail = f".{target.native}.".partition(f".{number[0]}.")
            found = Target(f"{native_head}.#.{native_tail}".strip("."), target.offset, target.swapped)
            groups.setdefault((head, tail, found), []).append(int(number[0]))
        else:
            groups.setdefault((name, "", target), [])
    result = [
        AliasPattern(
            head + (ranges(numbers) if numbers else "") + tail,
            target.native.replace("#", ranges(numbers)) if numbers else target.native,
            target.offset,
            target.swapped,
        )
        for (head, tail, target), numbers in groups.items()
    ]
    return tuple(sorted(result, key=lambda alias: (alias.foreign, alias.native)))


def checkpoint_shapes(path: Path) -> dict[str, Shape]:
    """Native name → shape of the diffusion model in a checkpoint, whole or alone; from the header."""
    from comfy import model_detection

    shapes = {name: tensor.shape for name, tensor in read_header(path).tensors.items()}
    prefix = model_detection.unet_prefix_from_state_dict(shapes)
    inside = {name[len(prefix) :]: shape for name, shape in shapes.items() if name.startswith(prefix)}
    return inside or shapes


def difference(before: Signature | None, after: Signature) -> str:
    """What changed, in a few words."""
    if before is None:
        return f"new, {after.comfy_class}, {after.tensors} tensors"
    words: list[str] = []
    if before.comfy_class != after.comfy_class:
        words.append(f"{before.comfy_class} is now {after.comfy_class}")
    old, new = before.shapes, after.shapes
    counts = {
        "new tensors": len(new.keys() - old.keys()),
        "tensors gone": len(old.keys() - new.keys()),
        "other shapes": sum(old[name] != new[name] for name in old.keys() & new.keys()),
    }
    words += [f"{count} {what}" for what, count in counts.items() if count]
    if before.aliases != after.aliases:
        words.append(f"{len(before.aliases)} alias patterns are now {len(after.aliases)}")
    return ", ".join(words) or "the same tensors by other patterns"


def to_text(version: str, signatures: Iterable[Signature]) -> str:
    """The file: one line a pattern, so that a new version of ComfyUI is a diff that can be read."""
    models = ",\n".join(_model_text(signature) for signature in sorted(signatures, key=lambda each: each.id))
    return f'{{"comfyui": {json.dumps(version)},\n"architectures": {{\n{models}\n}}}}\n'


def _model_text(signature: Signature) -> str:
    shapes = ",\n".join(f"  {_pattern_text(pattern)}" for pattern in signature.patterns)
    aliases = ",\n".join(
        f"  {json.dumps([alias.foreign, alias.native, alias.offset, alias.swapped])}" for alias in signature.aliases
    )
    return (
        f'{json.dumps(signature.id)}: {{"comfy_class": {json.dumps(signature.comfy_class)}, '
        f'"tensors": {signature.tensors},\n "shapes": {{\n{shapes}}},\n'
        + (f' "aliases": [\n{aliases}]}}' if aliases else ' "aliases": []}')
    )


def _pattern_text(pattern: Pattern) -> str:
    return f"{json.dumps(pattern.text)}: {json.dumps(pattern.shape)}"


def _body(path: Path) -> str:
    return path.read_text("utf-8").partition("\n")[2]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


if __name__ == "__main__":
    sys.exit(main())
