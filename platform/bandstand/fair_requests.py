"""Fairness among requests, before their views: so many of one requester, in turns, and searches fewer than others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.db import close_old_connections
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.requesters import find_requester, remember_requester, requester_user
from bandstand.error_handlers import temporary_refusal
from foundation.db_threads import bind_requester
from foundation.errors import BandstandError
from ratelimits.limiter import refuse_known_flood
from rest.authentication import read_credential
from rest.request_turns import RequestTurn, bind_turn, enter_request, enter_search
from rest.throttling import add_limit_headers
from rest.views import ApiView

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class FairRequestsMiddleware:
    """Counts requests in progress, and has synchronous views wait for their turn.

    Asynchronous ones work in the database threads, which are shared by requester, too.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        credential = read_credential(request)
        requester = find_requester(credential, request.META.get("REMOTE_ADDR"))
        bind_requester(requester)
        try:
            turns = [enter_request(requester)]
        except BandstandError as error:
            return temporary_refusal(request, error)
        bind_turn(request, turns[0])
        request.turns = turns  # type: ignore[attr-defined]
        try:
            response = await self.get_response(request)
            if turns[0].is_at_work and not response.streaming:
                # Its thread keeps the connection until the client has read the response.
                await sync_to_async(_return_connection)()
        finally:
            for turn in turns:
                turn.leave()
        _remember(request, credential)
        return response

    async def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: Any, _kwargs: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        """Called by Django when it knows the view: a response refuses the request."""
        turns: list[RequestTurn] = request.turns  # type: ignore[attr-defined]
        requester = turns[0].requester
        cls = getattr(view, "cls", None)
        try:
            if isinstance(cls, type) and issubclass(cls, ApiView):
                if (user_id := requester_user(requester)) is not None:
                    refuse_known_flood(user_id)
                if cls.is_search(request):
                    turns.append(enter_search(requester))
                    await turns[1].wait()
            if not iscoroutinefunction(view):
                await turns[0].wait()
        except BandstandError as error:
            response = temporary_refusal(request, error)
            add_limit_headers(response, error.context.get("remaining", ()))
            return response
        return None


def _return_connection() -> None:
    if settings.DATABASES["default"]["OPTIONS"].get("pool"):
        close_old_connections()


def _remember(request: HttpRequest, credential: str | None) -> None:
    """Note whose login this is, if the view has found out; API keys are noted where they are authenticated."""
    user = getattr(request, "_cached_user", None)
    if credential is not None and user is not None and user.pk is not None:
        remember_requester(credential, user.pk)
