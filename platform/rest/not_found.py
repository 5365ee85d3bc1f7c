"""The view of unknown URLs below `/api/`."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt

from foundation.errors import NotFound
from rest.problem_responses import problem_response


@csrf_exempt
def not_found_view(request: HttpRequest) -> HttpResponse:
    """404 as a problem, whatever the method and whoever asks."""
    hint = " Addresses here end without a slash." if _exists_without_slash(request.path_info) else ""
    error = NotFound(f"There is no such address.{hint}")
    return problem_response(error, actor=None, method=str(request.method), path=request.path)


def _exists_without_slash(path: str) -> bool:
    """Whether `path` without its trailing slash is a known URL."""
    if not path.endswith("/"):
        return False
    try:
        return resolve(path.rstrip("/")).func is not not_found_view
    except Resolver404:
        return False
