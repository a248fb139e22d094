"""`lorchestra index`: reads LoRAs, and models if asked, into the catalog, so that they are found by what they are."""

from __future__ import annotations

import argparse

from ..errors import LorchestraError
from .export import Subparsers
from .shelf import add_catalog, hash_all, open_shelf, read_all, tell_problem


def add_index(subparsers: Subparsers) -> None:
    """Adds `lorchestra index`."""
    parser = subparsers.add_parser(
        "index",
        help="read LoRA files into the catalog",
        description="Reads the headers and sidecars of all LoRA files that are not known yet and keeps what they "
        "say in the catalog, which ComfyUI uses too. With --hash, whole files are hashed: then they are "
        "found under any name. Exit code: 0 all is kept, 2 a file could not be hashed or the catalog not be written.",
    )
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help="instead of ComfyUI's LoRA folders")
    parser.add_argument(
        "--models",
        action="store_true",
        help="also ComfyUI's checkpoints and diffusion models, which --hash hashes, too",
    )
    parser.add_argument("--hash", action="store_true", help="also hash whole files (SHA-256, AutoV1–V3, BLAKE3, CRC32)")
    add_catalog(parser)
    parser.set_defaults(run=run_index)


def run_index(args: argparse.Namespace) -> int:
    """Prints one line with the counts, and one for each kind of models."""
    args.folder = [*args.folders, *args.folder]
    if args.models and args.folder:
        raise LorchestraError("--models reads the models of ComfyUI; leave out the folders")
    shelf = open_shelf(args)
    failed = 0
    for library in (shelf.loras, *shelf.models) if args.models else (shelf.loras,):
        read_all(library)
        failed += hash_all(library) if args.hash else 0
        files = library.files()
        hashed = sum(library.find_hashes(file) is not None for file in files)
        identified = sum(1 for file in files if (facts := library.find_facts(file)) and facts.air)
        what, where = ("files", f"; catalog {shelf.catalog}") if library is shelf.loras else (library.folder, "")
        print(f"{len(files):,} {what}: {hashed:,} hashed, {identified:,} with an AIR{where}")
    if failed:
        print(f"{failed:,} files could not be hashed")
    tell_problem(shelf)
    return 2 if failed or shelf.loras.problem else 0
