"""`python -m tests.bench.attacks [--only WORD] [--seconds N]`: greedy clients attack while others chat.

Others chat at a fixed rate, whatever happens. Each attack is made by one user and by fifty, and then once more in its
polite form: only what was allowed of it, at the same rate. The others' answers under attack may take twice as long
as beside the polite form, and `/ready` must never say 503.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import aiohttp
import psycopg
import uvloop

from tests.bench import machine
from tests.bench.attackers import Orders
from tests.bench.clients import SocketClient, TurnFailed
from tests.bench.load import at_most, percentile
from tests.bench.plan import Pace
from tests.bench.stack import Stack

OTHERS, TURNS_PER_SECOND = 20, 8.0
ATTACKERS = 50
HISTORY = 600
PROBE_SECONDS = 0.25
MOST_SLOWER = 2.0
# Kind, and how much of it at once: by the one, and by each of the fifty.
ATTACKS = (
    ("stream", 1500, 40),
    ("wait", 150, 6),
    ("complete", 150, 6),
    ("look", 50, 4),
    ("find", 40, 4),
    ("store", 20, 2),
    ("ping", 20, 1),
    ("fragment", 20, 1),
)
# So that what is left over of one window does not slow the next one down.
REST_SECONDS = 1.0


@dataclass(slots=True)
class Seen:
    """What the others and the probe saw in one window. Times are milliseconds from when a turn was due."""

    turns: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    ready: Counter[int] = field(default_factory=Counter)
    ready_ms: list[float] = field(default_factory=list)
    tally: Counter[str] = field(default_factory=Counter)
    attackers_cpu: float = 0.0
    attackers_seconds: float = 0.0
    web_cpu: float = 0.0

    @property
    def p95(self) -> float:
        return percentile(self.turns, 0.95) if self.turns else float("inf")

    @property
    def allowed(self) -> int:
        return sum(count for status, count in self.tally.items() if status in {"101", "200", "201", "202"})


async def window(stack: Stack, clients: Sequence[SocketClient], orders: Orders | None, seconds: float) -> Seen:
    """Others chat for so long, while the orders, if any, are carried out."""
    seen, before = Seen(), machine.spent(stack.pids["web"])
    attack = stack.start_attack(json.dumps(asdict(orders))) if orders else None
    if attack is not None:
        assert attack.stdout is not None
        await asyncio.to_thread(attack.stdout.readline)  # it has imported its libraries, which takes its time
    began = time.perf_counter()
    locks = [asyncio.Lock() for _ in clients]
    async with asyncio.TaskGroup() as group:
        group.create_task(_probe(stack, seen, began + seconds))
        for number in range(int(seconds * TURNS_PER_SECOND)):
            which = number % len(clients)
            due = began + number / TURNS_PER_SECOND
            group.create_task(_turn(seen, clients[which], locks[which], due))
    if attack is not None:
        assert attack.stdout is not None
        report = json.loads(await asyncio.to_thread(attack.stdout.read))
        attack.wait()
        seen.tally = Counter(report["tally"])
        seen.attackers_cpu, seen.attackers_seconds = report["cpu"], report["seconds"]
    seen.web_cpu = (machine.spent(stack.pids["web"]) - before).cpu / 1000
    return seen


async def _turn(seen: Seen, client: SocketClient, lock: asyncio.Lock, due: float) -> None:
    await asyncio.sleep(max(0.0, due - time.perf_counter()))
    async with lock:
        try:
            await client.turn("please answer briefly")
            seen.turns.append((time.perf_counter() - due) * 1000)
        except (TurnFailed, TimeoutError, TypeError, aiohttp.ClientError) as error:
            seen.errors[f"{type(error).__name__} {error}"[:120]] += 1


async def _probe(stack: Stack, seen: Seen, until: float) -> None:
    async with aiohttp.ClientSession() as http:
        while (began := time.perf_counter()) < until:
            async with http.get(f"{stack.base}/ready") as answer:
                body = await answer.json()
            # The stack has no scheduler.
            failing = set(body["failing"]) - {"scheduler"}
            seen.ready[503 if failing else 200] += 1
            seen.ready_ms.append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(PROBE_SECONDS)


async def measure(stack: Stack, others: Sequence[tuple[str, str]], attackers: list[tuple[str, str]], only: str,
                  seconds: float) -> list[str]:  # fmt: skip
    """All attacks; a line for each."""
    lines = []
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as http:
        clients = [SocketClient(http, stack.base, session, key) for session, key in others]
        await at_most(8, [client.open() for client in clients])
        await window(stack, clients, None, 3.0)
        alone = await window(stack, clients, None, seconds)
        print(f"nobody attacks: p95 {alone.p95:.0f} ms", flush=True)
        for kind, one, each in ATTACKS:
            if only not in kind:
                continue
            for count, at_once in ((1, one), (ATTACKERS, each)):
                who = attackers[:count]
                orders = Orders(kind, stack.base, who, seconds + 1, at_once)
                attacked = await _fresh_window(stack, clients, orders, seconds)
                rate = attacked.allowed / max(attacked.attackers_seconds, 0.1)
                polite_orders = Orders(kind, stack.base, who, seconds + 1, at_once, rate)
                polite = await _fresh_window(stack, clients, polite_orders, seconds)
                lines.append(line(kind, count, polite, attacked))
                print(lines[-1], flush=True)
        await at_most(8, [client.close() for client in clients])
    return lines


async def _fresh_window(stack: Stack, clients: Sequence[SocketClient], orders: Orders, seconds: float) -> Seen:
    """A window in which nobody has used anything up before."""
    with psycopg.connect(stack.url, autocommit=True) as connection:
        connection.execute("DELETE FROM ratelimits_bucket")
    seen = await window(stack, clients, orders, seconds)
    with psycopg.connect(stack.url, autocommit=True) as connection:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            row = connection.execute("SELECT count(*) FROM agents_turn WHERE finished_at IS NULL").fetchone()
            if row is None or not row[0]:
                break
            await asyncio.sleep(0.2)
    await asyncio.sleep(REST_SECONDS)
    return seen


def line(kind: str, count: int, polite: Seen, attacked: Seen) -> str:
    """One attack, as text; it begins with "!" where it did harm."""
    slower = attacked.p95 / polite.p95
    harm = slower > MOST_SLOWER or attacked.ready[503] or polite.ready[503] or attacked.errors
    tally = ", ".join(f"{count} x {status}" for status, count in attacked.tally.most_common(5))
    return (
        f"{'!' if harm else ' '} {kind:<9}{count:3d}  p95 {polite.p95:6.0f} -> {attacked.p95:6.0f} ms  x{slower:4.1f}"
        f"  /ready {attacked.ready[503]} of {attacked.ready.total()} 503, at most {max(attacked.ready_ms):.0f} ms"
        f"  CPU attackers {attacked.attackers_cpu:.1f} s, web {polite.web_cpu:.1f} -> {attacked.web_cpu:.1f} s"
        f"  [{tally}] {dict(attacked.errors) or ''}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.attacks", description="Attack while others chat.")
    parser.add_argument("--only", default="", metavar="WORD", help="only the attacks whose names hold this")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each window")
    options = parser.parse_args()
    route, load = Pace(tokens=20).route, os.getloadavg()
    with Stack(limits={}) as stack:
        others, attackers = stack.seed([(route, OTHERS, 0), (route, OTHERS + ATTACKERS, HISTORY)])
        lines = uvloop.run(measure(stack, others, attackers[OTHERS:], options.only, options.seconds))
    print(f"load before {load}, after {os.getloadavg()}; calibration {machine.calibrate():.0f} ms")
    raise SystemExit(1 if any(each.startswith("!") for each in lines) else 0)


if __name__ == "__main__":
    main()
