"""The command line as a whole: exit codes, signals, closed streams, terminals that must not be steered."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.lora_files import factors, named, unet, write

from lorchestra import __version__, cli
from lorchestra.cli import INTERRUPTED, UNUSABLE, USABLE, main
from lorchestra.cli.terminal import printable
from lorchestra.errors import StackError


def run(*arguments: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "lorchestra", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, **options)


def command(monkeypatch: pytest.MonkeyPatch, action: Callable[..., object]) -> None:
    """Lets `lorchestra inspect x` do something else."""
    monkeypatch.setattr("lorchestra.cli.inspect.run_inspect", lambda options: action())


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as stop:
            main([option])
        assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert f"lorchestra {__version__}" in shown
    assert all(name in shown for name in ("inspect", "bake", "export", "import", "demo"))


@pytest.mark.parametrize("arguments", [[], ["oops"], ["bake"], ["bake", "x"], ["inspect"]])
def test_a_command_line_that_is_none(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: lorchestra" in capsys.readouterr().err


def raising(error: BaseException) -> Callable[[], object]:
    def action() -> object:
        raise error

    return action


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command(monkeypatch, lambda: USABLE)
    assert main(["inspect", "x"]) == 0
    command(monkeypatch, raising(StackError("is \x1b[2Jbroken", 3)))
    assert main(["inspect", "x"]) == UNUSABLE == 2
    assert capsys.readouterr().err == "lorchestra: row 3: is ?[2Jbroken\n"
    command(monkeypatch, raising(KeyboardInterrupt()))
    assert main(["inspect", "x"]) == INTERRUPTED == 130
    assert capsys.readouterr().err == "lorchestra: interrupted\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_interrupts_and_the_handlers_are_put_back(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        command(monkeypatch, lambda: signal.raise_signal(number))
        assert main(["inspect", "x"]) == INTERRUPTED
        assert signal.getsignal(number) == signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN)  # as nohup does
        command(monkeypatch, lambda: signal.raise_signal(number) or USABLE)
        assert main(["inspect", "x"]) == USABLE
    finally:
        signal.signal(number, before)


def test_a_thread_can_run_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signals are the main thread's alone."""
    command(monkeypatch, lambda: USABLE)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(main(["inspect", "x"])))
    thread.start()
    thread.join()
    assert codes == [USABLE]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä 日本 🎻", "plain ä 日本 🎻"),
        ("two\nlines", "two\nlines"),
        ("\x1b[31mred", "?[31mred"),
        ("a\tb\rc\x00d\x7f", "a?b?c?d?"),
        ("right\u202eleft", "right?left"),
        ("\ud83d", "?"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.skipif(os.name == "nt", reason="pipes break differently on Windows")
def test_a_reader_that_leaves(tmp_path: Path) -> None:
    """As with `lorchestra inspect … | head -1`: no traceback."""
    file = write(tmp_path / "x.safetensors", named("x", factors((4, 4), 1)))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "lorchestra", "inspect", *[str(file)] * 200], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode == UNUSABLE


@pytest.mark.skipif(os.name == "nt", reason="a shell is needed")
def test_closed_streams(tmp_path: Path) -> None:
    """Started by something that gives a process no input, no output and no errors."""
    lora = write(tmp_path / "a.safetensors", named("unet.conv_in", factors((32, 4, 3, 3), 1)))
    base = write(tmp_path / "base.safetensors", unet())
    output = tmp_path / "out.safetensors"
    script = 'exec "$0" -m lorchestra bake "$1" --lora "$2=1" -o "$3" <&- >&- 2>&-'
    code = subprocess.run(["sh", "-c", script, sys.executable, str(base), str(lora), str(output)]).returncode
    assert code == 0
    assert output.exists()
    assert (
        subprocess.run(["sh", "-c", '"$0" -m lorchestra inspect "$1" >&- 2>&-', sys.executable, str(lora)]).returncode
        == 0
    )


def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    file = write(tmp_path / "x.safetensors", {"ä日.lora_A.weight": torch.ones(1, 1)}, {"modelspec.title": "→ 🎻"})
    for arguments in (["inspect", str(file)], ["inspect", "--json", str(file)]):
        done = run(*arguments, env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert done.returncode == 0, done.stderr
        assert b"1" in done.stdout


def test_files_are_looked_into_without_torch(tmp_path: Path) -> None:
    """Only bake and demo need it, and bake says so."""
    file = write(tmp_path / "x.safetensors", named("x", factors((4, 4), 1, alpha=1)))
    script = "import sys; sys.modules['torch'] = None; from lorchestra.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", script, "inspect", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "modules     1" in done.stdout
    arguments = ["bake", str(file), "--lora", f"{file}=1", "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == UNUSABLE
    assert done.stderr.startswith("lorchestra: bake needs torch")
    assert "pip install torch" in done.stderr


def test_the_module_runs_as_a_program() -> None:
    done = run("--version")
    assert done.stdout.decode().strip() == f"lorchestra {__version__}"
    assert cli.__doc__
