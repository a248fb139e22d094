"""What a caller may do: publish, ask for a priority, and send so many jobs more."""

from __future__ import annotations

from .callers import Caller
from .http import Refusal


def require_owner(caller: Caller, what: str) -> None:
    """Raises `Refusal` (403) for all but the owner."""
    if caller.name is not None:
        raise Refusal(403, "forbidden", f"{what} is for the owner's token; this is the token of {caller.name}.")


def require_priority(caller: Caller, priority: int | None) -> int | None:
    """The priority of a job that asks for one or for none; raises `Refusal` (403) for one above the caller's."""
    if caller.priority is None or priority is None:
        return caller.priority if priority is None else priority
    if priority > caller.priority:
        said = f"jobs of {caller.name} have the priority {caller.priority} at most, and {priority} was asked for."
        raise Refusal(403, "forbidden", said, "priority")
    return priority


def require_room(caller: Caller, under_way: int, count: int = 1) -> None:
    """Raises `Refusal` (429 `queue_full`) if so many more jobs are too many beside those that are under way."""
    if caller.most_queued is None or under_way + count <= caller.most_queued:
        return
    more = "" if count == 1 else f", and {count:,} more were sent"
    raise Refusal(
        429, "queue_full", f"{caller.name} has {under_way:,} jobs under way{more}; it may have {caller.most_queued:,} "
        "at one time. Try again when some have ended.", headers={"Retry-After": "5"},
    )  # fmt: skip
