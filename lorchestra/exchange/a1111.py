"""The `<lora:name:0.7>` tags of Stable Diffusion WebUI (AUTOMATIC1111), Forge and their relatives, both ways.

Sources: AUTOMATIC1111/stable-diffusion-webui `modules/extra_networks.py` (how a tag is split) and
`extensions-builtin/Lora/extra_networks_lora.py` (what its parts mean): `<lora:name[:te[:unet[:dyn]]]>`, or named
`te=`, `unet=`, `dyn=`; `te` is 1 by default and `unet` equals `te`. SwarmUI and LoRA-Manager write the same form with
the model's weight first; a text with two numbers does not say which of the two it is, so `order` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import DialectError, StackError, quoted
from ..limits import MAX_NAME, MAX_ROWS, MAX_TEXT, WEIGHT_LIMIT, Json
from ..stack import Entry, Stack
from ..stack.air import find_air
from .dialect import Dialect, Loss, Reading, Writing, find_inactive, unsaid, unsaid_of_stack

ORDERS = ("te-first", "model-first")
"""What the first of two numbers is: the text encoder's weight (AUTOMATIC1111, Forge), or the model's (SwarmUI)."""
DEFAULT_WEIGHT = 1.0
"""Weight of a tag that names none."""

_TAG = re.compile(r"<(?:lora|lyco):([^<>]*)(>?)")
"""Example: `<lora:pixel:0.7>`; without the `>` it was never closed. `lyco` is AUTOMATIC1111's other word for it."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
"""Example: `-0.75`, `.5`, `1e-3`; not `nan`, `inf` or `1_000`, which `float` would take."""
_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl")
"""Endings of model files; what stands after another dot belongs to the name, as in `pixel.v1`."""


def read_tags(text: str, *, order: str = "te-first") -> Stack:
    """The stack of a text that is nothing but tags, commas and white space.

    Raises `StackError` for anything else in it, quoted, and for malformed tags with the row's number.
    """
    stack, losses, rest = _parse(text, order)
    if rest:
        raise StackError(
            f"there is more than <lora:name:weight> tags here: {quoted(rest)}; "
            "take it out, or import the text as a prompt"
        )
    if losses:
        raise StackError(f"the tag's option {quoted(losses[0].field)} is not known; take it out", losses[0].row)
    return stack


def read(text: Json, *, order: str = "te-first") -> Reading:
    """The stack of the tags in any prompt; the rest of the prompt, and unknown options, are losses.

    `order` is one of `ORDERS`. Raises `StackError`, which names the row and quotes the tag, for a malformed tag.
    """
    if not isinstance(text, str):
        raise DialectError(f"a prompt with <lora:name:weight> tags is text, not {quoted(text)}")
    stack, losses, rest = _parse(text, order)
    if rest:
        losses = (*losses, Loss(None, "prompt", f"only the LoRAs are taken; left behind: {quoted(rest, 200)}"))
    return Reading(stack, losses)


def write(stack: Stack) -> Writing:
    """The active rows as tags with a space between, in the order of the rows.

    Every number reads back as it was. Raises `DialectError` with the row's number for names that a tag cannot hold
    and for different files that have the same name in different folders.
    """
    losses: list[Loss] = []
    tags: list[str] = []
    seen: dict[str, tuple[int, Entry]] = {}
    for row, entry in enumerate(stack.checked().entries, 1):
        inactive = find_inactive(entry, row)
        if inactive is not None:
            losses.append(inactive)
            continue
        stem = _stem(entry, row)
        if stem in seen:
            losses += _repeated(stem, seen[stem], (row, entry))
        seen.setdefault(stem, (row, entry))
        tags.append(_tag(entry, stem))
        losses += _row_losses(entry, row)
    losses += unsaid_of_stack(stack, DIALECT.title)
    text = " ".join(tags)
    return Writing(text, text, tuple(losses))


def _parse(text: str, order: str) -> tuple[Stack, tuple[Loss, ...], str]:
    """Stack, unknown options, and the text outside the tags (empty when that is only commas and white space)."""
    if order not in ORDERS:
        raise DialectError(f"there is no order {quoted(order)} of weights; choose one of {', '.join(ORDERS)}")
    if len(text) > MAX_TEXT:
        raise StackError(f"the text has {len(text):,} characters; at most {MAX_TEXT:,} are read")
    entries: list[Entry] = []
    losses: list[Loss] = []
    rest: list[str] = []
    position = 0
    for row, match in enumerate(_TAG.finditer(text), 1):
        if row > MAX_ROWS:
            raise StackError(f"a stack has at most {MAX_ROWS} rows, this text has more tags", row)
        if not match[2]:
            raise StackError(f"the tag {quoted(match[0])} is not closed; put a > where it ends", row)
        entry, unknown = _entry(match[0], match[1], order, row)
        entries.append(entry)
        losses += (Loss(row, key, f"the tag {quoted(match[0])} has an option that is not known") for key in unknown)
        rest.append(text[position : match.start()])
        position = match.end()
    rest.append(text[position:])
    between = " ".join(stripped for part in rest if (stripped := part.strip(", \t\r\n\f\v")))
    return Stack(tuple(entries)).checked(), tuple(losses), between


def _entry(tag: str, inside: str, order: str, row: int) -> tuple[Entry, list[str]]:
    name, *items = inside.split(":")
    if not name.strip():
        raise StackError(f"the tag {quoted(tag)} names no LoRA", row)
    if len(name) > MAX_NAME:
        raise StackError(f"the tag {quoted(tag)} has a name of more than {MAX_NAME:,} characters", row)
    positional = [item for item in items if "=" not in item]
    named = {key.strip(): value for key, _, value in (item.partition("=") for item in items if "=" in item)}
    if len(positional) > 3:
        raise StackError(f"the tag {quoted(tag)} has {len(positional)} numbers; at most te:unet:dyn are known", row)
    keys = ("te", "unet", "dyn") if order == "te-first" else ("unet", "te", "dyn")
    parts = {**dict(zip(keys, positional, strict=False)), **named}
    first, second = keys[0], keys[1]
    weights = {first: _weight(tag, parts.pop(first), row) if first in parts else DEFAULT_WEIGHT}
    weights[second] = _weight(tag, parts.pop(second), row) if second in parts else weights[first]
    dyn = parts.pop("dyn", None)
    if dyn is not None and not re.fullmatch(r"[1-9][0-9]{0,8}", dyn.strip()):
        raise StackError(f"the tag {quoted(tag)} has the dyn {quoted(dyn)}; expected a whole number of ranks", row)
    te, unet = weights["te"], weights["unet"]
    extra = {} if dyn is None else {"dyn": int(dyn)}
    return Entry(name, model=unet, clip=None if te == unet else te, extra=extra), list(parts)


def _weight(tag: str, text: str, row: int) -> float:
    if not _NUMBER.fullmatch(text.strip()):
        raise StackError(f"the tag {quoted(tag)} has the weight {quoted(text)}; expected a number", row)
    value = float(text)
    if not -WEIGHT_LIMIT <= value <= WEIGHT_LIMIT:
        raise StackError(
            f"the tag {quoted(tag)} has the weight {quoted(text)}; it must lie in -{WEIGHT_LIMIT:g} … {WEIGHT_LIMIT:g}",
            row,
        )
    return value


def _tag(entry: Entry, stem: str) -> str:
    if entry.clip_weight == entry.model:
        weights = _number(entry.model)
    else:
        weights = f"te={_number(entry.clip_weight)}:unet={_number(entry.model)}"
    dyn = _dyn(entry)
    return f"<lora:{stem}:{weights}>" if dyn is None else f"<lora:{stem}:{weights}:dyn={dyn}>"


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _dyn(entry: Entry) -> int | None:
    """The rank that a tag cut the LoRA down to, as `read` kept it."""
    dyn = entry.extra.get("dyn")
    return dyn if type(dyn) is int and 0 < dyn < 10**9 else None


def _stem(entry: Entry, row: int) -> str:
    """The file's name without folder and ending, when a tag can hold it."""
    folder = _folder(entry)
    name = entry.lora[len(folder) :]
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    stem = name[: len(name) - len(suffix)]
    if find_air(entry.lora) is not None:
        raise DialectError(
            f"{quoted(entry.lora)} is an AIR, and <lora:…> tags take the name of a file; "
            "choose the file in this row, or switch the row off",
            row,
        )
    if not stem.strip():
        raise DialectError(f"{quoted(entry.lora)} leaves no name for a <lora:…> tag; rename the file", row)
    # AUTOMATIC1111 takes a part with exactly one = for an option.
    bad = sorted({c for c in stem if c in ":<>\r\n"} | ({"="} if stem.count("=") == 1 else set()))
    if bad:
        signs = " and ".join(map(repr, bad))
        raise DialectError(f"{quoted(entry.lora)} has {signs} in its name, which no tag can hold; rename the file", row)
    return stem


def _folder(entry: Entry) -> str:
    """The folder with its last separator; both `/` and Windows' `\\` separate."""
    return entry.lora[: 1 + max(entry.lora.rfind("/"), entry.lora.rfind("\\"))]


def _repeated(stem: str, before: tuple[int, Entry], now: tuple[int, Entry]) -> Sequence[Loss]:
    first, row = before[0], now[0]
    a, b = before[1], now[1]
    if not _same_file(a, b):
        raise DialectError(
            f"{quoted(b.lora)} and {quoted(a.lora)} of row {first} are different files that are both called "
            f"{quoted(stem)} in a tag; rename one of them, or switch one of the two rows off",
            row,
        )
    if (a.model, a.clip_weight) == (b.model, b.clip_weight):
        return ()
    reason = (
        f"the same file as in row {first} with another weight: AUTOMATIC1111 gives both tags the last weight "
        "where Lorchestra adds them up; put the sum into one row"
    )
    return (Loss(row, "model", reason),)


def _same_file(a: Entry, b: Entry) -> bool:
    if a.sha256 is not None and b.sha256 is not None:
        return a.sha256.lower() == b.sha256.lower()
    return a.lora.replace("\\", "/") == b.lora.replace("\\", "/")


def _row_losses(entry: Entry, row: int) -> list[Loss]:
    losses: list[Loss] = []
    folder = _folder(entry)
    if folder:
        losses.append(Loss(row, "lora", f"a tag names no folder; {quoted(folder)} is left out"))
    if entry.air is not None:
        losses.append(Loss(row, "air", f"a tag has no place for the AIR {quoted(entry.air)}"))
    if entry.sha256 is not None:
        losses.append(Loss(row, "sha256", "a tag has no place for the file's hash, so a file is found by name alone"))
    losses += unsaid(entry, row, "a <lora:…> tag", () if _dyn(entry) is None else ("dyn",))
    return losses


DIALECT = Dialect("a1111", "AUTOMATIC1111 and Forge prompt tags", ".txt", read, write, read_options=("order",))
