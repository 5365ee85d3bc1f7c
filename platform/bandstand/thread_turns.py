"""Turns of synchronous views and of searches, as soon as Django knows the view."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.db import close_old_connections, connection
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from accounts.requesters import find_requester, remember_refusal, remember_requester
from bandstand.error_handlers import temporary_refusal
from foundation.errors import BandstandError
from rest.authentication import read_credential
from rest.request_turns import RequestTurn, enter_console, enter_search, find_turn, thread_turns
from rest.views import ApiView

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class ThreadTurnsMiddleware:
    """Has synchronous views wait for a thread, and searches and pages of the console for their turn.

    Asynchronous views work in the database threads, which are shared by requester, too.
    """

    sync_capable = False
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    async def __call__(self, request: HttpRequest) -> HttpResponseBase:
        turns: list[RequestTurn] = []
        request.thread_turns = turns  # type: ignore[attr-defined]
        try:
            response = await self.get_response(request)
            if turns and not response.streaming:
                # Its thread keeps the connection until the client has read the response.
                await sync_to_async(_return_connection)()
        finally:
            for turn in turns:
                turn.leave()
        _remember_login(request)
        return response

    async def process_view(
        self, request: HttpRequest, view: Callable[..., Any], _args: Any, _kwargs: Mapping[str, Any]
    ) -> HttpResponseBase | None:
        """Called by Django when it knows the view: a response refuses the request."""
        if iscoroutinefunction(view):
            return None
        turns: list[RequestTurn] = request.thread_turns  # type: ignore[attr-defined]
        entered = find_turn(request)
        if entered is not None:
            entered.rest()  # from here on it does not work on the event loop
        requester = entered.requester if entered else _requester(request)
        cls = getattr(view, "cls", None)
        try:
            if isinstance(cls, type) and issubclass(cls, ApiView) and cls.is_search(request):
                turns.append(enter_search(requester))
                await turns[-1].wait()
            if request.resolver_match is not None and request.resolver_match.app_name == "admin":
                turns.append(enter_console(requester))
                await turns[-1].wait()
            turns.append(thread_turns.enter(requester))
            await turns[-1].wait()
        except BandstandError as error:
            return temporary_refusal(request, error)
        return None


def _requester(request: HttpRequest) -> str:
    return find_requester(read_credential(request), request.META.get("REMOTE_ADDR"))


def _return_connection() -> None:
    if not connection.in_atomic_block:  # a test's own transaction
        close_old_connections()


def _remember_login(request: HttpRequest) -> None:
    """Note whose login this is, if the view has found out; API keys are noted where they are authenticated."""
    user = getattr(request, "_cached_user", None)
    login = request.COOKIES.get(settings.SESSION_COOKIE_NAME)
    if not login or user is None:
        return
    if user.pk is not None:
        remember_requester(login, user.pk)
    else:
        remember_refusal(login)
