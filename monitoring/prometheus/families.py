"""Every metric of `/metrics`, once: its name, kind, labels and meaning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# Upper bounds of a histogram's buckets in seconds, or "+Inf", each with how many observations are at or below it.
Buckets = Sequence[tuple[str, float]]


class Kind(StrEnum):
    """As Prometheus calls them. A summary has a sum and a count here, and no quantiles."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric with its labels. The name of a counter ends in `_total`. A label that is empty is left out."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


# An operation of a model or of a tool, by OpenTelemetry's names with underscores for dots.
OPERATION: Final = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")

BUILD_INFO = Family("bandstand_build_info", Kind.GAUGE, ("version",), "1, with the version of the code.")
DATABASE_UP = Family(
    "bandstand_database_up", Kind.GAUGE, (), "1 if the database answered; with 0 all that it knows is missing."
)
SCRAPE_SECONDS = Family("bandstand_scrape_seconds", Kind.GAUGE, (), "How long the figures took to read.")

TURNS = Family("bandstand_turns_total", Kind.COUNTER, ("agent", "status"), "Turns that ended.")
TURN_FAILURES = Family(
    "bandstand_turn_failures_total",
    Kind.COUNTER,
    ("error_class",),
    "Turns that failed or expired, without those that an operator ended.",
)
TURN_FALLBACKS = Family(
    "bandstand_turn_fallbacks_total",
    Kind.COUNTER,
    ("agent",),
    "Turns that ended with a fallback in place of an answer.",
)
TURN_COST = Family("bandstand_turn_cost_usd_total", Kind.COUNTER, ("agent",), "Cost of turns whose price is known.")
TURN_COST_UNKNOWN = Family(
    "bandstand_turn_cost_unknown_total", Kind.COUNTER, ("agent",), "Turns whose cost nobody knows."
)
TURN_SECONDS = Family("bandstand_turn_seconds", Kind.HISTOGRAM, ("agent",), "From a turn's acceptance to its end.")
TURN_FIRST_TOKEN_SECONDS = Family(
    "bandstand_turn_first_token_seconds", Kind.HISTOGRAM, ("agent",), "From a turn's acceptance to its first word."
)
TURN_QUEUE_SECONDS = Family(
    "bandstand_turn_queue_seconds", Kind.HISTOGRAM, (), "From a turn's acceptance to its first claim."
)
TURN_ADDED_SECONDS = Family(
    "bandstand_turn_added_seconds", Kind.HISTOGRAM, (), "The platform's own share: without calls of models and tools."
)

OPERATION_SECONDS = Family(
    "gen_ai_client_operation_duration_seconds",
    Kind.HISTOGRAM,
    (*OPERATION, "gen_ai_tool_name", "error_type"),
    "Calls of models and tools. error_type is missing for those that succeeded.",
)
FIRST_CHUNK_SECONDS = Family(
    "gen_ai_client_operation_time_to_first_chunk_seconds",
    Kind.HISTOGRAM,
    OPERATION,
    "From the call of a model to the first piece of its answer.",
)
TOKEN_USAGE = Family(
    "gen_ai_client_token_usage", Kind.SUMMARY, (*OPERATION, "gen_ai_token_type"), "Tokens of calls of models."
)

QUEUE_DEPTH = Family("bandstand_queue_depth", Kind.GAUGE, (), "Turns that wait for a runner.")
QUEUE_OLDEST = Family(
    "bandstand_queue_oldest_seconds", Kind.GAUGE, (), "How long the oldest of them waits; 0 if none does."
)
OPEN_TURNS = Family("bandstand_turns_open", Kind.GAUGE, ("status",), "Turns that have not ended.")
STUCK_TURNS = Family(
    "bandstand_turns_stuck", Kind.GAUGE, (), "Turns that are more than a minute past their lease or deadline."
)
HANDOFFS_OPEN = Family("bandstand_handoffs_open", Kind.GAUGE, (), "Sessions for which a person is wanted.")
HANDOFFS_WAITING = Family(
    "bandstand_handoffs_waiting", Kind.GAUGE, (), "Those of them whose user waits for words of a person."
)
HANDOFF_WAIT = Family(
    "bandstand_handoff_wait_seconds", Kind.GAUGE, (), "How long the first of those waits; 0 if nobody does."
)
HANDOFFS_LATE = Family(
    "bandstand_handoffs_late", Kind.GAUGE, (), "Those that have no first reply in the time that their release names."
)
HANDOFFS_UNATTENDED = Family(
    "bandstand_handoffs_unattended", Kind.GAUGE, (), "Those for whose agent nobody is on duty."
)
APPROVALS_OPEN = Family("bandstand_approvals_open", Kind.GAUGE, (), "Calls of tools that wait until a person agrees.")
CONNECTIONS = Family(
    "bandstand_connections", Kind.GAUGE, (), "Websockets, event streams and waiting requests that are open."
)
RUNNER_UP = Family(
    "bandstand_runner_up", Kind.GAUGE, ("runner",), "1 if a runner takes turns, 0 if it drains or is silent."
)
RUNNER_TURNS = Family("bandstand_runner_turns", Kind.GAUGE, ("runner",), "Turns that a runner works on.")
RUNNER_CAPACITY = Family("bandstand_runner_capacity", Kind.GAUGE, ("runner",), "Turns that a runner takes at once.")
BREAKER_STATE = Family(
    "bandstand_breaker_state",
    Kind.GAUGE,
    ("provider", "model"),
    "Of a route to a model: 0 closed, 1 half open (the next call tries it), 2 open (nobody asks it). The model * is the"
    " credential itself.",
)
BUDGET_REMAINING = Family(
    "bandstand_budget_remaining",
    Kind.GAUGE,
    ("budget", "unit"),
    "What may still be reserved of a budget in its present period, in US dollars or tokens; of those of users and API "
    "keys, the least.",
)
BUDGET_USED = Family(
    "bandstand_budget_used_ratio",
    Kind.GAUGE,
    ("budget", "unit"),
    "The share of a budget that is spent in its present period; of those of users and API keys, the most.",
)
BUDGETS_OVERDRAWN = Family(
    "bandstand_budgets_overdrawn", Kind.GAUGE, (), "Budgets of which a call has cost more than it had reserved."
)
BUDGET_DIFFERENCES = Family(
    "bandstand_budget_differences",
    Kind.GAUGE,
    (),
    "Unreviewed differences between the ledger of budgets and its calls.",
)
SCHEDULER_HEARTBEAT = Family(
    "bandstand_scheduler_heartbeat_seconds", Kind.GAUGE, (), "Age of the scheduler's heartbeat; +Inf if there was none."
)
JOBS_FAILED = Family("bandstand_jobs_failed", Kind.GAUGE, (), "Scheduled jobs whose last run failed.")
ACTIVE_SESSIONS = Family(
    "bandstand_active_sessions", Kind.GAUGE, (), "Sessions with a turn in the last five minutes, or one that is open."
)
EVENT_LAG_SECONDS = Family(
    "bandstand_event_lag_seconds",
    Kind.HISTOGRAM,
    ("process",),
    "From the commit of an event to its sending to somebody who watches.",
)
SPANS_DROPPED = Family(
    "bandstand_spans_dropped_total", Kind.COUNTER, ("process",), "Spans that were not written: the database was slow."
)
PROCESS_REQUESTS = Family(
    "bandstand_process_requests_total",
    Kind.COUNTER,
    ("process",),
    "Requests that a web process answered, turns that a runner ended, since its start.",
)
PROCESS_ERRORS = Family("bandstand_process_errors_total", Kind.COUNTER, ("process",), "Those of them that failed.")
PROCESS_MEMORY = Family("bandstand_process_memory_bytes", Kind.GAUGE, ("process",), "Resident memory of a process.")
PROCESS_CPU = Family("bandstand_process_cpu_cores", Kind.GAUGE, ("process",), "Cores that a process keeps busy.")
MEMORY_USED = Family("bandstand_memory_used_bytes", Kind.GAUGE, ("host",), "Memory in use of the limit of a host.")
MEMORY_LIMIT = Family(
    "bandstand_memory_limit_bytes", Kind.GAUGE, ("host",), "Memory that there is: of the cgroup, else of the machine."
)
DATABASE_SIZE = Family("bandstand_database_size_bytes", Kind.GAUGE, (), "Size of the database on its disk.")
DATABASE_CONNECTIONS = Family("bandstand_database_connections", Kind.GAUGE, (), "Connections to the server.")
DATABASE_MAX_CONNECTIONS = Family(
    "bandstand_database_max_connections", Kind.GAUGE, (), "Connections that the server allows."
)

FAMILIES: Final = (
    BUILD_INFO,
    DATABASE_UP,
    SCRAPE_SECONDS,
    TURNS,
    TURN_FAILURES,
    TURN_FALLBACKS,
    TURN_COST,
    TURN_COST_UNKNOWN,
    TURN_SECONDS,
    TURN_FIRST_TOKEN_SECONDS,
    TURN_QUEUE_SECONDS,
    TURN_ADDED_SECONDS,
    OPERATION_SECONDS,
    FIRST_CHUNK_SECONDS,
    TOKEN_USAGE,
    QUEUE_DEPTH,
    QUEUE_OLDEST,
    OPEN_TURNS,
    STUCK_TURNS,
    HANDOFFS_OPEN,
    HANDOFFS_WAITING,
    HANDOFF_WAIT,
    HANDOFFS_LATE,
    HANDOFFS_UNATTENDED,
    APPROVALS_OPEN,
    CONNECTIONS,
    RUNNER_UP,
    RUNNER_TURNS,
    RUNNER_CAPACITY,
    BREAKER_STATE,
    BUDGET_REMAINING,
    BUDGET_USED,
    BUDGETS_OVERDRAWN,
    BUDGET_DIFFERENCES,
    SCHEDULER_HEARTBEAT,
    JOBS_FAILED,
    ACTIVE_SESSIONS,
    EVENT_LAG_SECONDS,
    SPANS_DROPPED,
    PROCESS_REQUESTS,
    PROCESS_ERRORS,
    PROCESS_MEMORY,
    PROCESS_CPU,
    MEMORY_USED,
    MEMORY_LIMIT,
    DATABASE_SIZE,
    DATABASE_CONNECTIONS,
    DATABASE_MAX_CONNECTIONS,
)


@dataclass(frozen=True, slots=True)
class Distribution:
    """The value of a histogram (`buckets`, cumulative, the last one is "+Inf") or of a summary (none)."""

    count: int
    total: float
    buckets: Buckets = ()


Value = float | Distribution


@dataclass(slots=True)
class Figures:
    """What was measured, as values by the labels of each family, in the order of its `labels`."""

    values: dict[Family, dict[tuple[str, ...], Value]] = field(default_factory=dict)

    def set(self, family: Family, value: Value, *labels: str) -> None:
        """Set the value of `family` with `labels`. Raises `ValueError` for a wrong number of labels."""
        if len(labels) != len(family.labels):
            raise ValueError(f"{family.name} has the labels {family.labels}.")
        self.values.setdefault(family, {})[labels] = value

    def add(self, family: Family, value: float, *labels: str) -> None:
        """Add to a counter or a gauge."""
        before = self.values.get(family, {}).get(labels, 0.0)
        assert not isinstance(before, Distribution)
        self.set(family, before + value, *labels)
