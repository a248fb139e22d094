"""How long `lorchestra balance` takes for a large stack, and how much memory; no ComfyUI needed.

Eight LoRAs of rank 32 for all of SDXL's attention and MLP layers, in kohya's spelling and fp16, with random numbers.
The process that measures is another one, so that its memory is its own. `--profile` prints where the time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
sys.path.append(str(ROOT))

import torch

from identify import KOHYA
from lorchestra.analysis.balance import Balance, measure
from lorchestra.analysis.report import report, to_json
from lorchestra.analysis.strengths import measure_strengths, read_kept
from lorchestra.apply.plan import make_plan
from lorchestra.architectures.blocks import ATTENTION, MLP, find_part
from lorchestra.architectures.signatures import find_signature
from lorchestra.architectures.unet import diffusers_names
from lorchestra.choices import AUTO, Choices
from lorchestra.fit.rows import Files, Located
from lorchestra.library.database import Database
from lorchestra.lora.cache import open_lora
from lorchestra.models.base import base_by_name
from lorchestra.spelling.prefixes import flatten
from lorchestra.stack import Entry, Stack
from safetensors.torch import save_file

LORAS, RANK = 8, 32
ASKED_SECONDS, ASKED_MEGABYTES = 5.0, 1000.0
"""On two cores."""
THREADS = 2
ROWS, ASKED_MS = 10, 50.0
"""Of a list whose bars are found in the catalog."""


def main() -> int:
    """Prints the figures; 1 when one is worse than asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--measure", metavar="FOLDER")
    parser.add_argument("--profile", action="store_true")
    args, _ = parser.parse_known_args()
    if args.measure:
        return _measure(Path(args.measure), args.profile)
    with tempfile.TemporaryDirectory() as folder:
        layers = write_files(Path(folder))
        print(f"\n== balance: {LORAS} LoRAs of rank {RANK} on SDXL, {layers} layers each ==", flush=True)
        more = ["--profile"] if args.profile else []
        return subprocess.call([sys.executable, __file__, "--measure", folder, *more])


def write_files(folder: Path) -> int:
    """Writes the LoRAs; the count of their layers."""
    signature = find_signature("sdxl")
    assert signature
    native = {
        name.removesuffix(".weight"): shape for name, shape in signature.shapes.items() if name.endswith(".weight")
    }
    names = diffusers_names(native)
    layers = {
        flatten(names[name]): shape
        for name, shape in native.items()
        if len(shape) == 2 and "transformer_blocks" in name and find_part(name) in (ATTENTION, MLP)
    }
    down, up = (f"lora_unet_{{}}{end}" for end in KOHYA)
    for number in range(LORAS):
        generator = torch.Generator().manual_seed(number)
        tensors: dict[str, torch.Tensor] = {}
        for name, (rows, columns) in layers.items():
            tensors[down.format(name)] = torch.randn(RANK, columns, generator=generator).half()
            tensors[up.format(name)] = (torch.randn(rows, RANK, generator=generator) * 1e-3).half()
            tensors[f"lora_unet_{name}.alpha"] = torch.tensor(RANK / 2)
        save_file(tensors, folder / f"{number}.safetensors", {"ss_output_name": f"LoRA {number}"})
    return len(layers)


def _measure(folder: Path, profile: bool) -> int:
    torch.set_num_threads(THREADS)
    base = base_by_name("sdxl")
    assert base
    stack = Stack(tuple(Entry(str(path), model=0.5) for path in sorted(folder.iterdir())))
    before = _megabytes()
    profiler = cProfile.Profile() if profile else None
    clock, processor = time.perf_counter(), time.process_time()
    if profiler:
        profiler.enable()
    files = Files(lambda entry, _: Located(entry.lora), lambda path: open_lora(path, keep=False))
    balance = measure(make_plan(stack, files, base, Choices(mode=AUTO)))
    measured = time.perf_counter() - clock
    _tell(balance)
    if profiler:
        profiler.disable()
        profiler.print_stats("tottime")
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(
        f"files, figures and report: {clock:.2f} s by the clock with {THREADS} threads (asked: under "
        f"{ASKED_SECONDS:g} s), {processor:.2f} s of the processor's; {clock - measured:.2f} s of it for the report"
    )
    memory = _megabytes()
    print(f"memory: {memory:.0f} MB (asked: under {ASKED_MEGABYTES:g} MB), of which {before:.0f} MB before")
    is_quick = _measure_bars(folder) < ASKED_MS
    return 0 if clock < ASKED_SECONDS and memory < ASKED_MEGABYTES and is_quick else 1


def _measure_bars(folder: Path) -> float:
    """What the bars of a list need: measured once, and then found in the catalog. Milliseconds of the latter."""
    paths = [str(path) for path in sorted(folder.glob("*.safetensors"))]
    database = Database(folder / "catalog.sqlite")
    clock, processor = time.perf_counter(), time.process_time()
    for path in paths:
        database.save_strengths(path, 1, 1, measure_strengths(path).to_text())
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"bars: {clock / len(paths):.2f} s by the clock and {processor / len(paths):.2f} s of processor a file")
    start = time.perf_counter()
    for number in range(ROWS):
        kept = database.find_strengths(paths[number % len(paths)], 1, 1)
        found = read_kept(kept) if kept else None
        assert found and found.at({"attn": 0.5, "input.4": 0.2})
    milliseconds = (time.perf_counter() - start) * 1e3
    print(f"{ROWS} rows with weights per block from the catalog: {milliseconds:.1f} ms (asked: under {ASKED_MS:g} ms)")
    database.close()
    return milliseconds


def _tell(balance: Balance) -> None:
    assert report(balance) and to_json(balance)


def _megabytes() -> float:
    """The most memory that this process has had; where the system tells no more, or the one that started it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1e3
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    sys.exit(main())
