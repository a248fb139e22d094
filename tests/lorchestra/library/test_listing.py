"""A row finds its file by the whole name and by nothing less."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorchestra.errors import StackError
from lorchestra.library.listing import Listing

FILES = Listing(
    [
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
)


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
        # nothing is guessed
        ("old", None),
        ("pix", None),
        ("pixel.safe", None),
        ("Pixel", None),
        ("detail", None),
        ("other/pixel", None),
        ("tyles/pixel", None),
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
    assert FILES.find(wanted) == found


def test_several_files_of_that_name_are_an_error_that_names_them_and_the_row() -> None:
    with pytest.raises(StackError, match=r"row 3: ink may be any of people/ink.safetensors, styles/ink.safetensors"):
        FILES.find("ink", 3)


def test_one_path_written_twice_is_an_error() -> None:
    with pytest.raises(StackError, match="may be any of"):
        Listing(["a/x.safetensors", "a\\x.safetensors"]).find("a/x")


@given(
    st.lists(st.text(st.sampled_from("ab./\\"), max_size=8).map(lambda name: name + ".safetensors")),
    st.text(max_size=8),
)
def test_only_listed_names_are_found(names: list[str], wanted: str) -> None:
    listing = Listing(names)
    for text in (wanted, *names):
        try:
            found = listing.find(text)
        except StackError:
            continue
        assert found is None or found in names
    assert all(listing.find(name) == name for name in names)
