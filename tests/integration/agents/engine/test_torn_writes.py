"""A write whose outcome is unknown is the last one of its epoch, also where several tools run side by side."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from django.db import OperationalError

from agents.engine.context import load_context
from agents.engine.ports import Services
from agents.engine.turn import TurnRun
from agents.journal.listen_connection import open_listen_connection
from agents.models import Step
from agents.runner.reaper import release_claim
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.support.conversations import Conversation, claimed, conversation
from tests.support.scripted import Outcome, calls, says, scripted

pytestmark = pytest.mark.usefixtures("transactional_db")

BLOCKED = "SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))"
TWO_CALLS = calls(("c1", "clock", "{}"), ("c2", "notes", "{}"))


def asked() -> Conversation:
    ada = conversation()
    ada.ask()
    return ada


async def begin(services: Services) -> TurnRun:
    return TurnRun(await in_db_thread(lambda: load_context(claimed())), services)


async def steps() -> list[tuple[int, str, str]]:
    def read() -> list[tuple[int, str, str]]:
        return [(step.number, step.kind, step.status) for step in Step.objects.order_by("number")]

    return await in_db_thread(read)


class Holder:
    """Holds the lock of a session, and cuts the connection of whoever waits for it first."""

    def __init__(self, connection: psycopg.Connection, ada: Conversation) -> None:
        self._connection = connection
        self._ada = ada

    def lock(self) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT FROM agents_agentsession WHERE id = %s FOR UPDATE", [self._ada.session_id])

    async def cut_who_waits(self) -> None:
        [row] = await until(
            lambda: self._connection.execute(BLOCKED).fetchall(), seconds=5, what="somebody who waits for the session"
        )
        self._connection.execute("SELECT pg_terminate_backend(%s)", [row[0]])
        self._connection.execute("ROLLBACK")


async def test_after_a_lost_write_no_tool_beside_it_writes() -> None:
    ada = await in_db_thread(asked)
    with await asyncio.to_thread(open_listen_connection) as connection:
        holder, both = Holder(connection, ada), asyncio.Barrier(2)

        async def clock(_: str) -> Outcome:
            holder.lock()
            await both.wait()
            return Outcome("noon")

        async def notes(_: str) -> Outcome:
            await both.wait()
            return Outcome("noted")

        services, _, box = scripted(
            TWO_CALLS, says("Done"), tools={"clock": clock, "notes": notes}, idempotent=frozenset({"clock", "notes"})
        )
        run = await begin(services)
        running = asyncio.create_task(run.run())
        await holder.cut_who_waits()
        with pytest.raises(OperationalError):
            await running
    # Had the other tool written, the next model call would have begun while the first tool is still open.
    assert await steps() == [(1, "model", "done"), (2, "tool", "intent"), (3, "tool", "intent")]
    await in_db_thread(
        release_claim,
        session_id=ada.session_id,
        turn_id=run.claim.turn_id,
        epoch=run.claim.epoch,
        without_progress=True,
    )

    async def again(_: str) -> Outcome:
        return Outcome("again")

    box.tools = {"clock": again, "notes": again}
    await (await begin(services)).run()
    assert [status for _, _, status in await steps()] == ["done"] * 4
    assert (await in_db_thread(ada.turn)).status == "completed"


async def test_a_journal_that_was_torn_so_does_not_get_a_second_model_call() -> None:
    ada = await in_db_thread(asked)

    async def clock(_: str) -> Outcome:
        return Outcome("noon")

    services, _, _ = scripted(says("Done"), tools={"clock": clock}, idempotent=frozenset({"clock"}))

    def tear() -> None:
        work = claimed()
        call = {"id": "c1", "name": "clock", "arguments": "{}"}
        Step.objects.filter(turn=work.turn_id, number=1).update(
            status="done", result={"text": "", "tool_calls": [call]}, finished_at="2026-01-01T00:00:00Z"
        )
        rest = {"turn_id": work.turn_id, "epoch": work.epoch, "idempotent": True}
        Step.objects.create(number=2, kind="tool", name="clock", call_id="c1", request="{}", **rest)
        Step.objects.create(number=3, kind="model", name="offline:", **rest)
        release_claim(session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=False)

    await in_db_thread(tear)
    await (await begin(services)).run()
    assert await steps() == [(1, "model", "done"), (2, "tool", "done"), (3, "model", "done")]
    assert (await in_db_thread(ada.turn)).status == "completed"
