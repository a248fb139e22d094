"""What the pure modules of js/ answer, in Node and without a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

JS = Path(__file__).parents[2] / "js"
NODE = shutil.which("node")


def evaluate(module: str, body: str, value: Any = None) -> Any:
    """What a function answers, or promises; in its body, `values` is the module, and `value` what it is given."""
    url = json.dumps((JS / f"{module}.mjs").as_uri())
    script = f"""import * as values from {url};
        let text = "";
        for await (const part of process.stdin) text += part;
        const answer = await ((value) => {{ {body} }})(JSON.parse(text));
        process.stdout.write(JSON.stringify(answer ?? null));"""
    done = subprocess.run(
        [str(NODE), "--input-type=module", "--eval", script],
        input=json.dumps(value), capture_output=True, text=True, encoding="utf-8", timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
