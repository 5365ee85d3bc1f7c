"""Django's handlers of errors outside of views, such as an unknown host name: respond in the format of the interface
that was called, with one line in the log.
"""

import sys
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.views import defaults

from agents.openai_api.errors import openai_error_response
from bandstand.web.error_responses import ErrorResponse
from console.list_parameters import UnknownFilter
from foundation.errors import BandstandError
from foundation.ids import new_id
from foundation.request_ids import current_request_id
from rest.problem_responses import classify_error, http_status, mark_logged, problem_response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's handler400."""
    return _respond(request, exception, lambda: _bad_request_page(exception))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's handler500, called while the exception is being handled."""
    error = sys.exc_info()[1]
    assert isinstance(error, Exception)
    return _respond(request, error, lambda: defaults.server_error(request))


def _respond(request: HttpRequest, error: Exception, page: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    path, method = request.path, str(request.method)
    if path.startswith("/v1/"):
        return openai_error_response(error, actor=None, method=method, path=path)
    if path.startswith(("/api/", "/chat/")):
        return problem_response(error, actor=None, method=method, path=path)
    classified = classify_error(error, actor=_actor_name(request), method=method, path=path)
    return mark_logged(
        _unavailable_page(classified, path) if classified is not None and classified.retryable else page()
    )


def _actor_name(request: HttpRequest) -> str | None:
    """The name of the user, if the view has read it: here the database may be what fails."""
    user = getattr(request, "_cached_user", None)
    return user.get_username() or None if user is not None else None


def _bad_request_page(error: Exception) -> HttpResponse:
    """The page of a 400. Only what is written for people is shown: other messages may repeat what a stranger sent."""
    detail = str(error) if isinstance(error, UnknownFilter) else ""
    return HttpResponse(render_to_string("400.html", {"detail": detail}), status=400)


def _unavailable_page(error: BandstandError, path: str) -> HttpResponse:
    """An HTML page with the status and Retry-After of a temporary error, for instance a lost database."""
    refusal = ErrorResponse(http_status(error), error.code, error.detail, error.retry_after_seconds)
    content = refusal.content(path, current_request_id() or new_id())
    headers = {name.decode(): value.decode() for name, value in refusal.headers(path, content)}
    return HttpResponse(content, status=refusal.status, headers=headers)
