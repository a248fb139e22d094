"""The rows of stacks against the models that a prompt connects them to, without loading or changing anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, cast

from ...lorchestra.choices import AUTO, MERGE, SKIP, Choices
from ...lorchestra.errors import StackError, shortened
from ...lorchestra.library.catalog import Library
from ...lorchestra.library.facts import File
from ...lorchestra.stack import Entry
from . import bases, process, prompt

if TYPE_CHECKING:
    from ...lorchestra.fit.badge import Badge
    from ...lorchestra.models.base import Base


@dataclass(frozen=True)
class Model:
    """What is connected to a node."""

    path: str | None
    base: Base | None
    has_clip: bool
    choices: Choices

    @property
    def key(self) -> tuple[object, ...]:
        """The same for models that give the same badges."""
        from ...lorchestra.files.key import find_key

        return (find_key(self.path) if self.path and self.base else None, self.has_clip)

    def to_json(self) -> dict[str, object] | None:
        """What people call it, and what it is; None if that is not known."""
        return None if self.base is None else {"title": self.base.title, "architectures": self.base.architectures}


def check(queued: Mapping[str, object] | None, stacks: list[tuple[str, object]]) -> list[dict[str, object]]:
    """One answer for each (node id, rows in any form): the model that the prompt connects, and a badge for each row."""
    shelf = process.lora_library()
    with shelf.attended():
        return _Checker(shelf).check(queued or {}, stacks)


class _Checker:
    """For one request: each folder, each file and each base is read once."""

    def __init__(self, shelf: Library) -> None:
        self._shelf = shelf
        self._listing = shelf.listing()
        self._files: dict[str, File] = {}
        self._names: dict[str, str | StackError | None] = {}
        self._finder = cache(shelf.finder)
        self._base = cache(bases.read)

    def check(self, queued: Mapping[str, object], stacks: list[tuple[str, object]]) -> list[dict[str, object]]:
        from ...lorchestra.fit.badge import read_rows  # loads all that is known of models

        parsed: list[list[Entry | StackError] | StackError] = []
        for _, rows in stacks:
            try:
                parsed.append(read_rows(rows))
            except StackError as error:
                parsed.append(error)
        for entry in (row for rows in parsed if isinstance(rows, list) for row in rows if isinstance(row, Entry)):
            if entry.lora not in self._names:
                try:
                    self._names[entry.lora] = self._listing.find(entry.lora)
                except StackError as error:
                    self._names[entry.lora] = error
        wanted = {name for name in self._names.values() if isinstance(name, str)}
        self._files = {file.name: file for file in self._shelf.files(wanted)}
        answers: list[dict[str, object]] = []
        for (node, _), rows in zip(stacks, parsed, strict=True):
            model = self._model(queued, node)
            answer = {"node": node, "model": model.to_json(), "has_clip": model.has_clip}
            if isinstance(rows, StackError):
                answers.append({**answer, "error": str(rows), "rows": []})
            else:
                answers.append({**answer, "rows": [self._row(row, model) for row in rows]})
        return answers

    def _model(self, queued: Mapping[str, object], node: str) -> Model:
        path = prompt.find_base(queued, node)
        data = queued.get(node)
        inputs = cast("dict[str, object]", data).get("inputs") if isinstance(data, dict) else None
        inputs = cast("dict[str, object]", inputs) if isinstance(inputs, dict) else {}
        return Model(
            path,
            None if path is None else self._base(path),
            has_clip="clip" in inputs,
            choices=Choices(SKIP, mode=MERGE if inputs.get("mode") == MERGE else AUTO),
        )

    def _row(self, entry: Entry | StackError, model: Model) -> dict[str, object]:
        from ...lorchestra.fit import badge as badges

        if isinstance(entry, StackError):
            return _answer(badges.Badge(badges.BROKEN, entry.reason))
        name = self._names[entry.lora]
        if isinstance(name, StackError):
            return _answer(badges.Badge(badges.MISSING, name.reason), entry, self._candidates(entry))
        file = self._files.get(name) if name else None
        if file is None:
            badge = badges.Badge(badges.MISSING, badges.missing_sentence(entry))
            return _answer(badge, entry, self._candidates(entry))
        facts = self._shelf.find_facts(file)
        known = (facts.sha256, facts.air) if facts else (None, None)
        badge = self._look(file, model)
        if badge.state in (badges.FITS, badges.PARTLY, badges.UNKNOWN):
            badge = badges.row_problem(entry, lambda: model.base, model.choices) or badge
        return _answer(badge, entry, [], *known)

    def _look(self, file: File, model: Model) -> Badge:
        from ...lorchestra.fit import badge as badges

        key = (file.path, file.modified_ns, file.size, *model.key)
        opened = process.lora_cache().open
        return process.badges.find_or_make(
            key, lambda: badges.look(file.name, file.path, opened, model.base, has_clip=model.has_clip)
        )

    def _candidates(self, entry: Entry) -> list[dict[str, str]]:
        found = self._finder().find(entry.lora, entry.sha256, entry.air)
        return [{"name": item.name, "why": item.why} for item in found.candidates]


def _answer(
    badge: Badge,
    entry: Entry | None = None,
    candidates: list[dict[str, str]] | None = None,
    sha256: str | None = None,
    air: str | None = None,
) -> dict[str, object]:
    """One row; hash and AIR are the file's if they are known, else the row's own."""
    return {
        "state": badge.state,
        "sentence": shortened(badge.sentence, 2000),
        "sha256": sha256 or (entry.sha256 if entry else None),
        "air": air or (entry.air if entry else None),
        "candidates": candidates or [],
    }
