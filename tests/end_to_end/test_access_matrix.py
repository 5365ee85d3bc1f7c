"""Who may open what: every page, every page and action of the console, and every frame, by every role and kind of key.

Made from what the application has: an address, an action or a frame without a line in these tables fails. The REST
interface below /api/v1 has a table of its own (`agents/api/test_route_matrix.py`).
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group
from django.db import connections
from django.test import Client, RequestFactory

from accounts.actor import Scope
from accounts.models import ApiKey, User
from accounts.roles import Role
from agents.models import AgentSession, Budget, Message, Turn
from agents.relay import close_hub
from agents.sessions import accept_message
from agents.ws import frames
from foundation import strict_json
from foundation.db_threads import in_db_thread
from tests.support.console_pages import MODEL_PAGE, addressed, model_pages, one_row_of_everything
from tests.support.people import key_of, person
from tests.support.sockets import Owner, Socket, key_headers
from tests.support.wire import routes

NOBODY: frozenset[Role] = frozenset()
OWNER = frozenset({Role.OWNER})
BUILDERS = OWNER | {Role.BUILDER}
OPERATORS = OWNER | {Role.OPERATOR}
CONSOLE = frozenset({Role.VIEWER, Role.OPERATOR, Role.BUILDER, Role.OWNER})
CHATTERS = frozenset({Role.USER, Role.OWNER})
EVERYBODY = frozenset(Role)
CALLERS: list[Role | None] = [None, *Role]

# --- pages ---

# Where one sends those who are not signed in; pages for everybody have None.
PAGES: dict[str, str | None] = {
    "/": "/login/",
    "/help/": "/login/",
    "/memories/": "/login/",
    "/schedules/": "/login/",
    "/login/": None,
    "/password/<uidb64>/<token>/": None,
    "/password/forgotten/": None,
    "/account/": "/login/",
    "/account/password/": "/login/",
    "/account/sign-out/": "/login/",
    "/account/keys/": "/login/",
    "/account/keys/<uuid:key_id>/revoke/": "/login/",
    "/logout/": None,
    "/api/docs": None,
    "/api/schema": None,
}
APP_PAGES = "^(?P<app_label>accounts|auth|scheduling|agents|memory|monitoring)/$"
# Of the console, beside those of its models.
CONSOLE_PAGES: dict[str, frozenset[Role]] = {
    "/admin/": CONSOLE,
    f"/admin/{APP_PAGES}": CONSOLE,
    "/admin/autocomplete/": NOBODY,
    "/admin/dashboard/": CONSOLE,
    "/admin/guide/": CONSOLE,
    "/admin/patterns/": CONSOLE,
    "/admin/usage/": CONSOLE,
    "/admin/runbooks/": CONSOLE,
    "/admin/retention/": CONSOLE,
    "/admin/jsi18n/": CONSOLE,
    # For builders, while there is such a deployment: see `agents/admin/test_trials.py`.
    "/admin/agents/agent/candidates/<uuid:object_id>/talk/": NOBODY,
    # Of a row that is not there, nobody sees any: see `agents/admin/test_deployments.py`.
    "/admin/agents/deployment/begin/<uuid:agent_id>/": NOBODY,
    "/admin/agents/evaluationrun/<uuid:object_id>/entries/<uuid:case_id>/": NOBODY,
    "/admin/agents/testset/entries/<uuid:case_id>/": NOBODY,
    "/admin/agents/testset/entries/<uuid:case_id>/remove/": NOBODY,
    "/admin/login/": EVERYBODY,
    "/admin/logout/": NOBODY,
    "/admin/password_change/": NOBODY,
    "/admin/password_change/done/": NOBODY,
    "/admin/r/<path:content_type_id>/<path:object_id>/": NOBODY,
    "/admin/search/": NOBODY,
}
# Who sees a model's list and pages, who adds, and who presses its buttons. Nobody deletes anything but by a button.
MODELS: dict[str, dict[str, frozenset[Role]]] = {
    "agents.agent": {
        "see": CONSOLE, "add": BUILDERS, "archive": BUILDERS, "compare": CONSOLE, "draft": CONSOLE, "publish": BUILDERS,
        "debug": OPERATORS,
    },
    "agents.agentsession": {
        "see": CONSOLE, "live": CONSOLE, "export": OPERATORS, "fork": OPERATORS, "take-over": OPERATORS,
        "debug": OPERATORS, "export-traces": OPERATORS,
    },
    "accounts.apikey": {"see": OWNER, "add": OWNER, "revoke": OWNER},
    "accounts.auditentry": {"see": CONSOLE, "export": OPERATORS},
    "agents.approval": {"see": CONSOLE, "decide": OPERATORS},
    "agents.approvalpass": {"see": CONSOLE, "add": OWNER, "end": OWNER},
    "agents.budget": {
        "see": CONSOLE, "add": OWNER, "override": OWNER, "end-override": OWNER, "remove": OWNER,
    },
    "agents.budgetdifference": {"see": CONSOLE, "review": OWNER},
    "agents.budgetreservation": {"see": CONSOLE},
    "agents.bulkaction": {"see": CONSOLE, "stop": OPERATORS},
    "agents.deployment": {
        "see": CONSOLE, "promote": BUILDERS, "hold": BUILDERS, "resume": BUILDERS, "back": BUILDERS,
        "test": BUILDERS,
    },
    "agents.evaluationrun": {"see": CONSOLE, "stop": BUILDERS, "repeat": BUILDERS},
    "agents.event": {"see": CONSOLE},
    "agents.feedback": {"see": CONSOLE},
    "agents.handoff": {
        "see": CONSOLE, "counts": CONSOLE, "live": CONSOLE,
        **dict.fromkeys(
            ("duty", "claim", "reply", "return", "resolve", "snooze", "priority", "assign", "note"), OPERATORS
        ),
    },
    "accounts.outgoingemail": {"see": OWNER},
    "agents.modelprice": {"see": CONSOLE, "add": OWNER, "remove": OWNER},
    "agents.release": {"see": CONSOLE, "roll-back": BUILDERS},
    "agents.routehealth": {
        "see": CONSOLE, "force-open": OPERATORS, "force-closed": OPERATORS, "release": OPERATORS,
    },
    "agents.runner": {"see": CONSOLE},
    "agents.step": {"see": CONSOLE, "sent": CONSOLE},
    "agents.testset": {
        "see": CONSOLE, "add": BUILDERS, "run": BUILDERS, "delete-set": BUILDERS,
    },
    "agents.turn": {"see": CONSOLE, "export": OPERATORS, "trace": CONSOLE},
    "agents.turnschedule": {"see": CONSOLE, "hold": OPERATORS, "release": OPERATORS},
    "monitoring.debugmode": {"see": CONSOLE, "end": OPERATORS},
    "memory.memory": {
        "see": CONSOLE, "confirm": OPERATORS, "quarantine": OPERATORS, "reject": OPERATORS, "erase": OPERATORS,
        "purge": OPERATORS,
    },
    "memory.memorypool": {"see": CONSOLE, "add": BUILDERS, "delete-pool": BUILDERS},
    "monitoring.tracesettings": {"see": CONSOLE, "add": BUILDERS},
    "accounts.user": {
        "see": OWNER, "add": OWNER, "close": OWNER, "locked-out": OWNER, "password-link": OWNER, "unlock": OWNER,
    },
    "auth.group": {"see": OWNER, "add": OWNER, "copy": OWNER, "remove": OWNER},
    "monitoring.readinessrun": {"see": CONSOLE, "run": OPERATORS | BUILDERS},
    "monitoring.recommendation": {"see": CONSOLE, "apply": OPERATORS, "dismiss": OPERATORS, "apply-modes": OWNER},
    "monitoring.alertrule": {
        "see": CONSOLE, "add": BUILDERS, "preview": BUILDERS, "switch": BUILDERS, "remove": BUILDERS,
    },
    "monitoring.alert": {"see": CONSOLE, "export": OPERATORS},
    "monitoring.silence": {"see": CONSOLE, "add": OPERATORS, "end": OPERATORS},
    "monitoring.notification": {"see": CONSOLE, "export": OPERATORS, "resend": OPERATORS},
    "monitoring.notificationchannel": {"see": OPERATORS, "add": OWNER, "test": OPERATORS, "remove": OWNER},
    "scheduling.jobrun": {"see": CONSOLE, "export": OPERATORS},
    "scheduling.schedule": {"see": CONSOLE, "run": OPERATORS},
}  # fmt: skip
ACTIONS: dict[str, dict[str, frozenset[Role]]] = {
    "agents.agentsession": {"cancel_open": OPERATORS},
    "accounts.apikey": {"revoke": OWNER},
    "memory.memory": dict.fromkeys(("confirm", "quarantine", "reject", "merge", "erase"), OPERATORS),
    "agents.turn": {
        "cancel": OPERATORS,
        "retry": OPERATORS,
        "requeue": OPERATORS,
        "fail_turn": OPERATORS,
        "add_to_test_set": BUILDERS,
    },
    "agents.turnschedule": {"hold": OPERATORS, "release": OPERATORS},
}


def allowed(model: str, word: str) -> frozenset[Role]:
    if word in {"see", "change", "history"}:
        return MODELS[model]["see"]
    if word in {"add", "delete"}:
        return MODELS[model].get(word, NOBODY)
    return MODELS[model][word]


def console_pages() -> dict[str, list[tuple[str, str]]]:
    return model_pages(CONSOLE_PAGES)


def test_every_address_has_a_line() -> None:
    others = {route.pattern for route in routes() if not MODEL_PAGE.match(route.pattern)}
    programs = {pattern for pattern in others if pattern.startswith(("/api/v1/", "/v1/", "/chat/"))}
    assert others - programs - CONSOLE_PAGES.keys() == PAGES.keys()
    pages = console_pages()
    assert pages.keys() == MODELS.keys()
    for model, found in pages.items():
        buttons = {word for _, word in found} - {"see", "open", "change", "history", "add", "delete"}
        assert buttons == MODELS[model].keys() - {"see", "add", "delete"}, model


@pytest.mark.django_db
def test_every_action_has_a_line_and_is_offered_to_its_roles_only() -> None:
    found: dict[str, dict[str, set[Role]]] = {}
    for role in CONSOLE:
        request = RequestFactory().get("/")
        request.user = person(f"a-{role}", role)
        for model, page in admin.site._registry.items():
            for action in page.get_actions(request):
                found.setdefault(model._meta.label_lower, {}).setdefault(action, set()).add(role)
    assert found == ACTIONS


# --- the console ---


@pytest.fixture
def world(db: None) -> User:
    """A user of the chat with one row of everything."""
    ada = person("ada", Role.USER)
    one_row_of_everything(ada)
    return ada


def client_as(role: Role | None) -> Client:
    client = Client()
    if role is not None:
        client.force_login(person(f"p-{role}", role))
    return client


def expect(answer: Any, *, caller: Role | None, may: frozenset[Role], what: object) -> None:
    if caller not in CONSOLE:
        assert answer.status_code == 302, (what, caller)
        assert answer["Location"].startswith("/admin/login/?next="), (what, caller)
    elif caller in may:
        assert answer.status_code in {200, 204}, (what, caller, answer.status_code)
    else:
        assert answer.status_code == 403, (what, caller, answer.status_code)


@pytest.mark.parametrize("model", sorted(MODELS))
def test_the_pages_of_a_model_open_for_its_roles_only(world: User, model: str) -> None:
    for caller in CALLERS:
        client = client_as(caller)
        for pattern, word in console_pages()[model]:
            if word == "open":
                continue  # only leads on to the page of the row
            address, may = addressed(pattern, model), allowed(model, word)
            expect(client.get(address), caller=caller, may=may, what=pattern)
            if caller not in may:
                before = counts()
                answer = client.post(address, {"post": "yes", "confirm": "yes", "action": "cancel", "name": "x"})
                assert answer.status_code in {302, 403}, (pattern, caller, answer.status_code)
                assert counts() == before, (pattern, caller)


def counts() -> list[Any]:
    return [
        sorted(model.objects.values_list("pk", flat=True)) for model in (AgentSession, Turn, ApiKey, User, Group)
    ] + [
        sorted(Turn.objects.values_list("status", flat=True)),
        list(ApiKey.objects.values_list("revoked_at", flat=True)),
        list(Budget.objects.values_list("pk", "amount", "override_amount")),
    ]


@pytest.mark.parametrize("model", sorted(ACTIONS))
def test_an_action_that_is_not_offered_does_nothing(world: User, model: str) -> None:
    row = apps.get_model(model).objects.order_by("-pk").first()
    assert row is not None
    for role in Role:
        client = client_as(role)
        for action, may in ACTIONS[model].items():
            if role in may:
                continue
            before = counts()
            client.post(
                f"/admin/{model.replace('.', '/')}/",
                {"action": action, "_selected_action": str(row.pk), "post": "yes", "confirm": "yes"},
            )
            assert counts() == before, (model, action, role)


def test_the_other_pages_open_for_whom_they_are_for(world: User) -> None:
    for caller in CALLERS:
        client = client_as(caller)
        for pattern, may in CONSOLE_PAGES.items():
            address = re.sub(r"<(?:\w+:)?\w+>", "0", pattern.replace(APP_PAGES, "agents/"))
            answer = client.get(address)
            if pattern in {"/admin/login/", "/admin/logout/"}:
                assert answer.status_code in {200, 302, 405}, pattern
            elif caller in may:
                assert answer.status_code == 200, (pattern, answer.status_code)
            else:
                assert answer.status_code in {302, 403, 404}, (pattern, answer.status_code)
        for pattern, login in PAGES.items():
            answer = client.get(re.sub(r"<\w+>", "0", pattern.replace("<uuid:key_id>", str(uuid4()))))
            if login is not None and caller is None:
                assert (answer.status_code, answer["Location"].split("?")[0]) == (302, login), pattern
            else:
                assert answer.status_code in {200, 302, 404, 405}, (pattern, answer.status_code)


# --- what the chat page and OpenAI's clients ask for ---

# Method, address, body, the status for its owner, and the scope it needs.
PROGRAMS: list[tuple[str, str, Any, int, str]] = [
    ("POST", "/chat/render", {"text": "Hi"}, 200, "read"),
    ("GET", "/chat/sessions/<str:session_id>/messages", None, 200, "read"),
    # Refused for what is missing, once it is known who asks.
    ("GET", "/chat/timing", None, 422, "read"),
    ("GET", "/v1/models", None, 200, "read"),
    ("GET", "/v1/models/<path:model>", None, 200, "read"),
    # Refused for its content, once it is known who asks: an answer would wait for a runner.
    ("POST", "/v1/chat/completions", {"model": "demo"}, 400, "chat"),
]


def test_every_address_of_the_page_and_of_openais_clients_has_a_line() -> None:
    found = {
        (name.upper(), route.pattern)
        for route in routes()
        if route.pattern.startswith(("/v1/", "/chat/"))
        for name in ("get", "post", "put", "patch", "delete")
        if hasattr(route.callback.cls, name)
    }
    assert found == {(method, pattern) for method, pattern, *_ in PROGRAMS}


@pytest.fixture
async def owner(transactional_db: None) -> AsyncIterator[Owner]:
    yield await in_db_thread(Owner)
    close_hub()
    await sync_to_async(connections.close_all)()


FLOWS = pytest.mark.usefixtures("transactional_db")


@FLOWS
async def test_each_caller_gets_their_own_and_nobody_elses(owner: Owner) -> None:
    from django.test import AsyncClient

    from tests.support.rest import bearer

    eve = await in_db_thread(lambda: key_of(person("eve", Role.USER)))
    keys = {scope: await in_db_thread(key_of, owner.user, [scope]) for scope in Scope}
    for method, pattern, body, status, needs in PROGRAMS:
        path = pattern.replace("<str:session_id>", str(owner.session.pk)).replace("<path:model>", "demo")

        async def ask(key: str | None, path: str = path, method: str = method, body: Any = body) -> int:
            answer = await AsyncClient().generic(
                method, path, strict_json.dumps(body or {}), "application/json", headers=bearer(key)
            )
            return int(answer.status_code)

        assert await ask(None) == 401, pattern
        assert await ask(owner.key) == status, pattern
        if "session_id" in pattern:
            assert await ask(eve) == 404, pattern
            assert await ask(owner.key, path.replace(str(owner.session.pk), str(uuid4()))) == 404
        for scope, key in keys.items():
            if needs == "read":
                assert await ask(key) == (status if scope is Scope.READ else 403), (pattern, scope)


# --- the websocket ---

NEEDS: dict[str, Scope] = {
    "resume": Scope.READ,
    "seen": Scope.READ,
    "ping": Scope.READ,
    "message.create": Scope.CHAT,
    "turn.cancel": Scope.CHAT,
}


def test_every_frame_has_a_line() -> None:
    assert frames._READERS.keys() == NEEDS.keys()


@FLOWS
@pytest.mark.parametrize(
    "scopes",
    [{Scope.READ}, {Scope.READ, Scope.CHAT}, {Scope.READ, Scope.MANAGE}],
    ids=["read", "read and chat", "read and manage"],
)
async def test_a_frame_does_what_the_keys_scopes_allow(owner: Owner, scopes: set[Scope]) -> None:
    key = await in_db_thread(key_of, owner.user, scopes)
    turn = (await in_db_thread(accept_message, owner.actor, session_id=owner.session.pk, text="Hi")).turn_id
    bodies: dict[str, dict[str, Any]] = {
        "resume": {"after": 2},
        "seen": {"seq": 2},
        "ping": {},
        "message.create": {"client_msg_id": "one", "text": "Hi"},
        "turn.cancel": {"turn": str(turn)},
    }
    async with Socket(owner.session.pk, key_headers(key)) as ws:
        await ws.until("ready")
        for kind, needs in NEEDS.items():
            await ws.send({"type": kind, **bodies[kind]})
            if needs is Scope.CHAT:
                frame = await _first(ws, lambda frame: frame["type"] in {"ack", "error"})
                assert (frame["type"] == "ack") == (needs in scopes), frame
                assert frame["type"] == "ack" or frame["code"] == "forbidden"
            assert await ws_alive(ws)
    assert await in_db_thread(Message.objects.count) == (2 if Scope.CHAT in scopes else 1)


async def _first(ws: Socket, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    while not wanted(frame := await ws.receive()):
        pass
    return frame


async def ws_alive(ws: Socket) -> bool:
    await ws.send({"type": "ping"})
    frame = await _first(ws, lambda frame: frame["type"] in {"pong", "error"})
    return bool(frame["type"] == "pong")


@FLOWS
@pytest.mark.parametrize("role", list(Role))
async def test_a_socket_on_anothers_session_is_as_absent_as_none(owner: Owner, role: Role) -> None:
    eve = await in_db_thread(lambda: key_of(person("eve", role)))
    for session in (owner.session.pk, uuid4()):
        async with Socket(session, key_headers(eve)) as ws:
            assert await ws.output() == {"type": "websocket.close", "code": 4404}


@FLOWS
async def test_a_turn_of_another_session_is_absent_on_this_ones_socket(owner: Owner) -> None:
    from agents.sessions import create_session

    def other_turn() -> object:
        other = create_session(owner.actor, agent_slug="demo")
        return accept_message(owner.actor, session_id=other.pk, text="Hi").turn_id

    turn = await in_db_thread(other_turn)
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        await ws.until("ready")
        for wanted in (turn, uuid4()):
            await ws.send({"type": "turn.cancel", "turn": str(wanted)})
            assert (await _first(ws, lambda frame: frame["type"] == "error"))["code"] == "not_found"
    assert (await in_db_thread(Turn.objects.get)).status == "queued"
