"""Text as HTML for the chat page: while it is written, and in a conversation."""

import json
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from accounts.permissions import user_actor
from accounts.roles import Role
from agents.api import chat
from agents.sessions import accept_message, create_session
from tests.support.conversations import answer, claimed, say
from tests.support.people import PASSWORD, agent, person
from tests.support.rest import JSON, problem

pytestmark = pytest.mark.usefixtures("transactional_db")


class World:
    """Ada has a session and a browser with a login."""

    def __init__(self) -> None:
        self.ada = person("ada", Role.USER)
        agent()
        self.actor = user_actor(self.ada)
        self.session = create_session(self.actor, agent_slug="demo")
        self.browser = Client(enforce_csrf_checks=True)
        assert self.browser.login(username="ada", password=PASSWORD)
        self.browser.get("/")

    def ask(self, text: str) -> None:
        accept_message(self.actor, session_id=self.session.pk, text=text)

    def page(self) -> Any:
        return ok(self.browser.get(f"/chat/sessions/{self.session.pk}/messages"))

    def render(self, body: Any) -> Any:
        headers = {"X-CSRFToken": self.browser.cookies[settings.CSRF_COOKIE_NAME].value}
        return self.browser.post("/chat/render", body, content_type=JSON, headers=headers)


@pytest.fixture
def world(transactional_db: None) -> World:
    return World()


def ok(answered: Any) -> Any:
    assert answered.status_code == 200, answered.content
    assert answered["Cache-Control"] == "no-store"
    return json.loads(answered.content)


def test_text_is_rendered_for_who_is_known_and_for_our_own_page_only(world: World) -> None:
    assert ok(world.render({"text": "*a* <b>"})) == {"html": '<p dir="auto"><em>a</em> &lt;b&gt;</p>\n'}
    problem(world.browser.post("/chat/render", {"text": "a"}, content_type=JSON), 403, "csrf_failed")
    problem(Client().post("/chat/render", {"text": "a"}, content_type=JSON), 401, "unauthenticated")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 415),
        (b"[]", 400),
        (b"{}", 422),
        (b'{"text": 1}', 422),
        (b'{"text": "a", "x": 1}', 422),
        (b'{"text": "\\ud800"}', 422),
        (b'{"text": "' + b"x" * 300_000 + b'"}', 413),
    ],
)
def test_what_is_no_text_is_refused(world: World, body: bytes, status: int) -> None:
    assert world.render(body).status_code == status


def test_what_agents_say_has_its_html_and_what_users_typed_has_none(world: World) -> None:
    world.ask("*Hi*")
    answer(claimed(), "**Hello**")
    world.ask("More")
    say(claimed(), "*so* ", "far")
    page = world.page()
    assert [message["parts"] for message in page["messages"]] == [
        [{"type": "text", "text": "*Hi*"}],
        [{"type": "text", "text": "**Hello**", "html": '<p dir="auto"><strong>Hello</strong></p>\n'}],
        [{"type": "text", "text": "More"}],
    ]
    (running,) = page["turns"].values()
    assert running["shown"] == [{"type": "text", "text": "*so* far", "html": '<p dir="auto"><em>so</em> far</p>\n'}]


def test_only_the_newest_of_very_long_answers_have_their_html(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat, "MAX_RENDERED_CHARS", 100)
    for length in (10, 60, 30):
        world.ask("Go on")
        answer(claimed(), "x" * length)
    said = [message["parts"][0]["html"] for message in world.page()["messages"] if message["author"] == "agent"]
    assert [html and len(html) for html in said] == [
        len('<p dir="auto"></p>\n') + 10,
        len('<p dir="auto"></p>\n') + 60,
        len('<p dir="auto"></p>\n') + 30,
    ]
    monkeypatch.setattr(chat, "MAX_RENDERED_CHARS", 50)
    assert [bool(m["parts"][0]["html"]) for m in world.page()["messages"] if m["author"] == "agent"] == [
        False,
        False,
        True,
    ]


def test_other_addresses_and_methods_are_problems(world: World) -> None:
    problem(world.browser.get("/chat/nothing"), 404, "not_found")
    problem(world.browser.get("/chat/render"), 405, "method_not_allowed")
