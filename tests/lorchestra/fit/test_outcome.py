"""What a person reads about each row."""

from __future__ import annotations

import pytest
from support.synthetic import header

from lorchestra.architectures.sites import Site
from lorchestra.fit.outcome import COMPATIBLE, INCOMPATIBLE, OFF, PARTIAL, Outcome, outcome, report
from lorchestra.lora.examined import examine
from lorchestra.models.placing import Placed, Placement
from lorchestra.spelling.modules import Module
from lorchestra.stack import Entry, Stack, Weighted

ENTRY = Entry("pixel.safetensors")


def weighted(model: float, clip: float | None = None) -> Weighted:
    entry = Entry("pixel.safetensors", model=model, clip=clip)
    (found,) = Stack((entry,)).combined({1: "the file"}).values()
    return found


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
    result = outcome(weighted(0.5), placement, None, None)
    assert (result.verdict, result.sentence) == (verdict, sentence)
    assert str(result) == f"pixel.safetensors: {sentence}"


def test_two_weights_and_unread_tensors() -> None:
    leftovers = header(dict.fromkeys(["one", "two", "three"], (1,)))
    examined = examine(leftovers)
    result = outcome(weighted(0.75, -1), Placement((FITS,), (), (), ()), examined, None)
    assert (
        result.sentence
        == "weight model 0.75, clip -1, all 1 modules fit; 3 tensors of the file belong to no LoRA module"
    )
    assert result.unread == 3


def test_sentences_are_bounded() -> None:
    long = module("x" * 1_000_000)
    for placement in (Placement((), (long,), (), ()), Placement((FITS,), (), ((long, "y" * 1_000_000),), ())):
        assert len(outcome(weighted(1), placement, None, None).sentence) < 1000


def test_report() -> None:
    assert report([]) == "The stack is empty: the model is unchanged."
    assert report([Outcome(ENTRY, OFF, "off")], ["A note."]) == "A note.\npixel.safetensors: off"
