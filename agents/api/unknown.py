"""Every address below `/api/` that is none."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from agents.api.problems import answer_error
from foundation.errors import NotFound


@csrf_exempt
def unknown(request: HttpRequest) -> HttpResponse:
    """The same answer for every method and everybody."""
    error = NotFound("There is no such address.")
    return answer_error(error, actor=None, method=str(request.method), path=request.path)
