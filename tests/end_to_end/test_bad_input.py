"""One matrix of bad input: every way in, by every kind of what strangers send, through all layers of the application.

Whatever comes, the answer is a refusal in its shape within 200 ms of processor time and no fault of ours; to programs
with one line in the log that names actor and rule. What is refused writes nothing. The ways in are those that the
application has: a new address, field, form, list or action is in the matrix by itself.
"""

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib import admin
from django.db import connection, connections
from django.test import override_settings

from accounts.roles import Role
from agents.models import Turn
from agents.relay import close_hub
from agents.sessions import accept_message
from agents.sessions.turn_schedules import create_schedule
from console.admin import ConsoleAdmin, ReadOnlyAdmin
from console.keyset_changelist import KeysetAdmin
from console.list_parameters import filter_parameters
from foundation.db_threads import in_db_thread
from memory.enums import MemoryScope, MemorySource, WorkingKind
from memory.ownership import OwnerKey
from memory.working_memory import add_item
from memory.writing import remember
from ratelimits import limiter
from rest.schema.declarations import declared
from tests.support.approvals import pending_approval
from tests.support.bad_input import (
    BODIES,
    EVERY_LIST_QUERIES,
    FILTER_VALUES,
    FORM_VALUES,
    HEADERS,
    IDS,
    INVALID_FRAMES,
    LIST_QUERIES,
    MALFORMED_FRAMES,
    ODD,
    ONE_OF_EACH,
    QUERIES,
    READ_BY_VIEWS,
    ROWS,
    UNSTORABLE,
    WRONG_TYPES,
    with_text,
)
from tests.support.console_pages import addressed, model_pages, one_row_of_everything
from tests.support.people import person
from tests.support.sockets import Owner, Socket, key_headers, login_of
from tests.support.wire import Answer, Route, ask, routes

pytestmark = pytest.mark.usefixtures("transactional_db")

# The aim is 0.2, which a round of the collector through a test process takes alone; what is quadratic takes far longer.
CPU_SECONDS = 1.0
# Not a row of somebody's: counters, when a key was last used, and sessions of the browser's.
NOT_COUNTED = {"ratelimits_bucket", "agents_webprocess", "agents_connectionslot", "django_session"}

Headers = list[tuple[str, bytes | str]]


class World:
    """A person with a session and a turn and their key; an owner in a browser; one row of everything of the console."""

    def __init__(self, *, console: bool) -> None:
        if console:
            # First, so that none of the rows which forms are sent to is who sends them.
            login = login_of(person("olga", Role.OWNER))
            one_row_of_everything(person("ada", Role.USER))
            token = "x" * 32
            cookies = f"{settings.SESSION_COOKIE_NAME}={login}; {settings.CSRF_COOKIE_NAME}={token}"
            self.headers: Headers = [("Cookie", cookies), ("X-CSRFToken", token)]
            return
        self.owner = Owner()
        session, user_id = self.owner.session, self.owner.session.user_id
        accepted = accept_message(self.owner.actor, session_id=session.pk, text="Hi")
        memory = remember(
            self.owner.actor, OwnerKey(MemoryScope.USER, user_id=user_id), "I live in Bern.", source=MemorySource.API
        )
        working = OwnerKey(MemoryScope.SESSION, user_id=user_id, agent_id=session.agent_id, session_id=session.pk)
        self.ids = {
            "memory_id": str(memory.id),
            "task_id": str(add_item(working, WorkingKind.TASK, "Pack.").pk),
            "session_id": str(session.pk),
            "turn_id": str(accepted.turn_id),
            "approval_id": str(pending_approval(Turn.objects.get()).pk),
            "message_id": str(accepted.message_id),
            "schedule_id": str(create_schedule(self.owner.actor, text="Hi", agent_slug="demo", cron="0 8 * * *").pk),
            "slug": "demo",
            "model": "demo",
        }
        self.headers = [("Authorization", f"Bearer {self.owner.key}")]

    def address(self, route: Route, **other: str) -> str:
        ids = {**self.ids, **other}
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: ids[found[1]], route.pattern)

    async def ask(self, method: str, target: str, body: bytes = b"", headers: Headers | None = None) -> Answer:
        headers = headers or []
        own = [] if any(name == "Authorization" for name, _ in headers) else self.headers
        return await ask(method, target, body, [*own, *headers])


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request and what may be answered. Nothing is said of the status but that it is no fault of ours: `statuses`
    is empty. `logged`: for the caller's fault, with a line in the log; `pointed`: with a pointer to the field.
    """

    method: str
    target: str
    what: object
    statuses: frozenset[int] = frozenset()
    body: bytes = b""
    headers: Headers | None = None
    logged: bool = False
    pointed: bool = False


@dataclass(frozen=True, slots=True)
class Frames:
    """Texts over one socket; fewer than close it."""

    texts: list[str]


Attempts = Callable[[World], AsyncIterator[Attempt | Frames]]


@dataclass(frozen=True, slots=True)
class Case:
    """A cell of the matrix. `writes`: some of it is good after all and may be taken."""

    name: str
    attempts: Attempts
    console: bool = False
    writes: bool = False


def expected(*statuses: int) -> frozenset[int]:
    return frozenset(statuses)


# --- programs: the REST interface, the OpenAI-compatible one, and what the chat page reads ---

PROGRAMS = [route for route in routes() if route.pattern.startswith(("/api/v1/", "/v1/", "/chat/"))]
JSON_HEADERS: Headers = [("Content-Type", "application/json")]
IF_MATCH = ("If-Match", '"1"')
BODILESS = {"cancel", "fork", "handoff", "pause-schedule", "resume-schedule"}  # they take an empty body
METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")


def interface_of(route: Route) -> str:
    return route.pattern.split("/")[1]


def ids_in(route: Route) -> list[str]:
    return re.findall(r"<(?:\w+:)?(\w+)>", route.pattern)


def has(route: Route, method: str) -> bool:
    return hasattr(route.callback.cls, method.lower())


# The first address of an interface that takes a method gets all that there is to try; one code reads it for the others,
# which get enough of it to see that it is asked.
FIRST_ROUTES: dict[tuple[str, str], Route] = {}
for _route in PROGRAMS:
    for _method in METHODS:
        if has(_route, _method):
            FIRST_ROUTES.setdefault((interface_of(_route), _method), _route)
FIRST_IDS: dict[tuple[str, str], Route] = {}
for _route in PROGRAMS:
    for _id in ids_in(_route):
        for _method in METHODS:
            if has(_route, _method):
                FIRST_IDS.setdefault((_id, _method), _route)


def is_first(route: Route, method: str) -> bool:
    return FIRST_ROUTES[interface_of(route), method] is route


def bodies(method: str, route: Route) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for what, (body, content_type, more) in BODIES.items():
            if (what == "nothing" and route.name in BODILESS) or not (is_first(route, method) or what in ONE_OF_EACH):
                continue
            headers: Headers = [("Content-Type", content_type.encode("latin1")), *more.items(), IF_MATCH]
            statuses = expected(400, 413, 415, 422)
            yield Attempt(method, world.address(route), what, statuses, body, headers, logged=True)

    return attempts


def unstorable_texts(method: str, route: Route, fields: list[str], example: dict[str, Any]) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for field in [*fields, "unknown field", "__class__"]:
            for what, text in UNSTORABLE.items():
                body, headers = with_text(example, field, text), [*JSON_HEADERS, IF_MATCH]
                yield Attempt(
                    method, world.address(route), (field, what), expected(400, 422), body, headers,
                    logged=True, pointed=True,
                )  # fmt: skip

    return attempts


def odd_values(method: str, route: Route, fields: list[str], example: dict[str, Any]) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for field in fields:
            is_text = isinstance(example.get(field), str)
            # What is no text is refused by its type, whichever odd text it is, and the other way round.
            texts = list(ODD.values()) if is_text else list(ODD.values())[:4]
            for value in [*texts, *(WRONG_TYPES[::3] if is_text else WRONG_TYPES)]:
                body, headers = with_text(example, field, value), [*JSON_HEADERS, IF_MATCH]
                yield Attempt(method, world.address(route), (field, value), body=body, headers=headers)

    return attempts


def ids(route: Route, name: str) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for method in METHODS:
            statuses = expected(404, 405, 415, 422, 428, *([400] if method == "POST" else []))
            some = IDS[:6] if has(route, method) else IDS[:2]
            for wild in IDS if FIRST_IDS.get((name, method)) is route else some:
                yield Attempt(method, world.address(route, **{name: wild}), wild, statuses, b"{}", JSON_HEADERS)

    return attempts


def queries(route: Route) -> Attempts:
    # Those of /v1 are not read: clients of other servers send some with every request.
    statuses = frozenset() if route.pattern.startswith("/v1/") else expected(400, 422)

    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for query in QUERIES:
            yield Attempt("GET", f"{world.address(route)}?{query}", query, statuses)

    return attempts


def headers(route: Route) -> Attempts:
    """Every value for the first address of an interface, and one of each header that a view reads itself for the
    others: who reads the rest is common to all."""
    all_first = route is next(each for each in PROGRAMS if interface_of(each) == interface_of(route))

    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for name, value in HEADERS if all_first else dict(HEADERS).items():
            if not all_first and name not in READ_BY_VIEWS:
                continue
            statuses = expected(401) if name in {"Authorization", "X-Api-Key"} else frozenset()
            yield Attempt("GET", world.address(route), (name, value), statuses, headers=[(name, value)])

    return attempts


def methods(route: Route) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for method in ("PUT", "TRACE", "CONNECT", "PROPFIND", "BREW", "__CLASS__", "DISPATCH", "HTTP"):
            if method != "PUT" or not has(route, method):
                yield Attempt(method, world.address(route), method, expected(405, 401, 403))

    return attempts


async def absent_addresses(world: World) -> AsyncIterator[Attempt]:
    for target in ("/api/v1/x", "/api/v1/", "/v1/x", "/v1/", "/api/", "/api/v2/agents", "/chat/x", "/api/v1/sessions/"):
        for method in ("GET", "POST", "DELETE"):
            yield Attempt(method, target, target, expected(404))


async def frames(world: World) -> AsyncIterator[Frames]:
    corpus = [*MALFORMED_FRAMES, *INVALID_FRAMES]
    for first in range(0, len(corpus), 4):
        yield Frames(corpus[first : first + 4])


def cases_of_programs() -> Iterator[Case]:
    for route in PROGRAMS:
        for method in ("POST", "PATCH", "PUT"):
            if has(route, method):
                yield Case(f"{method} {route.pattern}: bodies", bodies(method, route))
        if has(route, "GET"):
            yield Case(f"{route.pattern}: queries", queries(route))
        for name in ids_in(route):
            yield Case(f"{route.pattern}: {name}", ids(route, name))
        yield Case(f"{route.pattern}: headers", headers(route))
        yield Case(f"{route.pattern}: methods", methods(route))
    for (kind, method), operation in declared().operations.items():
        if operation.body is not None and operation.body.fields:
            [route] = [route for route in PROGRAMS if getattr(route.callback, "cls", None) is kind]
            args = (method.upper(), route, list(operation.body.fields), dict(operation.body.example))
            yield Case(f"{operation.id}: text that no row can hold", unstorable_texts(*args))
            # What is accepted at /v1 waits for its answer.
            if not route.pattern.startswith("/v1/"):
                yield Case(f"{operation.id}: odd text and other types", odd_values(*args), writes=True)
    yield Case("addresses that are none", absent_addresses)
    yield Case("websocket: frames", frames)


# --- the console ---

ADMINS: dict[str, Any] = {model._meta.label_lower: page for model, page in admin.site._registry.items()}
PAGES = model_pages(())


def kind_of_key(model: str) -> str:
    return str(type(ADMINS[model].opts.pk))


def kind_of_list(model: str) -> str:
    return "by key" if isinstance(ADMINS[model], KeysetAdmin) else "by page"


def kind_of_search(model: str) -> type[Any]:
    return ReadOnlyAdmin if isinstance(ADMINS[model], ReadOnlyAdmin) else ConsoleAdmin


# By filter, kind of key and kind of list: the first list that has it, which gets all that there is to try.
FIRST: dict[str, str] = {}
for _model, _page in sorted(ADMINS.items()):
    for _shared in (*map(str, _page.list_filter), kind_of_key(_model), kind_of_list(_model)):
        FIRST.setdefault(_shared, _model)

FORM: Headers = [("Content-Type", "application/x-www-form-urlencoded")]
# 204: nothing new; 409 is for a version that is not the present one; 413 where all fields are long at once.
ANSWERED = expected(200, 204, 302, 400, 403, 404, 409, 413)


class Fields(HTMLParser):
    """The fields of a page's forms that change something, with the values that they come with."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        name = attributes.get("name")
        if tag in {"input", "textarea", "select"} and name and name != "csrfmiddlewaretoken":
            self.found.setdefault(name, attributes.get("value") or "")


def form(address: str, fields: dict[str, str], what: object) -> Attempt:
    body = urlencode({name: value.encode("utf-8", "surrogatepass") for name, value in fields.items()}).encode()
    return Attempt("POST", address, what, ANSWERED, body, FORM)


def forms(model: str) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        for pattern, word in PAGES[model]:
            if word in {"see", "open", "history", "delete"}:
                continue
            address = await in_db_thread(addressed, pattern, model)
            page = await world.ask("GET", address)
            fields = Fields(page.body.decode()).found if page.status == 200 else {}
            # A page without a form may have an action; there is nothing else that could be read.
            for wild in FORM_VALUES if fields else FORM_VALUES[:3]:
                yield form(address, {**dict.fromkeys(fields, wild), "action": wild}, (pattern, wild[:20]))
            for name in fields:
                yield form(address, {**fields, name: "a\x00b"}, (pattern, name))

    return attempts


def list_of(model: str) -> str:
    return f"/admin/{model.replace('.', '/')}/"


def filter_queries(model: str) -> Iterator[str]:
    """What a list is narrowed by: every value for a filter where it stands first, two of them in each further list.

    What no filter reads is in console/test_lookups.py.
    """
    own_search = type(ADMINS[model]).get_search_results is not kind_of_search(model).get_search_results
    names = {"q": FILTER_VALUES if own_search or FIRST[kind_of_list(model)] == model else FILTER_VALUES[:2]}
    for one in ADMINS[model].list_filter:
        values = FILTER_VALUES if FIRST[str(one)] == model else FILTER_VALUES[:2]
        names |= dict.fromkeys(filter_parameters(ADMINS[model], [one]), values)
    if kind_of_list(model) == "by key":
        names["before"] = FILTER_VALUES if FIRST["by key"] == model else FILTER_VALUES[:2]
    for name, values in names.items():
        yield from (urlencode({name: value}) for value in values)


def lists(model: str) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        common = LIST_QUERIES if FIRST[kind_of_list(model)] == model else EVERY_LIST_QUERIES
        for query in [*common, *await in_db_thread(list, filter_queries(model))]:
            yield Attempt("GET", f"{list_of(model)}?{query}", query, expected(200, 302, 400, 404))
        for wild in IDS if FIRST[kind_of_key(model)] == model else IDS[:5]:
            yield Attempt("GET", f"{list_of(model)}{wild}/change/", wild, expected(200, 302, 404))
        page = await in_db_thread(addressed, f"{list_of(model)}<path:object_id>/change/", model)
        of_pages = [query for query in LIST_QUERIES if query.startswith("_") or "%00" in query]
        for query in of_pages if FIRST[kind_of_key(model)] == model else ["_to_field=password", "_to_field="]:
            yield Attempt("GET", f"{page}?{query}", query, expected(200, 302, 400, 403, 404))

    return attempts


def actions(model: str) -> Attempts:
    async def attempts(world: World) -> AsyncIterator[Attempt]:
        # Rows are read before the action begins, and so is whether all of them are meant.
        for action in (*ADMINS[model].actions, "__class__", "\x00"):
            for row, across in (*((row, "0") for row in ROWS), (ROWS[0], "\x00"), (ROWS[1], "\x00")):
                fields = {"action": str(action), "_selected_action": row, "select_across": across, "index": row}
                yield form(list_of(model), fields, (action, row, across))

    return attempts


async def helper_pages(world: World) -> AsyncIterator[Attempt]:
    more = ["term=x&app_label=accounts&model_name=user&field_name=password", "s=%00", "s=x", "s=" + "x" * 5000]
    for address in ("/admin/autocomplete/", "/admin/search/", "/admin/r/1/1/", "/admin/jsi18n/"):
        for query in [*LIST_QUERIES, *more]:
            yield Attempt("GET", f"{address}?{query}", query, expected(200, 302, 400, 403, 404))


def cases_of_the_console() -> Iterator[Case]:
    for model in sorted(ADMINS):
        yield Case(f"{model}: forms", forms(model), console=True, writes=True)
        yield Case(f"{model}: list", lists(model), console=True)
        if ADMINS[model].actions:
            yield Case(f"{model}: actions", actions(model), console=True, writes=True)
    yield Case("helper pages", helper_pages, console=True)


# --- the matrix ---

CASES = [*cases_of_programs(), *cases_of_the_console()]


def _names_the_field(answer: Answer) -> bool:
    if "error" in answer.json:
        return bool(answer.json["error"]["param"])
    return any(fault["pointer"].startswith("/") for fault in answer.json["errors"])


class Judge:
    """Sends what a case holds, and looks at each answer, at the clock and at the log."""

    def __init__(self, world: World, caplog: pytest.LogCaptureFixture) -> None:
        self.world, self.caplog = world, caplog

    async def judge(self, attempt: Attempt) -> None:
        what = (attempt.method, attempt.target[:200], attempt.what)
        self.caplog.clear()
        began = time.process_time()
        answer = await self.world.ask(attempt.method, attempt.target, attempt.body, attempt.headers)
        took = time.process_time() - began
        assert answer.status < 500, (what, answer)
        assert took < CPU_SECONDS, (what, took)
        assert answer.status in attempt.statuses or not attempt.statuses, (what, answer)
        assert "evil" not in str(answer.headers), (what, answer.headers)
        if answer.status >= 400 and not attempt.target.startswith("/admin/"):
            assert_shape(attempt.target, answer, what)
        if attempt.logged:
            self._assert_logged(answer, what)
        if attempt.pointed:
            assert _names_the_field(answer), (what, answer)

    def _assert_logged(self, answer: Answer, what: object) -> None:
        assert 400 <= answer.status < 500, (what, answer)
        lines = self.lines("request.refused")
        assert len(lines) == 1, (what, lines)
        assert lines[0]["rule"], what
        assert lines[0]["status"] == answer.status, what
        # Who it is stands in the log as soon as it is known.
        assert lines[0]["actor"] == "ada" or answer.status == 413, what

    def lines(self, event: str) -> list[dict[str, Any]]:
        found: list[Any] = [record.msg for record in self.caplog.records if isinstance(record.msg, dict)]
        return [line for line in found if line["event"] == event]

    async def judge_frames(self, frames: Frames) -> None:
        async with Socket(self.world.owner.session.pk, key_headers(self.world.owner.key)) as ws:
            await ws.until("ready")
            for text in frames.texts:
                await ws.send_text(text)
                error = await ws.receive()
                assert error["type"] == "error"
                assert error["code"] in ("malformed", "invalid"), text
                assert error["retryable"] is False
                assert {"detail", "ref"} <= error.keys()
                assert await ws.silent()


def assert_shape(target: str, answer: Answer, what: object) -> None:
    if target.startswith("/v1/"):
        assert set(answer.json["error"]) == {"message", "type", "code", "param"}, (what, answer)
    else:
        assert answer.headers["content-type"] == "application/problem+json", (what, answer)
        assert answer.json["status"] == answer.status, (what, answer)
        assert answer.json["code"], what


def rows() -> dict[str, int]:
    tables = sorted(set(connection.introspection.django_table_names(only_existing=True)) - NOT_COUNTED)
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(f"SELECT '{table}', count(*) FROM \"{table}\"" for table in tables))
        return dict(cursor.fetchall())


@pytest.fixture
async def unlimited(transactional_db: None, caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    caplog.set_level(logging.WARNING)
    limiter.leased_tokens.clear()
    no_limit = {"requests_per_minute": 0, "messages_per_minute": 0, "messages_per_session_per_minute": 0}
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={**no_limit, "bad_keys_per_minute": 0})):
        yield
    close_hub()
    await sync_to_async(connections.close_all)()


@pytest.mark.usefixtures("unlimited")
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_bad_input_is_refused_and_changes_nothing(case: Case, caplog: pytest.LogCaptureFixture) -> None:
    judge = Judge(await in_db_thread(lambda: World(console=case.console)), caplog)
    before = await in_db_thread(rows)
    count = 0
    async for attempt in case.attempts(judge.world):
        count += 1
        await (judge.judge_frames(attempt) if isinstance(attempt, Frames) else judge.judge(attempt))
    assert count or case.writes
    if not case.writes:
        assert await in_db_thread(rows) == before


@pytest.mark.usefixtures("unlimited")
async def test_ten_thousand_headers_and_a_wild_host_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    judge = Judge(await in_db_thread(lambda: World(console=False)), caplog)
    many: Headers = [(f"X-{number}", "1") for number in range(10_000)]
    await judge.judge(Attempt("GET", "/api/v1/agents", "10,000 headers", expected(200), headers=many))
    for target in ("/api/v1/agents", "/v1/models", "/chat/x"):
        for host in (b"evil.test", b"localhost:8000@evil.test", b"\xff", b"localhost, evil.test"):
            caplog.clear()
            answer = await ask("GET", target, headers=judge.world.headers, host=host)
            assert answer.status == 400, (host, answer)
            assert_shape(target, answer, host)
            assert "evil" not in str(answer)
            assert [line["rule"] for line in judge.lines("request.refused")] == ["host"]
            assert [record.levelname for record in caplog.records] == ["WARNING"], "one line, and no alarm"
        for host in (b"localhost:99999", b""):
            answer = await ask("GET", target, headers=judge.world.headers, host=host)
            assert answer.status < 500, (host, answer)
