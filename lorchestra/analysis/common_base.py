"""The model on which LoRAs are compared if none is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..architectures.names import family_titles
from ..errors import LorchestraError
from ..models.base import Base, base_by_name


def common_base(made_for: Mapping[str, Sequence[str]], hint: str) -> Base:
    """The base of the architecture that `common_architecture` finds; errors as there."""
    name = common_architecture(made_for, hint)
    base = base_by_name(name)
    if base is None:
        raise LorchestraError(f"nothing is known of the layers of {name}; {hint}")
    return base


def common_architecture(made_for: Mapping[str, Sequence[str]], hint: str, what: str = "compared on") -> str:
    """The id of the likeliest architecture that all LoRAs are made for.

    `made_for` is a LoRA's name → the ids of its architectures, the likeliest first, of one LoRA at least. `hint` is how
    a model is named here: `connect the model`. Raises `LorchestraError`, in words, if there is no such architecture.
    """
    lost = next((name for name, ids in made_for.items() if not ids), None)
    if lost is not None:
        raise LorchestraError(f"{lost}: the model that it is for is not known; {hint}")
    first, named = next(iter(made_for.items()))
    common = list(named)
    for name, ids in made_for.items():
        common = [architecture for architecture in common if architecture in ids]
        if not common:
            raise LorchestraError(
                f"{first} is for {_titles(named)}, {name} for {_titles(ids)}. LoRAs are {what} one model: leave "
                f"one out, or {hint}"
            )
    return common[0]


def _titles(architectures: Sequence[str]) -> str:
    return " or ".join(family_titles(architectures, 2))
