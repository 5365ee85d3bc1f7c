"""The least that PostgreSQL must do for a durable turn, under pgbench: two transactions of one statement each.

The first stores the question and its turn, the second the answer and the end. No journal, no log of events, no lease,
no claim, no guards: what a turn costs above this is the price of those.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.bench import machine

CLIENTS = 8
SESSIONS = 1000

TABLES = f"""
CREATE TABLE floor_session (id bigint PRIMARY KEY, next_ordinal int NOT NULL DEFAULT 1);
CREATE TABLE floor_turn (id bigint PRIMARY KEY, session bigint NOT NULL, status text NOT NULL, ended_at timestamptz);
CREATE TABLE floor_message (session bigint NOT NULL, ordinal int NOT NULL, author text NOT NULL, parts jsonb NOT NULL,
                            turn bigint NOT NULL, created_at timestamptz DEFAULT now(), PRIMARY KEY (session, ordinal));
INSERT INTO floor_session SELECT generate_series(1, {SESSIONS});
"""
SCRIPT = rf"""
\set session random(1, {SESSIONS})
\set turn random(1, 9000000000000000000)
WITH s AS (UPDATE floor_session SET next_ordinal = next_ordinal + 1 WHERE id = :session RETURNING id, next_ordinal),
t AS (INSERT INTO floor_turn (id, session, status) SELECT :turn, id, 'queued' FROM s)
INSERT INTO floor_message (session, ordinal, author, parts, turn)
SELECT id, next_ordinal - 1, 'user', '[{{"type": "text", "text": "please answer briefly"}}]', :turn FROM s;
WITH s AS (UPDATE floor_session SET next_ordinal = next_ordinal + 1 WHERE id = :session RETURNING id, next_ordinal),
t AS (UPDATE floor_turn SET status = 'completed', ended_at = now() WHERE id = :turn)
INSERT INTO floor_message (session, ordinal, author, parts, turn)
SELECT id, next_ordinal - 1, 'agent', '[{{"type": "text", "text": "{"plain words " * 20}"}}]', :turn FROM s;
"""


@dataclass(frozen=True, slots=True)
class Floor:
    turns_per_second: float
    postgresql_ms: float


def measure(url: str, *, programs: Path, folder: Path, pid: int, seconds: int) -> Floor:
    """Run the script for `seconds`; `pid` is the server's."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS floor_session, floor_turn, floor_message")
        connection.execute(TABLES.encode())
    script = folder / "floor.sql"
    script.write_text(SCRIPT, encoding="utf-8")
    before = machine.spent(pid)
    done = subprocess.run(
        [programs / "pgbench", "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}", f"--time={seconds}",
         f"--file={script}", url],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    cpu = (machine.spent(pid) - before).cpu
    turns = re.search(r"actually processed: (\d+)", done.stdout)
    rate = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode != 0 or turns is None or rate is None:
        raise SystemExit(f"bench: pgbench failed:\n{done.stderr[-1000:]}")
    return Floor(turns_per_second=float(rate[1]), postgresql_ms=cpu / int(turns[1]))
