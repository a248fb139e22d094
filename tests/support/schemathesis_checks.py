"""What schemathesis checks besides its own, in a Python of its own that has no other package.

A request in Runware's form is a list of tasks, and each is answered for itself: one that is not as the document says is
an error among the answers to the others, so the whole request is not refused for it.
"""

from __future__ import annotations

from typing import Any

import schemathesis  # pyright: ignore[reportMissingImports]
from jsonschema_rs import validator_for  # pyright: ignore[reportMissingImports]

CANNOT = {"incompatibleLora", "rateLimitExceeded", "invalidImage", "conflictTaskUUID", "invalidModel",
          "unsupportedParameter", "unsupportedScheduler", "invalidValue", "inferenceError", "taskNotFound",
          "timeoutProvider", "aborted", "invalidApiKey"}  # fmt: skip
"""Codes of tasks that are what the document says, and cannot be done."""


@schemathesis.check
def every_task_is_answered(ctx: Any, response: Any, case: Any) -> None:
    """No task that fails validation is done, and one that does not is refused for a reason that has a name."""
    if (case.method.upper(), case.path) != ("POST", "/v1") or response.status_code not in (200, 400):
        return
    if not isinstance(case.body, list) or not case.body or len(case.body) > 100:
        return
    document = case.operation.schema.raw_schema
    schema = {"$ref": "#/components/schemas/RunwareTasks", "components": document["components"]}
    checker = validator_for(schema)
    answer = response.json()
    errors = answer.get("errors", [])
    wrong = [task for task in case.body if not checker.is_valid([task])]
    refused = [error for error in errors if error["code"] not in CANNOT]
    assert len(errors) >= len(wrong), f"{len(wrong)} tasks fail validation, and {len(errors)} are refused: {errors}"
    assert len(refused) <= len(wrong), f"{len(wrong)} tasks fail validation, and {len(refused)} are refused: {refused}"
