"""Every refusal of the last release, listed in `error_sentences.json`, still says the same, or better."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from support.sentences import error_sentences

BEFORE: list[str] = json.loads(Path(__file__).with_name("error_sentences.json").read_text(encoding="utf-8"))

BETTER: Mapping[str, tuple[str, ...]] = {
    # The finding and what to do are two parts now, because a skipped row has nothing to do about it.
    "this is {}, not a LoRA. Switch this row off.": ("this is {}, not a LoRA", "Switch this row off."),
    # Files are read, not mapped.
    "the file cannot be mapped ({})": ("its tensors cannot be read ({})",),
    # One writer and one opener for all files.
    "the file is there already; choose another name, or pass --force": (
        "the file exists already; use --force to replace it",
    ),
    "the index has more than {} bytes": ("the file has {} bytes; at most {} are read",),
    # They are applied.
    "{} has block weights; this version applies whole LoRAs only": (),
    # One reader of FILE=WEIGHT, for `bake --lora` and for `balance`.
    "--lora {} has no weight; write FILE=0.7 or FILE=0.7:0.3": ("{} has no weight; write FILE=0.7 or FILE=0.7:0.3",),
    "--lora {}: the weight is not a number": ("{}: the weight is not a number",),
    "--lora {}: {} is not a number": ("{}: {} is not a number",),
    # One reader for JSON, which says what it reads.
    "the request has {} characters; at most {} are read": ("the request has more than {} bytes",),
    "the request is not JSON: {}": ("{} is not JSON: {}",),
    "the stack is not JSON: {}": ("{} is not JSON: {}",),
    "the text is not JSON: {}": ("{} is not JSON: {}",),
    "the request's JSON is nested too deeply": ("{} is nested too deeply",),
    "the stack's JSON is nested too deeply": ("{} is nested too deeply",),
    # The row is read at the weight that it has, and the rest of the tag is listed as lost.
    "the tag {} has the dyn {}; expected a whole number of ranks": (),
    # What is missing is told with its AIR, its hash and its page; of one row by `missing_sentence`.
    "{}{}. Put the file into a LoRA folder and name it, switch the row off, or set missing to skip.": (
        "{} LoRAs were not found. Add the files to a LoRA folder, choose others, switch the rows off, or let the node "
        "skip them.{}\n{}",
    ),
    # One sentence for all dialects with limits.
    "the weight {} of {} is outside Runware's {} … {}; choose a weight inside it, or switch the row off": (
        "the weight {} of {} is outside {}'s {}; choose a weight inside it, switch the row off, or allow clamping",
    ),
    # Plain English.
    '"air" of {} is {}, which is no AIR; expected one such as "civitai:120096@135931"': (
        '"air" of {} is {}, which is not an AIR; expected one such as "civitai:120096@135931"',
    ),
    "sigma {} cannot be found: nobody knows the sigmas of this run": (
        "sigma {} cannot be found: the sigmas of this run are not known",
    ),
    "tensor {} is {}, which no LoRA has": ("tensor {} is {}, which a LoRA never has",),
    "the header is not JSON: its metadata do not end, or are no object of strings": (
        "the header is not JSON: its metadata do not end, or are not an object of strings",
    ),
    "the schedule goes by {}, and nobody knows the {}s of this run; write it by progress, 0 … 1": (
        "the schedule goes by {}, but the {}s of this run are not known; write it by progress, 0 … 1",
    ),
    'this is no index of shards: it has no "weight_map"': ('this is not an index of shards: it has no "weight_map"',),
    "weights are no percentages; write {}": ("weights are not percentages; write {}",),
    "{} is no easing; there are {}": ("{} is not an easing; there are {}",),
    "{} is no position, 0 … 1{}": ("{} is not a position, 0 … 1{}",),
    "{} is no position: {}": ("{} is not a position: {}",),
    "{} is no schedule; write keyframes such as 0:0, 1:1, or one of: {}": (
        "{} is not a schedule; write keyframes such as 0:0, 1:1, or one of: {}",
    ),
    '{} is none; expected {"position": 0.5, "weight": 1}': (
        '{} is not a keyframe; expected {"position": 0.5, "weight": 1}',
    ),
    '{} is no stack; expected {"node": "12", "loras": …}': ('{} is not a stack; expected {"node": "12", "loras": …}',),
    # Shorter, with what to do first.
    "{} may be any of {}. Write the folder too.": (
        "{} is in {} folders. Choose one: {}",
        "{} is the name of {} files. Choose one: {}",
    ),
    "there is more than <lora:name:weight> tags here: {}; take it out, or import the text as a prompt": (
        "only <lora:…> tags are allowed here. Remove {}, or import the text as a prompt",
    ),
    "the sigma {} is no number": ("the sigma {} is not a number",),
}
"""Old sentence → what is said instead; nothing where it is read now."""


def test_no_refusal_is_lost() -> None:
    now = error_sentences("lorchestra", "nodes")
    lost = [
        sentence for sentence in BEFORE if sentence not in now and not now.issuperset(BETTER.get(sentence, (sentence,)))
    ]
    assert lost == []
    assert set(BETTER) <= set(BEFORE)
    assert len(BEFORE) > 200
