"""`lorchestra export` and `lorchestra import`, called as the command line calls them."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import pytest

from lorchestra.cli.export import MAX_BYTES, add_export, add_import
from lorchestra.errors import DialectError, FileProblem, LorchestraError, StackError
from lorchestra.exchange import DIALECTS, Dialect, parse_stack
from lorchestra.stack import Entry, Stack
from lorchestra.workflow import stack_schema

AIR = "civitai:120096@135931"
STACK = Stack((Entry("styles/pixel.safetensors", model=0.7, clip=0.5, air=AIR),))


def run(*args: str | Path) -> int:
    parser = argparse.ArgumentParser()
    subparsers = parser.add_subparsers()
    add_export(subparsers)
    add_import(subparsers)
    namespace = parser.parse_args([str(arg) for arg in args])
    return namespace.run(namespace)


def give(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    path = tmp_path / "stack.json"
    path.write_text(STACK.to_text(), encoding="utf-8")
    return path


class TestExport:
    def test_runware(self, stack_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("export", stack_file, "--to", "runware") == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == [{"model": AIR, "weight": 0.7}]
        assert err.splitlines() == ["lost: row 1, clip: Runware has one weight a LoRA; 0.7 is written, 0.5 is lost"]

    def test_a1111(self, stack_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("export", stack_file, "--to", "a1111") == 0
        out, err = capsys.readouterr()
        assert out == "<lora:pixel:te=0.5:unet=0.7>\n"
        assert [line.split(":")[1] for line in err.splitlines()] == [" row 1, lora", " row 1, air"]

    def test_json(self, stack_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("export", stack_file, "--to", "json") == 0
        out, err = capsys.readouterr()
        assert parse_stack(out) == STACK
        assert err == ""

    @pytest.mark.parametrize("with_file", [True, False])
    def test_schema(self, stack_file: Path, capsys: pytest.CaptureFixture[str], with_file: bool) -> None:
        assert run("export", *([stack_file] if with_file else []), "--to", "schema") == 0
        assert json.loads(capsys.readouterr().out) == stack_schema()

    def test_allow_names(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "stack.json"
        path.write_text('[{"lora": "ä.safetensors"}]', encoding="utf-8")
        with pytest.raises(DialectError, match=r"row 1: lora\[0\].model: 'ä.safetensors' has no AIR"):
            run("export", path, "--to", "runware")
        assert run("export", path, "--to", "runware", "--allow-names") == 0
        assert json.loads(capsys.readouterr().out) == [{"model": "ä.safetensors", "weight": 0.75}]

    @pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.id)
    def test_every_dialect_there_and_back(
        self, dialect: Dialect, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A weight out of range is an error, or clamped and told; what is written is imported by its word."""
        stack, request = tmp_path / "stack.json", tmp_path / "request"
        entry = Entry("styles/pixel.safetensors", model=100.0, air="urn:air:sdxl:lora:civitai:1@2", sha256="0" * 64)
        stack.write_text(Stack((entry,)).to_text(), encoding="utf-8")
        most = dialect.limits.max
        if most < 100:
            with pytest.raises(DialectError, match=f"… {most:g}"):
                run("export", stack, "--to", dialect.id, "--allow-names")
        assert run("export", stack, "--to", dialect.id, "--allow-names", "--clamp", "-o", request) == 0
        assert ("100.0 is outside" in capsys.readouterr().err) == (most < 100)
        assert run("import", request, "--from", dialect.id) == 0
        assert json.loads(capsys.readouterr().out)["loras"][0]["model"] == most

    def test_paths(self, stack_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("export", stack_file, "--to", "vllm-omni", "--paths") == 0
        assert json.loads(capsys.readouterr().out)["lora"]["path"] == "styles/pixel.safetensors"

    def test_output_is_not_overwritten(self, stack_file: Path, tmp_path: Path) -> None:
        out = tmp_path / "out.json"
        assert run("export", stack_file, "--to", "runware", "-o", out) == 0
        before = out.read_bytes()
        with pytest.raises(FileProblem, match="--force"):
            run("export", stack_file, "--to", "json", "-o", out)
        assert out.read_bytes() == before
        assert run("export", stack_file, "--to", "json", "-o", out, "--force") == 0
        assert parse_stack(out.read_text(encoding="utf-8")) == STACK

    def test_a_failing_export_writes_nothing(self, tmp_path: Path) -> None:
        path, out = tmp_path / "stack.json", tmp_path / "out.json"
        path.write_text('[{"lora": "a"}]')
        with pytest.raises(DialectError):
            run("export", path, "--to", "runware", "-o", out)
        assert not out.exists()

    def test_output_that_cannot_be_written(self, stack_file: Path, tmp_path: Path) -> None:
        for out in (tmp_path / "no" / "out.json", tmp_path):
            with pytest.raises(FileProblem) as caught:
                run("export", stack_file, "--to", "json", "--force", "-o", out)
            assert caught.value.file == str(out)

    def test_stdin(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        give(monkeypatch, b"<lora:a:0.5>")
        assert run("export", "-", "--to", "json") == 0
        assert json.loads(capsys.readouterr().out)["loras"] == [{"lora": "a", "model": 0.5}]

    def test_a_stack_is_needed(self) -> None:
        with pytest.raises(LorchestraError, match="needs the file of a stack"):
            run("export", "--to", "runware")

    def test_wrong_usage(self, stack_file: Path) -> None:
        for args in ([], ["--to", "nobody"]):
            with pytest.raises(SystemExit):
                run("export", stack_file, *args)


REQUEST = [{"taskType": "imageInference", "model": "civitai:1@2", "lora": [{"model": AIR, "weight": 0.7}]}]


class TestImport:
    @pytest.mark.parametrize(
        ("text", "source", "rows", "losses"),
        [
            (STACK.to_text(), "auto", STACK.to_json()["loras"], 0),
            ('[["a", 1, 0.5]]', "auto", [{"lora": "a", "model": 1.0, "clip": 0.5}], 0),
            (json.dumps(REQUEST), "auto", [{"lora": AIR, "model": 0.7, "air": AIR}], 1),
            (json.dumps(REQUEST), "runware", [{"lora": AIR, "model": 0.7, "air": AIR}], 1),
            (json.dumps(REQUEST[0]["lora"]), "auto", [{"lora": AIR, "model": 0.7, "air": AIR}], 0),
            (json.dumps({"lora": []}), "auto", [], 0),
            ("<lora:a:0.5>", "auto", [{"lora": "a", "model": 0.5}], 0),
            ("a cat, <lora:a:0.5>", "auto", [{"lora": "a", "model": 0.5}], 1),
            ("{red|blue} cat <lora:a:0.5>", "auto", [{"lora": "a", "model": 0.5}], 1),
            ("a cat, <lora:a:0.5>", "a1111", [{"lora": "a", "model": 0.5}], 1),
            ('"<lora:a:0.5>"', "auto", [{"lora": "a", "model": 0.5}], 0),
            ("", "auto", [], 0),
            ("\ufeff<lora:a:0.5>", "auto", [{"lora": "a", "model": 0.5}], 0),
        ],
    )
    def test_reads(
        self, text: str, source: str, rows: object, losses: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "request"
        path.write_text(text, encoding="utf-8")
        assert run("import", path, "--from", source) == 0
        out, err = capsys.readouterr()
        assert json.loads(out) == {"version": 1, "loras": rows}
        assert len(err.splitlines()) == losses
        assert all(line.startswith("lost: ") for line in err.splitlines())

    @pytest.mark.parametrize("source", ["auto", "a1111"])
    def test_order(self, source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "prompt.txt"
        path.write_text("cat <lora:a:0.7:0.3>")
        for order, model, clip in (("te-first", 0.3, 0.7), ("model-first", 0.7, 0.3)):
            assert run("import", path, "--from", source, "--order", order) == 0
            (row,) = json.loads(capsys.readouterr().out)["loras"]
            assert (row["model"], row["clip"]) == (model, clip)

    def test_back_and_forth(self, stack_file: Path, tmp_path: Path) -> None:
        request, again = tmp_path / "request.json", tmp_path / "again.json"
        run("export", stack_file, "--to", "runware", "-o", request)
        run("import", request, "-o", again)
        assert parse_stack(again.read_text()) == Stack((Entry(AIR, model=0.7, air=AIR),))

    def test_odd_tags_spoil_nothing(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = tmp_path / "prompt.txt"
        path.write_text("cat <lora:a:0.5> <lora:b:0,8>\n<lora:x:0.375:MINE> [<lora:c:0.9>:<lora:c:1.0>:0.2]")
        assert run("import", path) == 0
        out, err = capsys.readouterr()
        assert json.loads(out)["loras"] == [
            {"lora": "a", "model": 0.5},
            {"lora": "x", "model": 0.375},
            {"lora": "c", "model": 1.0, "schedule": "0:0.9 hold, 0.2:1"},
        ]
        places = ("line 1, column 18, tag", "row 2, line 2, column 1, MINE", "row 3, line 2, column 22, clip", "prompt")
        for line, place in zip(err.splitlines(), places, strict=True):
            assert line.startswith(f"lost: {place}: ")

    def test_stdin(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        give(monkeypatch, "<lora:ä:1>".encode())
        assert run("import", "-") == 0
        assert json.loads(capsys.readouterr().out)["loras"] == [{"lora": "ä", "model": 1.0}]

    @pytest.mark.parametrize(
        ("data", "error", "reason"),
        [
            (b"a cat", StackError, "neither JSON nor"),
            (b'{"loras": [', StackError, "not JSON"),
            (b"[" * 100_000, StackError, "nested|not JSON"),
            (b'{"loras": [{"lora": "a", "model": NaN}]}', StackError, "row 1"),
            (b"<lora:a:x>", StackError, "row 1"),
            (b"\xff\xfe{\0}\0", FileProblem, "not UTF-8 text at byte 0"),
            (b" " * (MAX_BYTES + 1), FileProblem, "more than 4,000,000 bytes"),
        ],
        ids=["prompt", "cut off", "bomb", "NaN", "tag", "UTF-16", "too long"],
    )
    def test_bad_input(
        self, data: bytes, error: type[LorchestraError], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "bad"
        path.write_bytes(data)
        for name in (str(path), "-"):
            give(monkeypatch, data)
            with pytest.raises(error, match=reason):
                run("import", name)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        for path in (tmp_path / "missing", tmp_path, tmp_path / "a\0b"):
            with pytest.raises(FileProblem) as caught:
                run("import", path)
            assert caught.value.file == str(path)

    def test_broken_unicode(self, tmp_path: Path) -> None:
        path = tmp_path / "stack.json"
        path.write_text('[{"lora": "a", "note": "\\ud800"}]')
        with pytest.raises(FileProblem, match="cannot be written"):
            run("import", path, "-o", tmp_path / "out.json")
        assert not (tmp_path / "out.json").exists()
