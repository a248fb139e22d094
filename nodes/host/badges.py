"""The rows of stacks against the models that a prompt connects them to, without loading or changing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, cast

from ...lorchestra.choices import AUTO, ERROR, MERGE, REFUSE, SKIP, WARN, Choices
from ...lorchestra.errors import StackError, shortened
from ...lorchestra.sentences import say, together, with_parts
from . import bases, process, prompt

if TYPE_CHECKING:
    from ...lorchestra.fit.badge import Badge
    from ...lorchestra.library.catalog import Library
    from ...lorchestra.library.facts import File
    from ...lorchestra.library.finder import Candidate
    from ...lorchestra.library.resolve import Resolved
    from ...lorchestra.models.base import Base
    from ...lorchestra.stack import Entry
    from ...lorchestra.stack.wanted import Wanted
    from ...lorchestra.workflow.prompts import Texts


ITSELF = "changed"
"""Why the file of a row's own path is a candidate: its content is another one now."""
_MOST_LOOKED = 200
"""Candidates of one request that are looked into; of the others it is not known whether they fit."""


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


def check(
    queued: Mapping[str, object] | None, stacks: list[tuple[str, object]], *, only_found: bool = False
) -> list[dict[str, object]]:
    """One answer for each (node id, rows in any form): the model that the prompt connects, and a badge for each row.

    `prompt` is the widget that all of the prompt's text is in, if it is one; `words` of a row are its file's trigger
    words and those that it chooses besides, each with whether it is in the prompt.

    With `only_found` no file is looked into: rows whose file is there are `unknown`, and have no words.
    """
    shelf = process.lora_library()
    with shelf.background.attended():
        return _Checker(shelf, only_found).check(queued or {}, stacks)


def shown_candidates(shelf: Library, candidates: Sequence[Candidate]) -> list[dict[str, object]]:
    """Candidates with what is known of each file."""
    files = {file.name: file for file in shelf.files({item.name for item in candidates})}
    return [_candidate(shelf, files.get(item.name), item.name, item.by, item.why) for item in candidates]


def _candidate(shelf: Library, file: File | None, name: str, by: str, why: str) -> dict[str, object]:
    sha256, air = (shelf.find_identity(file) if file else None) or (None, None)
    return with_parts({"name": name, "why": why, "by": by, "sha256": sha256, "air": air})


class _Checker:
    """For one request: each folder, each file and each base is read once."""

    def __init__(self, shelf: Library, only_found: bool) -> None:
        self._shelf = shelf
        self._listing = shelf.listing()
        self._only_found = only_found
        self._left = _MOST_LOOKED
        self._files: dict[str, File] = {}
        self._found: dict[Wanted, Resolved | StackError | None] = {}
        self._finder = cache(shelf.finder)
        self._base = cache(bases.read)

    def check(self, queued: Mapping[str, object], stacks: list[tuple[str, object]]) -> list[dict[str, object]]:
        from ...lorchestra.fit.badge import read_rows  # loads all that is known of models
        from ...lorchestra.library.resolve import Resolved
        from ...lorchestra.stack.wanted import wanted_of

        parsed: list[list[Entry | StackError] | StackError] = []
        for _, rows in stacks:
            try:
                parsed.append(read_rows(rows))
            except StackError as error:
                parsed.append(error)
        for entry in (
            row for rows in parsed if isinstance(rows, list) for row in rows if not isinstance(row, StackError)
        ):
            self._resolve(wanted_of(entry))
        names = {found.name for found in self._found.values() if isinstance(found, Resolved)}
        self._files = {file.name: file for file in self._shelf.files(names)}
        prompts = prompt.read_prompts(queued)
        answers: list[dict[str, object]] = []
        for (node, _), rows in zip(stacks, parsed, strict=True):
            model = self._model(queued, node)
            texts = prompts.find(node)
            field = texts.field if texts else None
            answer = {
                "node": node,
                "model": model.to_json(),
                "has_clip": model.has_clip,
                "prompt": {"node": field[0], "input": field[1]} if field else None,
            }
            if isinstance(rows, StackError):
                answers.append(with_parts({**answer, "error": rows.sentence, "rows": []}))
            else:
                answers.append(
                    {**answer, "rows": [self._row(row, model) | self._words(row, node, texts) for row in rows]}
                )
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
            choices=Choices(
                missing=SKIP if inputs.get("missing") == SKIP else ERROR,
                policy=REFUSE if inputs.get("policy", REFUSE) == REFUSE else WARN,
                mode=MERGE if inputs.get("mode") == MERGE else AUTO,
            ),
        )

    def _row(self, entry: Entry | StackError, model: Model) -> dict[str, object]:
        from ...lorchestra.fit import badge as badges
        from ...lorchestra.fit.rows import changed_sentence, missing_sentence
        from ...lorchestra.stack.wanted import wanted_of

        if isinstance(entry, StackError):
            return _answer(badges.Badge(badges.BROKEN, entry.reason))
        found = self._found[wanted_of(entry)]
        if isinstance(found, StackError):
            badge = badges.Badge(badges.MISSING, found.reason)
            return _answer(badge, entry, self._candidates(entry, model), is_ambiguous=True)
        file = self._files.get(found.name) if found else None
        if found is None or file is None:
            badge = badges.Badge(badges.MISSING, missing_sentence(entry, model.choices))
            return _answer(badge, entry, self._candidates(entry, model))
        if found.is_changed:
            state = badges.MISSING if model.choices.policy == REFUSE else badges.PARTLY
            itself = [_candidate(self._shelf, file, found.name, ITSELF, say("the file as it is now"))]
            return _answer(badges.Badge(state, changed_sentence(model.choices)), entry, itself, file=found)
        badge = badges.Badge(badges.UNKNOWN, "") if self._only_found else self._look(file, model)
        if not entry.on and badge.if_off:
            badge = replace(badge, sentence=badge.if_off)
        if badge.state in (badges.FITS, badges.PARTLY, badges.UNKNOWN):
            badge = badges.row_problem(entry, lambda: model.base, model.choices) or badge
        if found.how:
            used = say("used {file}, {how}", file=found.name, how=found.how)
            badge = replace(badge, sentence=together((badge.sentence, used)))
        if not self._only_found:
            self._shelf.facts(file)  # its AIR may be in the sidecar or the header
        known = self._shelf.find_identity(file)
        return _answer(badge, entry, [], known, file=found)

    def _words(self, entry: Entry | StackError, node: str, texts: Texts | None) -> dict[str, object]:
        from ...lorchestra.library.resolve import Resolved
        from ...lorchestra.stack.wanted import wanted_of

        if isinstance(entry, StackError) or self._only_found:
            return {"words": []}
        found = self._found[wanted_of(entry)]
        file = self._files.get(found.name) if isinstance(found, Resolved) else None
        stated = self._shelf.facts(file).words if file else ()
        meant = stated if entry.triggers is None else entry.triggers
        is_wired = texts is not None and node in texts.stacks
        return {
            "words": [
                {"word": word, "present": (is_wired and word in meant) or (texts.find(word) if texts else None)}
                for word in dict.fromkeys((*stated, *meant))
            ]
        }

    def _resolve(self, wanted: Wanted) -> None:
        from ...lorchestra.library.resolve import resolve

        if wanted not in self._found:
            try:
                self._found[wanted] = resolve(wanted, self._shelf, self._listing)
            except StackError as error:
                self._found[wanted] = error

    def _look(self, file: File, model: Model) -> Badge:
        from ...lorchestra.fit import badge as badges

        key = (file.path, file.modified_ns, file.size, *model.key)
        opened = process.lora_cache().open
        return process.badges.find_or_make(
            key, lambda: badges.look(file.name, file.path, opened, model.base, has_clip=model.has_clip)
        )

    def _candidates(self, entry: Entry, model: Model) -> list[dict[str, object]]:
        """The files that a row may mean, each with whether it fits: those that do first."""
        from ...lorchestra.fit.badge import STATES
        from ...lorchestra.stack.wanted import wanted_of

        shown = shown_candidates(self._shelf, self._finder().find_wanted(wanted_of(entry)).candidates)
        if self._only_found or not shown:
            return shown
        files = {file.name: file for file in self._shelf.files({str(one["name"]) for one in shown})}
        for one in shown:
            file = files.get(str(one["name"])) if self._left > 0 else None
            one["state"] = self._look(file, model).state if file else None
            self._left -= 1
        order = {state: place for place, state in enumerate(STATES)}
        return sorted(shown, key=lambda one: order.get(str(one["state"]), len(order)))


def _answer(
    badge: Badge,
    entry: Entry | None = None,
    candidates: list[dict[str, object]] | None = None,
    known: tuple[str | None, str | None] | None = None,
    file: Resolved | None = None,
    *,
    is_ambiguous: bool = False,
) -> dict[str, object]:
    """One row: `file` is the listed name that is used, `how` it was found if not by its path.

    `known` is what that file is known by, once it has been read; `sha256` and `air` are the same, or the row's own.
    `page` is where people get a missing one, `made_for` the models that its AIR tells; `ambiguous` says that all of the
    candidates may be meant. The `state` of a candidate is null if it was not looked into.
    """
    from ...lorchestra.architectures.ecosystems import find_families
    from ...lorchestra.fit.outcome import MISSING
    from ...lorchestra.stack.wanted import wanted_of

    sha256, air = known or (None, None)
    wanted = wanted_of(entry).air if entry and badge.state == MISSING else None
    answer: dict[str, object] = {
        "state": badge.state,
        "sentence": shortened(badge.sentence, 2000),
        "sha256": sha256 or (entry.sha256 if entry else None),
        "air": air or (entry.air if entry else None),
        "candidates": candidates or [],
        "ambiguous": is_ambiguous,
        "file": file.name if file else None,
        "how": file.how if file else "",
        "known": {"sha256": sha256, "air": air} if known else None,
        "page": wanted.page if wanted else None,
        "made_for": find_families(wanted.ecosystem) if wanted else [],
    }
    return with_parts(answer)
