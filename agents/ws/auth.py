"""Authentication of websockets: ASGI middleware, as no Django middleware runs for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from django.conf import settings
from django.http.cookie import parse_cookie
from django.http.request import split_domain_port, validate_host

from accounts.actor import Actor
from accounts.key_headers import join_headers, read_api_key
from accounts.requesters import find_requester, remember_refusal, remember_requester, user_requester
from agents.http.credentials import Credential, authenticate_by_key, authenticate_by_login
from agents.ws import frames
from agents.ws.close_codes import CloseCode, accept_and_close
from agents.ws.origins import origin_allowed
from foundation.db_threads import DATABASE_FAULTS, bind_requester, in_db_thread
from foundation.errors import RateLimited, Unauthenticated, Unavailable
from ratelimits import guard_request

log = structlog.get_logger(__name__)

_SESSION_KEY = re.compile("[a-zA-Z0-9]{8,64}")


class AuthenticationMiddleware:
    """ASGI middleware that puts `actor` and `credential` into the scope, or closes the socket.

    Close codes: 4401 without valid credentials, 4403 for a login from a foreign origin, 4429 when rate limited, 1013
    without the database. Credentials are `Authorization: Bearer <key>`, `X-Api-Key: <key>` or the login cookie, never
    the URL.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        headers = join_headers(scope["headers"])
        try:
            actor, credential = await _authenticate(scope, headers)
        except Unauthenticated as fault:
            rule = fault.context.get("rule", "unauthenticated")
            log.warning("websocket.refused", rule=rule, client=_client(scope))
            code = CloseCode.FORBIDDEN if rule == "origin" else CloseCode.UNAUTHENTICATED
            await accept_and_close(scope, receive, send, code)
        except RateLimited as fault:
            log.warning("websocket.refused", rule=fault.context.get("rule", fault.code), client=_client(scope))
            await accept_and_close(scope, receive, send, CloseCode.RATE, frames.error(fault))
        except DATABASE_FAULTS:
            error = frames.error(Unavailable())
            await accept_and_close(scope, receive, send, CloseCode.OVERLOAD, error)
        else:
            await self.app({**scope, "actor": actor, "credential": credential}, receive, send)


async def _authenticate(scope: dict[str, Any], headers: dict[bytes, bytes]) -> tuple[Actor, Credential]:
    key = _key(headers)
    if key is not None:
        return await _count_for(key, scope, partial(authenticate_by_key, key, address=_client(scope)))
    session_key = parse_cookie(headers.get(b"cookie", b"").decode("latin1")).get(settings.SESSION_COOKIE_NAME)
    if not session_key or not _SESSION_KEY.fullmatch(session_key):
        raise Unauthenticated(rule="no_credentials")
    # A browser sends the cookie whatever page asks for the socket: the page must be ours.
    origin = headers.get(b"origin", b"").decode("latin1")
    if not origin_allowed(
        origin, own_origin=_own_origin(scope, headers), trusted_origins=settings.CSRF_TRUSTED_ORIGINS
    ):
        raise Unauthenticated(rule="origin")
    return await _count_for(session_key, scope, partial(authenticate_by_login, session_key))


async def _count_for(
    credential: str, scope: dict[str, Any], authenticate: Callable[[], tuple[Actor, Credential]]
) -> tuple[Actor, Credential]:
    """The result of `authenticate`, on behalf of whoever has this credential; from then on, of its user."""
    bind_requester(find_requester(credential, _client(scope)))
    actor, authenticated = await in_db_thread(_authenticate_and_count, credential, authenticate)
    remember_requester(credential, authenticated.user_id)
    bind_requester(user_requester(authenticated.user_id))
    return actor, authenticated


def _authenticate_and_count(
    credential: str, authenticate: Callable[[], tuple[Actor, Credential]]
) -> tuple[Actor, Credential]:
    try:
        actor, authenticated = authenticate()
    except (Unauthenticated, RateLimited):
        remember_refusal(credential)
        raise
    # A websocket is a request, too: opening and closing them is not free.
    guard_request(user_id=authenticated.user_id, key_id=authenticated.key_id)
    return actor, authenticated


def _key(headers: dict[bytes, bytes]) -> str | None:
    """The API key in the headers; "" for an invalid header, None without one."""
    authorization, x_api_key = (
        None if (value := headers.get(name)) is None else value.decode("latin1")
        for name in (b"authorization", b"x-api-key")
    )
    return read_api_key(authorization, x_api_key)


def _own_origin(scope: dict[str, Any], headers: dict[bytes, bytes]) -> str | None:
    """The origin under which this request reached us. Behind a proxy that ends TLS the trusted list must name it."""
    host = headers.get(b"host", b"").decode("latin1")
    if not validate_host(split_domain_port(host)[0], settings.ALLOWED_HOSTS):
        return None
    return f"{'https' if scope.get('scheme') == 'wss' else 'http'}://{host}"


def _client(scope: dict[str, Any]) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""
