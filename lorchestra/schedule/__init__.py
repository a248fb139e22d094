"""Weights that change over the steps, as frozen values: no torch, no ComfyUI.

A `Schedule` is a factor on a row's model weight; `at(moment)` says what it is, `changes(steps)` when it changes.
`Steps` knows where a sampler is: its docstring defines progress. `text` has the text form, `presets` the named ones,
`loractl` and `prompt_control` read what others write, `data` is JSON, `plot` draws.
"""

from __future__ import annotations

from .curve import Curve, Keyframe
from .easing import EASINGS
from .presets import PRESETS
from .product import Schedule
from .steps import Moment, Steps

__all__ = ["EASINGS", "PRESETS", "Curve", "Keyframe", "Moment", "Schedule", "Steps"]
