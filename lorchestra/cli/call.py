"""`lorchestra call`: runs a published workflow, shows how far it is, and saves what comes out."""

from __future__ import annotations

import argparse
import base64
import json
import mimetypes
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from tqdm import tqdm

from ..errors import FileProblem, LorchestraError, quoted
from ..files.new_file import check_output, write_new
from ..files.opening import read_small
from ..limits import Json
from .export import Subparsers
from .remote import Remote, RemoteError, add_remote, path_of
from .terminal import printable

SUCCEEDED, FAILED = 0, 1
_MOST_BYTES = 34_000_000
"""Of a file that is sent: as base64 it must fit into a request."""
_LOOK = 1.0
_MEDIA = ("image", "mask", "video", "audio")
_NOUNS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "loras": "a list of LoRAs"}
_TEXTS = ("text", "choice", "file")


def add_call(subparsers: Subparsers) -> None:
    """Adds `lorchestra call`."""
    parser = subparsers.add_parser(
        "call",
        help="run a published workflow of a running ComfyUI",
        description="Runs a published workflow and saves what comes out. Inputs are given as name=value; a value @FILE "
        "is what is in a file. Exit code: 0 done, 1 the run failed or was canceled, 2 the call was refused.",
    )
    parser.add_argument("name", metavar="NAME", help="of the workflow; NAME@2 is its second version")
    parser.add_argument("inputs", nargs="*", metavar="INPUT=VALUE", help="such as prompt='a barn' steps=8")
    parser.add_argument(
        "--lora",
        action="append",
        default=[],
        metavar="LORA[=WEIGHT]",
        help="a LoRA by name, AIR or hash; may be given again and again",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="file to write; more than one become OUT-2, OUT-3 …")
    parser.add_argument("--force", action="store_true", help="overwrite files that are there")
    parser.add_argument("--json", action="store_true", help="print the job as JSON")
    add_remote(parser)
    parser.set_defaults(run=run_call)


def run_call(args: argparse.Namespace) -> int:
    """Runs `lorchestra call`; raises `LorchestraError` if the call is refused."""
    if args.output is not None:
        check_output(Path(args.output), (), "", args.force)
    remote = Remote(args.url)
    own = path_of(args.name)
    kinds = {item["name"]: item["kind"] for item in remote.get(own)["inputs"]}
    inputs = read_inputs(args.inputs, args.lora, kinds)
    job = _follow(remote, remote.post(f"{own}/jobs", inputs))
    if args.json:
        print(json.dumps(job, indent=2))
    if job["status"] != "succeeded":
        error = cast("dict[str, Json]", job["error"] or {})
        print(printable(f"lorchestra: the job is {job['status']}. {error.get('message', '')}"), file=sys.stderr)
        return FAILED
    outputs = cast("list[dict[str, Json]]", job["outputs"])
    if args.output is None:
        for output in [] if args.json else outputs:
            print(printable(str(output["url"])))
        return SUCCEEDED
    if not outputs:
        raise RemoteError("the workflow gave no file")
    for number, output in enumerate(outputs, 1):
        path = numbered(Path(args.output), number, str(output["name"]))
        save(remote, output, path, args.force)
        if not args.json:
            print(printable(str(path)))
    return SUCCEEDED


def read_inputs(given: Sequence[str], loras: Sequence[str], kinds: Mapping[str, str]) -> dict[str, Json]:
    """The inputs of a call, typed by what the workflow takes; raises `LorchestraError`."""
    inputs: dict[str, Json] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise LorchestraError(f"{quoted(text)} is not an input; write name=value")
        if name not in kinds:
            raise LorchestraError(f"the workflow has no input {quoted(name)}; it has {', '.join(kinds) or 'none'}")
        inputs[name] = read_value(name, value, kinds[name])
    if loras:
        name = next((name for name, kind in kinds.items() if kind == "loras"), None)
        if name is None:
            raise LorchestraError("the workflow takes no LoRAs")
        inputs[name] = [*inputs.get(name, []), *map(_lora, loras)]
    return inputs


def read_value(name: str, text: str, kind: str) -> Json:
    """The value of an input of a kind; raises `LorchestraError`."""
    if text.startswith("@") and kind in _MEDIA:
        data = read_small(text[1:], _MOST_BYTES, FileProblem)
        content_type = mimetypes.guess_type(text)[0] or "application/octet-stream"
        return f"data:{content_type};base64,{base64.b64encode(data).decode()}"
    if text.startswith("@") and kind == "text":
        return read_small(text[1:], _MOST_BYTES, FileProblem).decode("utf-8-sig", "replace")
    if kind in _TEXTS or kind in _MEDIA:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise LorchestraError(f"{name}: {quoted(text)} is not {_NOUNS.get(kind, kind)}") from error


def _lora(text: str) -> Json:
    """`pixel=0.7`; a name may have an equals sign in it."""
    model, sign, weight = text.rpartition("=")
    try:
        return {"model": model, "weight": float(weight)} if sign else {"model": text}
    except ValueError:
        return {"model": text}


def _follow(remote: Remote, job: Json) -> Json:
    """The job when it has ended; how far it is, is shown on a terminal meanwhile."""
    urls = job["urls"]
    with tqdm(total=100, desc=job["status"], bar_format="{desc:24.24}|{bar}|{percentage:3.0f}%", disable=None) as bar:
        while job["completed_at"] is None:
            for kind, data in remote.events(urls["events"]):
                if kind == "status":
                    bar.set_description_str(printable(str(data.get("status"))))
                elif kind == "progress":
                    bar.n = round(100 * float(data.get("value", 0)))
                    bar.set_description_str(printable(str(data.get("message") or data.get("current_node_class") or "")))
            job = remote.get(urls["self"])
            if job["completed_at"] is None:  # the stream ended before the job did
                time.sleep(_LOOK)
    return job


def numbered(path: Path, number: int, name: str) -> Path:
    """The path as it was given for the first output; for others its name with a number, and their own ending."""
    return path if number == 1 else path.with_name(f"{path.stem}-{number}{Path(name).suffix or path.suffix}")


def save(remote: Remote, output: Mapping[str, Json], path: Path, force: bool) -> None:
    """Downloads an output into a file."""
    suffix = Path(str(output["name"])).suffix
    if suffix.lower() != path.suffix.lower():
        message = f"note: {output['name']} is saved as {path.name}, which is the name of another kind of file"
        print(printable(message), file=sys.stderr)
    write_new(path, remote.download(str(output["url"])), force)
