"""What other tools wrote beside a LoRA file: preview image, title, trigger words, recommended weight, notes, hash, AIR.

All of it is hearsay, and none of it is trusted: reads are bounded, a file that is no JSON says nothing, and
descriptions come as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from ..errors import FileProblem, JsonError
from ..files.hashes import find_hash
from ..files.json_text import read_json
from ..files.opening import is_file, read_small
from ..limits import WEIGHT_LIMIT
from ..lora.metadata import shorten
from .own_sidecar import OWN_SUFFIX
from .plaintext import plain, tidy

MAX_JSON = 2_000_000
"""Bytes of a sidecar; larger ones are not read."""
MAX_TEXT = 20_000
"""Bytes of a `.txt`; larger ones are no notes."""
MAX_IMAGE = 32_000_000
"""Bytes of a preview image."""
_MOST_WORDS = 64

IMAGES: tuple[tuple[str, str, Callable[[bytes], bool]], ...] = (
    (".png", "image/png", lambda start: start.startswith(b"\x89PNG\r\n\x1a\n")),
    (".jpg", "image/jpeg", lambda start: start.startswith(b"\xff\xd8\xff")),
    (".jpeg", "image/jpeg", lambda start: start.startswith(b"\xff\xd8\xff")),
    (".webp", "image/webp", lambda start: start[:4] == b"RIFF" and start[8:12] == b"WEBP"),
    (".gif", "image/gif", lambda start: start.startswith((b"GIF87a", b"GIF89a"))),
    (".avif", "image/avif", lambda start: start[4:12] in (b"ftypavif", b"ftypavis")),
)
"""Ending of a preview → its media type and the test of its first bytes. No SVG: that is a program."""

VIDEOS: tuple[tuple[str, str, Callable[[bytes], bool]], ...] = (
    (".mp4", "video/mp4", lambda start: start[4:8] == b"ftyp"),
    (".webm", "video/webm", lambda start: start.startswith(b"\x1aE\xdf\xa3")),
)
"""The same for previews that move."""
MAX_VIDEO = 64_000_000
"""Bytes of a preview video."""

PREVIEWS = tuple(f"{middle}{suffix}" for middle in (".preview", "") for suffix, _, _ in IMAGES)
"""Endings of preview images after a LoRA's name, the first that is there wins: `pixel.preview.png`, `pixel.jpg`."""

NUMBERED = re.compile(rf"(.+)[._][0-9]{{1,2}}(?:{'|'.join(re.escape(suffix) for suffix, _, _ in IMAGES)})", re.DOTALL)
"""A name that may be one of several images of a LoRA, which is its first group: `pixel.1.png`, `pixel_2.webp`."""
_LORAS = (".safetensors", ".sft", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
"""Endings of LoRA files as ComfyUI lists them; one of that name has its image itself."""
_MOST_NUMBERED = 50
_GAP = 2
"""Numbers in a row that are not there, after which no more are looked for."""

MOVING = tuple(f"{middle}{suffix}" for middle in (".preview", "") for suffix, _, _ in VIDEOS)
"""The same of videos."""


@dataclass(frozen=True, slots=True)
class Sidecars:
    """What is known of a LoRA from the files beside it; None and empty if nothing is."""

    title: str | None = None
    triggers: tuple[str, ...] = ()
    weight: float | None = None
    """The recommended model weight."""
    weight_range: tuple[float, float] | None = None
    """The weights that are said to work."""
    clip: float | None = None
    """The recommended weight for text encoders, where it is another."""
    negative: str | None = None
    """Words for the negative prompt."""
    notes: str | None = None
    """The user's own."""
    description: str | None = None
    """The author's, as plain text."""
    base_model: str | None = None
    """In the words of the site: `Pony`, `Flux.1 D`."""
    sha256: str | None = None
    """Of the whole file, in small letters."""
    hashes: tuple[str, ...] = ()
    """Other hashes of it, of any kind: AutoV1, AutoV2, AutoV3, BLAKE3, CRC32."""
    air: str | None = None
    """`civitai:120096@135931`."""
    tags: tuple[str, ...] = ()
    nsfw: bool | None = None
    """Whether its pictures are not safe for work, in the words of the site: from R on."""
    favourite: bool | None = None
    sources: tuple[str, ...] = ()
    """Names of the files that this comes from."""


def find_preview(path: str | Path, listed: Collection[str] | None = None) -> str | None:
    """The path of the preview image beside a LoRA file; None without one. `listed` saves asking the disk."""
    path = Path(path)

    def is_there(name: str) -> bool:
        return name in listed if listed is not None else is_file(path.with_name(name))

    names = (path.stem + suffix for suffix in PREVIEWS)
    name = next(filter(is_there, names), None) or next(find_numbered(path.stem, is_there), None)
    return name and str(path.with_name(name))


def find_previews(path: str | Path) -> tuple[str, ...]:
    """The paths of all previews beside a LoRA file: images first, those with a number after the others, then videos."""
    path = Path(path)

    def is_there(name: str) -> bool:
        return is_file(path.with_name(name))

    images, videos = (filter(is_there, (path.stem + end for end in ends)) for ends in (PREVIEWS, MOVING))
    return tuple(str(path.with_name(name)) for name in (*images, *find_numbered(path.stem, is_there), *videos))


def find_numbered(stem: str, is_there: Callable[[str], bool]) -> Iterator[str]:
    """The names of the images with a number that belong to a LoRA, by number: `pixel.1.png`, `pixel_2.webp`.

    Where another LoRA is called `pixel_2`, its image is its own. Few names are asked for: the first numbers, and as
    long as some are there, the next.
    """
    missing = 0
    for number in range(_MOST_NUMBERED):
        found = [
            name
            for whole in (f"{stem}.{number}", f"{stem}_{number}")
            for suffix, _, _ in IMAGES
            if is_there(name := whole + suffix) and not any(is_there(whole + ending) for ending in _LORAS)
        ]
        yield from found
        missing = 0 if found or number == 0 else missing + 1
        if missing == _GAP:
            return


def is_video(path: str | Path) -> bool:
    """Whether a preview's name says that it is one of `VIDEOS`."""
    return str(path).lower().endswith(tuple(suffix for suffix, _, _ in VIDEOS))


def read_image(path: str | Path) -> tuple[bytes, str] | None:
    """(bytes, media type) of an image; None if it is none of `IMAGES`, too large, or cannot be read.

    The type is that of its bytes, whatever its name says.
    """
    data = _read(path, MAX_IMAGE)
    return None if data is None else next(((data, kind) for _, kind, test in IMAGES if test(data[:16])), None)


def read_preview(path: str | Path) -> tuple[bytes, str] | None:
    """The same for an image or one of `VIDEOS`."""
    if not is_video(path):
        return read_image(path)
    data = _read(path, MAX_VIDEO)
    return None if data is None else next(((data, kind) for _, kind, test in VIDEOS if test(data[:16])), None)


def read_sidecars(path: str | Path, listed: Collection[str] | None = None) -> Sidecars:
    """All that the files beside a LoRA file say; where two say different things, the user's own come first.

    `listed` are the names of the files in its folder, which saves asking the disk for each. Never raises.
    """
    path = Path(path)
    found: list[Sidecars] = []
    for suffix, read in _READERS:
        file = path.with_name(path.stem + suffix)
        if listed is not None and file.name not in listed:
            continue
        data = _read(file, MAX_TEXT if suffix == ".txt" else MAX_JSON)
        result = read(data) if data is not None else None
        if result is not None and result != Sidecars():
            found.append(replace(result, sources=(file.name,)))
    return _merged(found)


def _merged(found: Iterable[Sidecars]) -> Sidecars:
    merged = Sidecars()
    for one in found:
        sources = (*merged.sources, *one.sources)
        said = {item.name: getattr(one, item.name) for item in fields(Sidecars)}
        merged = replace(merged, **{key: value for key, value in said.items() if getattr(merged, key) in (None, ())})
        merged = replace(merged, sources=sources)
    return merged


def _read(path: str | Path, limit: int) -> bytes | None:
    """The bytes of a regular file of at most `limit`; None for anything else."""
    try:
        return read_small(path, limit)
    except FileProblem:  # a sidecar that cannot be read says nothing
        return None


def _object(data: bytes) -> Mapping[str, Any] | None:
    try:
        value = read_json(data.decode("utf-8-sig", "replace"), size=MAX_JSON)
    except JsonError:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _civitai_info(data: bytes) -> Sidecars | None:
    """`.civitai.info`: a model version as Civitai's API gives it."""
    found = _object(data)
    return None if found is None else _civitai(found)


def _civitai(version: Mapping[str, Any]) -> Sidecars:
    model = _mapping(version.get("model"))
    name, title = _line(version.get("name")), _line(model.get("name"))
    described = [_plain(item) for item in (version.get("description"), model.get("description"))]
    return Sidecars(
        title=f"{title} ({name})" if title and name and name != title else title or name,
        triggers=_words(version.get("trainedWords")),
        description="\n\n".join(text for text in described if text) or None,
        base_model=_line(version.get("baseModel")),
        sha256=_sha256(_hashes_of_files(version.get("files")).get("SHA256")),
        hashes=_other_hashes(_hashes_of_files(version.get("files"))),
        air=_air(version.get("modelId"), version.get("id")),
        tags=_list(model.get("tags")),
        nsfw=_nsfw(version, model),
    )


_FROM_R_ON = 4
"""Civitai's level: 1 is PG, 2 PG-13, 4 R, 8 X, 16 XXX."""


def _nsfw(version: Mapping[str, Any], model: Mapping[str, Any]) -> bool | None:
    """Of the first picture, which is the one that tools put beside the file; else of the model."""
    first = _mapping(next(iter(_items(version.get("images"))), None))
    level, word = first.get("nsfwLevel"), first.get("nsfw")
    if type(level) is int:
        return level >= _FROM_R_ON
    if isinstance(word, str):  # of older answers
        return word in ("Mature", "X")
    said = word if isinstance(word, bool) else model.get("nsfw")
    return said if isinstance(said, bool) else None


def _lora_manager(data: bytes) -> Sidecars | None:
    """`.metadata.json` of ComfyUI-Lora-Manager; its `usage_tips` is JSON in a text: `{"strength": 0.8}`."""
    found = _object(data)
    if found is None:
        return None
    civitai = _civitai(_mapping(found.get("civitai")))
    tips = found.get("usage_tips")
    tips = _mapping(tips) or (_object(tips[:MAX_TEXT].encode("utf-8", "replace")) if isinstance(tips, str) else {})
    tips = tips or {}
    low, high = _weight(tips.get("strength_min")), _weight(tips.get("strength_max"))
    return Sidecars(
        title=_line(found.get("model_name")) or civitai.title,
        triggers=_words(found.get("trainedWords")) or civitai.triggers,
        weight=_weight(tips.get("strength")),
        weight_range=(low, high) if low is not None and high is not None and low < high else None,
        clip=_weight(tips.get("clip_strength", tips.get("clipStrength"))),
        notes=_plain(found.get("notes")),
        description=_plain(found.get("modelDescription")) or civitai.description,
        base_model=_line(found.get("base_model")) or civitai.base_model,
        sha256=_sha256(found.get("sha256")) or civitai.sha256,
        hashes=_other_hashes({"AutoV3": found.get("autov3")}) or civitai.hashes,
        air=civitai.air,
        tags=_list(found.get("tags")) or civitai.tags,
        nsfw=level >= _FROM_R_ON if type(level := found.get("preview_nsfw_level")) is int else civitai.nsfw,
        favourite=found.get("favorite") is True or None,
    )


def _a1111(data: bytes) -> Sidecars | None:
    """`.json` of AUTOMATIC1111 and Forge; a preferred weight of 0 means none."""
    found = _object(data)
    if found is None:
        return None
    base = _line(found.get("sd version"))
    weight = _weight(found.get("preferred weight"))
    return Sidecars(
        triggers=_words([found.get("activation text")]),
        weight=weight or None,
        negative=_plain(found.get("negative text")),
        notes=_plain(found.get("notes")),
        description=_plain(found.get("description")),
        base_model=base if base != "Unknown" else None,
        sha256=_sha256(found.get("sha256")),
        air=_air(found.get("modelId"), found.get("modelVersionId")),
    )


def _stability_matrix(data: bytes) -> Sidecars | None:
    """`.cm-info.json` of StabilityMatrix."""
    found = _object(data)
    if found is None:
        return None
    return Sidecars(
        title=_line(found.get("UserTitle")) or _line(found.get("ModelName")),
        triggers=_words(found.get("TrainedWords")),
        description=_plain(found.get("ModelDescription")),
        base_model=_line(found.get("BaseModel")),
        sha256=_sha256(_mapping(found.get("Hashes")).get("SHA256")),
        hashes=_other_hashes(_mapping(found.get("Hashes"))),
        air=_air(found.get("ModelId"), found.get("VersionId")),
        tags=_list(found.get("Tags")),
        nsfw=nsfw if isinstance(nsfw := found.get("Nsfw"), bool) else None,
    )


def _swarm(data: bytes) -> Sidecars | None:
    """`.swarm.json` of SwarmUI: the fields of the metadata that it shows."""
    found = _object(data)
    if found is None:
        return None
    found = {str(key).removeprefix("modelspec."): value for key, value in found.items()}
    return Sidecars(
        title=_line(found.get("title")),
        triggers=_words([found.get("trigger_phrase")]),
        notes=_plain(found.get("usage_hint")),
        description=_plain(found.get("description")),
    )


def _rgthree(data: bytes) -> Sidecars | None:
    """`.safetensors.rgthree-info.json` of rgthree-comfy; words that are but tags of the training do not count."""
    found = _object(data)
    if found is None:
        return None
    civitai = _civitai(_mapping(_mapping(found.get("raw")).get("civitai")))
    words = [_mapping(item) for item in _items(found.get("trainedWords"))]
    low, high = _weight(found.get("strengthMin")), _weight(found.get("strengthMax"))
    return Sidecars(
        title=_line(found.get("name")) or civitai.title,
        triggers=_words([word.get("word") for word in words if word.get("user") or word.get("civitai")]),
        weight_range=(low, high) if low is not None and high is not None and low < high else None,
        notes=_plain(found.get("userNote")),
        base_model=_line(found.get("baseModel")) or civitai.base_model,
        sha256=_sha256(found.get("sha256")) or civitai.sha256,
        hashes=civitai.hashes,
        air=civitai.air,
        tags=_list(found.get("userTags")) or civitai.tags,
    )


def _text(data: bytes) -> Sidecars | None:
    """`.txt`: whatever was written down."""
    return Sidecars(notes=_plain(data.decode("utf-8-sig", "replace")))


def _own(data: bytes) -> Sidecars | None:
    """`.lorchestra.json`, which people write in our library: see `own_sidecar`."""
    found = _object(data)
    if found is None:
        return None
    favourite = found.get("favourite")
    return Sidecars(
        triggers=_words(found.get("trigger_words")),
        weight=_weight(found.get("weight")),
        notes=_plain(found.get("notes")),
        favourite=favourite if isinstance(favourite, bool) else None,
    )


_READERS: tuple[tuple[str, Callable[[bytes], Sidecars | None]], ...] = (
    (OWN_SUFFIX, _own),
    (".metadata.json", _lora_manager),
    (".json", _a1111),
    (".civitai.info", _civitai_info),
    (".cm-info.json", _stability_matrix),
    (".swarm.json", _swarm),
    (".safetensors.rgthree-info.json", _rgthree),
    (".txt", _text),
)
"""All sidecars: ours before all others, and those that users write themselves before sites'.

To add one: a function and a row with a test."""

SIDECARS = tuple(suffix for suffix, _ in _READERS)
"""Endings of sidecars after a LoRA's name: `pixel.civitai.info`."""


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _line(value: Any) -> str | None:
    return shorten(tidy(value, 400)) or None if isinstance(value, str) else None


def _plain(value: Any) -> str | None:
    return plain(value) or None if isinstance(value, str) else None


def _items(value: Any) -> list[Any]:
    return cast("list[Any]", value)[: 10 * _MOST_WORDS] if isinstance(value, list) else []


def _list(value: Any) -> tuple[str, ...]:
    lines = (_line(item) for item in _items(value))
    return tuple(dict.fromkeys(line for line in lines if line))[:_MOST_WORDS]


def _words(value: Any) -> tuple[str, ...]:
    """Trigger words. Sites give some as one text with commas; such a text is one phrase, as its author wrote it."""
    phrases = (line.rstrip(" ,") for line in _list(value))
    return tuple(dict.fromkeys(phrase for phrase in phrases if phrase))


def _weight(value: Any) -> float | None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or (isinstance(value, str) and len(value) > 30)
    ):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= WEIGHT_LIMIT else None  # also None for NaN


def _hash(value: Any) -> str | None:
    return find_hash(value) if isinstance(value, str) else None


def _sha256(value: Any) -> str | None:
    found = _hash(value)
    return found if found and len(found) == 64 else None


_OTHERS = ("AutoV1", "AutoV2", "AutoV3", "BLAKE3", "CRC32")


def _other_hashes(hashes: Mapping[str, Any]) -> tuple[str, ...]:
    found = (_hash(hashes.get(kind)) for kind in _OTHERS)
    return tuple(dict.fromkeys(digits for digits in found if digits))


def _hashes_of_files(value: Any) -> Mapping[str, Any]:
    """The hashes of the only file that has some, or of the primary one, by their kinds."""
    files = [_mapping(item) for item in _items(value)]
    models = [file for file in files if _line(file.get("type")) in (None, "Model")] or files
    chosen = next((file for file in models if file.get("primary") is True), models[0] if len(models) == 1 else {})
    return _mapping(_mapping(chosen).get("hashes"))


def _air(model: Any, version: Any) -> str | None:
    numbers = [item for item in (model, version) if type(item) is int and 0 < item < 10**15]
    return f"civitai:{model}@{version}" if len(numbers) == 2 else None
