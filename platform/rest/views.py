"""The base classes of all views of the REST interfaces: authentication, rate limits, method and error handling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts.actor import Actor
from accounts.requesters import user_requester
from foundation.db_threads import bind_requester, in_db_thread
from foundation.errors import BandstandError
from ratelimits import Remaining
from rest.authentication import authenticate
from rest.content_negotiation import JSON, check_acceptable
from rest.errors import MethodNotAllowed
from rest.problem_responses import problem_response
from rest.throttling import add_limit_headers, count_request


class ApiView(APIView):
    """A synchronous view. Its handlers find Django's request in `self.http` and the actor in `self.actor`."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = (JSONRenderer,)
    http_method_names = ["get", "post", "put", "patch", "delete", "head"]

    media_types: Sequence[str] = (JSON,)
    actor: Actor | None = None
    remaining: Sequence[Remaining] = ()

    def initial(self, request: Request, *_args: Any, **_kwargs: Any) -> None:
        """Replaces the negotiation, permissions and throttles of the framework."""
        self.admit(_plain(request))
        self.check_request()

    def check_request(self) -> None:
        """Raise `MethodNotAllowed`, and `NotAcceptable` if the client accepts none of `media_types`."""
        if str(self.http.method) not in self.allowed_methods:
            raise MethodNotAllowed
        check_acceptable(self.http, self.media_types)

    def http_method_not_allowed(self, *_args: Any, **_kwargs: Any) -> Any:
        raise MethodNotAllowed

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        request = _plain(self.request)
        if isinstance(exc, BandstandError):
            self.remaining = exc.context.get("remaining", self.remaining)
        return problem_response(
            exc,
            actor=self.actor.name if self.actor else None,
            method=str(request.method),
            path=request.path,
        )

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        add_limit_headers(response, self.remaining)
        return super().finalize_response(request, response, *args, **kwargs)

    def admit(self, request: HttpRequest) -> None:
        """Authenticate the request and count it. Raises `Unauthenticated`, `CsrfFailed`, `RateLimited`."""
        self.actor = authenticate(request)
        self.remaining = count_request(self.actor)

    @classmethod
    def is_search(cls, _request: HttpRequest) -> bool:
        """Whether the request searches: such requests are fewer at a time than others."""
        return False

    @property
    def http(self) -> HttpRequest:
        """Django's request."""
        return _plain(self.request)

    def who(self) -> Actor:
        """The actor, which is set in every handler."""
        assert self.actor is not None
        return self.actor


class AsyncApiView(ApiView):
    """An asynchronous view: its handlers are coroutines, which use the database in database threads."""

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            await in_db_thread(self.admit, request)
            if (user_id := self.who().user_id) is not None:
                bind_requester(user_requester(user_id))
            self.check_request()
            response = await getattr(self, str(request.method).lower())(self.request, *args, **kwargs)
        except Exception as error:
            response = self.handle_exception(error)
        self.response = self.finalize_response(self.request, response, *args, **kwargs)
        return self.response


def _plain(request: Request | HttpRequest) -> HttpRequest:
    return request._request if isinstance(request, Request) else request
