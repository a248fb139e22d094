"""Writes `docs/compatibility.md`: what ComfyUI alone patches of LoRAs in every spelling, and what Lorchestra places.

    ~/ComfyUI/.venv/bin/python tools/compatibility.py [--check] [--comfyui ~/ComfyUI] [ARCHITECTURE …]

Every known model is built as ComfyUI's own class on torch's meta device. For every spelling that is written for it, a
LoRA for all linear layers of its blocks goes through ComfyUI's own reader, name map and arithmetic, and through ours.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).absolute().parents[1]
sys.path += [str(ROOT), str(ROOT / "tools"), str(ROOT / "tests")]  # at the end: see collect_signatures

import collect_signatures
from support import synthetic

from lorchestra.architectures.names import find_architecture
from lorchestra.architectures.patterns import Shape
from lorchestra.architectures.signatures import find_signature
from lorchestra.architectures.sites import model_sites
from lorchestra.demo.comfyui import find_comfyui
from lorchestra.models.placing import place
from lorchestra.spelling.modules import read_modules
from lorchestra.spelling.prefixes import MODEL, flatten

FILE = ROOT / "docs" / "compatibility.md"
ODD = ROOT / "tools" / "odd_files.md"
"""The end of the page, written by hand."""

GROUPS: tuple[tuple[str, str], ...] = (
    ("kohya", r"kohya|LoHa in|LoKr in|GLoRA in|musubi HiDream"),
    ("native", r"^native|ai-toolkit|kijai|lightx2v|whole differences"),
    ("diffusers", r"^diffusers|Z-Image's leaves|SimpleTuner Anima$"),
    ("PEFT", r"PEFT"),
    ("LyCORIS", r"^LyCORIS|Anima LoKr"),
    ("OneTrainer", r"^OneTrainer"),
    ("own names", r""),
)
"""Column → the spellings that it sums up, as a regular expression; the first that is found in a name counts."""


@dataclass(frozen=True)
class Count:
    """What became of the layers that files name."""

    comfyui: int
    """Patched by ComfyUI: the name is in its map, the weight is there, and its arithmetic works."""
    ours: int
    """Placed by Lorchestra."""
    layers: int
    """In the files."""

    def __add__(self, other: Count) -> Count:
        return Count(self.comfyui + other.comfyui, self.ours + other.ours, self.layers + other.layers)


Counts = Mapping[tuple[str, str], Count]
"""(architecture, spelling) → count."""


def main() -> int:
    """The command line; 0 when the page is up to date or was written, 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--comfyui", type=Path, help="folder of the ComfyUI to ask; found as the tests find it")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the page is out of date")
    parser.add_argument("architectures", nargs="*", help="only these, printed and not written")
    arguments = parser.parse_args()
    found = find_comfyui()
    root = arguments.comfyui or (found.root if found else None)
    if root is None:
        parser.error("No ComfyUI was found. Say where it is: --comfyui FOLDER.")
    version = collect_signatures.start_comfyui(root)
    counts: dict[tuple[str, str], Count] = {}
    unknown: list[str] = []
    for architecture in arguments.architectures or synthetic.ALL:
        try:
            counts.update(count(architecture))
        except collect_signatures.NotBuilt as reason:
            print(f"{architecture}: {reason}", file=sys.stderr)
            unknown.append(architecture)
    text = page(counts, unknown, version, datetime.date.today())
    if arguments.architectures:
        print(text)
        return 0
    before = FILE.read_text("utf-8") if FILE.exists() else ""
    stale = _undated(before) != _undated(text)
    if arguments.check:
        print("The page is out of date; run this without --check." if stale else "The page is up to date.")
        return 1 if stale else 0
    if stale:
        FILE.write_text(text, "utf-8", newline="\n")
    return 0


def count(architecture: str) -> dict[tuple[str, str], Count]:
    """What becomes of LoRAs for one model in all its spellings; raises NotBuilt."""
    signature = find_signature(architecture)
    assert signature
    model = collect_signatures.build(signature.shapes)
    shapes = collect_signatures.tensors(model)
    sites = model_sites({name: (f"{collect_signatures.PREFIX}{name}", shape) for name, shape in shapes.items()})
    judge = Judge(model)
    result: dict[tuple[str, str], Count] = {}
    for spelling in synthetic.spellings(architecture):
        chosen = synthetic.select(
            spelling.names(architecture),
            synthetic.FULL if synthetic.FULL in spelling.selections else spelling.selections[0],
            convolutions=spelling.convolutions,
        )
        layer_of: dict[str, str] = {}
        tensors: dict[str, Shape] = {}
        for layer, shape in chosen.items():
            written = dict(spelling.write(spelling.prefix + (flatten(layer) if spelling.is_flat else layer), shape))
            tensors.update(written)
            layer_of.update(dict.fromkeys(written, layer))
        placement = place(read_modules(synthetic.header(tensors)).modules, {MODEL: sites})
        placed = {layer_of[tensor] for at in placement.placed for tensor in at.module.slots.values()}
        left = [module for module, _ in placement.misshapen] + [*placement.unmatched, *placement.unused]
        placed -= {layer_of[tensor] for module in left for tensor in module.slots.values()}
        key = (architecture, spelling.name)
        found = Count(judge.patched(tensors, layer_of), len(placed), len(chosen))
        result[key] = result[key] + found if key in result else found
    return result


class Judge:
    """What ComfyUI itself does to one model."""

    def __init__(self, model: Any) -> None:
        import comfy.lora

        self._map = comfy.lora.model_lora_keys_unet(model, {})
        self._weights = model.state_dict()
        self._known: dict[Any, bool] = {}

    def patched(self, tensors: Mapping[str, Shape], layer_of: Mapping[str, str]) -> int:
        """How many layers ComfyUI patches, without an error, with a LoRA of these tensors.

        A layer of which it reads one tensor and leaves another, such as the magnitude of PEFT's DoRA, does not count.
        """
        import comfy.lora
        import comfy.lora_convert
        import torch

        weights = {
            name: torch.tensor(float(synthetic.RANK)) if name.endswith(".alpha") else torch.empty(shape, device="meta")
            for name, shape in tensors.items()
        }
        with _Log() as log:
            patches = comfy.lora.load_lora(comfy.lora_convert.convert_lora(weights), self._map)
        unread = {message.partition(": ")[2] for message in log.messages}
        read = {layer_of[name] for name in tensors.keys() - unread if not name.endswith(".alpha")}
        halved = {layer_of.get(name) for name in unread} & read
        return sum(self._works(target, patch) for target, patch in patches.items()) - len(halved)

    def _works(self, target: str | tuple[Any, ...], patch: Any) -> bool:
        """True where ComfyUI's arithmetic takes the patch for the weight of that key; it logs an error otherwise."""
        import comfy.lora

        key, offset, function = (target, None, None) if isinstance(target, str) else (*target, None)[:3]
        weight = self._weights.get(key)
        if weight is None:
            return False
        parts: Any = patch[1] if isinstance(patch, tuple) else patch.weights
        sizes = tuple(tuple(part.shape) if hasattr(part, "shape") else None for part in parts)
        known = (type(patch), sizes, tuple(weight.shape), offset)
        if known not in self._known:
            update = (1.0, patch, 1.0, offset, function)
            try:
                with _Log() as log:
                    after = comfy.lora.calculate_weight([update], weight.detach().to("meta"), key)
                self._known[known] = not log.messages and after.shape == weight.shape
            except Exception:  # a LoRA that stops ComfyUI is not patched either
                self._known[known] = False
        return self._known[known]


class _Log(logging.Handler):
    """Holds back the warnings and errors of a block of code."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())

    def __enter__(self) -> _Log:
        root = logging.getLogger()
        self._others = root.handlers
        root.handlers = [self]
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().handlers = self._others


def page(counts: Counts, unknown: Iterable[str], version: str, day: datetime.date) -> str:
    """The page as Markdown."""
    architectures = list(dict.fromkeys(architecture for architecture, _ in counts))
    total = _sum(counts.values())
    lines = [
        "# Which LoRAs fit: ComfyUI alone and with Lorchestra",
        "",
        f"Generated by `tools/compatibility.py` on {day.isoformat()} with ComfyUI {version}.",
        "",
        "A LoRA for all linear layers of the blocks of each model, written in every spelling that some trainer writes",
        "for it, on the real model without weights. *ComfyUI / Lorchestra of all*: how many of the file's layers",
        "ComfyUI's own loader patches, how many Lorchestra patches, and how many there are. **Bold**: ComfyUI patches",
        "less, mostly nothing, and tells its log alone. Text encoders are not counted.",
        "",
        f"In all: ComfyUI {total.comfyui:,}, Lorchestra {total.ours:,} of {total.layers:,} layers",
        f"in {len(counts)} files for {len(architectures)} models.",
        "",
        "## By model",
        "",
        "| Model | " + " | ".join(title for title, _ in GROUPS) + " |",
        "| --- |" + " ---: |" * len(GROUPS),
    ]
    for architecture in architectures:
        row = find_architecture(architecture)
        cells = [
            _cell([found for (of, name), found in counts.items() if of == architecture and _group(name) == title])
            for title, _ in GROUPS
        ]
        lines.append(f"| {row.title if row else architecture} (`{architecture}`) | {' | '.join(cells)} |")
    lines += ["", "## By spelling", "", "| Spelling | Column | Models | Layers |", "| --- | --- | ---: | ---: |"]
    for spelling in dict.fromkeys(each.name for each in synthetic.SPELLINGS):
        found = [item for (_, name), item in counts.items() if name == spelling]
        if found:
            lines.append(f"| {spelling} | {_group(spelling)} | {len(found)} | {_cell(found)} |")
    partly = [(key, item) for key, item in counts.items() if item.ours < item.layers]
    if partly:
        lines += ["", "## What Lorchestra does not place", ""]
        lines += [f"- `{of}`, {name}: {item.ours} of {item.layers} layers" for (of, name), item in partly]
    missing = list(unknown)
    if missing:
        lines += ["", f"ComfyUI {version} does not know these models: {', '.join(f'`{name}`' for name in missing)}."]
    return "\n".join(lines) + "\n\n" + ODD.read_text(encoding="utf-8")


def _group(spelling: str) -> str:
    return next(title for title, pattern in GROUPS if re.search(pattern, spelling))


def _cell(counts: Iterable[Count]) -> str:
    found = list(counts)
    if not found:
        return ""
    total = _sum(found)
    text = f"{total.comfyui} / {total.ours} of {total.layers}"
    return f"**{text}**" if total.comfyui < total.ours else text


def _sum(counts: Iterable[Count]) -> Count:
    return sum(counts, Count(0, 0, 0))


def _undated(text: str) -> str:
    return re.sub(r"on \d{4}-\d\d-\d\d with", "with", text)


if __name__ == "__main__":
    sys.exit(main())
