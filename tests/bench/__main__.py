"""`python -m tests.bench [--quick] [--only WORD] [--json PATH] [--profile web|runner]`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median

import orjson
import uvloop

from tests.bench import floor, machine, profiling, report
from tests.bench.idle import Idle, sit
from tests.bench.load import Window, play
from tests.bench.plan import AT_ONCE, Case, Plan, plan
from tests.bench.stack import FOLDER, LIMITS, Stack

PROFILED = "websocket, 32 sessions"
IDLE = "idle sockets"


def main() -> None:
    options = _options()
    wanted = plan(quick=options.quick)
    if options.profile:
        _profile(options.profile, wanted, options.only or PROFILED)
        return
    cases = tuple(case for case in wanted.cases if options.only in case.name)
    wanted = replace(wanted, cases=cases, sockets=wanted.sockets if options.only in IDLE else 0)
    began, load = time.monotonic(), os.getloadavg()
    with Stack() as stack:
        windows, floors, sockets = _measure(stack, wanted)
    lines = [report.line(case, windows[case.name]) for case in wanted.cases]
    floors = floors or [floor.Floor(turns_per_second=0, postgresql_ms=0)]
    least = floor.Floor(
        turns_per_second=median(each.turns_per_second for each in floors),
        postgresql_ms=median(each.postgresql_ms for each in floors),
    )
    conditions = {
        **machine.describe(),
        "at": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "load_before": load,
        "load_after": os.getloadavg(),
        "calibration_ms": median([line.calibration_ms for line in lines] or [machine.calibrate()]),
        "windows": wanted.rounds,
        "seconds": round(time.monotonic() - began),
        "changed_settings": LIMITS,
    }
    _say("")
    print(report.table(lines, least, sockets))
    print("; ".join(f"{name} {value}" for name, value in conditions.items()))
    options.json.write_bytes(
        orjson.dumps(report.as_json(lines, least, sockets, conditions), option=orjson.OPT_INDENT_2)
    )
    raise SystemExit(1 if any(line.errors or not line.turns for line in lines) else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure a turn.")
    parser.add_argument("--quick", action="store_true", default=bool(os.environ.get("QUICK")), help="one short round")
    parser.add_argument("--only", default="", metavar="WORD", help="only the cases whose names hold this")
    parser.add_argument("--json", type=Path, default=FOLDER / "result.json", metavar="PATH")
    parser.add_argument("--profile", choices=("web", "runner"), help="where this process spends its time, instead")
    return parser.parse_args()


def _measure(stack: Stack, wanted: Plan) -> tuple[dict[str, list[Window]], list[floor.Floor], Idle | None]:
    """Round after round through all cases, so that a neighbour's busy minute does not fall on one of them alone."""
    rounds = [case for _ in range(wanted.rounds) for case in wanted.cases]
    _say("making people, agents and conversations")
    *sessions, waiting = stack.seed([*map(_needs, rounds), (AT_ONCE.route, wanted.sockets, 0)])
    windows, floors, sockets = defaultdict(list), [], None
    if sessions:
        _warm(stack, wanted.cases[0], sessions[0])
    for number, case in enumerate(rounds):
        _say(f"{number + 1}/{len(rounds)} {case.name}")
        window = uvloop.run(play(case, sessions[number], base=stack.base, pids=stack.pids))
        windows[case.name].append(window)
        if number % len(wanted.cases) == len(wanted.cases) - 1:
            _say("pgbench")
            floors.append(_floor(stack, wanted.floor_seconds))
    if waiting:
        _say(f"{len(waiting)} sockets that wait")
        sockets = uvloop.run(sit(waiting, base=stack.base, web=stack.pids["web"]))
    return windows, floors, sockets


def _needs(case: Case) -> tuple[str, int, int]:
    return case.pace.route, case.sessions + 1, case.history


def _warm(stack: Stack, case: Case, sessions: list[tuple[str, str]]) -> None:
    """Caches, connections and prepared statements; one session is spent on it."""
    spent = [sessions.pop(), sessions[-1]]
    uvloop.run(play(replace(case, turns=40, seconds=2.0), spent, base=stack.base, pids=stack.pids))


def _floor(stack: Stack, seconds: int) -> floor.Floor:
    pid = stack.pids["postgresql"]
    return floor.measure(stack.url, programs=stack.programs, folder=FOLDER, pid=pid, seconds=seconds)


def _profile(name: str, wanted: Plan, word: str) -> None:
    case = next(case for case in wanted.cases if word in case.name)
    with Stack(profile=name) as stack:
        [sessions] = stack.seed([_needs(case)])
        _warm(stack, case, sessions)

        def begin() -> None:
            os.kill(stack.pids[name], profiling.FORGET)

        window = uvloop.run(play(case, sessions, base=stack.base, pids=stack.pids, begin=begin))
        stack.end(name)
        print(profiling.report(stack.profile_file, turns=len(window.played)))


def _say(what: str) -> None:
    """What happens just now, on a line of its own if nobody watches."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
    elif what:
        print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
