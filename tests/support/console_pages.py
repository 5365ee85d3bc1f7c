"""The pages of the console as the application has them, and a row for each of them to show."""

import re
from collections.abc import Collection
from datetime import timedelta
from uuid import uuid4

from django.apps import apps
from django.contrib.auth.models import Group

from accounts.actor import Actor
from accounts.models import OutgoingEmail, User
from agents.domain.deployments import DEFAULT_PLAN
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
    HandoffNote,
    Message,
    ModelPrice,
    Release,
    RouteHealth,
    Runner,
    Step,
    TestSet,
    Turn,
    TurnSchedule,
)
from foundation.clock import now
from memory.enums import MemoryScope, MemorySource
from memory.models import MemoryPool
from memory.ownership import OwnerKey
from memory.writing import Provenance, remember
from monitoring.alerts.silences import create_silence
from monitoring.debugging import begin_debug_mode
from monitoring.models import (
    Alert,
    AlertRule,
    Notification,
    NotificationChannel,
    ReadinessRun,
    Recommendation,
    TraceSettings,
)
from scheduling import q2_sync
from scheduling.models import JobRun
from tests.support.people import agent, key_of
from tests.support.wire import routes

MODEL_PAGE = re.compile(r"/admin/(\w+)/(\w+)/(?:<(?:\w+:)?\w+>/)?(?:([\w-]+)/)?$")


def model_pages(others: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    """By model: the address of each of its pages, and what one does there. `others` are pages of no model."""
    found: dict[str, list[tuple[str, str]]] = {}
    for route in routes():
        match = MODEL_PAGE.match(route.pattern)
        if match is None or route.pattern in others:
            continue
        word = match[3] or ("open" if "<" in route.pattern else "see")
        found.setdefault(f"{match[1]}.{match[2]}", []).append((route.pattern, word))
    return found


def addressed(pattern: str, model: str) -> str:
    """The address of the page for the newest row of the model."""
    row = apps.get_model(model).objects.order_by("-pk").first()
    address = re.sub(r"<(?:\w+:)?\w+>", str(row.pk) if row else "0", pattern)
    return address + "?after=0" if address.endswith("/live/") else address


def session_with_a_turn(user: User, demo: Agent, text: str = "What is the time?") -> AgentSession:
    release = demo.live_release
    assert release is not None
    session = AgentSession.objects.create(user=user, agent=demo, release=release, title="Hello")
    turn = Turn.objects.create(
        agent_session=session,
        user=user,
        release=release,
        ordinal=1,
        fingerprint=b"",
        deadline_at=now() + timedelta(hours=1),
    )
    said = [{"type": "text", "text": text}]
    Message.objects.create(agent_session=session, ordinal=1, author="user", parts=said, turn=turn)
    Step.objects.create(turn=turn, number=1, kind="tool", epoch=1, name="clock", request={"zone": text})
    Event.objects.create(
        agent_session=session, seq=1, turn=turn, type="message.created", data={"message": {"parts": said}}
    )
    return session


def rate(session: AgentSession) -> Feedback:
    """A thumb down for the first message of the session, with a comment."""
    message = session.messages.earliest("ordinal")
    assert message.turn is not None
    return Feedback.objects.create(
        agent_session=session,
        message=message,
        turn=message.turn,
        release=message.turn.release,
        user=session.user,
        value=-1,
        comment="That is not so.",
    )


def want_a_person(session: AgentSession) -> Handoff:
    """A request for a person with a note, and a call of the session's turn that waits for an approval."""
    Approval.objects.create(
        turn=session.turns.get(),
        agent_session=session,
        agent=session.agent,
        step=1,
        tool="pay",
        arguments='{"to":"Ada","amount":10}',
        arguments_hash=b"",
        reasons=["`to` came from a web page"],
        decider="operator",
        expires_at=now() + timedelta(hours=24),
    )
    ApprovalPass.objects.create(
        agent=session.agent, tool="pay", user=session.user, reason="A test", expires_at=now() + timedelta(hours=1)
    )
    HandoffNote.objects.create(agent_session=session, author=session.user, text="Be kind.")
    return Handoff.objects.create(
        agent_session=session, requested_by="user", reason="My money", reply_due_at=now() + timedelta(minutes=10)
    )


def book_a_call(user: User) -> BudgetReservation:
    """A row of the ledger, and a difference to it."""
    row = BudgetReservation.objects.create(
        status="reserved", user_id=user.pk, purpose="embeddings", route="openai:fake", request={}, usd=1, tokens=10,
        expires_at=now() + timedelta(hours=1),
    )  # fmt: skip
    BudgetDifference.objects.create(
        kind="call", unit="usd", expected=1, actual=2, reservation_id=row.pk, user_id=user.pk
    )
    return row


def deploy(agent: Agent, user: User) -> None:
    """A deployment of a further release of the agent, in canary, and a run of that release against a test set."""
    live = agent.live_release
    assert live
    candidate = Release.objects.create(agent=agent, number=2, configuration=live.configuration)
    Deployment.objects.create(agent=agent, candidate=candidate, baseline=live, state="canary", plan=DEFAULT_PLAN.dump())
    tests = TestSet.objects.create(agent=agent, name="Refunds")
    EvaluationRun.objects.create(
        agent=agent, test_set=tests, baseline=live, candidate=candidate, max_cost_usd=1, paid_by=user
    )


def one_row_of_everything(user: User) -> None:
    """A session with a turn, a key, and one row of everything else that the console shows."""
    key_of(user)
    session = session_with_a_turn(user, agent())
    rate(session)
    # As the product would have counted, so that somebody may take over.
    AgentSession.objects.filter(pk=session.pk).update(open_turns=1, next_seq=2, next_ordinal=2)
    want_a_person(session)
    book_a_call(user)
    deploy(Agent.objects.get(), user)
    q2_sync.sync_schedules()
    JobRun.objects.create(job="test", asked_by="test")
    runner = Runner.objects.create(host="host", pid=1, capacity=1)
    RouteHealth.objects.create(provider="openai", model="gpt", credential="c")
    Group.objects.create(name="more")
    BulkAction.objects.create(operation="cancel", user=user, targets=[uuid4()], total=1)
    OutgoingEmail.objects.create(user=user, kind=OutgoingEmail.Kind.INVITATION)
    MemoryPool.objects.create(name="support")
    ModelPrice.objects.create(route="openai:mine", input=1, output=1, valid_from=now())
    TurnSchedule.objects.create(user=user, agent=Agent.objects.get(), text="Hi", cron="0 8 * * *", time_zone="UTC")
    TraceSettings.objects.create(agent=Agent.objects.get())
    overridden = {"override_amount": 9, "override_until": now() + timedelta(hours=1), "override_reason": "A test"}
    Budget.objects.create(subject="everybody", unit="usd", period="day", amount=5, **overridden)
    Recommendation.objects.create(kind="memory_cleanup", runner_id=runner.pk, subject="host:1", reason="memory_high")
    ReadinessRun.objects.create(subject="the installation", requested_as=user.username)
    rule = AlertRule.objects.create(name="many_failures", metric="turn_error_rate", threshold=5)
    Alert.objects.create(rule=rule, state="firing", pending_at=now(), firing_at=now(), evaluated_at=now())
    create_silence(Actor.system("tests"), rule_id=rule.pk, reason="A test")
    channel = NotificationChannel.objects.create(name="ops", kind="email", address="ops@example.org")
    Notification.objects.create(
        channel=channel,
        rule=rule,
        kind="firing",
        dedup_key="a",
        content={"title": "a", "incident_key": "a"},
        state="sent",
    )
    owner = OwnerKey(MemoryScope.USER, user_id=user.pk)
    provenance = Provenance(origin="a test")
    begin_debug_mode(Actor.system("tests"), agent_id=Agent.objects.order_by("pk")[0].pk, reason="A test")
    remember(Actor.system("tests"), owner, "I live in Bern.", source=MemorySource.FORM, provenance=provenance)
