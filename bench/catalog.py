"""How long the catalog takes: a first look at a library, a start without changes, look-ups; no ComfyUI needed.

`--files N` reads so many files of real header sizes (default 600; the structure of each is its own, which is the worst
case), `--known N` starts with so many known ones (default 10,000) and `--rows N` looks up among so many (default
100,000). Times are the processor's, which other programs do not lengthen much, and the clock's beside them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).absolute().parents[1]
sys.path.append(str(ROOT))

from identify import write_files
from lorchestra.files.hashes import Hashes
from lorchestra.library.catalog import Library
from lorchestra.library.database import Content, Database, Row
from lorchestra.library.facts import Facts, File
from lorchestra.library.resolve import resolve
from lorchestra.stack import Entry
from lorchestra.stack.wanted import wanted_of

LOOKED_UP = 500


def main() -> int:
    """Prints the figures; 1 when one is worse than asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--known", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=100_000)
    args, _ = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        good = [_first_look(Path(folder, "first"), args.files), _start(Path(folder, "start"), args.known)]
        for rows, asked in ((10_000, 1.0), (args.rows, 2.0)):
            good.append(_look_up(Path(folder, f"rows{rows}"), rows, asked))
    return 0 if all(good) else 1


class Clock:
    """The processor's time of this process and the clock's, in seconds."""

    def __init__(self) -> None:
        self._started = time.process_time(), time.perf_counter()

    def read(self) -> tuple[float, float]:
        return time.process_time() - self._started[0], time.perf_counter() - self._started[1]


def told(what: str, seconds: float, asked: float, more: str = "") -> bool:
    """One line: measured beside asked."""
    unit, factor = ("ms", 1e3) if asked < 0.1 else ("s", 1.0)
    print(f"{what}: {seconds * factor:.2f} {unit} (asked: under {asked * factor:g} {unit}){more}")
    return seconds < asked


def _first_look(folder: Path, count: int) -> bool:
    """Reads files, then some of them under a second name: trainers write the same layers over and over."""
    folder.mkdir()
    paths = list(write_files(folder, count))
    names = [path.name for path in paths]
    library = Library(lambda: names, lambda: [str(folder)], database=Database(folder / "c.sqlite"))
    parsing, sizes = _parse_all(paths)
    half = count // 2
    begun, _ = _read(library, library.files(names[:half]))
    new, _ = _read(library, library.files(names[half:]))
    for path in paths[:half]:
        names.append(f"again-{path.name}")
        os.link(path, path.with_name(names[-1]))
    again, _ = _read(library, library.unread())
    print(f"\n== a first look: {count} files, {sizes / count / 1e3:.0f} kB of header each ==")
    print(f"json.loads alone: {parsing / count * 1e3:.2f} ms a file")
    first, second = new / (count - half), again / half
    once = max(0.0, begun - half * first)
    print(f"a file of names and shapes that were not met before: {first * 1e3:.2f} ms, {first / parsing * count:.2f}×")
    print(f"a file of names and shapes that were met before: {second * 1e3:.2f} ms, {second / parsing * count:.2f}×")
    print(f"once, to learn all models: {once:.2f} s")
    good = told("10,000 files that all differ, of the processor's time", once + 1e4 * first, 60.0)
    return told("10,000 files, of which half were met before", once + 5e3 * (first + second), 60.0) and good


def _parse_all(paths: Sequence[Path]) -> tuple[float, int]:
    took, sizes = 0.0, 0
    for path in paths:
        with path.open("rb") as file:
            text = file.read(int.from_bytes(file.read(8), "little"))
        clock = Clock()
        json.loads(text)
        took += clock.read()[0]
        sizes += len(text)
    return took, sizes


def _read(library: Library, files: Sequence[File]) -> tuple[float, float]:
    clock = Clock()
    for number, file in enumerate(files):
        library.facts(file)
        if number % 100 == 99:
            library.save()
    library.save()
    return clock.read()


def _start(folder: Path, count: int) -> bool:
    """Starts with files that are known and have not changed."""
    names = _write_empty(folder, count)
    _fill(folder, names)
    clock = Clock()
    library = _library(folder, names)
    left = library.read_in_background()
    took, by_clock = clock.read()
    print(f"\n== a start with {count:,} files, all known and unchanged ==")
    assert left == 0
    good = told("until all is known", took, 1.0, f"; {by_clock:.2f} s by the clock")
    clock = Clock()
    files = library.files()
    library.read_in_background(files)
    rows = [(file.name, file.size, facts.title, facts.triggers) for file in files if (facts := library.find_read(file))]
    json.dumps(rows)
    took, by_clock = clock.read()
    assert len(rows) == count
    return told("the picker's list after that", took, 0.1, f"; {by_clock:.2f} s by the clock") and good


def _look_up(folder: Path, count: int, asked: float) -> bool:
    """Looks for files by what they are known by; those that are looked for are there."""
    names = _write_empty(folder, count, LOOKED_UP)
    _fill(folder, names)
    library = _library(folder, names)
    clock = Clock()
    resolve(wanted_of(Entry("civitai:1@1000001")), library, library.listing())
    took, _ = clock.read()
    print(f"\n== look-ups among {count:,} rows; the first one, which reads the catalog, took {took:.2f} s ==")
    wanted = {
        "SHA-256": lambda number: Entry("gone.safetensors", sha256=_sha256(number)),
        "AutoV2": lambda number: Entry("gone.safetensors", extra={"hash": _sha256(number)[:10]}),
        "AIR": lambda number: Entry(f"civitai:{number}@{number + 1_000_000}"),
        "name": lambda number: Entry(f"elsewhere/{Path(names[number]).name}"),
    }
    good = True
    for what, entry in wanted.items():
        good &= told(f"by {what}", _median(library, names, entry), asked / 1e3, ", the folder's list included")
    with sqlite3.connect(folder / "c.sqlite") as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT * FROM files WHERE folder = 'loras'").fetchall()
    print(f"SQLite reads one kind of file so: {plan[0][-1]}")
    return good


def _median(library: Library, names: Sequence[str], entry: Callable[[int], Entry]) -> float:
    times: list[float] = []
    for number in range(LOOKED_UP):
        wanted = wanted_of(entry(number))
        clock = Clock()
        found = resolve(wanted, library, library.listing())
        times.append(clock.read()[0])
        assert found and found.name == names[number], (found, number)
    return statistics.median(times)


def _write_empty(folder: Path, count: int, there: int | None = None) -> list[str]:
    """The names of so many files in folders of a hundred; the first ones are there, and empty."""
    names = [f"{number // 100:04}/{number:06}.safetensors" for number in range(count)]
    for name in names[:there]:
        path = folder / name
        if name.endswith("00.safetensors"):
            path.parent.mkdir(parents=True)
        path.touch()
    return names


def _library(folder: Path, names: list[str]) -> Library:
    return Library(lambda: names, lambda: [str(folder)], database=Database(folder / "c.sqlite"))


def _sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _fill(folder: Path, names: Sequence[str]) -> None:
    """A catalog that knows the files, and hashes of them."""
    files = {file.name: file for file in _library(folder, list(names)).files()}
    rows: list[Row] = []
    contents: dict[str, Content] = {}
    for number, name in enumerate(names):
        file, digest = files.get(name), _sha256(number)
        path, stamp = (file.path, file.stamp) if file else (f"{folder}/{name}", (1, 1))
        air = f"civitai:{number}@{number + 1_000_000}"
        facts = Facts("lora", ("sdxl", "pony"), ("SDXL",), f"Title {number}", ("word", f"word{number}"), air=air)
        rows.append(Row(path, "loras", name, stamp, facts))
        hashes = Hashes(digest, digest[:8], digest[::-1], None, digest[-8:])
        contents[path] = Content(stamp[1], stamp[0], digest, hashes)
    database = Database(folder / "c.sqlite")
    database.save(rows)
    database.save_contents(contents)
    database.close()


if __name__ == "__main__":
    sys.exit(main())
