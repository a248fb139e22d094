"""The files of deploy/ as their own validators see them: the schemas of Compose, of Kubernetes, and of KEDA's CRDs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import jsonschema
import yaml

DEPLOY = Path(__file__).absolute().parents[2] / "deploy"
COMPOSE = DEPLOY / "docker-compose.yml"
KUBERNETES = DEPLOY / "kubernetes"
VERSION = "1.33"
"""The oldest Kubernetes in which sidecars are no preview any more; its schemas come with kubernetes-validate."""
_CUSTOM = {
    "ScaledObject": "cloudcoil.models.keda.v1alpha1",
    "TriggerAuthentication": "cloudcoil.models.keda.v1alpha1",
    "ServiceMonitor": "cloudcoil.models.prometheus_operator.v1",
}
"""Kinds of CRDs, and the package with the models that were made from them."""


def read_documents(path: Path) -> list[dict[str, Any]]:
    """All documents of a YAML file."""
    return [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one is not None]


def interpolated(value: Any, values: Mapping[str, str]) -> Any:
    """A compose file with its variables put in; raises `KeyError` for one that must be set and is not."""

    def put(found: re.Match[str]) -> str:
        name, sign, default = found.group(1), found.group(2), found.group(3)
        if values.get(name):
            return values[name]
        if sign == ":-":
            return default
        raise KeyError(name)

    if isinstance(value, dict):
        return {key: interpolated(one, values) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [interpolated(one, values) for one in cast("list[Any]", value)]
    return re.sub(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", put, value) if isinstance(value, str) else value


def compose_errors(text: str, folder: Path) -> str | None:
    """What the schema of the Compose specification says against a file, written to the folder; None for nothing."""
    path = folder / "docker-compose.yml"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return None if done.returncode == 0 else done.stdout + done.stderr


def manifest_errors(document: Mapping[str, Any]) -> str | None:
    """What a manifest's schema says against it, unknown keys included; None for nothing."""
    import kubernetes_validate

    try:
        if document["kind"] in _CUSTOM:
            jsonschema.Draft202012Validator(_custom_schema(document["kind"])).validate(document)
        else:
            kubernetes_validate.validate(dict(document), VERSION, strict=True)
    except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as error:
        return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
    return None


@cache
def _custom_schema(kind: str) -> dict[str, Any]:
    from importlib import import_module

    model = getattr(import_module(_CUSTOM[kind]), kind)
    return cast("dict[str, Any]", _closed(json.loads(json.dumps(model.model_json_schema(by_alias=True)))))


def _closed(schema: Any) -> Any:
    """A schema without room for unknown keys, except where it lists none."""
    if isinstance(schema, list):
        return [_closed(one) for one in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(value) for key, value in cast("dict[str, Any]", schema).items()}
    if isinstance(found.get("properties"), dict) and found.get("type") == "object":
        found["additionalProperties"] = False
    return found
