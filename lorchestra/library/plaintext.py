"""HTML as plain text: what model sites write into descriptions, for people to read and for no browser to run."""

from __future__ import annotations

import re
from html.parser import HTMLParser

MAX_HTML = 200_000
"""Characters that are read; the rest is left out."""
MAX_PLAIN = 8000
"""Characters that are given back."""

_BLOCKS = frozenset(
    {
        "p", "div", "br", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "table", "hr", "blockquote",
        "pre", "section", "article", "header", "footer", "dt", "dd",
    }
)  # fmt: skip
_SILENT = frozenset(
    {"script", "style", "head", "title", "template", "noscript", "iframe", "object", "svg", "math", "textarea"}
)
"""Elements whose contents are not read."""
_HTML = re.compile(r"</?[A-Za-z][^<>]{0,2000}>|&(?:#\d+|#x[0-9a-fA-F]+|[A-Za-z]+);")
"""Example: `<p>`, `&amp;`; `<lora:a:1>` and `a < b` are text."""
_NOT_HTML = re.compile(r"<(?=(?:lora|lyco|hypernet):)", re.IGNORECASE)


class _Reader(HTMLParser):
    """Collects text, with line breaks where blocks begin and end."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag in _BLOCKS and not self._silent:
            self.parts.append("\n• " if tag == "li" else "\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS and not self._silent:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            while self._silent and self._silent.pop() != tag:
                pass
        elif tag in _BLOCKS and not self._silent:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(data)


def plain(text: str, limit: int = MAX_PLAIN) -> str:
    """The text without its HTML, at most `limit` characters; text that has none stays as it is. Pure and total.

    Example: `<p>Use <b>pixel</b> &amp; grid</p><script>x()</script>` → `Use pixel & grid`.
    """
    text = text[:MAX_HTML]
    if _HTML.search(text):
        reader = _Reader()
        reader.feed(_NOT_HTML.sub("&lt;", text))
        reader.close()
        text = "".join(reader.parts)
    return tidy(text, limit)


def tidy(text: str, limit: int = MAX_PLAIN) -> str:
    """The text without control characters and needless space, at most `limit` characters, empty lines one by one."""
    lines = (" ".join(line.split()) for line in text[: 4 * limit].splitlines())
    lines = ("".join(c for c in line if c >= " " and not "\ud800" <= c <= "\udfff") for line in lines)
    result = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return result if len(result) <= limit else result[: limit - 1].rstrip() + "…"
