"""Feeds every parser of the pack with mutated texts and files: none may raise a foreign exception, or take long.

    python tools/fuzz.py --seconds 60               a new seed each time, which is printed
    python tools/fuzz.py --seed 7 --only headers    the same cases again
    python tools/fuzz.py --seed 7 --only headers --first 1234 --count 1     one case again
    python tools/fuzz.py --count 200000             so many cases for each parser

Each case is made from the seed, the parser's name and the case's number alone. What is found is printed with the
command that shows it again, and the status is 1. Texts that were found once stand in `tests/lorchestra/test_corpus.py`.

Time is the processor's, of each thing that is done with a case: to read it, or to write it in one dialect. Memory is
by how much a case raises the highest that the process has held, which costs nothing to ask. On Linux the mark is set
back each time that it rose by 10 MB, so that none hides behind a larger one before it, and a case is charged with at
most 10 MB of others; elsewhere only what is above all before counts. Most texts are short, as most faults show in short
ones; one in a hundred or so has many thousands of characters, and those find what takes long.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import random
import resource
import secrets
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lorchestra.architectures.sites import model_sites
from lorchestra.errors import LorchestraError
from lorchestra.exchange import DIALECTS, parse_stack, pictures, png, read_any, read_stack, write_any
from lorchestra.exchange.registry import find_dialect_or_raise
from lorchestra.files.gguf import read_gguf
from lorchestra.files.header import Header, parse_header
from lorchestra.files.json_text import read_json
from lorchestra.fit.refusals import find_misfit
from lorchestra.library.plaintext import plain
from lorchestra.library.sidecars import SIDECARS, read_sidecars
from lorchestra.lora.examined import examine
from lorchestra.lora.file import LoraFile
from lorchestra.lora.metadata import trained_on, training, trigger_words
from lorchestra.lora.numbers import summarise
from lorchestra.models.base import base_by_name
from lorchestra.models.placing import place
from lorchestra.schedule import PRESETS, Schedule, Steps
from lorchestra.spelling import slots
from lorchestra.stack import Entry, Stack, Weighted
from lorchestra.stack.weights import Share

MOST_SECONDS = 0.05
"""Processor time of one call, the best of some tries; a busy or slow machine may be given more by `--patience`."""
MOST_BYTES = 100_000_000
"""By which a case may raise the memory of the process."""
MARK_BYTES = 10_000_000
"""By which it rises until the mark is set back."""
TELL_SECONDS = 300
"""How often a long run says how far it is."""

Case = str | bytes


@dataclass(frozen=True)
class Target:
    """One parser: how its input is made, and what is done with it."""

    name: str
    make: Callable[[random.Random], Case]
    use: Callable[[Any], object]
    """What does several things one after another yields between them: each has its own time."""


# --- texts -----------------------------------------------------------------------------------------------------------

NUMBERS = (
    "0", "1", "0.5", "-0.75", ".8", "1.", "+2", "1e-3", "1e999", "nan", "inf", "100", "100.5", "-0", "0,8", "1_0", "0x1",
    "٣", "０．５", "1" * 30, "0.30000000000000004", "1e", "1/3", "30%", "2147483648", "-1", "99999", "",
)  # fmt: skip
NAMES = (
    "a", "pixel", "styles/pixel.safetensors", "a b (v1.0)", "C:\\x\\a", "civitai:120096@135931", "urn:air:sdxl:lora:civitai:1@2",
    "ärger", "a：b", "日本", "\ud800", "a\0b", "a\nb", "x" * 1100, " ", "", "a=b", "a,b", "🙂", "..", "a@b", '"q"',
)  # fmt: skip
SCHEDULES = (
    *(preset.name for preset in PRESETS), "0:0, 0.3:1 ease, 1:0.2", "30%:1", "1/3:1", "step 3:1 hold, 5:0",
    "sigma 14.6:0, 7:1", "0.2-0.6:1", "step 1-2:1", "0.5:0.2, 0.5:1", "fade-in * step 1:0 hold, 2:1", "0.2@0.2,1@0.5",
    "[<lora:a:.5>:<lora:a:1>:0.3]", "[<lora:a:1>:0.2,0.6]", "[SEQ:<lora:a:.2>:0.1:<lora:a:1>:0.5]",
    "[<lora:a>|<lora:b>:0.1]", "[0.5:1:0.3]", "[<lora:a:1>:HR]", "progress 0:1", "0@5;1@6", "1*2*3",
)  # fmt: skip
SIGNS = (
    *"@~,;:*-%/[]<>()|#\\={}\"'&!+ \t\n._0159aeEx",
    "step ", "sigma ", "hold", "ease", "SEQ", "HR", "<lora:", "</", "&lt;", "&#", "<!--", "-->", "\u00a0", "＜", "：", "＞",
    "\r\n", "\0", "\ufeff", "<fromto[2]:", "<random:", "lbw=", "step=1-2", "te=", "unet=", "dyn=", "hr=", "]]>", "AND ",
)  # fmt: skip


TIMES = (*(2,) * 12, *(10,) * 12, *(100,) * 6, 1000, 1000)
"""How often a piece of a text is repeated. Long texts take most of the time, so they are the rarer."""


def number(chance: random.Random) -> str:
    kind = chance.random()
    if kind < 0.4:
        return f"{chance.uniform(-2, 2):.{chance.randrange(6)}f}"
    return "1" * 5000 if kind > 0.999 else chance.choice(NUMBERS)


def tag(chance: random.Random) -> str:
    parts = [chance.choice(("lora", "lora", "lora", "lyco", "loractl", "LoRA", "hypernet")), chance.choice(NAMES[:6])]
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 5))):
        weights = ",".join(f"{number(chance)}@{number(chance)}" for _ in range(chance.randrange(1, 4)))
        key = chance.choice(("", "", "", "te=", "unet=", "dyn=", "lbw=", "step=", "start=", "stop=", "hr=", "x="))
        parts.append(key + chance.choice((number(chance), number(chance), weights, "5-15", "ALL", "1,0,1", "")))
    return (
        chance.choice(("<", "<", "<", "\\<", "&lt;", "＜"))
        + ":".join(parts)
        + chance.choice((">", ">", ">", "", "\\>"))
    )


def prompt(chance: random.Random, depth: int = 0) -> str:
    pieces: list[str] = []
    for _ in range(chance.randrange(1, 5 if depth == 0 else 3)):
        kind = chance.randrange(8)
        if kind < 3 or depth > 4:
            pieces.append(tag(chance))
        elif kind == 3:
            inner = chance.choice((":", "|", ":", "::")).join(
                prompt(chance, depth + 1) for _ in range(chance.randrange(1, 4))
            )
            pieces.append(f"[{inner}:{number(chance)}{chance.choice(('', '', ',' + number(chance)))}]")
        elif kind == 4:
            word = chance.choice(("fromto", "random", "alternate", "segment", "a", "setvar"))
            inner = chance.choice((",", "|", "||")).join(
                prompt(chance, depth + 1) for _ in range(chance.randrange(1, 4))
            )
            pieces.append(f"<{word}[{number(chance)}]:{inner}>")
        else:
            pieces.append(
                chance.choice(("a cat, ", "(night:1.2)", "[dark]", "\n", " AND ", "<segment:face>", "# note\n", "\\("))
            )
    return " ".join(pieces)


def schedule(chance: random.Random) -> str:
    if chance.random() < 0.6:
        return mutated(chance, chance.choice(SCHEDULES), SIGNS)
    unit = chance.choice(("", "", "step ", "sigma ", "progress "))
    keys = ", ".join(
        f"{number(chance)}:{number(chance)} {chance.choice(('', '', 'hold', 'ease', 'cosine'))}"
        for _ in range(chance.choice((1, 2, 5, 40)))
    )
    return mutated(chance, unit + keys, SIGNS)


def mutated(chance: random.Random, text: str, signs: Sequence[str]) -> str:
    """The text with a few changes; some of them make it long."""
    for _ in range(chance.choice((0, 1, 1, 2, 3, 6))):
        at, length = chance.randrange(len(text) + 1), chance.choice((0, 1, 1, 2, 8))
        kind = chance.randrange(8)
        if kind < 4:
            text = text[:at] + chance.choice(signs) + text[at + length :]
        elif kind == 4:
            text = text[:at] + text[at + length :]
        elif kind == 5:
            other = chance.randrange(len(text) + 1)
            text = text[:at] + text[min(at, other) : max(at, other)] + text[at:]
        elif kind == 6:
            piece = text[at : at + chance.choice((1, 2, 5, 20))] or chance.choice(signs)
            text = text[:at] + piece * chance.choice(TIMES) + text[at:]
        else:
            text = text[:at]
        text = text[:50_000]
    return text


def value(chance: random.Random, depth: int = 0) -> Any:
    kind = chance.randrange(11 if depth < 4 else 8)
    if kind < 2:
        return chance.choice((0, 1, -1, 0.5, 2**31, 2**64, 10**30, -1e308, 1e-320, 100, 101))
    if kind < 5:
        return chance.choice((*NAMES, *NUMBERS, "<p>Hi</p>"))
    if kind < 8:
        return chance.choice((None, True, False, "", [], {}))
    if kind < 9:
        return [value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(KEYS): value(chance, depth + 1) for _ in range(chance.randrange(4))}


KEYS = (
    "lora", "loras", "on", "model", "clip", "blocks", "schedule", "conditioning", "expert", "sha256", "air", "version",
    "weight", "strength", "strengthTwo", "name", "clipStrength", "active", "transformer", "taskType", "__value__", "lora_1",
    "inputs", "widgets_values", "x", "_isDummy", "by", "keyframes", "position", "easing", "model_name", "civitai",
    "trainedWords", "usage_tips", "description", "files", "hashes", "SHA256", "modelId", "id", "notes", "preferred weight",
    "activation text", "sd version", "images", "tags", "base_model", "UserTitle", "Hashes", "modelspec.title", "stats",
)  # fmt: skip
FIELDS = (
    "loras", "path", "scale", "file", "file_name", "hash", "modelVersionId", "strength", "weight", "type", "air", "resources",
    "civitaiResources", "meta", "additionalNetworks", "steps", "input", "loraweights", "loratencweights", "sui_image_params",
    "sui_models", "lorasectionconfinement", "lora_weights", "lora_scale", "extra_lora", "hf_loras", "lora_scales", "image_loras",
    "nodes", "key", "mode", "lora_nickname", "lora_path", "target", "lora_configs", "class_type", "loras.0.lora_name", "prompt",
    "loras.0.strength", "loras.1.enabled", "exclude", "transformer", "isEnabled", "extra_body", "name", "model", "lora",
)  # fmt: skip
"""Names in the requests of other programs."""


def row(chance: random.Random) -> Any:
    if chance.random() < 0.15:
        return value(chance)
    found: dict[str, Any] = {chance.choice(("lora", "lora", "name", "model")): chance.choice(NAMES[:8])}
    for _ in range(chance.randrange(5)):
        found[chance.choice(KEYS[:24])] = value(chance) if chance.random() < 0.4 else chance.choice((0.5, 1, "1", True))
    if chance.random() < 0.3:
        found["schedule"] = schedule(chance)
    return found


def stack(chance: random.Random) -> str:
    rows = [row(chance) for _ in range(chance.choice((0, 1, 2, 3, 30)))]
    wrapped: Any = chance.choice(
        (rows, {"version": 1, "loras": rows}, {"__value__": rows}, {"lora": rows}, [{"lora": rows}])
    )
    text = json.dumps(wrapped)
    if chance.random() < 0.1:
        text = json.dumps(text)
    return (
        mutated(chance, text, (*SIGNS, '"', "null", "1e400", "NaN", "[[[[", '{"a":')) if chance.random() < 0.6 else text
    )


def request(chance: random.Random) -> str:
    return chance.choice((stack, mutated_prompt, foreign, foreign, foreign))(chance)


def foreign(chance: random.Random) -> str:
    """A request of another program with something else in it, or with fields of others, or mutated as a text."""
    rows = [
        Entry(
            chance.choice(NAMES[:8]),
            model=round(chance.uniform(0, 1), 2),
            clip=chance.choice((None, 0.5)),
            air=chance.choice((f"civitai:1@{number}", "urn:air:sdxl:lora:civitai:1@2")),
            sha256=f"{chance.randrange(9**9):064x}",
            expert=chance.choice((None, "low")),
        )
        for number in range(chance.randrange(1, 4))
    ]
    dialect = chance.choice(DIALECTS)
    try:
        written = write_any(Stack(tuple(rows)), dialect.id, {"allow_names": True})
    except LorchestraError:
        return stack(chance)
    text = written.text
    if not isinstance(written.value, str) and chance.random() < 0.7:
        found = json.loads(text)
        for _ in range(chance.randrange(1, 4)):
            holder = found
            while chance.random() < 0.7:
                inner = list(holder.values()) if isinstance(holder, dict) else holder
                deeper = [one for one in inner if isinstance(one, dict | list) and one]
                if not deeper:
                    break
                holder = chance.choice(deeper)
            if isinstance(holder, dict):
                holder[chance.choice((*holder, *FIELDS))] = value(chance)
            elif holder:
                holder[chance.randrange(len(holder))] = value(chance)
        text = json.dumps(found)
    signs = (
        *SIGNS,
        '"',
        "{",
        "}",
        "1e999",
        "Steps: 1, ",
        "Lora hashes: ",
        ".load_lora_weights(",
        "'" * 3,
        "weights[",
        "\\\n",
    )
    return mutated(chance, text, signs) if chance.random() < 0.5 else text


def png_file(chance: random.Random) -> bytes:
    """What stands behind the signature of a picture."""
    text = foreign(chance).encode("utf-8", "surrogatepass")
    bodies = (text, b"\0" + zlib.compress(text), b"\0\0\0\0" + text, b"\1\0\0\0" + zlib.compress(text), text[:9])
    data = b""
    for _ in range(chance.randrange(4)):
        kind = chance.choice((b"tEXt", b"zTXt", b"iTXt", b"IDAT", b"IEND", b"abCd"))
        body = chance.choice((b"parameters\0", b"workflow\0", b"parameters", b"x" * 90)) + chance.choice(bodies)
        size = len(body) if chance.random() < 0.9 else chance.choice((0, 2**31, 2**32 - 1))
        data += struct.pack(">I", size) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    if chance.random() < 0.3 and data:
        at = chance.randrange(len(data))
        data = data[:at] + bytes([chance.randrange(256)]) + data[at + chance.randrange(3) :]
    return data


def exif_file(chance: random.Random) -> bytes:
    """A JPEG or WebP picture of nothing but EXIF."""
    text, order = foreign(chance), chance.choice("<>")
    comment = chance.choice((b"UNICODE\0", b"ASCII\0\0\0", bytes(8), b"JIS\0\0\0\0\0", b"")) + text.encode(
        chance.choice(("utf-16-be", "utf-16-le", "utf-8")), "surrogatepass"
    )
    tags = [(0x9286, 7, len(comment), 8 + 2 + 12 + 4), (0x8769, 4, 1, 8), (0x0110, 2, 4, 0)]
    tag, kind, length, at = chance.choice(tags)
    if chance.random() < 0.3:
        length, at = chance.choice((length, 0, 3, 2**31, 2**32 - 1)), chance.choice((at, 0, 9, 2**32 - 1))
    count = 1 if chance.random() < 0.8 else chance.choice((0, 2, 65_535))
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHII", 8, count, tag, kind, length, at)
    tiff += bytes(4) + comment
    if chance.random() < 0.3:
        place = chance.randrange(len(tiff))
        tiff = tiff[:place] + bytes([chance.randrange(256)]) + tiff[place + chance.randrange(3) :]
    if chance.random() < 0.5:
        size = len(tiff) if chance.random() < 0.8 else chance.choice((0, 2**31, 2**32 - 1))
        return b"RIFF\0\0\0\0WEBP" + b"VP8 \2\0\0\0ab" * chance.randrange(2) + b"EXIF" + struct.pack("<I", size) + tiff
    size = len(tiff) + 8 if chance.random() < 0.8 else chance.choice((0, 1, 7, 65_535))
    return (
        b"\xff\xd8\xff"
        + b"\xe0\0\2\xff" * chance.randrange(3)
        + b"\xe1"
        + struct.pack(">H", size & 65_535)
        + b"Exif\0\0"
        + tiff
    )


def mutated_prompt(chance: random.Random) -> str:
    return mutated(chance, prompt(chance), SIGNS)


def html(chance: random.Random) -> str:
    pieces = (
        "<p>", "</p>", "<a href=\"x>y\">", "<br/>", "<li>", "<script>", "</script>", "<style>", "<svg>", "</svg>", "<!--", "-->",
        "&amp;", "&lt;lora:a:1&gt;", "&#x1F600;", "&#99999999999;", "text ", "<lora:a:1>", "<", ">", "<a b='", "<!DOCTYPE x>",
        "<![CDATA[", "\n", "<b", "= \"", "&#" + "1" * 5000 + ";", "\ud800", "<title>", "<p title=\"a\" b=c>",
    )  # fmt: skip
    return mutated(chance, "".join(chance.choice(pieces) for _ in range(chance.choice((1, 3, 10, 60)))), SIGNS)


def sidecar(chance: random.Random) -> bytes:
    if chance.random() < 0.2:
        return html(chance).encode("utf-8", "surrogatepass")
    found = {chance.choice(KEYS): value(chance) for _ in range(chance.randrange(12))}
    found["description"] = html(chance)
    text = json.dumps(found)
    return (mutated(chance, text, SIGNS) if chance.random() < 0.4 else text).encode("utf-8", "surrogatepass")


# --- files -----------------------------------------------------------------------------------------------------------

LAYERS = (
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", "lora_unet_input_blocks_4_1_proj_in",
    "lora_te1_text_model_encoder_layers_0_mlp_fc1", "transformer.transformer_blocks.0.attn.to_q", "diffusion_model.x",
    "diffusion_model.double_blocks.0.img_attn.qkv", "diffusion_model.blocks.0.self_attn.q", "unet.up_blocks.0.x",
    "base_model.model.layers.0.self_attn.q_proj", "text_encoders.clip_l.transformer.x", "lora_unet_double_blocks_0_img_mlp_0",
    "model.diffusion_model.input_blocks.0.0", "img_in", "blocks.0.q", "unet:0", "", "é\ud83d", "x" * 3000, "a.b.c.d",
)  # fmt: skip
DTYPES = {"F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "I64": 64, "U8": 8, "BOOL": 8, "F4": 4, "F64": 64}
LENGTHS: tuple[Any, ...] = (
    1, 1, 4, 4, 8, 16, 64, 320, 320, 640, 768, 3072, 0, 2**31, 2**63, 2**64, 10**30, -1, 1.5, "4", None, True, [], {},
)  # fmt: skip
METADATA = (
    "ss_tag_frequency", "ss_network_dim", "ss_network_alpha", "ss_network_args", "software", "lora_adapter_metadata",
    "ss_base_model_version", "modelspec.architecture", "modelspec.trigger_phrase", "modelspec.title", "alpha", "format",
    "ss_v2", "ss_network_module", "sshs_model_hash", "lora_alpha", "base_schedule", "ss_resolution", "ss_dataset_dirs",
)  # fmt: skip


def header(chance: random.Random) -> bytes:
    """The JSON of a safetensors header: mostly a sound one, with something wrong in most."""
    described: dict[str, Any] = {}
    if chance.random() < 0.5:
        described["__metadata__"] = {
            chance.choice(METADATA): json.dumps(value(chance)) if chance.random() < 0.7 else value(chance)
            for _ in range(chance.randrange(5))
        }
    position, wild = 0, chance.random() < 0.3
    suffixes = tuple(slots.SUFFIXES)
    for _ in range(chance.choice((0, 1, 2, 4, 12))):
        layer = chance.choice(LAYERS)
        same = chance.random() < 0.5
        for _ in range(chance.choice((1, 2, 3))):
            suffix = chance.choice((*suffixes, *suffixes, ".weight", "", "_", ":up", ".lora_A.default.weight"))
            name = (layer if same else chance.choice(LAYERS)) + suffix
            if name in described:
                continue
            shape = [
                chance.choice(LENGTHS if wild else LENGTHS[:12]) for _ in range(chance.choice((0, 1, 2, 2, 2, 4, 9)))
            ]
            dtype = chance.choice(("F16", "F16", "F32", *DTYPES))
            try:
                size = prod(shape) * DTYPES[dtype] // 8 if all(type(length) is int for length in shape) else 8
            except TypeError:
                size = 8
            size = min(max(size, 0), 2**62)
            offsets: Any = [position, position + size]
            if wild and chance.random() < 0.3:
                offsets = chance.choice(([0, 0], [position], None, "x", [2**64, 0], [position, -1], [0.5, 1], [[], {}]))
            described[name] = {
                "dtype": dtype if chance.random() < 0.97 else value(chance),
                "shape": shape,
                "data_offsets": offsets,
            }
            position += size
    text = json.dumps(described)
    if chance.random() < 0.2:
        text = mutated(chance, text, (*SIGNS, '"shape":[', '"dtype":"F16"', "null", "2147483648", "\0"))
    return text.encode("utf-8", "surrogatepass")


SITES = model_sites(
    {
        f"{name}.weight": (f"{name}.weight", shape)
        for name, shape in {"x": (8, 4), "blocks.0.q": (4, 4), "conv": (4, 4, 3, 3), "img_in": (8, 8)}.items()
    }
)
BASES = ("sd15", "sdxl", "flux1")


def use_header(data: bytes) -> None:
    found = _parsed(data)
    if found is None:
        return
    examined = examine(found)
    _ = (*examined.warnings, *examined.evidence, examined.problem)
    _ = (training(found.metadata), trained_on(found.metadata), trigger_words(found.metadata))
    place(examined.reading.modules, {"model": SITES})
    file = LoraFile(found, examined.reading)
    entry = Entry("a", model=1.0)
    weighted = Weighted(1, entry, 1.0, 1.0, (Share(1.0, None, "both"),))
    for name in BASES:
        base = base_by_name(name)
        find_misfit(file, weighted, lambda base=base: base)


def _parsed(data: bytes) -> Header | None:
    try:
        sizes = [item["data_offsets"][1] for key, item in json.loads(data).items() if key != "__metadata__"]
        size = max([0, *(one for one in sizes if type(one) is int and 0 < one < 2**63)])
    except Exception:
        size = 64
    try:
        return parse_header(data, path="x.safetensors", file_size=8 + len(data) + size)
    except LorchestraError:
        return None


def gguf(chance: random.Random) -> bytes:
    def text(found: str) -> bytes:
        data = found.encode("utf-8", "surrogatepass")
        length = len(data) if chance.random() < 0.97 else chance.choice((0, 2**31, 2**63, 2**64 - 1))
        return struct.pack("<Q", length) + data

    def entry(kind: int) -> bytes:
        if kind == 8:
            return text(chance.choice(NAMES))
        if kind == 9:
            inner = chance.choice((0, 4, 5, 8, 9, 12, 99))
            count = chance.choice((0, 1, 3, 3, 2**31, 2**63))
            return struct.pack("<IQ", inner, count) + b"".join(entry(inner) for _ in range(min(count, 4)) if inner != 9)
        return bytes(chance.randrange(256) for _ in range({0: 1, 1: 1, 2: 2, 3: 2, 10: 8, 11: 8, 12: 8}.get(kind, 4)))

    entries = [
        text(chance.choice(("general.architecture", "general.alignment", "comfy.gguf.orig_shape.x", *NAMES)))
        + struct.pack("<I", kind)
        + entry(kind)
        for kind in (chance.choice((0, 4, 4, 5, 8, 9, 12, 77)) for _ in range(chance.randrange(5)))
    ]
    tensors = [
        text(chance.choice(LAYERS))
        + struct.pack("<I", dims if chance.random() < 0.95 else 2**31)
        + b"".join(struct.pack("<Q", chance.choice((1, 4, 32, 320, 0, 2**32, 2**63))) for _ in range(dims))
        + struct.pack("<IQ", chance.choice((0, 1, 2, 8, 12, 30, 99)), chance.choice((0, 32, 2**63)))
        for dims in (chance.choice((0, 1, 2, 2, 4, 9)) for _ in range(chance.randrange(5)))
    ]
    counts = [len(tensors), len(entries)]
    if chance.random() < 0.1:
        counts[chance.randrange(2)] = chance.choice((0, 100, 2**31, 2**63))
    data = b"GGUF" + struct.pack("<IQQ", chance.choice((3, 3, 3, 2, 1, 99)), *counts) + b"".join(entries + tensors)
    data += bytes(chance.choice((0, 32, 64)))
    return data[: chance.randrange(len(data) + 1)] if chance.random() < 0.2 else data


def read_header_numbers(data: bytes) -> None:
    found = _parsed(data)
    if found is not None:
        summarise(found, examine(found).reading)


# --- what is done with them ------------------------------------------------------------------------------------------


def use_schedule(text: str) -> None:
    found = Schedule.parse(text)
    again = Schedule.parse(found.to_text())
    if again != found:
        raise AssertionError("the schedule's text reads back as another one")
    if Schedule.from_json(found.to_json()) != found:
        raise AssertionError("the schedule's JSON reads back as another one")
    run = Steps(4, (10.0, 5.0, 2.0, 1.0, 0.0))
    _ = (
        found.weights(run),
        found.changes(run),
        found.unreached(run),
        found.changes_between(0, 1),
        found.is_zero_between(0, 1),
    )


def use_request(text: str) -> Iterator[None]:
    """Reads a text in three ways, and writes each stack that comes of it: once, for mostly all three are the same."""
    written: list[Stack] = []
    for read in (read_any, read_stack, parse_stack):
        yield
        try:
            result: Any = read(text)
        except LorchestraError:
            continue
        found = result if read is parse_stack else result.stack
        if read is not parse_stack:
            _ = [str(loss) for loss in result.losses]
        if found in written:
            continue
        written.append(found)
        yield
        if parse_stack(found.to_text()) != found:
            raise AssertionError("the stack's text reads back as another one")
        for dialect in DIALECTS:
            yield
            try:
                write_any(found, dialect.id, {"allow_names": True})
            except LorchestraError:
                continue


def use_dialects(text: str) -> Iterator[None]:
    for dialect in DIALECTS:
        yield
        try:
            find_dialect_or_raise(dialect.id).read(text)
        except LorchestraError:
            continue


def use_picture(data: bytes) -> None:
    _use_infotext(png.find_parameters(io.BytesIO(data)))


def use_exif(data: bytes) -> None:
    _use_infotext(pictures.find_parameters(data[: pictures.LONGEST_START], io.BytesIO(data[pictures.LONGEST_START :])))


def _use_infotext(text: str) -> None:
    found = read_any(text).stack
    if parse_stack(found.to_text()) != found:
        raise AssertionError("the stack's text reads back as another one")


class Folder:
    """A folder for what must be a file. Its files are made once and filled again: to make one takes longer than most
    cases. All sidecars are one file under many names.
    """

    def __init__(self) -> None:
        self._held = tempfile.TemporaryDirectory(prefix="fuzz")
        folder = Path(self._held.name)
        self.gguf, self.lora = folder / "x.gguf", folder / "x.safetensors"
        self._gguf = self.gguf.open("wb", buffering=0)
        first = folder / f"x{SIDECARS[0]}"
        self._sidecar = first.open("wb", buffering=0)
        for suffix in SIDECARS[1:]:
            (folder / f"x{suffix}").hardlink_to(first)

    def use_gguf(self, data: bytes) -> None:
        _fill(self._gguf, data)
        read_gguf(self.gguf)

    def use_sidecar(self, data: bytes) -> None:
        _fill(self._sidecar, data)
        read_sidecars(self.lora)


def _fill(file: io.FileIO, data: bytes) -> None:
    file.seek(0)
    file.write(data)
    file.truncate()


def targets(folder: Folder) -> tuple[Target, ...]:
    """All parsers. To add one: a function that makes its input from a `Random`, one that uses it, and a row."""
    return (
        Target("headers", header, use_header),
        Target("numbers", header, read_header_numbers),
        Target("gguf", gguf, folder.use_gguf),
        Target("schedules", schedule, use_schedule),
        Target("prompts", mutated_prompt, use_request),
        Target("stacks", stack, use_request),
        Target("dialects", request, use_dialects),
        Target("recognised", foreign, use_request),
        Target("pictures", png_file, use_picture),
        Target("exif", exif_file, use_exif),
        Target("json", stack, read_json),
        Target("html", html, plain),
        Target("sidecars", sidecar, folder.use_sidecar),
    )


def case(target: Target, seed: int, index: int) -> Case:
    """The input of this number."""
    return target.make(random.Random(f"{seed}/{target.name}/{index}"))


class Memory:
    """The most memory that the process has held."""

    def __init__(self) -> None:
        self._mark = self._peak()

    def risen(self) -> int:
        """By how many bytes it rose above the mark, which is set back if it is far below."""
        peak = self._peak()
        risen = peak - self._mark
        if risen > MARK_BYTES:
            with contextlib.suppress(OSError):  # where there is no such file the mark stays at the top
                Path("/proc/self/clear_refs").write_text("5")
            self._mark = self._peak()
        return risen

    def _peak(self) -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def trouble(target: Target, made: Case, patience: float, memory: Memory) -> str | None:
    """What is wrong with a parser on this input; None if nothing is."""
    took = _timed(target, made)
    if isinstance(took, str):
        return took
    risen = memory.risen()
    if risen > MOST_BYTES:
        return f"took {risen // 1_000_000} MB"
    for _ in range(4):
        if took <= MOST_SECONDS * patience:
            return None
        gc.collect()
        again = _timed(target, made)
        took = min(took, again) if isinstance(again, float) else took
    return f"took {took * 1000:.0f} ms"


def _timed(target: Target, made: Case) -> float | str:
    """Seconds of the longest thing that is done with the input; or what is wrong."""
    longest, begun = 0.0, time.process_time()
    try:
        used = target.use(made)
        for _ in used if isinstance(used, Generator) else ():
            now = time.process_time()
            longest, begun = max(longest, now - begun), now
    except LorchestraError as error:
        if len(str(error)) > 2000:
            return f"a sentence of {len(str(error)):,} characters"
    except Exception:
        return traceback.format_exc(limit=-4)
    return max(longest, time.process_time() - begun)


def rounds(
    chosen: Sequence[Target], first: int, count: int | None, seconds: float | None
) -> Iterator[tuple[Target, int]]:
    """The parsers in turns, until there is enough."""
    end = None if seconds is None else time.monotonic() + seconds
    index = first
    while (count is None or index < first + count) and (end is None or time.monotonic() < end):
        for target in chosen:
            yield target, index
        index += 1


def main() -> int:
    """Runs it; the status is 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="how long; 60 if --count is not given either")
    parser.add_argument("--count", type=int, help="how many cases for each parser")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", help="names of parsers, with commas between them")
    parser.add_argument("--patience", type=float, default=4, help="times 50 ms that a case may take")
    parser.add_argument("--most", type=int, default=10, help="stop after so many findings")
    args = parser.parse_args()
    chosen = targets(Folder())
    if args.only:
        names = args.only.split(",")
        chosen = tuple(target for target in chosen if target.name in names)
        if len(chosen) != len(set(names)):
            parser.error(f"there are {', '.join(target.name for target in targets(Folder()))}")
    for target in chosen:  # what is loaded with the first use is nobody's time
        _timed(target, case(target, 0, 0))
    seconds = 60.0 if args.count is None and args.seconds is None else args.seconds
    print(f"seed {args.seed}", flush=True)
    done = {target.name: 0 for target in chosen}
    found, memory, told = 0, Memory(), time.monotonic()
    for target, index in rounds(chosen, args.first, args.count, seconds):
        made = case(target, args.seed, index)
        done[target.name] += 1
        problem = trouble(target, made, args.patience, memory)
        if problem:
            found += 1
            print(f"\n{target.name} {index}: {problem.strip()}\n  {made!r:.600}")
            print(
                f"  python tools/fuzz.py --seed {args.seed} --only {target.name} --first {index} --count 1", flush=True
            )
            if found >= args.most:
                break
        if time.monotonic() > told + TELL_SECONDS:
            told = time.monotonic()
            print(f"  {index:,}: {found} findings", flush=True)
    print(f"{sum(done.values()):,} cases, {found} findings")
    if len(set(done.values())) == 1:
        print(f"{next(iter(done.values())):,} each of {', '.join(done)}")
    else:
        print(", ".join(f"{count:,} of {name}" for name, count in done.items()))
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
