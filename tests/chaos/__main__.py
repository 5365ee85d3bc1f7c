"""`python -m tests.chaos [all|real|short|points|controls|commits]`: exit code 0 when every pass ended as it should."""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import time
from pathlib import Path

import uvloop

from bandstand.embedded import Cluster
from tests.chaos import report
from tests.chaos.battle import Outcome, fight
from tests.chaos.plan import EVERY_POINT, LOST_COMMITS, REAL, SHORT, WITHOUT_EPOCH, Plan
from tests.chaos.program import ROOT
from tests.support import database

# Otherwise each start after a crash begins with an fsync of every single file.
FASTER_RECOVERY = {"recovery_init_sync_method": "syncfs"}
PASSES: dict[str, tuple[Plan, ...]] = {
    "all": (REAL, WITHOUT_EPOCH, LOST_COMMITS),
    "real": (REAL,),
    "short": (SHORT,),
    "points": (EVERY_POINT,),
    "commits": (LOST_COMMITS,),
    "controls": (WITHOUT_EPOCH, LOST_COMMITS),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("passes", nargs="?", choices=sorted(PASSES), default="all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--keep", action="store_true", help="keep ledger, logs and notes of passes that went well, too")
    options = parser.parse_args()
    os.environ.pop("DATABASE_URL", None)  # a database that is killed has to be our own
    database.set_environment()
    home = database.take_slot(ROOT / ".cache" / "chaos")
    _say(f"seed {options.seed}")
    began = time.monotonic()
    outcomes = [_fight(plan, home, seed=options.seed, keep=options.keep) for plan in PASSES[options.passes]]
    _say(f"== {time.monotonic() - began:.0f} s in all")
    for outcome in outcomes:
        word = "as it should" if outcome.as_it_should else "NOT AS IT SHOULD"
        _say(f"   {word}: {outcome.plan.name}")
    return 0 if all(outcome.as_it_should for outcome in outcomes) else 1


def _fight(plan: Plan, home: Path, *, seed: int, keep: bool) -> Outcome:
    cluster = Cluster(home / "cluster", settings={**FASTER_RECOVERY, **plan.database_settings})
    folder = home / "passes" / plan.name.replace(" ", "-").replace(":", "")
    template = _template(home)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(fight(plan, folder=folder, cluster=cluster, template=template, seed=seed))
    except asyncio.CancelledError:
        raise SystemExit("chaos: stopped from outside") from None
    finally:
        cluster.stop()
    for line in report.lines(outcome):
        _say(line)
    if outcome.as_it_should and not keep:
        shutil.rmtree(folder)
    return outcome


def _template(home: Path) -> str:
    """The database that every pass begins with, made by a server that loses nothing."""
    cluster = Cluster(home / "cluster")
    cluster.start()
    try:
        return database.make_template(cluster.url)
    finally:
        cluster.stop()


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
