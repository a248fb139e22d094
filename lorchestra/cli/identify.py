"""`lorchestra identify`: what LoRA files are made for, from their headers alone."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..architectures.names import family_titles
from ..errors import FileProblem, HeaderError
from ..lora.examined import Examined, read_examined
from ..lora.metadata import trained_on, training, trigger_words
from ..lora.numbers import counts, statistics
from ..spelling import kinds
from ..spelling.scales import module_scale
from .export import Subparsers
from .files import find_given, progress, write
from .terminal import printable

FITS, MISFITS, UNUSABLE = 0, 1, 2
"""Exit codes: every file is a LoRA that some architecture explains; one is not; one cannot be read."""

UNREADABLE = "unreadable"
"""The kind of a file that is not a sound safetensors file."""

_WIDEST_NAME = 48
_COLUMNS = (("MADE FOR", 26), ("SPELLING", 14), ("ALGORITHM", 12), ("RANK", 6), ("MODULES", 7))


def add_identify(subparsers: Subparsers) -> None:
    """Adds `lorchestra identify`."""
    parser = subparsers.add_parser(
        "identify",
        help="say which models LoRA files are made for",
        description="Says what each file is made for, by the names and shapes of its tensors; only headers are read. "
        "Exit code: 0 all are LoRAs for a known model, 1 one is not, 2 one cannot be read.",
    )
    parser.add_argument("files", nargs="+", metavar="LORA|FOLDER", help="folders are searched for .safetensors files")
    parser.add_argument("--json", action="store_true", help="print a JSON array, one object a file")
    parser.add_argument("-v", "--verbose", action="store_true", help="show evidence and warnings under each file")
    parser.set_defaults(run=run_identify)


def run_identify(args: argparse.Namespace) -> int:
    """Prints one row or object a file, as soon as it is known; returns the exit code."""
    given = find_given(args.files)
    width = min(max((len(item.shown) for item in given), default=0), _WIDEST_NAME)
    if not args.json:
        write(_row("FILE", [title for title, _ in _COLUMNS], width))
    code = FITS
    for number, item in enumerate(progress(given)):
        examined: Examined | None = None
        try:
            if item.problem:
                raise HeaderError(item.path, item.problem)
            examined = read_examined(item.path)
            data = to_json(examined)
            code = max(code, FITS if not examined.problem and examined.identity.architectures else MISFITS)
        except FileProblem as error:
            data = unreadable(item.path, error.reason)
            code = UNUSABLE
        if args.json:
            write(("[" if number == 0 else ",") + "\n" + json.dumps(data, indent=2, allow_nan=False))
        else:
            for line in _lines(item.shown, data, examined, width, args.verbose):
                write(printable(line.replace("\n", "?")))
    if args.json:
        write("\n]" if given else "[]")
    return code


def to_json(examined: Examined) -> dict[str, Any]:
    """All that `--json` says about a file that can be read."""
    identity, reading = examined.identity, examined.reading
    return {
        "file": examined.path,
        "kind": examined.kind,
        "architectures": list(identity.architectures),
        "partial": [{"id": match.id, "share": match.share} for match in identity.partial],
        "algorithms": counts(module.kind for module in reading.modules),
        "spelling": next(iter(reading.spellings), ""),
        "components": counts(module.component for module in reading.modules),
        "modules": len(reading.modules),
        "unplaced": identity.unplaced,
        "rank": _spread([module.rank for module in reading.modules if module.rank]),
        "scale": _scales(examined),
        "trained_on": trained_on(examined.header.metadata),
        "trigger_words": list(trigger_words(examined.header.metadata)),
        "warnings": list(examined.warnings),
    }


def unreadable(path: str, reason: str) -> dict[str, Any]:
    """What `--json` says about a file that cannot be read."""
    return {
        "file": path, "kind": UNREADABLE, "architectures": [], "partial": [], "algorithms": {}, "spelling": "",
        "components": {}, "modules": 0, "unplaced": 0, "rank": None, "scale": None, "trained_on": None,
        "trigger_words": [], "warnings": [reason],
    }  # fmt: skip


def _spread(values: Iterable[float]) -> dict[str, Any] | None:
    found = statistics(values)
    if found is None:
        return None
    return {"min": found.minimum, "median": found.median, "max": found.maximum, "counts": found.counts}


def _scales(examined: Examined) -> dict[str, Any] | None:
    """alpha / rank as far as the header tells; None if an alpha is a tensor whose value nothing in it says."""
    trained = training(examined.header.metadata)
    result: list[float] = []
    for module in examined.reading.modules:
        rank = module.rank
        if not rank:
            continue
        if "alpha" not in module.slots:
            result.append(module_scale(module, None, examined.scales))
        elif trained.alpha is not None and trained.rank == rank:
            result.append(module_scale(module, trained.alpha, examined.scales))
        else:
            return None
    return _spread(result)


def _lines(shown: str, data: Mapping[str, Any], examined: Examined | None, width: int, verbose: bool) -> Iterable[str]:
    rank: dict[str, Any] | None = data["rank"]
    ranks = "" if not rank else f"{rank['min']}" if rank["min"] == rank["max"] else f"{rank['min']}-{rank['max']}"
    algorithms: list[str] = list(data["algorithms"])
    algorithm = algorithms[0] + (f" +{len(algorithms) - 1}" if len(algorithms) > 1 else "") if algorithms else ""
    modules = str(data["modules"] or "")
    yield _row(shown, [_made_for(data, examined), data["spelling"], algorithm, ranks, modules], width)
    if verbose and examined:
        yield from (f"    {sentence}" for sentence in examined.evidence)
        if data["trained_on"]:
            yield f"    trained on {data['trained_on']}"
        if data["trigger_words"]:
            yield f"    triggers: {', '.join(data['trigger_words'])}"
    if verbose or data["kind"] == UNREADABLE:
        yield from (f"    {sentence}" for sentence in data["warnings"])


def _made_for(data: Mapping[str, Any], examined: Examined | None) -> str:
    if examined is None:
        return UNREADABLE
    if examined.kind != kinds.LORA:
        return kinds.title(examined.kind)
    if examined.problem:
        return "broken"
    identity = examined.identity
    if identity.architectures:
        return " or ".join(family_titles(identity.best))
    if identity.partial:
        first = identity.partial[0]
        return f"{first.share:.0%} of {family_titles([first.id])[0]}"
    return "unknown"


def _row(name: str, cells: Sequence[str], width: int) -> str:
    if len(name) > width:
        name = name[: width // 2 - 1] + "…" + name[len(name) - (width - width // 2) :]
    cells = [cells[0], *(_cut(cell, size) for cell, (_, size) in zip(cells[1:], _COLUMNS[1:], strict=True))]
    padded = [f"{cell:{size}}" for cell, (_, size) in zip(cells[:-1], _COLUMNS, strict=False)]
    return f"{name:{width}}  {'  '.join(padded)}  {cells[-1]:>{_COLUMNS[-1][1]}}".rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
