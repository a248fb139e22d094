"""What the prompt says to the models that a LoRA Stack changes, found by walking a prompt in API format; pure.

From the stack, the walk goes downstream with the MODEL to samplers and guiders, and from what is positive there
upstream to the text encoders. Where no sampler is met, the encoders count that the CLIP goes to, unless they end in
something negative. What is not certain before the run is said to be unknown, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from .graph import (
    MODEL,
    OTHERS,
    Accepts,
    Kind,
    Output,
    Prompt,
    certain,
    class_of,
    inputs_of,
    link_in,
    links_of,
    text_in,
    type_of,
)
from .switches import find_chosen
from .text_nodes import BY_CLASS, TextNode
from .words import MOST_TEXT, is_said, spoken

STACK = "LorchestraLoraStack"
TRIGGER_WORDS = 4
"""Number of the stack's output with trigger words."""
LEFT_OUT = "…"
"""What stands in a prompt for a text that was too long to be sent."""

_MOST_STEPS = 60_000
"""Over all stacks of a prompt."""
_MOST_COMPOSED = 20_000_000
"""Characters of all texts on their way, of one prompt."""
_MOST_OUTPUTS = 64
"""Of a class."""
_CLIP, _CONDITIONING, _TEXT = "CLIP", "CONDITIONING", "STRING"
_AGAINST = re.compile(r"neg|uncond|empty", re.IGNORECASE)
"""Inputs for what a picture is not to show: `negative`, `empty_conditioning` of PerpNegGuider."""
_PROMPT = re.compile(r"text|prompt|clip_[lg]|t5xxl|positive|negative|caption|tags|lyrics", re.IGNORECASE)
"""Inputs with a part of a prompt, of nodes whose inputs' types are not known."""
_WILDCARD = re.compile(r"__[\w*/-]+__")
"""Example: `__colors__`, which a node or an extension replaces when the prompt runs."""
_GAP = "\0"
"""Stands for what is not known; no word reaches over it."""
_UNSAYING = frozenset({"ConditioningZeroOut"})
"""Nodes after which nothing of the text is left."""

Field = tuple[str, str]
"""(node id, name of the input): a text that somebody wrote into a widget."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What a prompt says, as far as it is known before the run."""

    said: str
    """All texts as `words.spoken` gives them."""
    is_complete: bool
    """False if more may be said that is not known yet."""
    field: Field | None
    """The one widget that all of it was written into; None if there are none, or several."""
    stacks: frozenset[str] = frozenset()
    """LoRA Stacks whose trigger words go into it; they may have rows of others, too."""

    def find(self, word: str) -> bool | None:
        """Whether a trigger word is in it; None if that is not known."""
        return True if is_said(spoken(word), self.said) else False if self.is_complete and not self.stacks else None


def find_prompt_texts(prompt: Prompt, node_id: str, kind: Kind, accepts: Accepts) -> Texts | None:
    """What is said to the models that the stack `node_id` changes; None if no text encoder is found.

    A prompt may have loops, links into nowhere and values of any kind. Never raises.
    """
    return Prompts(prompt, kind, accepts).find(node_id)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text on its way."""

    text: str = ""
    is_complete: bool = True
    fields: tuple[Field, ...] = ()
    """At most two: more than one is as good as many."""
    stacks: frozenset[str] = frozenset()


_UNKNOWN = _Text(_GAP, is_complete=False)
_Root = tuple[Output, str]
"""What a conditioning comes from; and what of a pipe is meant, `pos` or `neg`."""
_MOST_STACKS = 64


def _both(one: _Text, other: _Text, between: str = _GAP) -> _Text:
    text = f"{one.text}{between}{other.text}" if one.text and other.text else one.text or other.text
    stacks = one.stacks | other.stacks
    fits = len(text) <= MOST_TEXT and len(stacks) <= _MOST_STACKS
    return _Text(
        text[:MOST_TEXT],
        one.is_complete and other.is_complete and fits,
        tuple(dict.fromkeys((*one.fields, *other.fields)))[:2],
        stacks if fits else one.stacks,
    )


class Prompts:
    """One prompt, for all stacks in it; what was walked for one is not walked again."""

    def __init__(self, prompt: Prompt, kind: Kind, accepts: Accepts) -> None:
        self._prompt = prompt
        self._kind = cache(kind)
        self._accepts = cache(accepts)
        self._steps = 0
        self._room = _MOST_COMPOSED
        """Characters that may still be put together."""
        self._takers: dict[Output, list[tuple[str, str]]] = {}
        """Output → (node id, input) of all that take it."""
        self._slots: dict[str, dict[int, None]] = {}
        """Node id → its outputs that something takes."""
        self._texts: dict[Output, _Text] = {}
        self._found: dict[tuple[frozenset[_Root], frozenset[_Root]], Texts | None] = {}
        for node in prompt:
            for name, link in links_of(prompt, node):
                self._takers.setdefault(link, []).append((node, name))
                self._slots.setdefault(link[0], {})[link[1]] = None

    def find(self, node_id: str) -> Texts | None:
        """See `find_prompt_texts`."""
        positive, encoders = self._downstream(node_id)
        key = frozenset(positive), frozenset(encoders)
        if key not in self._found:
            self._found[key] = self._say(positive, encoders)
        return None if self._steps > _MOST_STEPS else self._found[key]

    def _say(self, positive: Sequence[_Root], encoders: Sequence[_Root]) -> Texts | None:
        found = self._conditionings(positive) if positive else None
        if found is None or not found.is_complete:
            others = [root for root in encoders if not self._is_against(root[0])]
            more = self._conditionings(others) if others else None
            found = more if found is None else _both(found, more) if more else found
        if found is None:
            return None
        only = found.fields[0] if found.is_complete and len(found.fields) == 1 else None
        return Texts(spoken(found.text), found.is_complete, only, found.stacks)

    # Downstream.

    def _downstream(self, start: str) -> tuple[list[_Root], list[_Root]]:
        """What is positive where the model goes, and what the encoders give that the CLIP goes to."""
        positive: dict[_Root, None] = {}
        encoders: dict[_Root, None] = {}
        waiting = [(start, slot) for slot in self._slots.get(start, ()) if self._gives(start, slot) in (MODEL, _CLIP)]
        seen = set(waiting)
        while waiting and self._steps <= _MOST_STEPS:
            here = waiting.pop()
            for node, name in self._takers.get(here, ()):
                self._steps += 1
                type_ = self._type(node, name, here)
                if type_ in OTHERS and type_ != _CLIP:
                    continue
                if type_ != _CLIP:
                    positive.update(dict.fromkeys(self._positive(node, here, type_)))
                for slot in self._slots.get(node, ()):
                    given = self._gives(node, slot)
                    if given == _CONDITIONING and type_ != MODEL:
                        encoders[(node, slot), ""] = None
                    if _carries(type_, given) and (node, slot) not in seen:
                        seen.add((node, slot))
                        waiting.append((node, slot))
        return list(positive), list(encoders)

    def _positive(self, node: str, model: Output, type_: str | None) -> Iterator[_Root]:
        """What a node that takes a model also takes as its prompt; of a sampler that takes a pipe, what is in there."""
        own = [
            (name, link) for name, link in links_of(self._prompt, node) if self._type(node, name, link) == _CONDITIONING
        ]
        yield from ((link, "") for name, link in own if not _AGAINST.search(name))
        if not own and type_ not in (MODEL, None) and "LATENT" in self._outputs(class_of(self._prompt, node)):
            yield model, "pos"

    def _is_against(self, start: Output) -> bool:
        """Whether what an encoder gives ends only where it is negative."""
        waiting, seen, is_against = [start], {start}, False
        while waiting and self._steps <= _MOST_STEPS:
            for node, name in self._takers.get(waiting.pop(), ()):
                self._steps += 1
                if _AGAINST.search(name):
                    is_against = True
                    continue
                through = [
                    (node, slot)
                    for slot in self._slots.get(node, ())
                    if self._gives(node, slot) in (_CONDITIONING, None)
                ]
                if not through:
                    return False
                waiting += [output for output in through if output not in seen]
                seen.update(through)
        return is_against

    # Upstream: conditionings.

    def _conditionings(self, roots: Sequence[_Root]) -> _Text:
        """All that is said in these conditionings."""
        found = _Text()
        waiting = list(reversed(roots))
        seen = set(waiting)
        while waiting:
            self._steps += 1
            if self._steps > _MOST_STEPS:
                return _UNKNOWN
            said, sources = self._conditioning(*waiting.pop())
            found = _both(found, said)
            waiting += [root for root in reversed(sources) if root not in seen]
            seen.update(sources)
        return found

    def _conditioning(self, output: Output, of_pipe: str) -> tuple[_Text, list[_Root]]:
        """What a node says by itself, and the conditionings that it is made of."""
        node, slot = output
        name, inputs = class_of(self._prompt, node), inputs_of(self._prompt, node)
        if name in _UNSAYING:
            return _Text(), []
        chosen = find_chosen(name, inputs)
        if chosen is not None:
            link = link_in(inputs.get(chosen))
            return _Text(), [(link, of_pipe)] if link else []
        links = dict(links_of(self._prompt, node))
        types = {key: self._type(node, key, link) for key, link in links.items()}
        given = self._gives(node, slot)
        conditionings = [key for key, type_ in types.items() if type_ == _CONDITIONING]
        holders = [key for key, type_ in types.items() if type_ not in OTHERS and type_ != MODEL]
        if given is None:  # a reroute, or a switch that is not known
            return self._only(links, types, [*conditionings, *holders], of_pipe)
        if given not in OTHERS:  # a pipe, or a context that another one may lead to
            own = [key for key in conditionings if of_pipe and of_pipe in key.lower()]
            return self._only(links, types, own or holders, of_pipe)
        if given != _CONDITIONING:
            return _UNKNOWN, []
        numbers = [at for at, type_ in enumerate(self._outputs(name)) if type_ == _CONDITIONING]
        is_second = len(numbers) > 1 and slot == numbers[1]
        if len(numbers) > 1 and {"positive", "negative"} <= set(conditionings):
            conditionings = ["negative" if is_second else "positive"]
        said = self._own_texts(node, types, is_against=is_second)
        if said is not None or conditionings:
            return said or _Text(), [(links[key], "") for key in conditionings]
        if len(holders) == 1:
            return _Text(), [(links[holders[0]], "neg" if is_second else "pos")]
        return _UNKNOWN, []

    @staticmethod
    def _only(
        links: Mapping[str, Output], types: Mapping[str, str | None], keys: Sequence[str], of_pipe: str
    ) -> tuple[_Text, list[_Root]]:
        """The one input that a node may hand on; several are unknown, because which one it is shows in the run."""
        if len(keys) != 1:
            return _UNKNOWN, []
        return _Text(), [(links[keys[0]], "" if types[keys[0]] == _CONDITIONING else of_pipe)]

    # Upstream: texts.

    def _own_texts(self, node: str, types: Mapping[str, str | None], *, is_against: bool) -> _Text | None:
        """What is written into an encoder, or comes to it as text; None if it takes no text."""
        name, found = class_of(self._prompt, node), None
        for key, value in inputs_of(self._prompt, node).items():
            if bool(_AGAINST.search(key)) is not is_against:
                continue
            if key in types:
                is_text = types[key] == _TEXT
            else:
                type_ = certain(self._accepts(name, key))
                is_text = text_in(value) is not None and (
                    type_ == _TEXT or (type_ is None and bool(_PROMPT.search(key)))
                )
            if is_text:
                said = self._input(node, key)
                found = said if found is None else _both(found, said)
        return found

    def _input(self, node: str, key: str) -> _Text:
        """The text of one input."""
        value = inputs_of(self._prompt, node).get(key)
        link = link_in(value)
        if link is not None:
            return self._text_of(link)
        text = text_in(value)
        if text is None:
            return _Text() if value is None else _UNKNOWN
        is_known = text != LEFT_OUT and len(text) <= MOST_TEXT and not _WILDCARD.search(text[:MOST_TEXT])
        return _Text(text[:MOST_TEXT], is_known, ((node, key),))

    def _text_of(self, start: Output) -> _Text:
        """The text that an output gives; without recursion, since chains may be long."""
        path, on_path = ([], set[Output]()) if start in self._texts else ([start], {start})
        while path:
            here = path[-1]
            sources = [link for link in self._text_sources(here) if link not in self._texts]
            self._steps += 1
            if sources and (sources[0] in on_path or self._steps > _MOST_STEPS):
                self._texts[here] = _UNKNOWN  # a loop
            elif sources:
                path.append(sources[0])
                on_path.add(sources[0])
                continue
            else:
                self._texts[here] = self._compose(here)
            on_path.discard(path.pop())
        return self._texts[start]

    def _text_sources(self, output: Output) -> list[Output]:
        inputs = inputs_of(self._prompt, output[0])
        return [link for key in self._text_inputs(output) or () if (link := link_in(inputs.get(key)))]

    def _text_inputs(self, output: Output) -> list[str] | None:
        """The inputs that the text of an output is made of; None if that is not known."""
        node, slot = output
        name, inputs = class_of(self._prompt, node), inputs_of(self._prompt, node)
        known = BY_CLASS.get(name)
        if known is not None:
            keys = (*known.inputs, known.delimiter or "")
            return [key for key in keys if key in inputs] if slot == 0 else None
        chosen = find_chosen(name, inputs)
        if chosen is not None:
            return [chosen]
        is_reroute = self._gives(node, slot) is None and len(inputs) == 1
        return list(inputs) if is_reroute and all(map(link_in, inputs.values())) else None

    def _compose(self, output: Output) -> _Text:
        """The text of an output whose sources are known."""
        node, slot = output
        if class_of(self._prompt, node) == STACK and slot == TRIGGER_WORDS:
            return _Text(stacks=frozenset({node}))
        keys = self._text_inputs(output)
        if keys is None:
            return _UNKNOWN
        known = BY_CLASS.get(class_of(self._prompt, node)) or TextNode("", tuple(keys))
        between = self._input(node, known.delimiter) if known.delimiter else _Text()
        parts = [self._input(node, key) for key in keys if key != known.delimiter]
        found = parts[0] if parts else _Text()
        for part in parts[1:]:
            found = _both(found, part, between.text.replace("\\n", "\n") if between.is_complete else _GAP)
        if known.comment:
            lines = (line for line in found.text.split("\n") if not line.lstrip().startswith(known.comment))
            found = replace(found, text="\n".join(lines))
        if len(parts) > 1 and not between.is_complete:
            found = replace(found, is_complete=False)
        self._room -= len(found.text)
        return found if self._room >= 0 else _UNKNOWN

    # What the classes say.

    def _gives(self, node: str, slot: int) -> str | None:
        return certain(self._kind(class_of(self._prompt, node), slot))

    def _outputs(self, name: str) -> list[str]:
        """The types of a class's outputs."""
        found: list[str] = []
        while len(found) < _MOST_OUTPUTS and (type_ := self._kind(name, len(found))) is not None:
            found.append(type_)
        return found

    def _type(self, node: str, key: str, link: Output) -> str | None:
        return type_of(self._prompt, class_of(self._prompt, node), key, link, self._kind, self._accepts)


def _carries(taken: str | None, given: str | None) -> bool:
    """Whether an output of this type may hold the model or the CLIP that the node took as that type."""
    if given in OTHERS and given != _CLIP:
        return False
    return (taken, given) not in ((MODEL, _CLIP), (_CLIP, MODEL))
