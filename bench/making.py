"""How long `lorchestra merge`, `resize` and `extract` take on SDXL, and how much memory; no ComfyUI needed.

Eight LoRAs of rank 32 for all of SDXL's attention and MLP layers in fp16, and two UNets of which one was tuned in these
layers; all with random numbers. Each command is a process of its own, so that its memory is, too.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
sys.path.append(str(ROOT))

import torch

from balance import THREADS, write_files
from lorchestra.architectures.blocks import ATTENTION, MLP, find_part
from lorchestra.architectures.signatures import find_signature
from safetensors.torch import save_file


def main() -> int:
    """Prints one line a command."""
    if sys.argv[1:2] == ["--command"]:
        return _measure(sys.argv[2:])
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        print(f"\n== files from files: {write_files(folder)} layers of SDXL ==", flush=True)
        loras = sorted(folder.glob("*.safetensors"))
        tuned, base = write_models(folder)
        rows, out = [f"{lora}=0.5" for lora in loras], str(folder / "out.safetensors")
        one = folder / "one.safetensors"
        one.write_bytes(loras[0].read_bytes())
        commands = (
            ["merge", *rows],
            ["merge", *rows, "--rank", "64"],
            ["merge", *rows[:2], "--method", "ties", "--rank", "64"],
            ["resize", str(one), "--rank", "16"],
            ["resize", str(one), "--energy", "0.9"],
            ["extract", str(tuned), str(base), "--rank", "32"],
        )
        code = 0
        for command in commands:
            code |= subprocess.call([sys.executable, __file__, "--command", *command, "-o", out, "--force", "--quiet"])
        return code


def _measure(command: list[str]) -> int:
    from lorchestra.cli import main as run

    torch.set_num_threads(THREADS)
    start = time.perf_counter()
    code = run(command)
    seconds = time.perf_counter() - start
    memory = _peak()
    size = Path(command[command.index("-o") + 1]).stat().st_size / 1e6
    words = [word for word in command if not word.startswith("/")]
    print(f"{' '.join(words[:-3]):40} {seconds:7.1f} s   {memory:6.0f} MB memory   {size:6.0f} MB written", flush=True)
    return code


def _peak() -> float:
    """The most memory of this process, in MB; `getrusage` tells that of the process that started it, too."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def write_models(folder: Path) -> tuple[Path, Path]:
    """Two UNets in fp16."""
    signature = find_signature("sdxl")
    assert signature
    generator = torch.Generator().manual_seed(0)
    base = {
        f"model.diffusion_model.{name}": torch.randn(shape, generator=generator).half() * 0.03
        for name, shape in signature.shapes.items()
    }
    save_file(base, folder / "base.ckpt.safetensors")
    for name, weight in base.items():
        if name.endswith(".weight") and weight.dim() == 2 and find_part(name) in (ATTENTION, MLP):
            weight += torch.randn(weight.shape, generator=generator).half() * 0.003
    save_file(base, folder / "tuned.ckpt.safetensors")
    return folder / "tuned.ckpt.safetensors", folder / "base.ckpt.safetensors"


if __name__ == "__main__":
    sys.exit(main())
