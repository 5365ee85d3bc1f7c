"""Turns that draw on one budget, runners that die, and a provider that counts for itself, each a process. Run by
`tests.chaos.child` as a program of its own; prints what was done and what is wrong, as JSON.

`CHAOS_SHAPE` is "points" (runners die at named points of a call, and turns wait for each other) or "bound" (every
answer is as long as its bound, there is money for ten of fifty turns, and runners are killed in mid-call).
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connections

from accounts.actor import Actor
from accounts.roles import Role, sync_roles
from agents.budgets.budget_index import BudgetIndex
from agents.budgets.reconciliation import reconcile
from agents.budgets.reservations import settle_and_reserve
from agents.budgets.reserver import BudgetReserver
from agents.domain.budgets import OPEN_RESERVATIONS, BudgetSubject
from agents.domain.configuration import AgentConfiguration, ContextPolicy
from agents.domain.fallback import Policy
from agents.domain.states import TurnStatus
from agents.engine.delta_writer import BatchingDeltaWriter
from agents.engine.ports import Services
from agents.llm.gateway import Gateway, GatewayConfig
from agents.llm.model_catalog import Rates
from agents.models import (
    Agent,
    AgentDraft,
    Budget,
    BudgetDifference,
    BudgetReservation,
    BudgetWindow,
    Event,
    Runner,
    Turn,
)
from agents.releases import publish
from agents.runner import budget_waker, reaper
from agents.runner.process import RunnerProcess, RunnerSettings
from agents.sessions import accept_message, create_session
from agents.tools.toolbox import Toolbox
from foundation.db_threads import in_db_thread
from tests.chaos.points import find_function
from tests.provider.server import Provider
from tests.support.people import person

PR_SET_PDEATHSIG: Final = 1
ROUTE: Final = "openai:fake"
ANSWER_TOKENS: Final = 256
# Of the provider's answer, as it says itself.
INPUT_TOKENS: Final = 11
RATES: Final = Rates(Decimal(1), Decimal(1), Decimal(1), Decimal(1_000))
MILLION: Final = Decimal(1_000_000)
# What a whole answer costs; the input is next to nothing.
A_CALL: Final = ANSWER_TOKENS * RATES.output / MILLION + Decimal("0.002")
LEASE_SECONDS, HEARTBEAT_SECONDS = 2.0, 0.5
GIVE_UP_SECONDS: Final = 90.0
LOOK_SECONDS: Final = 0.05

_RESERVER, _CALL, _TURN, _WAKER = (
    "agents.budgets.reserver",
    "agents.engine.model_call",
    "agents.engine.turn",
    "agents.runner.budget_waker",
)
# Where a runner dies, as module, function and when.
POINTS: Final = (
    (_CALL, "reserve_call", "before"),
    (_RESERVER, "settle_and_reserve", "before"),
    (_RESERVER, "settle_and_reserve", "after"),
    (_CALL, "reserve_call", "after"),
    (_CALL, "ModelCall._take", "before"),
    (_CALL, "ModelCall._take", "after"),
    (_TURN, "finish", "before"),
    (_TURN, "finish", "after"),
    (_TURN, "park", "before"),
    (_TURN, "park", "after"),
    (_WAKER, "settle_and_reserve", "after"),
    (_WAKER, "resume_locked", "before"),
    (_WAKER, "resume_locked", "after"),
    ("agents.runner.process", "load_context", "after"),
)
# So many turns in a round, and so many whole answers that there is money for in it.
TURNS, CALLS_AT_A_TIME = 8, 6
BOUND_TURNS, BOUND_CALLS, BOUND_RUNNERS = 50, 10, 3
# More bytes than the provider says that it has tokens.
QUESTION: Final = "Go on, and say as much as you may."


def main() -> None:
    chance = random.Random(int(os.environ["CHAOS_SEED"]))
    enough, shape = int(os.environ["CHAOS_KILLS"]), os.environ["CHAOS_SHAPE"]
    # So many deaths in a row happen to no turn outside of here.
    vars(reaper).update(MAX_TOOL_STALLS=1_000, MAX_ATTEMPTS_WITHOUT_PROGRESS=1_000)
    is_spoiled = bool(os.environ.get("CHAOS_SPOILED"))
    stage = Stage(Path(os.environ["CHAOS_LEDGER"]), chance, answers_whole=shape == "bound", is_spoiled=is_spoiled)
    kills = stage.play_points(enough) if shape == "points" else stage.play_bound(enough)
    report = stage.judge()
    connections.close_all()
    print(json.dumps({**report, "kills": kills}))


class Stage:
    """The provider, the sessions, the runners, and what must hold of them. `is_spoiled` is the control: what a killed
    runner had reserved is returned, as if its calls were never billed."""

    def __init__(self, ledger: Path, chance: random.Random, *, answers_whole: bool, is_spoiled: bool) -> None:
        self._ledger = ledger
        self._chance = chance
        self._is_spoiled = is_spoiled
        ledger.touch()
        self._address = self._start_provider(answers_whole=answers_whole)
        sync_roles()
        agent = Agent.objects.create(slug="demo", name="Demo")
        configuration = AgentConfiguration(
            model_chain=(ROUTE,), context_policy=ContextPolicy(answer_tokens=ANSWER_TOKENS)
        )
        AgentDraft.objects.create(agent=agent, configuration=configuration.dump())
        publish(Actor.system("chaos"), agent_id=agent.pk, expected_version=1)
        count = BOUND_TURNS if answers_whole else TURNS
        self._sessions: list[tuple[Actor, UUID]] = []
        for number in range(count):
            user = person(f"person-{number}", Role.USER)
            actor = Actor.user(user_id=user.pk, name=user.get_username())
            self._sessions.append((actor, create_session(actor, agent_slug="demo", title="A test").pk))
        self._budget = Budget.objects.create(
            subject=BudgetSubject.EVERYBODY, unit="usd", period="month", amount=A_CALL * BOUND_CALLS, warn_percent=0
        )
        self._alive: dict[int, str] = {}
        self._rounds = 0

    def _start_provider(self, *, answers_whole: bool) -> str:
        """Start it in a process of its own; return its address."""
        reading, writing = os.pipe()
        if _fork() == 0:
            os.close(reading)

            async def serve() -> None:
                provider = Provider()

                def count(body: dict[str, Any]) -> dict[str, Any]:
                    # All of it is billed, whether or not anybody is left to read it.
                    tokens = max(1, body["max_tokens"] if answers_whole else body["max_tokens"] // 2)
                    with self._ledger.open("a", encoding="utf-8") as file:
                        file.write(f"{tokens} {body['messages'][-1]['content'].split()[-1]}\n")
                    return {"tokens": tokens, "ttft_ms": 20, "tps": tokens * (1 if answers_whole else 4)}

                provider.choose = count
                await provider.start()
                os.write(writing, provider.base_url.encode())
                os.close(writing)
                await asyncio.Event().wait()

            _live(lambda: asyncio.run(serve()))
        os.close(writing)
        with open(reading, "rb") as pipe:
            return pipe.read().decode()

    # --- what is done ---

    def play_points(self, enough: int) -> dict[str, int]:
        """Rounds of turns with little money at a time, until so many runners have died at points of their calls."""
        kills: Counter[str] = Counter()
        while self._rounds == 0 or kills.total() < enough:
            give_up_at = time.monotonic() + GIVE_UP_SECONDS
            settle_and_reserve()
            window = BudgetWindow.objects.filter(budget=self._budget).order_by("-id").first()
            self._set_amount((window.spent if window else Decimal(0)) + A_CALL * CALLS_AT_A_TIME)
            self._ask()
            while Turn.objects.filter(finished_at=None).exists():
                if time.monotonic() > give_up_at:
                    raise SystemExit("some turns never end")
                while len(self._alive) < 2:
                    point = self._chance.choice(POINTS)
                    dies = kills.total() + len(self._alive) < enough
                    number = self._chance.choice((1, 1, 2)) if dies else 0
                    self._start_runner(point, number)
                self._collect(kills)
                time.sleep(LOOK_SECONDS)
            # Also those that have not come by their points.
            self._end_runners()
        return dict(kills)

    def play_bound(self, enough: int) -> dict[str, int]:
        """Fifty turns with money for ten; runners are killed while their calls are under way."""
        kills: Counter[str] = Counter()
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        self._ask()
        while self._is_open():
            if time.monotonic() > give_up_at:
                raise SystemExit("some turns never end")
            with _database_may_die():
                while len(self._alive) < BOUND_RUNNERS:
                    self._start_runner(POINTS[0], 0)
                if kills.total() < enough:
                    kills["in mid-call"] += self._kill_in_call()
            self._collect(kills)
            time.sleep(LOOK_SECONDS)
        self._end_runners()
        return dict(kills)

    def _ask(self) -> None:
        self._rounds += 1
        for number, (actor, session_id) in enumerate(self._sessions):
            accept_message(actor, session_id=session_id, text=f"{QUESTION} {number}")

    def _kill_in_call(self) -> bool:
        """Kill a runner if it has calls under way, and all of them have reached the provider."""
        reserved = BudgetReservation.objects.filter(status="reserved").values("turn_id")
        runners = Turn.objects.filter(pk__in=reserved, status=TurnStatus.RUNNING).values("runner_id")
        busy = [
            pid for pid in Runner.objects.filter(pk__in=runners).values_list("pid", flat=True) if pid in self._alive
        ]
        if not busy:
            return False
        pid = self._chance.choice(busy)
        # Nothing leaves it while somebody looks.
        os.kill(pid, signal.SIGSTOP)
        for _ in range(10):
            time.sleep(LOOK_SECONDS / 2)
            if self._all_have_left(pid):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                self._alive.pop(pid)
                if self._is_spoiled:
                    self._return_reserved(pid)
                return True
        os.kill(pid, signal.SIGCONT)
        return False

    def _all_have_left(self, pid: int) -> bool:
        # Stands in the queue behind a statement that the runner has sent before.
        settle_and_reserve()
        turns = Turn.objects.filter(runner__pid=pid, status=TurnStatus.RUNNING).values_list("pk", "agent_session_id")
        numbers = {session_id: number for number, (_, session_id) in enumerate(self._sessions)}
        billed = Counter(number for _, number in self._bills())
        reserved = Counter(
            BudgetReservation.objects.filter(turn_id__in=[turn for turn, _ in turns])
            .exclude(status__in=["waiting", "granted", "released"])
            .values_list("turn_id", flat=True)
        )
        return any(reserved.values()) and all(
            reserved[turn] <= billed[numbers[session_id]] for turn, session_id in turns
        )

    def _return_reserved(self, pid: int) -> None:
        turns = Turn.objects.filter(runner__pid=pid).values("pk")
        reserved = BudgetReservation.objects.filter(status="reserved", turn_id__in=turns)
        settle_and_reserve(releases=list(reserved.values_list("pk", flat=True)))

    def _set_amount(self, amount: Decimal) -> None:
        Budget.objects.filter(pk=self._budget.pk).update(amount=amount)

    def _is_open(self) -> bool:
        with _database_may_die():
            return Turn.objects.filter(finished_at=None).exists()
        return True

    def _start_runner(self, point: tuple[str, str, str], number: int) -> None:
        connections.close_all()
        pid = _fork()
        if pid == 0:
            _live(lambda: _run(point, number, self._address))
        self._alive[pid] = f"{point[1]} {point[2]}"

    def _collect(self, kills: Counter[str]) -> None:
        for pid in list(self._alive):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            point = self._alive.pop(pid)
            if os.WIFSIGNALED(status):
                kills[point] += 1

    def _end_runners(self) -> None:
        for pid in self._alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self._alive.clear()

    # --- what must hold ---

    def _bills(self) -> list[tuple[int, int]]:
        """Of each call that has reached the provider: the tokens of its answer, and the number of its session."""
        lines = self._ledger.read_text(encoding="utf-8").splitlines()
        return [(int(tokens), int(number)) for tokens, number in map(str.split, lines)]

    def judge(self) -> dict[str, Any]:
        """What was done, and every fault."""
        settle_and_reserve()
        open_ones = BudgetReservation.objects.filter(status__in=OPEN_RESERVATIONS)
        faults = [f"reservation {row.pk} stays {row.status}" for row in open_ones]
        bills = self._bills()
        billed = sum((tokens * RATES.output + INPUT_TOKENS * RATES.input) / MILLION for tokens, _ in bills)
        window = BudgetWindow.objects.get(budget=self._budget)
        amount = Budget.objects.get(pk=self._budget.pk).amount
        if window.reserved:
            faults.append(f"{window.reserved} stays reserved")
        if billed > window.spent:
            faults.append(f"the provider has billed {billed}, and {window.spent} is booked")
        if billed > amount or window.spent > amount:
            faults.append(f"{billed} billed and {window.spent} booked of {amount}")
        if window.overdraft:
            faults.append(f"{window.overdraft} overdrawn")
        reconcile()
        faults += [str(row) for row in BudgetDifference.objects.all()]
        turns = Counter(Turn.objects.values_list("status", "error_class"))
        faults += [
            f"{count} turns {status} with {error}"
            for (status, error), count in turns.items()
            if status != TurnStatus.COMPLETED and error != "budget_exceeded"
        ]
        return {
            "rounds": self._rounds,
            "turns": {f"{status} {error}".strip(): count for (status, error), count in turns.items()},
            "calls": len(bills),
            "reservations": dict(Counter(BudgetReservation.objects.values_list("status", flat=True))),
            "budget": float(amount),
            "billed": round(float(billed), 4),
            "booked": round(float(window.spent), 4),
            "waited": Event.objects.filter(type="turn.waiting").count(),
            "faults": faults,
        }


@contextmanager
def _database_may_die() -> Iterator[None]:
    try:
        yield
    except (DatabaseError, InterfaceError):
        connections.close_all()


def _fork() -> int:
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return pid


def _live(life: Callable[[], None]) -> None:
    try:
        life()
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr, flush=True)
        os._exit(1)


def _run(point: tuple[str, str, str], number: int, address: str) -> None:
    """The life of a runner: works until it is killed, or dies when it comes by the point for the `number`th time."""
    if number:
        _arm(*point, number)
    asyncio.run(_serve(address))


async def _serve(address: str) -> None:
    loop = asyncio.get_running_loop()
    index = BudgetIndex()
    wakes: set[asyncio.Task[int]] = set()

    def wake(turns: Sequence[tuple[UUID, UUID]]) -> None:
        task = loop.create_task(in_db_thread(budget_waker.wake_for_budget, turns))
        wakes.add(task)
        task.add_done_callback(wakes.discard)

    gateway = Gateway(GatewayConfig(openai_api_key="k", openai_base_url=address, prices={ROUTE: RATES}))
    services = Services(
        gateway,
        Toolbox(),
        BatchingDeltaWriter(),
        policy=Policy(),
        budgets=BudgetReserver(index, on_wake=wake),
    )
    limits = RunnerSettings(
        concurrency=4, running_per_user=50, lease_seconds=LEASE_SECONDS, heartbeat_seconds=HEARTBEAT_SECONDS,
        drain_seconds=4,
    )  # fmt: skip
    await RunnerProcess(limits, services, listeners=[index]).serve()


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


if __name__ == "__main__":
    importlib.import_module("tests.chaos.budget_work").main()
