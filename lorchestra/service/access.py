"""Who may call: the bearer token, this machine alone where there is none, and no page of another site."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from .callers import OWNER, Caller, find_caller
from .http import Refusal, Request
from .settings import Settings

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""A proxy on this machine says with these that the client is elsewhere."""


def require_access(request: Request, settings: Settings) -> Caller:
    """Who calls.

    Raises `Refusal`: 403 for a page of another site, 401 without a token, 403 from elsewhere where none is set.
    """
    _require_own_site(request, settings)
    if settings.token is not None:
        return _require_token(request, settings)
    if any(name in request.headers for name in _FORWARDED) or not _is_loopback(request.peer):
        raise Refusal(
            403,
            "forbidden",
            "without a token only this machine may call. Set LORCHESTRA_TOKEN where ComfyUI is started, and send it as "
            '"Authorization: Bearer …".',
        )
    if not _is_own_name(_host(request)):  # a name of somebody else's that leads here: DNS rebinding
        raise Refusal(403, "forbidden", "without a token, call this machine by 127.0.0.1 or localhost.")
    return OWNER


def _require_token(request: Request, settings: Settings) -> Caller:
    scheme, _, said = request.headers.get("authorization", "").partition(" ")
    caller = find_caller(said.strip(), settings.token, settings.callers)
    if scheme.lower() == "bearer" and caller is not None:
        return caller
    raise Refusal(
        401,
        "unauthorized",
        'this needs the token: send "Authorization: Bearer …".',
        headers={"WWW-Authenticate": "Bearer"},
    )


def _require_own_site(request: Request, settings: Settings) -> None:
    """Browsers say where a page is from: in `Origin`, or in `Sec-Fetch-Site`."""
    origin = request.headers.get("origin")
    if origin in settings.origins:
        return
    site = request.headers.get("sec-fetch-site", "none")
    if site not in ("same-origin", "none") or (origin is not None and not _is_here(origin, request, settings)):
        raise Refusal(403, "forbidden", "pages of other sites may not call this service.")


def _is_here(origin: str, request: Request, settings: Settings) -> bool:
    here = [request.headers.get("host", "")]
    if settings.public_url:
        here.append(urlsplit(settings.public_url).netloc)
    return urlsplit(origin).netloc.lower() in [host.lower() for host in here if host]


def _host(request: Request) -> str | None:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None


def _is_own_name(host: str | None) -> bool:
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str | None) -> bool:
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback
