"""`lorchestra hash`: the hashes by which other programs know files."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from tqdm import tqdm

from ..errors import FileProblem
from ..files.hashes import Hashes, read_hashes
from ..files.key import find_key
from .export import Subparsers
from .terminal import printable


def add_hash(subparsers: Subparsers) -> None:
    """Adds `lorchestra hash`."""
    parser = subparsers.add_parser(
        "hash",
        help="print the hashes of files",
        description="Prints the SHA-256 of each file and the other hashes that model sites and programs use, from one "
        "reading of it. AutoV3 is of the tensors alone; all others change with the metadata. BLAKE3 needs the package "
        "blake3. Exit code: 2 if a file cannot be read.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print a JSON array, one object a file")
    parser.set_defaults(run=run_hash)


def run_hash(args: argparse.Namespace) -> int:
    """Prints one block or object a file; files that cannot be read are named on stderr."""
    code = 0
    answers: list[dict[str, Any]] = []
    for path in args.files:
        try:
            hashes = _read(path)
        except FileProblem as error:
            print(printable(f"lorchestra: {error}"), file=sys.stderr)
            code = 2
            continue
        if args.json:
            answers.append({"file": path, **_named(hashes)})
        else:
            print(printable(path))
            for name, value in _named(hashes).items():
                print(f"  {name:<8} {value or '-'}")
    if args.json:
        print(json.dumps(answers, indent=2))
    return code


def _named(hashes: Hashes) -> dict[str, str | None]:
    return {
        "sha256": hashes.sha256,
        "autov1": hashes.autov1,
        "autov2": hashes.autov2,
        "autov3": hashes.autov3,
        "tensors": hashes.tensors,
        "blake3": hashes.blake3,
        "crc32": hashes.crc32,
    }


def _read(path: str) -> Hashes:
    key = find_key(path)
    hidden = None if sys.stderr else True  # None: shown on terminals alone
    with tqdm(
        total=key.size if key else 0, unit="B", unit_scale=True, disable=hidden, file=sys.stderr, leave=False
    ) as bar:
        return read_hashes(path, lambda done, _: bar.update(done - bar.n))
