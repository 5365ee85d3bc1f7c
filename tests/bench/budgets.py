"""`python -m tests.bench.budgets [--seconds 5]`: how many model steps a second one budget of everybody carries.

A step is what a runner writes of it, one commit for its outcome and the intent of the next one, and, where the budget
applies, the statement that reserves for it and settles those before. The model answers at once, so nothing else
happens. Also what turns cost that wait.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
from collections.abc import Sequence
from decimal import Decimal
from multiprocessing.queues import Queue
from statistics import median
from time import monotonic, perf_counter
from typing import Any, Final
from uuid import UUID

from tests.bench.spans import _say, _server_cpu, _set_up, _tear_down

SESSIONS: Final = 64
WAITING: Final = 1_000

STEP: Final = """
WITH outcome AS (
    UPDATE agents_step SET status = 'done', input_tokens = 100, output_tokens = 50, cost_usd = 0.001,
           finished_at = now(), details = jsonb_build_object('reservation', %(reservation)s::bigint)
    WHERE turn_id = %(turn)s AND number = %(number)s)
INSERT INTO agents_step (turn_id, number, kind, status, epoch, name, call_id, idempotent, request, details, error_class,
                         started_at)
VALUES (%(turn)s, %(number)s + 1, 'model', 'intent', 1, 'openai:fake', '', true, '{}', '{}', '', now())
"""

Turn = tuple[int, UUID, UUID]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.budgets", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each window")
    seconds = parser.parse_args().seconds
    _set_up()
    turns = _seed()
    _say(f"load {os.getloadavg()}, {os.cpu_count()} cores, {SESSIONS} turns at a time")
    for processes in (1, 2, 4):
        plain, limited = [], []
        for _ in range(3):
            plain.append(_measure(turns, processes, seconds, limited=False))
            limited.append(_measure(turns, processes, seconds, limited=True))
        rates = [median(rate for rate, _ in each) for each in (plain, limited)]
        cpu = [median(cost for _, cost in each) for each in (plain, limited)]
        _say(
            f"{processes} processes: {rates[0]:,.0f} steps/s without a budget, {rates[1]:,.0f} with one of everybody "
            f"({rates[1] / rates[0]:.2f}); CPU of PostgreSQL {cpu[0]:.2f} and {cpu[1]:.2f} ms a step"
        )
    _measure_waiting(turns)
    _tear_down()


def _seed() -> list[Turn]:
    from agents.models import Budget
    from tests.support.waiting_calls import Caller

    Budget.objects.create(subject="everybody", unit="usd", period="month", amount=1_000_000)
    claims = [Caller.begin(f"user{number}").claim for number in range(SESSIONS)]
    return [(claim.user_id, claim.session_id, claim.turn_id) for claim in claims]


def _measure(turns: Sequence[Turn], processes: int, seconds: float, *, limited: bool) -> tuple[float, float]:
    """Steps a second of all processes, and PostgreSQL's milliseconds of CPU for each."""
    from django.db import connection

    before = _server_cpu()
    name = connection.settings_dict["NAME"]
    context = multiprocessing.get_context("spawn")
    counts: Queue[int] = context.Queue()
    children = [
        context.Process(target=_work, args=(name, turns[number::processes], seconds, limited, counts), daemon=True)
        for number in range(processes)
    ]
    for child in children:
        child.start()
    steps = sum(counts.get(timeout=seconds + 60) for _ in children)
    for child in children:
        child.join()
    return steps / seconds, 1_000 * (_server_cpu() - before) / steps


def _work(name: str, turns: Sequence[Turn], seconds: float, limited: bool, counts: Queue[int]) -> None:
    import django

    django.setup()
    from django.db import connection

    connection.settings_dict["NAME"] = name
    counts.put(asyncio.run(_run(turns, seconds, limited)))


async def _run(turns: Sequence[Turn], seconds: float, limited: bool) -> int:
    from agents.budgets.budget_index import BudgetIndex
    from agents.budgets.reserver import BudgetReserver

    reserver = BudgetReserver(BudgetIndex(), on_wake=lambda _: None) if limited else None
    ends_at = monotonic() + seconds
    return sum(await asyncio.gather(*(_steps(turn, ends_at, reserver) for turn in turns)))


async def _steps(turn: Turn, ends_at: float, reserver: Any) -> int:
    from agents.budgets.reservations import Reserved
    from foundation.db_threads import in_db_thread

    user_id, session_id, turn_id = turn
    first = number = await in_db_thread(_last_step, turn_id)
    while monotonic() < ends_at:
        reservation = None
        if reserver is not None:
            reply = await reserver.reserve(_request(user_id, session_id, turn_id, number))
            assert isinstance(reply, Reserved), reply
            reservation = reply.id
        await in_db_thread(_write, turn_id, number, reservation)
        number += 1
    return number - first


def _last_step(turn_id: UUID) -> int:
    from agents.models import Step

    return Step.objects.filter(turn_id=turn_id).order_by("-number").values_list("number", flat=True)[0]


def _request(user_id: int, session_id: UUID, turn_id: UUID | None, step: int, **changes: Any) -> Any:
    from agents.domain.budgets import CallPrice
    from tests.support.budgets import budget_request

    changes = {
        "price": CallPrice(Decimal(3), Decimal(15)),
        "output_tokens": 4_096,
        "purpose": "step",
        "may_wait": True,
    } | changes
    return budget_request(user_id, session_id=session_id, turn_id=turn_id, step=step, epoch=1, bytes=4_000, **changes)


def _write(turn_id: UUID, number: int, reservation: int | None) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(STEP, {"turn": turn_id, "number": number, "reservation": reservation})


# --- turns that wait ---


def _measure_waiting(turns: Sequence[Turn]) -> None:
    """One statement while so many turns wait, for the budget of all or each for their own."""
    from agents.budgets.reservations import settle_and_reserve
    from agents.models import Budget, BudgetReservation, BudgetWindow
    from tests.support.waiting_calls import Caller

    BudgetReservation.objects.all().delete()
    BudgetWindow.objects.all().delete()
    waiting = [Caller.begin(f"waiting{number}").claim for number in range(WAITING)]
    for subject in ("everybody", "each_user"):
        BudgetReservation.objects.all().delete()
        Budget.objects.all().delete()
        Budget.objects.create(subject=subject, unit="usd", period="month", amount=1)
        held = {"output_tokens": 60_000, "least_output_tokens": 60_000, "purpose": "embeddings", "may_wait": False}
        for claim in waiting[:1] if subject == "everybody" else waiting:
            settle_and_reserve([_request(claim.user_id, claim.session_id, None, 1, **held)])
        wanted = {"output_tokens": 10_000, "least_output_tokens": 10_000}
        for begin in range(0, WAITING, 100):
            settle_and_reserve(
                [
                    _request(one.user_id, one.session_id, one.turn_id, 1, **wanted)
                    for one in waiting[begin : begin + 100]
                ]
            )
        assert BudgetReservation.objects.filter(status="waiting").count() == WAITING
        for is_full in (False, True):
            times = []
            for _ in range(9):
                start = perf_counter()
                settle_and_reserve(is_full=is_full)
                times.append(perf_counter() - start)
            kind = "that looks at all of them" if is_full else "of a settlement"
            _say(f"{WAITING:,} turns that wait ({subject}): a statement {kind} takes {1_000 * median(times):.1f} ms")


if __name__ == "__main__":
    main()
