"""From windows to lines: medians, a table for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median

from tests.bench.floor import Floor
from tests.bench.idle import Idle
from tests.bench.load import Window, percentile
from tests.bench.plan import Case

MEASURED = ("web", "runner", "postgresql")


@dataclass(frozen=True, slots=True)
class Line:
    """One case: the median of its windows. Times are milliseconds; CPU is per turn.

    `added` is the time of a turn beyond what the provider was told to take, `first_text` the same until the first text.
    `fairness` is the turns of the person who got least by those of the one who got most.
    `waiting` is how long the threads of a turn were ready to run and had no core, together: noise, not work.
    """

    name: str
    turns: int
    errors: int
    fairness: float
    turns_per_second: float
    added_p50: float
    added_p95: float
    first_text_p50: float
    first_text_p95: float
    web_cpu: float
    runner_cpu: float
    postgresql_cpu: float
    cpu: float
    waiting: float
    neighbours_cores: float
    calibration_ms: float
    first_error: str


def line(case: Case, windows: Sequence[Window]) -> Line:
    """The line of a case. A case without a single turn has zeros and says why in `first_error`."""
    full = [window for window in windows if window.played]
    errors = [error for window in windows for error in window.errors]

    def of(value: object) -> float:
        return round(median(map(value, full)), 2) if full else 0.0  # type: ignore[call-overload]

    def cpu(window: Window, *names: str) -> float:
        return sum(window.spent[name].cpu for name in names) / len(window.played)

    ttft, total = case.pace.ttft_ms, case.pace.total_ms
    return Line(
        name=case.name,
        turns=sum(len(window.played) for window in windows),
        errors=len(errors),
        fairness=of(lambda window: min(window.by_key.values()) / max(window.by_key.values())),
        turns_per_second=of(lambda window: len(window.played) / window.seconds),
        added_p50=of(lambda window: percentile([turn.total for turn in window.played], 0.50) - total),
        added_p95=of(lambda window: percentile([turn.total for turn in window.played], 0.95) - total),
        first_text_p50=of(lambda window: percentile([turn.first_text for turn in window.played], 0.50) - ttft),
        first_text_p95=of(lambda window: percentile([turn.first_text for turn in window.played], 0.95) - ttft),
        web_cpu=of(lambda window: cpu(window, "web")),
        runner_cpu=of(lambda window: cpu(window, "runner")),
        postgresql_cpu=of(lambda window: cpu(window, "postgresql")),
        cpu=of(lambda window: cpu(window, *MEASURED)),
        waiting=of(lambda window: sum(window.spent[name].waiting for name in MEASURED) / len(window.played)),
        neighbours_cores=of(lambda window: window.neighbours_cores),
        calibration_ms=of(lambda window: window.calibration_ms),
        first_error=errors[0] if errors else "",
    )


HEAD = """\
                                      added ms       first text         CPU ms per turn           noise
                          turns/s    p50    p95     p50    p95    web  runner    PG   all  waiting neighb. errors"""


def table(lines: Sequence[Line], floor: Floor, idle: Idle | None) -> str:
    rows = [
        f"{row.name:<26}{row.turns_per_second:7.1f}{row.added_p50:7.1f}{row.added_p95:7.1f}"
        f"{row.first_text_p50:8.1f}{row.first_text_p95:7.1f}"
        f"{row.web_cpu:7.2f}{row.runner_cpu:8.2f}{row.postgresql_cpu:6.2f}{row.cpu:6.2f}"
        f"{row.waiting:9.2f}{row.neighbours_cores:8.2f}{row.errors:7d}"
        for row in lines
    ]
    rows.append(
        f"{'least SQL (pgbench)':<26}{floor.turns_per_second:7.0f}{'':28}{'':15}{floor.postgresql_ms:6.2f}"
        f"{floor.postgresql_ms:6.2f}"
    )
    rows += [
        f"{row.name}: {row.fairness:.2f} turns for who got least by who got most" for row in lines if "256" in row.name
    ]
    if idle is not None:
        rows.append(
            f"{idle.sockets} idle sockets: {idle.socket_kib:.1f} KiB each in the web process, "
            f"{idle.cpu_share:.1%} of a core for all, a ping answered within {idle.ping_p95_ms:.1f} ms (p95)"
        )
    rows += [f"{row.name}: {row.first_error}" for row in lines if row.first_error]
    return "\n".join([HEAD, *rows])


def as_json(lines: Sequence[Line], floor: Floor, idle: Idle | None, conditions: dict[str, object]) -> dict[str, object]:
    return {
        "conditions": conditions,
        "cases": [asdict(row) for row in lines],
        "floor": asdict(floor),
        "idle_sockets": asdict(idle) if idle else None,
    }
