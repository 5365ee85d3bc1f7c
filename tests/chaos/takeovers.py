"""People who write, operators who take their sessions over and give them back, and runners that answer, each a process,
some of them killed. Run by `tests.chaos.child` as a program of its own; prints what was done and what is wrong, as
JSON.

What was acknowledged stands in a ledger, a file: one line for each, written after the answer has arrived.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db import DatabaseError, connections
from pydantic import Field

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role, sync_roles
from agents.domain.configuration import AgentConfiguration
from agents.domain.fallback import Policy
from agents.domain.replay import Snapshot, replay
from agents.domain.states import TERMINAL, TurnStatus
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.journal import handoff_writes
from agents.llm.gateway import Gateway, GatewayConfig
from agents.models import Agent, AgentDraft, AgentSession, Event, Handoff, Message, Step, Turn
from agents.releases import publish
from agents.runner.process import RunnerProcess, RunnerSettings
from agents.sessions import accept_message, create_session, handoffs
from agents.sessions.handoff_control import claim_handoff, reply_as_human, resolve_handoff, return_to_agent
from agents.sessions.handoffs import request_handoff, withdraw_handoff
from agents.sessions.snapshots import build_snapshot
from agents.tools import toolbox
from agents.tools.tool import tool
from foundation.errors import BandstandError
from foundation.ids import new_id

PEOPLE, SESSIONS, OPERATORS, RUNNERS = 2, 6, 3, 2
LEASE_SECONDS, HEARTBEAT_SECONDS = 4.0, 1.0
SETTLE_SECONDS = 30.0
GIVE_UP_SECONDS = 1_200.0
PR_SET_PDEATHSIG = 1
TWO_VOICES = "a takeover that lets turns go on"

QUESTIONS = (
    "Hello",
    "[[offline words=30 pace_ms=5]]",
    "[[offline words=8 pace_ms=20]]",
    '[[offline tool=work args={"seconds": 0.15}]]',
    '[[offline tool=work args={"seconds": 0.02} rounds=3]]',
    '[[offline tool=work args={"seconds": 0.1} parallel=2]]',
)
# What may stand in the log while a person controls the session, with the author of a message.
_QUIET = {"handoff.opened", "session.updated", "message.rated"}
_CLOSED = {"handoff.returned", "handoff.resolved"}


@tool(idempotent=False, writes=True, timeout_seconds=10)
async def work(seconds: Annotated[float, Field(ge=0, le=5)]) -> str:
    """Work for a while.

    Args:
        seconds: How long.
    """
    await asyncio.sleep(seconds)
    return "Worked."


def main() -> None:
    chance = random.Random(int(os.environ["CHAOS_SEED"]))
    rounds, kills = int(os.environ["CHAOS_ROUNDS"]), int(os.environ["CHAOS_KILLS"])
    if os.environ.get("CHAOS_TAKEOVER_DEFECT") == TWO_VOICES:
        # As if a person were put on top of an agent that goes on.
        handoff_writes._end_turns_locked = lambda session: 0
    handoffs.REQUESTS_PER_HOUR = 0  # type: ignore[misc]  # nobody clicks so often outside of here
    stage = Stage(Path(os.environ["CHAOS_LEDGER"]))
    began_at = time.monotonic()
    killed = stage.play(chance, rounds=rounds, kills=kills)
    seconds = time.monotonic() - began_at
    report = stage.judge()
    connections.close_all()
    print(json.dumps({**report, "kills": killed, "seconds": round(seconds, 1)}))


class Stage:
    """The sessions, who writes in them, and the ledger."""

    def __init__(self, ledger: Path) -> None:
        self._ledger_path = ledger
        ledger.touch()
        sync_roles()
        agent = Agent.objects.create(slug="demo", name="Demo")
        toolbox.BUILTIN = (*toolbox.BUILTIN, work)  # type: ignore[assignment, attr-defined]  # as if it were installed
        configuration = AgentConfiguration(model_chain=("offline:",), tools=("work",))
        AgentDraft.objects.create(agent=agent, configuration=configuration.dump())
        publish(Actor.system("chaos"), agent_id=agent.pk, expected_version=1)
        self._people = [_person(f"person-{number}", Role.USER) for number in range(PEOPLE)]
        self._operators = [_person(f"operator-{number}", Role.OPERATOR) for number in range(OPERATORS)]
        self._sessions: list[tuple[UUID, Actor]] = []
        self._beginnings: dict[UUID, Snapshot] = {}
        for number in range(SESSIONS):
            actor = self._people[number % PEOPLE]
            session = create_session(actor, agent_slug="demo", title="A test")
            self._sessions.append((session.pk, actor))
            self._beginnings[session.pk] = build_snapshot(AgentSession.objects.get(pk=session.pk))

    # --- the processes ---

    def play(self, chance: random.Random, *, rounds: int, kills: int) -> dict[str, int]:
        """Let all work until sessions were taken over so often; kill so many processes on the way, and return how many
        of each kind."""
        roles: list[tuple[str, Callable[[random.Random], None]]] = [
            *[("runner", self._run)] * RUNNERS,
            *[("person", self._write)] * PEOPLE,
            *[("operator", self._operate)] * OPERATORS,
        ]
        killed: Counter[str] = Counter()
        alive: dict[int, int] = {}
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        pause = 0.05
        while (done := self._rounds()) < rounds:
            for number in set(range(len(roles))) - set(alive.values()):
                alive[self._fork(roles[number][1], chance.randrange(2**32))] = number
            # As many as were to be killed by then, spread over the whole.
            if killed.total() < kills * done / rounds:
                working = [pid for pid, number in alive.items() if roles[number][0] == "runner"]
                pid = chance.choice(working if chance.random() < 0.5 else list(alive))
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                killed[roles[alive.pop(pid)][0]] += 1
            for pid in list(alive):
                if os.waitpid(pid, os.WNOHANG) != (0, 0):
                    raise SystemExit(f"a {roles[alive[pid]][0]} has ended by itself")
            if time.monotonic() > give_up_at:
                raise SystemExit("too few takeovers")
            time.sleep(pause)
        runners = [pid for pid, number in alive.items() if roles[number][0] == "runner"]
        for pid in set(alive) - set(runners):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._settle()
        for pid in runners:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return dict(killed)

    def _fork(self, role: Callable[[random.Random], None], seed: int) -> int:
        connections.close_all()
        pid = os.fork()
        if pid == 0:
            try:
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                role(random.Random(seed))
            except BaseException as error:
                print(f"{role.__name__}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            finally:
                os._exit(1)
        return pid

    def _settle(self) -> None:
        """Wait until every turn has ended, for so long as a turn may take after the last fault."""
        give_up_at = time.monotonic() + SETTLE_SECONDS
        while Turn.objects.filter(finished_at__isnull=True).exists() and time.monotonic() < give_up_at:
            time.sleep(0.1)
        connections.close_all()

    def _run(self, _: random.Random) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        gateway = Gateway(GatewayConfig(offline_pace_seconds=0.002))
        services = Services(gateway, toolbox.Toolbox([work]), BatchingDeltaWriter(), policy=Policy())
        limits = RunnerSettings(
            concurrency=8, running_per_user=8, lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS,
            drain_seconds=4,
        )  # fmt: skip
        await RunnerProcess(limits, services).serve()

    def _write(self, chance: random.Random) -> None:
        """A person's life: writes in all of the sessions, asks for people and goes on without them."""
        while True:
            session, actor = chance.choice(self._sessions)
            act = chance.random()
            try:
                if act < 0.06:
                    request_handoff(actor, session_id=session, reason="Help")
                elif act < 0.12:
                    withdraw_handoff(actor, session_id=session)
                else:
                    key = str(new_id())
                    accepted = accept_message(actor, session_id=session, text=chance.choice(QUESTIONS), key=key)
                    turn = str(accepted.turn_id) if accepted.turn_id else None
                    self._note("message", session=str(session), message=str(accepted.message_id), turn=turn)
            except (BandstandError, DatabaseError):
                """A full queue, a session that another has in hand."""
            time.sleep(chance.uniform(0.0, 0.04))

    def _operate(self, chance: random.Random) -> None:
        """An operator's life: takes sessions over by a claim or by a reply, and gives them back."""
        actor = chance.choice(self._operators)
        while True:
            session, _ = chance.choice(self._sessions)
            act = chance.random()
            try:
                if act < 0.3:
                    claim_handoff(actor, session_id=session, take_over=chance.random() < 0.5)
                elif act < 0.6:
                    key = str(new_id())
                    for _ in range(chance.choice((1, 1, 2))):  # some click twice
                        stored = reply_as_human(actor, session_id=session, text="A person", key=key, take_over=True)
                    self._note("reply", session=str(session), message=str(stored.message_id))
                else:
                    give_back = chance.choice((return_to_agent, resolve_handoff))
                    give_back(actor, session_id=session, take_over=chance.random() < 0.9)
            except (BandstandError, DatabaseError):
                """Nobody is wanted there, or another has it."""
            time.sleep(chance.uniform(0.0, 0.03))

    def _note(self, kind: str, **about: Any) -> None:
        line = json.dumps({"kind": kind, **about}).encode() + b"\n"
        with self._ledger_path.open("ab", buffering=0) as ledger:
            ledger.write(line)

    def _rounds(self) -> int:
        """How often a session was taken over."""
        return Event.objects.filter(type="handoff.opened").count()

    # --- what must hold ---

    def judge(self) -> dict[str, Any]:
        """What was done, and every fault."""
        faults: list[str] = []
        for session_id, _ in self._sessions:
            faults += self._judge_log(session_id)
        faults += self._judge_ledger()
        faults += self._judge_turns()
        turns = Counter(Turn.objects.values_list("status", flat=True))
        handed = Event.objects.filter(type="turn.cancelled", data__reason="handoff")
        errors = Counter(Turn.objects.exclude(error_class="").values_list("error_class", flat=True))
        return {
            "rounds": self._rounds(),
            "turns": dict(turns),
            "errors": dict(errors),
            "cut_off": handed.count(),
            "cut_off_at_work": handed.filter(epoch__gt=0).count(),
            "partial": Message.objects.filter(author="agent", partial=True).count(),
            "tools_cut_off": Step.objects.filter(kind="tool", status="unknown").count(),
            "messages": Message.objects.count(),
            "to_people": Message.objects.filter(author="user", turn=None).count(),
            "replies": Message.objects.filter(author="human").count(),
            "faults": faults,
        }

    def _judge_log(self, session_id: UUID) -> list[str]:
        """Two voices, a gap, or a snapshot that is not what the log says."""
        faults: list[str] = []
        session = AgentSession.objects.get(pk=session_id)
        events = list(Event.objects.filter(agent_session=session_id).order_by("seq"))
        if [event.seq for event in events] != list(range(1, session.next_seq)):
            faults.append(f"{session_id}: the log has a gap")
        is_human = False
        for event in events:
            if event.type in _CLOSED:
                is_human = False
            elif event.type == "handoff.opened":
                is_human = True
            elif (fault := _voice_fault(event, is_human)) is not None:
                faults.append(f"{session_id} {event.seq}: {fault}")
        if is_human != (session.controller == "human"):
            faults.append(f"{session_id}: the log says another controller")
        if is_human != Handoff.objects.filter(agent_session=session_id, state="open").exists():
            faults.append(f"{session_id}: no open handoff, or one that nobody answers")
        logged = [
            {"seq": e.seq, "turn_id": str(e.turn_id) if e.turn_id else None, "event_type": e.type, "data": e.data}
            for e in events
        ]
        if replay(self._beginnings[session_id], logged) != build_snapshot(session, limit=1_000_000):
            faults.append(f"{session_id}: the log does not give the session")
        return faults

    def _judge_turns(self) -> list[str]:
        """A turn that hangs, or one that has ended well without its answer."""
        hanging = Turn.objects.exclude(status__in=TERMINAL).values_list("pk", "status")
        faults = [f"turn {pk} hangs: {status}" for pk, status in hanging]
        answers = Counter(Message.objects.filter(author="agent").values_list("turn", flat=True))
        completed = Turn.objects.filter(status=TurnStatus.COMPLETED).values_list("pk", flat=True)
        faults += [f"turn {pk} has {answers[pk]} answers" for pk in completed if answers[pk] != 1]
        for session in AgentSession.objects.filter(open_turns__gt=0):
            faults.append(f"{session.pk}: {session.open_turns} open turns")
        return faults

    def _judge_ledger(self) -> list[str]:
        """What was acknowledged and is not there: lost, or stored twice."""
        faults = []
        stored = {str(pk): (author, turn) for pk, author, turn in Message.objects.values_list("pk", "author", "turn")}
        keys = Counter(Message.objects.exclude(idempotency_key=None).values_list("idempotency_key", flat=True))
        faults += [f"key {key} was stored {count} times" for key, count in keys.items() if count > 1]
        for line in self._ledger_path.read_bytes().splitlines():
            entry = json.loads(line)
            author, turn = stored.get(entry["message"], (None, None))
            if author != {"message": "user", "reply": "human"}[entry["kind"]]:
                faults.append(f"lost: {entry}")
            elif (str(turn) if turn else None) != entry.get("turn"):
                faults.append(f"another turn: {entry}")
        return faults


def _voice_fault(event: Event, is_human: bool) -> str | None:
    """What is wrong with an event while a person controls its session, or the agent does."""
    author = event.data["message"]["author"] if event.type == "message.created" else ""
    if is_human:
        by_person = event.turn_id is None and author in ("human", "user")
        return None if event.type in _QUIET or by_person else f"{event.type} while a person answers"
    if author == "human":
        return "a person's words while the agent answers"
    if author == "user" and event.turn_id is None:
        return "a message that nobody answers"
    return None


def _person(name: str, role: Role) -> Actor:
    user = User.objects.create(username=name)
    user.groups.add(Group.objects.get(name=role))
    return user_actor(user)


if __name__ == "__main__":
    main()
