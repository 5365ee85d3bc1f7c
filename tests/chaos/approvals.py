"""`python -m tests.chaos.approvals`: kill runners and clicks while calls wait for a person, and prove that each
approved call runs once and no other does. At last a control, which writes down no use of an approval, must fail."""

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

DATABASE = "chaos_approvals"


def kill_runners(url: str, folder: Path, *, kills: int, seed: int, spoiled: bool = False) -> dict[str, Any]:
    """Kill so many processes on the database at `url`, which is empty but for its tables: the kills by point, the
    rounds, the outcomes of calls and the faults. `spoiled`: as if nobody wrote down that an approval was used."""
    env = environment(
        DATABASE_URL=url, BANDSTAND_DATA_DIR=str(folder), BANDSTAND_MODEL="offline:", BANDSTAND_QUEUE_DEPTH="1000"
    )
    chaos = {"CHAOS_KILLS": str(kills), "CHAOS_SEED": str(seed), "CHAOS_LEDGER": str(folder / "ledger")}
    with (folder / "approvals.log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.child", "approval_work"],
            cwd=ROOT, env={**env, **chaos, "CHAOS_SPOILED": "1" if spoiled else ""},
            check=True, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.approvals", description=__doc__)
    parser.add_argument("--kills", type=int, default=400)
    parser.add_argument("--control-kills", type=int, default=100)
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
        faults = _round(cluster, template, home, options.kills, options.seed, spoiled=False)
        noticed = _round(cluster, template, home, options.control_kills, options.seed, spoiled=True)
    finally:
        cluster.stop()
    if not noticed:
        print("  the control was not noticed: the harness is blind")
    return 1 if faults or not noticed else 0


def _round(cluster: Cluster, template: str, home: Path, kills: int, seed: int, *, spoiled: bool) -> list[str]:
    folder = home / "approvals"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with psycopg.connect(cluster.url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE "{template}"'.encode())
    url = urlunsplit(urlsplit(cluster.url)._replace(path=f"/{DATABASE}"))
    report = kill_runners(url, folder, kills=kills, seed=seed, spoiled=spoiled)
    where = ", ".join(f"{count} {point}" for point, count in sorted(report["kills"].items()))
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report["counts"].items()))
    faults: list[str] = report["faults"]
    print(f"approvals{', spoiled' if spoiled else ''}: {report['rounds']} rounds; processes killed: {where}")
    print(f"  calls: {outcomes}")
    print(*faults[: 3 if spoiled else None], f"{len(faults)} doubled, lost or wrong", sep="\n  ", flush=True)
    return faults


if __name__ == "__main__":
    raise SystemExit(main())
