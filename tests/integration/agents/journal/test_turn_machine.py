"""A session under everything that can happen to it, in any order: what must hold holds after every step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import UUID

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import override_settings
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from accounts.actor import Actor
from agents.domain.events import TERMINAL_EVENTS
from agents.domain.message_parts import text_part
from agents.domain.prompt import Item
from agents.domain.replay import Snapshot, replay
from agents.domain.states import (
    MAX_ATTEMPTS_WITHOUT_PROGRESS,
    OWNED,
    PARKED,
    TERMINAL,
    StepKind,
    StepStatus,
    TurnStatus,
    WaitReason,
    WhenBusy,
)
from agents.engine.context import load_context
from agents.journal import fenced_writes
from agents.journal.claims import Claim
from agents.journal.fenced_writes import Intent, LostTurn, NewEvent, StepOutcome
from agents.journal.log import is_contiguous, read_log
from agents.models import AgentSession, Event, Feedback, Message, Step, Turn
from agents.runner.reaper import reap, release_claim
from agents.sessions import (
    Accepted,
    SessionQueueFull,
    TurnInProgress,
    cancel_turn,
    create_session,
    give_feedback,
    update_session,
    withdraw_feedback,
)
from foundation.errors import IdempotencyMismatch
from tests.support.conversations import (
    FAR_AHEAD,
    OTHER_RUNNER,
    RUNNER,
    Conversation,
    arguments,
    claim,
    compact_turn,
    conversation,
    done,
    ending,
    lease_is_over,
    park,
    retrying,
    say,
    tool_intent,
    wait_is_over,
    wake,
)

DEPTH = 4

S = TurnStatus
picks = st.integers(0, 1000)
texts = st.sampled_from(["a", "b"])
words = st.lists(texts, min_size=1, max_size=3)
keys = st.sampled_from([None, None, "k1", "k2"])
modes = st.sampled_from([None, None, None, WhenBusy.REJECT, WhenBusy.INTERRUPT])
parents = st.none() | picks
runners = st.sampled_from([RUNNER, OTHER_RUNNER])
limits = st.integers(1, 3)
reasons = st.sampled_from([None, *WaitReason])
ends = st.sampled_from([S.COMPLETED, S.COMPLETED, S.FAILED, S.EXPIRED])


class TurnMachine(RuleBasedStateMachine):
    """One session, two runners, and a ledger of what was acknowledged.

    One rule draws what happens from what can happen, weighted: rules of their own are switched off at random for whole
    examples, and most runs would then be of sessions in which nothing is ever claimed.
    """

    somebody: ClassVar[Actor]

    @initialize()
    def begin(self) -> None:
        self.ada = Conversation(self.somebody, create_session(self.somebody, agent_slug="demo").pk)
        self.claims: list[Claim] = []
        self.keys: dict[str, tuple[tuple[str, WhenBusy | None], Accepted]] = {}
        self.acknowledged: dict[UUID, str] = {}
        self.snapshots: list[Snapshot] = [self.ada.snapshot()]
        self.live = self.snapshots[0]

    def teardown(self) -> None:
        if not hasattr(self, "ada"):
            return
        self.remember()
        self.remember_by_the_folded_log()
        for rows in (Feedback, Event, Message, Step, Turn, AgentSession):
            rows._default_manager.all()._raw_delete("default")

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        draw, turns = data.draw, self.ada.turns()
        happenings: list[tuple[int, Callable[[], None]]] = [
            (5, lambda: self.accept(draw(texts), draw(keys), draw(modes), draw(parents))),
            (4, lambda: self.claim(draw(runners), draw(limits))),
            (1, self.rename),
            (1, lambda: self.rate(draw(picks), draw(st.sampled_from([1, -1, None])))),
            (1, lambda: self.choose(draw(picks))),
            (1, self.remember),
        ]
        if turns:
            turn = turns[-1 - draw(picks) % len(turns)]
            happenings += [
                (2, lambda: self.cancel(turn)),
                (1, lambda: self.pass_a_deadline_and_reap(turn)),
                (1, lambda: self.fold(turn)),
            ]
        if self.claims:
            # The newest most of the time: the others are stale, and stay so.
            work = self.claims[-1 - max(0, draw(picks) % (len(self.claims) + 4) - 4)]
            happenings += [
                (4, lambda: self.stream(work, draw(words))),
                (2, lambda: self.call_a_tool(work)),
                (2, lambda: self.ask_again(work)),
                (3, lambda: self.park(work, draw(reasons), draw(st.booleans()))),
                (5, lambda: self.finish(work, draw(ends), draw(st.booleans()))),
                (2, lambda: self.return_it(work, draw(st.booleans()))),
            ]
        if any(turn.status in PARKED for turn in turns):
            happenings.append((4, lambda: self.wake(draw(st.booleans()))))
        if self.owned():
            happenings.append((5, lambda: self.lose_the_lease_and_reap(draw(st.booleans()))))
        draw(st.sampled_from([happening for weight, happening in happenings for _ in range(weight)]))()

    # --- what is so at the moment ---

    def open_turns(self) -> list[Turn]:
        return [turn for turn in self.ada.turns() if turn.status not in TERMINAL]

    def owned(self) -> Turn | None:
        return next((turn for turn in self.open_turns() if turn.status in OWNED), None)

    def is_owner(self, work: Claim) -> bool:
        owned = self.owned()
        return owned is not None and (owned.pk, owned.epoch) == (work.turn_id, work.epoch)

    def written_by_owner_only(self, work: Claim, write: Any) -> bool:
        """Whether it was written; a stale epoch writes nothing."""
        if self.is_owner(work):
            write()
            return True
        before = self.ada.row.next_seq
        with pytest.raises(LostTurn):
            write()
        assert self.ada.row.next_seq == before
        return False

    # --- what people do ---

    def accept(self, text: str, key: str | None, mode: WhenBusy | None, parent: int | None) -> None:
        known = self.keys.get(key) if key else None
        branch = {} if parent is None or not self.acknowledged else {"parent": self.pick_message(parent)}
        request = (text, mode)
        open_turns = self.open_turns()
        before = self.ada.row.head_message_id

        def ask() -> Accepted:
            return self.ada.ask(text, key=key, when_busy=mode, **({} if key else branch))

        if known and known[0] != request:
            with pytest.raises(IdempotencyMismatch):
                ask()
        elif known:
            again = ask()
            assert again.replayed
            assert (again.turn_id, again.message_id, again.seq) == (
                known[1].turn_id, known[1].message_id, known[1].seq,
            )  # fmt: skip
        elif mode is WhenBusy.REJECT and open_turns and len(open_turns) < DEPTH:
            with pytest.raises(TurnInProgress):
                ask()
        elif mode is not WhenBusy.INTERRUPT and len(open_turns) >= DEPTH:
            with pytest.raises(SessionQueueFull):
                ask()
        else:
            accepted = ask()
            assert not accepted.replayed
            self.acknowledged[accepted.message_id] = text
            if key:
                self.keys[key] = (request, accepted)
            message = Message.objects.get(pk=accepted.message_id)
            if mode is not WhenBusy.INTERRUPT:  # which may keep a partial answer, and move the head
                assert message.parent_id == (branch["parent"] if branch and not key else before)

    def pick_message(self, pick: int) -> UUID | None:
        messages = [None, *(message.pk for message in self.ada.messages())]
        return messages[pick % len(messages)]

    def cancel(self, turn: Turn) -> None:
        ends = dict.fromkeys((S.QUEUED, *PARKED), S.CANCELLED)
        expected = (ends | {S.RUNNING: S.CANCELLING}).get(S(turn.status), S(turn.status))
        assert cancel_turn(self.ada.actor, turn_id=turn.pk).status == expected

    def rename(self) -> None:
        version = self.ada.row.version
        update_session(
            self.ada.actor, session_id=self.ada.session_id, expected_version=version, title=f"Title {version}"
        )

    def rate(self, pick: int, value: int | None) -> None:
        answers = [message for message in self.ada.messages() if message.author == Message.Author.AGENT]
        if not answers:
            return
        message = answers[pick % len(answers)]
        if value is None:
            withdraw_feedback(self.ada.actor, message_id=message.pk)
        else:
            give_feedback(self.ada.actor, message_id=message.pk, value=value)

    def choose(self, pick: int) -> None:
        head, row = self.pick_message(pick), self.ada.row
        if head is not None:
            update_session(self.ada.actor, session_id=row.pk, expected_version=row.version, head=head)
            assert self.ada.row.head_message_id == head

    # --- what runners do ---

    def claim(self, runner: UUID, limit: int) -> None:
        open_turns = self.open_turns()
        found = claim(limit, runner=runner)
        if not open_turns or open_turns[0].status != S.QUEUED:
            assert found == []
            return
        [work] = found
        first = open_turns[0]
        assert (work.turn_id, work.epoch, work.resumed) == (first.pk, first.epoch + 1, first.resumes)
        begun = Event.objects.filter(agent_session_id=first.agent_session_id).latest("seq")
        goes_on = work.epoch == 1 or work.resumed
        assert begun.type == ("turn.started" if goes_on else "turn.restarted")
        assert begun.data.get("resumed") == (work.resumed if goes_on else None)
        self.claims.append(work)
        context = load_context(work)
        asked = context.question_id
        question = Item(asked, "user", [text_part(self.acknowledged[asked])], ordinal=context.history[-1].ordinal)
        assert context.history[-1] == question
        assert [step.number for step in context.steps] == list(range(1, len(context.steps) + 1))

    def stream(self, work: Claim, words: list[str]) -> None:
        self.written_by_owner_only(work, lambda: say(work, *words))

    def call_a_tool(self, work: Claim) -> None:
        last = Step.objects.filter(turn_id=work.turn_id).count()
        tool = {"step": last + 1, "call_id": f"c{last}", "name": "clock"}

        def write() -> None:
            fenced_writes.advance(
                work,
                outcomes=[done(last)],
                intents=[tool_intent(last + 1, f"c{last}")],
                events=[NewEvent("tool.started", tool | {"arguments": "{}"})],
            )
            fenced_writes.append(work, [NewEvent("tool.finished", tool | {"content": "noon"})])

        if self.written_by_owner_only(work, write):
            assert Turn.objects.get(pk=work.turn_id).attempts_without_progress == 0

    def ask_again(self, work: Claim) -> None:
        """The model has failed and is asked once more, in a step of its own."""
        last = Step.objects.filter(turn_id=work.turn_id).count()
        failed = StepOutcome(last, StepStatus.FAILED, error_class="transient", name="openai:a")
        intent = Intent(last + 1, StepKind.MODEL, "openai:b")
        self.written_by_owner_only(
            work,
            lambda: fenced_writes.advance(
                work, outcomes=[failed], intents=[intent], events=[retrying("openai:b", step=last)]
            ),
        )

    def park(self, work: Claim, reason: WaitReason | None, drop: bool) -> None:
        """`drop`: it had shown words that are void now."""
        before = Turn.objects.get(pk=work.turn_id)
        log = self.ada.row.next_seq
        if self.is_owner(work) and before.status == S.CANCELLING:
            assert not park(work, reason)
            assert self.ada.row.next_seq == log
            return
        events = [retrying(None)] if drop else []
        if self.written_by_owner_only(work, lambda: park(work, reason, events=events)):
            after = Turn.objects.get(pk=work.turn_id)
            assert after.status == (S.WAITING if reason else S.RETRY_WAIT)
            assert (after.deadline_at > before.deadline_at) is (reason in (WaitReason.APPROVAL, WaitReason.CHILDREN))

    def wake(self, by_time: bool) -> None:
        """Whoever it waits for wakes it, or its time has come."""
        turn = next(turn for turn in self.open_turns() if turn.status in PARKED)
        if by_time:
            wait_is_over(turn.pk)
            # As long before the end of the wait as it was; the clock is another test's.
            Turn.objects.filter(pk=turn.pk).update(deadline_at=FAR_AHEAD)
            assert reap() == 1
        else:
            assert wake(turn)
        after = Turn.objects.get(pk=turn.pk)
        assert (after.status, after.resumes, after.wait_reason) == (S.QUEUED, True, "")
        assert not wake(after)

    def finish(self, work: Claim, status: TurnStatus, shown: bool) -> None:
        stopping = Turn.objects.get(pk=work.turn_id).status == S.CANCELLING
        completed = status is S.COMPLETED
        error = {} if completed else {"error_class": "transient", "error_detail": "It broke."}
        shape = {"error_class": "transient", "detail": "It broke.", "error_id": None, "retry_suggested": True}
        last = ending(
            work,
            status,
            [text_part("answer")] if completed or shown else [],
            partial=not completed,
            data={} if completed else {"error": shape},
            **error,
        )
        events = [NewEvent("message.delta", {"text": "!"})]
        if self.written_by_owner_only(work, lambda: fenced_writes.finish(work, last, events=events)):
            became = S.CANCELLED if stopping and status is S.FAILED else status
            assert Turn.objects.get(pk=work.turn_id).status == became

    def return_it(self, work: Claim, without_progress: bool) -> None:
        owner, before = self.is_owner(work), Turn.objects.get(pk=work.turn_id)
        given = release_claim(
            session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=without_progress
        )
        assert given is owner
        after = Turn.objects.get(pk=work.turn_id)
        expected = S(before.status)
        if given:
            spent = without_progress and before.attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS
            expected = S.CANCELLED if before.status == S.CANCELLING else S.FAILED if spent else S.QUEUED
        assert after.status == expected

    def lose_the_lease_and_reap(self, deadline: bool) -> None:
        turn = self.owned()
        assert turn
        if deadline:
            Turn.objects.filter(pk=turn.pk).update(deadline_at="2000-01-01T00:00:00Z")
        lease_is_over(turn.pk)
        assert reap() == 1
        expected = S.QUEUED
        if turn.status == S.CANCELLING:
            expected = S.CANCELLED
        elif turn.attempts_without_progress >= MAX_ATTEMPTS_WITHOUT_PROGRESS:
            expected = S.FAILED
        assert Turn.objects.get(pk=turn.pk).status == expected
        assert reap() == int(deadline and expected is S.QUEUED), "then it is too late for it"

    def pass_a_deadline_and_reap(self, turn: Turn) -> None:
        if turn.status in (S.QUEUED, *PARKED):
            Turn.objects.filter(pk=turn.pk).update(deadline_at="2000-01-01T00:00:00Z")
            # Nothing is too late for a turn whose clock stands still.
            stands_still = turn.wait_reason in (WaitReason.APPROVAL, WaitReason.CHILDREN)
            assert reap() == int(not stands_still)
            assert Turn.objects.get(pk=turn.pk).status == (turn.status if stands_still else S.EXPIRED)
        assert reap() == 0

    def fold(self, turn: Turn) -> None:
        assert compact_turn(self.ada.session_id, turn.pk) is (turn.status in TERMINAL and not turn.compacted)

    # --- what watchers see ---

    def remember(self) -> None:
        """The replay law, from every snapshot that was ever taken."""
        fresh = self.ada.snapshot()
        assert json.loads(json.dumps(fresh)) == fresh
        log = read_log(self.ada.session_id, after=0, limit=100_000)
        for earlier in self.snapshots:
            later = [event for event in log if event.seq > earlier["seq"]]
            if is_contiguous(earlier["seq"], later, fresh["seq"]):
                assert replay(earlier, [arguments(event) for event in later]) == fresh
            else:
                assert later[0].first_seq <= earlier["seq"], "only what was folded asks for a new snapshot"
        self.snapshots.append(fresh)

    def follow(self) -> None:
        """The replay law for who follows live: from one moment to the next."""
        before, self.live = self.live, self.ada.snapshot()
        later = read_log(self.ada.session_id, after=before["seq"], limit=100_000)
        if is_contiguous(before["seq"], later, self.live["seq"]):
            assert replay(before, [arguments(event) for event in later]) == self.live

    def remember_by_the_folded_log(self) -> None:
        """The same for who has nothing but the log, when all that can be folded is."""
        fresh = self.ada.snapshot()
        for turn in self.ada.turns():
            compact_turn(self.ada.session_id, turn.pk)
        log = read_log(self.ada.session_id, after=0, limit=100_000)
        assert replay(self.snapshots[0], [arguments(event) for event in log]) == fresh == self.ada.snapshot()

    # --- what holds after every step ---

    @invariant()
    def promises_are_kept(self) -> None:
        if not hasattr(self, "ada"):
            return
        self.follow()
        row, turns = self.ada.row, self.ada.turns()
        self.check_turns(row, turns)
        self.check_log(row, turns)
        self.check_messages(row, turns)

    def check_turns(self, row: AgentSession, turns: list[Turn]) -> None:
        """One owner at most, of the first open turn, and the session knows."""
        open_turns = [turn for turn in turns if turn.status not in TERMINAL]
        owned = [turn for turn in open_turns if turn.status in OWNED]
        assert row.open_turns == len(open_turns)
        assert owned in ([], open_turns[:1])
        assert row.active_turn_id == (owned[0].pk if owned else None)
        assert not owned or row.active_epoch == owned[0].epoch

    def check_log(self, row: AgentSession, turns: list[Turn]) -> None:
        """No gap, and exactly one end for each turn that has ended."""
        at, ends = 0, []
        events = Event.objects.filter(agent_session_id=row.pk).order_by("seq")
        for seq, first, event_type, turn_id in events.values_list("seq", "replaces_from", "type", "turn_id"):
            assert (first or seq) == at + 1
            at = seq
            if event_type in TERMINAL_EVENTS:
                ends.append((turn_id, event_type))
        assert at == row.next_seq - 1
        assert sorted(ends) == sorted((turn.pk, f"turn.{turn.status}") for turn in turns if turn.status in TERMINAL)

    def check_messages(self, row: AgentSession, turns: list[Turn]) -> None:
        """Nothing acknowledged is lost, nothing is answered twice."""
        messages = self.ada.messages()
        assert [message.ordinal for message in messages] == list(range(1, row.next_ordinal))
        questions = [message for message in messages if message.author == "user"]
        assert {message.pk: message.parts[0]["text"] for message in questions} == self.acknowledged
        assert [turn.ordinal for turn in turns] == [message.ordinal for message in questions]
        answered = [message.turn_id for message in messages if message.author == "agent"]
        assert len(answered) == len(set(answered))
        assert {turn.pk for turn in turns if turn.status == S.COMPLETED} <= set(answered)
        assert not {turn.pk for turn in turns if turn.status not in TERMINAL} & set(answered)
        assert row.head_message_id in {message.pk for message in messages} if messages else not row.head_message_id


@pytest.fixture
def quick_commits(transactional_db: None) -> Iterator[None]:
    """Without waiting for the disk, and with a depth that a few messages reach."""
    config = django_settings.BANDSTAND.model_copy(update={"queue_depth": DEPTH})
    with connection.cursor() as cursor, override_settings(BANDSTAND=config):
        cursor.execute("SET synchronous_commit = off")
        try:
            yield
        finally:
            cursor.execute("RESET synchronous_commit")


@pytest.mark.usefixtures("quick_commits")
def test_a_session_keeps_its_promises_whatever_happens() -> None:
    TurnMachine.somebody = conversation().actor
    run_state_machine_as_test(
        TurnMachine,
        settings=settings(
            max_examples=settings().max_examples // 10,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
