"""Runners and people who are killed while calls wait for a person, are decided and run. Run by `tests.chaos.child` as a
program of its own; prints what was done and what is wrong, as JSON.

Each turn calls three tools: one that asks and must not run twice, one that asks and may be repeated, and one that runs
at once. Each call that has run is a line of a file outside the database. This process opens no connection while it
forks, so that a worker costs milliseconds.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connections

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role, sync_roles
from agents.domain.approvals import ApprovalState, Decision
from agents.domain.configuration import AgentConfiguration
from agents.domain.model_messages import ToolCall, ToolSpec
from agents.engine import call_approvals
from agents.engine.context import load_context
from agents.engine.turn import TurnRun
from agents.journal.claims import claim
from agents.journal.fenced_writes import LostTurn
from agents.llm.interface import Finished, FirstToken, ModelEvent, ModelRequest, TextDelta, Usage
from agents.models import Approval, Event, Step, Turn
from agents.runner import reaper
from agents.sessions import accept_message, create_session
from agents.sessions import approvals as verbs
from foundation.db_threads import in_db_thread
from foundation.errors import Conflict
from foundation.ids import new_id
from tests.chaos.points import find_function
from tests.support.people import agent, person
from tests.support.scripted import Outcome, services_for

SESSIONS = 6
WORKERS = 2
GIVE_UP_SECONDS = 120.0
PAUSE_SECONDS = 0.03
ONCE, REPEATABLE, FREE = "once", "repeatable", "free"
RELEASE = AgentConfiguration.from_values(
    {
        "model_chain": ["offline:"],
        "tools": [ONCE, REPEATABLE, FREE],
        "tool_rights": {ONCE: {"right": "ask"}, REPEATABLE: {"right": "ask"}},
    }
)
_TOOLS, _CALLS, _TURN = "agents.engine.tool_calls", "agents.engine.call_approvals", "agents.engine.turn"
# Where a runner dies, as module, function and when.
RUNNER_POINTS = (
    ("tests.chaos.approval_work", "claim", "after"),
    (_TOOLS, "advance_with_approvals", "before"),
    (_TOOLS, "advance_with_approvals", "after"),
    (_CALLS, "read_approvals", "after"),
    (_CALLS, "use_approvals", "before"),
    (_CALLS, "use_approvals", "after"),
    (_TOOLS, "ToolCalls._run_one", "before"),
    ("tests.chaos.approval_work", "LedgerTools.call", "after"),
    (_TOOLS, "advance", "after"),
    (_TURN, "park_for_approval", "before"),
    ("agents.journal.approval_writes", "park", "after"),
    (_TURN, "park_for_approval", "after"),
    (_TURN, "finish", "before"),
    (_TURN, "finish", "after"),
)
# The same of the process that has a person's click.
CLICK_POINTS = (
    ("agents.sessions.approvals", "decide_locked", "before"),
    ("agents.sessions.approvals", "decide_locked", "after"),
    ("agents.journal.approval_writes", "resume_locked", "after"),
)
# After these a call that must not run twice may have run, and nobody can know.
IN_DOUBT = {"use_approvals after", "ToolCalls._run_one before", "LedgerTools.call after"}


@dataclass(frozen=True, slots=True)
class LedgerTools:
    """Tools that write a line for each call, and do nothing else."""

    ledger: Path
    trusted_names: frozenset[str] = frozenset()

    def specs(self, names: Sequence[str]) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name, f"The tool {name}.", {"type": "object"}) for name in names)

    def is_idempotent(self, name: str) -> bool:
        return name == REPEATABLE

    async def call(self, name: str, arguments: str, *, turn_id: UUID, step: int, **_: Any) -> Outcome:
        with self.ledger.open("a", encoding="utf-8") as file:
            file.write(f"{turn_id}:{step} {name} {arguments}\n")
        return Outcome("Done.")


class Model:
    """Calls the three tools, and answers when it has their results."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        yield FirstToken("r")
        calls: tuple[ToolCall, ...] = ()
        if request.messages[-1].role == "tool":
            yield TextDelta("So it is.")
        else:
            calls = tuple(ToolCall(f"c-{name}", name, f'{{"for": "{name}"}}') for name in (ONCE, REPEATABLE, FREE))
        yield Finished(calls, Usage(1, 1), "tool_calls" if calls else "stop", "m")

    async def aclose(self) -> None:
        """Nothing is open."""


def main() -> None:
    chance = random.Random(int(os.environ["CHAOS_SEED"]))
    enough, ledger = int(os.environ["CHAOS_KILLS"]), Path(os.environ["CHAOS_LEDGER"])
    # So many deaths in a row happen to no turn outside of here.
    vars(reaper).update(MAX_TOOL_STALLS=1_000, MAX_ATTEMPTS_WITHOUT_PROGRESS=1_000)
    if os.environ.get("CHAOS_SPOILED"):
        # The control: nobody writes down that an approval was used.
        vars(call_approvals)["use_approvals"] = lambda _, steps: set(steps)
    actors = _seed()
    kills: Counter[str] = Counter()
    rounds = 0
    while rounds == 0 or kills.total() < enough:
        rounds += 1
        for actor, session_id in actors:
            accept_message(actor, session_id=session_id, text="Go on.")
        _work_until_over(chance, kills, enough, ledger, actors[0][0])
    faults, counts = _judge(kills, ledger)
    connections.close_all()
    print(json.dumps({"kills": kills, "rounds": rounds, "counts": counts, "faults": faults}))


def _seed() -> list[tuple[Actor, UUID]]:
    sync_roles()
    agent()
    user = person("ada", Role.USER)
    actor = user_actor(User.objects.get(pk=user.pk))
    return [(actor, create_session(actor, agent_slug="demo", title="A test").pk) for _ in range(SESSIONS)]


def _work_until_over(chance: random.Random, kills: Counter[str], enough: int, ledger: Path, actor: Actor) -> None:
    """Let runners and clickers come and die until every turn has ended."""
    alive: dict[int, tuple[str, UUID]] = {}
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    while Turn.objects.filter(finished_at=None).exists():
        if time.monotonic() > give_up_at:
            raise SystemExit("some turns never end")
        connections.close_all()
        while len(alive) < WORKERS + 1:
            clicks = not any(name.startswith("click") for name, _ in alive.values())
            module, function, when = chance.choice(CLICK_POINTS if clicks else RUNNER_POINTS)
            # A click is rare among what runners do.
            dies = kills.total() + len(alive) < enough and not (clicks and chance.random() < 0.7)
            number, runner_id = chance.choice((1, 1, 2)) if dies else 0, new_id()
            seed = chance.random()
            pid = os.fork()
            if pid == 0:
                _live((module, function, when), number, clicks=clicks, runner_id=runner_id, ledger=ledger,
                      actor=actor, chance=random.Random(seed))  # fmt: skip
            alive[pid] = (f"{'click ' if clicks else ''}{function} {when}", runner_id)
        pid, status = os.wait()
        point, runner_id = alive.pop(pid)
        if os.WIFSIGNALED(status):
            kills[point] += 1
            # Its lease is over, sooner than in the world.
            Turn.objects.filter(runner_id=runner_id, lease_expires_at__isnull=False).update(
                lease_expires_at="2000-01-01T00:00:00Z"
            )
            reaper.reap()
    for pid, (point, _) in alive.items():
        _, status = os.waitpid(pid, 0)
        kills[point] += os.WIFSIGNALED(status)


def _live(
    point: tuple[str, str, str],
    number: int,
    *,
    clicks: bool,
    runner_id: UUID,
    ledger: Path,
    actor: Actor,
    chance: random.Random,
) -> None:
    """The life of a process: works until all is done, or dies when it comes by the point for the `number`th time."""
    try:
        if number:
            _arm(*point, number)
        if clicks:
            _click(actor, chance)
        else:
            asyncio.run(_run(runner_id, ledger))
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)


async def _run(runner_id: UUID, ledger: Path) -> None:
    services = replace(services_for(Model()), tools=LedgerTools(ledger))
    for beat in count():
        if not await in_db_thread(Turn.objects.filter(finished_at=None).exists):
            return
        if beat % 10 == 0:
            # Of turns whose sessions were locked when their runner was found dead.
            await in_db_thread(reaper.reap)
        # By its name in the module, which may be armed.
        for work in await in_db_thread(
            lambda: claim(runner_id=runner_id, limit=1, running_per_user=SESSIONS, lease_seconds=60.0)
        ):
            context = await in_db_thread(load_context, work)
            try:
                await TurnRun(replace(context, release=RELEASE), services).run()
            except LostTurn:
                continue
        await asyncio.sleep(PAUSE_SECONDS)


def _click(actor: Actor, chance: random.Random) -> None:
    while Turn.objects.filter(finished_at=None).exists():
        for approval in Approval.objects.filter(state=ApprovalState.PENDING):
            decision = chance.choice((Decision.APPROVE, Decision.APPROVE, Decision.DENY))
            try:
                verbs.decide_approval(actor, approval_id=approval.pk, decision=decision)
            except Conflict:
                continue  # somebody else's click was first
        time.sleep(PAUSE_SECONDS)


def _arm(module: str, function: str, when: str, count: int) -> None:
    """Kill this process at the `count`th call of the function."""
    owner, attribute = find_function(module, function)
    original: Callable[..., Any] = getattr(owner, attribute)
    calls = 0

    def begin() -> int:
        nonlocal calls
        calls += 1
        _die_if(calls == count and when == "before")
        return calls

    if asyncio.iscoroutinefunction(original):

        async def die_or_await(*args: Any, **kwargs: Any) -> Any:
            number = begin()
            value = await original(*args, **kwargs)
            _die_if(number == count and when == "after")
            return value

        setattr(owner, attribute, die_or_await)
        return

    def die_or_call(*args: Any, **kwargs: Any) -> Any:
        number = begin()
        value = original(*args, **kwargs)
        _die_if(number == count and when == "after")
        return value

    setattr(owner, attribute, die_or_call)


def _die_if(true: bool) -> None:
    if true:
        os.kill(os.getpid(), signal.SIGKILL)


def _judge(kills: Counter[str], ledger: Path) -> tuple[list[str], dict[str, int]]:
    """What is lost, doubled or wrong, and how much there was of each outcome."""
    lines = [line.split(" ", 2) for line in ledger.read_text(encoding="utf-8").splitlines()]
    effects = Counter(key for key, _, _ in lines)
    faults = [f"other arguments: {line}" for line in lines if json.loads(line[2]) != {"for": line[1]}]
    counts: Counter[str] = Counter()
    approvals = {(one.turn_id, one.step): one for one in Approval.objects.all()}
    for step in Step.objects.filter(kind="tool"):
        approval = approvals.pop((step.turn_id, step.number), None)
        counts[f"{step.name} {approval.state if approval else ''} {step.status}"] += 1
        faults += _step_faults(step, approval, effects[f"{step.turn_id}:{step.number}"])
    faults += [f"an approval without a step: {key}" for key in approvals]
    unknown = sum(count for name, count in counts.items() if name.endswith("unknown"))
    if unknown > (at_most := sum(kills[point] for point in IN_DOUBT) + kills["advance after"]):
        faults.append(f"{unknown} calls in doubt, and {at_most} kills that explain one")
    for turn in Turn.objects.all():
        faults += _turn_faults(turn)
    return faults, dict(counts)


def _step_faults(step: Step, approval: Approval | None, effects: int) -> list[str]:
    where = f"{step.turn_id}:{step.number} {step.name} {step.status}, {approval.state if approval else 'no approval'}"
    if (approval is None) is not (step.name == FREE):
        return [f"{where}: asked or not"]
    faults = []
    if effects > 1 and step.name != REPEATABLE:
        faults.append(f"{where}: doubled, {effects} times")
    if step.status == "done" and not effects:
        faults.append(f"{where}: done and never run")
    if step.status == "unknown" and step.name == REPEATABLE:
        faults.append(f"{where}: it may be repeated")
    if approval is None:
        return faults
    if approval.state == ApprovalState.DENIED and (effects or step.status != "failed"):
        faults.append(f"{where}: refused, and run {effects} times")
    if approval.state == ApprovalState.APPROVED and (approval.used_at is None or step.status == "failed"):
        faults.append(f"{where}: lost")
    if approval.state not in (ApprovalState.APPROVED, ApprovalState.DENIED):
        faults.append(f"{where}: never decided")
    return faults


def _turn_faults(turn: Turn) -> list[str]:
    faults = [] if turn.status == "completed" else [f"{turn.pk} is {turn.status}: {turn.error_class}"]
    answers = Step.objects.filter(turn=turn, kind="model", status="done").values_list("result__tool_calls", flat=True)
    asked = [calls for calls in answers if calls]
    if len(asked) != 1:
        faults.append(f"{turn.pk}: the model has called {len(asked)} times")
    events = Event.objects.filter(turn_id=turn.pk)
    decided = Counter(event.data["approval"] for event in events if event.type == "approval.decided")
    faults += [f"{turn.pk}: decided {count} times" for count in decided.values() if count != 1]
    if len(decided) != 2:
        faults.append(f"{turn.pk}: {len(decided)} decisions for two calls")
    return faults


if __name__ == "__main__":
    # As the module that the points name, not as the program.
    importlib.import_module("tests.chaos.approval_work").main()
