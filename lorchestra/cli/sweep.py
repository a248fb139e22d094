"""`lorchestra sweep`: a published workflow with every combination of several values, and one contact sheet of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from tqdm import tqdm

from ..analysis.comparison import read_weights
from ..choices import COMPARISONS, SKIP, STOP
from ..errors import FileProblem, LorchestraError, quoted
from ..files.json_text import read_json
from ..files.new_file import check_output, write_new
from ..files.opening import is_folder, read_small
from ..limits import Json
from ..stack.air import find_air
from .call import FAILED, SUCCEEDED, numbered, read_inputs, read_value, save
from .export import Subparsers
from .remote import Remote, add_remote, path_of
from .terminal import printable

_MOST_BYTES = 4_000_000
_LOOK = 1.0
_MOST_TOLD = 20
_RANGE = re.compile(r"(-?[0-9.]+)\.\.(-?[0-9.]+)(?::([0-9.]+))?", re.ASCII)
"""Example: `1..4`, `0.5..1:0.25`."""
_GRAMMAR = """
what varies:
  --each seed=1..4                   a range; 1..9:2 has a step
  --each cfg=4,6.5,8                 numbers or choices
  --each 'prompt=a barn|a boat'      texts; prompt=@FILE has one in each line
  --each 'loras=styles/*@0.5,1'      every LoRA in a folder by itself, at each of these weights; * is all of them
  --each loras=warm,lines@0.5,1      these LoRAs by themselves
  --each 'loras={"rows": […], …}'    anything as the API takes it: docs/api.md, Batches
In the sheet the first one goes across, the second one down. LoRAs of --lora are in every job.
"""


def add_sweep(subparsers: Subparsers) -> None:
    """Adds `lorchestra sweep`."""
    parser = subparsers.add_parser(
        "sweep",
        help="run a published workflow for every combination of several values, with one contact sheet",
        description="Runs a published workflow once for every combination of the values that vary, and saves a contact "
        "sheet of all pictures. Ctrl-C cancels what is left, and the sheet has what was done. Exit code: 0 done, 1 a "
        "job failed or was canceled, 2 the batch was refused, and nothing runs.",
    )
    parser.epilog, parser.formatter_class = _GRAMMAR, argparse.RawDescriptionHelpFormatter
    parser.description = textwrap.fill(parser.description or "", 100)
    parser.add_argument("name", metavar="NAME", help="of the workflow; NAME@2 is its second version")
    parser.add_argument("inputs", nargs="*", metavar="INPUT=VALUE", help="what is the same in all jobs")
    parser.add_argument("--each", action="append", default=[], metavar="INPUT=VALUES", help="an input that varies")
    parser.add_argument("--lora", action="append", default=[], metavar="LORA[=WEIGHT]", help="a LoRA in every job")
    parser.add_argument("--compare", choices=COMPARISONS, help="how LoRAs are compared, as in the node LoRA Variants")
    parser.add_argument("--unfit", choices=(STOP, SKIP), help="whether LoRAs that don't fit are refused or left out")
    parser.add_argument("-o", "--output", metavar="SHEET.png", help="file for the contact sheet")
    parser.add_argument("--pictures", metavar="FOLDER", help="folder for the outputs of all jobs")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.add_argument("--json", action="store_true", help="print the batch as JSON")
    add_remote(parser)
    parser.set_defaults(run=run_sweep)


def run_sweep(args: argparse.Namespace) -> int:
    """Runs `lorchestra sweep`; raises `LorchestraError` if the batch is refused."""
    if args.output is not None:
        check_output(Path(args.output), (), "", args.force)
    if args.pictures is not None and not is_folder(args.pictures):
        raise LorchestraError(f"there is no folder {args.pictures} for the pictures")
    remote = Remote(args.url)
    own = path_of(args.name)
    kinds = {item["name"]: item["kind"] for item in remote.get(own)["inputs"]}
    body = _body(args, kinds)
    batch = remote.post(f"{own}/batches", body)
    for one in batch["left_out"]:
        print(printable(f"lorchestra: left out {one['model']}: {one['message']}"), file=sys.stderr)
    try:
        batch = _follow(remote, batch)
    except KeyboardInterrupt:
        batch = _canceled(remote, batch)
        _keep(remote, batch, args)
        raise
    _keep(remote, batch, args)
    return SUCCEEDED if batch["status"] == "succeeded" else FAILED


def _body(args: argparse.Namespace, kinds: Mapping[str, str]) -> dict[str, Json]:
    """The request; raises `LorchestraError` for words that cannot be read."""
    each: dict[str, Json] = {}
    for text in args.each:
        name, sign, values = text.partition("=")
        if not sign:
            raise LorchestraError(f"--each {quoted(text)} is not an input; write name=values, such as seed=1..4")
        if name not in kinds:
            raise LorchestraError(f"the workflow has no input {quoted(name)}; it has {', '.join(kinds) or 'none'}")
        if name in each:
            raise LorchestraError(f"--each {name} is there twice; write all of its values in one")
        each[name] = _values(name, values, kinds[name])
    if not each:
        raise LorchestraError("nothing varies; write at least one --each, such as --each seed=1..4")
    compared = next((name for name in each if kinds[name] == "loras" and isinstance(each[name], dict)), None)
    for option, said in (("compare", args.compare), ("unfit", args.unfit)):
        if said is not None and compared is None:
            raise LorchestraError(f"--{option} is for --each of LoRAs, such as --each 'loras=styles/*@0.5,1'")
        if said is not None:
            each[cast("str", compared)][option] = said
    if compared is None:
        return {"inputs": read_inputs(args.inputs, args.lora, kinds), "each": each}
    beside = read_inputs((), args.lora, {compared: "loras"}).get(compared)
    if beside:
        each[compared].setdefault("beside", []).extend(beside)
    return {"inputs": read_inputs(args.inputs, (), kinds), "each": each}


def _values(name: str, text: str, kind: str) -> Json:
    """What varies, as the API takes it."""
    if text[:1] in ("[", "{"):
        return read_json(text, f"--each {name}", size=_MOST_BYTES)
    if kind == "loras":
        return _loras(name, text)
    if kind == "text":
        if text.startswith("@"):
            lines = read_small(text[1:], _MOST_BYTES, FileProblem).decode("utf-8-sig", "replace").splitlines()
            return [line.strip() for line in lines if line.strip()]
        return [part.strip() for part in text.split("|")]
    match = _RANGE.fullmatch(text)
    if match and kind in ("integer", "number"):
        words = ("from", "to", "step")
        return {word: read_value(name, part, kind) for word, part in zip(words, match.groups(), strict=True) if part}
    return [read_value(name, part.strip(), kind) for part in text.split(",")]


def _loras(name: str, text: str) -> dict[str, Json]:
    """`styles/*@0.5,1` or `warm,lines@0.5,1`; of the at signs the last one, unless it is in an AIR."""
    names, sign, said = text.rpartition("@")
    last = f"{names.rpartition(',')[2].strip()}@{said.partition(',')[0].strip()}"
    if not sign or find_air(last) is not None:
        names, said = text, ""
    weights = read_weights(said, f"--each {name}")
    found: dict[str, Json] = {"weights": list(weights)} if weights else {}
    if names == "*" or names.endswith(("/*", "\\*")):
        return {"folder": names[:-1]} | found
    return {"rows": [{"model": one.strip()} for one in names.split(",")]} | found


def _follow(remote: Remote, batch: Json) -> Json:
    """The batch when it has ended; how far it is, is shown on a terminal meanwhile."""
    urls, failed = batch["urls"], 0
    form = "{desc:32.32}|{bar}|{percentage:3.0f}%"
    with tqdm(total=100, desc=batch["status"], bar_format=form, disable=None) as bar:
        while batch["completed_at"] is None:
            for kind, data in remote.events(urls["events"]):
                if kind == "progress":
                    bar.n = round(100 * float(data["value"]))
                    bar.set_description_str(f"{data['jobs_ended']} of {data['jobs_total']} done, {failed} failed")
                elif kind == "job" and data["status"] == "failed":
                    failed += 1
                    if failed <= _MOST_TOLD:
                        tqdm.write(printable(f"{', '.join(data['labels'])}: {data['message']}"), sys.stderr)
            batch = remote.get(urls["self"])
            if batch["completed_at"] is None:  # the stream ended before the batch did
                time.sleep(_LOOK)
    return batch


def _canceled(remote: Remote, batch: Json) -> Json:
    """The batch with what was left of it canceled; Ctrl-C again does not wait for its end."""
    print("\nlorchestra: canceling what is left …", file=sys.stderr)
    found = remote.post(str(batch["urls"]["cancel"]), None)
    with contextlib.suppress(KeyboardInterrupt):
        found = _follow(remote, found)
    return found


def _keep(remote: Remote, batch: Json, args: argparse.Namespace) -> None:
    """Writes the sheet and the pictures, and says how it went."""
    if args.json:
        print(json.dumps(batch, indent=2))
    counts = ", ".join(f"{count} {status}" for status, count in batch["counts"].items())
    if batch["status"] != "succeeded":
        print(printable(f"lorchestra: the batch is {batch['status']}: {counts}"), file=sys.stderr)
    sheet = batch["sheet"]
    if sheet is None:
        print(printable(f"lorchestra: there is no sheet. {batch['sheet_problem'] or ''}"), file=sys.stderr)
    elif args.output is not None:
        write_new(Path(args.output), remote.download(str(sheet["url"])), args.force)
    if not args.json and sheet is not None:
        print(printable(str(args.output or sheet["url"])))
    if args.pictures is not None:
        _keep_pictures(remote, batch["jobs"], Path(args.pictures), args.force)


def _keep_pictures(remote: Remote, jobs: Sequence[Json], folder: Path, force: bool) -> None:
    """Writes every output as `003 warm 0.5, seed 2.png`."""
    for number, job in enumerate(jobs, 1):
        words = re.sub(r"[^\w.,=+ -]+", "_", ", ".join(job["labels"]))[:100].strip(" .")
        for place, output in enumerate(job["outputs"], 1):
            suffix = Path(str(output["name"])).suffix
            path = numbered(folder / f"{number:03} {words}{suffix}", place, str(output["name"]))
            save(remote, output, path, force)
