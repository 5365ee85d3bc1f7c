"""The replay law while turns wait, go on, are lost and ask their model again, and while people approve calls, take over
and give back, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.actor import Actor
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.approvals import Decider, Decision
from agents.domain.events import TERMINAL_EVENTS
from agents.domain.handoffs import HandoffSource
from agents.domain.message_parts import Part, text_part
from agents.domain.replay import Snapshot, replay
from agents.domain.states import OWNED, PARKED, TERMINAL, StepKind, StepStatus, TurnStatus, WaitReason
from agents.journal import fenced_writes
from agents.journal.approval_writes import (
    NewApproval,
    advance_with_approvals,
    park_for_approval,
    read_approvals,
    use_approvals,
)
from agents.journal.claims import Claim
from agents.journal.fenced_writes import Intent, LostTurn, NewEvent, StepOutcome
from agents.journal.locked_writes import lock_session
from agents.journal.log import is_contiguous, read_log
from agents.models import AgentSession, Approval, Event, Handoff, Message, Step, Turn
from agents.runner.reaper import reap, release_claim
from agents.sessions import cancel_turn, create_session, requeue_turn
from agents.sessions.approvals import decide_approval
from agents.sessions.handoff_control import (
    assign_handoff,
    claim_handoff,
    reply_as_human,
    resolve_handoff,
    return_to_agent,
    snooze_handoff,
)
from agents.sessions.handoffs import request_handoff_locked, withdraw_handoff
from tests.support.conversations import (
    FAR_AHEAD,
    Conversation,
    arguments,
    claim,
    compact_turn,
    conversation,
    done,
    ending,
    lease_is_over,
    nothing_yet,
    park,
    retrying,
    say,
    tool_intent,
    wait_is_over,
    wake,
)
from tests.support.people import person

SYSTEM = Actor.system("tests")


class Story:
    """One session, step by step; whoever follows it live is right after each step."""

    def __init__(self, ada: Conversation, dana: Actor) -> None:
        self.ada, self.dana = ada, dana
        self.replies = 0
        self.claims: list[Claim] = []
        self.live = ada.snapshot()
        self.snapshots = [self.live]
        self.happens("ask")
        self.happens("claim")

    def happens(self, name: str) -> None:
        ACTIONS[name](self)
        before, self.live = self.live, self.ada.snapshot()
        assert self.replayed(before) == self.live
        self.snapshots.append(self.live)

    def replayed(self, earlier: Snapshot) -> Snapshot | None:
        """None: what it misses was folded."""
        later = read_log(self.ada.session_id, after=earlier["seq"], limit=100_000)
        if not is_contiguous(earlier["seq"], later, self.ada.row.next_seq - 1):
            return None
        return replay(earlier, [arguments(event) for event in later])

    # --- what there is ---

    def open_turn(self) -> Turn | None:
        return next((turn for turn in self.ada.turns() if turn.status not in TERMINAL), None)

    def owner(self) -> Claim | None:
        turn = self.open_turn()
        return self.claims[-1] if turn is not None and turn.status in OWNED else None

    def steps(self) -> int:
        return Step.objects.filter(turn_id=self.claims[-1].turn_id).count()

    def asks_its_model(self) -> bool:
        last = Step.objects.filter(turn_id=self.claims[-1].turn_id).order_by("number").last()
        return last is not None and (last.kind, last.status) == ("model", "intent")

    def shown(self) -> list[Part]:
        """By the open turn, as of now."""
        turn = self.open_turn()
        assert turn is not None
        return list(self.ada.snapshot()["turns"][str(turn.pk)]["shown"])

    # --- what happens ---

    def ask(self) -> None:
        if self.ada.row.open_turns < 3:
            self.ada.ask()

    def claim(self) -> None:
        turn = self.open_turn()
        found = claim(2)
        assert len(found) == (turn is not None and turn.status == "queued")
        if turn is not None and found:
            [work] = found
            assert (work.turn_id, work.epoch, work.resumed) == (turn.pk, turn.epoch + 1, turn.resumes)
            self.claims.append(work)
            anew = work.epoch > 1 and not work.resumed
            assert self.ada.events()[-1].type == ("turn.restarted" if anew else "turn.started")
            assert self.shown() == ([] if anew else self.live["turns"][str(turn.pk)]["shown"])

    def speak(self) -> None:
        if work := self.owner():
            say(work, "Hel", "lo")

    def call_a_tool(self) -> None:
        if (work := self.owner()) and self.asks_its_model():
            number = self.steps()
            tool = {"step": number + 1, "call_id": f"c{number}", "name": "clock"}
            fenced_writes.advance(
                work,
                outcomes=[done(number)],
                intents=[tool_intent(number + 1, f"c{number}")],
                events=[NewEvent("tool.started", tool | {"arguments": "{}"})],
            )
            fenced_writes.advance(
                work,
                outcomes=[StepOutcome(number + 1, StepStatus.DONE, {"content": "noon", "is_error": False})],
                intents=[Intent(number + 2, StepKind.MODEL)],
                events=[NewEvent("tool.finished", tool | {"content": "noon"})],
            )

    def ask_again(self) -> None:
        if (work := self.owner()) and self.asks_its_model():
            number = self.steps()
            failed = StepOutcome(number, StepStatus.FAILED, error_class="transient", name="openai:a")
            intent = Intent(number + 1, StepKind.MODEL, "openai:b")
            fenced_writes.advance(work, outcomes=[failed], intents=[intent], events=[retrying("openai:b", step=number)])
            assert [part["type"] for part in self.shown()[-1:]] in ([], ["tool_result"])

    def asks_for_an_approval(self) -> None:
        if (work := self.owner()) and self.asks_its_model():
            number = self.steps()
            tool = {"step": number + 1, "call_id": f"c{number}", "name": "clock"}
            right = {"decision": "ask", "reasons": []}
            approval = NewApproval(number + 1, f"c{number}", "clock", "{}", ["It costs."], Decider.USER, hours=1)
            advance_with_approvals(
                work,
                approvals=[approval],
                outcomes=[done(number)],
                intents=[replace(tool_intent(number + 1, f"c{number}"), details={"right": right})],
                events=[NewEvent("tool.started", tool | {"arguments": "{}"})],
            )

    def parks_for_its_approvals(self) -> None:
        if (work := self.owner()) and not self.asks_its_model():
            park_for_approval(work, until=FAR_AHEAD)

    def somebody_decides(self, decision: Decision) -> None:
        if approval := Approval.objects.filter(state="pending").order_by("id").first():
            decide_approval(self.ada.actor, approval_id=approval.pk, decision=decision)

    def nobody_decides(self) -> None:
        """In time, which the runner finds out."""
        if work := self.owner():
            Approval.objects.filter(state="pending").update(expires_at="2000-01-01T00:00:00Z")
            read_approvals(work, [self.steps()])

    def runs_its_call(self) -> None:
        if (work := self.owner()) and not self.asks_its_model():
            number = self.steps()
            use_approvals(work, [number])
            fenced_writes.advance(
                work,
                outcomes=[StepOutcome(number, StepStatus.DONE, {"content": "paid", "is_error": False})],
                intents=[Intent(number + 1, StepKind.MODEL)],
                events=[
                    NewEvent("tool.finished", {"step": number, "call_id": "c", "name": "clock", "content": "paid"})
                ],
            )

    # --- people ---

    def a_person_is_asked_for(self) -> None:
        with transaction.atomic():
            request_handoff_locked(lock_session(self.ada.session_id), by=HandoffSource.USER, reason="I am lost.")

    def is_handed_off(self) -> bool:
        return Handoff.objects.exclude(state="resolved").exists()

    def a_person_takes_over(self) -> None:
        claim_handoff(self.dana, session_id=self.ada.session_id)

    def a_person_replies(self) -> None:
        self.replies += 1
        reply_as_human(self.dana, session_id=self.ada.session_id, text="Here I am.", key=str(self.replies))

    def is_snoozed(self) -> None:
        if self.is_handed_off():
            until = datetime.now(UTC) + timedelta(hours=1)
            snooze_handoff(self.dana, session_id=self.ada.session_id, until=until)

    def is_assigned_to_nobody(self) -> None:
        if self.is_handed_off():
            assign_handoff(self.dana, session_id=self.ada.session_id, assignee_id=None)

    def gives_back(self, verb: Callable[..., object]) -> None:
        if self.is_handed_off():
            verb(self.dana, session_id=self.ada.session_id)

    def goes_on_with_the_agent(self) -> None:
        withdraw_handoff(self.ada.actor, session_id=self.ada.session_id)

    def parks(self, reason: WaitReason | None, *events: NewEvent) -> None:
        if work := self.owner():
            stopping = Turn.objects.get(pk=work.turn_id).status == TurnStatus.CANCELLING
            assert park(work, reason, events=events) is not stopping

    def is_woken(self) -> None:
        turn = self.open_turn()
        assert turn is None or wake(turn) is (turn.status in PARKED)

    def waits_long_enough(self) -> None:
        turn = self.open_turn()
        if turn is not None and turn.status in PARKED:
            wait_is_over(turn.pk)
            assert reap() == 1

    def loses_its_lease(self) -> None:
        if work := self.owner():
            lease_is_over(work.turn_id)
            assert reap() == 1

    def is_given_back(self) -> None:
        if work := self.owner():
            release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=False)

    def is_requeued(self) -> None:
        turn = self.open_turn()
        if turn is not None and turn.status in {TurnStatus.RUNNING, *PARKED}:
            requeue_turn(SYSTEM, turn_id=turn.pk)

    def is_cancelled(self) -> None:
        if (turn := self.open_turn()) is not None:
            cancel_turn(self.ada.actor, turn_id=turn.pk)

    def ends(self) -> None:
        if work := self.owner():
            fenced_writes.finish(
                work, ending(work, parts=[text_part("Hello")]), events=[NewEvent("message.delta", {"text": "!"})]
            )

    def a_dead_runner_writes(self) -> None:
        last = Event.objects.count()
        for work in self.claims[: -1 if self.owner() else None]:
            with pytest.raises(LostTurn):
                say(work, "late")
            with pytest.raises(LostTurn):
                park(work, WaitReason.APPROVAL)
        assert Event.objects.count() == last

    # --- what holds in the end ---

    def is_true(self) -> None:
        """Gapless, with one end for each turn that has ended and one answer at most; for every reader."""
        self.ada.log()
        self.never_has_two_voices()
        turns = {turn.pk: turn for turn in self.ada.turns()}
        ended = [event for event in self.ada.events() if event.type in TERMINAL_EVENTS]
        assert sorted((event.turn_id, event.type) for event in ended) == sorted(
            (turn.pk, f"turn.{turn.status}") for turn in turns.values() if turn.status in TERMINAL
        )
        answered = [message.turn_id for message in self.ada.messages() if message.author == "agent"]
        assert len(answered) == len(set(answered))
        assert {turn.pk for turn in turns.values() if turn.status == "completed"} <= set(answered)
        for earlier in self.snapshots:
            assert self.replayed(earlier) == self.live
        for turn_id in turns:
            compact_turn(self.ada.session_id, turn_id)
        assert self.ada.snapshot() == self.live
        # Who was in the middle of what is folded now is told so; all others get there by what is left of the log.
        assert all(self.replayed(earlier) in (None, self.live) for earlier in self.snapshots)
        assert self.replayed(nothing_yet(self.snapshots[0]["session"])) == self.live

    def never_has_two_voices(self) -> None:
        """While a person answers, the agent says and does nothing."""
        is_human = False
        for event in self.ada.events():
            if event.type == "session.updated":
                is_human = event.data["session"]["controller"] == "human"
            assert not is_human or event.type.startswith(("session.", "handoff.", "message.created")), event.type
            if event.type == "message.created":
                message = event.data["message"]
                assert is_human or message["author"] != "human"
                assert is_human == (message["turn"] is None)


ACTIONS: dict[str, Callable[[Story], None]] = {
    "ask": Story.ask,
    "claim": Story.claim,
    "speak": Story.speak,
    "call a tool": Story.call_a_tool,
    "ask the model again": Story.ask_again,
    "park for a provider": lambda story: story.parks(None, retrying(None)),
    "park for an approval": lambda story: story.parks(WaitReason.APPROVAL),
    "park for money": lambda story: story.parks(WaitReason.BUDGET, retrying(None)),
    "wake": Story.is_woken,
    "wait long enough": Story.waits_long_enough,
    "lose the lease": Story.loses_its_lease,
    "drain": Story.is_given_back,
    "requeue": Story.is_requeued,
    "cancel": Story.is_cancelled,
    "end": Story.ends,
    "write as a dead runner": Story.a_dead_runner_writes,
    "ask for an approval": Story.asks_for_an_approval,
    "park for its approvals": Story.parks_for_its_approvals,
    "approve": lambda story: story.somebody_decides(Decision.APPROVE),
    "refuse": lambda story: story.somebody_decides(Decision.DENY),
    "do not decide": Story.nobody_decides,
    "run the call": Story.runs_its_call,
    "ask for a person": Story.a_person_is_asked_for,
    "take over": Story.a_person_takes_over,
    "reply": Story.a_person_replies,
    "snooze": Story.is_snoozed,
    "assign to nobody": Story.is_assigned_to_nobody,
    "return": lambda story: story.gives_back(return_to_agent),
    "resolve": lambda story: story.gives_back(resolve_handoff),
    "go on with the agent": Story.goes_on_with_the_agent,
}
# What there is to tell happens more often than what ends the story.
USUAL = ["claim", "claim", "claim", "speak", "speak", "park for an approval", "wake"]
stories = st.lists(st.sampled_from([*ACTIONS, *USUAL]), min_size=10, max_size=30)


@pytest.fixture
def quick_commits(transactional_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = off")
        try:
            yield
        finally:
            cursor.execute("RESET synchronous_commit")


@pytest.mark.usefixtures("quick_commits")
def test_whoever_follows_a_session_is_right_whatever_its_turns_go_through() -> None:
    somebody, dana = conversation().actor, user_actor(person("dana", Role.OPERATOR))

    @settings(max_examples=settings().max_examples // 4, suppress_health_check=list(HealthCheck))
    @given(stories)
    def holds(story: Sequence[str]) -> None:
        told = Story(Conversation(somebody, create_session(somebody, agent_slug="demo", title="A test").pk), dana)
        try:
            for name in story:
                told.happens(name)
            told.is_true()
        finally:
            for rows in (Event, Approval, Handoff, Message, Step, Turn, AgentSession):
                rows._default_manager.all()._raw_delete("default")

    holds()


WORTH_TELLING: list[list[str]] = [
    ["speak", "park for an approval", "wake", "claim", "speak", "park for money", "wait long enough", "claim", "end"],
    ["speak", "park for a provider", "wake", "lose the lease", "claim", "speak", "lose the lease", "claim", "end"],
    ["call a tool", "speak", "ask the model again", "speak", "park for an approval", "cancel", "claim"],
    ["speak", "drain", "claim", "speak", "park for an approval", "requeue", "claim", "speak", "end"],
    ["speak", "cancel", "park for an approval", "speak", "lose the lease", "write as a dead runner"],
    [
        "speak", "ask for an approval", "park for its approvals", "approve", "claim", "run the call", "speak",
        "ask for an approval", "lose the lease", "refuse", "claim", "park for its approvals", "claim", "end",
    ],
    ["ask for an approval", "park for its approvals", "do not decide", "wait long enough", "claim", "do not decide"],
    ["ask for an approval", "park for its approvals", "requeue", "claim", "end"],
    [
        "speak", "ask for an approval", "ask", "ask for a person", "take over", "write as a dead runner", "ask",
        "reply", "assign to nobody", "reply", "snooze", "ask", "return", "ask", "claim", "speak", "end",
        "ask for a person", "snooze", "go on with the agent", "ask for a person", "take over", "resolve",
    ],
    ["ask for an approval", "park for its approvals", "reply", "approve", "go on with the agent", "ask", "claim"],
]  # fmt: skip


@pytest.mark.usefixtures("quick_commits")
@pytest.mark.parametrize("story", WORTH_TELLING, ids=", ".join)
def test_some_stories_are_told_always(story: list[str]) -> None:
    told = Story(conversation(), user_actor(person("dana", Role.OPERATOR)))
    for name in story:
        told.happens(name)
    told.is_true()
