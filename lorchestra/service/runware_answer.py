"""What is answered to a task in Runware's form: pictures in the form that was asked for, or why there are none."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..limits import Json
from .assets import Assets
from .callers import Caller
from .http import Refusal
from .job import FAILED, SUCCEEDED, Job, Output, asset_url

INFER = "imageInference"
TYPES = ("URL", "base64Data", "dataURI")
FORMATS: Mapping[str, tuple[str, str]] = {
    "PNG": ("PNG", "image/png"),
    "JPG": ("JPEG", "image/jpeg"),
    "WEBP": ("WEBP", "image/webp"),
}
_URL_KEYS = {"URL": "imageURL", "base64Data": "imageBase64Data", "dataURI": "imageDataURI"}


class TaskError(Exception):
    """What is said of a task that is not done."""

    def __init__(self, code: str, message: str, parameter: str | None = None, **more: Json) -> None:
        self.code = code
        self.message = message
        self.parameter = parameter
        self.more = more
        super().__init__(message)

    def to_json(self, task: Mapping[str, Json]) -> dict[str, Json]:
        shown: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.parameter is not None:
            shown["parameter"] = self.parameter
        for key in ("taskType", "taskUUID"):
            if isinstance(task.get(key), str):
                shown[key] = task[key][:100]
        return shown | self.more


@dataclass(frozen=True, slots=True)
class Form:
    """How the pictures of a task are given back."""

    type: str
    format: str | None
    """None for as they are saved."""
    quality: int

    def to_labels(self) -> dict[str, str]:
        return {"outputType": self.type, "outputFormat": self.format or "", "outputQuality": str(self.quality)}

    @staticmethod
    def of(labels: Mapping[str, str]) -> Form:
        return Form(
            labels.get("outputType", "URL"), labels.get("outputFormat") or None, int(labels.get("outputQuality", "95"))
        )


def labels_of(job: Job) -> Mapping[str, str]:
    """What a task has said of its job."""
    return job.metadata if isinstance(job.metadata, Mapping) else {}


def answer_of(assets: Assets, base: str, job: Job, task: str) -> list[dict[str, Json]]:
    """The pictures of a job that has ended; raises `TaskError`. Reads files: not on the event loop."""
    if job.status == FAILED and job.error is not None:
        raise TaskError("inferenceError", job.error.message)
    if job.status != SUCCEEDED:
        raise TaskError("aborted", f"the job was {job.status}")
    labels = labels_of(job)
    form, pictures = Form.of(labels), [output for output in job.outputs if output.type == "image"]
    if not pictures:
        raise TaskError("inferenceError", "the workflow made no picture")
    shown: list[dict[str, Json]] = []
    for picture in pictures:
        image, place = _picture(assets, base, job, picture, form)
        one: dict[str, Json] = {"taskType": INFER, "taskUUID": task, "imageUUID": image}
        shown.append(one | {_URL_KEYS[form.type]: place, "seed": int(labels.get("seed", "0"))})
    return shown


def _picture(assets: Assets, base: str, job: Job, picture: Output, form: Form) -> tuple[str, str]:
    """The id of a picture's asset, and the picture as it was asked for."""
    format_, kind = FORMATS[form.format] if form.format else ("", picture.content_type)
    own, content_type = picture.id, picture.content_type
    data = b""
    if kind != content_type or form.type != "URL":
        data = assets.read_content(picture.id)
    if kind != content_type:
        data, content_type = _converted(data, format_, form.quality), kind
        if form.type == "URL":
            own = assets.add_bytes(data, f"{picture.name}.{format_.lower()}", kind, Caller(job.caller)).id
    if form.type == "URL":
        return own, asset_url(base, own)
    text = base64.b64encode(data).decode()
    return own, text if form.type == "base64Data" else f"data:{content_type};base64,{text}"


def _converted(data: bytes, format_: str, quality: int) -> bytes:
    try:
        image: Any = import_module("PIL.Image")
    except ImportError as error:
        raise TaskError("unsupportedParameter", "Pillow is not installed", "outputFormat") from error
    out = io.BytesIO()
    with image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").save(out, format_, quality=quality)
    return out.getvalue()


def told_of(assets: Assets, base: str, job: Job, task: str) -> dict[str, Json]:
    """What a webhook is told of a task: the same answer as to the request. Reads files."""
    try:
        return {"data": answer_of(assets, base, job, task)}
    except TaskError as error:
        shown = error
    except Refusal as error:
        shown = TaskError("inferenceError", error.message)
    return {"data": [], "errors": [shown.to_json({"taskType": INFER, "taskUUID": task})]}
