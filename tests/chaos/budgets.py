"""`python -m tests.chaos.budgets`: turns draw on a budget that is too small for them, runners are killed at every point
of their calls, and in mid-call; PostgreSQL, too. Nothing stays reserved, and the provider, which counts for itself,
bills no more than the budget. With a negative control: calls of killed runners that count as free must be noticed."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg

from bandstand.embedded import Cluster
from tests.support import database
from tests.support.surroundings import ROOT, environment

DATABASE = "chaos_budgets"
Shape = Literal["points", "bound"]
# Of the money for ten calls, how many must have been used for answers or for calls that a kill cut off.
LEAST_CALLS = 9
LOOK_SECONDS = 0.05


def spend_budget(
    url: str,
    folder: Path,
    *,
    shape: Shape,
    kills: int,
    seed: int,
    spoiled: bool = False,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Let turns spend a budget on the database at `url`, which is empty but for its tables, and kill so many runners:
    what was done, and the faults. `cluster` is killed twice meanwhile."""
    env = environment(
        DATABASE_URL=url, BANDSTAND_DATA_DIR=str(folder), BANDSTAND_MODEL="offline:", BANDSTAND_QUEUE_DEPTH="1000",
        BANDSTAND_MESSAGES_PER_MINUTE="0", BANDSTAND_STORED_MEGABYTES_PER_DAY="0", BANDSTAND_HEARTBEAT_SECONDS="1",
    )  # fmt: skip
    ledger = folder / "billed"
    own = {
        "CHAOS_KILLS": str(kills), "CHAOS_SEED": str(seed), "CHAOS_SHAPE": shape,
        "CHAOS_LEDGER": str(ledger), "CHAOS_SPOILED": "1" if spoiled else "",
    }  # fmt: skip
    with (folder / "budgets.log").open("wb") as log:
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.child", "budget_work"],
            cwd=ROOT, env={**env, **own}, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        if cluster is not None:
            for deaths in range(2):
                # Not while the sessions are still made: calls are under way.
                while program.poll() is None and _count_lines(ledger) <= deaths:
                    time.sleep(LOOK_SECONDS)
                if program.poll() is None:
                    cluster.kill()
                    cluster.start()
        output, _ = program.communicate()
    if program.returncode:
        raise SystemExit(f"budget_work has ended with {program.returncode}; see {folder / 'budgets.log'}")
    report: dict[str, Any] = json.loads(output.splitlines()[-1])
    return report


def _count_lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines()) if file.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.budgets", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--passes", type=int, default=5, help="with answers as long as their bound")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("DATABASE_URL", None)
    database.set_environment()
    home = database.take_slot(ROOT / ".cache" / "chaos")
    cluster = Cluster(home / "cluster")
    print(f"seed {options.seed}", flush=True)
    is_well = True
    try:
        template = database.make_template(cluster.start())
        whole: tuple[str, Shape, int, bool] = ("answers as long as their bound", "bound", 6, False)
        passes: list[tuple[str, Shape, int, bool]] = [
            ("runners die at the points of a call", "points", options.kills, False),
            *[whole] * options.passes,
            ("negative control: what was cut off counts as free", "bound", 6, True),
        ]
        for number, (name, shape, kills, spoiled) in enumerate(passes):
            folder = home / "budgets"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with psycopg.connect(cluster.url, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'.encode())
                connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE "{template}"'.encode())
            url = urlunsplit(urlsplit(cluster.url)._replace(path=f"/{DATABASE}"))
            dies = cluster if shape == "bound" and not spoiled and number % 2 == 0 else None
            report = spend_budget(
                url, folder, shape=shape, kills=kills, seed=options.seed + number, spoiled=spoiled, cluster=dies
            )
            print(name, f"{', PostgreSQL is killed' if dies else ''}", sep="", flush=True)
            for label, value in report.items():
                print(f"  {label}: {value}", flush=True)
            if shape == "bound" and not spoiled and dies is None and report["calls"] < LEAST_CALLS:
                print(f"  only {report['calls']} calls", flush=True)
                is_well = False
            is_well &= bool(report["faults"]) is spoiled
    finally:
        cluster.stop()
    print("as it should" if is_well else "NOT AS IT SHOULD")
    return 0 if is_well else 1


if __name__ == "__main__":
    raise SystemExit(main())
