"""Runware's form of requests (`POST /v1`): a list of tasks in, `{"data": […], "errors": […]}` out.

Source: Runware's API reference of 2025-11 and its SDKs, `runware-python` 1.4.0. Every task is answered. What cannot be
honoured is an error that names the parameter; codes that are not Runware's say what they mean.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import cast

from ..errors import InputError, quoted
from ..exchange.runware import WEIGHT_MAX, WEIGHT_MIN
from ..limits import Json
from ..workflow.api_shapes import UUID
from ..workflow.interface import Input
from ..workflow.publication import Publication
from .callers import Caller, as_bytes
from .calls import call
from .http import Refusal, Request, Response, invalid
from .job import Job
from .publications import Published
from .runware_answer import FORMATS, INFER, TYPES, Form, TaskError, answer_of, labels_of
from .service import Service, key_used
from .store import Callback, KeyUsed

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
    "outputQuality", "deliveryMethod", "lora", "seedImage", "maskImage", "includeCost", "webhookURL",
)  # fmt: skip
_BLANK = "__BLANK__"
"""Runware's word for no prompt."""
_DEFAULT = "Default"
"""Its word for the scheduler that the workflow has."""
_UUID = re.compile(UUID)
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
    shown = TaskError(codes.get(error.status, "invalidRequest"), error.message, error.path).to_json({})
    return Response({"data": [], "errors": [shown]}, error.status, error.headers)


async def _answer(
    service: Service, request: Request, task: Json, known: set[str]
) -> tuple[list[dict[str, Json]], dict[str, Json] | None]:
    data = cast("dict[str, Json]", task) if isinstance(task, dict) else {}
    try:
        if not isinstance(task, dict):
            raise TaskError("invalidTask", f"a task is {quoted(task)}; expected an object")
        if "taskUUID" in data:
            _task_id(data, set())
        match data.get("taskType"):
            case "imageInference":
                return await _infer(service, request, data, _task_id(data, known)), None
            case "getResponse":
                _require_only(data, ("taskType", "taskUUID"))
                return await _get_response(service, request, _task_id(data, set())), None
            case "ping":
                _require_only(data, ("taskType", "taskUUID", "ping"))
                if type(data.get("ping", True)) is not bool:
                    raise TaskError("invalidPing", f"{quoted(data['ping'])} is not true or false", "ping")
                return [{"taskType": "ping", "pong": True}], None
            case "authentication":
                _require_only(data, ("taskType", "taskUUID", "apiKey"))
                return [_authenticate(request.caller, data)], None
            case other:
                raise TaskError(
                    "unsupportedTaskType", f"{quoted(other)} is not done here", "taskType",
                    allowedValues=[INFER, "getResponse", "ping", "authentication"],
                )  # fmt: skip
    except TaskError as error:
        return [], error.to_json(data)
    except (Refusal, InputError) as error:
        return [], _told(error).to_json(data)


def _told(error: Refusal | InputError) -> TaskError:
    """What a call of a workflow says, in Runware's words."""
    if isinstance(error, InputError):
        return TaskError("invalidValue", error.reason, error.path or None)
    code = {
        "invalid_lora": "incompatibleLora", "queue_full": "rateLimitExceeded", "missing_asset": "invalidImage",
        "idempotency_key_reuse": "conflictTaskUUID",
    }.get(error.code, "invalidValue")  # fmt: skip
    return TaskError(code, error.message, "taskUUID" if code == "conflictTaskUUID" else error.path)


def _authenticate(caller: Caller, task: Mapping[str, Json]) -> dict[str, Json]:
    """Who is answered here has access already; a key that is wrong is told all the same."""
    if "apiKey" in task:
        _text(task, "apiKey")
    if not hmac.compare_digest(as_bytes(str(task.get("apiKey", ""))), as_bytes(caller.token)) and caller.token:
        raise TaskError("invalidApiKey", "this is not the token", "apiKey")
    return {"taskType": "authentication"}


def _task_id(task: Mapping[str, Json], known: set[str]) -> str:
    own = task.get("taskUUID")
    if not isinstance(own, str) or _UUID.fullmatch(own) is None:
        raise TaskError("invalidTaskUUID", f"{quoted(own)} is not a UUID", "taskUUID")
    found = own.lower()
    if found in known:
        raise TaskError("conflictTaskUUID", "two tasks of the request have this UUID", "taskUUID")
    known.add(found)
    return found


async def _infer(service: Service, request: Request, task: dict[str, Json], own: str) -> list[dict[str, Json]]:
    _require_known(task)
    form = _form(task)
    results = _whole(task, "numberResults", 1, _MOST_RESULTS, 1)
    seed = _whole(task, "seed", 0, _MOST_SEED, secrets.randbelow(2**32))
    is_async = _choice(task, "deliveryMethod", ("sync", "async"), "sync") == "async"
    callback = _callback(service, request, task, own)
    published, model = await service.threads.run(_find_publication, service, task.get("model"))
    inputs, names = _inputs(published.publication, task, model)
    if results > 1 and "seed" not in names:
        raise TaskError("unsupportedParameter", "the workflow has no seed, so all results were one", "numberResults")
    if "seed" in task and "seed" not in names:
        raise TaskError("unsupportedParameter", "the workflow has no seed", "seed")
    if not is_async and service.waits.is_full():
        raise TaskError("rateLimitExceeded", "too many requests wait. Try again, or with deliveryMethod async")
    jobs: list[Job] = []
    for number in range(results):
        used = seed + number
        labels = {"seed": str(used), "results": str(results), **form.to_labels()}
        given = inputs | ({names["seed"]: used} if "seed" in names else {})
        try:
            jobs.append(await _call(service, request.caller, published, given, _key(own, number), labels, callback))
        except (Refusal, InputError) as error:
            for job in jobs:
                await service.threads.run(service.jobs.cancel, job.id, request.caller)
            raise _renamed(_told(error), {name: parameter for parameter, name in _parameters(names).items()}) from error
    if is_async:
        return [{"taskType": INFER, "taskUUID": own}]
    with service.waits.one_more():
        ended = await asyncio.gather(*(service.jobs.wait(job, _SECONDS) for job in jobs))
    shown: list[dict[str, Json]] = []
    for job in ended:
        if not job.has_ended:
            raise TaskError(
                "timeoutProvider",
                f"the pictures were not there within {_SECONDS:g} seconds. Ask again with getResponse",
            )
        shown += await service.threads.run(answer_of, service.assets, service.base(request), job, own)
    return shown


async def _call(
    service: Service,
    caller: Caller,
    published: Published,
    inputs: dict[str, Json],
    key: str,
    labels: dict[str, str],
    callback: Callback | None,
) -> Job:
    try:
        # The task's seed is all that its answer tells: other seeds stay, so that it gives the same again.
        return await call(
            service,
            lambda: published,
            lambda: inputs,
            key=key,
            metadata=labels,
            callback=callback,
            draws=False,
            caller=caller,
        )
    except KeyUsed as error:
        raise key_used(error) from error


def _callback(service: Service, request: Request, task: Mapping[str, Json], own: str) -> Callback | None:
    """Who is told of each of the task's pictures."""
    if "webhookURL" not in task:
        return None
    return service.callback(request, _text(task, "webhookURL"), "webhookURL", own)


def _key(task: str, number: int) -> str:
    """Under which a task's job is found again; no caller's key has such a sign."""
    return f"§{task}/{number}"


async def _get_response(service: Service, request: Request, own: str) -> list[dict[str, Json]]:
    first = await service.threads.run(service.jobs.find_by_key, _key(own, 0), request.caller)
    if first is None:
        raise TaskError("taskNotFound", "there is no task of this UUID", "taskUUID")
    labels = labels_of(first)
    shown: list[dict[str, Json]] = []
    for number in range(int(labels.get("results", "1"))):
        job = await service.threads.run(service.jobs.find_by_key, _key(own, number), request.caller)
        if job is None or not job.has_ended:
            shown.append({"taskType": INFER, "taskUUID": own, "status": "processing"})
        else:
            done = await service.threads.run(answer_of, service.assets, service.base(request), job, own)
            shown += [{**one, "status": "success"} for one in done]
    return shown


def _require_known(task: Mapping[str, Json]) -> None:
    _require_only(task, (*_OWN, *(parameter for parameter, *_ in _PLAIN)))
    if task.get("includeCost", False) is not False:
        raise TaskError("unsupportedParameter", "nothing here has a price", "includeCost")


def _require_only(task: Mapping[str, Json], known: Sequence[str]) -> None:
    unknown = next((key for key in task if key not in known), None)
    if unknown is not None:
        raise TaskError("unsupportedParameter", f"{quoted(unknown)} is not known here", unknown[:100])


def _form(task: Mapping[str, Json]) -> Form:
    chosen = _choice(task, "outputFormat", tuple(FORMATS), "") or None
    quality = _whole(task, "outputQuality", 20, 99, 95)
    return Form(_choice(task, "outputType", TYPES, "URL"), chosen, quality)


def _find_publication(service: Service, model: Json) -> tuple[Published, str | None]:
    """The publication of a model, and the checkpoint that it is to be given, if it takes one.

    Its own checkpoint is that model, or it is the default for the model's architecture and takes any checkpoint.
    """
    if not isinstance(model, str) or not 1 <= len(model) <= 1000:
        raise TaskError("invalidModel", f"the model is {quoted(model)}; expected an AIR or the name of a file", "model")
    name, architectures = service.backend.find_model(model)
    if name is None:
        raise TaskError("invalidModel", f"there is no checkpoint {quoted(model)}", "model")
    published = service.publications.newest()
    for one in published:
        if service.backend.model_of(one.publication.graph)[0] == name:
            return one, None
    for architecture in architectures:
        default = service.settings.defaults.get(architecture)
        if default is not None:
            one = service.publications.find_or_raise(default)
            if _by_role(one.publication).get("checkpoint") is None:
                raise TaskError(
                    "invalidModel", f"the workflow {default} has another checkpoint and takes no other", "model"
                )
            return one, name
    raise TaskError(
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
        raise TaskError("missingPositivePrompt", f"the prompt is {quoted(prompt)}; expected text", "positivePrompt")
    for parameter, role, kind, least, most in _PLAIN:
        if parameter in task:
            if kind == "text":
                value = _text(task, parameter)
                value = "" if value == _BLANK else value
            else:
                value = _number(task[parameter], parameter, kind, least or 0, most or 0)
            inputs[_name(names, role, parameter)] = value
    for parameter, role in (("seedImage", "image"), ("maskImage", "mask")):
        if parameter in task:
            inputs[_name(names, role, parameter)] = _text(task, parameter)
    if task.get("scheduler", _DEFAULT) != _DEFAULT:
        sampler, schedule = _scheduler(task["scheduler"])
        inputs[_name(names, "sampler", "scheduler")] = sampler
        inputs[_name(names, "scheduler", "scheduler")] = schedule
    if task.get("lora", []) != []:
        inputs[_name(names, "loras", "lora")] = _loras(task["lora"])
    return inputs, names


def _name(names: Mapping[str, str], role: str, parameter: str) -> str:
    if role not in names:
        raise TaskError("unsupportedParameter", f"the workflow has nothing that {parameter} could set", parameter)
    return names[role]


def _loras(value: Json) -> list[dict[str, Json]]:
    if not isinstance(value, list):
        raise TaskError("invalidLora", f"expected a list, not {quoted(value)}", "lora")
    rows: list[dict[str, Json]] = []
    for number, item in enumerate(cast("list[Json]", value)):
        path = f"lora[{number}]"
        if not isinstance(item, dict):
            raise TaskError("invalidLora", f"expected an object, not {quoted(item)}", path)
        row = cast("dict[str, Json]", item)
        unknown = next((key for key in row if key not in ("model", "weight")), None)
        if unknown is not None:
            raise TaskError("unsupportedParameter", "a LoRA has a model and a weight here", f"{path}.{unknown[:100]}")
        if not isinstance(row.get("model"), str):
            raise TaskError("invalidLora", f"{quoted(row.get('model'))} is not an AIR", f"{path}.model")
        try:
            weight = _number(row.get("weight", 1), f"{path}.weight", "number", WEIGHT_MIN, WEIGHT_MAX)
        except TaskError as error:
            error.code = "invalidLora"
            raise
        rows.append({"model": row["model"], "weight": weight})
    return rows


def _scheduler(value: Json) -> tuple[str, str]:
    """ComfyUI's sampler and scheduler for one of Runware's: `DPM++ 2M Karras` is dpmpp_2m and karras."""
    for end, schedule in _SCHEDULES.items():
        start = value.removesuffix(end).rstrip() if isinstance(value, str) else ""
        if start in _SAMPLERS and (not end or start != value):
            return _SAMPLERS[start], schedule
    raise TaskError(
        "unsupportedScheduler", f"{quoted(value)} is not known here", "scheduler",
        allowedValues=["Default", *sorted(_SAMPLERS)],
    )  # fmt: skip


def _whole(task: Mapping[str, Json], name: str, least: int, most: int, default: int) -> int:
    """A whole number of a task."""
    return cast("int", _number(task[name], name, "integer", least, most)) if name in task else default


def _number(value: Json, name: str, kind: str, least: float, most: float) -> int | float:
    """The number; a whole one may be written as 2.0, as JSON Schema has it."""
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)
    is_number = isinstance(value, int) or (kind == "number" and isinstance(value, float))
    if isinstance(value, bool) or not is_number or not least <= value <= most:
        word = "a whole number" if kind == "integer" else "a number"
        raise TaskError(
            _code("invalid", name), f"{quoted(value)} is not {word} from {least:g} to {most:g}", name,
            min=least, max=most,
        )  # fmt: skip
    return value


def _text(task: Mapping[str, Json], name: str) -> str:
    value = task[name]
    if not isinstance(value, str):
        raise TaskError(_code("invalid", name), f"{quoted(value)} is not text", name)
    return value


def _code(start: str, parameter: str) -> str:
    return f"{start}{parameter[0].upper()}{parameter[1:]}"


def _choice(task: Mapping[str, Json], name: str, known: Sequence[str], default: str) -> str:
    if name not in task:
        return default
    value = task[name]
    if value not in known:
        raise TaskError(
            _code("unsupported", name), f"{quoted(value)} is not one of {', '.join(known)}", name,
            allowedValues=list(known),
        )  # fmt: skip
    return value


def _parameters(names: Mapping[str, str]) -> dict[str, str]:
    """Parameter → the input that it sets."""
    roles = {parameter: role for parameter, role, *_ in _PLAIN}
    roles |= {"lora": "loras", "seed": "seed", "model": "checkpoint", "scheduler": "sampler", "seedImage": "image"}
    return {parameter: names[role] for parameter, role in roles.items() if role in names}


def _renamed(error: TaskError, parameters: Mapping[str, str]) -> TaskError:
    """With the parameter of the task instead of the input of the workflow."""
    path = error.parameter or ""
    name = path.partition("[")[0].partition(".")[0]
    if name in parameters:
        error.parameter = parameters[name] + path[len(name) :]
    return error
