"""Guards of several processes on one database, before a real provider with faults."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from agents.domain.circuit_breaker import BreakerPolicy
from agents.domain.failures import ErrorClass
from agents.domain.states import Priority
from agents.models import RouteHealth
from agents.routing.admissions import ProbeAdmission, UncountedAdmission
from agents.routing.guard_settings import RouteFigures
from agents.routing.route_rows import ROUTES_CHANNEL
from foundation.db_threads import in_db_thread
from tests.chaos.waiting import until
from tests.provider import Provider, RequestLimit
from tests.provider.fixture import provider  # noqa: F401
from tests.support.guarded import ROUTE, SOON, Process, processes

pytestmark = pytest.mark.usefixtures("transactional_db")


async def row(model: str = "fake") -> RouteHealth:
    return await in_db_thread(RouteHealth.objects.get, model=model)


async def change(*, notify: bool = True, **values: Any) -> None:
    """As another process would; or as one whose note is lost."""

    def write() -> None:
        RouteHealth.objects.filter(model="fake").update(revision=F("revision") + 1, **values)
        with connection.cursor() as cursor:
            if notify:
                cursor.execute(f"NOTIFY {ROUTES_CHANNEL}")

    await in_db_thread(write)


async def fails(process: Process, times: int, fault: str = "503") -> list[str]:
    process_provider.defaults["fault"] = fault
    results = [await process.ask() for _ in range(times)]
    process_provider.defaults.pop("fault")
    return results


process_provider: Provider


@pytest.fixture(autouse=True)
def _provider(provider: Provider) -> None:  # noqa: F811
    global process_provider  # noqa: PLW0603 - what a test's helpers fault
    process_provider = provider


async def refuses(process: Process, route: str = ROUTE) -> None:
    await until(lambda: process.guard.blocked_until(route) is not None, seconds=5, what="the route is refused")


async def admits(process: Process, route: str = ROUTE) -> None:
    await until(lambda: process.guard.blocked_until(route) is None, seconds=5, what="the route may be asked")


async def noted(process: Process) -> None:
    await until(lambda: not process.guard._tasks, seconds=5, what="its use is noted")


# --- one row for all ---


async def test_five_failures_of_one_process_close_the_route_for_all_within_a_second(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, 3) as (first, *others):
        for other in others:
            assert await other.ask() == "answered"
        assert await fails(first, 6) == ["transient"] * 5 + ["refused"]
        began = asyncio.get_running_loop().time()
        for other in others:
            await refuses(other)
        assert asyncio.get_running_loop().time() - began < 1
        assert [await other.ask() for other in others] == ["refused"] * 2
    stored = await row()
    assert (stored.state, stored.generation, stored.opens_in_row) == ("open", 1, 1)
    assert stored.last_error.startswith("transient: 503 ")
    assert provider.count == 7


async def test_failures_of_all_processes_count_together(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, 5) as everybody:
        assert [(await fails(one, 1))[0] for one in everybody] == ["transient"] * 5
        for one in everybody:
            await refuses(one)


async def test_many_failures_at_the_same_moment_are_all_counted(provider: Provider) -> None:  # noqa: F811
    provider.defaults["fault"] = "503"
    async with processes(provider, 4, breaker=BreakerPolicy(failures=1000, min_calls=1000)) as everybody:
        await asyncio.gather(*(one.ask() for one in everybody for _ in range(15)))
    stored = await row()
    assert (stored.failures_in_row, sum(calls for _, calls, *_ in stored.buckets)) == (60, 60)


async def test_a_success_of_another_process_ends_the_row(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, 2, breaker=BreakerPolicy(min_calls=100)) as (first, second):
        await second.ask()
        await fails(first, 4)
        await until(lambda: second.guard._has_trouble, seconds=5, what="the other knows")
        assert await second.ask() == "answered"

        async def written() -> bool:
            return (await row()).failures_in_row == 0

        await until(written, seconds=5, what="the success is written")
        assert await fails(first, 4) == ["transient"] * 4
    assert (await row()).state == "closed"


async def test_errors_that_the_route_is_not_to_blame_for_do_not_count(provider: Provider) -> None:  # noqa: F811
    async with processes(provider) as [one]:
        for fault in ("400", "404", "ctx", "filter_http", "413"):
            await fails(one, 4, fault)
        assert await one.ask() == "answered"
    assert (await row()).state == "closed"


async def test_a_cancelled_call_does_not_count(provider: Provider) -> None:  # noqa: F811
    provider.defaults["fault"] = "hang"
    async with processes(provider) as [one]:
        for number in range(1, 7):
            task = asyncio.ensure_future(one.ask())
            await provider.until(lambda number=number: provider.count == number)  # type: ignore[misc]
            task.cancel()
            await asyncio.wait([task])
    assert (await row()).failures_in_row == 0


async def test_while_there_is_trouble_the_rows_are_read_each_second_without_notes(provider: Provider) -> None:  # noqa: F811
    async with processes(provider) as [one]:
        await fails(one, 5)
        await change(notify=False, state="closed", open_until=None, generation=9)
        await admits(one)
        assert await one.ask() == "answered"


async def test_a_new_connection_reads_what_was_missed(provider: Provider) -> None:  # noqa: F811
    def disconnect() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE '%-listen'"
            )

    async with processes(provider) as [one]:
        await one.ask()
        await noted(one)
        await change(notify=False, forced="open", forced_until=Now() + timedelta(hours=1))
        assert await one.ask() == "answered", "it is healthy, as far as it knows"
        await in_db_thread(disconnect)
        await refuses(one)


# --- the healthy path ---


async def test_a_healthy_route_asks_the_database_nothing(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, 2) as everybody:
        for one in everybody:
            await one.ask()
            await noted(one)
        before = await row()
        locked, done = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def lock() -> None:
            """Whoever wants to read a row waits; longer than a second, so the polls of the listeners, too."""
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("LOCK TABLE agents_routehealth IN ACCESS EXCLUSIVE MODE")
                loop.call_soon_threadsafe(locked.set)
                asyncio.run_coroutine_threadsafe(done.wait(), loop).result(20)
                cursor.execute(
                    "SELECT count(*) FROM pg_locks WHERE relation = 'agents_routehealth'::regclass AND NOT granted"
                )
                assert cursor.fetchone() == (0,)

        holding = asyncio.ensure_future(in_db_thread(lock))
        await locked.wait()
        began = loop.time()
        while loop.time() - began < 1.3:
            assert [await one.ask() for one in everybody] == ["answered"] * 2
        done.set()
        await holding
        assert not any(one.guard._tasks for one in everybody)
        assert (await row()).revision == before.revision


async def test_the_offline_model_is_never_guarded(provider: Provider) -> None:  # noqa: F811
    async with processes(provider) as [one]:
        assert isinstance(await one.guard.enter("offline:"), UncountedAdmission)
        assert isinstance(await one.guard.enter("nobody:x"), UncountedAdmission)
        assert one.guard.blocked_until("offline:") is None
    assert await in_db_thread(RouteHealth.objects.count) == 0


# --- probes ---


async def test_of_many_processes_one_probes_and_two_successes_close(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, 4, breaker=SOON) as everybody:
        await fails(everybody[0], 5)
        for expected in ("half_open", "closed"):
            for one in everybody:
                await admits(one)
            entered = await asyncio.gather(*(one.guard.enter(ROUTE) for one in everybody for _ in range(5)))
            [(admission, one)] = [(got, one) for got, one in zip(entered, _each(everybody, 5), strict=True) if got]
            assert isinstance(admission, ProbeAdmission)
            stored = await row()
            assert (stored.state, stored.probe_owner) == ("half_open", one.guard.id)
            assert await one.call(admission) == "answered"
            assert (await row()).state == expected
        for one in everybody:
            await admits(one)
            assert await one.ask() == "answered"
    assert (await row()).opens_in_row == 0


def _each(everybody: list[Process], times: int) -> list[Process]:
    return [one for one in everybody for _ in range(times)]


async def test_a_probe_that_fails_opens_for_longer(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, breaker=SOON) as [one]:
        await fails(one, 5)
        await admits(one)
        assert await fails(one, 1) == ["transient"]
        stored = await row()
    assert (stored.state, stored.opens_in_row, stored.generation) == ("open", 2, 3)


async def test_an_upstream_that_never_answers_gathers_no_probes(provider: Provider) -> None:  # noqa: F811
    """The probe's own deadline ends it, long before that of an ordinary call, and one runs at a time."""

    def figures(_route: str) -> RouteFigures:
        return RouteFigures(probe_seconds=0.3)

    async with processes(provider, 3, breaker=SOON, figures=figures) as everybody:
        await fails(everybody[0], 5)
        for one in everybody:
            await admits(one)
        provider.defaults["fault"] = "hang"
        before, most = provider.count, 0
        asked = [asyncio.ensure_future(one.ask()) for one in _each(everybody, 10)]
        while not all(task.done() for task in asked):
            most = max(most, provider.running)
            await asyncio.wait(asked, timeout=0.01)
        results = [task.result() for task in asked]
        assert (results.count("transient"), results.count("refused"), most) == (1, 29, 1)
        assert provider.count - before == 1
        assert (await row()).opens_in_row == 2


async def test_a_killed_prober_frees_the_probe_by_its_lease(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, 2, breaker=SOON) as (killed, other):
        await fails(killed, 5)
        await admits(killed)
        lost = await killed.guard.enter(ROUTE)
        assert isinstance(lost, ProbeAdmission)
        await refuses(other)
        assert await other.ask() == "refused"
        stored = await row()
        assert stored.probe_until is not None
        # Longer than its own deadline, or two would ask.
        assert (stored.probe_until - stored.changed_at).total_seconds() == 20 > (lost.first_token_seconds or 99)
        await change(probe_until=Now())
        await admits(other)
        admission = await other.guard.enter(ROUTE)
        assert isinstance(admission, ProbeAdmission)
        # The first one was only slow. What it has to say changes nothing.
        before = await row()
        await lost.record_first_token(1.0)
        await lost.record_success()
        assert await row() == before
        assert (await row()).revision == before.revision
        assert await other.call(admission) == "answered"
        assert (await row()).probe_successes == 1


async def test_a_cancelled_probe_lets_the_next_one_begin(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, breaker=SOON) as [one]:
        await fails(one, 5)
        await admits(one)
        admission = await one.guard.enter(ROUTE)
        assert admission is not None
        assert await one.ask() == "refused"
        await admission.release()
        assert await one.ask() == "answered"


async def test_an_error_that_says_nothing_of_the_route_ends_its_probe(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, breaker=SOON) as [one]:
        await fails(one, 5)
        await admits(one)
        assert await fails(one, 1, "ctx") == ["context_length"]
        assert await one.ask() == "answered"
        assert (await row()).opens_in_row == 1


async def test_late_results_of_calls_from_before_change_nothing(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, 2) as (first, second):
        late = [await second.guard.enter(ROUTE) for _ in range(10)]
        await fails(first, 5)
        await refuses(second)
        before = await row()
        provider.defaults["fault"] = "503"
        for admission in late[:5]:
            assert admission is not None
            assert await second.call(admission) == "transient"
        provider.defaults.pop("fault")
        for admission in late[5:]:
            assert admission is not None
            assert await second.call(admission) == "answered"
        assert (await row()).revision == before.revision


# --- what the provider says ---


# As long as it says, but no longer than a turn may wait.
@pytest.mark.parametrize(("says", "seconds"), [("30", 30), ("9999999999", 3_600)])
async def test_a_429_keeps_everybody_away_for_as_long_as_it_says_and_charges_nobody(
    provider: Provider,  # noqa: F811
    says: str,
    seconds: float,
) -> None:
    async with processes(provider, 2) as (first, second):
        await second.ask()
        provider.defaults["retry_after"] = says
        assert await fails(first, 1, "429") == ["rate_limit"]
        provider.defaults["retry_after"] = "3"
        blocked_until = (await row()).blocked_until
        await refuses(second)
        assert second.guard.blocked_until(ROUTE) == blocked_until
        assert [await first.ask(), await second.ask()] == ["refused"] * 2
        stored = await row()
        assert blocked_until is not None
        assert seconds - 5 < (blocked_until - second.guard.now()).total_seconds() < seconds + 1
        assert (stored.state, stored.failures_in_row, stored.generation) == ("closed", 0, 0)
        # Another model of the same credential is asked all the same.
        assert await second.ask("openai:other") == "answered"


@pytest.mark.parametrize("fault", ["401", "quota"])
async def test_a_refused_credential_rests_for_five_minutes_with_all_its_models(provider: Provider, fault: str) -> None:  # noqa: F811
    async with processes(provider, 2) as (first, second):
        await second.ask("openai:other")
        assert await fails(first, 1, fault) == ["auth"]
        await refuses(second, "openai:other")
        assert await second.ask("openai:other") == "refused"
        assert await first.ask() == "refused"
        blocked_until = (await row("")).blocked_until
        assert blocked_until is not None
        assert 295 < (blocked_until - first.guard.now()).total_seconds() <= 300
        assert (await row()).failures_in_row == 0


async def test_a_credential_without_the_right_to_one_model_may_ask_the_others(provider: Provider) -> None:  # noqa: F811
    async with processes(provider) as [one]:
        assert await fails(one, 1, "403") == ["auth"]
        assert [await one.ask(), await one.ask("openai:other")] == ["refused", "answered"]


async def test_what_blocks_a_route_is_not_told_by_an_error_of_before(provider: Provider) -> None:  # noqa: F811
    provider.limit = RequestLimit(2, window_seconds=60)
    async with processes(provider) as [one]:
        assert await fails(one, 1, "403") == ["auth"]
        assert one.guard.blocked_by(ROUTE) is ErrorClass.AUTH
        soon = one.guard.now() + timedelta(minutes=1)
        await change(blocked_until=None, forced="open", forced_until=soon)
        await until(lambda: one.guard.blocked_by(ROUTE) is None, seconds=5, what="it is forced")
        assert one.guard.blocked_until(ROUTE) == soon
        await change(forced="", forced_until=None, state="open", open_until=soon)
        await until(lambda: one.guard.blocked_by(ROUTE) is ErrorClass.TRANSIENT, seconds=5, what="it is open")
        await change(state="closed", open_until=None)
        await admits(one)
        assert await one.ask() == "answered"
        await refuses(one)
        assert one.guard.blocked_by(ROUTE) is ErrorClass.RATE_LIMIT
    assert (await row()).last_error.startswith("rate_limit: ")


async def test_calls_of_all_processes_are_spaced_before_the_provider_refuses(provider: Provider) -> None:  # noqa: F811
    provider.limit = RequestLimit(60, window_seconds=2.0)
    provider.defaults["ttft_ms"] = 20
    async with processes(provider, 3, reserve_share=0.5) as everybody:
        loop = asyncio.get_running_loop()

        async def work(one: Process) -> list[str]:
            results = []
            while loop.time() < end:
                results.append(await one.ask())
                if results[-1] == "refused":
                    # What the engine does, in its own time.
                    await admits(one)
            return results

        end = loop.time() + 2.5
        results = [result for found in await asyncio.gather(*map(work, everybody)) for result in found]
        stored = await row()
    # One more may be under way when the last one is asked for.
    assert provider.limit.refused <= 1
    assert results.count("answered") >= 40, "what the provider allows is used"
    assert stored.rate_limits is not None
    assert stored.rate_limits["requests"]["limit"] == 60


async def test_the_background_leaves_the_places_of_the_next_moments_to_others(provider: Provider) -> None:  # noqa: F811
    async with processes(provider, background_pace_seconds=0.1) as [one]:
        await one.ask()
        await noted(one)
        soon = one.guard.now() + timedelta(seconds=600)
        await change(pace_seconds=0.05, paced_until=soon, next_call_at=one.guard.now() + timedelta(seconds=1.5))
        await until(lambda: not one.guard._entries[ROUTE].is_plain, seconds=5, what="calls are spaced")
        assert await one.guard.enter(ROUTE, Priority.BACKGROUND) is None
        # That keeps nobody else away.
        assert one.guard.blocked_until(ROUTE) is None
        assert await one.guard.enter(ROUTE) is not None
        # The next place is near now.
        assert await one.guard.enter(ROUTE, Priority.BACKGROUND) is not None


async def test_without_the_pace_the_same_calls_are_refused(provider: Provider) -> None:  # noqa: F811
    provider.limit = RequestLimit(20, window_seconds=2.0)
    async with processes(provider, 3, reserve_share=0) as everybody:
        results = [await one.ask() for one in _each(everybody, 10)]
    assert results.count("rate_limit") > 0


async def test_plenty_costs_nothing(provider: Provider) -> None:  # noqa: F811
    provider.limit = RequestLimit(1000, window_seconds=60)
    async with processes(provider) as [one]:
        await one.ask()
        await noted(one)
        before = await row()
        for _ in range(20):
            assert await one.ask() == "answered"
        assert not one.guard._tasks
        stored = await row()
        assert (stored.revision, stored.rate_limits) == (before.revision, None)


# --- tokens ---


async def test_what_one_process_learns_of_a_model_s_tokens_others_begin_with(provider: Provider) -> None:  # noqa: F811
    async with processes(provider) as [first]:
        admission = await first.guard.enter(ROUTE)
        assert admission is not None
        await noted(first)
        assert first.guard.token_factor(ROUTE) == 1
        assert admission.wants_tokens
        admission.record_tokens(estimated=1_000, reported=2_000, window=None)
        await noted(first)
        assert first.guard.token_factor(ROUTE) == pytest.approx(1.5)
        assert (await row()).token_factor == pytest.approx(1.5)
        assert (await row()).context_window == 0
        assert sum(admission.wants_tokens for _ in range(320)) < 30, "later ones are looked at now and then"
    async with processes(provider) as [second]:
        assert await second.guard.enter(ROUTE) is not None
        assert second.guard.token_factor(ROUTE) == pytest.approx(1.5)
        assert await fails(second, 1, fault="ctx") == ["context_length"]
        await noted(second)
        assert second.guard.token_factor(ROUTE) == pytest.approx(1.88, abs=0.04)
        assert second.guard.token_factor("openai:other") == 1
