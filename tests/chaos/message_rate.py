"""`python -m tests.chaos.message_rate`: a limit of ten messages per hour, and a hundred requests at the same moment.

They go to four web processes, over REST, websockets and `/v1` in turns. Exactly ten are accepted, in each of the runs,
which have a person each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

import aiohttp

from tests.support.message_doors import ACCEPTED, REFUSED, Doors
from tests.support.running import Running
from tests.support.surroundings import ROOT

REQUESTS, LIMIT, PROCESSES = 100, 10, 4
SECONDS = 120


async def send_at_once(running: Running, keys: list[str]) -> list[str]:
    """What was found, a line for each run that was not exact."""
    findings = []
    for number, key in enumerate(keys, start=1):
        async with asyncio.timeout(SECONDS):
            doors = Doors(running.port, key=key, session_id=await _new_session(running, key))
            counts = Counter(await asyncio.gather(*(doors.send(request) for request in range(REQUESTS))))
        print(f"   run {number:>2}: {counts[ACCEPTED]} accepted, {counts[REFUSED]} refused", flush=True)
        if counts != {ACCEPTED: LIMIT, REFUSED: REQUESTS - LIMIT}:
            findings.append(f"run {number}: {dict(counts)}")
    return findings


async def _new_session(running: Running, key: str) -> str:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(headers=headers) as client,
        client.post(f"http://127.0.0.1:{running.port}/api/v1/sessions", json={"agent": "demo"}) as answer,
    ):
        assert answer.status == 201, await answer.text()
        session: str = (await answer.json())["id"]
        return session


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.message_rate", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("chaos: stopped from outside"))
    print(f"== message rate: {REQUESTS} requests at once over {PROCESSES} processes, {LIMIT} per hour")
    with tempfile.TemporaryDirectory(prefix="bandstand-chaos-") as name:
        running = Running(
            Path(name) / "data",
            PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / "platform")]),
            WEB=str(PROCESSES),
            BANDSTAND_MESSAGES_PER_HOUR=str(LIMIT),
            BANDSTAND_QUEUE_DEPTH=str(REQUESTS),
        )
        try:
            running.wait_until_ready().wait_until_all_parts_work()
            code = f"from tests.chaos.people_seed import main; main({options.runs})"
            keys = json.loads(running.manage("shell", "-v", "0", "-c", code).splitlines()[-1])
            findings = asyncio.run(send_at_once(running, keys))
        finally:
            running.end()
    for finding in findings:
        print(f"   found: {finding}")
    print(f"   verdict: {'FAILED' if findings else 'passed'}", flush=True)
    return bool(findings)


if __name__ == "__main__":
    raise SystemExit(main())
