"""How the REST interface reads headers, parameters and bodies; no database."""

from typing import Any
from uuid import UUID

import orjson
import pytest
from django.http import HttpRequest
from django.test import RequestFactory

from agents.api.sessions import NewSession
from agents.api.turns import NewTurnInput, wait_seconds
from agents.sessions import SessionQueueFull, TurnInProgress
from foundation.errors import (
    BandstandError,
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    Malformed,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from rest.content_negotiation import asks_for_stream
from rest.errors import CsrfFailed, IdempotencyInProgress, InvalidFields, UnsupportedMediaType
from rest.etags import etag, expected_version
from rest.idempotency import read_key
from rest.problem_responses import http_status, problem_response
from rest.query_params import bounded_integer, read_id, read_query, slug
from rest.request_body import read_body
from rest.serializers import read_input

FACTORY = RequestFactory()


def request(query: str = "", **headers: str) -> HttpRequest:
    return FACTORY.get(f"/x{query}", headers={name.replace("_", "-"): value for name, value in headers.items()})


def posted(body: bytes, content_type: str = "application/json", **headers: str) -> HttpRequest:
    return FACTORY.generic("POST", "/x", body, content_type, headers=headers)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput(), 422),
        (InvalidFields([]), 422),
        (Malformed(), 400),
        (TooLarge(), 413),
        (NotFound(), 404),
        (Unauthenticated(), 401),
        (CsrfFailed(), 403),
        (Conflict(), 409),
        (TurnInProgress(), 409),
        (IdempotencyInProgress(), 409),
        (IdempotencyMismatch(), 422),
        (SessionQueueFull(), 429),
        (RateLimited(), 429),
        (PreconditionRequired(), 428),
        (PreconditionFailed(), 412),
        (UnsupportedMediaType(), 415),
        (Unavailable(), 503),
        (BandstandError(), 500),
    ],
)
def test_every_error_of_the_domain_has_one_status(error: BandstandError, status: int) -> None:
    assert http_status(error) == status


def test_what_nobody_foresaw_is_a_problem_that_tells_nothing() -> None:
    answer = problem_response(RuntimeError("password=hunter2"), actor=None, method="GET", path="/x")
    problem = orjson.loads(answer.content)
    assert (answer.status_code, problem["code"]) == (500, "internal")
    assert b"hunter2" not in answer.content


def test_when_to_come_back_is_said_twice() -> None:
    answer = problem_response(SessionQueueFull(retry_after_seconds=1.5), actor="a", method="POST", path="/x")
    assert (answer["Retry-After"], orjson.loads(answer.content)["retry_after"]) == ("2", 1.5)


def test_a_refused_login_names_the_scheme() -> None:
    assert problem_response(Unauthenticated(), actor=None, method="GET", path="/x")["WWW-Authenticate"] == "Bearer"


PRESENT = 7


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('"1"', 1),
        (' "42" ', 42),
        ('"0"', 0),
        ('"1", "7"', 7),
        ('"1","7" , "x"', 7),
        ('W/"4"', 4),
        ('W/"1", W/"7"', 7),
        ('"4-gzip"', 4),
        ('"4-br"', 4),
    ],
)
def test_if_match_names_a_version_or_several_of_which_the_present_one_counts(text: str, version: int) -> None:
    assert expected_version(request(if_match=text), lambda: PRESENT) == version
    assert expected_version(request(if_match=etag(version)), lambda: PRESENT) == version


def test_a_star_is_whatever_version_there_is_when_it_is_changed() -> None:
    def look() -> int:
        raise AssertionError("what is read now may be another version a moment later")

    assert expected_version(request(if_match=" * "), look) is None


@pytest.mark.parametrize("text", ["", "  "])
def test_a_change_needs_the_version_that_was_read(text: str) -> None:
    with pytest.raises(PreconditionRequired):
        expected_version(request(if_match=text), lambda: PRESENT)


@pytest.mark.parametrize(
    "text",
    [
        "7",
        "W/7",
        'w/"7"',
        '"7-x"',
        '"1", "2"',
        '"x"',
        '"-1"',
        '"7.0"',
        '"07"',
        '"' + "9" * 30 + '"',
        '* "7',
        ",",
        '"1" "7"',
    ],
)
def test_a_tag_that_no_version_has_does_not_match(text: str) -> None:
    with pytest.raises(PreconditionFailed):
        expected_version(request(if_match=text.encode().decode("latin1")), lambda: PRESENT)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=30", 30),
        ('wait="5"', 5),
        ("respond-async, wait=10", 10),
        ("wait = 7; foo", 7),
        ("WAIT=3", 3),
        ("wait=100000", 60),
        ("wait=0", 0),
        ("wait=-1", 0),
        ("wait=x", 0),
        ("nowait=9", 0),
        ("wait=" + "9" * 100, 0),
        ("", 0),
    ],
)
def test_prefer_wait_is_read_bounded_or_ignored(header: str, seconds: int) -> None:
    assert wait_seconds(request(prefer=header)) == seconds


@pytest.mark.parametrize(
    ("accept", "stream"),
    [
        ("text/event-stream", True),
        ("application/json, text/event-stream", True),
        ("application/json;q=0.5, text/event-stream;q=0.9", True),
        ("application/json, text/event-stream;q=0.9", False),
        ("text/event-stream;q=0.9, */*", False),
        ("text/event-stream, */*;q=0.1", True),
        ("text/event-stream;q=0.5, application/json;q=0, */*", True),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0.000", False),
        ("text/event-stream; q=high", True),
        ("TEXT/EVENT-STREAM;charset=utf-8", True),
        ("*/*", False),
        ("text/*", False),
        ("application/json", False),
        ("", False),
    ],
)
def test_a_stream_is_asked_for_by_name(accept: str, stream: bool) -> None:
    assert asks_for_stream(request(accept=accept)) is stream
    assert not asks_for_stream(FACTORY.head("/x", headers={"Accept": accept}))


@pytest.mark.parametrize("key", ["a", "!~", "x" * 255])
def test_a_visible_idempotency_key_is_taken(key: str) -> None:
    assert read_key(request(idempotency_key=key)) == key


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é", "a\tb"])
def test_another_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidFields) as refusal:
        read_key(request(idempotency_key=key))
    assert refusal.value.faults[0][0] == "Idempotency-Key"


@pytest.mark.parametrize(
    "text", ["0", "-1", "1.0", "true", "9223372036854775808", "../", "", "x" * 36, "{0}" * 12, "01890000"]
)
def test_an_id_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(InvalidFields):
        read_id("session_id", text)


@pytest.mark.parametrize("spelling", ["hex", "braces", "urn"])
def test_only_the_usual_spelling_of_a_uuid_is_read(spelling: str) -> None:
    wanted = UUID("01890000-0000-7000-8000-00000000000a")
    assert read_id("x", str(wanted)) == read_id("x", str(wanted).upper()) == wanted
    with pytest.raises(InvalidFields):
        read_id("x", {"hex": wanted.hex, "braces": f"{{{wanted}}}", "urn": wanted.urn}[spelling])


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("?ordering=password", "?ordering", "unknown"),
        ("?agent__user__password=x", "?agent__user__password", "unknown"),
        ("?limit=1&limit=2", "?limit", "repeated"),
        ("?limit=1000000000", "?limit", "invalid"),
        ("?limit=0", "?limit", "invalid"),
        ("?limit=-1", "?limit", "invalid"),
        ("?limit=+1", "?limit", "invalid"),
        ("?limit=1.0", "?limit", "invalid"),
        ("?limit=01", "?limit", "invalid"),
        ("?limit=%D9%A1", "?limit", "invalid"),
        ("?limit=", "?limit", "invalid"),
        ("?agent=a%00b", "?agent", "invalid"),
        ("?agent=" + "x" * 64, "?agent", "invalid"),
    ],
)
def test_undeclared_repeated_and_wild_parameters_are_refused(query: str, pointer: str, code: str) -> None:
    with pytest.raises(InvalidFields) as refusal:
        read_query(request(query), limit=bounded_integer(minimum=1, maximum=100), agent=slug)
    assert [fault[:2] for fault in refusal.value.faults] == [(pointer, code)]


def test_declared_parameters_are_read() -> None:
    readers: dict[str, Any] = {"limit": bounded_integer(minimum=1, maximum=100), "agent": slug}
    assert read_query(request("?limit=7&agent=demo-1"), **readers) == {"limit": 7, "agent": "demo-1"}
    assert read_query(request(), **readers) == {}


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json; charset="UTF-8"'],
)
def test_json_in_utf_8_is_read(content_type: str) -> None:
    assert read_body(posted(b'{"a": 1}', content_type)) == {"a": 1}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json, text/plain",
    ],
)
def test_another_media_type_is_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        read_body(posted(b'{"a": 1}', content_type))


@pytest.mark.parametrize(
    "coding", ["gzip", "br", "deflate, gzip", "x", "identity,gzip", "gzip,identity", "identity,identity"]
)
def test_a_packed_body_is_refused_unread(coding: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        read_body(posted(b"\x1f\x8b", **{"Content-Encoding": coding}))


def test_an_empty_body_is_taken_only_where_nothing_is_needed() -> None:
    assert read_body(posted(b"", ""), may_be_empty=True) == {}
    with pytest.raises(Malformed):
        read_body(FACTORY.generic("POST", "/x", b"", CONTENT_TYPE="application/json"))


def faults(kind: Any, body: dict[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(InvalidFields) as refusal:
        read_input(kind, body)
    return [fault[:2] for fault in refusal.value.faults]


@pytest.mark.parametrize("value", [1, 1.0, True, None, [], {}])
def test_only_text_is_text(value: Any) -> None:
    assert faults(NewSession, {"agent": value})[0][0] == "/agent"


@pytest.mark.parametrize("value", [1, "x", True, None, []])
def test_only_an_object_is_metadata(value: Any) -> None:
    assert faults(NewSession, {"agent": "demo", "metadata": value})[0][0] == "/metadata"


def test_every_fault_is_named() -> None:
    assert faults(NewSession, {"titel": "x"}) == [("/agent", "required")]
    assert faults(NewSession, {"agent": "demo", "a/b~c": 1, "x": 2}) == [("/a~1b~0c", "unknown"), ("/x", "unknown")]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", 1),
        ("parent", "x"),
        ("parent", 1),
        ("when_busy", "ENQUEUE"),
        ("when_busy", True),
        ("when_busy", None),
        ("priority", 0),
        ("priority", "urgent"),
    ],
)
def test_a_turn_with_a_wild_field_is_refused(field: str, value: Any) -> None:
    assert faults(NewTurnInput, {"input": "Hello", field: value})[0][0] == f"/{field}"


def test_text_is_kept_byte_for_byte() -> None:
    text = "  \u202eabc\u00e9\u0065\u0301 \n"
    assert read_input(NewTurnInput, {"input": text}) == {"input": text}
    parent = "01890000-0000-7000-8000-00000000000a"
    assert read_input(NewTurnInput, {"input": "", "parent": parent})["parent"] == UUID(parent)
    assert read_input(NewTurnInput, {"input": "", "parent": None})["parent"] is None
