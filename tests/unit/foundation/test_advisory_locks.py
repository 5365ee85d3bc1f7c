"""Advisory locks: one number each, and two modules that take them."""

import re

from agents.migrations._budget_functions import SETTLE_AND_RESERVE
from foundation.advisory_locks import AdvisoryLock, LockFamily
from foundation.job_registry import jobs
from tests.support.surroundings import ROOT

HOMES = (
    ROOT / "platform" / "foundation" / "advisory_locks.py",
    ROOT / "agents" / "migrations" / "_budget_functions.py",
)
PARTS = ("agents", "memory", "monitoring", "platform", "tests")
TAKES_ONE = re.compile(r"pg_(?:try_)?advisory")


def test_no_two_locks_share_a_number() -> None:
    keys = [job.name.encode() for job in jobs]
    locks = [*AdvisoryLock, *(family.lock(key) for family in LockFamily for key in keys)]
    assert len({int(lock) for lock in locks}) == len(AdvisoryLock) + len(LockFamily) * len(keys)
    assert all(0 < lock < 2**63 for lock in locks)


def test_a_family_shares_no_number_with_anything_else() -> None:
    single = {lock >> 48 for lock in AdvisoryLock}
    families = {family.lock(b"any key") >> 48 for family in LockFamily}
    assert len(families) == len(LockFamily)
    assert not single & families


def test_the_lock_of_a_key_is_the_same_in_every_process() -> None:
    assert LockFamily.RUN_JOB.lock(b"reap lost turns") == 0x6262_3F64_C288_B0C6


def test_a_function_of_the_database_takes_the_lock_of_budgets() -> None:
    assert f"advisory_xact_lock({int(AdvisoryLock.ACCOUNT_BUDGETS)})" in SETTLE_AND_RESERVE


def test_nobody_else_takes_an_advisory_lock() -> None:
    modules = [path for part in PARTS for path in (ROOT / part).rglob("*.py")]
    assert set(HOMES) < set(modules)
    others = [path for path in modules if path not in HOMES and TAKES_ONE.search(path.read_text(encoding="utf-8"))]
    assert others == []
