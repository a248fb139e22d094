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
}
"""Old sentence → what is said instead."""


def test_no_refusal_is_lost() -> None:
    now = error_sentences("lorchestra", "nodes")
    lost = [sentence for sentence in BEFORE if not now.issuperset(BETTER.get(sentence, (sentence,)))]
    assert lost == []
    assert set(BETTER) <= set(BEFORE)
    assert len(BEFORE) > 200
