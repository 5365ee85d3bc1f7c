"""The bases of all views: who asks, which method, and one place for errors."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from agents.access.actor import Actor
from agents.api.authentication import authenticate
from agents.api.problems import answer_error
from agents.api.refusals import MethodNotAllowed
from foundation.db_threads import in_db_thread


class ApiView(APIView):
    """A synchronous view. Its methods take the plain request, find the actor in `self.actor`, and answer or raise."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    parser_classes = ()
    renderer_classes = (JSONRenderer,)
    http_method_names = ["get", "post", "patch", "delete", "head"]

    actor: Actor | None = None

    def initial(self, request: Request, *_args: Any, **_kwargs: Any) -> None:
        """Instead of the framework's negotiation, permissions and throttles."""
        self.actor = authenticate(_plain(request))

    def http_method_not_allowed(self, *_args: Any, **_kwargs: Any) -> Any:
        raise MethodNotAllowed

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        request = _plain(self.request)
        return answer_error(
            exc,
            actor=self.actor.name if self.actor else None,
            method=str(request.method),
            path=request.path,
        )

    @property
    def http(self) -> HttpRequest:
        """Django's own request."""
        return _plain(self.request)

    def who(self) -> Actor:
        """The actor; there is one in every handler."""
        assert self.actor is not None
        return self.actor


class AsyncApiView(ApiView):
    """A view that waits for more than the database: its methods are coroutines; rows are read in database threads."""

    async def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:  # type: ignore[override]
        self.args, self.kwargs = args, kwargs
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers = self.default_response_headers
        try:
            self.actor = await in_db_thread(authenticate, request)
            method = str(request.method).lower()
            handler = getattr(self, method, None) if method in self.http_method_names else None
            if handler is None:
                raise MethodNotAllowed
            answer = await handler(self.request, *args, **kwargs)
        except Exception as error:
            answer = self.handle_exception(error)
        self.response = self.finalize_response(self.request, answer, *args, **kwargs)
        return self.response


def _plain(request: Request | HttpRequest) -> HttpRequest:
    return request._request if isinstance(request, Request) else request
