"""A new file appears whole or not at all, whatever becomes of the process, and never over what it is made of."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
from support.lora_files import factors, named, write

from lorchestra.cli import main
from lorchestra.errors import CheckpointError
from lorchestra.files import new_file as module
from lorchestra.files.new_file import new_file, write_new

STACK = '{"version": 1, "loras": [{"lora": "a.safetensors", "model": 0.5}]}'


@pytest.fixture(params=["unnamed", "named"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Files without a name until they are whole, where the system has them, and files that have one."""
    if request.param == "named":
        monkeypatch.setattr(module, "_UNNAMED", None)
    return request.param


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_a_file_takes_its_name_when_it_is_whole(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "ä b.txt"
    with new_file(output, force=False) as file:
        file.write(b"whole")
        assert not output.exists()
    assert output.read_bytes() == b"whole"
    (tmp_path / "other").touch()
    assert output.stat().st_mode == (tmp_path / "other").stat().st_mode
    assert hidden(tmp_path) == []


def test_another_that_came_meanwhile_is_replaced_with_force_alone(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "x"
    with pytest.raises(CheckpointError, match="exists already"), new_file(output, force=False) as file:
        file.write(b"ours")
        output.write_bytes(b"theirs")
    assert output.read_bytes() == b"theirs"
    with new_file(output, force=True) as file:
        file.write(b"ours")
    assert output.read_bytes() == b"ours"
    assert hidden(tmp_path) == []


def test_an_error_leaves_what_was_there(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "x"
    output.write_bytes(b"precious")
    with pytest.raises(CheckpointError, match="No space left"), new_file(output, force=True) as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")
    assert output.read_bytes() == b"precious"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("name", ["x" * 256, "a\0b", "\ud800", "no/such/folder", "x/y"])
def test_names_that_cannot_be_are_told(tmp_path: Path, kind: str, name: str) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(CheckpointError):
        write_new(tmp_path / name, b"")
    with pytest.raises(CheckpointError), new_file(tmp_path / name, force=True) as file:
        file.write(b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


def test_the_longest_name_can_be(tmp_path: Path, kind: str) -> None:
    for name in ("x" * 255, "ä" * 127, "🎨" * 63):
        write_new(tmp_path / name, b"1")
        write_new(tmp_path / name, b"2", force=True)
        assert (tmp_path / name).read_bytes() == b"2"


def test_what_a_process_that_is_gone_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    for name in (".out.txt.abcdefgh.part", ".out.txt.busy1234.part", ".out2.txt.abcdefgh.part", ".out.txt.part.kept"):
        (tmp_path / name).write_bytes(b"half")
    with (tmp_path / ".out.txt.busy1234.part").open("rb") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)  # as another process that is at work
        write_new(tmp_path / "out.txt", b"x")
        assert hidden(tmp_path) == [".out.txt.busy1234.part", ".out.txt.part.kept", ".out2.txt.abcdefgh.part"]
    write_new(tmp_path / "out.txt", b"x", force=True)
    assert hidden(tmp_path) == [".out.txt.part.kept", ".out2.txt.abcdefgh.part"]


def test_two_at_once_do_not_remove_each_other_s_files(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "out.txt"
    with new_file(output, force=True) as first, new_file(output, force=True) as second:
        first.write(b"first")
        second.write(b"second")
    assert output.read_bytes() == b"first"
    assert hidden(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("force", [False, True])
def test_a_killed_process_leaves_nothing_for_long(tmp_path: Path, kind: str, force: bool) -> None:
    """Killed thirty times, at any moment: no half file, and nothing that the next run does not remove."""
    chance = random.Random(7)
    whole = b"x" * 300_000
    for _ in range(30):
        child = os.fork()
        if child == 0:
            module.os.fsync = lambda handle: None  # type: ignore[assignment]  # the disk makes no difference
            while True:
                output = tmp_path / f"out{'' if force else chance.random()}"
                with new_file(output, force) as file:
                    for _ in range(30):
                        file.write(whole[:10_000])
        time.sleep(chance.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if kind == "unnamed" and not force and sys.platform == "linux":
            assert hidden(tmp_path) == []
    written = [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    assert written and all(path.read_bytes() == whole for path in written)
    if force:
        write_new(tmp_path / "out", b"", force=True)
        assert hidden(tmp_path) == []


def other_names(path: Path) -> dict[str, Path]:
    """The same file under other names."""
    names = {"itself": path, "with dots": path.parent / "." / path.name, "link": path.with_name("link")}
    names["link"].symlink_to(path.name)
    names["hard link"] = path.with_name("hard")
    os.link(path, names["hard link"])
    if path.with_name(path.name.upper()).exists():
        names["another case"] = path.with_name(path.name.upper())
    return names


@pytest.mark.parametrize("command", ["export", "import", "bake", "convert"])
def test_no_command_writes_over_what_it_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """Not with --force, and under no other name."""
    path = tmp_path / "file"
    if command in ("export", "import"):
        path.write_text(STACK)
        line = [command, str(path), *(["--to", "json"] if command == "export" else [])]
    else:
        path = write(tmp_path / "file.safetensors", named("unet.x", factors((20, 10), 4)))
        line = [command, str(path), *(["--to", "kohya"] if command == "convert" else ["--lora", f"{path}=1"])]
    before = path.read_bytes()
    for output in other_names(path).values():
        assert main([*line, "-o", str(output), "--force"]) == 2
        assert "write to another file" in capsys.readouterr().err
        assert path.read_bytes() == before


def test_a_shard_of_the_model_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lora = write(tmp_path / "lora.safetensors", named("unet.x", factors((20, 10), 4)))
    folder = tmp_path / "model"
    folder.mkdir()
    shards = [write(folder / f"m-0000{n}-of-00002.safetensors", named(f"unet.{n}", factors((8, 8), 2))) for n in (1, 2)]
    before = [shard.read_bytes() for shard in shards]
    for model in (folder, shards[0]):
        for output in shards:
            line = ["convert", str(lora), "--to", "kohya", "--model", str(model), "-o", str(output), "--force"]
            assert main(line) == 2
            assert "this is one of the files to read" in capsys.readouterr().err
    assert [shard.read_bytes() for shard in shards] == before


@pytest.mark.parametrize("command", ["export", "import"])
def test_a_full_disk_destroys_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    resource = pytest.importorskip("resource")
    stack, output = tmp_path / "stack.json", tmp_path / "out.json"
    stack.write_text(STACK)
    output.write_text("precious")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))  # a file may have ten bytes
    try:
        to = ["--to", "json"] if command == "export" else []
        code = main([command, str(stack), *to, "-o", str(output), "--force"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert code == 2
    assert "cannot be written" in capsys.readouterr().err
    assert output.read_text() == "precious"
    assert hidden(tmp_path) == []
