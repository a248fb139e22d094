"""Programs that call a published workflow, ready to run: curl, Python, TypeScript. Pure."""

from __future__ import annotations

import json
import shlex
from typing import cast

from ..limits import Json
from .publication import Publication
from .schema import example_of

_TOKEN = "LORCHESTRA_TOKEN"
"""The variable with the token, where one is set."""


def to_curl(publication: Publication, base_url: str) -> str:
    """A script for a POSIX shell that waits at most a minute and prints the job."""
    url = shlex.quote(f"{_jobs(publication, base_url)}?wait=60")
    return f"""#!/bin/sh
# Runs the workflow {publication.name} and prints the job; its outputs have a url each.
# Where a token is set: export {_TOKEN}=...
curl --fail-with-body --silent --show-error {url} \\
  --header 'Content-Type: application/json' \\
  ${{{_TOKEN}:+--header "Authorization: Bearer ${_TOKEN}"}} \\
  --data-binary @- <<'JSON'
{_json(example_of(publication))}
JSON
"""


def to_requests(publication: Publication, base_url: str) -> str:
    """A Python script that needs the package requests alone."""
    return f'''"""Runs the workflow {publication.name} and saves what it makes. Needs: pip install requests"""

import os
import time
from urllib.parse import urljoin

import requests

URL = {_literal(_jobs(publication, base_url))}
TOKEN = os.environ.get("{_TOKEN}")

session = requests.Session()
if TOKEN:
    session.headers["Authorization"] = f"Bearer {{TOKEN}}"


def answer_of(response):
    """The answer, or an error with the service's own sentence."""
    if not response.ok:
        raise SystemExit(response.json()["error"]["message"])
    return response.json()


inputs = {_python(example_of(publication))}
job = answer_of(session.post(URL, params={{"wait": 30}}, json=inputs))
while job["status"] in ("queued", "running", "canceling"):
    time.sleep(1)
    job = answer_of(session.get(urljoin(URL, job["urls"]["self"])))
if job["status"] != "succeeded":
    raise SystemExit(f"the job {{job['status']}}: {{(job['error'] or {{}}).get('message', '')}}")
for output in job["outputs"]:
    with open(output["name"], "wb") as file:
        file.write(session.get(urljoin(URL, output["url"])).content)
    print(output["name"])
'''


def to_python(publication: Publication, base_url: str) -> str:
    """A Python script that leaves waiting and downloading to Comfy's own SDK."""
    return f'''"""Runs the workflow {publication.name} and saves what it makes. Needs: pip install comfy-sdk"""

import json
import os
import urllib.error
import urllib.request

BASE = {_literal(base_url.rstrip("/"))}
TOKEN = os.environ.get("{_TOKEN}")
os.environ["COMFY_BASE_URL"] = BASE

from comfy_sdk import Comfy  # noqa: E402 - it reads the variable

inputs = {_python(example_of(publication))}
request = urllib.request.Request(
    f"{{BASE}}/workflows/{publication.name}/jobs",
    json.dumps(inputs).encode(),
    {{"Content-Type": "application/json", **({{"Authorization": f"Bearer {{TOKEN}}"}} if TOKEN else {{}})}},
)
try:
    with urllib.request.urlopen(request) as answer:
        job_id = json.load(answer)["id"]
except urllib.error.HTTPError as error:
    raise SystemExit(json.load(error)["error"]["message"]) from None

with Comfy(api_key=TOKEN) as comfy:
    job = comfy.jobs.get(job_id).result()
    for output in job.outputs:
        output.to_file(output.name)
        print(output.name)
'''


def to_typescript(publication: Publication, base_url: str) -> str:
    """A TypeScript program for Node 22 that leaves waiting and downloading to Comfy's own SDK."""
    return f"""// Runs the workflow {publication.name} and saves what it makes. Needs: npm install @comfyorg/sdk
import {{ Comfy }} from "@comfyorg/sdk";

const base = {_literal(base_url.rstrip("/"))};
const token = process.env.{_TOKEN};
process.env.COMFY_BASE_URL = base;

const inputs = {_json(example_of(publication))};
const answer = await fetch(`${{base}}/workflows/{publication.name}/jobs`, {{
  method: "POST",
  headers: {{ "Content-Type": "application/json", ...(token ? {{ Authorization: `Bearer ${{token}}` }} : {{}}) }},
  body: JSON.stringify(inputs),
}});
const body = await answer.json();
if (!answer.ok) throw new Error(body.error.message);

const comfy = new Comfy(token ? {{ apiKey: token }} : {{}});
const job = await (await comfy.jobs.get(body.id)).result();
for (const output of job.outputs) {{
  await output.toFile(output.name);
  console.log(output.name);
}}
"""


def _jobs(publication: Publication, base_url: str) -> str:
    return f"{base_url.rstrip('/')}/workflows/{publication.name}/jobs"


def _json(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _literal(text: str) -> str:
    """A text as Python and TypeScript both read it."""
    return json.dumps(text)


def _python(value: Json, indent: str = "") -> str:
    """JSON as Python writes it, one field a line."""
    inner = indent + "    "
    if isinstance(value, dict):
        fields = cast("dict[str, Json]", value)
        items = [f"{inner}{key!r}: {_python(item, inner)},\n" for key, item in fields.items()]
        return "{\n" + "".join(items) + indent + "}" if items else "{}"
    if isinstance(value, list):
        items = [f"{inner}{_python(item, inner)},\n" for item in cast("list[Json]", value)]
        return "[\n" + "".join(items) + indent + "]" if items else "[]"
    return repr(value)
