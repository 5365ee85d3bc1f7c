"""`manage.py run` as a person starts it: a whole installation on a data directory and a port of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bandstand.config import variables
from tests.support.surroundings import ROOT, WITHOUT_EXTRAS, free_port

# Bounds for a loaded machine, where the processes of a start wait for each other: a quiet one needs three seconds to
# start and one to stop.
START_SECONDS = 240.0
STOP_SECONDS = 20.0


def wait_for(what: Callable[[], Any], within_seconds: float = START_SECONDS) -> Any:
    """Poll until `what` is true, and answer it."""
    deadline = time.monotonic() + within_seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {within_seconds} s"
        time.sleep(0.05)
    return found


class Running:
    """One `manage.py run` on a data directory and a port of its own."""

    def __init__(self, data_dir: Path, port: int | None = None, **more: str) -> None:
        self.data_dir = data_dir
        self.port = port or free_port()
        ours = {*variables(), "TEST_RUN_PREPARED", "DJANGO_SETTINGS_MODULE"}
        clean = {name: value for name, value in os.environ.items() if name not in ours}
        settings = {"PORT": str(self.port), "BANDSTAND_DATA_DIR": str(data_dir), "BANDSTAND_ENV_FILE": os.devnull}
        settings["PYTHONPATH"] = str(WITHOUT_EXTRAS)
        # The real one takes a second and a half of CPU.
        self._env = {**clean, **settings, "BANDSTAND_EMBEDDINGS": "fake", **more}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "run"],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def said(self) -> str:
        return "".join(self.lines)

    def wait_until_ready(self) -> Running:
        wait_for(lambda: "Ctrl-C stops everything" in self.said or self.process.poll() is not None)
        assert self.process.poll() is None, self.said
        return self

    def end(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send the signal; how many seconds the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.wait(60.0)
        return time.monotonic() - began

    def wait(self, within_seconds: float = START_SECONDS) -> int:
        status = self.process.wait(within_seconds)
        self._reader.join(5.0)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return status

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def wait_until_all_parts_work(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (answer := self.get("/ready"))[0] != 200:
            assert time.monotonic() < deadline, (answer, self.said)
            time.sleep(0.05)

    def manage(self, *arguments: str) -> str:
        """What a command of `manage.py` prints beside the running installation."""
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        return subprocess.run(command, env=self._env, capture_output=True, text=True, check=True).stdout

    def children(self) -> dict[str, int]:
        """The leaders' process ids by name, as the supervisor remembers them."""
        return {c["name"]: c["pid"] for c in json.loads((self.data_dir / "run" / "processes.json").read_text())}

    def left(self) -> list[str]:
        """Every living process of this installation but the supervisor."""
        found = []
        for process in psutil.process_iter():
            try:
                theirs = process.environ().get("BANDSTAND_DATA_DIR") == str(self.data_dir)
                if theirs or str(self.data_dir) in " ".join(process.cmdline()):
                    found.append(f"{process.pid} {' '.join(process.cmdline())}")
            except psutil.Error:
                continue
        return [line for line in found if not line.startswith(f"{self.process.pid} ")]
