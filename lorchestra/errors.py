"""The errors that Lorchestra raises on purpose: each says what was found, where, and what to do."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from pathlib import Path

from .sentences import lines, say


class LorchestraError(Exception):
    """Base of every error that is meant to be read by the person at the screen."""

    @property
    def sentence(self) -> str:
        """What it says; where it was made as a `Sentence`, with its parts."""
        return self.args[0] if self.args and isinstance(self.args[0], str) else str(self)


class FileProblem(LorchestraError):
    """A file that cannot be used; carries the file and the reason apart, the message says both.

    `file` is the path as the caller gave it, `reason` one sentence without the file name.
    """

    def __init__(self, file: str | Path, reason: str) -> None:
        self.file = str(file)
        self.reason = reason
        super().__init__(say("{lora}: {sentence}", lora=self.file, sentence=reason))


class HeaderError(FileProblem):
    """The safetensors header breaks the format's rules, or there is no such header."""


class AdapterError(FileProblem):
    """A LoRA file whose header is sound but whose contents contradict each other.

    `module` is the layer's name as the file spells it; empty when the whole file is meant.
    """

    def __init__(self, file: str | Path, module: str, reason: str) -> None:
        self.module = module
        named = say("module {module}: {reason}", module=shortened(module), reason=shortened(reason, 500))
        super().__init__(file, named if module else reason)


class NotALora(AdapterError):
    """A sound file that is not a LoRA at all.

    `finding` says what it is, without what to do about it, which is `hint`: a sentence of its own, or empty.
    """

    def __init__(self, file: str | Path, finding: str, hint: str = "") -> None:
        self.finding = finding
        self.hint = hint
        super().__init__(file, "", say("{finding}. {hint}", finding=finding, hint=hint) if hint else finding)


class CheckpointError(FileProblem):
    """A base checkpoint that cannot be read, written, or changed as asked."""


class StackError(LorchestraError):
    """A stack that does not parse or is out of range.

    `row` counts from 1 as people do; None when no single row is to blame. `rows` are all that are to blame: number and
    sentence of each, without the number.
    """

    def __init__(self, reason: str, row: int | None = None, rows: Sequence[tuple[int, str]] = ()) -> None:
        self.row = row
        self.reason = reason
        self.rows = tuple(rows) or (() if row is None else ((row, reason),))
        super().__init__(reason if row is None else say("row {row}: {reason}", row=row, reason=reason))


class MissingLora(StackError):
    """A row names a LoRA that cannot be found."""


class DialectError(StackError):
    """A request in a foreign dialect that cannot be read, or a stack that the dialect cannot hold.

    `path` is the field in the request that is to blame, such as `lora[1].weight`; None if all of it is.
    """

    def __init__(self, reason: str, row: int | None = None, path: str | None = None) -> None:
        self.path = path
        super().__init__(reason if path is None else f"{shortened(path)}: {reason}", row)


class JsonError(LorchestraError):
    """Text that is not JSON, or JSON that is too large or too deep to be read."""


class WorkflowError(LorchestraError):
    """A workflow that cannot be published, or a publication that does not read.

    `place` is where in it, such as `node 12 (KSampler)`; empty if all of it is meant.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        self.place = place
        self.reason = reason
        super().__init__(f"{shortened(place)}: {reason}" if place else reason)


class InputError(LorchestraError):
    """What was sent to a published workflow is not what it takes.

    `path` is the field that is to blame, such as `loras[1].weight`, `pointer` the same as a JSON Pointer (RFC 6901),
    such as `/loras/1/weight`; both are empty if all of it is.
    """

    def __init__(self, reason: str, path: Sequence[str | int] = ()) -> None:
        self.reason = reason
        self.parts = tuple(path)
        self.path = "".join(f"[{part}]" if isinstance(part, int) else f".{shortened(part)}" for part in path)[:1000]
        self.path = self.path.removeprefix(".")
        parts = (shortened(str(part)).replace("~", "~0").replace("/", "~1") for part in path)
        self.pointer = "".join(f"/{part}" for part in parts)[:1000]
        super().__init__(f"{self.path}: {reason}" if self.path else reason)


class UnusableInput(InputError):
    """What was sent has the form that the schema asks for, and still cannot be used: a LoRA that is not there."""


def all_in_one(errors: Sequence[StackError], most: int = 8) -> StackError:
    """One error for all of these, of which so many are told; an only one is given back as it is."""
    if len(errors) == 1:
        return errors[0]
    told = [error.sentence for error in errors[:most]]
    if len(errors) > most:
        told.append(say("… and {count} more rows", count=len(errors) - most))
    return StackError(lines(told), rows=[row for error in errors for row in error.rows])


class ScheduleError(LorchestraError):
    """A schedule that does not parse, is out of range, or is asked what it cannot know.

    `column` counts the characters of its text from 1, `keyframe` its keyframes from 1; None if that says nothing.
    """

    def __init__(self, reason: str, column: int | None = None, keyframe: int | None = None) -> None:
        self.column = column
        self.keyframe = keyframe
        self.reason = reason
        if column is not None:
            reason = say("column {column}: {reason}", column=column, reason=reason)
        elif keyframe is not None:
            reason = say("keyframe {keyframe}: {reason}", keyframe=keyframe, reason=reason)
        super().__init__(reason)


def shortened(text: str, limit: int = 200) -> str:
    """The text's first `limit` characters at most; names in a file may be millions of characters long."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(value: object, limit: int = 60) -> str:
    """Any value as a message shows it: in one line of about `limit` characters; never raises, never takes long."""
    short = reprlib.Repr()
    short.maxstring = short.maxlong = short.maxother = limit
    try:
        text = short.repr(value)
    except (ValueError, RecursionError):  # Python refuses to write an int of more than 4,300 digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= 2 * limit else text[: 2 * limit - 1] + "…"
