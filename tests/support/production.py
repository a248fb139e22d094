"""PostgreSQL, RabbitMQ and an S3 as processes of their own, which tests can kill and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_binary(name: str, package: str) -> str:
    """Where a program is, also in Debian's folders; skips the test with a line where there is none."""
    folders = [*sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True), "/usr/lib/rabbitmq/bin"]
    found = shutil.which(name, path=os.pathsep.join((*folders, os.environ.get("PATH", ""), "/usr/sbin")))
    return found or pytest.skip(f"{name} is not installed: on Debian, apt-get install {package}")


@dataclass
class Running:
    """A server that can be killed and started again."""

    url: str
    command: Sequence[str]
    folder: Path
    is_there: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    process: subprocess.Popen[Any] | None = None

    def start(self, seconds: float = 60) -> None:
        written = self.folder / "server.log"
        with written.open("ab") as log:
            process = subprocess.Popen(
                self.command, env=dict(os.environ) | dict(self.environment), stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True, cwd=self.folder, **self.options,
            )  # fmt: skip
        self.process, end = process, time.monotonic() + seconds
        while not self.is_there():
            assert process.poll() is None and time.monotonic() < end, written.read_text(errors="replace")[-3000:]
            time.sleep(0.1)

    def kill(self) -> None:
        """Ends it and all that it has started, at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
            self.process = None


@contextlib.contextmanager
def _folder(owner: str | None = None) -> Generator[Path]:
    """A folder that another user can reach, as pytest's cannot."""
    made = Path(tempfile.mkdtemp(prefix="lorchestra-"))
    try:
        if owner:
            shutil.chown(made, owner, owner)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def postgresql() -> Generator[Running]:
    """A PostgreSQL with an empty database; its URL is SQLAlchemy's."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'psycopg[binary]'")
    postgres, initdb = find_binary("postgres", "postgresql"), find_binary("initdb", "postgresql")
    owner = "postgres" if os.geteuid() == 0 else None  # it does not run as root
    options: dict[str, Any] = {"user": owner, "group": owner, "extra_groups": []} if owner else {}
    with _folder(owner) as folder:
        data, port = folder / "data", free_port()
        command = [initdb, "-D", str(data), "-U", "lorchestra", "--auth=trust", "--encoding=UTF8", "--no-sync"]
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)
        assert made.returncode == 0, made.stderr
        url = f"postgresql+psycopg://lorchestra@127.0.0.1:{port}/postgres"

        def is_there() -> bool:
            import psycopg

            try:
                psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2).close()
            except psycopg.Error:
                return False
            return True

        command = [postgres, "-D", str(data), "-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1"]
        server = Running(url, command, folder, is_there, options=options)
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextlib.contextmanager
def rabbitmq(consumer_seconds: float | None = None) -> Generator[Running]:
    """A RabbitMQ with its guest; who does not acknowledge a message in so many seconds is dropped."""
    binary, control = find_binary("rabbitmq-server", "rabbitmq-server"), find_binary("rabbitmqctl", "rabbitmq-server")
    with _folder() as folder:
        port, names = free_port(), free_port()
        (folder / "plugins").write_text("[].\n")
        limits = "" if consumer_seconds is None else f"{{consumer_timeout, {consumer_seconds * 1000:.0f}}},"
        (folder / "advanced.config").write_text(f"[{{rabbit, [{limits} {{channel_tick_interval, 1000}}]}}].\n")
        environment = {
            "HOME": str(folder), "RABBITMQ_NODENAME": f"lorchestra{port}@localhost", "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder), "RABBITMQ_LOG_BASE": str(folder), "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"), "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"), "ERL_EPMD_PORT": str(names),
            "RABBITMQ_CTL_ERL_ARGS": "", "LANG": "C.UTF-8", "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
        }  # fmt: skip

        def is_there() -> bool:
            if not _listens(port):
                return False
            command = [control, "await_startup", "--timeout", "10"]
            environ = dict(os.environ) | environment
            return subprocess.run(command, env=environ, capture_output=True, check=False).returncode == 0

        server = Running(f"amqp://guest:guest@127.0.0.1:{port}//", [binary], folder, is_there, environment)
        try:
            server.start(120)
            yield server
        finally:
            server.kill()
            if epmd := shutil.which("epmd"):  # Erlang leaves it running
                subprocess.run([epmd, "-port", str(names), "-kill"], capture_output=True, check=False)


@contextlib.contextmanager
def s3() -> Generator[Running]:
    """An S3 with the bucket `pictures`, which clients find by the environment that it gives."""
    for package in ("moto.server", "s3fs"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'moto[server]' s3fs")
    with _folder() as folder:
        port = free_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "something", "AWS_DEFAULT_REGION": "us-east-1",
        }  # fmt: skip
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = Running("s3://pictures/lorchestra", command, folder, lambda: _listens(port), environment)
        server.start()
        try:
            make_bucket(server)
            yield server
        finally:
            server.kill()


def make_bucket(server: Running) -> None:
    command = [sys.executable, "-c", "import s3fs; s3fs.S3FileSystem().mkdir('pictures')"]
    environment = dict(os.environ) | dict(server.environment)
    made = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
