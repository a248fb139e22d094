"""Runware's form of requests (`POST /v1`): a list of tasks in, `{"data": […], "errors": […]}` out.

Source: Runware's API reference of 2025-11 and its SDKs, `runware-python` 1.4.0. Every task is answered. What cannot be
honoured is an error that names the parameter; codes that are not Runware's say what they mean.
"""

from __future__ import annotations

import asyncio
import base64
import io
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

from ..errors import InputError, quoted
from ..exchange.runware import WEIGHT_MAX, WEIGHT_MIN
from ..limits import Json
from ..workflow.interface import Input
from ..workflow.publication import Publication
from .calls import call
from .http import Refusal, Request, Response, invalid
from .job import FAILED, SUCCEEDED, Job, Output, asset_url
from .publications import Published
from .service import Service, key_used
from .store import KeyUsed

_MOST_TASKS = 100
_MOST_RESULTS = 20
_SECONDS = 600.0
"""How long a task that is not `async` is waited for."""
_MOST_SEED = 2**63 - 1

# parameter, role of the input, type, least, most
_PLAIN: tuple[tuple[str, str, str, float | None, float | None], ...] = (
    ("positivePrompt", "prompt", "text", None, None),
    ("negativePrompt", "negative_prompt", "text", None, None),
    ("width", "width", "integer", 16, 16384),
    ("height", "height", "integer", 16, 16384),
    ("steps", "steps", "integer", 1, 10_000),
    ("CFGScale", "cfg", "number", 0, 100),
    ("strength", "denoise", "number", 0, 1),
)
_OWN = (
    "taskType", "taskUUID", "model", "seed", "scheduler", "numberResults", "outputType", "outputFormat",
    "outputQuality", "deliveryMethod", "lora", "seedImage", "maskImage", "includeCost",
)  # fmt: skip
_BLANK = "__BLANK__"
"""Runware's word for no prompt."""
_TYPES = ("URL", "base64Data", "dataURI")
_FORMATS: Mapping[str, tuple[str, str]] = {
    "PNG": ("PNG", "image/png"),
    "JPG": ("JPEG", "image/jpeg"),
    "WEBP": ("WEBP", "image/webp"),
}
_URL_KEYS = {"URL": "imageURL", "base64Data": "imageBase64Data", "dataURI": "imageDataURI"}

_SAMPLERS: Mapping[str, str] = {
    "Euler": "euler", "Euler a": "euler_ancestral", "EulerAncestralDiscreteScheduler": "euler_ancestral",
    "EulerDiscreteScheduler": "euler", "FlowMatchEulerDiscreteScheduler": "euler", "Heun": "heun", "LMS": "lms",
    "DDIM": "ddim", "DDIMScheduler": "ddim", "DDPMScheduler": "ddpm", "LCM": "lcm", "LCMScheduler": "lcm",
    "UniPC": "uni_pc", "IPNDM": "ipndm", "DEISMultistepScheduler": "deis", "DPM++ 2M": "dpmpp_2m",
    "DPM++ 2M SDE": "dpmpp_2m_sde", "DPM++ 3M": "dpmpp_3m_sde", "DPM++ 3M SDE": "dpmpp_3m_sde",
    "DPM++ SDE": "dpmpp_sde", "KDPM2": "dpm_2", "KDPM2 a": "dpm_2_ancestral",
}  # fmt: skip
"""What a scheduler of Runware's begins with → ComfyUI's sampler."""
_SCHEDULES: Mapping[str, str] = {
    "": "normal", "Karras": "karras", "Exponential": "exponential", "Beta": "beta", "Uniform": "sgm_uniform",
}  # fmt: skip
"""What it ends with → ComfyUI's scheduler."""


class _TaskError(Exception):
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
class _Form:
    """How the pictures of a task are given back."""

    type: str
    format: str | None
    """None for as they are saved."""
    quality: int

    def to_labels(self) -> dict[str, str]:
        return {"outputType": self.type, "outputFormat": self.format or "", "outputQuality": str(self.quality)}

    @staticmethod
    def of(labels: Mapping[str, str]) -> _Form:
        return _Form(
            labels.get("outputType", "URL"), labels.get("outputFormat") or None, int(labels.get("outputQuality", "95"))
        )


async def post_tasks(service: Service, request: Request) -> Response:
    """Does all tasks of a request, at the same time as far as the backend can."""
    body = await service.read_json(request)
    tasks = cast("list[Json]", body) if isinstance(body, list) else []
    if not tasks:
        raise invalid(f"the body is {quoted(cast('object', body))}; expected a list of tasks.")
    if len(tasks) > _MOST_TASKS:
        raise invalid(f"there are {len(tasks):,} tasks; at most {_MOST_TASKS} are done at once.")
    known: set[str] = set()
    answers = await asyncio.gather(*(_answer(service, request, task, known) for task in tasks))
    data = [item for done, _ in answers for item in done]
    errors = [error for _, error in answers if error is not None]
    answer: dict[str, Json] = {"data": data}
    if errors:
        answer["errors"] = errors
    return Response(answer, 400 if errors and not data else 200)


def show_error(error: Refusal, request: Request) -> Response:
    """A request as a whole that is refused."""
    codes = {
        401: "invalidApiKey",
        403: "forbidden",
        413: "maxSizeExceeded",
        429: "rateLimitExceeded",
        503: "serverError",
    }
    shown = _TaskError(codes.get(error.status, "invalidRequest"), error.message, error.path).to_json({})
    return Response({"data": [], "errors": [shown]}, error.status, error.headers)


async def _answer(
    service: Service, request: Request, task: Json, known: set[str]
) -> tuple[list[dict[str, Json]], dict[str, Json] | None]:
    data = cast("dict[str, Json]", task) if isinstance(task, dict) else {}
    try:
        if not isinstance(task, dict):
            raise _TaskError("invalidTask", f"a task is {quoted(task)}; expected an object")
        match data.get("taskType"):
            case "imageInference":
                return await _infer(service, request, data, _task_id(data, known)), None
            case "getResponse":
                return await _get_response(service, request, _task_id(data, set())), None
            case "ping":
                return [{"taskType": "ping", "pong": True}], None
            case "authentication":
                return [_authenticate(service, data)], None
            case other:
                raise _TaskError(
                    "unsupportedTaskType", f"{quoted(other)} is not done here", "taskType",
                    allowedValues=["imageInference", "getResponse", "ping", "authentication"],
                )  # fmt: skip
    except _TaskError as error:
        return [], error.to_json(data)
    except (Refusal, InputError) as error:
        return [], _told(error).to_json(data)


def _told(error: Refusal | InputError) -> _TaskError:
    """What a call of a workflow says, in Runware's words."""
    if isinstance(error, InputError):
        return _TaskError("invalidValue", error.reason, error.path or None)
    code = {
        "invalid_lora": "incompatibleLora", "queue_full": "rateLimitExceeded", "missing_asset": "invalidImage",
        "idempotency_key_reuse": "conflictTaskUUID",
    }.get(error.code, "invalidValue")  # fmt: skip
    return _TaskError(code, error.message, "taskUUID" if code == "conflictTaskUUID" else error.path)


def _authenticate(service: Service, task: Mapping[str, Json]) -> dict[str, Json]:
    """Who is answered here has access already; a key that is wrong is told all the same."""
    if service.settings.token is not None and task.get("apiKey") != service.settings.token:
        raise _TaskError("invalidApiKey", "this is not the token", "apiKey")
    return {"taskType": "authentication"}


def _task_id(task: Mapping[str, Json], known: set[str]) -> str:
    own = task.get("taskUUID")
    try:
        found = str(uuid.UUID(own)) if isinstance(own, str) and len(own) == 36 else None
    except ValueError:
        found = None
    if found is None:
        raise _TaskError("invalidTaskUUID", f"{quoted(own)} is not a UUID", "taskUUID")
    if found in known:
        raise _TaskError("conflictTaskUUID", "two tasks of the request have this UUID", "taskUUID")
    known.add(found)
    return found


async def _infer(service: Service, request: Request, task: dict[str, Json], own: str) -> list[dict[str, Json]]:
    _require_known(task)
    form = _form(task)
    results = _whole(task, "numberResults", 1, _MOST_RESULTS, 1)
    seed = _whole(task, "seed", 0, _MOST_SEED, int.from_bytes(uuid.uuid4().bytes[:4], "big"))
    is_async = _choice(task, "deliveryMethod", ("sync", "async"), "sync") == "async"
    published, model = await service.threads.run(_find_publication, service, task.get("model"))
    inputs, names = _inputs(published.publication, task, model)
    if results > 1 and "seed" not in names:
        raise _TaskError("unsupportedParameter", "the workflow has no seed, so all results were one", "numberResults")
    if "seed" in task and "seed" not in names:
        raise _TaskError("unsupportedParameter", "the workflow has no seed", "seed")
    if not is_async and service.waits.is_full():
        raise _TaskError("rateLimitExceeded", "too many requests wait. Try again, or with deliveryMethod async")
    jobs: list[Job] = []
    for number in range(results):
        used = seed + number
        labels = {"seed": str(used), "results": str(results), **form.to_labels()}
        given = inputs | ({names["seed"]: used} if "seed" in names else {})
        try:
            jobs.append(await _call(service, published, given, _key(own, number), labels))
        except (Refusal, InputError) as error:
            for job in jobs:
                await service.threads.run(service.jobs.cancel, job.id)
            raise _renamed(_told(error), {name: parameter for parameter, name in _parameters(names).items()}) from error
    if is_async:
        return [{"taskType": "imageInference", "taskUUID": own}]
    with service.waits.one_more():
        ended = await asyncio.gather(*(service.jobs.wait(job, _SECONDS) for job in jobs))
    shown: list[dict[str, Json]] = []
    for job in ended:
        if not job.has_ended:
            raise _TaskError(
                "timeoutProvider",
                f"the pictures were not there within {_SECONDS:g} seconds. Ask again with getResponse",
            )
        shown += await _pictures(service, request, job, own)
    return shown


async def _call(
    service: Service, published: Published, inputs: dict[str, Json], key: str, labels: dict[str, str]
) -> Job:
    try:
        return await call(service, lambda: published, lambda: inputs, key=key, metadata=labels)
    except KeyUsed as error:
        raise key_used(error) from error


def _key(task: str, number: int) -> str:
    """Under which a task's job is found again; no caller's key has such a sign."""
    return f"§{task}/{number}"


def _labels(job: Job) -> Mapping[str, str]:
    """What a task has said of its job."""
    return job.metadata if isinstance(job.metadata, Mapping) else {}


async def _get_response(service: Service, request: Request, own: str) -> list[dict[str, Json]]:
    first = await service.threads.run(service.jobs.find_by_key, _key(own, 0))
    if first is None:
        raise _TaskError("taskNotFound", "there is no task of this UUID", "taskUUID")
    labels = _labels(first)
    shown: list[dict[str, Json]] = []
    for number in range(int(labels.get("results", "1"))):
        job = await service.threads.run(service.jobs.find_by_key, _key(own, number))
        if job is None or not job.has_ended:
            shown.append({"taskType": "imageInference", "taskUUID": own, "status": "processing"})
        else:
            shown += [{**one, "status": "success"} for one in await _pictures(service, request, job, own)]
    return shown


async def _pictures(service: Service, request: Request, job: Job, task: str) -> list[dict[str, Json]]:
    if job.status == FAILED and job.error is not None:
        raise _TaskError("inferenceError", job.error.message)
    if job.status != SUCCEEDED:
        raise _TaskError("aborted", f"the job was {job.status}")
    labels = _labels(job)
    form, pictures = _Form.of(labels), [output for output in job.outputs if output.type == "image"]
    if not pictures:
        raise _TaskError("inferenceError", "the workflow made no picture")
    shown: list[dict[str, Json]] = []
    for picture in pictures:
        image, place = await service.threads.run(_picture, service, service.base(request), job, picture, form)
        one: dict[str, Json] = {"taskType": "imageInference", "taskUUID": task, "imageUUID": image}
        shown.append(one | {_URL_KEYS[form.type]: place, "seed": int(labels.get("seed", "0"))})
    return shown


def _picture(service: Service, base: str, job: Job, picture: Output, form: _Form) -> tuple[str, str]:
    """The id of a picture's asset, and the picture as it was asked for."""
    format_, kind = _FORMATS[form.format] if form.format else ("", picture.content_type)
    own, content_type = picture.id, picture.content_type
    data = b""
    if kind != content_type or form.type != "URL":
        data = service.assets.read_content(picture.id)
    if kind != content_type:
        data, content_type = _converted(data, format_, form.quality), kind
        if form.type == "URL":
            own = service.assets.add_bytes(data, f"{picture.name}.{format_.lower()}", kind).id
    if form.type == "URL":
        return own, asset_url(base, own)
    text = base64.b64encode(data).decode()
    return own, text if form.type == "base64Data" else f"data:{content_type};base64,{text}"


def _converted(data: bytes, format_: str, quality: int) -> bytes:
    try:
        image: Any = import_module("PIL.Image")
    except ImportError as error:
        raise _TaskError("unsupportedParameter", "Pillow is not installed", "outputFormat") from error
    out = io.BytesIO()
    with image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").save(out, format_, quality=quality)
    return out.getvalue()


def _require_known(task: Mapping[str, Json]) -> None:
    known = {*_OWN, *(parameter for parameter, *_ in _PLAIN)}
    unknown = next((key for key in task if key not in known), None)
    if unknown is not None:
        raise _TaskError("unsupportedParameter", f"{quoted(unknown)} is not known here", unknown[:100])
    if task.get("includeCost") not in (None, False):
        raise _TaskError("unsupportedParameter", "nothing here has a price", "includeCost")


def _form(task: Mapping[str, Json]) -> _Form:
    chosen = _choice(task, "outputFormat", tuple(_FORMATS), "") or None
    quality = _whole(task, "outputQuality", 20, 99, 95)
    return _Form(_choice(task, "outputType", _TYPES, "URL"), chosen, quality)


def _find_publication(service: Service, model: Json) -> tuple[Published, str | None]:
    """The publication of a model, and the checkpoint that it is to be given, if it takes one.

    Its own checkpoint is that model, or it is the default for the model's architecture and takes any checkpoint.
    """
    if not isinstance(model, str) or not 1 <= len(model) <= 1000:
        raise _TaskError(
            "invalidModel", f"the model is {quoted(model)}; expected an AIR or the name of a file", "model"
        )
    name, architectures = service.backend.find_model(model)
    if name is None:
        raise _TaskError("invalidModel", f"there is no checkpoint {quoted(model)}", "model")
    published = service.publications.newest()
    for one in published:
        if service.backend.model_of(one.publication.graph)[0] == name:
            return one, None
    for architecture in architectures:
        default = service.settings.defaults.get(architecture)
        if default is not None:
            one = service.publications.find_or_raise(default)
            if _by_role(one.publication).get("checkpoint") is None:
                raise _TaskError(
                    "invalidModel", f"the workflow {default} has another checkpoint and takes no other", "model"
                )
            return one, name
    raise _TaskError(
        "invalidModel",
        f"no published workflow is for {name}, and none is the default for {' or '.join(architectures) or 'it'}",
        "model",
    )


def _by_role(publication: Publication) -> dict[str, Input]:
    """The first input of each role."""
    found: dict[str, Input] = {}
    for item in publication.inputs:
        found.setdefault(item.role or item.name, item)
    return found


def _inputs(
    publication: Publication, task: Mapping[str, Json], model: str | None
) -> tuple[dict[str, Json], dict[str, str]]:
    """What the workflow is given, and the name of its input by role."""
    roles = _by_role(publication)
    names = {role: item.name for role, item in roles.items()}
    inputs: dict[str, Json] = {}
    if model is not None:
        inputs[names["checkpoint"]] = model
    prompt = task.get("positivePrompt")
    if not isinstance(prompt, str) or not prompt:
        raise _TaskError("missingPositivePrompt", f"the prompt is {quoted(prompt)}; expected text", "positivePrompt")
    for parameter, role, kind, least, most in _PLAIN:
        if parameter in task and task[parameter] is not None:
            value = task[parameter]
            if kind == "text":
                if not isinstance(value, str):
                    raise _TaskError(f"invalid{parameter[0].upper()}{parameter[1:]}", "expected text", parameter)
                value = "" if value == _BLANK else value
            else:
                _require_number(task, parameter, kind, least or 0, most or 0)
            inputs[_name(names, role, parameter)] = value
    for parameter, role in (("seedImage", "image"), ("maskImage", "mask")):
        if task.get(parameter) is not None:
            inputs[_name(names, role, parameter)] = task[parameter]
    if task.get("scheduler") not in (None, "Default"):
        sampler, schedule = _scheduler(task["scheduler"])
        inputs[_name(names, "sampler", "scheduler")] = sampler
        inputs[_name(names, "scheduler", "scheduler")] = schedule
    if task.get("lora") not in (None, []):
        inputs[_name(names, "loras", "lora")] = _loras(task["lora"])
    return inputs, names


def _name(names: Mapping[str, str], role: str, parameter: str) -> str:
    if role not in names:
        raise _TaskError("unsupportedParameter", f"the workflow has nothing that {parameter} could set", parameter)
    return names[role]


def _loras(value: Json) -> list[dict[str, Json]]:
    if not isinstance(value, list):
        raise _TaskError("invalidLora", f"expected a list, not {quoted(value)}", "lora")
    rows: list[dict[str, Json]] = []
    for number, item in enumerate(cast("list[Json]", value)):
        path = f"lora[{number}]"
        if not isinstance(item, dict):
            raise _TaskError("invalidLora", f"expected an object, not {quoted(item)}", path)
        row = cast("dict[str, Json]", item)
        unknown = next((key for key in row if key not in ("model", "weight")), None)
        if unknown is not None:
            raise _TaskError("unsupportedParameter", "a LoRA has a model and a weight here", f"{path}.{unknown[:100]}")
        if not isinstance(row.get("model"), str):
            raise _TaskError("invalidLora", f"{quoted(row.get('model'))} is not an AIR", f"{path}.model")
        weight = row.get("weight", 1)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not WEIGHT_MIN <= weight <= WEIGHT_MAX:
            raise _TaskError(
                "invalidLora", f"{quoted(weight)} is not a number", f"{path}.weight", min=WEIGHT_MIN, max=WEIGHT_MAX
            )
        rows.append({"model": row["model"], "weight": weight})
    return rows


def _scheduler(value: Json) -> tuple[str, str]:
    """ComfyUI's sampler and scheduler for one of Runware's: `DPM++ 2M Karras` is dpmpp_2m and karras."""
    for end, schedule in _SCHEDULES.items():
        start = value.removesuffix(end).rstrip() if isinstance(value, str) else ""
        if start in _SAMPLERS and (not end or start != value):
            return _SAMPLERS[start], schedule
    raise _TaskError(
        "unsupportedScheduler", f"{quoted(value)} is not known here", "scheduler",
        allowedValues=["Default", *sorted(_SAMPLERS)],
    )  # fmt: skip


def _whole(task: Mapping[str, Json], name: str, least: int, most: int, default: int) -> int:
    """A whole number of a task."""
    if task.get(name) is None:
        return default
    _require_number(task, name, "integer", least, most)
    return task[name]


def _require_number(task: Mapping[str, Json], name: str, kind: str, least: float, most: float) -> None:
    value = task[name]
    is_number = isinstance(value, int) or (kind == "number" and isinstance(value, float))
    if isinstance(value, bool) or not is_number or not least <= value <= most:
        word = "a whole number" if kind == "integer" else "a number"
        raise _TaskError(
            f"invalid{name[0].upper()}{name[1:]}", f"{quoted(value)} is not {word} from {least:g} to {most:g}", name,
            min=least, max=most,
        )  # fmt: skip


def _choice(task: Mapping[str, Json], name: str, known: Sequence[str], default: str) -> str:
    value = task.get(name)
    if value is None:
        return default
    if value not in known:
        raise _TaskError(
            f"unsupported{name[0].upper()}{name[1:]}", f"{quoted(value)} is not one of {', '.join(known)}", name,
            allowedValues=list(known),
        )  # fmt: skip
    return value


def _parameters(names: Mapping[str, str]) -> dict[str, str]:
    """Parameter → the input that it sets."""
    roles = {parameter: role for parameter, role, *_ in _PLAIN}
    roles |= {"lora": "loras", "seed": "seed", "model": "checkpoint", "scheduler": "sampler", "seedImage": "image"}
    return {parameter: names[role] for parameter, role in roles.items() if role in names}


def _renamed(error: _TaskError, parameters: Mapping[str, str]) -> _TaskError:
    """With the parameter of the task instead of the input of the workflow."""
    path = error.parameter or ""
    name = path.partition("[")[0].partition(".")[0]
    if name in parameters:
        error.parameter = parameters[name] + path[len(name) :]
    return error
