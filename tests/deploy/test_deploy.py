"""What deploy/ has is valid by its own validators, and is what our command line, settings and routes take."""

from __future__ import annotations

import argparse
import copy
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.manifests import COMPOSE, DEPLOY, KUBERNETES, compose_errors, interpolated, manifest_errors, read_documents

from lorchestra import __version__
from lorchestra.cli import serve, status, worker
from lorchestra.service.fleet import broker
from lorchestra.service.fleet.door import Door, Folder
from lorchestra.service.fleet.kept import Kept
from lorchestra.service.fleet.table import Table
from lorchestra.service.routes import find_route
from lorchestra.service.settings import read_settings

ROOT = DEPLOY.parent
NEEDED = {"LORCHESTRA_TOKEN": "a token: of 32 #characters $ long", "POSTGRES_PASSWORD": "p@ss/word"}
MANIFESTS = [path for path in sorted(KUBERNETES.glob("*.yaml")) if path.name != "kustomization.yaml"]
DOCUMENTS = [(path.name, document) for path in MANIFESTS for document in read_documents(path)]
VALIDATORS = (
    "check_jsonschema",
    "kubernetes_validate",
    "cloudcoil.models.keda",
    "cloudcoil.models.prometheus_operator",
)
OTHERS = {"AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD"}
"""Variables that botocore and psycopg read."""


@pytest.fixture(scope="session")
def validators() -> None:
    """Without them, tests are skipped with a line; with REQUIRE_COMFYUI=1 they fail."""
    for package in VALIDATORS if os.environ.get("REQUIRE_COMFYUI") != "1" else ():
        pytest.importorskip(package, reason=f"{package} is not installed: make installs it")


needs_validators = pytest.mark.usefixtures("validators")


def compose(values: Mapping[str, str] = NEEDED) -> Any:
    return interpolated(read_documents(COMPOSE)[0], values)


def one(kind: str, name: str) -> Any:
    (found,) = [
        document for _, document in DOCUMENTS if (document["kind"], document["metadata"]["name"]) == (kind, name)
    ]
    return found


def changed(document: Any, path: str, value: Any) -> Any:
    """A copy with another value at a path such as `spec.triggers.0.type`."""
    made = copy.deepcopy(document)
    place: Any = made
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for part in way:
        place = place[part]
    place[last] = value
    return made


# The validators, and that they see what is wrong.


@needs_validators
def test_compose_is_valid(tmp_path: Path) -> None:
    assert compose_errors(COMPOSE.read_text(encoding="utf-8"), tmp_path) is None
    assert compose_errors(yaml.safe_dump(compose()), tmp_path) is None


@needs_validators
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("services/door/healthchek", {}),
        ("services/door/ports", 8190),
        ("services/door/healthcheck/interval", ["5s"]),
        ("services/worker-1/depends_on/door/condition", 1),
        ("volums", {}),
    ],
)
def test_a_broken_compose_file_is_noticed(path: str, value: Any, tmp_path: Path) -> None:
    assert path.rpartition("/")[2] in str(compose_errors(yaml.safe_dump(changed(compose(), path, value)), tmp_path))


@needs_validators
@pytest.mark.parametrize(
    "document", [found for _, found in DOCUMENTS], ids=[f"{name}-{found['kind']}" for name, found in DOCUMENTS]
)
def test_manifests_are_valid(document: Any) -> None:
    assert manifest_errors(document) is None


@needs_validators
@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "lorchestra-door", "spec/replica", 1),
        ("Deployment", "lorchestra-door", "spec/replicas", "1"),
        ("Deployment", "lorchestra-worker", "spec/template/spec/initContainers/0/startupProbe/exec/comand", []),
        ("Deployment", "lorchestra-worker", "spec/template/spec/containers/0/args", "worker"),
        ("NetworkPolicy", "lorchestra-redis", "spec/ingress/0/form", []),
        ("ScaledObject", "lorchestra-worker", "spec/minReplica", 1),
        ("ScaledObject", "lorchestra-worker", "spec/minReplicaCount", "1"),
        ("ScaledObject", "lorchestra-worker", "spec/triggers/0/metadata/targetValue", 4),
        ("TriggerAuthentication", "lorchestra-door", "spec/secretTargetRef/0/keys", "x"),
        ("ServiceMonitor", "lorchestra-door", "spec/endpoints/0/authorisation", {}),
    ],
)
def test_a_broken_manifest_is_noticed(kind: str, name: str, path: str, value: Any) -> None:
    assert path.rpartition("/")[2] in str(manifest_errors(changed(one(kind, name), path, value)))


def test_the_kustomization_names_every_file() -> None:
    made = read_documents(KUBERNETES / "kustomization.yaml")[0]
    kept_apart = {"secret.example.yaml", "metrics.yaml"}
    assert {*made["resources"], *kept_apart} == {path.name for path in MANIFESTS}
    assert {image["newTag"] for image in made["images"]} == {__version__}
    if kubectl := shutil.which("kubectl"):
        done = subprocess.run(
            [kubectl, "kustomize", KUBERNETES], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert f"lorchestra-door.{made['namespace']}.svc:8190" in done.stdout


# What they start is what there is.


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    commands = parser.add_subparsers(required=True)
    for add in (serve.add_serve, worker.add_worker, status.add_status):
        add(commands)
    return parser.parse_args(arguments)


def containers() -> Iterator[tuple[str, Any]]:
    for _, document in DOCUMENTS:
        pod = document["spec"]["template"]["spec"] if document["kind"] == "Deployment" else {}
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            yield document["metadata"]["name"], container


def test_every_command_line_is_ours() -> None:
    lines = [
        service["command"] for service in compose()["services"].values() if service["image"].startswith("lorchestra:")
    ]
    lines += [container["args"] for _, container in containers() if container["image"] == "lorchestra"]
    docker = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r'^ENTRYPOINT \["/usr/bin/tini", "--", "lorchestra"\]$', docker, re.M)
    lines += [yaml.safe_load(line) for line in re.findall(r"^CMD (.+)$", docker, re.M)]
    assert sorted(parsed(line).run.__name__ for line in lines) == ["run_serve"] * 3 + ["run_worker"] * 3
    with pytest.raises(SystemExit):
        parsed(["worker", "--comfy", "x", "--nothing"])
    assert f"lorchestra:{__version__}" in compose()["services"]["door"]["image"]
    for shown in re.findall(r"lorchestra ((?:status|serve|worker)[^`\n]*)", COMPOSE.read_text(encoding="utf-8")):
        parsed(shown.split())


def test_every_variable_is_read() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "lorchestra").rglob("*.py"))
    read = set(re.findall(r'"(LORCHESTRA_\w+)"', sources))
    named = {
        key for service in compose()["services"].values() if service["image"].startswith("lorchestra:")
        for key in service["environment"]
    }  # fmt: skip
    for _, document in DOCUMENTS:
        if document["kind"] in ("ConfigMap", "Secret"):
            named |= {key for key in (document.get("data") or document["stringData"]) if key != "service.json"}
    named |= set(re.findall(r"\b(LORCHESTRA_\w+)=", (DEPLOY / "Dockerfile").read_text(encoding="utf-8")))
    assert named - read - OTHERS == set()
    assert {"LORCHESTRA_BROKER", "LORCHESTRA_DATABASE", "LORCHESTRA_FILES", "LORCHESTRA_TOKEN"} <= named
    told = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    assert told == set(re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(encoding="utf-8"), re.M))


@pytest.mark.parametrize("name", NEEDED)
def test_secrets_are_asked_for_and_never_in_a_file(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        interpolated(
            COMPOSE.read_text(encoding="utf-8"), {other: text for other, text in NEEDED.items() if other != name}
        )
    assert re.search(rf"^{name}=$", (DEPLOY / "env.example").read_text(encoding="utf-8"), re.M)
    assert one("Secret", "lorchestra-door")["stringData"] == {"LORCHESTRA_TOKEN": ""}


def test_whatever_is_named_is_there(tmp_path: Path) -> None:
    made = compose()
    services, volumes = made["services"], made["volumes"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        for volume in service.get("volumes", ()):
            assert volume.partition(":")[0] in volumes or volume.startswith("./")
    names = {(document["kind"], document["metadata"]["name"]) for _, document in DOCUMENTS}
    for _, container in containers():
        for source in container.get("envFrom", ()):
            for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                assert key not in source or (kind, source[key]["name"]) in names
    scaled, secret = one("ScaledObject", "lorchestra-worker"), one("TriggerAuthentication", "lorchestra-door")["spec"]
    assert ("Deployment", scaled["spec"]["scaleTargetRef"]["name"]) in names
    assert ("TriggerAuthentication", scaled["spec"]["triggers"][0]["authenticationRef"]["name"]) in names
    (key,) = secret["secretTargetRef"]
    assert key["key"] in one("Secret", key["name"])["stringData"]
    assert "replicas" not in one("Deployment", "lorchestra-worker")["spec"]  # KEDA's, or each apply would undo it
    settings = tmp_path / "service.json"
    settings.write_text(one("ConfigMap", "lorchestra-door")["data"]["service.json"], encoding="utf-8")
    assert read_settings(settings, {}).most_queued == 5000
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.M):
        assert all((ROOT / name).exists() for name in source.split()), source


def test_images_have_versions() -> None:
    images = {service["image"] for service in compose()["services"].values()}
    images |= {container["image"] for _, container in containers()} - {"lorchestra", "comfyui-lorchestra"}
    images |= set(re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.M))
    assert all(re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", image) for image in images), images
    ours = {image["name"] for image in read_documents(KUBERNETES / "kustomization.yaml")[0]["images"]}
    assert ours == {"lorchestra", "comfyui-lorchestra"}
    assert f"-t lorchestra:{__version__} " in (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def test_a_worker_has_the_time_to_finish() -> None:
    limit = parsed(["serve"]).limit
    assert one("Deployment", "lorchestra-worker")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > limit
    for name, service in compose()["services"].items():
        if name.startswith(("worker", "comfyui")):
            assert 60 * int(service["stop_grace_period"].removesuffix("m")) > limit
        if name.startswith("worker"):  # Compose ends what depends on another first
            assert not service["depends_on"][name.replace("worker", "comfyui")]["required"]
    assert [one["restartPolicy"] for name, one in containers() if one["name"] == "comfyui"] == ["Always"]


def test_probes_and_keda_ask_for_what_there_is(tmp_path: Path) -> None:
    paths = re.findall(r"http://127\.0\.0\.1:8190(/[\w/.-]+)", COMPOSE.read_text(encoding="utf-8"))
    probes = ("startupProbe", "readinessProbe", "livenessProbe")
    paths += [
        container[probe]["httpGet"]["path"] for _, container in containers() for probe in probes
        if "httpGet" in container.get(probe, ())
    ]  # fmt: skip
    assert len(paths) == 4
    for path in paths:
        route, _ = find_route("GET", path.removeprefix("/lorchestra"))
        assert route.is_open, path
    (trigger,) = one("ScaledObject", "lorchestra-worker")["spec"]["triggers"]
    folder = Folder(tmp_path)
    door = Door(
        folder.places, Table(folder.database), Kept(folder.files, folder.cache), broker.make_app(None, folder.broker), 9
    )
    served = {route.resource.canonical for route in door.make_app().router.routes() if route.resource}
    assert "/" + trigger["metadata"]["url"].split("/", 3)[3] in served
    assert one("ServiceMonitor", "lorchestra-door")["spec"]["endpoints"][0]["path"] in served
    read: Callable[[], Any] = lambda: door.status()[trigger["metadata"]["valueLocation"]]  # noqa: E731
    assert read() == 0
    door.fleet._waiting.update({"any": 3, "base.x": 2})  # pyright: ignore[reportPrivateUsage]
    assert read() == 5 and door.status()["queued"] == 5
