"""A Python script that gives a pipeline of diffusers its LoRAs, both ways; read from its text, never run.

Source: huggingface/diffusers 0.42.1 `src/diffusers/loaders/lora_base.py` (`load_lora_weights`, `set_adapters`,
`get_list_adapters`): `adapter_weights` is a number for each adapter, or a dict of the pipeline's components (`{"unet":
0.7, "text_encoder": 0.5}`), of which one that is not in it has 1. Of a pair such as Wan 2.2's,
`load_into_transformer_2=True` names the second model, the one for low noise. A LoRA is a file, or a repository of
Hugging Face, where `weight_name` names the file.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import dedent
from typing import Any, cast

from ..errors import DialectError, quoted
from ..limits import MAX_PROMPT, MAX_ROWS, Json
from ..stack import HIGH, LOW, Entry, Stack
from ..stack.air import find_air
from .dialect import (
    CLIP,
    EXPERT,
    FOLDER,
    Dialect,
    Loss,
    Reading,
    Writing,
    fitted,
    no_place,
    unsaid,
    unsaid_of_stack,
    written,
)
from .fields import check_rows, checked, weight
from .hosted import is_address, is_repository
from .names import Unique, stem

MAX_STATEMENT = 2_000
"""Longest statement that is parsed, in characters.

Python's parser goes as deep as its text is long, and ends the process where a thread's stack is too small: with 2,000
signs and 512 KiB, Python 3.10 to 3.13 have twice the room that they need.
"""
_ADAPTER = 60
"""Longest name of an adapter, in characters."""
MAX_STATEMENTS = 4 * MAX_ROWS

_LOAD, _SET, _FUSE = "load_lora_weights", "set_adapters", "fuse_lora"
_SECOND, _WEIGHT_NAME = "load_into_transformer_2", "weight_name"
_MARKS = re.compile(rf"\b(?:{_LOAD}|{_SET}|{_FUSE})\s*\(|\bweights\s*\[")
_TOKEN = re.compile(
    r"'{3}.*?(?:'{3}|\Z)|\"{3}.*?(?:\"{3}|\Z)|'(?:\\.|[^'\\\n])*(?:'|(?=\n)|\Z)|\"(?:\\.|[^\"\\\n])*(?:\"|(?=\n)|\Z)"
    r"|\#[^\n]*|(?P<sign>[\[({\])};]|\\?\n)",
    re.DOTALL,
)
"""Texts and comments, which are passed over, and the signs between which statements stand."""
_HEAD = '''"""LoRAs for a pipeline of diffusers, written by Lorchestra. It needs the package peft, too.

    python loras.py MODEL [FOLDER]    a model as diffusers loads it, and the folder of the LoRA files
"""

import sys
from pathlib import Path

from diffusers import DiffusionPipeline


def add_loras(pipeline, folder="."):
    """Loads the LoRAs into the pipeline and sets their weights."""
    weights = {}
'''
_TAIL = '''    if weights:
        pipeline.set_adapters(list(weights), adapter_weights=list(weights.values()))
    return pipeline


def find(name, folder):
    """The LoRA's file in the folder; the name itself if there is none, which may be a repository of Hugging Face."""
    path = Path(folder, name.replace("\\\\", "/"))
    return str(path) if path.is_file() else name


def by_part(pipeline, adapter, model, clip):
    """The weights of an adapter for the parts of the pipeline that it changes."""
    parts = [part for part, adapters in pipeline.get_list_adapters().items() if adapter in adapters]
    return {part: clip if part.startswith("text_encoder") else model for part in parts}


if __name__ == "__main__":
    add_loras(DiffusionPipeline.from_pretrained(sys.argv[1]), *sys.argv[2:])
'''


@dataclass(slots=True)
class _Loaded:
    """What a script loads."""

    lora: str
    expert: str | None
    extra: dict[str, Json]
    air: str | None
    model: float = 1.0
    clip: float | None = None
    on: bool = True
    is_set: bool = False


@dataclass(slots=True)
class _Script:
    """What was read of a script so far."""

    loaded: dict[str, _Loaded] = field(default_factory=dict[str, _Loaded])
    losses: list[Loss] = field(default_factory=list[Loss])
    statement: str = ""
    """The statement that is read."""

    @property
    def shown(self) -> str:
        """The statement as a message shows it."""
        return quoted(self.statement.strip())

    def row(self, adapter: str) -> int:
        """The row of an adapter."""
        return list(self.loaded).index(adapter) + 1


def is_script(text: str) -> bool:
    """True for a text in which a pipeline's `load_lora_weights` is called."""
    return re.search(rf"\.{_LOAD}\s*\(", text) is not None


def read(text: Json) -> Reading:
    """The stack of the calls in a script whose arguments stand there as texts and numbers.

    What cannot be known without running the script is lost, with its statement. Raises `DialectError` for weights out
    of range and for a text that is too long.
    """
    if not isinstance(text, str):
        raise DialectError(f"a script is text, not {quoted(text)}")
    if len(text) > MAX_PROMPT:
        raise DialectError(f"the script has {len(text):,} characters; at most {MAX_PROMPT:,} are read")
    script = _Script()
    count = 0
    for statement in _statements(text):
        if _MARKS.search(statement) is None:
            continue
        count += 1
        if count > MAX_STATEMENTS:
            raise DialectError(f"the script has more than {MAX_STATEMENTS:,} statements about LoRAs")
        script.statement = statement
        tree = _parsed(statement)
        if tree is None:
            script.losses.append(Loss(None, "script", f"{script.shown} cannot be read"))
            continue
        for node in ast.walk(tree):
            _read_node(node, script)
        check_rows(len(script.loaded), _LOAD)
    entries: list[Entry] = []
    for row, (adapter, found) in enumerate(script.loaded.items(), 1):
        clip = None if found.clip == found.model else found.clip
        entry = Entry(
            found.lora, on=found.on, model=found.model, clip=clip, expert=found.expert, air=found.air, extra=found.extra
        )
        entries.append(checked(entry, row, f"{_LOAD}({quoted(adapter)})"))
        if not found.is_set:
            script.losses.append(Loss(row, "weight", "the script sets no weight that can be read; 1 is taken"))
    return Reading(Stack(tuple(entries)), tuple(script.losses))


def _statements(text: str) -> Iterator[str]:
    """The logical lines of a script, which end where no bracket is open."""
    start, depth = 0, 0
    for token in _TOKEN.finditer(text):
        sign = token["sign"]
        if sign is None or sign == "\\\n":
            continue
        if sign in "([{":
            depth += 1
        elif sign in ")]}":
            depth = max(depth - 1, 0)
        elif depth == 0:
            yield text[start : token.start()]
            start = token.end()
    yield text[start:]


def _parsed(statement: str) -> ast.Module | None:
    if len(statement) > MAX_STATEMENT:
        return None
    try:
        with warnings.catch_warnings():  # about a stranger's text, such as "1or 2", nobody here needs them
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(dedent(statement.strip("\n")).strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _read_node(node: ast.AST, script: _Script) -> None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr == _LOAD:
            _load(node, script)
        elif node.func.attr == _SET:
            _set(node, script)
        elif node.func.attr == _FUSE:
            script.losses.append(Loss(None, _FUSE, "the script merges the LoRAs for good; here they stay rows"))
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Subscript):
        target = node.targets[0]
        adapter = _literal(target.slice)
        if isinstance(target.value, ast.Name) and target.value.id == "weights" and isinstance(adapter, str):
            call = node.value
            arguments = [_literal(one) for one in call.args[1:]] if isinstance(call, ast.Call) else []
            is_pair = len(arguments) == 3 and arguments[0] == adapter
            said: Json = {"": arguments[1], "text_encoder": arguments[2]} if is_pair else _literal(call)
            _weigh(adapter, said, script)


def _literal(node: ast.AST | None) -> Json:
    """The value that stands there; `_UNKNOWN` for anything that would have to be run."""
    try:
        return _UNKNOWN if node is None else ast.literal_eval(cast("ast.expr", node))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return _UNKNOWN


_UNKNOWN = object()


def _load(call: ast.Call, script: _Script) -> None:
    named = {one.arg: one.value for one in call.keywords if one.arg}
    first = call.args[0] if call.args else named.get("pretrained_model_name_or_path_or_dict")
    is_file = isinstance(first, ast.Call) and bool(first.args)  # find("styles/pixel.safetensors", folder)
    if isinstance(first, ast.Call) and first.args:
        first = first.args[0]
    lora, adapter = _literal(first), _literal(named.get("adapter_name"))
    file, second = _literal(named.get(_WEIGHT_NAME)), _literal(named.get(_SECOND))
    if not isinstance(lora, str) or not lora.strip():
        script.losses.append(Loss(None, _LOAD, f"{script.shown} names no file that can be read"))
        return
    if not isinstance(adapter, str):
        adapter = f"default_{len(script.loaded)}"  # as diffusers calls it
    if adapter in script.loaded:
        script.losses.append(
            Loss(None, _LOAD, f"the adapter {quoted(adapter)} is loaded twice; the first one is taken")
        )
        return
    air = f"huggingface:{lora}" if is_repository(lora) and not is_file else None
    expert = None if second is _UNKNOWN else LOW if second else HIGH
    extra: dict[str, Json] = {}
    if isinstance(file, str) and file:
        lora = f"{lora}/{file}"
    script.loaded[adapter] = _Loaded(lora, expert, extra, air)


def _set(call: ast.Call, script: _Script) -> None:
    named = {one.arg: one.value for one in call.keywords if one.arg}
    names = _literal(call.args[0] if call.args else named.get("adapter_names"))
    values_node = call.args[1] if len(call.args) > 1 else named.get("adapter_weights")
    values = None if values_node is None else _literal(values_node)
    if names is _UNKNOWN or values is _UNKNOWN:
        if not any(found.is_set for found in script.loaded.values()) and script.loaded:
            script.losses.append(Loss(None, _SET, f"{script.shown} cannot be read without running it"))
        return
    adapters: list[Any] = (
        [names]
        if isinstance(names, str)
        else list(cast("Sequence[Any]", names))
        if isinstance(names, list | tuple)
        else []
    )
    if isinstance(values, list | tuple):
        weights = list(cast("Sequence[Json]", values))
    else:
        weights = [values] * len(adapters)
    if len(weights) != len(adapters):
        raise DialectError(f"there are {len(weights)} weights for {len(adapters)} adapters", None, _SET)
    for adapter, found in script.loaded.items():
        found.on = adapter in adapters
        found.is_set = found.is_set or not found.on
    for adapter, said in zip(adapters, weights, strict=True):
        if isinstance(adapter, str):
            _weigh(adapter, 1.0 if said is None else said, script)


def _weigh(adapter: str, said: Json, script: _Script) -> None:
    """Takes the weight of an adapter, which may be a dict by component."""
    found = script.loaded.get(adapter)
    if found is None:
        script.losses.append(Loss(None, _SET, f"the adapter {quoted(adapter)} is not loaded"))
        return
    row, path = script.row(adapter), f"weights[{quoted(adapter)}]"
    if said is _UNKNOWN:
        return
    found.is_set = True
    if not isinstance(said, Mapping):
        found.model, found.clip = weight(said, path, row), None
        return
    parts = cast("Mapping[Json, Json]", said)
    texts = {str(key): value for key, value in parts.items() if str(key).startswith("text_encoder")}
    models = {str(key): value for key, value in parts.items() if str(key) not in texts}
    found.model = _one(models, path, row, script.losses)
    found.clip = _one(texts, path, row, script.losses)


def _one(parts: Mapping[str, Json], path: str, row: int, losses: list[Loss]) -> float:
    """The one weight of some components; 1 without any, as diffusers has it."""
    plain: list[float] = []
    for key, value in parts.items():
        if isinstance(value, Mapping):
            losses.append(Loss(row, "blocks", f"{key} has weights per block, which a row has no place for; 1 is taken"))
            plain.append(1.0)
        else:
            plain.append(weight(value, f"{path}.{key}" if key else path, row))
    if len(set(plain)) > 1:
        losses.append(Loss(row, "weight", f"{', '.join(parts)} have different weights; the first is taken"))
    return plain[0] if plain else 1.0


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """A script that loads the active rows into a pipeline and sets their weights; see its first lines for how it is
    run.

    Names are looked up in the folder that it is given. A row whose name is a web address, or an AIR of anything but
    Hugging Face, is a `DialectError`: diffusers cannot load it.
    """
    losses: list[Loss] = []
    lines: list[str] = []
    unique = Unique()
    for row, entry in written(stack, DIALECT, losses):
        repository = _find_repository(entry, row)
        adapter = unique.name(re.sub(r"\W+", "_", stem(entry.lora)).strip("_")[:_ADAPTER] or "lora")
        model = fitted(entry.model, f"weights[{adapter!r}]", entry, row, DIALECT, clamp, losses)
        clip = fitted(entry.clip_weight, f"weights[{adapter!r}]", entry, row, DIALECT, clamp, losses, "clip")
        source = f"find({entry.lora!r}, folder)" if repository is None else repr(repository)
        loaded = f"{source}, adapter_name={adapter!r}"
        if entry.expert in (HIGH, LOW):
            loaded += f", {_SECOND}={entry.expert == LOW}"
        lines.append(f"    pipeline.{_LOAD}({loaded})")
        value = f"{model!r}" if clip == model else f"by_part(pipeline, {adapter!r}, {model!r}, {clip!r})"
        lines.append(f"    weights[{adapter!r}] = {value}")
        losses += no_place(entry, row, DIALECT.title, ("sha256", *(["air"] if repository is None else [])))
        losses += unsaid(entry, row, DIALECT.title, ("expert",) if entry.expert in (HIGH, LOW) else ())
    losses += unsaid_of_stack(stack, DIALECT.title)
    text = "\n".join([_HEAD.rstrip("\n"), *lines, _TAIL])
    return Writing(text, text, tuple(losses))


def _find_repository(entry: Entry, row: int) -> str | None:
    """The repository of Hugging Face that a row names instead of a file; None for a file."""
    air = find_air(entry.lora) or find_air(entry.air or "")
    repository = air.id if air and air.source.lower() == "huggingface" and is_repository(air.id) else None
    if repository is not None and (entry.lora == repository or find_air(entry.lora)):
        return repository
    if find_air(entry.lora) or is_address(entry.lora):
        raise DialectError(
            f"{quoted(entry.lora)} is no file and no repository of Hugging Face, which diffusers loads; choose the "
            "file in this row, or switch it off",
            row,
            _LOAD,
        )
    return None


DIALECT = Dialect("diffusers", "diffusers", ".py", read, write, write_options=("clamp",), keeps=(CLIP, FOLDER, EXPERT))
