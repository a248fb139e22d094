"""LoRAs in parts of the picture: what they add to a layer counts by how much of their mask falls on each token."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from ....lorchestra.apply.live import LiveLayer
from ....lorchestra.apply.region import Picture, RegionError, find_layout, share
from ....lorchestra.sentences import say
from ....lorchestra.stack import Weighted
from ....lorchestra.stack.region import Region
from .layers import MODEL_PREFIX


class Regions:
    """The regions of one stack on one model: of the call that runs now."""

    def __init__(
        self, entries: Sequence[Weighted], model: torch.nn.Module, find_latent: Callable[[], Sequence[int] | None]
    ) -> None:
        """`find_latent` gives the shape of the latent of the run that runs now, if one does."""
        self._find_latent = find_latent
        self._layout = find_layout(model)
        self._by_region: dict[Region | None, list[int]] = {}
        for number, weighted in enumerate(entries):
            self._by_region.setdefault(weighted.entry.region, []).append(number)
        self._regional = frozenset(
            number for region, numbers in self._by_region.items() if region is not None for number in numbers
        )
        self._picture: Picture | None = None
        self._shares: dict[tuple[object, ...], Tensor | float] = {}

    @property
    def are_there(self) -> bool:
        """True if an entry has a region."""
        return len(self._regional) > 0

    def concern(self, used: frozenset[int]) -> bool:
        """True if one of these entries has a region."""
        return not self._regional.isdisjoint(used)

    def see(self, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """A call of the diffusion model with these arguments begins.

        Raises `RegionError` if the call is about a part of the picture only, or has something beside it that is not
        known.
        """
        if self._layout is None or not self._regional:
            return
        latent = self._find_latent()
        x = args[0] if args else kwargs.get("x")
        if not isinstance(x, Tensor) or x.dim() not in (4, 5):
            raise RegionError(say("The latent is neither a picture nor a video. Take the region away."))
        for name in self._layout.refuses:
            if _is_there(kwargs.get(name)):
                raise RegionError(
                    say("Regions are not known for {model} with {name}. Take the region away, or what gives it.",
                        model=self._layout.title, name=name)
                )  # fmt: skip
        if latent is not None and _size(x.shape) != _size(latent):
            raise RegionError(
                say(
                    "The model is called for a part of the picture ({part} of {whole}), and a region is of the whole. "
                    "Use masks instead of areas for conditioning, no tiles and no context windows; or take the region "
                    "away.",
                    part=" × ".join(map(str, _size(x.shape))),
                    whole=" × ".join(map(str, _size(latent))),
                )
            )
        options = cast("Mapping[str, Sequence[object]]", kwargs.get("transformer_options") or {})
        context = kwargs.get("context", args[2] if len(args) > 2 else None)
        self._picture = Picture(
            *x.shape[-2:],
            frames=x.shape[2] if x.dim() == 5 else 1,
            batch=x.shape[0] // max(len(options.get("cond_or_uncond", ())), 1),
            text=context.shape[1] if isinstance(context, Tensor) and context.dim() == 3 else 0,
            beside=tuple(_as_size(one) for one in _tensors(kwargs.get("ref_latents"))),
        )

    def forget(self) -> None:
        """The call is over."""
        self._picture = None

    def added(
        self,
        layer: LiveLayer,
        path: str,
        x: Tensor,
        y: Tensor,
        base: Callable[[Tensor], Tensor],
        weights: Tensor,
        active: Sequence[bool],
    ) -> Tensor:
        """The layer's output with all LoRAs: as `LiveLayer.forward`, for each region by itself."""
        shares = [
            (chosen, self._share(region, path, y))
            for region, numbers in self._by_region.items()
            if region is not None and layer.is_active(chosen := _only(active, numbers))
        ]
        deltas = [
            (layer.delta(x, y, base, weights, chosen), factor)
            for chosen, factor in shares
            if isinstance(factor, Tensor) or factor != 0
        ]
        result = layer(x, y, base, weights, _only(active, self._by_region.get(None, ())))
        for delta, factor in deltas:
            if isinstance(factor, Tensor):
                result = torch.addcmul(result.to(delta.dtype), delta, factor.to(delta.dtype)).to(y.dtype)
            else:
                result = torch.add(result.to(delta.dtype), delta, alpha=factor).to(y.dtype)
        return result

    def _share(self, region: Region, path: str, y: Tensor) -> Tensor | float:
        path = path.removeprefix(f"{MODEL_PREFIX}.")
        if self._layout is None:
            raise RegionError(say("Regions are not known for this model."))
        kind = self._layout.kind(path)
        key = (region, kind, len(y), y.shape[1] if y.dim() == 3 else y.shape[2:], y.dim(), self._picture, y.device)
        found = self._shares.get(key)
        if found is None:
            found = share(region, self._layout, path, y, self._picture)
            found = self._shares[key] = found.to(y.device) if isinstance(found, Tensor) else found
        return found


def _only(active: Sequence[bool], numbers: Sequence[int]) -> tuple[bool, ...]:
    return tuple(is_active and number in numbers for number, is_active in enumerate(active))


def _size(shape: Sequence[int]) -> Sequence[int]:
    """Frames, if there are some, height and width."""
    return tuple(shape[2:])


def _as_size(latent: Tensor) -> tuple[int, int, int]:
    return latent.shape[2] if latent.dim() == 5 else 1, latent.shape[-2], latent.shape[-1]


def _tensors(value: object) -> list[Tensor]:
    return [one for one in cast("Sequence[object]", value or ()) if isinstance(one, Tensor)]


def _is_there(value: object) -> bool:
    return value is not None and not (isinstance(value, (list, tuple)) and not value)
