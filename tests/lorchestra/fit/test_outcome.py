"""What a person reads about each row."""

from __future__ import annotations

import pytest

from lorchestra.fit.outcome import COMPATIBLE, INCOMPATIBLE, OFF, PARTIAL, Outcome, outcome, report
from lorchestra.models.placing import Placed, Placement, Site
from lorchestra.spelling.modules import Module
from lorchestra.stack import Entry

ENTRY = Entry("pixel.safetensors")


def module(name: str) -> Module:
    return Module(name, "model", name, "LoRA", {}, {})


X = module("x")
FITS = Placed(X, Site("x.weight", (1, 1)))


@pytest.mark.parametrize(
    ("placement", "verdict", "sentence"),
    [
        (Placement((FITS,) * 3, (), (), ()), COMPATIBLE, "weight 0.5, all 3 modules fit"),
        (
            Placement((FITS,), (), (), (X, X)),
            COMPATIBLE,
            "weight 0.5, all 1 modules fit; 2 text encoder modules are not used, no such CLIP is connected",
        ),
        (
            Placement((FITS,), (X,), (), ()),
            PARTIAL,
            "weight 0.5, 1 of 2 modules fit; left out: x, the model has no such layer",
        ),
        (
            Placement((FITS,), (X, X), ((module("y"), "too wide"),), ()),
            PARTIAL,
            "weight 0.5, 1 of 4 modules fit; left out: y, too wide; and 2 more",
        ),
        (
            Placement((), (X, X), (), (X,)),
            INCOMPATIBLE,
            "0 of 2 modules fit this model (x, the model has no such layer; and 1 more). "
            "Choose a LoRA made for this model or switch this row off.",
        ),
        (
            Placement((), (), (), (X,)),
            COMPATIBLE,
            "weight 0.5, nothing is applied; 1 text encoder modules are not used, no such CLIP is connected",
        ),
        (Placement((), (), (), ()), COMPATIBLE, "weight 0.5, the file has no modules that these weights are for"),
    ],
)
def test_outcome(placement: Placement, verdict: str, sentence: str) -> None:
    result = outcome(ENTRY, placement, 0.5, 0.5)
    assert (result.verdict, result.sentence) == (verdict, sentence)
    assert str(result) == f"pixel.safetensors: {sentence}"


def test_two_weights_and_unread_tensors() -> None:
    result = outcome(ENTRY, Placement((FITS,), (), (), ()), 0.75, -1, unread=3)
    assert (
        result.sentence
        == "weight model 0.75, clip -1, all 1 modules fit; 3 tensors of the file belong to no LoRA module"
    )
    assert result.unread == 3


def test_sentences_are_bounded() -> None:
    long = module("x" * 1_000_000)
    for placement in (Placement((), (long,), (), ()), Placement((FITS,), (), ((long, "y" * 1_000_000),), ())):
        assert len(outcome(ENTRY, placement, 1, 1).sentence) < 1000


def test_report() -> None:
    assert report([]) == "The stack is empty: the model is unchanged."
    assert report([Outcome(ENTRY, OFF, "off")], ["A note."]) == "A note.\npixel.safetensors: off"
