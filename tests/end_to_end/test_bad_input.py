"""The corpus of bad input at every address for programs, through all layers of the web application.

Whatever comes, the answer is a refusal in its shape within 200 ms of processor time, with one line in the log that
names actor and rule; nothing is written, and nothing is our fault.
"""

import logging
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, connections
from django.test import override_settings

from agents.relay import close_hub
from agents.sessions import accept_message
from foundation.db_threads import in_db_thread
from ratelimits import limiter
from rest.schema.registry import declared
from tests.support.bad_input import BODIES, HEADERS, IDS, ODD, QUERIES, UNSTORABLE, WRONG_TYPES, with_text
from tests.support.sockets import Owner
from tests.support.wire import Answer, Route, ask, routes

pytestmark = pytest.mark.usefixtures("transactional_db")

PROGRAMS = [route for route in routes() if route.pattern.startswith(("/api/v1/", "/v1/", "/chat/"))]
JSON_HEADERS = [("Content-Type", "application/json")]
# The aim is 0.2, which a round of the collector through a test process takes alone; what is quadratic takes far longer.
CPU_SECONDS = 1.0
# Not a row of somebody's: counters, and when a key was last used.
NOT_COUNTED = {"ratelimits_bucket", "agents_webprocess", "agents_socketslot"}


def with_method(method: str) -> list[Route]:
    return [route for route in PROGRAMS if hasattr(route.callback.cls, method.lower())]


def named(route: Route) -> str:
    return route.pattern


class Mine:
    """A person with a session and a turn, and the addresses that are theirs."""

    def __init__(self) -> None:
        self.owner = Owner()
        accepted = accept_message(self.owner.actor, session_id=self.owner.session.pk, text="Hi")
        self.ids = {
            "session_id": str(self.owner.session.pk),
            "turn_id": str(accepted.turn_id),
            "message_id": str(accepted.message_id),
            "slug": "demo",
            "model": "demo",
        }
        self.key = ("Authorization", f"Bearer {self.owner.key}")

    def address(self, route: Route, **other: str) -> str:
        ids = {**self.ids, **other}
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ids[found[1]], route.pattern)


@pytest.fixture
async def mine(transactional_db: None) -> AsyncIterator[Mine]:
    limiter.leased_tokens.clear()
    no_limit = {"requests_per_minute": 0, "messages_per_minute": 0, "messages_per_session_per_minute": 0}
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={**no_limit, "bad_keys_per_minute": 0})):
        yield await in_db_thread(Mine)
    close_hub()
    await sync_to_async(connections.close_all)()


def rows() -> dict[str, int]:
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - NOT_COUNTED)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}', count(*) FROM \"{table}\"" for table in tables))
        return dict(cursor.fetchall())


class Watching:
    """Sends requests, and looks at each answer, at the clock and at the log."""

    def __init__(self, mine: Mine, caplog: pytest.LogCaptureFixture) -> None:
        self.mine, self.caplog = mine, caplog

    async def refused(self, method: str, target: str, body: bytes = b"", headers: Any = (), *, what: object) -> Answer:
        """A refusal for the caller's fault."""
        answer = await self.asked(method, target, body, headers, what=what)
        assert 400 <= answer.status < 500, (what, answer)
        lines = self.lines("request.refused")
        assert len(lines) == 1, (what, lines)
        line = lines[0]
        assert line["rule"], what
        assert line["status"] == answer.status, what
        # Who it is stands in the log as soon as it is known.
        assert line["actor"] == "ada" or answer.status == 413, what
        return answer

    async def asked(self, method: str, target: str, body: bytes = b"", headers: Any = (), *, what: object) -> Answer:
        """Any answer but a fault of ours."""
        self.caplog.clear()
        began = time.process_time()
        given = [self.mine.key, *headers] if not any(name == "Authorization" for name, _ in headers) else headers
        answer = await ask(method, target, body, given)
        took = time.process_time() - began
        assert answer.status < 500, (what, answer)
        assert took < CPU_SECONDS, (what, took)
        if answer.status >= 400 and method != "HEAD":
            self._in_shape(target, answer, what)
        return answer

    def lines(self, event: str) -> list[dict[str, Any]]:
        found: list[Any] = [record.msg for record in self.caplog.records if isinstance(record.msg, dict)]
        return [line for line in found if line["event"] == event]

    @staticmethod
    def _in_shape(target: str, answer: Answer, what: object) -> None:
        if target.startswith("/v1/"):
            error = answer.json["error"]
            assert set(error) == {"message", "type", "code", "param"}, (what, answer)
        else:
            assert answer.headers["content-type"] == "application/problem+json", (what, answer)
            assert answer.json["status"] == answer.status, (what, answer)
            assert answer.json["code"], what


@pytest.fixture
def watching(mine: Mine, caplog: pytest.LogCaptureFixture) -> Watching:
    caplog.set_level(logging.WARNING)
    return Watching(mine, caplog)


POSTS = [(method, route) for method in ("POST", "PATCH", "PUT") for route in with_method(method)]


@pytest.mark.parametrize(("method", "route"), POSTS, ids=[f"{method} {route.pattern}" for method, route in POSTS])
async def test_no_bad_body_is_taken(watching: Watching, method: str, route: Route) -> None:
    before = await in_db_thread(rows)
    target = watching.mine.address(route)
    for what, (body, content_type, more) in BODIES.items():
        headers = [("Content-Type", content_type.encode("latin1")), *more.items(), ("If-Match", '"1"')]
        if what == "empty" and route.name in {"cancel", "fork"}:
            continue  # they need none
        answer = await watching.refused(method, target, body, headers, what=(target, what))
        assert answer.status in {400, 413, 415, 422}, (target, what, answer)
    assert await in_db_thread(rows) == before


BODIED = [
    (kind, method, one)
    for (kind, method), one in declared().operations.items()
    if one.body is not None and one.body.fields
]


@pytest.mark.parametrize(("kind", "method", "operation"), BODIED, ids=[one.id for _, _, one in BODIED])
async def test_every_field_is_proof_against_wild_text_and_other_types(
    watching: Watching, kind: Any, method: str, operation: Any
) -> None:
    [route] = [route for route in PROGRAMS if getattr(route.callback, "cls", None) is kind]
    target, example = watching.mine.address(route), dict(operation.body.example)
    headers = [*JSON_HEADERS, ("If-Match", '"1"')]
    before = await in_db_thread(rows)
    for field in [*operation.body.fields, "unknown field", "__class__"]:
        for what, text in UNSTORABLE.items():
            body = with_text(example, field, text)
            answer = await watching.refused(method.upper(), target, body, headers, what=(target, field, what))
            assert answer.status in {400, 422}, (target, field, what, answer)
            assert any(fault["pointer"].startswith("/") for fault in answer.json["errors"]), (field, what, answer)
    assert await in_db_thread(rows) == before
    for field in operation.body.fields:
        for value in [*ODD.values(), *WRONG_TYPES]:
            await watching.asked(
                method.upper(), target, with_text(example, field, value), headers, what=(target, field, value)
            )


PLACES = [(route, name) for route in PROGRAMS for name in re.findall(r"<(?:\w+:)?(\w+)>", route.pattern)]


@pytest.mark.parametrize(("route", "name"), PLACES, ids=[f"{route.pattern} {name}" for route, name in PLACES])
async def test_no_wild_id_leads_anywhere(watching: Watching, route: Route, name: str) -> None:
    before = await in_db_thread(rows)
    for method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
        for wild in IDS:
            target = watching.mine.address(route, **{name: wild})
            answer = await watching.asked(method, target, b"{}", JSON_HEADERS, what=(method, target))
            assert answer.status in {404, 405, 415, 422, 428} or (method, answer.status) == ("POST", 400), (
                target,
                answer,
            )
            assert "x-evil" not in answer.headers
    assert await in_db_thread(rows) == before


@pytest.mark.parametrize("route", with_method("GET"), ids=named)
async def test_no_undeclared_parameter_is_ignored(watching: Watching, route: Route) -> None:
    for query in QUERIES:
        answer = await watching.asked("GET", f"{watching.mine.address(route)}?{query}", what=(route.pattern, query))
        assert answer.status in {400, 422}, (route.pattern, query, answer)


@pytest.mark.parametrize("route", PROGRAMS, ids=named)
async def test_no_header_breaks_an_address(watching: Watching, route: Route) -> None:
    for name, value in HEADERS:
        answer = await watching.asked("GET", watching.mine.address(route), headers=[(name, value)], what=(name, value))
        assert "evil" not in str(answer.headers), (name, value)
        if name in {"Authorization", "X-Api-Key"}:
            assert answer.status == 401, (route.pattern, name, value, answer)


@pytest.mark.parametrize("route", PROGRAMS, ids=named)
async def test_other_methods_are_refused(watching: Watching, route: Route) -> None:
    before = await in_db_thread(rows)
    for method in ("PUT", "TRACE", "CONNECT", "PROPFIND", "BREW", "__CLASS__", "DISPATCH", "HTTP"):
        if method == "PUT" and hasattr(route.callback.cls, "put"):
            continue
        answer = await watching.asked(method, watching.mine.address(route), what=(method, route.pattern))
        assert answer.status in {405, 401, 403}, (method, route.pattern, answer)
    assert await in_db_thread(rows) == before


async def test_an_address_that_is_none_is_absent_for_every_method(watching: Watching) -> None:
    for target in ("/api/v1/x", "/api/v1/", "/v1/x", "/v1/", "/api/", "/api/v2/agents", "/chat/x", "/api/v1/sessions/"):
        for method in ("GET", "POST", "DELETE"):
            assert (await watching.asked(method, target, what=target)).status == 404, target


async def test_ten_thousand_headers_and_a_wild_host_are_refused(watching: Watching) -> None:
    many = [(f"X-{number}", "1") for number in range(10_000)]
    assert (await watching.asked("GET", "/api/v1/agents", headers=many, what="10,000 headers")).status == 200
    for target in ("/api/v1/agents", "/v1/models", "/chat/x"):
        for host in (b"evil.test", b"localhost:8000@evil.test", b"\xff", b"localhost, evil.test"):
            watching.caplog.clear()
            answer = await ask("GET", target, headers=[watching.mine.key], host=host)
            assert answer.status == 400, (host, answer)
            watching._in_shape(target, answer, host)
            assert "evil" not in str(answer)
            assert [line["rule"] for line in watching.lines("request.refused")] == ["host"]
            assert [record.levelname for record in watching.caplog.records] == ["WARNING"], "one line, and no alarm"
        for host in (b"localhost:99999", b""):
            answer = await ask("GET", target, headers=[watching.mine.key], host=host)
            assert answer.status < 500, (host, answer)
