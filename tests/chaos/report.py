"""What a person reads after a pass."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.battle import Outcome

SHOWN = 5
ALWAYS = (
    "lost",
    "duplicated",
    "order",
    "gaps",
    "hanging",
    "stale writes",
    "wrong text",
    "tool ran twice",
    "replay law",
    "wrong metrics",
)


def lines(outcome: Outcome) -> Iterator[str]:
    """The report of one pass, line by line."""
    plan = outcome.plan
    yield f"== {plan.name} ({outcome.seconds:.0f} s)"
    yield from _load(outcome)
    yield from _faults(outcome)
    yield from _findings(outcome)
    if plan.expected:
        verdict = "failed, as it should" if outcome.as_it_should else "DID NOT FAIL AS IT SHOULD: the harness is blind"
        yield f"   verdict: {verdict} (meant to be found: {', '.join(sorted(plan.expected))})"
    else:
        yield f"   verdict: {'passed' if outcome.as_it_should else 'FAILED'}"
    if not outcome.as_it_should:
        yield f"   ledger, logs and faults are kept in {outcome.folder}, the rows in the cluster beside it"


def _load(outcome: Outcome) -> Iterator[str]:
    tally = outcome.tally
    yield (
        f"   load: {tally.asked} messages asked, {tally.repeated} sendings repeated with the same key,"
        f" {tally.hung_up} not waited for, {tally.stopped} stops"
    )
    yield f"   devices: {tally.reconnected} reconnections, {outcome.resyncs} snapshots in place of folded events"
    states = ", ".join(f"{count} {status}" for status, count in sorted(outcome.statuses.items()))
    share = outcome.crashed / max(1, outcome.turns)
    yield f"   turns: {outcome.turns} ({states}), {outcome.resumed} begun more than once, {outcome.events} events"
    yield f"   {outcome.restarts} runners could not start while PostgreSQL was away, and were started again"
    yield f"   metrics: {outcome.scrapes} scrapes of other web processes, none of which said less than the one before"
    yield f"   worker_crashed: {outcome.crashed} ({share:.2%})"
    yield f"   all turns over {outcome.settled_seconds:.1f} s after the last fault"


def _faults(outcome: Outcome) -> Iterator[str]:
    points = {kind: count for kind, count in outcome.done.items() if kind.startswith("point: ")}
    yield "   faults, and how many of them inside a critical section:"
    for kind in sorted(outcome.done.keys() - points.keys()):
        yield f"     {kind:<42} {outcome.done[kind]:>4} {outcome.critical[kind]:>4}"
    if points:
        yield f"     {'died at a named point':<42} {sum(points.values()):>4} {sum(points.values()):>4}"
        for kind in sorted(points):
            yield f"       {kind.removeprefix('point: ')}"


def _findings(outcome: Outcome) -> Iterator[str]:
    kinds = outcome.kinds
    yield "   " + ", ".join(f"{kind} {kinds[kind]}" for kind in ALWAYS)
    for kind, count in sorted(kinds.items()):
        yield f"   found: {kind} {count}"
        details = [finding.detail for finding in outcome.findings if finding.kind == kind]
        yield from (f"     {detail[:400]}" for detail in details[:SHOWN])
    for event, count in outcome.errors.most_common(12):
        yield f"   logged as an error: {event} {count}"
