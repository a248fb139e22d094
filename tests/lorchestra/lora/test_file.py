"""LoRA files are checked as a whole, read once, kept while memory lasts, and known by what they hold."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from weakref import ref

import pytest
import torch
from support.algorithm_files import CONVOLUTION, KINDS, made
from support.exact import same_bits
from support.lora_files import SUFFIXES, factors, locked, named, public_folder, weight, write
from support.sparse_files import write_sparse
from torch import Tensor

from lorchestra.algorithms.lora import LoRA
from lorchestra.errors import AdapterError, HeaderError, LorchestraError
from lorchestra.files.header import read_header
from lorchestra.files.key import find_key, read_sha256
from lorchestra.lora.cache import LoraCache, OpenLora, content_ids, open_lora
from lorchestra.spelling.modules import read_modules

ROOT = Path(__file__).resolve().parents[3]
Parts = dict[str, Tensor]


def lora(path: Path, seed: int = 0, rank: int = 4, alpha: float | None = 2.0) -> Path:
    return write(path, named("unet.x", factors((20, 10), rank, seed=seed, alpha=alpha)))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("spelling", SUFFIXES)
def test_tensors_are_read_as_they_are(tmp_path: Path, spelling: str, keep: bool) -> None:
    parts = factors((20, 10), 4, seed=1, alpha=2)
    file = open_lora(write(tmp_path / "x.safetensors", named("unet.x", parts, spelling)), keep=keep)
    (module,) = file.reading.modules
    read = file.adapter(module)
    assert same_bits(read.up, parts["up"])
    assert same_bits(read.down, parts["down"])
    assert (read.mid, read.scale) == (None, 0.5)


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2],
    ids=str,
)
def test_every_dtype_of_files(tmp_path: Path, dtype: torch.dtype, keep: bool) -> None:
    parts = factors((20, 10, 3, 3), 4, seed=1, alpha=3, tucker=True, dtype=dtype)
    file = open_lora(write(tmp_path / "x.safetensors", named("unet.x", parts)), keep=keep)
    read = file.adapter(file.reading.modules[0])
    assert read.mid is not None
    assert same_bits(read.up, parts["up"])
    assert same_bits(read.mid, parts["mid"])
    assert read.scale == 0.75


@pytest.mark.parametrize(
    ("alpha", "scale"),
    [
        (torch.tensor(2.0), 0.5),
        (torch.tensor([2.0]), 0.5),
        (torch.tensor(0.0), 0.0),
        (torch.tensor(-2.0), -0.5),
        (torch.tensor(2, dtype=torch.int64), 0.5),
        (torch.tensor([2], dtype=torch.int8), 0.5),
        (torch.tensor(2, dtype=torch.uint8), 0.5),
        (torch.tensor(2.0, dtype=torch.bfloat16), 0.5),
        (torch.tensor(2.0, dtype=torch.float64), 0.5),
        (torch.tensor(2.0, dtype=torch.float8_e5m2), 0.5),
        (None, 1.0),
    ],
    ids=str,
)
def test_alpha(tmp_path: Path, alpha: Tensor | None, scale: float) -> None:
    parts = factors((20, 10), 4)
    if alpha is not None:
        parts["alpha"] = alpha
    path = write(tmp_path / "x.safetensors", named("unet.x", parts))
    for keep in (True, False):
        file = open_lora(path, keep=keep)
        assert file.adapter(file.reading.modules[0]).scale == scale


def test_the_library_s_own_files_are_read_too(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    parts = factors((20, 10), 4, alpha=1)
    save_file(named("unet.x", parts), tmp_path / "x.safetensors", {"format": "pt"})
    file = open_lora(tmp_path / "x.safetensors")
    assert same_bits(file.adapter(file.reading.modules[0]).up, parts["up"])


@pytest.mark.parametrize("keep", [True, False])
def test_every_algorithm_beside_another_in_one_module(tmp_path: Path, keep: bool) -> None:
    """A LoRA with a bias, a difference beside it and one of its bias: four modules of one name, none for another."""
    parts = factors((20, 10), 4, alpha=2)
    tensors = named("unet.x", parts) | {"unet.x.lora_up.bias": torch.ones(20), "unet.x.diff": torch.ones(20, 10)}
    tensors["unet.x.diff_b"] = torch.full((20,), 2.0)
    file = open_lora(write(tmp_path / "x.safetensors", tensors), keep=keep)
    found = {(module.target, module.algorithm): file.adapter(module) for module in file.reading.modules}
    assert len(found) == 4
    lora, start = found["weight", "LoRA"], torch.zeros(20, 10)
    assert isinstance(lora, LoRA) and lora.scale == 0.5
    assert torch.equal(found["weight", "full difference"].update(start), torch.ones(20, 10))
    assert torch.equal(found["bias", "LoRA bias"].update(torch.zeros(20)), torch.full((20,), 0.5))
    assert torch.equal(found["bias", "bias difference"].update(torch.zeros(20)), torch.full((20,), 2.0))


@pytest.mark.parametrize("kind", [*KINDS])
def test_every_algorithm_from_a_file(tmp_path: Path, kind: str) -> None:
    shape = (16, 12, 3, 3) if kind in CONVOLUTION else (16, 12)
    tensors = made(kind, shape)
    path = write(tmp_path / "x.safetensors", {f"unet.x{end}": tensor for end, tensor in tensors.items()})
    start = weight(shape).double()
    for keep in (True, False):
        file = open_lora(path, keep=keep)
        (module,) = file.reading.modules
        torch.testing.assert_close(file.adapter(module).update(start), KINDS[kind].delta(tensors, start))


def test_an_array_of_yes_or_no_is_no_number(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", {"x.weight": torch.ones(4), "x.on_input": torch.tensor([True, False])})
    with pytest.raises(AdapterError, match=r"on_input has shape \[2\]; expected one number"):
        open_lora(path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32], ids=str)
def test_a_lora_that_makes_the_weight_grow(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = named("unet.x", factors((20, 10), 4)) | {"unet.x.reshape_weight": torch.tensor([20, 10], dtype=dtype)}
    file = open_lora(write(tmp_path / "x.safetensors", tensors))
    adapter = file.adapter(file.reading.modules[0])
    assert isinstance(adapter, LoRA) and adapter.padded == (20, 10)


def test_a_control_lora_s_input_layer_grows_to_its_own_size(tmp_path: Path) -> None:
    """Black Forest Labs' files do not say so; that they replace norms tells what they are."""
    tensors = named("img_in", factors((20, 10), 4), "PEFT") | named("txt_in", factors((20, 10), 4), "PEFT")
    tensors["double_blocks.0.img_attn.norm.query_norm.scale"] = torch.ones(4)
    file = open_lora(write(tmp_path / "x.safetensors", tensors))
    padded = {module.name: getattr(file.adapter(module), "padded", None) for module in file.reading.modules}
    assert padded == {"double_blocks.0.img_attn.norm.query_norm": None, "img_in": (20, 10), "txt_in": None}


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        (torch.tensor([20, 11]), r"it says that the weight becomes \[20, 11\], but its halves are for another shape"),
        (torch.tensor([[20, 10]]), r"the shape that the weight gets has shape \[1, 2\]"),
        (torch.tensor([20.0, float("nan")]), "the shape tensor has NaN"),
    ],
)
def test_a_shape_that_cannot_be_meant(tmp_path: Path, shape: Tensor, reason: str) -> None:
    tensors = named("unet.x", factors((20, 10), 4)) | {"unet.x.reshape_weight": shape}
    path = write(tmp_path / "x.safetensors", tensors)
    with pytest.raises(AdapterError, match=reason):
        open_lora(path).adapter(open_lora(path).reading.modules[0])


def test_scales_from_diffusers_metadata(tmp_path: Path) -> None:
    """They are for modules without an alpha of their own."""
    tensors = named("unet.a", factors((20, 10), 4)) | named("unet.b", factors((20, 10), 4, alpha=1))
    settings = json.dumps({"unet.r": 4, "unet.lora_alpha": 12})
    file = open_lora(write(tmp_path / "x.safetensors", tensors, {"lora_adapter_metadata": settings}))
    assert [getattr(file.adapter(module), "scale", None) for module in file.reading.modules] == [3, 0.25]
    assert not file.warnings
    file = open_lora(write(tmp_path / "y.safetensors", tensors, {"lora_adapter_metadata": "{"}))
    assert [getattr(file.adapter(module), "scale", None) for module in file.reading.modules] == [1, 0.25]
    assert "lora_adapter_metadata" in file.warnings[0]


def test_scales_from_peft_s_settings_beside_the_file(tmp_path: Path) -> None:
    tensors = named("base_model.model.a", factors((20, 10), 4), "PEFT")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"r": 4, "lora_alpha": 12, "use_rslora": True}))
    file = open_lora(write(tmp_path / "adapter_model.safetensors", tensors))
    assert getattr(file.adapter(file.reading.modules[0]), "scale", None) == 6


GOOD = factors((20, 10), 4, alpha=2)


def replaced(slot: str, tensor: Tensor) -> Parts:
    return {**GOOD, slot: tensor}


BAD: dict[str, tuple[Parts, str]] = {
    "up without down": ({"up": GOOD["up"]}, "the up half is there but the down half is missing"),
    "down without up": ({"down": GOOD["down"]}, "the down half is there but the up half is missing"),
    "ranks differ": (replaced("down", torch.zeros(5, 10)), "the up half has rank 4, the down half has rank 5"),
    "rank zero": ({"up": torch.zeros(20, 0), "down": torch.zeros(0, 10)}, "hold nothing"),
    "no dimensions": ({"up": torch.tensor(1.0), "down": torch.tensor(1.0)}, "two dimensions"),
    "int halves": (replaced("up", torch.zeros(20, 4, dtype=torch.int8)), "the up tensor is I8, which a LoRA never has"),
    "bool halves": (replaced("up", torch.zeros(20, 4, dtype=torch.bool)), "the up tensor is BOOL"),
    "complex halves": (replaced("up", torch.zeros(20, 4, dtype=torch.complex64)), "the up tensor is C64"),
    "alpha of two numbers": (replaced("alpha", torch.ones(2)), "alpha has shape [2]; expected one number"),
    "alpha of two dimensions": (replaced("alpha", torch.ones(2, 1)), "alpha has shape [2, 1]"),
    "alpha of nothing": (replaced("alpha", torch.ones(0)), "alpha has shape [0]"),
    "bool alpha": (replaced("alpha", torch.tensor(True)), "the alpha tensor is BOOL"),
    "core of another rank": (replaced("mid", torch.zeros(3, 4, 3, 3)), "the core has shape [3, 4, 3, 3]"),
}


@pytest.mark.parametrize("case", BAD)
def test_contradictions_are_refused_with_file_module_and_reason(tmp_path: Path, case: str) -> None:
    parts, reason = BAD[case]
    good = named("unet.a", GOOD)
    path = write(tmp_path / "x.safetensors", {**good, **named("unet.bad", parts)})
    with pytest.raises(AdapterError) as error:
        open_lora(path)
    assert error.value.file == str(path)
    assert error.value.module == "unet.bad"
    assert reason in error.value.reason
    assert str(error.value).startswith(f"{path}: module unet.bad: ")


@pytest.mark.parametrize("slot", ["up", "down", "alpha", "mid"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2], ids=str)
def test_values_that_are_not_finite(tmp_path: Path, slot: str, value: float, dtype: torch.dtype) -> None:
    """Found when the tensor is read, and each time anew: a bad module is never kept."""
    parts = factors((20, 10, 3, 3), 4, alpha=2, tucker=True, dtype=dtype)
    bad = parts[slot].float().flatten()
    bad[-1] = value
    parts[slot] = bad.reshape(parts[slot].shape).to(dtype)
    file = open_lora(write(tmp_path / "x.safetensors", named("unet.bad", parts)))
    for _ in range(2):
        with pytest.raises(AdapterError, match=rf"x.safetensors: module unet.bad: the {slot} tensor has NaN or inf"):
            file.adapter(file.reading.modules[0])


@pytest.mark.parametrize("value", [float("nan"), 448.0])
def test_e4m3_has_nan_but_no_infinity(tmp_path: Path, value: float) -> None:
    parts = factors((20, 10), 4, dtype=torch.float8_e4m3fn)
    parts["up"] = torch.full((20, 4), value).to(torch.float8_e4m3fn)
    file = open_lora(write(tmp_path / "x.safetensors", named("unet.x", parts)))
    if value == 448:
        assert file.adapter(file.reading.modules[0]).up.float().max() == 448
    else:
        with pytest.raises(AdapterError, match="NaN"):
            file.adapter(file.reading.modules[0])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["x.vera_lambda_b", "x.vera_lambda_d"], "VeRA cannot be applied: its random matrices are not in the file"),
        (["x.vera_lambda_b", "x.vera_lambda_d", "base_model.vera_A"], "this version does not apply VeRA"),
        (["x.randlora_lambda", "x.randlora_gamma"], "RandLoRA cannot be applied: its random matrices"),
        (["x.lora_A", "x.lora_B", "x.lora_E", "x.ranknum"], "this version does not apply AdaLoRA"),
        (["x.fourierft_spectrum"], "this version does not apply FourierFT"),
        (["x.lora_A.weight", "x.lora_B.weight", "x.lora_down.weight"], "a half is there twice: x.lora_A.weight"),
        (["x.lora_A.a.weight", "x.lora_B.a.weight", "x.lora_A.b.weight", "x.lora_B.b.weight"], "a half is there twice"),
    ],
)
def test_what_is_not_applied_is_named(tmp_path: Path, names: list[str], reason: str) -> None:
    path = write(tmp_path / "x.safetensors", {name: torch.ones(4, 4) for name in names})
    with pytest.raises(AdapterError, match=reason) as error:
        open_lora(path)
    assert error.value.module in ("x", "base_model")


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "the file has no tensors"),
        ({"<s1>": torch.ones(768)}, "this is a textual inversion (embedding), not a LoRA. Switch this row off."),
        ({"model.diffusion_model.out.2.weight": torch.ones(4, 4)}, "none of its 1 tensors"),
        ({"nonsense": torch.ones(7, 7)}, "none of its 1 tensors is named like a LoRA's; the first is 'nonsense'"),
        ({"a.alpha": torch.tensor(1.0)}, "none of its 1 tensors"),
        ({"x" * 100_000: torch.ones(1)}, "none of its 1 tensors"),
    ],
)
def test_what_is_no_lora(tmp_path: Path, tensors: Parts, reason: str) -> None:
    with pytest.raises(AdapterError) as error:
        open_lora(write(tmp_path / "x.safetensors", tensors))
    assert reason in error.value.reason
    assert len(str(error.value)) < len(str(tmp_path)) + 300


def test_names_of_a_million_characters_are_quoted_in_short(tmp_path: Path) -> None:
    with pytest.raises(AdapterError) as error:
        open_lora(write(tmp_path / "x.safetensors", {"a" * 1_000_000 + ".lora_A.weight": torch.ones(1, 1)}))
    assert len(error.value.module) == 1_000_000
    assert len(str(error.value)) < len(str(tmp_path)) + 800


def truncated(path: Path) -> None:
    path.write_bytes(lora(path).read_bytes()[:-40])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (truncated, "truncated"),
    "empty": (empty, "empty"),
    "a directory": (Path.mkdir, "directory"),
    "a symlink loop": (loop, "cannot be read"),
    "missing": (lambda path: None, "there is no such file"),
    "a pipe": (os.mkfifo if hasattr(os, "mkfifo") else lambda path: pytest.skip("no pipes"), "not a regular file"),
}


@pytest.mark.parametrize("case", FILES)
@pytest.mark.parametrize("open_file", [open_lora, lambda path: open_lora(path, keep=False), LoraCache().open])
def test_files_that_cannot_be_read(tmp_path: Path, case: str, open_file: Callable[[Path], OpenLora]) -> None:
    make, reason = FILES[case]
    path = tmp_path / "x.safetensors"
    make(path)
    with pytest.raises(HeaderError, match=reason) as error:
        open_file(path)
    assert error.value.file == str(path)


@pytest.mark.parametrize("open_file", [open_lora, lambda path: open_lora(path, keep=False), LoraCache().open])
def test_a_file_that_may_not_be_read(open_file: Callable[[Path], OpenLora]) -> None:
    with public_folder() as folder:
        path = lora(folder / "x.safetensors")
        with locked(path, 0), pytest.raises(HeaderError, match=r"x.safetensors: .*permission denied"):
            open_file(path)
        assert open_file(path).reading.modules


def test_a_name_that_cannot_be_one(tmp_path: Path) -> None:
    assert find_key("a\0b") is None
    with pytest.raises(HeaderError):
        LoraCache().open("a\0b")


def test_a_file_that_changes_between_header_and_tensors(tmp_path: Path) -> None:
    """Never half of one file and half of another, and never a tensor of another shape than was checked."""
    path = lora(tmp_path / "x.safetensors")
    used, kept, streamed = open_lora(path), open_lora(path), open_lora(path, keep=False)
    before = used.adapter(used.reading.modules[0]).down.clone()
    other = lora(tmp_path / "y.safetensors", seed=9, rank=5)
    reader = open_lora(other)
    with pytest.raises(AdapterError, match=r"module unet.x: the up tensor is another than before; the file changed"):
        OpenLora(kept, reader._tensors, keep=True).adapter(kept.reading.modules[0])
    other.replace(path)
    for file in (kept, streamed):
        with pytest.raises(AdapterError, match="the file changed after it was opened"):
            file.adapter(file.reading.modules[0])
    # what was read before stays as it was
    assert same_bits(used.adapter(used.reading.modules[0]).down, before)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process is not killed")
def test_a_file_that_is_cut_short_after_its_tensors_were_read(tmp_path: Path) -> None:
    """Who touches a mapped file there is killed by the system: in a process of its own, to say so."""
    path = lora(tmp_path / "x.safetensors", rank=600)
    code = f"""
import os
from lorchestra.lora.cache import open_lora
file = open_lora({str(path)!r})
(module,) = file.reading.modules
adapter = file.adapter(module)
before = adapter.up.clone()
os.truncate({str(path)!r}, 4096)
assert adapter.up.equal(before) and file.adapter(module).down.isfinite().all()
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with pytest.raises(HeaderError, match="truncated"):
        open_lora(path)


@pytest.mark.parametrize("keep", [True, False])
def test_a_file_that_is_cut_short_before_its_tensors_are_read(tmp_path: Path, keep: bool) -> None:
    path = lora(tmp_path / "x.safetensors", rank=600)
    file = open_lora(path, keep=keep)
    state = path.stat()
    os.truncate(path, 4096)
    with pytest.raises(AdapterError, match=r"cannot be read .the file changed after it was opened"):
        file.adapter(file.reading.modules[0])
    with pytest.raises(AdapterError, match=r"cannot be read .the file changed after it was opened"):
        file.tensors(file.reading.modules[0])
    os.truncate(path, state.st_size)  # as long as before, at the same time: zeros, but never another shape
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert file.adapter(file.reading.modules[0]).up.shape == (20, 600)


def test_tensors_larger_than_the_machine_s_memory(tmp_path: Path) -> None:
    """A sparse file takes no room on the disk; the system would kill the process that reads it."""
    path = tmp_path / "x.safetensors"
    write_sparse(path, {"unet.x.lora_up.weight": (20, 2**36), "unet.x.lora_down.weight": (2**36, 10)})
    file = open_lora(path)
    with pytest.raises(AdapterError, match="larger than this machine's memory"):
        file.adapter(file.reading.modules[0])


def test_a_file_that_is_gone_when_its_tensors_are_read(tmp_path: Path) -> None:
    path = lora(tmp_path / "x.safetensors")
    file = open_lora(path, keep=False)
    path.unlink()
    with pytest.raises(AdapterError, match=r"module unet.x: its tensors cannot be read .there is no such file"):
        file.adapter(file.reading.modules[0])


class Counting:
    """Counts what is read through it."""

    def __init__(self, file: OpenLora) -> None:
        self.reads: list[str] = []
        self._reader = file._tensors

    @contextmanager
    def opened(self) -> Iterator[Callable[[str], Tensor]]:
        with self._reader.opened() as read:

            def counted(name: str) -> Tensor:
                self.reads.append(name)
                return read(name)

            yield counted


@pytest.mark.parametrize(("keep", "reads"), [(True, 3), (False, 9)])
def test_tensors_are_read_once_where_they_are_kept(tmp_path: Path, keep: bool, reads: int) -> None:
    opened = open_lora(lora(tmp_path / "x.safetensors"))
    counting = Counting(opened)
    file = OpenLora(opened, counting, keep=keep)
    for _ in range(3):
        file.adapter(file.reading.modules[0])
    assert len(counting.reads) == reads


def test_threads_share_one_reading(tmp_path: Path) -> None:
    opened = open_lora(lora(tmp_path / "x.safetensors"))
    counting = Counting(opened)
    file = OpenLora(opened, counting, keep=True)
    with ThreadPoolExecutor(8) as pool:
        loras = list(pool.map(lambda _: file.adapter(file.reading.modules[0]), range(32)))
    assert len(counting.reads) == 3
    assert all(item is loras[0] for item in loras)


def test_the_cache_gives_the_same_object_for_the_same_state_of_a_file(tmp_path: Path) -> None:
    cache = LoraCache()
    path = lora(tmp_path / "x.safetensors")
    first = cache.open(path)
    assert cache.open(path) is first
    assert cache.open(str(path)) is first
    assert cache.open(tmp_path / "." / "x.safetensors") is first
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    assert cache.open(link) is first
    assert len(cache) == 1
    assert LoraCache().open(path) is not first


@pytest.mark.parametrize("change", ["mtime", "size", "replaced"])
def test_a_changed_file_is_opened_anew_and_the_old_one_let_go(tmp_path: Path, change: str) -> None:
    cache = LoraCache()
    path = lora(tmp_path / "x.safetensors", seed=1)
    first = cache.open(path)
    old = first.adapter(first.reading.modules[0]).up.clone()
    state = path.stat()
    if change == "mtime":
        lora(tmp_path / "y.safetensors", seed=2).replace(path)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    elif change == "size":
        lora(tmp_path / "y.safetensors", seed=2, rank=5).replace(path)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    else:
        lora(tmp_path / "y.safetensors", seed=2).replace(path)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - 10**9))
    second = cache.open(path)
    assert second is not first
    assert not same_bits(second.adapter(second.reading.modules[0]).up, old)
    assert len(cache) == 1  # nobody asks for the old one any more


def test_a_file_that_is_replaced_while_it_is_opened_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, path, real = LoraCache(), lora(tmp_path / "x.safetensors"), open_lora

    def slow(file: Path) -> OpenLora:
        lora(tmp_path / "y.safetensors", seed=5, rank=7).replace(path)
        return real(file)

    monkeypatch.setattr("lorchestra.lora.cache.open_lora", slow)
    cache.open(path)
    assert len(cache) == 0


def test_of_files_that_nothing_uses_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = LoraCache(max_bytes=1000)  # the tensors of one take 484

    def use(name: str) -> ref[OpenLora]:
        file = cache.open(
            lora(tmp_path / f"{name}.safetensors") if name not in used else tmp_path / f"{name}.safetensors"
        )
        file.adapter(file.reading.modules[0])
        assert file.kept_bytes == 484
        return ref(file)

    used: dict[str, ref[OpenLora]] = {}
    for name in "abac":
        used[name] = use(name)
    assert len(cache) == 3  # what the last one takes was not known when it was opened
    cache.open(tmp_path / "a.safetensors")
    gc.collect()
    assert {name: file() is not None for name, file in used.items()} == {"a": True, "b": False, "c": True}
    assert len(cache) == 2


def test_a_file_that_is_used_is_found_whatever_it_takes(tmp_path: Path) -> None:
    """The patches of a stack larger than the cache hold their files, so that another weight reads nothing."""
    cache = LoraCache(max_bytes=1)
    paths = [lora(tmp_path / f"{name}.safetensors", seed=n) for n, name in enumerate("abc")]
    used = [cache.open(path) for path in paths]
    for file in used:
        file.adapter(file.reading.modules[0])
    assert [cache.open(path) for path in paths] == used
    assert len(cache) == 1
    del used, file
    gc.collect()
    assert len(cache._in_use) == 1


def test_a_broken_file_leaves_no_trace_in_the_cache(tmp_path: Path) -> None:
    cache, path = LoraCache(), tmp_path / "x.safetensors"
    truncated(path)
    with pytest.raises(LorchestraError):
        cache.open(path)
    assert len(cache) == 0
    lora(path)
    assert cache.open(path).reading.modules


def test_threads_that_open_one_file_at_once_get_one_object(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = lora(tmp_path / "x.safetensors"), open_lora
    gate = threading.Barrier(6)

    def together(file: Path) -> OpenLora:
        gate.wait(10)
        return real(file)

    monkeypatch.setattr("lorchestra.lora.cache.open_lora", together)
    cache = LoraCache()
    with ThreadPoolExecutor(6) as pool:
        files = list(pool.map(lambda _: cache.open(path), range(6)))
    assert len({id(file) for file in files}) == 1


def test_sha256(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    assert read_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(HeaderError, match="this is a directory"):
        read_sha256(tmp_path)


def test_content_ids_are_equal_exactly_where_contents_are(tmp_path: Path) -> None:
    a = lora(tmp_path / "a.safetensors", seed=1)
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(a.read_bytes())
    link = tmp_path / "link.safetensors"
    link.symlink_to(a)
    hard = tmp_path / "hard.safetensors"
    os.link(a, hard)
    same_header = lora(tmp_path / "b.safetensors", seed=2)
    assert read_header(a).digest == read_header(same_header).digest
    other_header = lora(tmp_path / "c.safetensors", rank=8)
    files = [open_lora(path) for path in (a, copy, link, hard, same_header, other_header)]
    ids = content_ids(files)
    assert len({*ids[:4]}) == 1
    assert len({*ids}) == 3
    assert content_ids(files[::-1]) == ids[::-1]


def test_a_file_alone_is_not_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [lora(tmp_path / f"{rank}.safetensors", rank=rank) for rank in (2, 3)]
    link = tmp_path / "link.safetensors"
    link.symlink_to(paths[0])
    files = [open_lora(path) for path in (*paths, link)]
    monkeypatch.setattr("lorchestra.lora.cache.read_sha256", lambda path: pytest.fail("hashed"))
    assert len(set(content_ids(files))) == 2


def test_threads_that_push_each_other_s_files_out(tmp_path: Path) -> None:
    paths = [lora(tmp_path / f"{seed}.safetensors", seed=seed) for seed in range(4)]
    expected = [factors((20, 10), 4, seed=seed, alpha=2.0)["up"] for seed in range(4)]
    cache = LoraCache(max_bytes=1)

    def use(number: int) -> bool:
        file = cache.open(paths[number % 4])
        return same_bits(file.adapter(file.reading.modules[0]).up, expected[number % 4])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(200)))
    cache.open(paths[0])  # what was read after the last opening is counted at the next one
    assert len(cache) == 1


def test_the_order_of_contents_does_not_depend_on_names(tmp_path: Path) -> None:
    """Two files with the same header change names; each keeps its identity."""
    a, b = (lora(tmp_path / f"{name}.safetensors", seed=seed) for name, seed in (("a", 1), ("b", 2)))
    before = content_ids([open_lora(a), open_lora(b)])
    spare = tmp_path / "spare"
    a.rename(spare), b.rename(a), spare.rename(b)
    assert content_ids([open_lora(a), open_lora(b)]) == before[::-1]


def test_a_module_of_another_reading_of_the_same_file(tmp_path: Path) -> None:
    """Modules are values: those of a second reading of the header mean the same tensors."""
    path = lora(tmp_path / "x.safetensors")
    file = open_lora(path)
    (module,) = read_modules(read_header(path)).modules
    assert file.adapter(module) is file.adapter(file.reading.modules[0])
