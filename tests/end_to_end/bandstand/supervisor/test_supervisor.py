"""`make run`'s supervisor, on real processes: what it starts, restarts, refuses and leaves behind (nothing)."""

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bandstand.embedded import Cluster
from bandstand.supervisor import processes
from bandstand.supervisor.processes import ChildProcess
from tests.support.running import STOP_SECONDS, Running, wait_for


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A place that the database's account can reach."""
    with tempfile.TemporaryDirectory(prefix="bandstand-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    """An installation that runs; a test may kill its parts, and waits until they are back."""
    installation = Running(folder / "running", WEB="2").wait_until_ready()
    yield installation
    installation.end()


def refusal(running: Running) -> str:
    """The one line of a start that was refused."""
    assert running.wait() != 0
    lines = [line for line in running.lines if line.startswith("bandstand: ")]
    assert len(lines) == 1, running.said
    assert "Traceback" not in running.said
    return lines[0]


def test_a_first_start_shows_address_and_login_and_keeps_them_private(running: Running) -> None:
    assert f"http://127.0.0.1:{running.port}/" in running.said
    login = running.data_dir / "login.txt"
    password = login.read_text().split("password: ")[1].strip()
    assert password in running.said
    assert str(login) in running.said
    assert "OPENAI_API_KEY" in running.said
    assert "OPENAI_BASE_URL" in running.said
    assert login.stat().st_mode & 0o777 == 0o600


def test_all_parts_work(running: Running) -> None:
    running.wait_until_all_parts_work()
    assert sorted(running.children()) == ["runner-1", "scheduler", "web-1", "web-2"]


def test_a_second_start_on_the_same_data_is_refused(running: Running) -> None:
    told = refusal(Running(running.data_dir))
    assert f"is in use by process {running.process.pid} at 127.0.0.1:{running.port}" in told


def test_a_taken_port_is_refused(running: Running, folder: Path) -> None:
    told = refusal(Running(folder / "other", running.port))
    assert told.startswith(f"bandstand: PORT: another program listens on 127.0.0.1:{running.port}")


def test_a_foreign_folder_is_refused_and_left_alone(folder: Path) -> None:
    foreign = folder / "foreign"
    foreign.mkdir(exist_ok=True)
    (foreign / "thesis.txt").write_text("years of work")
    assert "was not made by Bandstand" in refusal(Running(foreign))
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_a_wrong_environment_is_refused(folder: Path) -> None:
    running = Running(folder / "wrong", BANDSTAND_LEASE_SECONDS="1")
    assert refusal(running).startswith("bandstand: BANDSTAND_LEASE_SECONDS: ")
    assert running.process.returncode == 78
    assert not running.data_dir.exists()


def test_data_of_another_major_version_is_refused(folder: Path) -> None:
    old = folder / "old"
    cluster = Cluster(old, 16)
    cluster.start()
    cluster.stop()
    running = Running(old, BANDSTAND_KEY_PEPPER="x7Kq" * 20, SECRET_KEY="k2Vb" * 20)
    assert "its file in" in refusal(running)  # one key is neither made nor given
    (old / "postgres.json").rename(old / "aside")
    from bandstand import installation_secrets

    installation_secrets.make(old)
    (old / "aside").rename(old / "postgres.json")
    assert "was made by PostgreSQL 16, this is PostgreSQL 18" in refusal(Running(old))


def test_a_database_elsewhere_that_is_not_there_is_named(folder: Path) -> None:
    keys = {name: os.environ[name] for name in ("SECRET_KEY", "BANDSTAND_KEY_PEPPER", "BANDSTAND_ENCRYPTION_KEY")}
    running = Running(folder / "elsewhere", None, DATABASE_URL="postgresql://u:canary@/x?host=/no/such/place", **keys)
    told = refusal(running)
    assert told.startswith("bandstand: DATABASE_URL: cannot connect to the database: ")
    assert "canary" not in running.said


def test_an_older_server_elsewhere_is_used_but_not_without_durability(folder: Path) -> None:
    keys = {name: os.environ[name] for name in ("SECRET_KEY", "BANDSTAND_KEY_PEPPER", "BANDSTAND_ENCRYPTION_KEY")}
    careless = Cluster(folder / "server", 16, settings={"fsync": "off"})
    told = refusal(Running(folder / "client", None, DATABASE_URL=careless.start(), **keys))
    assert told.startswith("bandstand: PostgreSQL runs with fsync=off")
    careless.stop()
    careful = Cluster(folder / "server", 16)
    running = Running(folder / "client", None, DATABASE_URL=careful.start(), **keys).wait_until_ready()
    running.wait_until_all_parts_work()
    assert not (folder / "client" / "keys").exists()
    running.end()
    assert careful.pid is not None  # it is not ours to stop
    careful.stop()


@pytest.mark.parametrize("name", ["web-1", "runner-1", "scheduler"])
def test_a_killed_child_is_started_again(running: Running, name: str) -> None:
    before = wait_for(running.children)
    wait_for(lambda: name in running.children())
    killed = running.children()[name]
    started = ChildProcess(name, killed, psutil.Process(killed).create_time())
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: running.children().get(name, killed) != killed)
    wait_for(lambda: not processes.members(started))  # the scheduler's workers, too
    assert {k: v for k, v in running.children().items() if k != name} == {k: v for k, v in before.items() if k != name}
    running.wait_until_all_parts_work()
    assert f"{name} ended (SIGKILL), starting it again" in running.said


def test_no_connection_is_refused_while_a_web_process_is_replaced(running: Running) -> None:
    for name in ("web-1", "web-2"):
        os.kill(running.children()[name], signal.SIGTERM)
    statuses = [running.get("/health")[0] for _ in range(10)]
    assert set(statuses) == {200}


def test_a_killed_database_is_started_again(running: Running) -> None:
    cluster = Cluster(running.data_dir)
    killed = cluster.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: cluster.pid not in {None, killed})
    running.wait_until_all_parts_work()


def test_a_killed_supervisor_leaves_nothing_that_the_next_start_does_not_clean_up(folder: Path) -> None:
    data_dir = folder / "killed"
    first = Running(data_dir).wait_until_ready()
    orphans = first.children()
    database = Cluster(data_dir).pid
    first.process.kill()
    first.wait()
    assert all(psutil.pid_exists(pid) for pid in [*orphans.values(), database or 0])

    second = Running(data_dir, first.port).wait_until_ready()
    assert "Ended what a killed supervisor had left" in second.said
    assert not set(orphans.values()) & set(second.children().values())
    assert Cluster(data_dir).pid != database
    password = re.search("password: (.*)", (data_dir / "login.txt").read_text())
    assert password is not None
    assert password[1] not in second.said  # it was shown once

    assert second.end(signal.SIGINT) <= STOP_SECONDS
    assert second.process.returncode == 0
    assert second.left() == []


def test_a_signal_during_the_start_ends_it(folder: Path) -> None:
    running = Running(folder / "hasty")
    wait_for(lambda: "Starting PostgreSQL" in running.said)
    assert running.end() <= STOP_SECONDS
    assert running.process.returncode == 0
    assert running.left() == []


def test_a_second_signal_ends_a_child_that_will_not_end(folder: Path) -> None:
    running = Running(folder / "stubborn", RUNNERS="0").wait_until_ready()
    os.kill(running.children()["web-1"], signal.SIGSTOP)
    running.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "Stopping" in running.said)
    assert running.end() <= STOP_SECONDS
    assert running.left() == []
