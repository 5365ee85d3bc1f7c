"""One pass: load, storm, silence, audit."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from bandstand.embedded import Cluster
from tests.chaos import ledger
from tests.chaos.audit import Finding, audit, crashed, read_promises, replay_law
from tests.chaos.devices import LONGEST_LINE, Account, Device, RestDevice, SocketDevice, Tally
from tests.chaos.plan import Plan
from tests.chaos.reader import Reader
from tests.chaos.scraper import Scraper, calls, turns_by_status
from tests.chaos.stack import Stack
from tests.chaos.storm import Storm
from tests.chaos.tables import Tables, read_tables
from tests.chaos.waiting import NotSeen, until

SETTLE_SECONDS = 30.0
CATCH_UP_SECONDS = 20.0
NOTEBOOK = "demo-notebook.log"
FUTURE = 2**60

_OPEN = "SELECT count(*) FROM agents_turn WHERE status NOT IN ('completed', 'failed', 'cancelled', 'expired')"
_UNCOMPACTED = "SELECT count(*) FROM agents_turn WHERE NOT compacted"
_SEQS = "SELECT id::text, next_seq - 1 FROM agents_agentsession"


@dataclass
class Outcome:
    """What one pass did and found."""

    plan: Plan
    folder: Path
    findings: list[Finding] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    critical: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)
    statuses: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    turns: int = 0
    events: int = 0
    crashed: int = 0
    resumed: int = 0
    settled_seconds: float = 0.0
    seconds: float = 0.0
    restarts: int = 0
    resyncs: int = 0
    scrapes: int = 0

    @property
    def kinds(self) -> Counter[str]:
        """Findings by kind."""
        return Counter(finding.kind for finding in self.findings)

    @property
    def as_it_should(self) -> bool:
        """Nothing found; for a control: something that it is meant to be found by."""
        if self.plan.expected:
            return bool(self.plan.expected & self.kinds.keys())
        return not self.findings


async def fight(plan: Plan, *, folder: Path, cluster: Cluster, template: str, seed: int) -> Outcome:
    """Run one pass in `folder`, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    outcome, began = Outcome(plan, folder), time.monotonic()
    stack = Stack(plan, folder, cluster, template)
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    try:
        await stack.start()
        await _Pass(outcome, stack, random.Random(seed)).run()
        outcome.findings += [Finding("died", what) for what in stack.died_on_their_own()]
        outcome.restarts = stack.restarts
        if plan.flaky:
            outcome.done["provider failed"] = await stack.provider_faults()
    finally:
        await stack.stop()
    outcome.errors = _errors(stack.logs())
    outcome.seconds = time.monotonic() - began
    return outcome


class _Pass:
    def __init__(self, outcome: Outcome, stack: Stack, rng: random.Random) -> None:
        self.outcome = outcome
        self.stack = stack
        self.rng = rng
        self.enough = asyncio.Event()
        self.ledger = ledger.Ledger(stack.folder / "ledger")
        self.devices: list[Device] = []
        self.scraper = Scraper(stack)

    async def run(self) -> None:
        self.devices = list(self._make_devices())
        storm = Storm(self.stack.plan, self.stack, self.devices, self.outcome.tally, self.rng)
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(self.stack.supervise()), group.create_task(self.scraper.run())]
            for device in self.devices:
                group.create_task(device.run())
            try:
                await storm.run()
                self.enough.set()
                await self._settle(storm.ended_at)
            finally:
                for task in watching:
                    task.cancel()
                for device in self.devices:
                    device.quit.set()
        self.ledger.close()
        outcome = self.outcome
        outcome.done, outcome.critical = storm.done, storm.critical
        outcome.findings += [Finding("not brought about", what) for what in storm.missed]
        outcome.findings += [Finding("refused", what) for what in outcome.tally.refusals]
        await self._audit()

    def _make_devices(self) -> Iterator[Device]:
        """Every session has one device or two; every third of them speaks REST."""
        number = 0
        for seed in self.stack.seeds:
            account = Account(self.stack.proxy.port, seed["session"], seed["key"])
            for _ in range(self.rng.choice([1, 1, 2])):
                kind = RestDevice if number % 3 == 2 else SocketDevice
                number += 1
                yield kind(
                    account,
                    ledger=self.ledger,
                    tally=self.outcome.tally,
                    enough=self.enough,
                    rng=random.Random(self.rng.random()),
                    slow=self.stack.plan.slow,
                )

    async def _settle(self, last_fault: float) -> None:
        """All is acknowledged and over within the promised time, and everybody has seen it."""
        try:
            await until(
                self._quiet, seconds=SETTLE_SECONDS - (time.monotonic() - last_fault), what="the end of all turns"
            )
        except NotSeen as error:
            self.outcome.findings.append(Finding("hanging", str(error)))
        self.outcome.settled_seconds = time.monotonic() - last_fault
        try:
            await until(
                self._caught_up,
                seconds=2 if self.stack.plan.expected else CATCH_UP_SECONDS,
                what="devices that have seen everything",
            )
        except NotSeen as error:
            self.outcome.findings.append(Finding("on the wire", str(error)))
        if self.stack.plan.expected:
            return
        try:
            await until(self._remembered, seconds=CATCH_UP_SECONDS, what="the pass that remembers all turns")
        except NotSeen as error:
            self.outcome.findings.append(Finding("not remembered", str(error)))

    async def _quiet(self) -> bool:
        if not all(device.settled for device in self.devices):
            return False
        return not (await self.stack.database.rows_soon(_OPEN))[0][0]

    async def _remembered(self) -> bool:
        return not (await self.stack.database.rows_soon(_UNCOMPACTED))[0][0]

    async def _caught_up(self) -> bool:
        last: dict[str, int] = dict(await self.stack.database.rows_soon(_SEQS))
        return all(device.reader.seq == last.get(device.account.session) for device in self.devices)

    async def _audit(self) -> None:
        tables = await read_tables(self.stack.database)
        promises = read_promises(ledger.read(self.ledger.path))
        readers: dict[str, list[Reader]] = defaultdict(list)
        for device in self.devices:
            readers[device.account.session].append(device.reader)
        outcome = self.outcome
        outcome.findings += audit(promises, tables, readers, _notes(self.stack.folder / "data" / NOTEBOOK))
        outcome.findings += await self._replay_law(tables)
        outcome.findings += await self._metrics(tables)
        outcome.resyncs = sum(device.reader.resyncs for device in self.devices)
        outcome.turns, outcome.crashed = len(tables.turns), crashed(tables)
        outcome.events = sum(map(len, tables.events.values()))
        outcome.statuses = Counter(turn.status for turn in tables.turns.values())
        outcome.resumed = sum(turn.epoch > 1 for turn in tables.turns.values())

    async def _metrics(self, tables: Tables) -> list[Finding]:
        """What `/metrics` says in the end, against the rows."""
        try:
            series = await self.scraper.read_last()
        except NotSeen as error:
            return [Finding("wrong metrics", str(error))]
        self.outcome.scrapes = self.scraper.scrapes
        faults = list(self.scraper.faults)
        counted, statuses = turns_by_status(series), Counter(turn.status for turn in tables.turns.values())
        if counted != statuses:
            faults.append(f"{dict(counted)} turns, and there are {dict(statuses)}")
        steps = sum(step.kind in {"model", "tool"} and step.status != "intent" for step in tables.steps)
        if calls(series) != steps:
            faults.append(f"{calls(series)} calls, and there are {steps}")
        return [Finding("wrong metrics", fault) for fault in faults]

    async def _replay_law(self, tables: Tables) -> list[Finding]:
        found: list[Finding] = []
        for seed in self.stack.seeds:
            fresh = await _fresh_read(Account(self.stack.proxy.port, seed["session"], seed["key"]))
            found += replay_law(seed["session"], tables.events[seed["session"]], fresh)
        return found


async def _fresh_read(account: Account) -> dict[str, object]:
    """The session as the server says it is: what a client gets that comes from the future."""
    async with (
        asyncio.timeout(SETTLE_SECONDS),
        connect(
            f"ws://127.0.0.1:{account.port}/ws/sessions/{account.session}/",
            additional_headers={"Authorization": f"Bearer {account.key}"},
            subprotocols=[Subprotocol("bandstand.v1")],
            max_size=LONGEST_LINE,
            proxy=None,
        ) as socket,
    ):
        await socket.send(json.dumps({"type": "resume", "after": FUTURE}))
        async for text in socket:
            frame: dict[str, object] = json.loads(text)
            if frame["type"] == "resync":
                return frame
    raise ConnectionResetError("the socket was closed before a snapshot came")


def _notes(notebook: Path) -> list[str]:
    if not notebook.exists():
        return []
    return [orjson.loads(line)["step_key"] for line in notebook.read_bytes().splitlines()]


def _errors(logs: Sequence[Path]) -> Counter[str]:
    """What the processes logged as errors, by name: not judged, but shown."""
    found: Counter[str] = Counter()
    for log in logs:
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                if line.startswith("Traceback"):
                    found[f"{log.name.partition('-')[0]}: traceback outside the log"] += 1
                continue
            if isinstance(record, dict) and str(record.get("level", "")).lower() in ("error", "critical"):
                found[f"{log.name.partition('-')[0]}: {record.get('event')}"] += 1
    return found
