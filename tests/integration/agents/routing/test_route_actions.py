"""What operators do to routes: hold them, let go of them, see them in the console and on the command line."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.circuit_breaker import ForcedState
from agents.models import RouteHealth
from agents.routing.route_actions import force_route, release_route
from agents.routing.route_status import route_status
from agents.tasks import purge_routes
from foundation.clock import now
from foundation.errors import Forbidden, InvalidInput, NotFound
from tests.support.consoles import button_of, client_of, confirmed, list_of, page_of
from tests.support.people import person

pytestmark = pytest.mark.django_db
OPS = Actor.system("tests")


def route(model: str = "gpt", **values: Any) -> RouteHealth:
    return RouteHealth.objects.create(provider="openai", model=model, credential="c", **values)


OPEN: dict[str, Any] = {"state": "open", "opens_in_row": 3, "generation": 7}


def opened(**values: Any) -> RouteHealth:
    return route(open_until=now() + timedelta(seconds=20), last_error="transient: 503 Overloaded.", **OPEN | values)


def test_a_route_is_held_open_until_its_end_and_the_audit_trail_says_by_whom() -> None:
    ada = person("ada", Role.OPERATOR)
    found = force_route(user_actor(ada), route_id=route().pk, state=ForcedState.OPEN, seconds=600)
    assert (found.state, found.forced, found.generation, found.revision) == ("open", "open", 1, 2)
    assert found.open_until == found.forced_until
    assert found.forced_until is not None
    assert 590 < (found.forced_until - now()).total_seconds() < 610
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor, entry.target_name) == ("route.forced_open", "ada", "openai:gpt")
    assert entry.detail == {"was": "closed", "seconds": 600}


def test_a_route_is_held_closed_and_released() -> None:
    one = opened()
    found = force_route(OPS, route_id=one.pk, state=ForcedState.CLOSED, seconds=60)
    assert (found.state, found.forced, found.opens_in_row) == ("closed", "closed", 0)
    found = release_route(OPS, route_id=one.pk)
    assert (found.state, found.forced, found.forced_until) == ("closed", "", None)
    assert [entry.action for entry in AuditEntry.objects.order_by("id")] == ["route.forced_closed", "route.released"]


def test_a_release_ends_pauses_and_lets_an_open_route_be_tried() -> None:
    later = now() + timedelta(minutes=5)
    paused = release_route(OPS, route_id=route("", blocked_until=later).pk)
    assert paused.blocked_until is None
    spaced = release_route(OPS, route_id=route("mini", paced_until=later, pace_seconds=9).pk)
    assert (spaced.paced_until, spaced.pace_seconds) == (None, None)
    found = release_route(OPS, route_id=opened().pk)
    assert found.open_until is not None
    assert found.open_until <= now()


@pytest.mark.parametrize("seconds", [9, 7 * 86_400 + 1, float("nan")])
def test_a_time_out_of_bounds_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInput):
        force_route(OPS, route_id=route().pk, state=ForcedState.OPEN, seconds=seconds)


def test_a_credential_has_no_breaker_and_what_is_not_there_is_not_found() -> None:
    with pytest.raises(InvalidInput):
        force_route(OPS, route_id=route("").pk, state=ForcedState.OPEN, seconds=60)
    with pytest.raises(NotFound):
        release_route(OPS, route_id=0)


@pytest.mark.parametrize("role", [Role.USER, Role.VIEWER, Role.BUILDER])
def test_only_operators_hold_a_route(role: Role) -> None:
    actor = user_actor(person("eve", role))
    with pytest.raises(Forbidden):
        force_route(actor, route_id=route().pk, state=ForcedState.OPEN, seconds=60)
    with pytest.raises(Forbidden):
        release_route(actor, route_id=RouteHealth.objects.get().pk)


# --- what people see ---


@pytest.fixture
def every_kind() -> dict[str, RouteHealth]:
    later = now() + timedelta(minutes=5)
    return {
        "closed": route("closed"),
        "open": opened(model="open"),
        "half open": route("half", state="half_open", probe_until=later),
        "open, next call tries it": route("past", state="open", open_until=now()),
        "paused": route("", blocked_until=later, last_error="auth: 401 no such key"),
        "spaced": route("spaced", paced_until=later, pace_seconds=1.5,
                        rate_limits={"requests": {"remaining": 3, "limit": 60, "reset_seconds": 50.0}, "at": "2026"}),
        "forced open": route("forced", forced="open", forced_until=later, state="open", open_until=later),
    }  # fmt: skip


def test_each_state_has_its_words(every_kind: dict[str, RouteHealth]) -> None:
    for label, one in every_kind.items():
        status = route_status(one, now())
        assert status.label == label
        assert (status.level == "good") == (label == "closed")


def test_the_console_lists_routes_and_what_their_providers_allow(every_kind: dict[str, RouteHealth]) -> None:
    viewer = client_of("vera", Role.VIEWER)
    text = viewer.get(list_of(RouteHealth)).content.decode()
    for label in every_kind:
        assert f">{label}</span>" in text
    assert "3 of 60 requests" in text
    assert "transient: 503 Overloaded." in text
    assert "openai: the credential" in text
    assert "Force open" not in viewer.get(page_of(every_kind["open"])).content.decode()


def test_an_operator_presses_the_buttons() -> None:
    one, operator = opened(), client_of("olga", Role.OPERATOR)
    assert "Force open" in operator.get(page_of(one)).content.decode()
    confirmed(operator, button_of(one, "force_closed"), seconds="3600")
    one.refresh_from_db()
    assert (one.forced, one.state) == ("closed", "closed")
    confirmed(operator, button_of(one, "release"))
    one.refresh_from_db()
    assert one.forced == ""
    page = confirmed(operator, button_of(one, "force_open"), seconds="7")
    assert "Select a valid choice" in page.content.decode()
    one.refresh_from_db()
    assert one.forced == ""
    credential = route("")
    page = operator.get(page_of(credential))
    assert "Release" in page.content.decode()
    assert "Force open" not in page.content.decode()
    assert operator.post(button_of(credential, "force_open"), {"confirm": "yes", "seconds": "600"}).status_code == 403


def command(*words: str) -> str:
    out = StringIO()
    call_command("routes", *words, stdout=out)
    return out.getvalue()


def test_the_command_lists_forces_and_releases(every_kind: dict[str, RouteHealth]) -> None:
    lines = command().splitlines()
    assert lines[0].split() == ["route", "credential", "state", "until", "what", "is", "the", "matter"]
    assert len(lines) == 1 + len(every_kind)
    assert "openai:open" in command("list")
    command("force", "openai:closed", "open", "--for", "90s")
    one = RouteHealth.objects.get(model="closed")
    assert one.forced_until is not None
    assert 80 < (one.forced_until - now()).total_seconds() <= 90
    assert AuditEntry.objects.get().actor == "system:routes"
    command("release", "openai:closed")
    one.refresh_from_db()
    assert one.forced == ""
    command("release", "openai:*")
    assert RouteHealth.objects.get(model="").blocked_until is None


@pytest.mark.parametrize("words", [("force", "openai:none", "open"), ("force", "openai:gpt", "open", "--for", "soon"),
                                   ("force", "openai:gpt", "open", "--for", "1s"), ("release", "gpt")])  # fmt: skip
def test_the_command_refuses_what_it_cannot_do(words: tuple[str, ...]) -> None:
    route()
    with pytest.raises(CommandError):
        command(*words)


def test_without_rows_the_command_says_so() -> None:
    assert "No process has asked a model yet" in command()


def test_routes_that_nobody_uses_are_forgotten_unless_something_is_the_matter() -> None:
    old = now() - timedelta(days=91)
    route("old", used_at=old)
    route("was held", used_at=old, forced="closed", forced_until=old)
    route("held", used_at=old, forced="closed", forced_until=now() + timedelta(hours=1))
    opened(model="open", used_at=old)
    opened(model="gone", used_at=old, changed_at=old)
    route("new")
    assert purge_routes() == 3
    assert sorted(RouteHealth.objects.values_list("model", flat=True)) == ["held", "new", "open"]
