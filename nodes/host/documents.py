"""The workflow that is run as an API: its schema, its OpenAPI document, a request, and programs that call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import folder_paths
from comfy.cli_args import args

from ...lorchestra.errors import LorchestraError, WorkflowError
from ...lorchestra.limits import Json
from . import node_info

if TYPE_CHECKING:
    from ...lorchestra.workflow.publication import Publication

SAVED = ("schema", "openapi", "request")
"""Documents that are files; see `lorchestra.workflow.documents`."""
PROGRAMS = ("curl", "python")
_LONGEST_SHOWN = 500_000
"""Characters of a document that travel to the browser with each run."""
_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class Documents:
    """What was made of a workflow, or why nothing was."""

    sentences: tuple[str, ...] = ()
    """For the person who ran it: under which name to publish it, what could not be taken as it says it."""
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """End of a file's name → text."""
    shown: tuple[Mapping[str, str], ...] = ()
    """`{"id", "text"}` of each document and each program, for the face."""


NO_DOCUMENTS = Documents()


def write_documents(prefix: str, queued: object, pnginfo: object) -> Documents:
    """The documents of a workflow, which gets the name of the files that begin with `prefix`.

    `queued` is the prompt that is run, `pnginfo` what the editor sent besides: the workflow as it is saved, with the
    names and bounds that a person gave it. A prompt that a program sent has none.
    """
    from ...lorchestra.workflow.documents import DOCUMENTS
    from ...lorchestra.workflow.names import slug

    name = slug(prefix.replace("\\", "/").rpartition("/")[2]) or "workflow"
    try:
        made, notes = _publish(name, queued, pnginfo)
    except LorchestraError as error:
        return Documents((f"The workflow was not written as an API: {str(error).rstrip('.')}.",))
    url = find_service_url()
    texts = {item.id: item.write(made, url) for item in DOCUMENTS if item.id in (*SAVED, *PROGRAMS)}
    said = f'The workflow was written as an API, too. Publish it as "{name}" before you call it.'
    return Documents(
        (said, *(f"Note: {note}" for note in notes[:_MOST_NOTES])),
        {item.suffix: texts[item.id] for item in DOCUMENTS if item.id in SAVED},
        tuple({"id": id_, "text": texts[id_]} for id_ in (*SAVED, *PROGRAMS) if len(texts[id_]) <= _LONGEST_SHOWN),
    )


def _publish(name: str, queued: object, pnginfo: object) -> tuple[Publication, tuple[str, ...]]:
    """The workflow as the editor saved it, else the prompt that it made of it."""
    from ...lorchestra.workflow.node_classes import find_kinds
    from ...lorchestra.workflow.publication import publish

    prompt = cast("Json", queued)
    saved = cast("Mapping[str, Json]", pnginfo).get("workflow") if isinstance(pnginfo, Mapping) else None
    if saved is not None:
        try:
            made = publish(saved, node_info.describe(find_kinds(saved)), name)
        except WorkflowError as error:
            made = publish(prompt, node_info.describe(find_kinds(prompt)), name)
            why = f"App mode and the names that were given to inputs are not used: {error}"
            return made, (why, *made.notes)
        return made, made.notes
    made = publish(prompt, node_info.describe(find_kinds(prompt)), name)
    return made, made.notes


def find_service_url() -> str:
    """Where clients reach the service: what its owner says, else this machine's own address."""
    from ...lorchestra.service.settings import read_settings

    try:
        public = read_settings(Path(folder_paths.get_user_directory(), "__lorchestra", "service.json")).public_url
    except LorchestraError:  # the service itself says so
        public = None
    scheme = "https" if args.tls_keyfile and args.tls_certfile else "http"
    return f"{(public or f'{scheme}://127.0.0.1:{args.port}').rstrip('/')}/lorchestra"
