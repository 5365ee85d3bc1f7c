"""What a job in the compute pool may do to others, as functions for it."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import resource
import subprocess
import sys
import time
from contextlib import suppress


def echo(payload: str) -> str:
    return payload


def describe_process(_payload: str) -> str:
    """What the process is and has, as JSON."""
    descriptors = {}
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            descriptors[number] = os.readlink(f"/proc/self/fd/{number}")
    return json.dumps(
        {
            "pid": os.getpid(),
            "environment": dict(os.environ),
            "descriptors": descriptors,
            "niceness": os.getpriority(os.PRIO_PROCESS, 0),
            "cores": len(os.sched_getaffinity(0)),
            "address_space": resource.getrlimit(resource.RLIMIT_AS)[0],
            "folder": os.getcwd(),
            "modules": [name for name in ("django", "psycopg") if name in sys.modules],
        }
    )


def fail(payload: str) -> str:
    raise ValueError(payload)


def end_process(_payload: str) -> str:
    os._exit(3)


def crash(_payload: str) -> str:
    return ctypes.string_at(0).decode()


def endless_c_call(_payload: str) -> str:
    """One call of C code that never gives the interpreter's lock back."""
    return str(sum(itertools.repeat(0)))


def blocking_sleep(_payload: str) -> str:
    time.sleep(3600)
    return ""


def memory_bomb(_payload: str) -> str:
    return "x" * len(bytearray(10**12))


def memory_by_pieces(_payload: str) -> str:
    kept = []
    while True:
        kept.append(bytearray(10**6))


def long_result(_payload: str) -> str:
    return "x" * 10**7


def output_flood(_payload: str) -> str:
    """Write to everything that is open, for ever."""
    while True:
        for number in range(16):
            with suppress(OSError):
                os.write(number, b"x" * 65536)


def forge_answer(payload: str) -> str:
    """Write `payload` to the channel as if it were an answer, and another one after it."""
    data = payload.encode()
    os.write(3, len(data).to_bytes(4, "big") + data)
    return "a second answer"


_CHILD = """
import os, time
for _ in range(2):
    os.fork()
if os.getpid() != os.getpgid(0):
    os.setsid()
time.sleep(3600)
"""


def start_children(payload: str) -> str:
    """Start processes, some of them in sessions of their own, whose command line holds `payload`; then wait for them,
    or with "leave" at its end return at once."""
    command = [sys.executable, "-c", _CHILD, payload]
    children = [subprocess.Popen(command), subprocess.Popen(command, start_new_session=True)]
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, command)
        os._exit(0)
    if payload.endswith("leave"):
        return "started"
    for child in children:
        child.wait()
    return ""
