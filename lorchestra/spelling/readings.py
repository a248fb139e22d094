"""Other ways to read a module's name, for names that are a layer of no model as they are usually read.

Trainers and converters put a prefix before a name that has one, leave one out, write its dots as underscores, or put a
word of their own before it. Nothing is guessed here: this lists what a name may mean, and whoever knows a model's
layers takes a reading only if it is the only one that is among them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from .modules import BIAS, Module
from .prefixes import MODEL, PREFIXES, flatten, tidied, unwrapped

MOST_TRIES = 500
"""So many modules in a row of which no other reading is a layer: then it is useless to go on with a file's names."""

_MOST_PREFIXES = 3
_LONGEST = 300
"""Characters; no layer has a longer name in any spelling."""

_LORA = "lora_"
_OWN = re.compile("(?<=_)" + _LORA)
"""What a trainer's own prefix ends with: `sliders_lora_double_blocks_0_img_attn_qkv`."""

_BLOCKS = "blocks_"
_TRANSFORMER = "transformer_"
"""Together they are no prefix and a name, but one name: `transformer_blocks_0_attn_to_q`."""


def _prefixes() -> Iterator[tuple[str, str, str]]:
    """(prefix, component, what takes its place), flattened; also those that begin with `lora_` without it."""
    for row in PREFIXES:
        text, start = flatten(row.text), flatten(row.start)
        yield text, row.component, start
        if text.startswith(_LORA):
            yield text.removeprefix(_LORA), row.component, start
    yield _LORA, "", ""


_PREFIXES = tuple(dict.fromkeys(_prefixes()))
_KEY = min(len(text) for text, _, _ in _PREFIXES)
_STARTS = {
    key: tuple(row for row in _PREFIXES if row[0].startswith(key))
    for key in dict.fromkeys(text[:_KEY] for text, _, _ in _PREFIXES)
}


def readings(module: Module) -> tuple[tuple[str, str], ...]:
    """(component, flattened path) of every other way to read a module's name; pure and bounded.

    Example: `lora_unet_diffusion_model_blocks_0_attn_q` → (`model`, `blocks_0_attn_q`), and that with less taken away.
    """
    if len(module.name) > _LONGEST:
        return ()
    usual = (module.component, flatten(module.path))
    others = [reading for reading in _readings(module.name) if reading != usual]
    if module.target == BIAS:
        others = [(component, f"{path}_bias") for component, path in others]
    return tuple(others)


@functools.lru_cache(maxsize=1 << 12)
def _readings(module: str) -> tuple[tuple[str, str], ...]:
    name = flatten(tidied(unwrapped(module)))
    starts = [("", name), *(("", name[match.end() :]) for match in _OWN.finditer(name))][: _MOST_PREFIXES + 1]
    found = dict.fromkeys(starts)
    for _ in range(_MOST_PREFIXES):
        starts = list(dict.fromkeys(shorter for start in starts for shorter in _shorter(*start)))
        found.update(dict.fromkeys(starts))
    return tuple(dict.fromkeys((component or MODEL, path) for component, path in found if path))


def _shorter(component: str, name: str) -> Iterator[tuple[str, str]]:
    """The name without one more prefix. Prefixes of two components contradict each other."""
    for text, named, start in _STARTS.get(name[:_KEY], ()):
        if not name.startswith(text) or (component and named and component != named):
            continue
        rest = name[len(text) :]
        if not (text.endswith(_TRANSFORMER) and rest.startswith(_BLOCKS)):
            yield component or named, start + rest
