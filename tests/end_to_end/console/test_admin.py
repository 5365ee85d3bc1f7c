"""The console: who comes in, what they see, and within how many queries."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.models import ApiKey, AuditEntry, OutgoingEmail, User
from accounts.roles import Role
from agents.models import (
    Agent,
    AgentSession,
    Approval,
    ApprovalPass,
    Budget,
    BudgetDifference,
    BudgetReservation,
    BulkAction,
    Deployment,
    EvaluationRun,
    Event,
    Feedback,
    Handoff,
    ModelPrice,
    Release,
    RouteHealth,
    Runner,
    Step,
    TestSet,
    Turn,
    TurnSchedule,
)
from console.admin import LONGEST_LIST, BoundedPaginator
from foundation.clock import now
from memory.enums import MemoryScope, MemorySource
from memory.models import Memory, MemoryPool
from memory.ownership import OwnerKey
from memory.writing import remember
from monitoring.models import (
    Alert,
    AlertRule,
    DebugMode,
    Notification,
    NotificationChannel,
    ReadinessRun,
    Recommendation,
    Silence,
    TraceSettings,
)
from scheduling.models import JobRun, Schedule
from tests.support.console_pages import book_a_call, deploy, rate, session_with_a_turn, want_a_person
from tests.support.consoles import changelist_of, client_of, list_of, page_of
from tests.support.people import OFFLINE, agent, person

pytestmark = pytest.mark.django_db

READ_ONLY = [
    AgentSession, Turn, Step, Event, Runner, RouteHealth, Release, ApiKey, AuditEntry, BulkAction, JobRun,
    OutgoingEmail, Memory, Recommendation, Feedback, DebugMode, TurnSchedule, Alert, Silence, Notification,
    ReadinessRun, Approval, ApprovalPass, Handoff, BudgetReservation, BudgetDifference,
    Deployment, EvaluationRun,
]  # fmt: skip
LISTS = [
    *READ_ONLY, Agent, User, Group, Schedule, MemoryPool, TraceSettings, AlertRule, NotificationChannel, Budget,
    ModelPrice, TestSet,
]  # fmt: skip


def fill(rows: int) -> None:
    """`rows` rows in every list, each with another user and agent, as far as there is one."""
    users = User.objects.bulk_create(User(username=f"user{number}") for number in range(rows))
    agents = Agent.objects.bulk_create(Agent(slug=f"agent{number}", name=f"Agent {number}") for number in range(rows))
    releases = Release.objects.bulk_create(Release(agent=one, number=1, configuration=OFFLINE) for one in agents)
    for one, release in zip(agents, releases, strict=True):
        one.live_release = release
    Agent.objects.bulk_update(agents, ["live_release"])
    for user, one in zip(users, agents, strict=True):
        session = session_with_a_turn(user, one)
        rate(session)
        want_a_person(session)
        deploy(one, user)
        record_audit(Actor.system("tests"), "agent.created", target=one)
    TurnSchedule.objects.bulk_create(
        TurnSchedule(user=user, agent=one, text="Hi", cron="0 8 * * *", time_zone="UTC")
        for user, one in zip(users, agents, strict=True)
    )
    for user in users:
        book_a_call(user)
    BulkAction.objects.bulk_create(BulkAction(operation="cancel", user=user, targets=[], total=1) for user in users)
    numbers = range(rows)
    Runner.objects.bulk_create(Runner(host="host", pid=number, capacity=1) for number in numbers)
    RouteHealth.objects.bulk_create(RouteHealth(provider="openai", model=f"m{n}", credential="c") for n in numbers)
    Recommendation.objects.bulk_create(
        Recommendation(kind="memory_cleanup", runner_id=uuid4(), subject="host:1", reason="memory_high")
        for _ in numbers
    )
    ReadinessRun.objects.bulk_create(
        ReadinessRun(subject=f"agent {number}", requested_as="olga", status="passed", finished_at=now())
        for number in numbers
    )
    Group.objects.bulk_create(Group(name=f"group{number}") for number in numbers)
    ApiKey.objects.bulk_create(
        ApiKey(user=user, name="test", prefix=f"p{user.pk}", digest=b"", scopes=["read"]) for user in users
    )
    Schedule.objects.bulk_create(Schedule(job=f"job{number}", every_minutes=1) for number in numbers)
    OutgoingEmail.objects.bulk_create(OutgoingEmail(user=user, kind=OutgoingEmail.Kind.FORGOTTEN) for user in users)
    JobRun.objects.bulk_create(JobRun(job=f"job{number}", asked_by="tests") for number in numbers)
    ModelPrice.objects.bulk_create(
        ModelPrice(route=f"openai:m{number}", input=1, output=1, valid_from=now()) for number in numbers
    )
    MemoryPool.objects.bulk_create(MemoryPool(name=f"pool{number}") for number in numbers)
    TraceSettings.objects.bulk_create(TraceSettings(agent=one) for one in agents)
    Budget.objects.bulk_create(Budget(subject="agent", agent=one, unit="usd", period="day", amount=5) for one in agents)
    DebugMode.objects.bulk_create(DebugMode(agent=one, reason="A test", until=now() + timedelta(1)) for one in agents)
    rules = AlertRule.objects.bulk_create(
        AlertRule(name=f"rule{number}", metric="turn_error_rate", threshold=5) for number in numbers
    )
    times = {"pending_at": now(), "firing_at": now(), "evaluated_at": now()}
    Alert.objects.bulk_create(Alert(rule=rule, state="firing", **times) for rule in rules)
    Silence.objects.bulk_create(Silence(rule=rule, reason="A test", ends_at=now() + timedelta(1)) for rule in rules)
    channels = NotificationChannel.objects.bulk_create(
        NotificationChannel(name=f"channel{number}", kind="email") for number in numbers
    )
    for rule, channel in zip(rules, channels, strict=True):
        rule.channels.add(channel)
    Notification.objects.bulk_create(
        Notification(channel=channel, rule=rule, kind="firing", dedup_key="a", content={})
        for rule, channel in zip(rules, channels, strict=True)
    )
    for user, one in zip(users, agents, strict=True):
        owner = OwnerKey(MemoryScope.USER, user_id=user.pk, agent_id=one.pk)
        remember(Actor.system("tests"), owner, "I live in Bern.", source=MemorySource.FORM)


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.BUILDER, Role.OWNER])
def test_who_has_a_console_role_logs_in(role: Role) -> None:
    person("ada", role)
    client = Client()
    answer = client.post("/admin/login/?next=/admin/", {"username": "ada", "password": "correct horse battery"})
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
    assert client.get("/admin/").status_code == 200


def test_a_user_of_the_chat_does_not_come_in() -> None:
    person("ada", Role.USER)
    client = Client()
    answer = client.post("/admin/login/", {"username": "ada", "password": "correct horse battery"})
    assert answer.status_code == 200
    assert b"Please enter the correct" in answer.content
    client.force_login(User.objects.get())
    assert client.get("/admin/")["Location"].startswith("/admin/login/")


def test_anonymous_visitors_are_sent_to_the_login() -> None:
    for model in LISTS:
        assert Client().get(list_of(model))["Location"].startswith("/admin/login/")


def test_only_what_is_named_is_registered() -> None:
    assert set(admin.site._registry) == set(LISTS)


def test_every_list_stays_within_its_budget(django_assert_max_num_queries: Any) -> None:
    owner = client_of("olga", Role.OWNER)
    fill(55)
    for model in LISTS:
        budget = admin.site._registry[model].query_budget  # type: ignore[attr-defined]
        with django_assert_max_num_queries(budget):
            answer = owner.get(list_of(model))
        assert answer.status_code == 200
        assert len(answer.context["cl"].result_list) >= 50


def test_the_page_of_a_session_stays_within_its_budget(django_assert_max_num_queries: Any) -> None:
    owner = client_of("olga", Role.OWNER)
    fill(1)
    session = AgentSession.objects.get()
    for number in range(2, 40):
        Event.objects.create(agent_session=session, seq=number, type="session.updated")
        Step.objects.create(turn=Turn.objects.get(), number=number, kind="model", epoch=1, name="offline:")
    with django_assert_max_num_queries(admin.site._registry[AgentSession].page_query_budget):  # type: ignore[attr-defined]
        assert owner.get(page_of(session)).status_code == 200


def test_a_list_is_counted_no_further_than_it_goes() -> None:
    User.objects.bulk_create(User(username=f"u{number}") for number in range(LONGEST_LIST + 5))
    assert BoundedPaginator(User.objects.order_by("-id"), 50).count == LONGEST_LIST


@pytest.mark.parametrize("model", READ_ONLY)
def test_platform_rows_cannot_be_added_changed_or_deleted(model: Any) -> None:
    owner = client_of("olga", Role.OWNER)
    fill(1)
    row = model.objects.latest("pk")
    name = f"{model._meta.app_label}_{model._meta.model_name}"
    before = model.objects.filter(pk=row.pk).values().get()
    assert owner.get(page_of(row)).status_code == 200
    assert model in {ApiKey, ApprovalPass, Silence} or owner.get(reverse(f"admin:{name}_add")).status_code == 403
    assert owner.post(page_of(row), {"title": "x", "status": "completed"}).status_code == 403
    assert owner.post(reverse(f"admin:{name}_delete", args=[row.pk]), {"post": "yes"}).status_code == 403
    owner.post(list_of(model), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
    assert model.objects.filter(pk=row.pk).values().get() == before


def test_sessions_turns_and_events_are_found_by_id() -> None:
    owner = client_of("olga", Role.OWNER)
    fill(3)
    session = AgentSession.objects.latest("id")
    turn = session.turns.get()
    found: Any
    for model, term, found in [
        (AgentSession, session.pk, session),
        (AgentSession, "user2", session),
        (Turn, turn.pk, turn),
        (Turn, session.pk, turn),
        (Step, turn.pk, turn.steps.get()),
        (Event, session.pk, session.events.get()),
    ]:
        assert list(changelist_of(owner, list_of(model), {"q": str(term)}).result_list) == [found]


def test_filters_narrow_a_list() -> None:
    owner = client_of("olga", Role.OWNER)
    fill(2)
    first = Agent.objects.get(slug="agent0")
    turns = changelist_of(owner, list_of(Turn), {"agent": str(first.pk), "state": "queued"})
    assert [turn.agent_session.agent for turn in turns.result_list] == [first]
    assert not changelist_of(owner, list_of(Turn), {"state": "failed"}).result_list
    for model in (Step, Event):
        assert len(changelist_of(owner, list_of(model), {"age": "hour"}).result_list) == 2
    Event.objects.update(at=now() - timedelta(days=2))
    assert not changelist_of(owner, list_of(Event), {"age": "day"}).result_list
    assert not changelist_of(owner, list_of(Event), {"type": "turn.failed"}).result_list


def test_a_reader_of_transcripts_sees_what_was_said() -> None:
    session = session_with_a_turn(person("ada", Role.USER), agent(), "<b>secret</b>")
    viewer = client_of("vera", Role.VIEWER)
    page = viewer.get(page_of(session)).content.decode()
    assert "&lt;b&gt;secret&lt;/b&gt;" in page
    assert "<b>secret</b>" not in page
    for row in (session.events.get(), Step.objects.get()):
        assert "secret" in viewer.get(page_of(row)).content.decode()


def test_the_transcript_of_an_agent_of_other_groups_is_hidden() -> None:
    lawyers = Group.objects.create(name="lawyers")
    session = session_with_a_turn(person("ada", Role.USER), agent(groups=[lawyers]), "secret")
    viewer = client_of("vera", Role.VIEWER)
    for row in (session, session.events.get(), Step.objects.get(), session.turns.get()):
        answer = viewer.get(page_of(row))
        assert answer.status_code == 200
        assert "secret" not in answer.content.decode()
    step = Step.objects.get()
    step.details = {"attempt": 7, "request": {"hash": "5ec0ffee", "memories": [["id", "5ec0ffee"]]}}
    step.save(update_fields=["details"])
    page = viewer.get(page_of(step)).content.decode()
    assert "attempt" in page
    assert "5ec0ffee" not in page, "whoever guesses what was said could prove it"
    User.objects.get(username="vera").groups.add(lawyers)
    assert "secret" in viewer.get(page_of(session)).content.decode()
    assert "5ec0ffee" in viewer.get(page_of(step)).content.decode()


def test_every_action_and_button_declares_the_permissions_that_it_needs() -> None:
    named = 0
    for model_admin in admin.site._registry.values():
        page: Any = model_admin
        buttons = [button.method for button in page._get_base_actions_detail()]
        for action in [*buttons, *(page.get_action(name)[0] for name in page.actions or ())]:
            assert action.allowed_permissions, action
            named += 1
    assert named > 10


@pytest.mark.parametrize("model", LISTS)
def test_no_list_offers_to_count_whole_tables(model: Any) -> None:
    owner = client_of("olga", Role.OWNER)
    assert "_facets" not in owner.get(list_of(model)).content.decode()
    assert "Hide counts" not in owner.get(list_of(model), {"_facets": "True"}).content.decode()


def test_a_runner_that_was_killed_is_not_said_to_run() -> None:
    vera = client_of("vera", Role.VIEWER)
    Runner.objects.create(host="up", pid=1, capacity=8)
    Runner.objects.create(host="gone", pid=2, capacity=8, heartbeat_at=now() - timedelta(hours=1))
    Runner.objects.create(host="left", pid=3, capacity=8, heartbeat_at=now() - timedelta(days=1), status="stopped")
    text = vera.get(list_of(Runner)).content.decode()
    assert [text.count(f">{word}</span>") for word in ("running", "silent", "stopped")] == [1, 1, 1]


def test_a_row_keeps_its_name_as_it_is_and_an_empty_list_says_which_kind_of_empty() -> None:
    owner, ada = client_of("olga", Role.OWNER), person("ada", Role.USER)
    assert ">ada</a>" in owner.get(page_of(ada)).content.decode()
    assert "There is nothing here yet" in owner.get(list_of(BulkAction)).content.decode()
    assert "Nothing matches" in owner.get(list_of(User), {"q": "nobody"}).content.decode()
