"""The text that AUTOMATIC1111, Forge, Fooocus and Civitai write into a picture ("infotext"), both ways.

Sources: AUTOMATIC1111/stable-diffusion-webui `modules/processing.py` (`create_infotext`), `modules/infotext_utils.py`
(`quote`, `parse_generation_parameters`) and `extensions-builtin/Lora/extra_networks_lora.py` (`Lora hashes`: the first
12 digits of the SHA-256 of the tensors, which Civitai calls AutoV3; `:` and `,` are taken out of the names);
civitai/civitai `src/utils/metadata/automatic.metadata.ts` (`Hashes`, by `lora:name`, the first 10 digits of the SHA-256
of the file, AutoV2; `Civitai resources`); lllyasviel/Fooocus `modules/meta_parser.py` (`Lora weights`; its own scheme
is JSON with `loras: [[name, weight, hash]]`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import cast

from ..errors import DialectError, JsonError, StackError, quoted
from ..files.json_text import read_json
from ..limits import MAX_PROMPT, Json
from ..stack import Entry, Stack
from ..stack.wanted import HASH
from .a1111 import read as read_prompt
from .a1111 import write as write_tags
from .civitai import read as read_resources
from .dialect import CLIP, Dialect, Loss, Reading, Writing, fitted
from .fields import checked, fields_of, find_hash, kept_hash, left_behind, list_of, weight
from .names import stem
from .prompt import has_tags
from .tag import ORDERS

LORA_HASHES, LORA_WEIGHTS, HASHES, RESOURCES = "Lora hashes", "Lora weights", "Hashes", "Civitai resources"
_NEGATIVE = "Negative prompt:"
_STEPS = re.compile(r"^Steps: \d+(?:,|[ \t]*$)", re.MULTILINE | re.ASCII)
_OURS = re.compile(rf"^(?:{LORA_HASHES}|{LORA_WEIGHTS}|{HASHES}|{RESOURCES}): ", re.MULTILINE)
_KEY = re.compile(r"\s*(\w[\w \-/]+):\s*")  # Lora hashes:
_TEXT = re.compile(r'"(?:\\.|[^\\"])*"', re.DOTALL)
_PLAIN = re.compile(r"[^,]*")
_SIGN = re.compile(r'"(?:\\.|[^\\"])*"|[\[\]{}]', re.DOTALL)


def is_infotext(text: str) -> bool:
    """True for a text with a line of parameters, which begins with `Steps:`, or has hashes of LoRAs or resources."""
    return _STEPS.search(text) is not None or _OURS.search(text) is not None


def read(text: Json, *, order: str = ORDERS[0]) -> Reading:
    """The stack of an infotext: the tags of its prompt, each with the hash that is said for its name.

    Where the prompt has no tags: `Civitai resources`; `Lora weights` are taken in any case. A hash is kept in
    `Entry.extra` as `hash`, in small letters. What else the text says is lost. `order` is for the tags, as in
    `a1111.read`. Raises `StackError` as that does, and for resources that cannot be read.
    """
    if is_fooocus(text):
        return _read_fooocus(text)
    if not isinstance(text, str):
        raise DialectError(f"an infotext is text, not {quoted(text)}")
    if len(text) > MAX_PROMPT:
        raise StackError(f"the text has {len(text):,} characters; at most {MAX_PROMPT:,} are read")
    if text.lstrip()[:1] == "{" and is_fooocus(data := _find_json(text)):
        return _read_fooocus(data)
    prompt, negative, line = _parted(text)
    said = dict(_parameters(line))
    reading = read_prompt(prompt, order=order)
    losses = list(reading.losses)
    if has_tags(negative):
        losses.append(Loss(None, "negative prompt", "tags in it are words; no LoRA is meant"))
    hashes = _hashes(said)
    entries = list(reading.stack.entries)
    used = {_key(entry.lora) for entry in entries}
    entries += _weighted(said, used, len(entries))
    if not entries and RESOURCES in said:
        resources = read_resources(_json(said[RESOURCES], RESOURCES))
        entries += resources.stack.entries
        losses += resources.losses
    elif RESOURCES in said:
        losses.append(Loss(None, RESOURCES, "the LoRAs of the prompt are taken, not these"))
    rows: list[Entry] = []
    for entry in entries:
        digits = hashes.pop(_key(entry.lora), None)
        rows.append(entry if digits is None else replace(entry, extra={**entry.extra, HASH: digits}))
    if hashes:
        names = quoted(", ".join(hashes), 200)
        losses.append(Loss(None, LORA_HASHES, f"these have a hash and no weight, so they are left out: {names}"))
    left = [key for key in said if key not in (LORA_HASHES, LORA_WEIGHTS, HASHES, RESOURCES)]
    if negative:
        left.insert(0, "negative prompt")
    if left:
        losses.append(
            Loss(None, "parameters", f"only the LoRAs are taken; left behind: {quoted(', '.join(left), 200)}")
        )
    return Reading(Stack(tuple(rows)), tuple(losses))


def is_fooocus(value: Json) -> bool:
    """True for Fooocus' own scheme: `{"full_prompt": […], "loras": [["pixel", 0.7, "0123456789"]]}`."""
    data = fields_of(value)
    return "full_prompt" in data and isinstance(data.get("loras"), list)


def _read_fooocus(value: Json) -> Reading:
    data = fields_of(value)
    losses = list(left_behind(data, ("loras",)))
    entries: list[Entry] = []
    for row, said in enumerate(list_of(data["loras"], "loras"), 1):
        path = f"loras[{row - 1}]"
        if not isinstance(said, list) or len(cast("list[Json]", said)) != 3 or not isinstance(said[0], str):
            raise DialectError(f"it is {quoted(cast(object, said))}; expected a name, a weight and a hash", row, path)
        name, number, digits = cast("list[Json]", said)
        known = find_hash(digits)
        extra: dict[str, Json] = {} if known is None else {HASH: known}
        entries.append(checked(Entry(name, model=weight(number, f"{path}[1]", row), extra=extra), row, path))
    return Reading(Stack(tuple(entries)), tuple(losses))


def _find_json(text: str) -> Json:
    """The data of a text that is JSON; None for any other."""
    try:
        return read_json(text)
    except JsonError:
        return None


def _parted(text: str) -> tuple[str, str, str]:
    """Prompt, negative prompt, and the line of parameters."""
    begins = [found.start() for found in _STEPS.finditer(text)] or [found.start() for found in _OURS.finditer(text)]
    above, below = (text[: begins[-1]], text[begins[-1] :]) if begins else (text, "")
    line = below.partition("\n")[0]
    prompt, mark, negative = ("\n" + above).partition("\n" + _NEGATIVE)
    return prompt.strip(), negative.strip() if mark else "", line


def _parameters(line: str) -> Iterator[tuple[str, str]]:
    """(name, value) of a line `Steps: 20, Sampler: Euler, …`; JSON as it stands, other texts without quotes."""
    at = 0
    while at < len(line):
        key = _KEY.match(line, at)
        if key is None:
            at = line.find(",", at) + 1 or len(line)
            continue
        at = key.end()
        sign = line[at : at + 1]
        end = _end_of_json(line, at) if sign in ("[", "{") else None
        quoted_ = _TEXT.match(line, at) if sign == '"' else None
        if end is not None:
            value = line[at:end]
        elif quoted_ is not None:
            end = quoted_.end()
            value = _unquoted(quoted_[0])
        else:
            plain = cast("re.Match[str]", _PLAIN.match(line, at))
            end, value = plain.end(), plain[0].strip()
        yield key[1], value
        at = line.find(",", end) + 1 or len(line)


def _end_of_json(line: str, start: int) -> int | None:
    """Where a list or an object ends; None if it does not."""
    depth = 0
    for sign in _SIGN.finditer(line, start):
        if sign[0] in "[{":
            depth += 1
        elif sign[0] in "]}":
            depth -= 1
            if depth == 0:
                return sign.end()
    return None


def _unquoted(text: str) -> str:
    try:
        found = json.loads(text, strict=False)
    except ValueError:
        return text[1:-1]
    return found if isinstance(found, str) else text


def _json(text: str, name: str) -> Json:
    try:
        return read_json(text, f'"{name}"')
    except JsonError as error:
        raise DialectError(str(error)) from error


def _hashes(said: Mapping[str, str]) -> dict[str, str]:
    """Name, as `_key` has it → digits."""
    found: dict[str, str] = {}
    if HASHES in said:
        for name, digits in fields_of(_find_json(said[HASHES])).items():  # older programs write other things there
            kind, _, lora = str(name).partition(":")
            if kind.lower() in ("lora", "lyco") and (known := find_hash(digits)):
                found[_key(lora)] = known
    for name, digits in _pairs(said.get(LORA_HASHES, "")):
        if known := find_hash(digits):
            found[_key(name)] = known
    return found


def _weighted(said: Mapping[str, str], used: set[str], before: int) -> Iterator[Entry]:
    """The rows of Fooocus, which writes the weights beside the prompt."""
    row = before
    for name, value in _pairs(said.get(LORA_WEIGHTS, "")):
        if not name or _key(name) in used:
            continue
        row += 1
        path = f"{LORA_WEIGHTS}.{name}"
        try:
            number = float(value) if len(value) < 40 and "_" not in value else None
        except ValueError:
            number = None
        if number is None:
            raise DialectError(f"it is {quoted(value)}; expected a number", row, path)
        yield checked(Entry(name, model=weight(number, path, row)), row, path)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """(name, value) of `name: value, other: value`."""
    for part in text.split(",") if text else ():
        name, colon, value = part.rpartition(":")
        if colon:
            yield name.strip(), value.strip()


def _key(name: str) -> str:
    """A name as `Lora hashes` has it: without the two signs that part them, and without ending."""
    return _plain(name).removesuffix(".safetensors")


def _plain(name: str) -> str:
    return name.replace(":", "").replace(",", "")


def write(stack: Stack, *, clamp: bool = False) -> Writing:
    """The active rows as tags, and a line with the hashes that are known, where one is: there is no run to be told of.

    Raises `DialectError` as `a1111.write` does.
    """
    found = write_tags(stack)
    losses: list[Loss] = []
    loras: list[UsedLora] = []
    files: dict[str, str] = {}
    for row, entry in stack.rows:
        if not entry.active:
            continue
        fitted(entry.model, "", entry, row, DIALECT, clamp, losses)
        digits, name = kept_hash(entry), stem(entry.lora)
        if digits is not None and len(digits) == 12:
            loras.append(UsedLora(name, entry.model, autov3=digits))
        elif digits is not None and len(digits) == 10:
            files[name] = digits
        if entry.sha256 is not None:
            files[name] = entry.sha256.lower()[:10]
    losses += [_told(loss, stack) for loss in found.losses if not (loss.field == HASH and _is_told(stack, loss.row))]
    parts: dict[str, str] = {}
    if loras:
        parts[LORA_HASHES] = _lora_hashes(loras)
    if files:
        parts[HASHES] = json.dumps({f"lora:{name}": digits for name, digits in files.items()}, ensure_ascii=False)
    line = ", ".join(f"{key}: {quote(value)}" for key, value in parts.items())
    text = f"{found.text}\n{line}".strip()
    return Writing(text, text, tuple(losses))


def _is_told(stack: Stack, row: int | None) -> bool:
    """Whether the hash that a row keeps is one that an infotext has a place for; what the whole stack has is none."""
    if row is None:
        return False
    entry = stack.entries[row - 1]
    digits = kept_hash(entry) or ""
    return len(digits) == 12 or (len(digits) == 10 and (entry.sha256 or digits).lower().startswith(digits))


def _told(loss: Loss, stack: Stack) -> Loss:
    if loss.field != "sha256":
        return loss
    return replace(loss, reason="an infotext has the first 10 digits of a hash; the other ones are left out")


@dataclass(frozen=True, slots=True)
class UsedLora:
    """A LoRA of a run."""

    name: str
    """The file's name without folder and ending, as a tag has it."""
    model: float = 1.0
    clip: float | None = None
    """The weight of the text encoders, if it is another one."""
    autov3: str | None = None
    """The first 12 digits of the SHA-256 of the tensors (`files/hashes.py`), or all of them; None if it is not known.
    """


@dataclass(frozen=True, slots=True)
class Run:
    """What an infotext says of a run. None is left out."""

    prompt: str
    steps: int
    sampler: str
    """AUTOMATIC1111's name for it, see `sampler_name`."""
    cfg: float
    seed: int
    width: int
    height: int
    negative: str = ""
    schedule: str | None = None
    """AUTOMATIC1111's name for the scheduler ("Schedule type"), see `schedule_name`."""
    model: str | None = None
    """The checkpoint's name, without folder and ending."""
    model_hash: str | None = None
    """The first 10 digits of the checkpoint's SHA-256, or all of them."""
    denoise: float | None = None
    clip_skip: int | None = None
    loras: tuple[UsedLora, ...] = ()
    """Those whose tags the prompt does not hold are added to it."""
    more: tuple[tuple[str, str], ...] = ()
    """What else is said, in its order, before the version."""
    version: str | None = None


def write_infotext(run: Run) -> str:
    """The run as AUTOMATIC1111 writes it into a picture: prompt, negative prompt, and one line of parameters.

    Source: `modules/processing.py`, `create_infotext`, for the order, and `extra_networks_lora.py` for `Lora hashes`.
    """
    said: dict[str, str | None] = {
        "Steps": str(run.steps),
        "Sampler": run.sampler,
        "Schedule type": run.schedule,
        "CFG scale": _number(run.cfg),
        "Seed": str(run.seed),
        "Size": f"{run.width}x{run.height}",
        "Model hash": run.model_hash.lower()[:10] if run.model_hash else None,
        "Model": _plain(run.model) if run.model else None,
        "Denoising strength": None if run.denoise is None else _number(run.denoise),
        "Clip skip": str(run.clip_skip) if run.clip_skip is not None and run.clip_skip > 1 else None,
        LORA_HASHES: _lora_hashes(run.loras) or None,
        **dict(run.more),
        "Version": run.version,
    }
    line = ", ".join(
        key if key == value else f"{key}: {quote(value)}" for key, value in said.items() if value is not None
    )
    prompt = run.prompt
    for lora in run.loras:
        if f"<lora:{lora.name}:" not in prompt and f"<lora:{lora.name}>" not in prompt:
            prompt = f"{prompt} {_tag(lora)}" if prompt else _tag(lora)
    negative = f"\n{_NEGATIVE} {run.negative}" if run.negative else ""
    return f"{prompt}{negative}\n{line}".strip()


def quote(text: str) -> str:
    """A value as the line of parameters holds it: in quotes if it has a comma, a colon or a line's end."""
    return json.dumps(text, ensure_ascii=False) if any(sign in text for sign in ",\n:") else text


def _lora_hashes(loras: tuple[UsedLora, ...] | list[UsedLora]) -> str:
    return ", ".join(f"{_plain(lora.name)}: {lora.autov3.lower()[:12]}" for lora in loras if lora.autov3 and lora.name)


def _tag(lora: UsedLora) -> str:
    if lora.clip is None or lora.clip == lora.model:
        return f"<lora:{lora.name}:{_number(lora.model)}>"
    return f"<lora:{lora.name}:te={_number(lora.clip)}:unet={_number(lora.model)}>"


def _number(value: float) -> str:
    return repr(value).removesuffix(".0")


_SAMPLERS = {
    "euler": "Euler", "euler_ancestral": "Euler a", "heun": "Heun", "dpm_2": "DPM2", "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS", "dpm_fast": "DPM fast", "dpm_adaptive": "DPM adaptive", "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE", "dpmpp_sde_gpu": "DPM++ SDE", "dpmpp_2m": "DPM++ 2M", "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE", "dpmpp_3m_sde": "DPM++ 3M SDE", "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "lcm": "LCM", "ddim": "DDIM", "uni_pc": "UniPC", "uni_pc_bh2": "UniPC", "ddpm": "DDPM",
}  # fmt: skip
"""ComfyUI's name → AUTOMATIC1111's (`modules/sd_samplers_kdiffusion.py`, `sd_samplers_timesteps.py`)."""
_SCHEDULES = {
    "karras": "Karras", "exponential": "Exponential", "sgm_uniform": "SGM Uniform", "simple": "Simple",
    "normal": "Normal", "ddim_uniform": "DDIM", "beta": "Beta", "kl_optimal": "KL Optimal",
}  # fmt: skip
"""ComfyUI's name → AUTOMATIC1111's (`modules/sd_schedulers.py`)."""


def sampler_name(name: str) -> str:
    """AUTOMATIC1111's name for a sampler of ComfyUI's; the same name where it has none."""
    return _SAMPLERS.get(name, name)


def schedule_name(name: str) -> str:
    """AUTOMATIC1111's name for a scheduler of ComfyUI's; the same name where it has none."""
    return _SCHEDULES.get(name, name)


DIALECT = Dialect(
    "infotext",
    "an infotext",
    ".txt",
    read,
    write,
    read_options=("order",),
    write_options=("clamp",),
    keeps=(CLIP,),
    recognises=is_fooocus,
)
