"""How long a file's architecture takes to be found, next to what parsing its header as JSON takes; no ComfyUI needed.

A thousand files of 100 to 2,400 tensors, as trainers write them: the headers are real, the tensors are holes. Each file
is read once by `json.loads` and once by `read_header`, `read_modules` and `identify`, garbage collection included; the
index of all layers fills as the first files of each kind come. Bytes are what the operating system counts
(`/proc/self/io`), where it does.
"""

from __future__ import annotations

import json
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
sys.path.append(str(ROOT))

from lorchestra.architectures.aliases import alias_sites
from lorchestra.architectures.encoders import find_encoder
from lorchestra.architectures.signatures import find_signature
from lorchestra.architectures.unet import diffusers_names
from lorchestra.files.header import read_header
from lorchestra.lora.identify import identify
from lorchestra.spelling.modules import read_modules
from lorchestra.spelling.prefixes import flatten

FILES = 1000
FEWEST, MOST = 100, 2400
"""Tensors of a file."""

ASKED = 3.0
"""At most so many times `json.loads`, in the median."""

Shape = tuple[int, ...]
Layers = Mapping[str, Shape]


@dataclass(frozen=True)
class Writer:
    """One way in which LoRAs for one architecture are written."""

    architecture: str
    prefix: str
    layers: Callable[[Layers], Layers]
    """From the native layers to those that the writer trains, by its names."""
    halves: tuple[str, str]
    """What follows a layer's name: down and up."""
    alpha: bool
    encoders: tuple[tuple[str, str], ...] = ()
    """Prefix and encoder of the text encoders that may be in the file."""


def native(layers: Layers) -> Layers:
    """ComfyUI's own names."""
    return layers


def flat(layers: Layers) -> Layers:
    """The same with underscores."""
    return {flatten(name): shape for name, shape in layers.items()}


def unet(layers: Layers) -> Layers:
    """diffusers' names of Stable Diffusion's layers."""
    return {theirs: layers[ours] for ours, theirs in diffusers_names(layers).items()}


def flat_unet(layers: Layers) -> Layers:
    """The same with underscores."""
    return flat(unet(layers))


def diffusers(layers: Layers) -> Layers:
    """diffusers' names of a transformer's layers, fused ones in their parts."""
    return {
        foreign: layers[ours] if rows is None else (rows.length, *layers[ours][1:])
        for foreign, ours, rows in alias_sites(layers)
    }


KOHYA = (".lora_down.weight", ".lora_up.weight")
PEFT = (".lora_A.weight", ".lora_B.weight")
OLD = (".lora.down.weight", ".lora.up.weight")

WRITERS = (
    Writer("sdxl", "lora_unet_", flat, KOHYA, True, (("lora_te1_", "clip_l"), ("lora_te2_", "clip_g"))),
    Writer("sdxl", "lora_unet_", flat_unet, KOHYA, True),
    Writer("sdxl", "unet.", unet, OLD, False),
    Writer("sdxl", "unet.", unet, PEFT, False),
    Writer("sd15", "lora_unet_", flat_unet, KOHYA, True, (("lora_te_", "clip_l"),)),
    Writer("sd15", "unet.", unet, OLD, False),
    Writer("flux1_dev", "lora_unet_", flat, KOHYA, True, (("lora_te1_", "clip_l"),)),
    Writer("flux1_dev", "transformer.", diffusers, PEFT, False),
    Writer("wan21_t2v_14b", "diffusion_model.", native, PEFT, False),
    Writer("wan21_i2v_14b", "diffusion_model.", native, PEFT, False),
    Writer("wan21_t2v_1_3b", "lora_unet_", flat, KOHYA, True),
    Writer("qwen_image", "transformer.", native, PEFT, False),
    Writer("qwen_image", "base_model.model.", native, PEFT, False),
    Writer("z_image", "diffusion_model.", native, PEFT, False),
    Writer("chroma", "lora_unet_", flat, KOHYA, True),
    Writer("hunyuan_video", "transformer.", diffusers, PEFT, False),
    Writer("ltxv_13b", "diffusion_model.", native, PEFT, False),
)


def main() -> int:
    """Prints the figures; 1 when they are worse than asked."""
    if sys.argv[1:2] == ["--cold"]:
        print(_cold(Path(sys.argv[2])))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        paths = list(write_files(Path(folder)))
        good = _measure(paths)
        colds = [_run_cold(path) for path in paths[:5]]
    print(
        f"first file of a process: {statistics.median(colds) * 1e3:.0f} ms in the median of {len(colds)}, "
        "beside the imports"
    )
    return 0 if good else 1


def write_files(folder: Path, count: int = FILES) -> Iterator[Path]:
    """Writes files whose tensors take no room on the disk."""
    choice = random.Random(3)
    everything: dict[Writer, list[tuple[str, Shape]]] = {}
    for number in range(count):
        writer = WRITERS[number % len(WRITERS)]
        if writer not in everything:
            everything[writer] = _layers(writer)
        yield _write(folder / f"{number}.safetensors", writer, everything[writer], choice)


def _layers(writer: Writer) -> list[tuple[str, Shape]]:
    """All matrices of the blocks, with the writer's whole names."""
    signature = find_signature(writer.architecture)
    assert signature
    layers = {
        name.removesuffix(".weight"): shape for name, shape in signature.shapes.items() if name.endswith(".weight")
    }
    return [
        (writer.prefix + name, shape)
        for name, shape in writer.layers(layers).items()
        if len(shape) == 2 and ("block" in name or "layers" in name)
    ]


def _write(path: Path, writer: Writer, layers: list[tuple[str, Shape]], choice: random.Random) -> Path:
    each = 3 if writer.alpha else 2
    wanted = choice.randint(FEWEST, MOST) // each
    chosen = list(layers)
    if choice.random() < 0.3:
        chosen = [(name, shape) for name, shape in layers if "att" in name or "to_" in name or "self" in name] or chosen
    if choice.random() < 0.3:
        for prefix, encoder in writer.encoders:
            known = find_encoder(encoder)
            assert known
            chosen += [(prefix + flatten(name), shape) for name, shape in known.shapes() if "encoder" in name]
    if len(chosen) > wanted:
        start = choice.randint(0, len(chosen) - wanted)
        chosen = chosen[start : start + wanted]
    rank = choice.choice((4, 8, 16, 32, 64, 128))
    down, up = writer.halves
    shapes: dict[str, Shape] = {}
    for name, (rows, columns) in chosen:
        if writer.alpha:
            shapes[f"{name}.alpha"] = ()
        shapes[f"{name}{down}"] = (rank, columns)
        shapes[f"{name}{up}"] = (rows, rank)
    header: dict[str, object] = {}
    if choice.random() < 2 / 3:
        header["__metadata__"] = _metadata(rank, choice) if choice.random() < 0.5 else {"format": "pt"}
    position = 0
    for name, shape in sorted(shapes.items()):  # as the safetensors library does
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (position, position + size)}
        position += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + position)
    return path


def _metadata(rank: int, choice: random.Random) -> dict[str, str]:
    """A few thousand characters, as kohya's trainers write them."""
    tags = {f"tag {number}": choice.randint(1, 99) for number in range(choice.randint(20, 300))}
    return {
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": "16.0",
        "ss_tag_frequency": json.dumps({"10_things": tags}),
        "ss_bucket_info": json.dumps({"buckets": {str(n): {"resolution": [1024, 1024 - 64 * n]} for n in range(9)}}),
        "modelspec.sai_model_spec": "1.0.0",
        "sshs_model_hash": "0" * 64,
    }


def _measure(paths: list[Path]) -> bool:
    ratios: list[float] = []
    surplus: list[int] = []
    parsing = finding = 0.0
    headers = found = 0
    for path in paths:
        with open(path, "rb") as file:
            text = file.read(int.from_bytes(file.read(8), "little"))
        headers += 8 + len(text)
        started = time.thread_time()
        raw = json.loads(text)
        parsed = time.thread_time() - started
        del raw
        before = _bytes_read()
        started = time.thread_time()
        identity = identify(read_modules(read_header(path)).modules)
        took = time.thread_time() - started
        after = _bytes_read()
        if before and after:
            surplus.append(after[0] - sum(before) - 8 - len(text))
        found += identity.likeliest is not None
        ratios.append(took / parsed)
        parsing += parsed
        finding += took
    ordered = sorted(ratios)
    quantiles = ", ".join(f"{part:.0%} {ordered[int(part * (len(ordered) - 1))]:.2f}" for part in _PARTS)
    median = statistics.median(ratios)
    print(f"== identifying {len(paths)} files, {headers / len(paths) / 1e3:.0f} kB of header each ==")
    print(f"times json.loads of the header: {median:.2f} in the median (asked: at most {ASKED:g}); {quantiles}")
    print(
        f"json.loads {parsing:.2f} s, identifying {finding:.2f} s in all, of the processor's time; "
        f"an architecture was found for {found} files"
    )
    if surplus:
        print(f"bytes read beside the header and its length: {min(surplus)} to {max(surplus)} (asked: 0)")
    else:
        print("bytes read: not measured on this system")
    return median <= ASKED and not any(surplus)


_PARTS = (0.05, 0.25, 0.75, 0.95, 1.0)


def _bytes_read() -> tuple[int, int] | None:
    """What this process has read by system calls so far, and what this call itself adds."""
    try:
        with open("/proc/self/io", "rb", buffering=0) as file:
            text = file.read(4096)
    except OSError:
        return None
    return int(text.split()[1]), len(text)


def _run_cold(path: Path) -> float:
    result = subprocess.run([sys.executable, __file__, "--cold", path], check=True, capture_output=True, text=True)
    return float(result.stdout)


def _cold(path: Path) -> float:
    started = time.perf_counter()
    identify(read_modules(read_header(path)).modules)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
