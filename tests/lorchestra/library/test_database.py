"""The catalog on disk: what is kept comes back, and nothing that happens to the file stops anything."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lorchestra.files.hashes import Hashes
from lorchestra.library import database as module
from lorchestra.library.database import Content, Database, Row, Use
from lorchestra.library.facts import Facts

SHA = "ab" * 32
FACTS = Facts(
    "lora", ("sdxl",), ("SDXL",), "Pixel", ("pixel art", "8 bit"), SHA, frozenset({"cd" * 32}),
    frozenset({"12" * 5}), "civitai:120096@135931", "LoRA", 16, ("pixel art",),
)  # fmt: skip


def row(number: int = 0, **more: object) -> Row:
    name = f"styles/pixel-{number}.safetensors"
    facts = Facts("lora", sha256=f"{number:064x}", air=f"civitai:{number}@{number + 1}") if number else FACTS
    return Row(f"/loras/{name}", "loras", name, (number, 2, 3), facts)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "user" / "catalog.sqlite")


def test_what_is_kept_comes_back(database: Database) -> None:
    assert database.save([row(), row(1)])
    database.close()
    again = Database(database.path)
    assert again.load("loras") == {one.path: one for one in (row(), row(1))}
    assert again.load("checkpoints") == {} and again.problem is None


def test_an_older_catalog_is_brought_up_to_date_and_keeps_what_it_has(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.save([row()])
    database.close()
    steps = module._STEPS
    monkeypatch.setattr(module, "_STEPS", (*steps, "ALTER TABLE uses ADD COLUMN note TEXT"))
    newer = Database(database.path)
    assert newer.load("loras") == {row().path: row()} and newer.problem is None
    newer.close()
    with sqlite3.connect(database.path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(steps) + 1,)
        assert "note" in [column[1] for column in connection.execute("PRAGMA table_info(uses)")]
    connection.close()


HASHES = Hashes("12" * 32, "0badcafe", "34" * 32, "56" * 32, "deadbeef")


def test_hashes_of_contents_come_back_whatever_becomes_of_the_file(database: Database) -> None:
    """A file that was moved is known again by them."""
    content = Content(10, 20, "m" * 64, HASHES)
    database.save([row()])
    assert database.save_contents({row().path: content})
    database.save([row()])
    database.forget([row().path])
    database.close()
    again = Database(database.path)
    assert again.contents() == {row().path: content} and again.load("loras") == {}


def test_what_no_file_of_text_can_hold_is_left_out(database: Database) -> None:
    odd = Row("/loras/\udcff.safetensors", "loras", "\udcff.safetensors", (1,), FACTS)
    half = Row("/loras/half", "loras", "half", (1,), Facts("lora", title="a\ud800b", triggers=("\ud800",)))
    assert database.save([odd, row(), half]) and database.forget(["/loras/\udcfe"])
    assert database.save_contents({odd.path: Content(1, 2, "m", HASHES)}) and database.contents() == {}
    found = database.load("loras")
    assert set(found) == {row().path, half.path} and found[half.path].facts.title == "a?b"


def test_a_row_that_others_wrote_is_read_anew(database: Database) -> None:
    database.save([row(), row(1)])
    with sqlite3.connect(database.path) as connection:
        connection.execute("UPDATE files SET triggers = 'no json', stamp = '' WHERE path = ?", (row().path,))
    connection.close()
    assert set(database.load("loras")) == {row(1).path}


def test_uses_are_counted(database: Database) -> None:
    database.count_use("loras", ["a", "b"], now=10)
    database.count_use("loras", ["a"], now=20)
    assert database.uses("loras") == {"a": Use(20, 2), "b": Use(10, 1)} and database.uses("checkpoints") == {}


@pytest.mark.parametrize("damage", ["text", "middle", "empty", "half"])
def test_a_damaged_file_is_put_aside_and_not_deleted(database: Database, damage: str) -> None:
    database.save([row(number) for number in range(200)])
    database.close()
    data = database.path.read_bytes()
    broken = {
        "text": b"this is not a database" * 100,
        "middle": data[:100] + os.urandom(len(data) - 100),
        "empty": b"",
        "half": data[: len(data) // 2],
    }[damage]
    database.path.write_bytes(broken)
    again = Database(database.path)
    found = again.load("loras")
    assert again.save([row()]) and row().path in again.load("loras")
    assert found == {} and again.problem is None
    aside = [path for path in database.path.parent.iterdir() if ".damaged-" in path.name]
    assert [path.read_bytes() for path in aside] == ([] if damage == "empty" else [broken])


def test_a_newer_version_is_left_alone(database: Database) -> None:
    database.save([row()])
    database.close()
    with sqlite3.connect(database.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = database.path.read_bytes()
    again = Database(database.path)
    assert again.load("loras") == {} and not again.save([row(1)])
    assert again.problem and "newer version" in again.problem and database.path.read_bytes() == before


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    database = Database(tmp_path / "file" / "catalog.sqlite")
    assert not database.save([row()]) and database.load("loras") == {}
    assert database.problem and "lives in memory" in database.problem
    (tmp_path / "file").unlink()
    assert database.save([row()]) and database.problem is None  # it mends itself


def test_two_processes_on_one_file(database: Database) -> None:
    """Threads with connections of their own write at once; each row arrives."""

    def work(start: int) -> None:
        own = Database(database.path)
        for number in range(start, start + 30):
            for _ in range(50):
                if own.save([row(number)]):
                    break
                time.sleep(0.01)
        own.close()

    threads = [threading.Thread(target=work, args=(start,)) for start in (1, 101, 201)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.load("loras")) == 90


WRITER = """
import sys
from pathlib import Path
from lorchestra.library.database import Database, Row
from lorchestra.library.facts import Facts
database = Database(Path(sys.argv[1]))
number = 0
while True:
    rows = [Row(f"/{number}-{part}", "loras", f"{number}-{part}", (1,), Facts("lora")) for part in range(10)]
    database.save(rows)
    database.count_use("loras", ["a"])
    number += 1
    print(number, flush=True)
"""


def killed_while_writing(path: Path, times: int) -> None:
    """Each transaction that was reported is there, whole, after a SIGKILL at any moment."""
    for attempt in range(times):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        for _ in range(1 + attempt % 7):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
        reported = sum(1 for _ in writer.stdout) + 1 + attempt % 7
        writer.wait()
        database = Database(path)
        names = {name.name for name in database.load("loras").values()}
        assert database.problem is None and database.aside is None
        assert {f"{number}-{part}" for number in range(reported) for part in range(10)} <= names
        assert all(len([name for name in names if name.startswith(f"{number}-")]) == 10 for number in range(reported))
        database.close()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no such signal")
def test_killed_at_any_moment(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "catalog.sqlite", 5)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no such signal")
def test_killed_two_hundred_times(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "catalog.sqlite", 200)
