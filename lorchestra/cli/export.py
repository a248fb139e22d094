"""`lorchestra export` and `lorchestra import`: stacks to and from other programs' requests, losses on stderr."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ..errors import DialectError, FileProblem, LorchestraError, StackError
from ..exchange import (
    DIALECTS,
    FORMS,
    Loss,
    Reading,
    a1111,
    find_dialect_or_raise,
    pictures,
    read_any,
    read_stack,
    write_any,
)  # fmt: skip
from ..files.new_file import check_output, new_file
from ..files.opening import os_reason
from ..library.identify_rows import Identified, identify_rows
from ..limits import Json
from ..stack import Stack
from .shelf import add_catalog, open_shelf
from .workflow_documents import FORMS as WORKFLOW_FORMS
from .workflow_documents import MAX_BYTES as MAX_WORKFLOW
from .workflow_documents import SHARED, add_options, read_workflow, written

MAX_BYTES = 4_000_000
"""Largest file that is read."""

STDIN = "-"


class Subparsers(Protocol):
    """What `ArgumentParser.add_subparsers` returns, as far as it is used here."""

    def add_parser(self, name: str, *, help: str, description: str) -> argparse.ArgumentParser: ...  # noqa: A002


def add_export(subparsers: Subparsers) -> None:
    """Adds `lorchestra export`."""
    parser = subparsers.add_parser(
        "export",
        help="write a stack as another program's request, or a workflow as an API",
        description="Writes a stack as another program's request, or a workflow as an API: its JSON Schema, its "
        "OpenAPI document, a request, or a client. What cannot be said goes to stderr, a line each.",
    )
    parser.add_argument(
        "stack",
        nargs="?",
        metavar="STACK.json",
        help="any form of a stack, or a workflow; - for standard input; not needed with --to schema, which without it "
        "is the schema of a stack",
    )
    forms = [*FORMS, *WORKFLOW_FORMS]
    parser.add_argument("--to", required=True, choices=forms, metavar="FORM", help=", ".join(forms))
    parser.add_argument(
        "--allow-names",
        action="store_true",
        help=f"write a row's file name where the program cannot know the file by it ({_taking('allow_names')})",
    )
    parser.add_argument(
        "--clamp",
        action="store_true",
        help="bring weights out of range to the nearest that the program takes, with a line each, instead of an error",
    )
    parser.add_argument("--paths", action="store_true", help=f"write a row's path beside its name ({_taking('paths')})")
    add_options(parser)
    _add_output(parser)
    parser.set_defaults(run=run_export)


def add_import(subparsers: Subparsers) -> None:
    """Adds `lorchestra import`."""
    parser = subparsers.add_parser(
        "import",
        help="read a stack from another program's request",
        description="Prints the stack that a request, a prompt or a stack of any form holds, as JSON. "
        "What is left behind goes to stderr, a line each.",
    )
    parser.add_argument(
        "file", metavar="FILE", help="text, or a PNG, JPEG or WebP picture with an infotext; - for standard input"
    )
    parser.add_argument(
        "--from",
        dest="source",
        default="auto",
        choices=[*_dialect_ids(), "auto"],
        metavar="FORM",
        help=", ".join([*_dialect_ids(), "auto (default)"]),
    )
    parser.add_argument(
        "--order",
        default=a1111.ORDERS[0],
        choices=a1111.ORDERS,
        help="tags: what the first of two numbers is (SwarmUI and LoRA-Manager write the model's first)",
    )
    _add_output(parser)
    parser.set_defaults(run=run_import)


def run_export(args: argparse.Namespace) -> int:
    """Runs `lorchestra export`; raises `LorchestraError` for input that cannot be used."""
    if args.stack is None and args.to != "schema":
        if args.to in WORKFLOW_FORMS:
            raise LorchestraError(f"export --to {args.to} needs the file of a workflow, or - for standard input")
        raise LorchestraError(f"export --to {args.to} needs the file of a stack, or - for standard input")
    _check_output(args, args.stack)
    is_both = args.to in (*WORKFLOW_FORMS, *SHARED)
    text = None if args.stack is None else _read_text(args.stack, MAX_WORKFLOW if is_both else MAX_BYTES)
    workflow = None if text is None else read_workflow(text, args)
    if workflow is not None:
        _write_text(written(workflow, args), args)
        return 0
    reading = Reading(Stack()) if text is None else read_stack(text)
    options = {"allow_names": args.allow_names, "clamp": args.clamp, "paths": args.paths}
    known = _identified(reading.stack, args)
    try:
        writing = write_any(known.stack, args.to, options)
    except DialectError:  # such as for an AIR that a row does not have: the catalog of the ComfyUI here may know it
        known = _known_here(known, args)
        writing = write_any(known.stack, args.to, options)
    _write_text(writing.text, args)
    _report((*reading.losses, *known.without_added(writing.losses)))
    return 0


def run_import(args: argparse.Namespace) -> int:
    """Runs `lorchestra import`; raises `LorchestraError` for input that cannot be used, or of which no row can."""
    _check_output(args, args.file)
    text = _read_text(args.file)
    if args.source == "auto":
        reading = read_any(text, order=args.order)
    else:
        dialect = find_dialect_or_raise(args.source)
        reading = dialect.read(text, **_options(args, dialect.read_options))
    unread = next((loss for loss in reading.losses if loss.place is not None), None)
    if unread is not None and not reading.stack.entries:
        raise StackError(unread.reason, 1)
    _write_text(_json_text(_identified(reading.stack, args).stack.to_json()), args)
    _report(reading.losses)
    return 0


def _identified(stack: Stack, args: argparse.Namespace) -> Identified:
    """The rows with what is known of their files, if it was said where to look."""
    return identify_rows(stack, open_shelf(args).loras) if args.folder or args.catalog else Identified(stack, {})


def _known_here(known: Identified, args: argparse.Namespace) -> Identified:
    """The rows with what the default catalog knows of their files; as they are if there is no ComfyUI here."""
    if args.folder or args.catalog:
        return known
    try:
        return identify_rows(known.stack, open_shelf(args).loras)
    except LorchestraError:
        return known


def _dialect_ids() -> list[str]:
    return [dialect.id for dialect in DIALECTS]


def _taking(option: str) -> str:
    return ", ".join(dialect.id for dialect in DIALECTS if option in dialect.write_options)


def _options(args: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names}


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", metavar="OUT", help="file to write; standard output without it")
    parser.add_argument("--force", action="store_true", help="overwrite OUT when it is there")
    add_catalog(parser)


def _check_output(args: argparse.Namespace, source: str | None) -> None:
    if args.output is not None:
        inputs = [] if source in (None, STDIN) else [source]
        check_output(Path(args.output), inputs, "the file to read", args.force)


def _read_text(name: str, limit: int = MAX_BYTES) -> str:
    try:
        if name == STDIN and not sys.stdin:
            raise FileProblem("standard input", "it is closed")
        if name == STDIN:
            shown, data = "standard input", _read_bytes(sys.stdin.buffer, limit)
        else:
            shown = name
            with Path(name).open("rb") as file:  # also a pipe of the shell's: <(…)
                data = _read_bytes(file, limit)
    except OSError as error:
        raise FileProblem(name, os_reason(error)) from error
    except ValueError as error:  # a NUL in the path
        raise FileProblem(name, f"this cannot be the name of a file ({error})") from error
    if len(data) > limit:
        if limit > MAX_BYTES:
            raise FileProblem(shown, f"there are more than {limit:,} bytes; a workflow is never that large")
        raise FileProblem(shown, f"there are more than {MAX_BYTES:,} bytes; a stack is never that large")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileProblem(shown, f"this is not UTF-8 text at byte {error.start}; save it as UTF-8") from error


def _read_bytes(file: BinaryIO, limit: int) -> bytes:
    """What is in a file, if it is not too much; of a picture, the text that it holds."""
    begin = file.read(pictures.LONGEST_START)
    if pictures.is_picture(begin):
        return pictures.find_parameters(begin, file).encode()
    return begin + file.read(limit + 1 - len(begin))


def _json_text(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _write_text(text: str, args: argparse.Namespace) -> None:
    text = text if text.endswith("\n") else text + "\n"
    name: str | None = args.output
    if name is None:
        sys.stdout.write(text)
        return
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise FileProblem(name, f"the file cannot be written ({error})") from error
    with new_file(Path(name), args.force) as file:
        file.write(data)


def _report(losses: Sequence[Loss]) -> None:
    for loss in losses:
        sys.stderr.write(f"lost: {loss}\n")
