"""`python -m tests.chaos.schedules`: kill workers that fire schedules, and prove that each time is asked once."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from bandstand.embedded import Cluster
from tests.support import database
from tests.support.surroundings import ROOT, environment

DATABASE = "chaos_schedules"


def kill_workers(url: str, folder: Path, *, kills: int, seed: int) -> dict[str, Any]:
    """Kill so many workers on the database at `url`, which is empty but for its tables: the kills by point, the rounds
    and the faults."""
    env = environment(
        DATABASE_URL=url, BANDSTAND_DATA_DIR=str(folder), BANDSTAND_MODEL="offline:", BANDSTAND_QUEUE_DEPTH="1000"
    )
    with (folder / "firings.log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.child", "firings"],
            cwd=ROOT, env={**env, "CHAOS_KILLS": str(kills), "CHAOS_SEED": str(seed)},
            check=True, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.schedules", description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("DATABASE_URL", None)
    database.set_environment()
    home = database.take_slot(ROOT / ".cache" / "chaos")
    cluster = Cluster(home / "cluster")
    print(f"seed {options.seed}", flush=True)
    try:
        template = database.make_template(cluster.start())
        folder = home / "schedules"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with psycopg.connect(cluster.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE "{template}"'.encode())
        url = urlunsplit(urlsplit(cluster.url)._replace(path=f"/{DATABASE}"))
        report = kill_workers(url, folder, kills=options.kills, seed=options.seed)
    finally:
        cluster.stop()
    where = ", ".join(f"{count} {point}" for point, count in sorted(report["kills"].items()))
    print(f"schedules: {report['schedules']} fired {report['rounds']} times; workers killed: {where}")
    print(*report["faults"], f"{len(report['faults'])} lost, doubled or not recorded", sep="\n  ")
    return 1 if report["faults"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
