"""One row of a stack, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..limits import Json
from ..schedule import Schedule
from .region import Region

DEFAULT_WEIGHT = 0.75
"""Model weight of a row that names none, and of the first row that is added by hand."""

BOTH = "both"
POSITIVE, NEGATIVE = "positive", "negative"
CONDITIONINGS = (BOTH, POSITIVE, NEGATIVE)
"""The conditioning that a row acts on: both is the default."""
HIGH, LOW = "high", "low"
EXPERTS = (HIGH, LOW, BOTH)
"""Of models that come as a pair, such as Wan 2.2: the one for high noise, the one for low noise, or both."""


def _no_extra() -> dict[str, Json]:
    return {}


def _no_blocks() -> dict[str, float]:
    return {}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a stack."""

    lora: str
    """The file as ComfyUI lists it (`styles/pixel.safetensors`); or an AIR or a hash if no file is known."""
    on: bool = True
    model: float = DEFAULT_WEIGHT
    """Weight for the diffusion model, -100 … 100."""
    clip: float | None = None
    """Weight for the text encoders, -100 … 100; None means the same as `model`."""
    blocks: Mapping[str, float] = field(default_factory=_no_blocks, hash=False)
    """Factor per block, by a pattern of block names."""
    schedule: str | None = None
    """What `model` is multiplied by over the steps, in the schedule's text form; blank means none."""
    conditioning: str = BOTH
    """Of `CONDITIONINGS`: whether the diffusion model is changed for the positive one, the negative one, or both."""
    expert: str | None = None
    """Of `EXPERTS`: the model of a pair that the row is for; None if the file's name tells it (`models/experts.py`)."""
    sha256: str | None = None
    """Hash of the whole file, 64 hex digits."""
    air: str | None = None
    """The identifier that hosted services know, e.g. `civitai:120096@135931`."""
    triggers: tuple[str, ...] | None = None
    """The trigger words that are meant, at most 64; None means all that are known of the file, () none."""
    extra: Mapping[str, Json] = field(default_factory=_no_extra, hash=False)
    """Keys of the row that this version does not know, verbatim."""
    region: Region | None = None
    """Where in the picture it acts, from the node LoRA Region; no text form has it, JSON neither."""
    _parsed: Schedule | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def clip_weight(self) -> float:
        """The weight that the text encoders get."""
        return self.model if self.clip is None else self.clip

    @property
    def active(self) -> bool:
        """False when the row is off or all its weights are zero: then its file need not exist."""
        return self.on and (self.model != 0 or self.clip_weight != 0)

    @property
    def triple(self) -> tuple[str, float, float]:
        """`(name, model weight, clip weight)`, the row of the common LORA_STACK."""
        return self.lora, self.model, self.clip_weight

    def find_schedule(self) -> Schedule | None:
        """The schedule in the text, None without one; parsed once. Raises `ScheduleError` for other text."""
        if not self.schedule or not self.schedule.strip():
            return None
        if self._parsed is None:
            self.keep_parsed(Schedule.parse(self.schedule))
        return self._parsed

    @property
    def parsed(self) -> Schedule | None:
        """The schedule if it was parsed already; None says nothing."""
        return self._parsed

    def keep_parsed(self, schedule: Schedule) -> None:
        """Keeps what the text was parsed to, so that nobody need parse it again."""
        object.__setattr__(self, "_parsed", schedule)

    def to_json(self) -> dict[str, Json]:
        """The row as JSON data: `lora` and `model` always, the rest if it differs from the default."""
        row: dict[str, Json] = {"lora": self.lora}
        if not self.on:
            row["on"] = False
        row["model"] = self.model
        if self.clip is not None:
            row["clip"] = self.clip
        if self.blocks:
            row["blocks"] = dict(self.blocks)
        for key, default in (
            ("schedule", None),
            ("conditioning", BOTH),
            ("expert", None),
            ("sha256", None),
            ("air", None),
        ):
            value = getattr(self, key)
            if value != default:
                row[key] = value
        if self.triggers is not None:
            row["triggers"] = list(self.triggers)
        return {**row, **self.extra}
