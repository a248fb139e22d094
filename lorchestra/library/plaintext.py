"""HTML as plain text: what model sites write into descriptions, for people to read and for no browser to run."""

from __future__ import annotations

import re
from collections import Counter
from html import unescape

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
_RAW = frozenset({"script", "style"})
"""Of these, those that hold no other elements: they end where their own closing tag begins."""
_HTML = re.compile(r"</?[A-Za-z][^<>]{0,2000}>|&(?:#\d+|#x[0-9a-fA-F]+|[A-Za-z]+);")
"""Example: `<p>`, `&amp;`; `<lora:a:1>` and `a < b` are text."""
_BEGIN = re.compile(r"<(?!(?:lora|lyco|hypernet):)(?:(/?)([A-Za-z][^\s/<>]*)|(!--)|[!?])", re.IGNORECASE)
"""Where a tag, a comment or a declaration begins."""
_NEXT = re.compile(r"""[<>]|=\s*(["'])""")
"""What a tag ends at, or a quoted value begins with."""
_UNSHOWN = re.compile("[\x00-\x1f\ud800-\udfff]")
"""Control characters, and halves of characters."""
_HUGE = re.compile(r"&#(?:[0-9]{8,}|[xX][0-9a-fA-F]{8,});?")
"""A character that there is not; Python refuses to read numbers of thousands of digits."""


class _Reader:
    """Collects text, with line breaks where blocks begin and end. Goes over each character once, tags or not."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._parts: list[str] = []
        self._silent: list[str] = []
        self._open: Counter[str] = Counter()
        """How often each element is in `_silent`."""
        self._gone: set[str] = set()
        """Quotes that do not occur any more."""

    def read(self) -> str:
        """All text outside the tags."""
        at = 0
        while found := _BEGIN.search(self._text, at):
            self._say(self._text[at : found.start()])
            if found[2]:
                at = self._tag(found)
            elif found[3]:
                at = self._after("-->", found.end())
            else:
                at = self._after(">", found.end())
        self._say(self._text[at:])
        return "".join(self._parts)

    def _after(self, end: str, at: int) -> int:
        found = self._text.find(end, at)
        return len(self._text) if found < 0 else found + len(end)

    def _say(self, text: str) -> None:
        if text and not self._silent:
            self._parts.append(unescape(_HUGE.sub("\ufffd", text)) if "&" in text else text)

    def _tag(self, begin: re.Match[str]) -> int:
        """Goes past one tag, and past what it says not to read. One that is never closed is text."""
        at = begin.end()
        while True:
            found = _NEXT.search(self._text, at)
            if not found or found[0] == "<":
                stop = found.start() if found else len(self._text)
                self._say(self._text[begin.start() : stop])
                return stop
            if found[0] == ">":
                return self._element(begin[2].lower(), is_end=bool(begin[1]), at=found.end())
            at = self._behind(found[1], found.end())

    def _behind(self, quote: str, at: int) -> int:
        """Behind the value in these quotes; where they are never closed they are no quotes."""
        end = -1 if quote in self._gone else self._text.find(quote, at)
        if end < 0:
            self._gone.add(quote)
            return at
        return end + 1

    def _element(self, name: str, *, is_end: bool, at: int) -> int:
        if name in _RAW and not is_end:
            closing = re.compile(rf"</{name}", re.IGNORECASE).search(self._text, at)
            return closing.start() if closing else len(self._text)
        if name in _SILENT and is_end:
            if self._open[name]:
                while (closed := self._silent.pop()) != name:
                    self._open[closed] -= 1
                self._open[name] -= 1
        elif name in _SILENT:
            self._silent.append(name)
            self._open[name] += 1
        elif name in _BLOCKS and not self._silent:
            self._parts.append("\n• " if name == "li" and not is_end else "\n")
        return at


def plain(text: str, limit: int = MAX_PLAIN) -> str:
    """The text without its HTML, at most `limit` characters; text that has none stays as it is. Pure and total.

    Takes time in proportion to the text, whatever it is. Example:
    `<p>Use <b>pixel</b> &amp; grid</p><script>x()</script>` → `Use pixel & grid`.
    """
    text = text[:MAX_HTML]
    if _HTML.search(text):
        text = _Reader(text).read()
    return tidy(text, limit)


def tidy(text: str, limit: int = MAX_PLAIN) -> str:
    """The text without control characters and needless space, at most `limit` characters, empty lines one by one."""
    lines = (" ".join(line.split()) for line in text[: 4 * limit].splitlines())
    lines = (_UNSHOWN.sub("", line) for line in lines)
    result = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return result if len(result) <= limit else result[: limit - 1].rstrip() + "…"
