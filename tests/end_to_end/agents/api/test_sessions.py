"""Agents, sessions and messages over REST: success and refusal for a user, another user and nobody."""

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.test import Client

from accounts.actor import Scope
from accounts.models import ApiKey, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import AgentSession
from agents.sessions import accept_message, create_session
from foundation.clock import now
from rest.models import IdempotencyRecord
from tests.support.people import PASSWORD, agent, key_of, person
from tests.support.rest import JSON, V1, Rest, problem

pytestmark = pytest.mark.django_db


class World:
    """Ada has a session; Eve is somebody else; nobody has no key."""

    def __init__(self) -> None:
        self.ada, self.eve = person("ada", Role.USER), person("eve", Role.USER)
        self.demo = agent()
        self.session = create_session(user_actor(self.ada), agent_slug="demo", title="Hello", metadata={"a": 1})
        accepted = accept_message(user_actor(self.ada), session_id=self.session.pk, text="Hi")
        self.turn_id = accepted.turn_id
        self.rest = Rest(key_of(self.ada))
        self.other = Rest(key_of(self.eve))
        self.nobody = Rest()
        self.path = f"sessions/{self.session.pk}"


@pytest.fixture
def world(db: None) -> World:
    return World()


def ok(answer: Any, status: int = 200) -> Any:
    assert answer.status_code == status, (answer.status_code, answer.content)
    assert answer["Cache-Control"] == "no-store"
    if status == 204:
        assert answer.content == b""
        return None
    assert answer["Content-Type"] == JSON
    return json.loads(answer.content)


# --- agents ---


def test_agents_are_listed_and_got(world: World) -> None:
    shape = {
        "slug": "demo",
        "name": "Demo",
        "description": "",
        "capabilities": [],
        "release": 1,
        "when_busy": "enqueue",
    }
    assert ok(world.rest.get("agents")) == {"results": [shape], "next": None, "previous": None}
    assert ok(world.rest.get("agents/demo")) == shape


def test_an_agent_of_other_groups_is_absent(world: World) -> None:
    agent("law", groups=[Group.objects.create(name="lawyers")])
    assert [one["slug"] for one in ok(world.rest.get("agents"))["results"]] == ["demo"]
    absent = problem(world.rest.get("agents/none"), 404, "not_found")
    foreign = problem(world.rest.get("agents/law"), 404, "not_found")
    assert {**absent, "instance": ""} == {**foreign, "instance": ""}
    refused = problem(world.rest.post("sessions", {"agent": "law"}), 422, "invalid")
    assert refused["errors"][0]["pointer"] == "/agent"
    problem(world.rest.get("agents/no%20slug"), 422, "invalid")


# --- sessions ---


def test_a_session_is_created_read_changed_and_deleted(world: World) -> None:
    answer = world.rest.post("sessions", {"agent": "demo", "title": "Plans", "metadata": {"n": [1]}})
    made = ok(answer, 201)
    assert answer["ETag"] == '"1"'
    assert answer["Location"] == f"{V1}/sessions/{made['id']}"
    assert (made["agent"], made["release"], made["title"], made["metadata"]) == ("demo", 1, "Plans", {"n": [1]})
    path = f"sessions/{made['id']}"
    read = world.rest.get(path)
    assert (ok(read), read["ETag"]) == (made, '"1"')
    changed = world.rest.call("PATCH", path, {"title": "Other"}, If_Match='"1"')
    assert ok(changed) == {**made, "title": "Other", "version": 2}
    assert changed["ETag"] == '"2"'
    ok(world.rest.call("DELETE", path, If_Match='"2"'), 204)
    problem(world.rest.get(path), 404, "not_found")


def test_a_stale_or_missing_version_changes_nothing(world: World) -> None:
    for method, body in (("PATCH", {"title": "Mine"}), ("DELETE", b"")):
        problem(world.rest.call(method, world.path, body), 428, "precondition_required")
        problem(world.rest.call(method, world.path, body, If_Match='"7", "8"'), 412, "precondition_failed")
        problem(world.rest.call(method, world.path, body, If_Match='"7"'), 412, "precondition_failed")
        problem(world.rest.call(method, world.path, body, If_Match='W/"7"'), 412, "precondition_failed")
    assert AgentSession.objects.get().title == "Hello"


def test_a_proxy_that_compresses_makes_no_other_version_of_it(world: World) -> None:
    ok(world.rest.call("PATCH", world.path, {"title": "Mine"}, If_Match='W/"1"'))
    made = world.rest.post("sessions", {"agent": "demo"})
    ok(world.rest.call("DELETE", f"sessions/{ok(made, 201)['id']}", If_Match='W/"1"'), 204)


def test_who_does_not_mind_the_version_says_so(world: World) -> None:
    ok(world.rest.call("PATCH", world.path, {"title": "Mine"}, If_Match="*"))
    ok(world.rest.call("PATCH", world.path, {"title": "Ours"}, If_Match='"1", "2"'))
    problem(world.other.call("DELETE", world.path, If_Match="*"), 404, "not_found")
    problem(world.rest.call("DELETE", world.path, If_Match="*"), 409, "conflict")
    assert AgentSession.objects.get().title == "Ours"


def test_a_session_with_an_open_turn_is_not_deleted(world: World) -> None:
    problem(world.rest.call("DELETE", world.path, If_Match='"1"'), 409, "conflict")
    assert AgentSession.objects.exists()


def test_an_empty_change_is_refused(world: World) -> None:
    problem(world.rest.call("PATCH", world.path, {}, If_Match='"1"'), 422, "invalid")


def test_sessions_are_listed_by_their_last_message_in_pages(world: World) -> None:
    others = [create_session(user_actor(world.ada), agent_slug="demo", title=f"{n}") for n in range(3)]
    create_session(user_actor(world.eve), agent_slug="demo", title="Eve's")
    AgentSession.objects.filter(pk=others[0].pk).update(updated_at=now() + timedelta(minutes=1))
    first = ok(world.rest.get("sessions?limit=2"))
    assert [one["title"] for one in first["results"]] == ["0", "2"]
    second = ok(world.rest.get("sessions?" + first["next"].partition("?")[2]))
    assert [one["title"] for one in second["results"]] == ["1", "Hello"]
    assert second["next"] is None
    back = ok(world.rest.get("sessions?" + second["previous"].partition("?")[2]))
    assert back["results"] == first["results"]


def test_a_session_that_is_not_listed_is_found_by_its_id_only(world: World) -> None:
    AgentSession.objects.update(listed=False)
    assert ok(world.rest.get("sessions"))["results"] == []
    assert ok(world.rest.get(world.path))["title"] == "Hello"


def test_sessions_are_narrowed_by_agent(world: World) -> None:
    agent("other")
    create_session(user_actor(world.ada), agent_slug="other")
    assert [one["agent"] for one in ok(world.rest.get("sessions?agent=other"))["results"]] == ["other"]
    assert ok(world.rest.get("sessions?agent=none"))["results"] == []


def test_a_list_takes_the_same_few_queries_however_long(world: World, django_assert_max_num_queries: Any) -> None:
    for _ in range(20):
        create_session(user_actor(world.ada), agent_slug="demo")
    for path in ("sessions", "agents", f"{world.path}/messages"):
        with django_assert_max_num_queries(4):
            ok(world.rest.get(path))


def test_messages_are_listed_in_order(world: World) -> None:
    accept_message(user_actor(world.ada), session_id=world.session.pk, text="Second \u202e")
    page = ok(world.rest.get(f"{world.path}/messages"))
    said = [(one["ordinal"], one["author"], one["parts"][0]["text"]) for one in page["results"]]
    assert said == [(1, "user", "Hi"), (2, "user", "Second \u202e")]


# --- who ---

READS = ["", "/messages"]


@pytest.mark.parametrize("suffix", READS)
def test_a_foreign_session_and_an_absent_one_look_the_same(world: World, suffix: str) -> None:
    foreign = problem(world.other.get(f"{world.path}{suffix}"), 404, "not_found")
    absent = problem(world.rest.get(f"sessions/{uuid4()}{suffix}"), 404, "not_found")
    assert {**foreign, "instance": ""} == {**absent, "instance": ""}


def test_a_foreign_session_and_turn_cannot_be_touched(world: World) -> None:
    problem(world.other.call("PATCH", world.path, {"title": "Mine"}, If_Match='"1"'), 404, "not_found")
    problem(world.other.call("DELETE", world.path, If_Match='"1"'), 404, "not_found")
    problem(world.other.get(f"turns/{world.turn_id}"), 404, "not_found")
    problem(world.other.post(f"turns/{world.turn_id}/cancel"), 404, "not_found")
    world.session.refresh_from_db()
    assert (world.session.title, world.session.open_turns) == ("Hello", 1)
    assert ok(world.other.get("sessions"))["results"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "agents"),
        ("GET", "agents/demo"),
        ("GET", "sessions"),
        ("POST", "sessions"),
        ("GET", "{session}"),
        ("PATCH", "{session}"),
        ("DELETE", "{session}"),
        ("GET", "{session}/messages"),
        ("GET", "turns/{turn}"),
        ("POST", "turns/{turn}/cancel"),
    ],
)
def test_nobody_gets_nothing(world: World, method: str, path: str) -> None:
    address = path.format(session=world.path, turn=world.turn_id)
    answer = world.nobody.call(method, address, {"agent": "demo"}, If_Match='"1"')
    problem(answer, 401, "unauthenticated")
    assert answer["WWW-Authenticate"] == "Bearer"
    assert AgentSession.objects.count() == 1


def test_every_kind_of_bad_key_gets_the_same_401(world: World) -> None:
    good = str(world.rest.key)
    expired, revoked = key_of(world.ada), key_of(world.ada)
    ApiKey.objects.filter(prefix=expired[3:15]).update(expires_at=now() - timedelta(seconds=1))
    ApiKey.objects.filter(prefix=revoked[3:15]).update(revoked_at=now())
    answers = [
        problem(Rest(key).get("agents"), 401, "unauthenticated")
        for key in ("x", good[:-1], good + "x", expired, revoked, "bs_", "\xff" * 10)
    ]
    answers += [
        problem(Rest().get("agents", Authorization=given), 401, "unauthenticated")
        for given in (f"Basic {good}", good, "Bearer", f"Bearer  {good} x")
    ]
    answers.append(problem(world.rest.get("agents", X_Api_Key="another"), 401, "unauthenticated"))
    assert len({answer["detail"] for answer in answers}) == 1
    assert Rest().get("agents", X_Api_Key=good).status_code == 200
    assert Rest().get("agents", Authorization=f"bearer {good}").status_code == 200


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [({Scope.READ}, True, False), ({Scope.CHAT}, False, True), ({Scope.READ, Scope.CHAT}, True, True)],
)
def test_a_key_does_what_its_scopes_say(world: World, scopes: set[Scope], reads: bool, writes: bool) -> None:
    rest = Rest(key_of(world.ada, scopes))
    for path in ("agents", "agents/demo", "sessions", world.path, f"{world.path}/messages", f"turns/{world.turn_id}"):
        answer = rest.get(path)
        assert ok(answer) if reads else problem(answer, 403, "forbidden")
    answer = rest.post("sessions", {"agent": "demo"})
    assert ok(answer, 201) if writes else problem(answer, 403, "forbidden")
    if not writes:
        problem(rest.call("PATCH", world.path, {"title": "x"}, If_Match='"1"'), 403, "forbidden")
        problem(rest.call("DELETE", world.path, If_Match='"1"'), 403, "forbidden")
        problem(rest.post(f"turns/{world.turn_id}/cancel"), 403, "forbidden")


def test_a_repeat_takes_the_scope_that_the_first_took(world: World) -> None:
    ok(world.rest.post("sessions", {"agent": "demo"}, Idempotency_Key="k"), 201)
    reader = Rest(key_of(world.ada, {Scope.READ}))
    problem(reader.post("sessions", {"agent": "demo"}, Idempotency_Key="k"), 403, "forbidden")


def test_who_lost_the_role_reads_and_writes_no_more(world: World) -> None:
    world.ada.groups.clear()
    ok(world.rest.get(world.path))
    problem(world.rest.post("sessions", {"agent": "demo"}), 403, "forbidden")


# --- the browser's login ---


def browser(user: User) -> Client:
    client = Client(enforce_csrf_checks=True)
    assert client.login(username=user.username, password=PASSWORD)
    return client


def test_a_login_reads_without_and_writes_with_its_token(world: World) -> None:
    client = browser(world.ada)
    assert client.get(f"{V1}/sessions").status_code == 200
    answer = client.post(f"{V1}/sessions", {"agent": "demo"}, content_type=JSON)
    problem(answer, 403, "csrf_failed")
    client.get("/admin/login/")  # any page with a form hands out the token
    token = client.cookies[settings.CSRF_COOKIE_NAME].value
    answer = client.post(f"{V1}/sessions", {"agent": "demo"}, content_type=JSON, headers={"X-CSRFToken": token})
    assert answer.status_code == 201
    answer = client.post(
        f"{V1}/sessions",
        {"agent": "demo"},
        content_type=JSON,
        headers={"X-CSRFToken": token, "Origin": "https://evil.example"},
    )
    problem(answer, 403, "csrf_failed")
    assert AgentSession.objects.count() == 2


def test_a_login_does_not_help_a_bad_key(world: World) -> None:
    answer = browser(world.ada).get(f"{V1}/sessions", headers={"Authorization": "Bearer bs_x"})
    problem(answer, 401, "unauthenticated")


def test_a_closed_account_is_out_at_once(world: World) -> None:
    client = browser(world.ada)
    User.objects.filter(pk=world.ada.pk).update(is_active=False)
    problem(client.get(f"{V1}/sessions"), 401, "unauthenticated")


# --- addresses and methods ---


@pytest.mark.parametrize(
    "path", ["/api/", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v2/agents", "/api/v1/agents/"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "TRACE"])
def test_an_unknown_address_is_a_problem(method: str, path: str) -> None:
    problem(Client().generic(method, path), 404, "not_found")


def test_who_put_a_slash_at_the_end_is_told() -> None:
    for path in ("/api/v1/agents/", "/api/docs/", "/api/v1/turns/x/cancel//"):
        assert "without a slash" in problem(Client().get(path), 404, "not_found")["detail"]
    for path in ("/api/", "/api/v1/", "/api/v1/nothing/", "//"):
        assert b"without a slash" not in Client().get(path).content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "sessions"),
        ("DELETE", "sessions"),
        ("POST", "agents"),
        ("OPTIONS", "agents"),
        ("TRACE", "agents"),
        ("FROB", "agents"),
        ("GET", "turns/{turn}/cancel"),
        ("PATCH", "turns/{turn}"),
        ("POST", "{session}/messages"),
    ],
)
def test_another_method_is_a_problem_that_names_the_right_ones(world: World, method: str, path: str) -> None:
    answer = world.rest.call(method, path.format(session=world.path, turn=world.turn_id))
    problem(answer, 405, "method_not_allowed")
    assert method not in answer["Allow"]


def test_head_is_answered_like_get_without_a_body(world: World) -> None:
    answer = world.rest.call("HEAD", world.path)
    assert (answer.status_code, answer["ETag"], answer.content) == (200, '"1"', b"")


# --- bad input ---

IDS = [
    "0",
    "-1",
    "9223372036854775808",
    "1.0",
    "true",
    "%00",
    "..",
    "%2e%2e%2f",
    "x" * 5000,
    "018900000000700080000000",
]


@pytest.mark.parametrize("wanted", IDS)
def test_a_malformed_id_is_refused(world: World, wanted: str) -> None:
    for path in (f"sessions/{wanted}", f"sessions/{wanted}/messages", f"turns/{wanted}"):
        answer = world.rest.get(path)
        assert answer.status_code in {404, 422}, answer.content
        problem(answer, answer.status_code, "invalid" if answer.status_code == 422 else "not_found")


BODIES: list[tuple[Any, int]] = [
    (b"", 415),
    (b" ", 400),
    (b"{", 400),
    (b"[]", 400),
    (b"null", 400),
    (b'"x"', 400),
    (b"1", 400),
    (b'{"agent": "demo",}', 400),
    (b'{"agent": "demo", "agent": "demo"}', 400),
    (b'{"agent"  : "demo", "agent"\t: "demo"}', 400),
    (b'{"agent": NaN}', 400),
    (b'{"agent": Infinity}', 400),
    (b'{"agent": "demo", "metadata": {"n": 1e400}}', 400),
    (b"[" * 20_000, 400),
    (b'{"a":' * 20_000, 400),
    (b'{"agent": "demo", "metadata": ' + b'{"a":' * 40 + b"1" + b"}" * 41, 400),
    (b"\xef\xbb\xbf" + b'{"agent": "demo"}', 400),
    ('{"agent": "demo"}'.encode("utf-16"), 400),
    (b'{"agent": "\xff\xfe"}', 400),
    (b'{"agent": "demo", "title": "\\u0000"}', 422),
    (b'{"agent": "demo", "title": "\\ud800"}', 422),
    (b'{"agent": "demo", "metadata": {"\\u0000": 1}}', 422),
    (b'{"agent": "demo", "title": "' + b"x" * 201 + b'"}', 422),
    (b'{"agent": "demo", "title": "' + b"x" * 300_000 + b'"}', 413),
    (b'{"agent": "demo", "metadata": {"a": "' + b"x" * 20_000 + b'"}}', 413),
    (b'{"agent": 1}', 422),
    (b'{"agent": ""}', 422),
    (b'{"agent": "../demo"}', 422),
    (b"{}", 422),
    (b'{"agent": "demo", "user": 1}', 422),
    (b'{"agent": "demo", "__class__": "x"}', 422),
    (b'{"agent": "demo", "metadata": []}', 422),
]


@pytest.mark.parametrize(("body", "status"), BODIES, ids=[str(n) for n in range(len(BODIES))])
def test_a_bad_body_is_refused_and_writes_nothing(world: World, body: bytes, status: int) -> None:
    for path in ("sessions",):
        answer = world.rest.post(path, body)
        problem(
            answer, status, {400: "malformed", 413: "too_large", 415: "unsupported_media_type", 422: "invalid"}[status]
        )
    assert AgentSession.objects.count() == 1


@pytest.mark.parametrize("path", ["{session}", "turns/{turn}/cancel"])
@pytest.mark.parametrize("body", [b"{", b"[]", b"null", b"[" * 20_000, b'{"x": 1}', b'{"title": NaN}'])
def test_a_bad_body_is_refused_everywhere(world: World, path: str, body: bytes) -> None:
    method = "POST" if path.startswith("turns") else "PATCH"
    address = path.format(session=world.path, turn=world.turn_id)
    answer = world.rest.call(method, address, body, If_Match='"1"')
    assert answer.status_code in {400, 422}, answer.content
    assert AgentSession.objects.get().version == 1


@pytest.mark.parametrize(
    "query",
    ["limit=1000000000", "limit=x", "cursor=x", "ordering=password", "agent__user__password=x", "limit=1&limit=1"],
)
def test_a_bad_query_is_refused(world: World, query: str) -> None:
    for path in ("sessions", "agents", f"{world.path}/messages"):
        refused = problem(world.rest.get(f"{path}?{query}"), 422, "invalid")
        assert refused["errors"][0]["pointer"] == "?" + query.partition("=")[0]
    problem(world.rest.get(f"{world.path}?x=1"), 422, "invalid")
    problem(world.rest.post("sessions?x=1", {"agent": "demo"}), 422, "invalid")


def test_a_cursor_of_one_list_opens_no_other(world: World) -> None:
    for _ in range(2):
        create_session(user_actor(world.ada), agent_slug="demo")
    cursor = ok(world.rest.get("sessions?limit=1"))["next"].partition("cursor=")[2]
    problem(world.rest.get(f"agents?cursor={cursor}"), 422, "invalid")


def test_a_database_that_is_away_is_said_to_be(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise OperationalError("could not connect to 10.0.0.1")

    monkeypatch.setattr("agents.api.sessions.user_sessions", gone)
    answer = world.rest.get("sessions")
    assert problem(answer, 503, "unavailable")["retry_after"] == 1
    assert b"10.0.0.1" not in answer.content
    lines: list[Any] = [record.msg for record in caplog.records if record.levelname in {"WARNING", "ERROR"}]
    assert [line["event"] for line in lines] == ["database.lost", "request.refused"], "each is said once"


# --- idempotency ---


def test_a_repeat_with_the_same_key_gets_the_first_answer(world: World) -> None:
    body = {"agent": "demo", "title": "Once"}
    first = world.rest.post("sessions", body, Idempotency_Key="k1")
    again = world.rest.post("sessions", {"title": "Once", "agent": "demo"}, Idempotency_Key="k1")
    assert ok(again, 201) == ok(first, 201)
    assert (again["Location"], again["ETag"]) == (first["Location"], first["ETag"])
    assert "Idempotent-Replayed" not in first
    assert again["Idempotent-Replayed"] == "true"
    assert AgentSession.objects.count() == 2


def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    ok(world.rest.post("sessions", {"agent": "demo"}, Idempotency_Key="k1"), 201)
    answer = world.rest.post("sessions", {"agent": "demo", "title": "x"}, Idempotency_Key="k1")
    problem(answer, 422, "idempotency_mismatch")
    assert AgentSession.objects.count() == 2


def test_keys_of_two_people_and_of_two_verbs_do_not_meet(world: World) -> None:
    body = {"agent": "demo"}
    first = ok(world.rest.post("sessions", body, Idempotency_Key="k1"), 201)
    second = ok(world.other.post("sessions", body, Idempotency_Key="k1"), 201)
    assert first["id"] != second["id"]
    ok(world.rest.post(f"turns/{world.turn_id}/cancel", {}, Idempotency_Key="k1"))


def test_a_refusal_for_the_callers_fault_is_kept(world: World) -> None:
    first = world.rest.post("sessions", {"agent": "none"}, Idempotency_Key="k1")
    agent("none")
    again = world.rest.post("sessions", {"agent": "none"}, Idempotency_Key="k1")
    assert problem(again, 422, "invalid") == problem(first, 422, "invalid")
    assert again["Idempotent-Replayed"] == "true"


def test_a_refusal_for_want_of_rights_is_not_kept(world: World) -> None:
    user = Group.objects.get(name=Role.USER)
    world.ada.groups.clear()
    problem(world.rest.post("sessions", {"agent": "demo"}, Idempotency_Key="k1"), 403, "forbidden")
    assert not IdempotencyRecord.objects.exists()
    world.ada.groups.add(user)
    ok(world.rest.post("sessions", {"agent": "demo"}, Idempotency_Key="k1"), 201)


def test_a_fault_of_ours_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    with monkeypatch.context() as patch:
        patch.setattr("agents.api.sessions.create_session", broken)
        answer = world.rest.post("sessions", {"agent": "demo"}, Idempotency_Key="k1")
        problem(answer, 500, "internal")
        assert b"secret" not in answer.content
    ok(world.rest.post("sessions", {"agent": "demo"}, Idempotency_Key="k1"), 201)


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "ä"])
def test_a_bad_key_is_refused(world: World, key: str) -> None:
    problem(world.rest.post("sessions", {"agent": "demo"}, Idempotency_Key=key), 422, "invalid")
    assert AgentSession.objects.count() == 1


# --- turns without waiting ---


def test_a_turn_is_read_and_cancelled(world: World) -> None:
    read = ok(world.rest.get(f"turns/{world.turn_id}"))
    assert (read["id"], read["session"], read["status"]) == (str(world.turn_id), str(world.session.pk), "queued")
    assert (read["answer"], read["error"], read["usage"]["output_tokens"]) == (None, None, None)
    cancelled = ok(world.rest.post(f"turns/{world.turn_id}/cancel"))
    assert cancelled["status"] == "cancelled"
    assert cancelled["usage"] == {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0.00000000"}
    assert ok(world.rest.post(f"turns/{world.turn_id}/cancel", {})) == cancelled
    assert ok(world.rest.get(f"turns/{world.turn_id}")) == cancelled


# --- the type of the answer ---

ACCEPTED = [
    "",
    ";;q=",
    "*/*",
    "application/*",
    "Application/JSON",
    "application/json; charset=utf-8",
    "text/html, application/json;q=0.1",
    "text/html, image/gif, *; q=.2, */*; q=.2",
]
NOT_ACCEPTED = ["text/html", "application/xml", "text/event-stream", "application/json;q=0", "json", "x" * 5000]


@pytest.mark.parametrize("accept", ACCEPTED)
def test_json_is_what_most_clients_accept(world: World, accept: str) -> None:
    ok(world.rest.get("agents", Accept=accept))


@pytest.mark.parametrize("accept", NOT_ACCEPTED)
def test_a_client_that_wants_another_type_is_told_and_nothing_is_done(world: World, accept: str) -> None:
    problem(world.rest.get("agents", Accept=accept), 406, "not_acceptable")
    problem(world.rest.post("sessions", {"agent": "demo"}, Accept=accept), 406, "not_acceptable")
    assert AgentSession.objects.count() == 1


def test_an_unknown_method_comes_before_an_unknown_type(world: World) -> None:
    problem(world.rest.call("PUT", "agents", Accept="text/html"), 405, "method_not_allowed")
