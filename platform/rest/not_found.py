"""Every address below `/api/` that is none."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt

from foundation.errors import NotFound
from rest.problems import problem_response


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """The answer at such an address: 404 as a problem, whatever the method and whoever asks."""
    hint = " Addresses here end without a slash." if _would_be_one_without_its_slash(request.path_info) else ""
    error = NotFound(f"There is no such address.{hint}")
    return problem_response(error, actor=None, method=str(request.method), path=request.path)


def _would_be_one_without_its_slash(path: str) -> bool:
    if not path.endswith("/"):
        return False
    try:
        return resolve(path.rstrip("/")).func is not unknown
    except Resolver404:
        return False
