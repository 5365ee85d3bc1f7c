"""An exception that asyncio cannot hand over, raised in a thread while a request is answered."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import AsyncClient, override_settings
from django.urls import path

from bandstand import urls
from foundation.db_threads import close_db_threads, in_db_thread, start_in_probe_thread

ANSWER_SECONDS = 20.0


def _next_of_nothing(*_args: Any) -> HttpResponse:
    return next(iter(()))


def _render_nothing(_request: HttpRequest) -> HttpResponse:
    """A page that the framework renders after its view, as it does the console's."""
    template = engines["django"].from_string("")
    response = SimpleTemplateResponse(template)
    response.resolve_context = _next_of_nothing  # type: ignore[method-assign, assignment]
    return response


handler500 = urls.handler500
urlpatterns = [
    path("view", _next_of_nothing),
    path("page", _render_nothing),
    path("api/v1/view", _next_of_nothing),
    *urls.urlpatterns,
]


@pytest.mark.parametrize("url", ["/view", "/page", "/api/v1/view"])
async def test_a_request_whose_view_raises_it_is_answered_with_500(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with override_settings(ROOT_URLCONF=__name__):
        request = AsyncClient(raise_request_exception=False).get(url)
        response = await asyncio.wait_for(request, ANSWER_SECONDS)
    assert response.status_code == 500
    assert "StopIteration" in caplog.text  # where it was raised is in the log


async def test_whoever_waits_for_a_database_thread_that_raises_it_gets_an_error() -> None:
    for waiting in (in_db_thread(_next_of_nothing), asyncio.wrap_future(start_in_probe_thread(_next_of_nothing))):
        with pytest.raises(RuntimeError) as caught:
            await asyncio.wait_for(waiting, ANSWER_SECONDS)
        assert isinstance(caught.value.__cause__, StopIteration)
    close_db_threads()
