"""Tells the addresses that callers named how their jobs ended: signed, in threads, again and again until one is taken.

The form is that of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): three headers, and HMAC-SHA256 over
`id.timestamp.body`. What waits is in the file of jobs, so it outlives the server. An answer never leads elsewhere. Over
https, the certificate holds that the listed name is who answers, whatever DNS says; over http, the other end must be
this machine.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ..errors import shortened
from ..limits import Json
from .addresses import Address, AddressError, is_own, require_listed
from .batch import Batch
from .job import Job
from .settings import Settings
from .store import Hook, Store, StoreError

MOST_ATTEMPTS = 8
_SECONDS = 10.0
"""For each step of a delivery: the connection, each piece of the answer."""
_MOST_SECONDS = 20.0
"""For a whole delivery."""
_THREADS = 4
_MOST_AT_ONCE = 32
_LONGEST_PAUSE = 60.0
_GONE = 410
"""The receiver wants no more."""

Show = Callable[[Hook, Job | Batch], Json]


def delay_of(attempt: int) -> float:
    """Seconds until the next one after so many attempts: 5, 20, 80 … 20,480, within a tenth."""
    return 5.0 * 4.0 ** (attempt - 1) * random.uniform(0.9, 1.1)


def sign(secret: bytes, own: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the signature in base64."""
    digest = hmac.new(secret, f"{own}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class Webhooks:
    """What is to be told, and the threads that tell it."""

    def __init__(self, store: Store, settings: Callable[[], Settings], show: Show) -> None:
        self._store = store
        self._settings = settings
        self._show = show
        self._event = threading.Event()
        self._is_closed = False
        self._sending: set[str] = set()
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        """Begins, if the settings have a list; without one there is nothing to tell."""
        if self._settings().webhooks:
            self._pool = ThreadPoolExecutor(_THREADS, "lorchestra-webhooks")
            threading.Thread(target=self._work, name="lorchestra-webhooks", daemon=True).start()

    def wake(self) -> None:
        """A job has ended. From any thread."""
        self._event.set()

    def close(self) -> None:
        """Ends the threads; what was not told is told after the next start."""
        self._is_closed = True
        self._event.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _work(self) -> None:
        while not self._is_closed:
            self._event.clear()
            try:
                pause = self._begin_due()
            except StoreError:  # the disk is full, or the file is gone: requests are told so
                pause = _LONGEST_PAUSE
            self._event.wait(pause)

    def _begin_due(self) -> float:
        """Hands what is due to the threads; gives the seconds until something else is."""
        now = time.time()
        for hook, job in self._store.waiting_hooks(_MOST_AT_ONCE * 2):
            if hook.job in self._sending:
                continue
            if hook.due > now:
                return min(_LONGEST_PAUSE, hook.due - now)
            if len(self._sending) >= _MOST_AT_ONCE or self._pool is None:
                return _LONGEST_PAUSE  # one of them wakes us when it is done
            with self._lock:
                self._sending.add(hook.job)
            with contextlib.suppress(RuntimeError):  # closed meanwhile
                self._pool.submit(self._tell, hook, job)
        return _LONGEST_PAUSE

    def _tell(self, hook: Hook, job: Job | Batch) -> None:
        try:
            try:
                reason = self._deliver(hook, job)
            except Exception as error:  # else it would be tried at once, for ever
                logging.exception("[Lorchestra] the webhook of job %s cannot be told", hook.job)
                reason = type(error).__name__
            attempts = hook.attempts + 1
            if reason is None or attempts >= MOST_ATTEMPTS:
                self._store.remove_hook(hook.job)
                if reason:
                    said = "[Lorchestra] the webhook of job %s was not taken after %d attempts: %s"
                    logging.warning(said, hook.job, attempts, reason)
            else:
                self._store.delay_hook(hook.job, attempts, time.time() + delay_of(attempts))
        except StoreError:
            return
        finally:
            with self._lock:
                self._sending.discard(hook.job)
            self._event.set()

    def _deliver(self, hook: Hook, job: Job | Batch) -> str | None:
        """Why it was not taken; None if it was, or if nobody wants it any more."""
        settings = self._settings()
        try:
            address = require_listed(hook.url, settings.webhooks)
        except AddressError as error:  # it was on the list when the job was sent
            logging.warning("[Lorchestra] the webhook of job %s is not posted: %s", hook.job, error)
            return None
        body = json.dumps(self._show(hook, job), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
        now = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Lorchestra",
            "webhook-id": hook.job,
            "webhook-timestamp": str(now),
            "webhook-signature": sign(settings.webhook_secret, hook.job, now, body),
        }
        try:
            status = _post(address, body, headers)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return shortened(f"{type(error).__name__}: {error}")
        return None if 200 <= status < 300 or status == _GONE else f"HTTP {status}"


def _post(address: Address, body: bytes, headers: dict[str, str]) -> int:
    """The status of the answer, of which no more is read."""
    if address.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(address.host, address.port, timeout=_SECONDS, context=context)
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=_SECONDS)

    def stop() -> None:
        with contextlib.suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(_MOST_SECONDS, stop)
    watch.daemon = True
    watch.start()
    try:
        connection.connect()
        if address.scheme == "http" and not is_own(connection.sock.getpeername()[0]):
            raise OSError("the address leads to another machine, and is not encrypted")
        connection.request("POST", address.target, body, headers)
        return connection.getresponse().status
    finally:
        watch.cancel()
        connection.close()
