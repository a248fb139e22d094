"""A row finds its file by the whole name and by nothing less."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import StackError
from lorchestra.library.index import Hit
from lorchestra.library.listing import Listing
from lorchestra.library.resolve import resolve
from lorchestra.stack.air import Air
from lorchestra.stack.wanted import Wanted

FILES = [
    "pixel.safetensors",
    "styles/pixel.safetensors",
    "styles/ink.safetensors",
    "people/ink.safetensors",
    "styles\\windows.safetensors",
    "v1.5/detail.v2.safetensors",
    "UPPER.SAFETENSORS",
    "old.ckpt",
    "ink drawing.safetensors",
]


class OnlyNames:
    """Files of which nothing is known but their names."""

    def names_by_hash(self, digits: str, listing: Listing) -> Sequence[tuple[str, Hit]]:
        return ()

    def names_by_air(self, air: Air, listing: Listing) -> Sequence[str]:
        return ()

    def names_by_version(self, version: str, listing: Listing) -> Sequence[str]:
        return ()

    def sha256_of(self, name: str) -> str | None:
        return None


def find(names: Sequence[str], wanted: str, row: int | None = None) -> str | None:
    found = resolve(Wanted(wanted), OnlyNames(), Listing(names), row)
    return found.name if found else None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("pixel.safetensors", "pixel.safetensors"),
        ("pixel", "pixel.safetensors"),
        ("styles/pixel", "styles/pixel.safetensors"),
        ("styles\\pixel.safetensors", "styles/pixel.safetensors"),
        ("styles/windows.safetensors", "styles\\windows.safetensors"),
        ("windows", "styles\\windows.safetensors"),
        ("detail.v2", "v1.5/detail.v2.safetensors"),
        ("UPPER", "UPPER.SAFETENSORS"),
        ("UPPER.safetensors", "UPPER.SAFETENSORS"),
        ("old.ckpt", "old.ckpt"),
        ("ink drawing", "ink drawing.safetensors"),
        # the only one of its name, in another folder or another case
        ("gone/ink drawing", "ink drawing.safetensors"),
        ("D/windows.safetensors", "styles\\windows.safetensors"),
        ("Old.CKPT", "old.ckpt"),
        # nothing is guessed
        ("old", None),
        ("pix", None),
        ("pixel.safe", None),
        ("detail", None),
        ("tyles/ink drawing2", None),
        ("", None),
        (".safetensors", None),
        ("/pixel.safetensors", None),
        ("./pixel.safetensors", None),
        ("../pixel.safetensors", None),
        ("styles/../pixel", None),
        ("C:\\pixel", None),
        ("C:pixel", None),
        ("\\\\server\\share\\pixel", None),
        ("pixel.safetensors/", None),
        ("pixel\x00", None),
    ],
)
def test_find(wanted: str, found: str | None) -> None:
    assert find(FILES, wanted) == found


def test_several_files_of_that_name_are_an_error_that_names_them_and_the_row() -> None:
    with pytest.raises(StackError, match=r"row 3: 'ink' is in 2 folders. Choose one: people/ink.safetensors, styles"):
        find(FILES, "ink", 3)


def test_one_path_written_twice_is_an_error() -> None:
    with pytest.raises(StackError, match="may be any of"):
        find(["a/x.safetensors", "a\\x.safetensors"], "a/x")


@given(
    st.lists(st.text(st.sampled_from("ab./\\"), max_size=8).map(lambda name: name + ".safetensors")),
    st.text(max_size=8),
)
def test_only_listed_names_are_found(names: list[str], wanted: str) -> None:
    for text in (wanted, *names):
        try:
            found = find(names, text)
        except StackError:
            continue
        assert found is None or found in names
    assert all(find(names, name) == name for name in names)
