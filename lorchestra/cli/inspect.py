"""`lorchestra inspect`: what LoRA files hold."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

from ..errors import LorchestraError
from ..lora.numbers import Statistics, Summary, read_summary
from .export import Subparsers
from .terminal import printable


def add_inspect(subparsers: Subparsers) -> None:
    """Adds `lorchestra inspect`."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what LoRA files hold",
        description="Shows modules, rank, alpha/rank, algorithm, spelling, size and the metadata that matters. "
        "Reads headers and alphas only.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print a JSON array, one object a file")
    parser.set_defaults(run=run_inspect)


def run_inspect(args: argparse.Namespace) -> int:
    """Prints one block a file; files that cannot be read are named on stderr and make the exit code 2."""
    summaries: list[Summary] = []
    code = 0
    for file in args.files:
        try:
            summaries.append(read_summary(file))
        except LorchestraError as error:
            print(printable(f"lorchestra: {error}"), file=sys.stderr)
            code = 2
    if args.json:
        print(json.dumps([summary.to_json() for summary in summaries], indent=2, allow_nan=False))
    elif summaries:
        print("\n\n".join(block(summary) for summary in summaries))
    return code


def block(summary: Summary) -> str:
    """The summary in lines for people; characters that would steer a terminal are replaced."""
    lines = [
        f"{summary.file}",
        f"  size        {_size(summary.size)}, {summary.tensors} tensors ({_list(summary.dtypes)})",
        f"  modules     {summary.modules} ({_list(summary.components)})" if summary.modules else "  modules     none",
    ]
    if summary.modules:
        lines += [f"  algorithm   {_list(summary.algorithms)}", f"  spelling    {_list(summary.spellings)}"]
    if summary.rank:
        lines.append(f"  rank        {_spread(summary.rank)}")
    if summary.scale:
        note = f", from {summary.scale_from}" if summary.scale_from else ""
        note += f"; {summary.assumed} modules have no alpha, which means 1" if summary.assumed else ""
        lines.append(f"  alpha/rank  {_spread(summary.scale)}{note}")
    if summary.odd_alphas:
        lines.append(f"  bad alpha   {len(summary.odd_alphas)} modules, e.g. {summary.odd_alphas[0]}")
    if summary.incomplete:
        lines.append(f"  incomplete  {len(summary.incomplete)} modules lack a half, e.g. {summary.incomplete[0]}")
    if summary.doubled:
        lines.append(f"  doubled     {len(summary.doubled)} tensors, e.g. {summary.doubled[0]}")
    if summary.leftovers:
        lines.append(f"  not read    {len(summary.leftovers)} tensors, e.g. {summary.leftovers[0]}")
    lines += [f"  warning     {warning}" for warning in summary.warnings]
    if summary.trigger_words:
        lines.append(f"  triggers    {', '.join(summary.trigger_words)}")
    lines += [f"  {key}: {value}" for key, value in summary.metadata.items()]
    return "\n".join(printable(line.replace("\n", "?")) for line in lines)


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _spread(statistics: Statistics) -> str:
    if statistics.minimum == statistics.maximum:
        return f"{statistics.minimum:.6g}"
    return f"{statistics.minimum:.6g} to {statistics.maximum:.6g}, median {statistics.median:.6g}"


def _size(count: float) -> str:
    for unit in ("bytes", "KB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"
