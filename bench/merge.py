"""Our merge path against ComfyUI's own LoRA loader: time, reads and memory, in one process and one run.

A UNet of SD 1.5's size with random weights, on the CPU, in real ComfyUI. Arguments go to ComfyUI, e.g. `--fp16-unet`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).absolute().parents[1]
sys.path.insert(0, os.environ["COMFYUI_PATH"])
sys.path.append(str(ROOT))
sys.argv = [sys.argv[0], "--cpu", *sys.argv[1:]]

import comfy.options

comfy.options.enable_args_parsing()

import comfy.model_management
import comfy.ops
import comfy.sd
import comfy.supported_models
import folder_paths
import torch
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from safetensors.torch import save_file

core_nodes: Any = importlib.import_module("nodes")
"""ComfyUI's own. By `import nodes` a type checker would find our package."""
ROUNDS = 7
RANK = 16
COUNT = 8
CPU = torch.device("cpu")


def main() -> None:
    """Prints the figures as ratios."""
    started = time.perf_counter()
    pack = _import_pack()
    importing = time.perf_counter() - started
    compiled = "" if sys.dont_write_bytecode else "; the first time, Python compiles it besides"
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        model, names = _make_model_and_loras(Path(folder))
        dtype = next(model.model.diffusion_model.parameters()).dtype
        print(f"== weights in {str(dtype).removeprefix('torch.')}, {ROUNDS} rounds, medians ==")
        _times(pack, model, names)
        _reads(pack, model, names)
        _memory(pack, model, names)
    print(f"importing the pack: {importing:.3f} s (asked: under 0.1){compiled}\n")


def _import_pack() -> Any:
    spec = importlib.util.spec_from_file_location(
        "bench_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_pack"] = module
    spec.loader.exec_module(module)
    extension = asyncio.run(module.comfy_entrypoint())
    nodes = asyncio.run(extension.get_node_list())
    for node in nodes:
        node.GET_SCHEMA()  # as ComfyUI does when it starts
    return next(node for node in nodes if node.__name__ == "LoraStack")


def _make_model_and_loras(folder: Path) -> tuple[Any, list[str]]:
    config = {
        **comfy.supported_models.SD15.unet_config, "in_channels": 4, "out_channels": 4, "image_size": 32,
        "num_res_blocks": [2] * 4, "channel_mult": (1, 2, 4, 4), "transformer_depth": [1] * 6 + [0] * 2,
        "transformer_depth_output": [1] * 9 + [0] * 3, "transformer_depth_middle": 1, "num_heads": 8,
        "num_head_channels": -1, "use_spatial_transformer": True, "legacy": False,
    }  # fmt: skip
    config.pop("use_temporal_attention")
    net = UNetModel(**config, device="meta", operations=comfy.ops.disable_weight_init, dtype=torch.float16)
    generator = torch.Generator().manual_seed(0)
    weights = {k: (torch.randn(v.shape, generator=generator) * 0.03).half() for k, v in net.state_dict().items()}
    shapes = {
        k: v.shape for k, v in weights.items() if (".attn1.to_" in k or ".attn2.to_" in k) and k.endswith(".weight")
    }
    size = sum(weight.numel() for weight in weights.values())
    model = comfy.sd.load_diffusion_model_state_dict(weights)
    names = []
    for number in range(COUNT):
        tensors = {}
        for key, (out, width) in shapes.items():
            name = "lora_unet_" + key[: -len(".weight")].replace(".", "_")
            tensors[f"{name}.lora_up.weight"] = (torch.randn(out, RANK, generator=generator) * 0.02).half()
            tensors[f"{name}.lora_down.weight"] = (torch.randn(RANK, width, generator=generator) * 0.02).half()
            tensors[f"{name}.alpha"] = torch.tensor(float(RANK))
        names.append(f"lora{number}.safetensors")
        save_file(tensors, folder / names[-1])
    folder_paths.folder_names_and_paths["loras"] = ([str(folder)], {".safetensors"})
    print(f"{size / 1e6:.0f} M weights, {len(shapes)} attention layers, rank {RANK}")
    return model, names


def _core(model: Any, names: list[str], weight: float = 0.7) -> Any:
    """What a chain of core's LoraLoader nodes gives; each node keeps its file, as in a graph that runs again."""
    for name in names:
        loader = _LOADERS.setdefault(name, core_nodes.LoraLoader())
        model, _ = loader.load_lora(model, None, name, weight, weight)
    return model


_LOADERS: dict[str, Any] = {}


def _ours(pack: Any, model: Any, names: list[str], weight: float = 0.7) -> Any:
    rows = [{"lora": name, "model": weight} for name in names]
    return pack.execute(model=model, loras=json.dumps({"version": 1, "loras": rows})).args[0]


Seconds = tuple[float, float]
"""By the clock, and of the processor, which other programs disturb less."""


def timed(call: Callable[[], Any]) -> tuple[Any, Seconds]:
    """(the result, its seconds)."""
    clock, processor = time.perf_counter(), time.process_time()
    result = call()
    return result, (time.perf_counter() - clock, time.process_time() - processor)


def _load(model: Any) -> Seconds:
    """How long ComfyUI takes to load the model with its patches."""
    _, seconds = timed(lambda: model.patch_model(device_to=CPU))
    model.unpatch_model()
    return seconds


def _times(pack: Any, model: Any, names: list[str]) -> None:
    """The limit is a patch that does nothing, plus one matrix product as large as all LoRAs' halves together."""
    makers: dict[str, Callable[[], Any]] = {"none": model.clone, "empty": lambda: _patched(model, _nothing, 1)}
    for count in (8, 1):
        makers[f"ours {count}"] = lambda count=count: _ours(pack, model, names[:count])
        makers[f"limit {count}"] = lambda count=count: _patched(model, _product, count)
        makers[f"in place {count}"] = lambda count=count: _patched(model, _product_in_place, count)
        makers[f"core {count}"] = lambda count=count: _core(model, names[:count])
    nodes: dict[str, list[Seconds]] = {name: [] for name in makers}
    loads: dict[str, list[Seconds]] = {name: [] for name in makers}
    for number in range(ROUNDS + 1):
        for name, make in makers.items():
            made, seconds = timed(make)
            loaded = _load(made)
            if number:  # in the first round files are read and memory is touched
                nodes[name].append(seconds)
                loads[name].append(loaded)
    for kind, place in (("by the clock", 0), ("processor's time", 1)):
        none = [seconds[place] for seconds in loads["none"]]
        patch = {
            name: statistics.median(seconds[place] - plain for seconds, plain in zip(found, none, strict=True))
            for name, found in loads.items()
        }
        node = {name: statistics.median(seconds[place] for seconds in found) for name, found in nodes.items()}
        print(f"{kind}:")
        for count in (8, 1):
            ours, limit, core, least = (patch[f"{who} {count}"] for who in ("ours", "limit", "core", "in place"))
            both = (node[f"ours {count}"] + ours) / (node[f"core {count}"] + core)
            print(
                f"  patch time, {count} LoRA: ours {ours * 1e3:.0f} ms, limit {limit * 1e3:.0f} ms, core "
                f"{core * 1e3:.0f} ms; ours / limit {ours / limit:.2f} (asked: at most 1.15), ours / core "
                f"{ours / core:.2f} (asked: at most 1), with the nodes' own time {both:.2f}; of a product of ready "
                f"fp32 halves that is added in place {ours / least:.2f}"
            )
        print(f"  a patch that does nothing on the same layers: {patch['empty'] * 1e3:.0f} ms")


Way = Callable[[torch.Tensor, tuple[torch.Tensor, ...]], torch.Tensor]


def _patched(model: Any, way: Way, count: int) -> Any:
    """The model with a patch of our own on the same layers; it is handed the halves of so many LoRAs, ready in fp32."""
    from comfy.weight_adapter.base import WeightAdapterBase

    class Patch(WeightAdapterBase):
        name = "bench"

        def __init__(self, loaded_keys: Any, weights: Any) -> None:
            self.loaded_keys, self.weights = loaded_keys, weights

        def calculate_weight(self, weight: torch.Tensor, *_: Any) -> torch.Tensor:
            return way(weight, self.weights)

    clone = model.clone()
    patches = {}
    for key, weight in model.model.state_dict().items():
        if (".attn1.to_" in key or ".attn2.to_" in key) and key.endswith(".weight"):
            out, width = weight.shape
            halves = (torch.full((out, RANK * count), 0.01), torch.full((RANK * count, width), 0.01))
            patches[key] = Patch(set(), halves)
    clone.add_patches(patches)
    return clone


def _nothing(weight: torch.Tensor, _: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """What ComfyUI's patcher costs by itself: copies of the weights in and out."""
    return weight


def _product(weight: torch.Tensor, halves: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """One matrix product of the same size by torch; of halves that are ready in fp32, and added to nothing."""
    torch.mm(*halves)
    return weight


def _product_in_place(weight: torch.Tensor, halves: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The same where no memory is asked for."""
    return weight.addmm_(*halves)


def _reads(pack: Any, model: Any, names: list[str]) -> None:
    """Bytes that the process reads through system calls and from disk when one weight changes."""
    _load(_ours(pack, model, names))
    before = _io()
    if before is None:
        print("reads when one weight changes: not measured on this system")
        return
    rows = [{"lora": name, "model": 0.5 if name == names[0] else 0.7} for name in names]
    _load(pack.execute(model=model, loras=json.dumps({"loras": rows})).args[0])
    after = _io()
    assert after
    total = sum((Path(folder_paths.get_full_path("loras", name)).stat().st_size) for name in names)
    print(
        f"one weight changed and loaded again: {after[0] - before[0]} bytes by read calls (less than 200 is this "
        f"counter itself), {after[1] - before[1]} bytes from disk, of {total} bytes of LoRA files (asked: 0)"
    )


def _io() -> tuple[int, int] | None:
    try:
        lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    values = dict(line.split(": ") for line in lines)
    return int(values["rchar"]), int(values["read_bytes"])


def _memory(pack: Any, model: Any, names: list[str]) -> None:
    """Peak of the process' memory over the state before, of nodes and load together; each side in a child process."""
    peaks = {}
    for name, make in (("core", lambda: _core(model, names)), ("ours", lambda: _ours(pack, model, names))):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _LOADERS.clear()
            torch.set_num_threads(1)  # the pool's threads do not survive a fork
            before = _private()
            with _Peak(before) as peak:
                loaded = make()
                loaded.patch_model(device_to=CPU)
            os.write(writer, str(peak.bytes).encode())
            os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        peaks[name] = int(os.read(reader, 64) or b"0")
        os.close(reader)
    print(
        f"peak memory of the 8-LoRA load: ours {peaks['ours'] / 1e6:.0f} MB, core {peaks['core'] / 1e6:.0f} MB, "
        f"ratio {peaks['ours'] / max(1, peaks['core']):.2f} (asked: at most 1)"
    )


def _private() -> int:
    import psutil

    info = psutil.Process().memory_full_info()
    return info.uss


class _Peak:
    """Samples the process' own memory (mapped files that are nobody else's included) from a thread."""

    def __init__(self, before: int) -> None:
        self.bytes = 0
        self._before = before

    def __enter__(self) -> _Peak:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stop.wait(0.01):
            self._sample()

    def _sample(self) -> None:
        self.bytes = max(self.bytes, _private() - self._before)


if __name__ == "__main__":
    main()
