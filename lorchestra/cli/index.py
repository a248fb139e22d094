"""`lorchestra index`: reads LoRA files into the catalog, so that they are found by what they are."""

from __future__ import annotations

import argparse

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
    parser.add_argument("--hash", action="store_true", help="also hash whole files (SHA-256, AutoV1–V3, BLAKE3, CRC32)")
    add_catalog(parser)
    parser.set_defaults(run=run_index)


def run_index(args: argparse.Namespace) -> int:
    """Prints one line with the counts."""
    args.folder = [*args.folders, *args.folder]
    shelf = open_shelf(args)
    read_all(shelf)
    failed = hash_all(shelf) if args.hash else 0
    files = shelf.loras.files()
    hashed = sum(shelf.loras.find_hashes(file) is not None for file in files)
    identified = sum(1 for file in files if (facts := shelf.loras.find_facts(file)) and facts.air)
    print(f"{len(files):,} files: {hashed:,} hashed, {identified:,} with an AIR; catalog {shelf.catalog}")
    if failed:
        print(f"{failed:,} files could not be hashed")
    tell_problem(shelf)
    return 2 if failed or shelf.loras.problem else 0
