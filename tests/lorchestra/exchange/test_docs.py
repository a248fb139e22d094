"""What the documentation says of the dialects is what the code says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorchestra.exchange import DIALECTS, FORMS, Dialect
from lorchestra.exchange.parse import RECOGNISED
from lorchestra.limits import MAX_ROWS

ROOT = Path(__file__).parents[3]
WORDS = {"off": "rows that are off", "clip": "clip weight", "folder": "folder", "sha256": "SHA-256", "air": "AIR"}
TEXTS = ("a1111", "infotext", "diffusers", "lora-manager-recipe")
"""Told by their text, not by fields of JSON alone."""
HELP = ("LorchestraApiExport.md", "LorchestraApiExport/zh.md", "LorchestraApiExport/ja.md")


def line(dialect: Dialect) -> str:
    """The row of the table."""
    limits = dialect.limits
    kept = ", ".join(WORDS.get(word, "high or low noise") for word in dialect.keeps)
    default = "must be given" if limits.default is None else f"{limits.default:g}"
    most = "" if limits.most == MAX_ROWS else f"{limits.most}"
    told = "yes" if dialect in RECOGNISED or dialect.id in TEXTS else ""
    cells = (f"`{dialect.id}`", dialect.title, f"{limits.min:g} … {limits.max:g}", default, most, kept, told)
    return "| " + " | ".join(cells).replace("|  |", "| |").replace("|  |", "| |").strip() + " |"


def test_the_table_is_made_from_the_data() -> None:
    text = (ROOT / "docs" / "exchange.md").read_text(encoding="utf-8")
    begin = text.index("| word |")
    table = text[begin : text.index("\n\n", begin)].splitlines()[2:]
    expected = [line(dialect).replace("|  |", "| |") for dialect in DIALECTS]
    assert table == expected, "docs/exchange.md: the table should be\n" + "\n".join(expected)


@pytest.mark.parametrize("page", HELP)
def test_the_help_of_the_node_names_every_form(page: str) -> None:
    text = (ROOT / "js" / "docs" / page).read_text(encoding="utf-8")
    assert [form for form in FORMS if f"| {form} |" not in text] == []
