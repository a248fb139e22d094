"""The `<lora:name:0.7>` tags of Stable Diffusion WebUI (AUTOMATIC1111), Forge and their relatives, both ways.

Sources: AUTOMATIC1111/stable-diffusion-webui `modules/extra_networks.py` (how a tag is split) and
`extensions-builtin/Lora/extra_networks_lora.py` (what its parts mean): `<lora:name[:te[:unet[:dyn]]]>`, or named
`te=`, `unet=`, `dyn=`; `te` is 1 by default and `unet` equals `te`. SwarmUI and LoRA-Manager write the same form with
the model's weight first; a text with two numbers does not say which of the two it is, so `order` does.

Weights over the steps become schedules: loractl's `<lora:a:1@0,0.5@0.5>`, the block weights' `step=5-15`,
prompt-control's `[<lora:a:0.9>:<lora:a:1>:0.2]`, and SwarmUI's `<fromto[2]:<lora:a>,>`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..errors import DialectError, ScheduleError, StackError, quoted, shortened
from ..limits import MAX_ROWS, MAX_TEXT, WEIGHT_LIMIT, Json
from ..schedule import Curve, Schedule
from ..schedule.curve import By
from ..stack import Entry, Schedules, Stack, check_row
from ..stack.air import find_air
from .block_vectors import split_shared, write_vector
from .dialect import CLIP, Dialect, Loss, Place, Reading, Writing, find_inactive, unsaid, unsaid_of_stack
from .names import folder as name_folder
from .names import stem as name_stem
from .prompt import Found, Group, Prompt, find_tags
from .tag import NO_KINDS, ORDERS, UNKNOWN_OPTION, Tag, acting, read_tag
from .timed import ALWAYS, Times, Timing, curve_of, longest

MOST_LOSSES = 200
"""Losses that are listed one by one."""

_SIGNS = re.compile(r"fromto|SEQ|[\[\]<>:|,.\d\s]+")
"""What is left of brackets whose words are all tags."""


def read_tags(text: str, *, order: str = "te-first") -> Stack:
    """The stack of a text that is nothing but tags, commas and white space, and that a row has a place for all of.

    Raises `StackError` for anything else in it, quoted, and for malformed tags with the row's number.
    """
    read = _Reader(text, order, strict=True).read()
    if read.rest:
        raise StackError(
            f"only <lora:…> tags are allowed here. Remove {quoted(read.rest)}, or import the text as a prompt"
        )
    if read.losses:
        loss = read.losses[0]
        if loss.reason.endswith((UNKNOWN_OPTION, NO_KINDS)):
            raise StackError(f"the tag's option {quoted(loss.field)} is not known; take it out", loss.row)
        raise StackError(loss.reason, loss.row)
    return read.stack


def read_rows(text: str, *, order: str = "te-first") -> Reading:
    """The stack of a text of tags, with brackets around them or not; what cannot be read of them is lost.

    Raises `StackError` for words that stand around the tags.
    """
    read = _Reader(text, order).read()
    if read.rest:
        raise StackError(
            f"only <lora:…> tags are allowed here. Remove {quoted(read.rest)}, or import the text as a prompt"
        )
    return Reading(read.stack, read.losses)


def read(text: Json, *, order: str = "te-first") -> Reading:
    """The stack of the tags in any prompt: every tag that can be read becomes a row.

    What is lost is told with its place: tags that cannot be read, options that a row has no place for, what no
    schedule can say, and the rest of the prompt. `order` is one of `ORDERS`; where brackets of prompt-control or a
    group of SwarmUI's has tags in it, the model's weight comes first, as these programs have it. Raises `StackError`
    only for a text that is no prompt, or one of more than `MAX_ROWS` rows.
    """
    if not isinstance(text, str):
        raise DialectError(f"a prompt with <lora:name:weight> tags is text, not {quoted(text)}")
    read = _Reader(text, order).read()
    losses = read.losses
    if read.rest:
        losses = (*losses, Loss(None, "prompt", f"only the LoRAs are taken; left behind: {quoted(read.rest, 200)}"))
    return Reading(read.stack, losses)


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


@dataclass(frozen=True, slots=True)
class _Read:
    """What a text has: the stack, what is lost of the tags, and the words around them (empty if there are none)."""

    stack: Stack
    losses: tuple[Loss, ...]
    rest: str


@dataclass(frozen=True, slots=True)
class _Timed:
    """A tag that was read, and when it acts."""

    found: Found
    tag: Tag
    times: Times
    outermost: int
    """Where the outermost group begins that switches it; -1 without one."""


class _Reader:
    """Reads one text."""

    def __init__(self, text: str, order: str, *, strict: bool = False) -> None:
        if order not in ORDERS:
            raise DialectError(f"there is no order {quoted(order)} of weights; choose one of {', '.join(ORDERS)}")
        if len(text) > MAX_TEXT:
            raise StackError(f"the text has {len(text):,} characters; at most {MAX_TEXT:,} are read")
        self._strict = strict
        """Whether the first thing that cannot be read is an error."""
        self._prompt: Prompt = find_tags(text)
        self._timing = Timing(text)
        self._groups = [self._prompt.groups(found) for found in self._prompt.tags]
        self._given = order
        self._order = "model-first" if any(map(self._outermost, self._groups)) else order
        self._losses: list[Loss] = []

    def read(self) -> _Read:
        rows: dict[object, list[_Timed]] = {}
        for number, (found, groups) in enumerate(zip(self._prompt.tags, self._groups, strict=True), 1):
            timed = self._tag(number, found, groups)
            if timed is None:
                continue
            together = not timed.times.is_always and timed.tag.curve is None and timed.tag.steps is None
            by = _by(timed.times)
            blocks = tuple(sorted(timed.tag.blocks.items()))
            key = (timed.outermost, timed.tag.name, timed.tag.dyn, blocks, by) if together and by else number
            rows.setdefault(key, []).append(timed)
            if len(rows) > MAX_ROWS:
                raise StackError(f"a stack has at most {MAX_ROWS} rows, this text has more tags", MAX_ROWS + 1)
        entries: list[Entry] = []
        schedules = Schedules()
        for tags in rows.values():
            row = len(entries) + 1
            try:
                entries.append(check_row(_entry(tags), row, schedules))
            except (ScheduleError, StackError) as error:
                self._lose(tags[0].found, StackError(error.reason, row))
                continue
            self._say(tags, row)
        self._losses.sort(key=lambda loss: loss.place or Place(0, 0))
        hidden = len(self._losses) - MOST_LOSSES
        if hidden > 0:
            del self._losses[MOST_LOSSES:]
            self._losses.append(Loss(None, "tags", f"there are {hidden} more things that could not be read"))
        return _Read(Stack(tuple(entries)), tuple(self._losses), self._rest())

    def _tag(self, number: int, found: Found, groups: Sequence[Group]) -> _Timed | None:
        shown = self._prompt.text[found.start : found.end]
        try:
            if found.is_escaped:
                raise StackError(
                    f"the tag {quoted(shown)} is escaped with a backslash; take that out if it is meant as a tag",
                    number,
                )
            if not found.is_closed:
                raise StackError(f"the tag {quoted(shown)} is not closed; put a > where it ends", number)
            tag = read_tag(shown, found.inside, self._order, number, wide=found.is_wide)
            check_row(Entry(tag.name, model=tag.model, clip=tag.te), number)
            times = ALWAYS
            if not self._strict:
                times = self._timing.of(groups, found.start)
            if times.is_never:
                raise StackError(f"the tag {quoted(shown)} acts at no moment", number)
        except ScheduleError as error:
            self._lose(found, StackError(f"the tag {quoted(shown)} is left out: {error.reason}", number))
            return None
        except StackError as error:
            if self._strict:
                raise
            self._lose(found, error)
            return None
        outermost = self._outermost(groups)
        return _Timed(found, tag, times, -1 if outermost is None else outermost.start)

    def _lose(self, found: Found, error: StackError) -> None:
        self._losses.append(Loss(None, "tag", error.reason, self._prompt.place(found.start)))

    def _say(self, tags: Sequence[_Timed], row: int) -> None:
        """What is lost of tags that became a row."""
        for timed in tags:
            found, tag = timed.found, timed.tag
            place = self._prompt.place(found.start)
            for key, said in tag.unknown:
                shown = quoted(self._prompt.text[found.start : found.end])
                self._losses.append(Loss(row, key, f"the tag {shown} {said}", place))
            if self._strict:
                continue
            if found.section:
                reason = f"SwarmUI uses the LoRA for <{found.section}> alone; here it acts on the whole picture"
                self._losses.append(Loss(row, "section", reason, place))
            if tag.in_order and timed.outermost < 0 and self._order == "model-first" != self._given:
                reason = "the first number is taken as the model's weight, as programs with such brackets have it"
                self._losses.append(Loss(row, "order", reason, place))
        first = tags[0]
        if not first.times.is_always:
            kept = _clip(tags)
            reason = f"the text encoders keep {kept:g} for the whole run, because the prompt is encoded once before it"
            self._losses.append(Loss(row, "clip", reason, self._prompt.place(first.found.start)))

    def _rest(self) -> str:
        """The words around the tags, without brackets that have nothing but tags in them."""
        text = self._prompt.text
        outer: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for found, groups in zip(self._prompt.tags, self._groups, strict=True):
            group = self._outermost(groups)
            span = (found.start, found.end) if group is None else (group.start, group.end + 1)
            outer.setdefault(span, []).append((found.start, found.end))
        taken: list[tuple[int, int]] = []
        for (start, end), inner in outer.items():
            words = "".join(_between(text, start, end, inner))
            taken += inner if _SIGNS.sub("", words) else [(start, end)]
        between = _between(text, 0, len(text), taken)
        return " ".join(stripped for part in between if (stripped := part.strip(", \t\r\n\f\v")))

    def _outermost(self, groups: Sequence[Group]) -> Group | None:
        """The outermost of these groups that switches what is in it."""
        if self._strict:
            return None
        return next((group for group in reversed(groups) if self._timing.switches(group)), None)


def _between(text: str, start: int, end: int, spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    """A part of a text without the spans in it, which are in order."""
    for begins, ends in spans:
        yield text[start:begins]
        start = ends
    yield text[start:end]


def _by(times: Times) -> By | None:
    """What the times are placed by, None for both."""
    if times.step == ALWAYS.step:
        return "progress"
    return "step" if times.progress == ALWAYS.progress else None


def _entry(tags: Sequence[_Timed]) -> Entry:
    """The row of one tag, or of all tags of one LoRA in one group: these take turns, and add up where they overlap."""
    tag, times = tags[0].tag, tags[0].times
    model, factors = tag.model, [tag.curve] if tag.curve else []
    if tag.steps:
        factors.append(acting(tag.steps))
    by = _by(times)
    if times.is_always:
        pass
    elif not factors and by is not None:
        model, curve = _split([(one.tag.model, getattr(one.times, by)) for one in tags], by)
        factors += [curve] if curve else []
    else:
        factors += [curve_of([(1.0, times.progress)], "progress")] * (by != "step")
        factors += [curve_of([(1.0, times.step)], "step")] * (by != "progress")
        factors = [curve for curve in factors if not curve.is_constant]
    clip = tag.te if times.is_always else _clip(tags)
    return Entry(
        tag.name,
        model=model,
        clip=None if clip == model else clip,
        blocks=tag.blocks,
        schedule=Schedule(tuple(factors)).to_text() if factors else None,
        air=tag.name if find_air(tag.name) is not None else None,
        extra={} if tag.dyn is None else {"dyn": tag.dyn},
    )


def _split(weighted: Sequence[tuple[float, Sequence[tuple[float, float]]]], by: By) -> tuple[float, Curve | None]:
    """Weights over the run as a row's weight and its schedule, exactly: their product is each of the weights."""
    curve = curve_of(weighted, by)
    if curve.is_constant:
        return curve.keyframes[0].weight, None
    weights = {keyframe.weight for keyframe in curve.keyframes} - {0.0}
    if len(weights) > 1:
        return 1.0, curve
    keyframes = tuple(replace(keyframe, weight=1.0 if keyframe.weight else 0.0) for keyframe in curve.keyframes)
    return weights.pop(), Curve(keyframes, by)


def _clip(tags: Sequence[_Timed]) -> float:
    """The one weight of the text encoders for tags that act at times."""
    by = _by(tags[0].times)
    if by is None:
        return tags[0].tag.te
    return longest(curve_of([(one.tag.te, getattr(one.times, by)) for one in tags], by))


def _tag(entry: Entry, stem: str) -> str:
    clip, model, vector = _said(entry) or (entry.clip_weight, entry.model, "")
    weights = _number(model) if clip == model else f"te={_number(clip)}:unet={_number(model)}"
    dyn = _dyn(entry)
    options = [f":dyn={dyn}"] * (dyn is not None) + [f":lbw={vector}"] * bool(vector)
    return f"<lora:{stem}:{weights}{''.join(options)}>"


def _said(entry: Entry) -> tuple[float, float, str] | None:
    """The text encoders' weight, the model's, and the vector of weights per block; None if no vector says the row's."""
    vector = write_vector(entry.blocks)
    if vector is not None:
        return entry.clip_weight, entry.model, vector
    on_model, on_clip, others = split_shared(entry.blocks)
    vector = write_vector(others) if others else ""
    clip, model = entry.clip_weight * on_clip, entry.model * on_model
    if vector is None or max(abs(clip), abs(model)) > WEIGHT_LIMIT:
        return None
    return clip, model, vector


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


def _dyn(entry: Entry) -> int | None:
    """The rank that a tag cut the LoRA down to, as `read` kept it."""
    dyn = entry.extra.get("dyn")
    return dyn if type(dyn) is int and 0 < dyn < 10**9 else None


def _stem(entry: Entry, row: int) -> str:
    """The file's name without folder and ending, when a tag can hold it."""
    stem = name_stem(entry.lora)
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


def _repeated(stem: str, before: tuple[int, Entry], now: tuple[int, Entry]) -> Sequence[Loss]:
    first, row = before[0], now[0]
    a, b = before[1], now[1]
    if not _same_file(a, b):
        raise DialectError(
            f"{quoted(b.lora)} and {quoted(a.lora)} of row {first} are different files that are both called "
            f"{quoted(stem)} in a tag; rename one of them, or switch one of the two rows off",
            row,
        )
    if (a.model, a.clip_weight, a.blocks) == (b.model, b.clip_weight, b.blocks):
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
    folder = name_folder(entry.lora)
    if folder:
        losses.append(Loss(row, "lora", f"a tag names no folder; {quoted(folder)} is left out"))
    if entry.air is not None:
        losses.append(Loss(row, "air", f"a tag has no place for the AIR {quoted(entry.air)}"))
    if entry.sha256 is not None:
        losses.append(Loss(row, "sha256", "a tag has no place for the file's hash, so a file is found by name alone"))
    if _said(entry) is None:
        named = shortened(", ".join(entry.blocks), 100)
        losses.append(
            Loss(row, "blocks", f"no vector of weights per block says {named}; the weight is used for all blocks")
        )
    losses += unsaid(entry, row, "a <lora:…> tag", ("blocks", *(() if _dyn(entry) is None else ("dyn",))))
    return losses


DIALECT = Dialect(
    "a1111", "AUTOMATIC1111 and Forge prompt tags", ".txt", read, write, read_options=("order",), keeps=(CLIP,)
)
