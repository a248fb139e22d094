"""What fuzzing found once is answered in words, and the fuzzer itself runs. `make fuzz` looks for more."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lorchestra.errors import LorchestraError
from lorchestra.exchange import DIALECTS, parse_stack, read_any, read_stack, write_any
from lorchestra.library.plaintext import plain
from lorchestra.library.sidecars import Sidecars, read_sidecars
from lorchestra.schedule import Schedule

FUZZ = Path(__file__).resolve().parents[2] / "tools/fuzz.py"
TEXTS = (
    "@" * 3000,
    "1*" * 5000,
    "1" * 50_000 + "x",
    "[" * 18 + "<lora:a:1>" + "[]" * 4500 + ":0.5]" * 18,
    "<lora:a:" + "1" * 50_000 + "x>",
    "<lora:a:1e" + "9" * 5000 + ">",
    "<lora:a:" + "0@0," * 2000 + "1@1>",
    "<lora:\ud800:1> <lora:a\0:1> <lora:" + "x" * 2000 + ">",
    "<fromto[" + "9" * 60 + "]:<lora:a>,>",
    "<fromto[1e5]:<lora:a>,>",
    "[<lora:a:100>:<lora:a:100>:0.5] [<lora:a:100> <lora:a:100>::0.5]",
    "[<lora:a:1>:99999] [<lora:a:1>:1,99999] [<lora:a:1>:00010]",
    "[|<lora:a:1>|||:0.01]",
    "[<lora:a>:" + "0" * 500 + ".5]",
    "<lora:a:step=99999-100000> <lora:a:start=0:stop=0> <lora:a:step=5-5>",
    "step 10001:1 * step 10001-10001:1",
    json.dumps([{"lora": "a", "schedule": "0:100 * 0:100"}]),
    json.dumps([{"lora": "a", "strength": 10**400}]),
    '[{"lora": "a", "model": ' + "1" * 5000 + "}]",
    '{"__value__":' * 200 + "[]" + "}" * 200,
    '"' * 1001,
)
HTML = (
    "<p>&#" + "1" * 5000 + ";</p>",
    "<p>&#x" + "f" * 5000 + ";",
    "<p>" + "<a " * 1000,
    "<svg>" * 1000 + "</math>" * 1000,
    "<p \ud800>",
)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_texts(text: str) -> None:
    for read in (Schedule.parse, parse_stack, read_any, read_stack):
        with contextlib.suppress(LorchestraError):
            read(text)


@pytest.mark.parametrize("text", HTML, ids=range(len(HTML)))
def test_html(text: str, tmp_path: Path) -> None:
    assert len(plain(text)) <= 8000
    (tmp_path / "x.json").write_text(json.dumps({"notes": text}))
    assert isinstance(read_sidecars(tmp_path / "x.safetensors"), Sidecars)


WRITTEN = (
    '{"loras": [], "hash": {}}',
    '{"loras": [{"lora": "a", "hash": "0123456789"}], "hash": "x", "sha256": 1, "air": [], "lora": 2}',
)


@pytest.mark.parametrize("form", [dialect.id for dialect in DIALECTS if dialect.write])
@pytest.mark.parametrize("text", WRITTEN, ids=range(len(WRITTEN)))
def test_what_the_whole_stack_says_is_no_row_s(text: str, form: str) -> None:
    stack = read_any(text).stack
    with contextlib.suppress(LorchestraError):
        losses = write_any(stack, form, {"allow_names": True}).losses
        assert not stack.entries or all(loss.row in (None, 1) for loss in losses)
        assert {loss.field for loss in losses if loss.row is None} == set(stack.extra)


def test_the_fuzzer_runs() -> None:
    """A few cases, always the same ones."""
    options = ("--seed", "7", "--first", "3", "--count", "4", "--patience", "100")
    done = subprocess.run([sys.executable, FUZZ, *options], capture_output=True, text=True, timeout=300)
    assert done.stdout.startswith("seed 7\n52 cases, 0 findings\n4 each of headers, "), done.stdout + done.stderr
    assert done.returncode == 0
