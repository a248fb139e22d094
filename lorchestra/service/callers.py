"""Who calls: the owner, or one of several with tokens and limits of their own, who see their own jobs alone."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import cast

from ..errors import LorchestraError, quoted
from ..limits import Json

MOST_PRIORITY = 1_000_000
_FIELDS = ("token", "most_queued", "priority")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_MOST_CALLERS = 1000


class CallerError(LorchestraError):
    """Callers in the settings that cannot be so; the sentence never shows a token."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One who calls."""

    name: str | None = None
    """None for the owner, who sees everything and publishes."""
    token: str = field(default="", repr=False)
    most_queued: int | None = None
    """Jobs that it may have under way."""
    priority: int | None = None
    """What its jobs have that say none, and the most that they may say."""

    def owns(self, name: str | None) -> bool:
        """Whether it may see what is of a caller of this name, None for the owner."""
        return self.name is None or self.name == name

    def key(self, key: str) -> str:
        """An idempotency key as it is kept: each caller's are its own."""
        return key if self.name is None else f"{self.name}\0{key}"


OWNER = Caller()


def find_caller(said: str, owner: str | None, callers: Iterable[Caller]) -> Caller | None:
    """Whose token this is; every one is compared, in a time that tells nothing of them."""
    sent, found = as_bytes(said), None
    for caller in (Caller(None, owner or ""), *callers):
        is_equal = hmac.compare_digest(sent, as_bytes(caller.token))
        found = caller if is_equal and caller.token else found
    return OWNER if found is not None and found.name is None else found


def read_callers(value: Mapping[str, Json], owner: str | None, shortest: int) -> tuple[Caller, ...]:
    """The callers in the settings; raises `CallerError`. `shortest` is the least length of a token."""
    if value and owner is None:
        raise CallerError('"callers" need a "token" beside theirs, which is the owner\'s: only it publishes')
    if len(value) > _MOST_CALLERS:
        raise CallerError(f"there are {len(value):,} callers; at most {_MOST_CALLERS:,} are known")
    found = tuple(_read(name, data, shortest) for name, data in value.items())
    tokens = [owner, *(caller.token for caller in found)]
    if len(set(tokens)) < len(tokens):
        raise CallerError("two callers have the same token, or one has the owner's; each needs its own")
    return found


def _read(name: str, value: Json, shortest: int) -> Caller:
    if _NAME.fullmatch(name) is None:
        raise CallerError(f"{quoted(name)} is no name of a caller; expected up to 64 of A-Z, a-z, 0-9, _, . and -")
    data = cast("dict[str, Json]", value) if isinstance(value, dict) else {}
    unknown = next((key for key in data if key not in _FIELDS), None)
    if not isinstance(value, dict) or unknown is not None:
        raise CallerError(f"the caller {name} is not an object with {', '.join(_FIELDS)}")
    token, most, priority = (data.get(key) for key in _FIELDS)
    if not isinstance(token, str) or len(token) < shortest:
        raise CallerError(f'the caller {name} needs a "token" of {shortest} characters or more')
    if most is not None and not (type(most) is int and 0 < most <= 1_000_000):
        raise CallerError(f'"most_queued" of the caller {name} is {quoted(most)}; expected a number from 1 to 1000000')
    if priority is not None and not (type(priority) is int and abs(priority) <= MOST_PRIORITY):
        raise CallerError(
            f'"priority" of the caller {name} is {quoted(priority)}; expected a whole number of at most {MOST_PRIORITY}'
        )
    return Caller(name, token, most, priority)


def as_bytes(text: str) -> bytes:
    """As they were sent, where they are no text: servers keep such bytes as halves of characters."""
    return text.encode("utf-8", "surrogatepass")
