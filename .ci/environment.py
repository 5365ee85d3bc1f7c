"""Make or refresh `.venv` from a hashed lock: `python environment.py requirements.lock`.

Runs on the bare system Python, before anything is installed. Does nothing when the lock was installed already.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# Each holds everything of those before it.
LOCKS = ("requirements.lock", "requirements-otlp.lock", "requirements-vendors.lock", "requirements-dev.lock")


def main(lock: str) -> int:
    with (ROOT / ".venv.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # two `make run` at once
        if stamp(lock).is_file() and stamp(lock).read_text() == digest(lock) and works():
            return 0
        if not works() and not made():
            return 1
        return install(lock)


def digest(lock: str) -> str:
    version = ".".join(map(str, sys.version_info[:2]))
    return hashlib.sha256((ROOT / lock).read_bytes() + version.encode()).hexdigest()


def stamp(lock: str) -> Path:
    return VENV / f".installed-{lock}"


def works() -> bool:
    """Whether `.venv` has a Python of this very version: a removed or replaced one leaves a dead link."""
    wanted = f"import sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    try:
        return subprocess.run([PYTHON, "-c", wanted], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def made() -> bool:
    say(f"Making .venv with Python {sys.version.split()[0]} …")
    shutil.rmtree(VENV, ignore_errors=True)
    done = subprocess.run([sys.executable, "-m", "venv", VENV], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        say((done.stdout + done.stderr).strip())
        say("Python's venv module does not work here. On Debian or Ubuntu: apt install python3-venv; then try again.")
        return False
    return True


def install(lock: str) -> int:
    say(f"Installing the packages of {lock} …")
    began = time.monotonic()
    for name in LOCKS:
        stamp(name).unlink(missing_ok=True)
    if not installed(lock):
        say("pip could not install the locked packages. Is there a network (or an index in pip's configuration)?")
        say("Its message is above; `make` tries again from here.")
        return 1
    for name in LOCKS[: LOCKS.index(lock) + 1]:
        stamp(name).write_text(digest(name))
    say(f"… done in {time.monotonic() - began:.0f} s")
    return 0


def installed(lock: str) -> bool:
    """Install the lock's parts side by side: pip spends its time on reading indexes, one processor at a time."""
    options = ["-qq", "--disable-pip-version-check", "--no-input", "--no-compile", "--no-deps", "--require-hashes"]
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for number, part in enumerate(parts(lock, min(os.cpu_count() or 1, 4))):
            path = Path(folder) / f"{number}.lock"
            path.write_text(part)
            running.append(subprocess.Popen([PYTHON, "-m", "pip", "install", *options, "-r", path]))
        statuses = [pip.wait() for pip in running]  # each of them, even after one that failed
        return not any(statuses)


def parts(lock: str, count: int) -> list[str]:
    """The lock's entries, dealt out; with `--no-deps` each stands for itself. An entry's hashes follow it, indented."""
    entries = re.split(r"^(?=\S)", (ROOT / lock).read_text(), flags=re.MULTILINE)
    dealt = ["".join(entries[first::count]) for first in range(count)]
    return [part for part in dealt if part.strip()]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
