"""Fairness among requests and handshakes, before anything works on them: so many of one requester, and in turns."""

from __future__ import annotations

import structlog
from django.conf import settings
from django.http.cookie import parse_cookie

from accounts.key_headers import join_headers, read_api_key
from accounts.requesters import find_requester, is_address, requester_user
from agents.ws import frames
from agents.ws.close_codes import CloseCode, accept_and_close
from bandstand.web.asgi_types import Application, Message, Receive, Scope, Send
from bandstand.web.error_responses import ErrorResponse
from bandstand.web.paced_refusals import PacedRefusals
from foundation.db_threads import bind_requester
from foundation.errors import BandstandError, RateLimited
from foundation.ids import new_id
from ratelimits.limiter import guard_known_bad_keys, guard_known_flood
from rest.request_turns import bind_turn, enter_request
from rest.throttling import limit_headers

log = structlog.get_logger("bandstand.web")

# Answered whatever happens.
PROBES = frozenset({"/health", "/livez", "/ready", "/ready/self", "/readyz", "/info"})
# Whose requests are counted per minute.
COUNTED = ("/api/", "/chat/", "/v1/")


class FairRequestsMiddleware:
    """Counts requests in progress, and lets them work in turns of those who ask.

    The turn ends when the response or the websocket begins; a request that waits ends it before. Refusals are paced,
    and cost little: they are made before the request is looked at.
    """

    def __init__(self, app: Application, refusals: PacedRefusals | None = None) -> None:
        self.app = app
        self._refusals = refusals or PacedRefusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        client = scope.get("client")
        address = str(client[0]) if client else ""
        key, login = _read_credentials(scope)
        requester = find_requester(login if key is None else key, address)
        bind_requester(requester)
        try:
            if scope["type"] == "websocket" or scope["path"].startswith(COUNTED):
                _guard_known_floods(requester, address, key)
            turn = enter_request(requester)
        except BandstandError as error:
            # A websocket's first message is still needed for its refusal.
            if await self._refusals.wait(requester, receive if scope["type"] == "http" else None):
                await _refuse(error, requester, scope, receive, send)
            return
        try:
            await turn.wait()
        except BaseException as error:
            turn.leave()
            if not isinstance(error, BandstandError):
                raise
            await _refuse(error, requester, scope, receive, send)
            return
        bind_turn(scope, turn)
        ends_work = "http.response.start" if scope["type"] == "http" else "websocket.accept"

        # A refusal of the application waits without it: it would keep the request's body, a megabyte of anybody's.
        refusal: list[Message] = []

        async def send_and_rest(message: Message) -> None:
            if message["type"] == ends_work:
                turn.rest()
                is_refusal = _is_refusal(message, requester)
                if is_refusal or scope["type"] == "websocket":
                    turn.leave()
                if is_refusal:
                    refusal.append(message)
                    return
            if refusal:
                refusal.append(message)
                return
            await send(message)

        try:
            await self.app(scope, receive, send_and_rest)
        finally:
            turn.leave()
        if refusal:
            await self._refusals.wait(requester)
            for message in refusal:
                await send(message)


def _read_credentials(scope: Scope) -> tuple[str | None, str | None]:
    """The API key, or else the login, that a request comes with: to know whose it is, not to let anybody in."""
    headers = {name: value.decode("latin1") for name, value in join_headers(scope["headers"]).items()}
    key = read_api_key(headers.get(b"authorization"), headers.get(b"x-api-key"))
    cookies = headers.get(b"cookie") if key is None else None
    return key, parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME) if cookies else None


def _guard_known_floods(requester: str, address: str, key: str | None) -> None:
    user_id = requester_user(requester)
    if user_id is not None:
        guard_known_flood(user_id)
    elif key is not None and is_address(requester):
        guard_known_bad_keys(address)


def _is_refusal(message: Message, requester: str) -> bool:
    status = message.get("status")
    return status == 429 or (status == 401 and is_address(requester))


async def _refuse(error: BandstandError, requester: str, scope: Scope, receive: Receive, send: Send) -> None:
    path, request_id = scope["path"], new_id()
    rule = error.context.get("rule", error.code)
    log.warning("web.refused", rule=rule, requester=requester, path=path, request_id=str(request_id))
    if scope["type"] == "websocket":
        code = CloseCode.RATE if isinstance(error, RateLimited) else CloseCode.OVERLOAD
        await accept_and_close(scope, receive, send, code, frames.error(error))
        return
    status = 429 if isinstance(error, RateLimited) else 503
    response = ErrorResponse(status, error.code, error.detail, error.retry_after_seconds)
    content = response.content(path, request_id)
    headers = [*response.headers(path, content), (b"x-request-id", str(request_id).encode())]
    for name, value in limit_headers(error.context.get("remaining", ())).items():
        headers.append((name.lower().encode(), value.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
