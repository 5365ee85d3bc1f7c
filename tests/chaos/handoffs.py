"""`python -m tests.chaos.handoffs`: people write, operators take over and give back, runners answer, and some of them
are killed. Never two voices, never none. With a negative control: a takeover that lets turns go on must be noticed."""

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

DATABASE = "chaos_handoffs"
CONTROL_ROUNDS = 60
# The name of the defect, as `tests.chaos.takeovers` has it.
TWO_VOICES = "a takeover that lets turns go on"


def take_over(url: str, folder: Path, *, rounds: int, kills: int, seed: int, defect: str = "") -> dict[str, Any]:
    """Take sessions over so often on the database at `url`, which is empty but for its tables, and kill so many
    processes: what was done, and the faults."""
    env = environment(
        DATABASE_URL=url, BANDSTAND_DATA_DIR=str(folder), BANDSTAND_MODEL="offline:",
        BANDSTAND_MESSAGES_PER_MINUTE="0", BANDSTAND_MESSAGES_PER_SESSION_PER_MINUTE="0",
        BANDSTAND_STORED_MEGABYTES_PER_DAY="0",
    )  # fmt: skip
    own = {
        "CHAOS_ROUNDS": str(rounds), "CHAOS_KILLS": str(kills), "CHAOS_SEED": str(seed),
        "CHAOS_LEDGER": str(folder / "ledger.jsonl"), "CHAOS_TAKEOVER_DEFECT": defect,
    }  # fmt: skip
    with (folder / "takeovers.log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.child", "takeovers"],
            cwd=ROOT, env={**env, **own}, check=True, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.handoffs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("DATABASE_URL", None)
    database.set_environment()
    home = database.take_slot(ROOT / ".cache" / "chaos")
    cluster = Cluster(home / "cluster")
    print(f"seed {options.seed}", flush=True)
    passes = [("", options.rounds, options.kills), (TWO_VOICES, CONTROL_ROUNDS, 0)]
    reports: list[dict[str, Any]] = []
    try:
        template = database.make_template(cluster.start())
        for defect, rounds, kills in passes:
            folder = home / "handoffs"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with psycopg.connect(cluster.url, autocommit=True) as connection:
                connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'.encode())
                connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE "{template}"'.encode())
            url = urlunsplit(urlsplit(cluster.url)._replace(path=f"/{DATABASE}"))
            reports.append(take_over(url, folder, rounds=rounds, kills=kills, seed=options.seed, defect=defect))
    finally:
        cluster.stop()
    real, control = reports
    for name, value in real.items():
        if name != "faults":
            print(f"  {name}: {value}")
    print(*real["faults"][:50], f"{len(real['faults'])} faults: two voices, none, a gap, lost or doubled", sep="\n  ")
    noticed = len(control["faults"])
    print(f"  negative control, {TWO_VOICES}: {noticed} faults" + ("" if noticed else " - NOT NOTICED"))
    return 1 if real["faults"] or not noticed else 0


if __name__ == "__main__":
    raise SystemExit(main())
