"""LoRAs in a part of the picture: what each layer sees of it, and how much of a mask falls on each of its tokens.

A layer's tokens must be known, not guessed. `layouts.py` says for each kind of model which layers see the picture and
in what order its tokens stand, `picture.py` what a call of the model is about, and `shares.py` scales masks to the grid
of a layer. A call whose tokens are not as many as expected is an error in words, never a wrong picture.
"""

from .layouts import LAYOUTS, Layout, find_layout
from .picture import Grid, Picture, RegionError
from .shares import share, unknown_layer

__all__ = ["LAYOUTS", "Grid", "Layout", "Picture", "RegionError", "find_layout", "share", "unknown_layer"]
