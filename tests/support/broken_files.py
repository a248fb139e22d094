"""Files that are broken, lie, or were made to do harm; and what reading them costs, each in a process of its own.

Run as a program (`broken_files.py FOLDER [NAME …]`) it writes those files, examines each in a fork of a process that
has already examined a good file, and prints one line of JSON a file: what came out, seconds, bytes of memory at most.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from lorchestra.architectures.signatures import find_signature

Tensors = Mapping[str, tuple[int, ...]]

MB = 1_000_000


def described(shapes: Tensors, dtype: str = "U8", start: int = 0) -> tuple[dict[str, Any], int]:
    """The JSON about tensors that lie one behind the other, and where the last one ends."""
    result: dict[str, Any] = {}
    for name, shape in shapes.items():
        size = 1
        for length in shape:
            size *= length
        result[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + size]}
        start += size
    return result, start


def lora(layers: int = 20, prefix: str = "lora_unet_", rank: int = 4) -> dict[str, tuple[int, ...]]:
    """A LoRA for SDXL as kohya writes it."""
    signature = find_signature("sdxl")
    assert signature
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in signature.shapes.items():
        if ".transformer_blocks." in name and name.endswith(".weight") and len(shape) == 2 and layers:
            layer = prefix + name.removesuffix(".weight").replace(".", "_")
            shapes |= {f"{layer}.alpha": (1,), f"{layer}.lora_down.weight": (rank, shape[1])}
            shapes[f"{layer}.lora_up.weight"] = (shape[0], rank)
            layers -= 1
    return shapes


def pieces_of(header: object) -> Iterator[bytes]:
    """JSON as bytes; bytes pass as they are, iterables of bytes too, and what a function makes of them."""
    if callable(header):
        header = header()
    if isinstance(header, bytes):
        yield header
    elif isinstance(header, list) and header and isinstance(header[0], bytes):
        yield from header
    elif isinstance(header, (dict, list, str, int, float)) or header is None:
        yield json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    else:
        yield from header  # type: ignore[misc]


def write(path: Path, header: object, data: int = 0, length: int | None = None) -> None:
    """Writes a file; its data take no room. `length` is what it says its header has, where that is a lie."""
    with open(path, "wb") as file:
        file.write(bytes(8))
        for piece in pieces_of(header):
            file.write(piece)
        true = file.tell() - 8
        file.truncate(8 + true + data)
        file.seek(0)
        file.write(struct.pack("<Q", true if length is None else length))


@dataclass(frozen=True)
class Broken:
    """One file."""

    name: str
    write: Callable[[Path], object]
    made_for: str | None = None
    """The architecture that must be found all the same; None if the file is refused or nothing is found."""
    is_read: bool = False
    """True if the header is sound, or sound enough."""
    slow: bool = False


def row(name: str, header: object, data: int = 0, length: int | None = None, **more: Any) -> Broken:
    """A small file."""
    return Broken(name, lambda path: write(path, header, data, length), **more)


def built(name: str, make: Callable[[], tuple[object, int]], **more: Any) -> Broken:
    """A file whose header is made when it is written: it may be large."""

    def put(path: Path) -> None:
        header, data = make()
        write(path, header, data)

    return Broken(name, put, **more)


def shaped(name: str, shapes: Tensors, **more: Any) -> Broken:
    """A sound file of these tensors."""
    return built(name, lambda: described(shapes), is_read=True, **more)


def with_metadata(name: str, metadata: object, **more: Any) -> Broken:
    """A good LoRA for SDXL whose metadata is this JSON, or these bytes."""

    def make() -> tuple[object, int]:
        body, end = described(lora())
        text = b"".join(pieces_of(body))
        return [b'{"__metadata__":', *pieces_of(metadata), b",", text[1:]], end

    return built(name, make, made_for="sdxl", is_read=True, **more)


def repeated(text: bytes, size: int) -> Iterable[bytes]:
    """The text again and again, about so many bytes in all."""
    block = text * max(1, MB // len(text))
    return [block] * (size // len(block))


def many(count: int, name: str, shape: str = "[1]", step: int = 1) -> tuple[object, int]:
    """A header of so many tensors of one byte, made piece by piece."""

    def make() -> Iterator[bytes]:
        yield b"{"
        for first in range(0, count, 1000):
            yield ",".join(
                f'"{name % n}":{{"dtype":"U8","shape":{shape},"data_offsets":[{n * step},{n * step + step}]}}'
                for n in range(first, min(first + 1000, count))
            ).encode() + (b"," if first + 1000 < count else b"}")

    return make(), count * step


def tensor(start: int, end: int, **changes: Any) -> dict[str, Any]:
    return {"dtype": "U8", "shape": [end - start], "data_offsets": [start, end], **changes}


HALVES = {"x.lora_down.weight": (4, 8), "x.lora_up.weight": (8, 4)}

SMALL: tuple[Broken, ...] = (
    Broken("empty", lambda path: path.write_bytes(b"")),
    Broken("seven bytes", lambda path: path.write_bytes(b"1234567")),
    row("truncated data", described(HALVES)[0], 10),
    row("length beyond the file", b"{}", 0, 1000),
    row("length of all bits", b"{}", 0, 2**64 - 1),
    row("length too short", described(HALVES)[0], 64, 20),
    row("no JSON", b"\x00\x01\x02\x03" * 100),
    row("NaN as a shape", b'{"a":{"dtype":"U8","shape":[NaN],"data_offsets":[0,1]}}', 1),
    row("Infinity as an offset", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,Infinity]}}', 1),
    row("1e400 as an offset", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1e400]}}', 1),
    row("1e0 as an offset", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1e0]}}', 1),
    row("a number of 4,000 digits", b'{"a":{"dtype":"U8","shape":[' + b"9" * 4000 + b'],"data_offsets":[0,1]}}', 1),
    row("a number of 400,000 digits",
        b'{"a":{"dtype":"U8","shape":[' + b"9" * 400_000 + b'],"data_offsets":[0,1]}}', 1),
    row("true as a shape", b'{"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}}', 1),
    row("true as an offset", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[false,true]}}', 1),
    row("a length and a text as a shape", {"a": tensor(0, 1, shape=[2**31, "4"])}, 1),
    row("a length of 2^64 and a text as a shape", {"a": tensor(0, 1, shape=[2**64, "4"])}, 1),
    row("a length and a list as a shape", {"a": tensor(0, 1, shape=[2**31, ["4"]])}, 1),
    row("leading zero", b'{"a":{"dtype":"U8","shape":[01],"data_offsets":[0,1]}}', 1),
    row("plus sign", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,+1]}}', 1),
    row("other digits", '{"a":{"dtype":"U8","shape":[١],"data_offsets":[0,1]}}'.encode(), 1),
    row("negative offset", {"a": tensor(-1, 0)}, 1),
    row("overlap", {"a": tensor(0, 8), "b": tensor(4, 12)}, 12),
    row("giant shape", {"a": tensor(0, 1, shape=[2**62] * 60)}, 1),
    row("a million dimensions", {"a": tensor(0, 1, shape=[1] * 300_000)}, 1),
    row("name twice", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],'
        b'"data_offsets":[1,2]}}', 2),
    row("name twice, once escaped", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\\u0061":{"dtype":"U8",'
        b'"shape":[1],"data_offsets":[1,2]}}', 2),
    row("missing comma", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"b":{"dtype":"U8","shape":[1],'
        b'"data_offsets":[1,2]}}', 2),
    row("brace for a comma", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}{"b":{"dtype":"U8","shape":[1],'
        b'"data_offsets":[1,2]}}', 2),
    row("more behind the end", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}', 1),
    row("invalid UTF-8 in a name", b'{"a\xff":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
    row("nested 10,000 deep", b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"),
    row("objects 10,000 deep", b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    row("metadata that do not end", b'{"__metadata__":{"a":"b"', 0),
    row("metadata twice", b'{"__metadata__":{"a":"b"},"__metadata__":{"a":"c"}}', 0, is_read=True),
    row("no tensors", b"{}", 0, is_read=True),
    row("surrogate in a name", b'{"\\ud800":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, is_read=True),
    row("control characters in a name",
        b'{"a\\u0000\\n\\u001b[2J":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1, is_read=True),
    shaped("a tensor without a name", {"": (1,), ".lora_down.weight": (4, 4), ".alpha": (1,)}),
    shaped("empty tensors", {"x.lora_down.weight": (0, 8), "x.lora_up.weight": (8, 0), "y.lokr_w1": (0,)}),
    shaped("zero dimensions", {"x.lora_down.weight": (), "x.lora_up.weight": (), "x.hada_w1_a": (), "x.diff": ()}),
    shaped("orphan halves", {"x.lora_down.weight": (4, 8), "y.lora_up.weight": (8, 4), "z.alpha": (3,)}),
    shaped("A without B", {"base_model.model.x.lora_A.weight": (4, 8)}),
    shaped("an alpha of three", {**HALVES, "x.alpha": (3,)}),
    shaped("ranks that differ", {"x.lora_down.weight": (4, 8), "x.lora_up.weight": (8, 5)}),
    shaped("four dimensions more", {"x.lora_down.weight": (4, 8) + (1,) * 62, "x.lora_up.weight": (8, 4)}),
    row("LoKr of absurd factors", {
        "x.lokr_w1": {"dtype": "U8", "shape": [2**40, 0], "data_offsets": [0, 0]},
        "x.lokr_w2": {"dtype": "U8", "shape": [2**40, 0], "data_offsets": [0, 0]},
        "y.lokr_w1": {"dtype": "U8", "shape": [2**20, 2**20], "data_offsets": [0, 2**40]},
        "y.lokr_w2": {"dtype": "U8", "shape": [0, 2**62], "data_offsets": [2**40, 2**40]},
    }, 2**40, is_read=True),
    shaped("OFT triangles", {
        "x.oft_R": (2, 7), "y.oft_R": (1, 2**40), "z.oft_R.weight": (3, 0), "v.oft_blocks": (1, 2, 3),
        "w.boft_R": (60, 2, 2, 2), "u.oft_blocks": (2**6, 2, 2, 2)}),
    shaped("every slot on one layer", {f"x{suffix}": (2, 2) for suffix in (
        ".lora_A.weight", ".lora_down.weight", ".lora_up.weight", ".hada_w1_a", ".hada_t1", ".lokr_w1", ".lokr_t2",
        ".a1.weight", ".oft_blocks", ".oft_diag", ".rescale", ".boft_R", ".ia3_l", ".on_input", ".diff", ".diff_b",
        ".w_norm", ".b_norm", ".set_weight", ".reshape_weight", ".dora_scale", ".lora_magnitude_vector", ".alpha",
        ".lora_B.bias", ".lora_E")}),
    shaped("numbered names with holes", {"unet:0:up": (320, 4), "unet:0:down": (4, 320), "unet:2:up": (1, 1)}),
    shaped("names of regular expressions' nightmares", {
        "a" * 50_000 + ".lora_A.weight": (4, 4), "a." * 25_000 + "lora_A.weight": (4, 4),
        "_1" * 25_000 + ".lora_up.weight": (4, 4), "down_blocks_" + "0_" * 20_000 + ".lora_up.weight": (4, 4),
        ".processor." * 5_000 + "to_q_lora.down.weight": (4, 4), "blocks." * 9_000 + "9" * 9_000 + ".diff": (4, 4),
        "lora_unet_" * 6_000 + ".alpha": (1,), "\n" * 50_000: (1,),
        "base_model.model." * 4_000 + "q.lora_A.weight": (4, 4),
    }),
    with_metadata("metadata as a list", ["a", "b"]),
    with_metadata("metadata as a number", b"17"),
    with_metadata("metadata as null", b"null"),
    with_metadata("metadata of numbers", {"epoch": 3, "nested": {"a": [1, {}]}, "ss_network_dim": "4"}),
    with_metadata("invalid UTF-8 in metadata", b'{"a\xff":"b","ss_tag_frequency":"\xff\xfe"}'),
    with_metadata("invalid UTF-8 in a nested value", b'{"a":["\xc3\x28"]}'),
    with_metadata("surrogates in metadata", b'{"a":"\\ud800","\\udfff":"\\udc80"}'),
    with_metadata("a JSON bomb in metadata", b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    with_metadata("a JSON bomb of objects in metadata", b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    with_metadata("JSON bombs in strings", dict.fromkeys(
        ("ss_tag_frequency", "ss_network_args", "software", "lora_adapter_metadata", "unet"), "[" * 60_000)),
    with_metadata("odd numbers in strings", {
        "ss_network_dim": "1e400", "ss_network_alpha": "nan",
        "lora_adapter_metadata": '{"r": 1e400, "lora_alpha": NaN}'}),
    with_metadata("settings of nonsense", {"lora_adapter_metadata": json.dumps({
        "unet.r": -1, "unet.lora_alpha": True, "unet.rank_pattern": {"(a+)+$": 4, "[": 2}, "unet.use_rslora": "yes"})}),
)  # fmt: skip


def tags(size: int, text: bytes = rb"\"a tag\": 17, ") -> Iterator[bytes]:
    """Metadata whose training tags take so many bytes."""
    yield rb'{"ss_base_model_version":"sdxl_base_v1-0","ss_tag_frequency":"{\"10_a\": {'
    yield from repeated(text, size)
    yield rb'\"z\": 1}}","ss_network_dim":"4"}'


def spaced(text: Any, data: int) -> tuple[object, int]:
    return [piece.replace(b":", b" : ") for piece in text], data


def adjoining(count: int) -> tuple[object, int]:
    return many(count, "lora_unet_x%d.lora_down.weight", "[1,1]")


LARGE: tuple[Broken, ...] = (
    with_metadata("50 MB of tags", lambda: tags(50 * MB)),
    with_metadata("50 MB of escapes", lambda: tags(50 * MB, rb"\n")),
    with_metadata("50 MB of four-byte characters", lambda: tags(50 * MB, "😀".encode())),
    with_metadata("50 MB of invalid UTF-8", lambda: tags(50 * MB, b"\xff")),
    with_metadata("3 MB of tags", lambda: tags(3 * MB)),
    with_metadata("1.5 MB of tags", lambda: tags(3 * MB // 2)),
    with_metadata("half a MB of nonsense in metadata", b'{"a":[' + b"[]," * 170_000 + b"1]}"),
    built("2 MB of nested lists in metadata", lambda: ([b'{"__metadata__":[', b"[]," * 600_000 + b"1]}"], 0)),
    built("a third of a million metadata entries",
          lambda: ([b'{"__metadata__":{', b",".join(b'"%d":"x"' % n for n in range(300_000)), b"}}"], 0)),
    built("90 MB of nested lists", lambda: ([*repeated(b"[", 90 * MB)], 0)),
    built("90 MB of lists in a tensor", lambda: ([b'{"a":[', *repeated(b"[],", 90 * MB), b"1]}"], 0)),
    built("90 MB of nested lists as metadata",
          lambda: ([b'{"__metadata__":', *repeated(b"[", 90 * MB)], 0)),
    built("90 MB of lists as metadata",
          lambda: ([b'{"__metadata__":[', *repeated(b"[],", 90 * MB), b"1]}"], 0)),
    built("90 MB of short entries", lambda: ([b'{"__metadata__":{', *repeated(b'"a":"b",', 90 * MB), b'"c":"d"}}'], 0)),
    built("90 MB of spaces", lambda: ([b"{", *repeated(b" ", 90 * MB), b"}"], 0)),
    built("90 MB of backslashes", lambda: ([b'{"', *repeated(rb"\\", 90 * MB), b'":1}'], 0)),
    built("7 MB of empty lists", lambda: ([b'{"a":[', *repeated(b"[],", 7 * MB), b"1]}"], 0)),
    built("7 MB of small objects", lambda: ([b'{"a":[', *repeated(b'{"b":1},', 7 * MB), b"1]}"], 0)),
    built("7 MB of keys", lambda: ([b"{", b",".join(b'"%x":1' % n for n in range(700_000)), b"}"], 0)),
    built("7 MB of nested lists", lambda: ([b'{"a":', *repeated(b"[", 7 * MB)], 0)),
    built("900 kB of keys", lambda: ([b"{", b",".join(b'"%x":1' % n for n in range(90_000)), b"}"], 0)),
    built("900 kB of empty lists", lambda: ([b'{"a":[', *repeated(b"[],", 900_000), b"1]}"], 0)),
    built("a million tensors of one byte", lambda: many(1_000_000, "%d")),
    built("70,000 tensors", lambda: many(70_000, "%d")),
    built("ten thousand tensors", lambda: many(10_000, "block.%d.weight"), is_read=True),
    built("as many tensors as are read", lambda: many(50_000, "%d"), is_read=True),
    built("as many halves as are read", lambda: adjoining(50_000), is_read=True),
    built("as many names as are read that differ in a digit",
          lambda: many(50_000, "lora_unet_1_2_3_%d.alpha"), is_read=True),
    built("as many modules as are read",
          lambda: many(50_000, "blocks.%d.lora_A.weight", "[1,1]"), is_read=True),
    built("as many tensors as are read, spaced as nobody does",
          lambda: spaced(*many(40_000, "%d")), is_read=True),
    shaped("a name of 1 MB", {"x" * MB + ".lora_down.weight": (4, 8), "x" * MB + ".lora_up.weight": (8, 4)}),
    shaped("a name of 1 MB of dots and digits", {".0" * (MB // 2) + ".lora_down.weight": (4, 8)}),
    shaped("a name of 3 MB in the text encoder", {"lora_te_" + "_1" * (3 * MB // 2) + ".lora_down.weight": (4, 8)}),
    shaped("names of many wide characters", {"😀" * 400_000 + ".lora_down.weight": (4, 8), "é": (1,)}),
)  # fmt: skip

QUICK = {
    "50 MB of tags", "3 MB of tags", "half a MB of nonsense in metadata", "2 MB of nested lists in metadata",
    "90 MB of nested lists", "90 MB of spaces", "7 MB of empty lists", "a million tensors of one byte",
    "a name of 1 MB", "names of many wide characters",
}  # fmt: skip
"""Those of `LARGE` that take a second at most, to be written as well."""

CORPUS = SMALL + tuple(replace(row, slow=row.name not in QUICK) for row in LARGE)


def examine_all(path: Path) -> dict[str, Any]:
    """Everything that reads headers, on one file; what came out."""
    from lorchestra.cli import main
    from lorchestra.errors import LorchestraError
    from lorchestra.lora.numbers import read_summary

    try:
        result = _examine(path)
    except LorchestraError as error:
        result = {"refused": str(error)[-300:]}
    with contextlib.suppress(LorchestraError):
        read_summary(path)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        code = main(["identify", "--json", str(path)])
    (data,) = json.loads(out.getvalue())
    return {**result, "code": code, "cli": data["kind"]}


def _examine(path: Path) -> dict[str, Any]:
    from lorchestra.files.header import read_header
    from lorchestra.lora.examined import examine
    from lorchestra.lora.metadata import trained_on, training, trigger_words
    from lorchestra.models.placing import place

    header = read_header(path)
    found = examine(header)
    said = (found.problem, found.warnings, found.evidence, training(header.metadata), trained_on(header.metadata))
    placement = place(found.reading.modules, {"model": _sites()})
    for module in found.reading.modules:
        assert module.kind and (module.rank is None or module.rank >= 0)
        if found.scales:
            found.scales.scale(module)
    return {
        "kind": found.kind,
        "made_for": list(found.identity.best),
        "placed": len(placement.placed),
        "unreadable": list(header.unreadable),
        "tensors": len(header.tensors),
        "words": len(trigger_words(header.metadata)),
        "said": max(len(str(part)) for part in said),
    }


@cache
def _sites() -> Mapping[str, Any]:
    """SDXL's layers: made once, before the forks."""
    from lorchestra.architectures.sites import model_sites

    signature = find_signature("sdxl")
    assert signature
    return model_sites({name: (name, shape) for name, shape in signature.shapes.items()})


def run(folder: Path, names: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """Writes and examines files, each in a fork with 100 MB of memory more than this process has."""
    import resource

    good = folder / "good.safetensors"
    body, end = described(lora(400))
    write(good, {"__metadata__": {"format": "pt"}, **body}, end)
    examine_all(good)
    wanted = set(names)
    for broken in CORPUS:
        if wanted and broken.name not in wanted:
            continue
        path = folder / "broken.safetensors"
        broken.write(path)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            before = _memory()
            with contextlib.suppress(ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (before[0] + LIMIT, resource.RLIM_INFINITY))
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
            started = time.process_time()  # the machine may be busy with other things
            try:
                result = examine_all(path)
            except BaseException as error:
                result = {"raised": f"{type(error).__name__}: {error}"[:500]}
            result |= {"seconds": time.process_time() - started, "memory": _memory()[1] - before[2]}
            os.write(writer, json.dumps(result).encode())
            os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            text = pipe.read()
        _, status = os.waitpid(child, 0)
        path.unlink()
        yield {"name": broken.name, **(json.loads(text) if text else {"raised": f"killed, status {status}"})}


LIMIT = 100 * MB
SECONDS = 10


def _memory() -> tuple[int, int, int]:
    """Bytes of address space, most bytes that were in memory at once, and those that are now."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(values["VmSize"]) * 1024, int(values["VmHWM"]) * 1024, int(values["VmRSS"]) * 1024


if __name__ == "__main__":
    for outcome in run(Path(sys.argv[1]), sys.argv[2:]):
        print(json.dumps(outcome), flush=True)
