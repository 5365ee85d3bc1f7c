"""Fairness among requests and handshakes, before anything works on them: so many of one requester, and in turns."""

from __future__ import annotations

import asyncio
from collections import Counter

import structlog
from django.conf import settings
from django.http.cookie import parse_cookie

from accounts.key_headers import join_headers, read_api_key
from accounts.requesters import find_requester, requester_user
from agents.ws import frames
from agents.ws.close_codes import CloseCode, accept_and_close
from bandstand.web.asgi_types import Application, Message, Receive, Scope, Send
from bandstand.web.error_responses import ErrorResponse
from foundation.db_threads import bind_requester
from foundation.errors import BandstandError, RateLimited
from foundation.ids import new_id
from ratelimits.limiter import guard_known_flood
from rest.request_turns import RequestTurn, bind_turn, enter_request
from rest.throttling import limit_headers

log = structlog.get_logger("bandstand.web")

# Answered whatever happens.
PROBES = frozenset({"/health", "/livez", "/ready", "/readyz", "/info"})
# Whose requests are counted per minute.
COUNTED = ("/api/", "/chat/", "/v1/")


# A refusal waits so long for each other one of the same requester: a client that repeats at once is slowed down, or
# refusing it would be the flood.
REFUSAL_SECONDS = 0.1
LONGEST_REFUSAL_SECONDS = 5.0


class FairRequestsMiddleware:
    """Counts requests in progress, and lets them work in turns of those who ask.

    The turn ends when the response or the websocket begins; a request that waits ends it before. Refusals cost little:
    they are made before the request is looked at.
    """

    def __init__(self, app: Application) -> None:
        self.app = app
        self._refusals: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        client = scope.get("client")
        requester = find_requester(read_credential(scope), str(client[0]) if client else None)
        bind_requester(requester)
        try:
            turn = _enter(requester, scope)
        except BandstandError as error:
            await self._pace_refusal(requester)
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

        async def send_and_rest(message: Message) -> None:
            if message["type"] == ends_work:
                turn.rest()
                if scope["type"] == "websocket":
                    turn.leave()
            await send(message)

        try:
            await self.app(scope, receive, send_and_rest)
        finally:
            turn.leave()

    async def _pace_refusal(self, requester: str) -> None:
        self._refusals[requester] += 1
        pending = self._refusals[requester] - 1
        try:
            await asyncio.sleep(min(LONGEST_REFUSAL_SECONDS, pending * REFUSAL_SECONDS))
        finally:
            self._refusals[requester] -= 1
            if not self._refusals[requester]:
                del self._refusals[requester]


def read_credential(scope: Scope) -> str | None:
    """The API key or login that a request comes with, good or not: to know whose it is, not to let anybody in."""
    headers = {name: value.decode("latin1") for name, value in join_headers(scope["headers"]).items()}
    key = read_api_key(headers.get(b"authorization"), headers.get(b"x-api-key"))
    if key is not None:
        return key
    cookies = headers.get(b"cookie")
    return parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME) if cookies else None


def _enter(requester: str, scope: Scope) -> RequestTurn:
    user_id = requester_user(requester)
    if user_id is not None and (scope["type"] == "websocket" or scope["path"].startswith(COUNTED)):
        guard_known_flood(user_id)
    return enter_request(requester)


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
