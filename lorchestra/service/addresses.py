"""Addresses that callers name for a webhook: taken apart once, and held against the list of the owner."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from ..errors import LorchestraError, quoted

MAX_ADDRESS = 2000
_PORTS = {"https": 443, "http": 80}
_PLAIN = re.compile(r"[!-~]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]", re.ASCII)


class AddressError(LorchestraError):
    """A text that is no address to post to."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is posted to."""

    scheme: str
    """`https`, or `http` for this machine itself."""
    host: str
    """In small letters; of IPv6 without brackets."""
    port: int
    path: str
    """As it is sent, from `/` on, without the query."""
    query: str

    @property
    def target(self) -> str:
        """What stands in the request."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def has(self, other: Address) -> bool:
        """Whether another one lies below this one: same scheme, host and port, and this path or one below it."""
        if (self.scheme, self.host, self.port) != (other.scheme, other.host, other.port):
            return False
        folder = self.path if self.path.endswith("/") else f"{self.path}/"
        return other.path == self.path or other.path.startswith(folder)


def read_address(text: str) -> Address:
    """The address; raises `AddressError` for one that may lead elsewhere than it seems to."""
    if len(text) > MAX_ADDRESS or _PLAIN.fullmatch(text) is None or "\\" in text:
        raise AddressError(f"{quoted(text)} is not an address: expected up to {MAX_ADDRESS:,} plain characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise AddressError(f"{quoted(text)} is not an address: {error}") from error
    host = parts.hostname or ""
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or _HOST.fullmatch(f"[{host}]" if ":" in host else host) is None:
        raise AddressError(f"{quoted(text)} is not an address: expected https:// and a host")
    if "@" in parts.netloc or "#" in text:
        raise AddressError(f"{quoted(text)} has a user name, a password or a # in it, which an address here has not")
    if scheme == "http" and not is_own(host):
        raise AddressError(f"{quoted(text)} is not encrypted; http:// is for this machine itself (127.0.0.1)")
    if port == 0:
        raise AddressError(f"{quoted(text)} is not an address: its port is 0")
    path = parts.path or "/"
    segments = unquote(unquote(path)).replace("\\", "/").split("/")
    if ".." in segments or "." in segments or "%2f" in path.lower() or "%5c" in path.lower():
        raise AddressError(
            f"{quoted(text)} has a path with dots or hidden slashes, which leads elsewhere than it seems"
        )
    return Address(scheme, host, port or _PORTS[scheme], path, parts.query)


def require_listed(text: str, listed: Sequence[Address]) -> Address:
    """The address, if it lies below one of the list; raises `AddressError` with what to do."""
    if not listed:
        raise AddressError('nothing is posted from here: the list "webhooks" in the settings (service.json) is empty')
    address = read_address(text)
    if not any(one.has(address) for one in listed):
        raise AddressError(f'{quoted(text, 200)} is not below an address of the list "webhooks" in the settings')
    return address


def is_own(host: str) -> bool:
    """True for this machine by its own names."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
