"""What is answered when a request fails outside of a view."""

import json
from typing import Any

import pytest
from django.core.exceptions import DisallowedHost
from django.db import OperationalError
from django.test import RequestFactory

from bandstand.error_handlers import bad_request, server_error

PROBLEM = "application/problem+json"


def failed(path: str, error: Exception) -> Any:
    """The answer of Django's handler500 to a request that raised `error`."""
    try:
        raise error
    except Exception:
        return server_error(RequestFactory().get(path))


@pytest.mark.parametrize(
    ("path", "media_type"), [("/api/v1/agents", PROBLEM), ("/chat/render", PROBLEM), ("/v1/models", "application/json")]
)
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(OperationalError("hunter2"), 503, "unavailable"), (RuntimeError("hunter2"), 500, "internal")],
)
def test_a_program_is_told_in_the_shape_of_its_interface(
    path: str, media_type: str, error: Exception, status: int, code: str
) -> None:
    answer = failed(path, error)
    body = json.loads(answer.content)
    assert (answer.status_code, answer["Content-Type"]) == (status, media_type)
    assert body.get("error", body)["code"] == code
    assert ("Retry-After" in answer) == (status == 503)
    assert b"hunter2" not in answer.content


def test_a_person_is_told_by_a_page() -> None:
    away = failed("/", OperationalError("hunter2"))
    assert (away.status_code, away["Retry-After"]) == (503, "1")
    assert b"please try again" in away.content
    ours = failed("/admin/", RuntimeError("hunter2"))
    assert ours.status_code == 500
    assert all(b"hunter2" not in answer.content for answer in (away, ours))


def test_a_foreign_host_is_refused_in_the_same_shapes(caplog: pytest.LogCaptureFixture) -> None:
    for path, media_type in (("/api/x", PROBLEM), ("/v1/x", "application/json"), ("/", "text/html; charset=utf-8")):
        answer: Any = bad_request(RequestFactory().get(path), DisallowedHost("evil.test"))
        assert (answer.status_code, answer["Content-Type"]) == (400, media_type)
        assert b"evil" not in answer.content
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
