"""What is remembered of a structure is what the long way finds, for all synthetic and broken files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from support import synthetic
from support.broken_files import SMALL, Broken
from support.sparse_files import lora_shapes, write_sparse
from support.synthetic import SELECTIONS, THREE_BLOCKS

from lorchestra.architectures.names import are_interchangeable
from lorchestra.architectures.patterns import Shape
from lorchestra.errors import LorchestraError
from lorchestra.files.header import read_header_text
from lorchestra.library.facts import File, read_facts
from lorchestra.library.natures import BROKEN, Nature, Natures
from lorchestra.lora.examined import examine, read_examined
from lorchestra.lora.metadata import claims
from lorchestra.spelling import kinds

SAID: tuple[Mapping[str, str], ...] = (
    {"format": "pt"},
    {"ss_base_model_version": "sdxl_base_v1-0", "ss_tag_frequency": '{"a": {"b": 1}}'},
    {"ss_v2": "True", "modelspec.title": "A thing"},
)


def files(selection: str) -> Iterator[Mapping[str, Shape]]:
    for architecture in synthetic.ALL:
        for spelling in synthetic.spellings(architecture):
            yield synthetic.lora(architecture, spelling, selection)


def found_plainly(path: Path) -> tuple[str, tuple[str, ...], set[str], str | None, int | None]:
    """Kind, architectures that the tensors tell, all that it is meant for, algorithm and rank, module by module."""
    examined = read_examined(path)
    made_for = examined.identity.made_for
    meant = {one for one in synthetic.ALL if any(are_interchangeable(one, other) for other in made_for)}
    modules = examined.reading.modules
    algorithms = Counter(module.kind for module in modules).most_common(1)
    ranks = [module.rank for module in modules if module.rank]
    kind = BROKEN if examined.kind == kinds.LORA and examined.problem else examined.kind
    rank = int(median(ranks)) if ranks else None
    return kind, made_for, meant | set(made_for), algorithms[0][0] if algorithms else None, rank


def same(nature: Nature, path: Path) -> None:
    kind, made_for, meant, algorithm, rank = found_plainly(path)
    assert (nature.kind, nature.algorithm, nature.rank) == (kind, algorithm, rank), path
    assert nature.architectures[: len(made_for)] == made_for, path
    assert set(nature.architectures) == meant, path


@pytest.mark.parametrize(
    "selection",
    [THREE_BLOCKS, *(pytest.param(one, marks=pytest.mark.slow) for one in SELECTIONS if one != THREE_BLOCKS)],
)
def test_what_is_remembered_is_what_the_long_way_finds(selection: str, tmp_path: Path) -> None:
    """Three files of each structure, of which the metadata say different things."""
    natures = Natures(100_000)
    count = 0
    for number, shapes in enumerate(files(selection)):
        if selection == THREE_BLOCKS and number % 16:
            continue
        for said in (*SAID, SAID[0]):
            path = write_sparse(tmp_path / "lora.safetensors", shapes, said)
            nature = natures.read(read_header_text(path), claims(said))
            same(nature, path)
        count += 1
    assert count > 20
    assert len(natures) > count


def test_a_structure_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    natures = Natures()
    shapes = lora_shapes("sdxl", "middle_block.1.*attn?.to_q*")
    first, second = (
        write_sparse(tmp_path / name, shapes, {"modelspec.title": name}) for name in ("a.safetensors", "b.safetensors")
    )
    nature = natures.read(read_header_text(first), ())
    monkeypatch.setattr("lorchestra.library.natures._read", None)
    assert natures.read(read_header_text(second), ()) is nature
    assert read_facts(File("b", str(second), 0, 0), natures).title == "b.safetensors"


def test_a_file_of_another_size_is_looked_at_anew(tmp_path: Path) -> None:
    natures = Natures()
    path = write_sparse(tmp_path / "a.safetensors", lora_shapes("sdxl", "middle_block.1.*attn?.to_q*"))
    assert natures.read(read_header_text(path), ()).kind == "lora"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 2)
    with pytest.raises(LorchestraError):
        natures.read(read_header_text(path), ())


def test_what_depends_on_the_metadata_is_not_remembered(tmp_path: Path) -> None:
    """A tensor that belongs to no module is a bundled embedding if the metadata say so."""
    natures = Natures()
    shapes = {**lora_shapes("sdxl", "middle_block.1.*attn?.to_q*"), "<token>": (768,)}
    path = write_sparse(tmp_path / "a.safetensors", shapes)
    natures.read(read_header_text(path), ())
    assert len(natures) == 0


def test_metadata_among_the_tensors_are_read(tmp_path: Path) -> None:
    """Such a header has no structure of its own."""
    path = write_sparse(tmp_path / "a.safetensors", lora_shapes("sdxl", "middle_block.1.*attn?.to_q*"))
    text = read_header_text(path)
    assert text.structure
    assert replace(text, body=text.body[:-1] + ',"__metadata__":{}}').structure is None
    assert replace(text, file_size=text.file_size + 1).structure != text.structure


@pytest.mark.parametrize("row", SMALL, ids=lambda row: row.name)
def test_broken_files_are_refused_as_ever(row: Broken, tmp_path: Path) -> None:
    """With a cache that has met the same file before."""
    path = tmp_path / "a.safetensors"
    row.write(path)
    natures = Natures()
    found = [read_facts(File("a", str(path), 0, 0), natures) for _ in range(2)]
    assert found[0] == found[1]
    try:
        examined = examine(read_examined(path).header)
    except LorchestraError:
        assert found[0].kind == "unreadable"
    else:
        assert found[0].kind == (BROKEN if examined.kind == kinds.LORA and examined.problem else examined.kind)


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    natures = Natures(3)
    for rank in range(1, 6):
        path = write_sparse(tmp_path / "a.safetensors", lora_shapes("sdxl", "middle_block.1.*attn?.to_q*", rank))
        assert natures.read(read_header_text(path), ()).rank == rank
    assert len(natures) == 3
