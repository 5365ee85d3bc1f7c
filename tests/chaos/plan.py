"""What one pass does to the processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.chaos.defects import BLIND_START, NO_EPOCH
from tests.chaos.points import POINTS

# A runner stands still right before these writes until somebody else has its turn, and then goes on as if nothing was.
PAUSE_POINTS = (
    "before a delta is written",
    "before deltas are written together",
    "before the intents of tools",
    "after a tool took effect",
    "before the end",
)
SHORT_POINTS = (
    "claim committed, nobody told",
    "after the intents of tools",
    "after a tool took effect",
    "end committed, nobody told",
    "ended, not remembered",
    "inside remembering",
    "before a turn is given back",
    "message stored, not acknowledged",
)


@dataclass(frozen=True)
class Plan:
    """Counts of faults by kind. `kill_seconds` is the range of pauses between two kills of runners; a kill also waits
    until no more than one of the `runners` is about to start, so that turns are not left to runners that all die.

    `restarts` are asked for by the row of a runner, as the performance monitor does. `pauses` come at any moment;
    `stops` are pauses at named points. `defect` and `database_settings` spoil the product: such a pass must find
    something, of one of the kinds in `expected`.

    `flaky`: of a hundred calls of the first model so many fail, in one way or another; the second one is well, so every
    turn still has its answer.

    `slow`: all answers take some seconds, so that a paused runner finds its turns in other hands, not at their end.

    `spares_last_attempts`: no runner is killed at random while it works on a turn that has lost several already; the
    share that fails with `worker_crashed` is pure chance where there are few turns.
    """

    name: str
    runner_kills: int = 0
    web_kills: int = 0
    database_kills: int = 0
    drains: int = 0
    restarts: int = 0
    pauses: int = 0
    drops: int = 0
    cuts: int = 0
    flaky: int = 0
    points: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()
    runners: int = 4
    webs: int = 2
    sessions: int = 16
    kill_seconds: tuple[float, float] = (0.2, 0.9)
    spares_last_attempts: bool = False
    slow: bool = False
    defect: str = ""
    database_settings: Mapping[str, str] = field(default_factory=dict)
    expected: frozenset[str] = frozenset()


REAL = Plan(
    "real",
    runner_kills=200,
    # Four runners that start within a second would otherwise live for two: whoever loses four of those in a row has met
    # chance, and a runner that cannot live is not what the share of crashed turns is to judge.
    kill_seconds=(0.4, 1.4),
    web_kills=20,
    database_kills=10,
    drains=6,
    restarts=3,
    pauses=10,
    drops=40,
    cuts=20,
    flaky=25,
    points=tuple(point.name for point in POINTS),
    stops=PAUSE_POINTS,
)
EVERY_POINT = Plan(
    "points", sessions=12, drops=5, points=tuple(point.name for point in POINTS), stops=PAUSE_POINTS, pauses=1
)
# Few processes: to start one costs more than anything that happens to it.
SHORT = Plan(
    "short",
    runner_kills=2,
    web_kills=1,
    database_kills=1,
    drains=1,
    restarts=1,
    pauses=1,
    drops=3,
    cuts=2,
    flaky=25,
    points=SHORT_POINTS,
    stops=PAUSE_POINTS[:1],
    runners=2,
    sessions=8,
    spares_last_attempts=True,
)
WITHOUT_EPOCH = Plan(
    "control: no epoch in the fence",
    stops=PAUSE_POINTS * 2,
    sessions=12,
    slow=True,
    defect=NO_EPOCH,
    expected=frozenset({"stale writes", "duplicated", "wrong text"}),
)
LOST_COMMITS = Plan(
    "control: commits that a crash may lose",
    database_kills=3,
    runner_kills=3,
    defect=BLIND_START,
    database_settings={
        "synchronous_commit": "off",
        "wal_writer_delay": "10s",
        "wal_writer_flush_after": "1GB",
        "wal_buffers": "64MB",
    },
    expected=frozenset({"lost"}),
)
