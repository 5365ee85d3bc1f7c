"""Our own PostgreSQL: made, found by others, killed, started again, and never let near what is not ours."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bandstand.data_dir import MARKER
from bandstand.embedded import Cluster, EmbeddedError
from bandstand.embedded.home import FALLBACK_DIR, MAX_SOCKET_DIR_LENGTH
from bandstand.embedded.postgres_processes import PID_FILE
from tests.support.surroundings import PYTHON_PATH

AS_ROOT = os.geteuid() == 0


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A place for a cluster that its account can reach: pytest's own folders are closed, and stay so."""
    with tempfile.TemporaryDirectory(prefix="bandstand-test-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder) / "data"


@pytest.fixture
def make(data_dir: Path) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters that are stopped, and gone from outside of their data directory, at the end."""
    made: list[Cluster] = []

    def maker(*arguments: Any, **more: Any) -> Cluster:
        made.append(Cluster(*arguments, **more))
        return made[-1]

    yield maker
    for cluster in made:
        if not cluster.exists:
            continue
        cluster.stop()
        if cluster.home.is_relative_to(FALLBACK_DIR):
            shutil.rmtree(cluster.home, ignore_errors=True)
        if not cluster.socket.is_relative_to(cluster.home):
            shutil.rmtree(cluster.socket, ignore_errors=True)


Maker = Callable[..., Cluster]


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="bandstand-test-") as folder:
        Path(folder).chmod(0o711)
        cluster = Cluster(Path(folder) / "data")
        cluster.start()
        yield cluster
        cluster.stop()


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """One that runs, for one test after the other; they may stop and kill it."""
    shared_cluster.start()
    return shared_cluster


def rows(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept SELECT count(*) FROM kept")
        return [row[0] for row in connection.execute("SELECT n FROM kept ORDER BY n")]


def refusal(cluster: Cluster) -> str:
    with pytest.raises(EmbeddedError) as caught:
        cluster.start()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_cluster_keeps_its_rows_over_stop_kill_and_another_process(cluster: Cluster) -> None:
    url = cluster.url
    before = rows(url)
    other = (
        "import sys; from pathlib import Path; from bandstand.embedded import Cluster; c = Cluster(Path(sys.argv[1]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", f"{other}; print(c.pid, c.url)", str(cluster.data_dir)],
        env={**os.environ, "PYTHONPATH": PYTHON_PATH},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split() == [str(cluster.pid), url]

    cluster.stop()
    assert cluster.pid is None
    assert rows(cluster.start()) == [*before, len(before)]

    killed = cluster.pid
    cluster.kill()
    assert cluster.pid is None
    assert (cluster.home / "data" / PID_FILE).exists()
    assert rows(cluster.start()) == [*before, len(before), len(before) + 1]
    assert cluster.pid != killed
    assert cluster.start() == cluster.url  # it runs: nothing to do


def test_what_protects_a_cluster(cluster: Cluster) -> None:
    url = cluster.url
    assert cluster.pid is not None
    assert os.getsid(cluster.pid) == cluster.pid  # out of reach of the terminal's Ctrl-C
    assert stat.S_IMODE((cluster.data_dir / "postgres.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(cluster.socket.stat().st_mode) == 0o700
    assert stat.S_IMODE((cluster.home / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE(cluster.log.stat().st_mode) == 0o600
    with psycopg.connect(url) as connection:
        assert connection.info.parameter_status("is_superuser") == "off"
        settings = {row[0]: row[1] for row in connection.execute("SELECT name, setting FROM pg_settings")}
    assert settings["listen_addresses"] == ""
    assert {settings[name] for name in ("fsync", "full_page_writes", "synchronous_commit")} == {"on"}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://bandstand:wrong@/bandstand?host={cluster.socket}")
    with psycopg.connect(cluster.superuser_url) as connection:
        assert connection.info.parameter_status("is_superuser") == "on"
    environment = Path(f"/proc/{cluster.pid}/environ")
    if environment.exists():
        assert b"SECRET_KEY" not in environment.read_bytes()


def test_the_application_may_make_databases_with_vectors(cluster: Cluster) -> None:
    url = cluster.url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE another")
    with psycopg.connect(url.replace("/bandstand?", "/another?")) as connection:
        row = connection.execute("SELECT '[1,2]'::vector <-> '[1,3]'").fetchone()
    assert row == (1.0,)


def test_the_older_server_works_and_the_newer_refuses_its_data(make: Maker, data_dir: Path) -> None:
    older = make(data_dir, 16)
    assert rows(older.start()) == [0]
    older.stop()
    assert "was made by PostgreSQL 16, this is PostgreSQL 18" in refusal(make(data_dir, 18))


def test_a_first_start_that_was_cut_short_is_made_good(make: Maker, data_dir: Path) -> None:
    cluster = make(data_dir)
    cluster.start()
    cluster.stop()
    # As if the machine had died between initdb and the making of role and database, with a second initdb under way.
    shutil.rmtree(cluster.home / "data")
    (cluster.home / "data.draft").mkdir()
    (cluster.home / "data.draft" / "half").write_text("")
    record = data_dir / "postgres.json"
    record.write_text(record.read_text().replace('"prepared": true', '"prepared": false'))
    assert rows(cluster.start()) == [0]


def test_a_pid_file_of_somebody_else_is_no_obstacle(cluster: Cluster) -> None:
    before = rows(cluster.url)
    cluster.kill()
    pid_file = cluster.home / "data" / PID_FILE
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split("\n")[0], str(os.getpid()), 1))
    assert rows(cluster.start()) == [*before, len(before)]


def test_a_killed_server_that_nobody_has_reaped_is_no_obstacle(cluster: Cluster) -> None:
    # As that of a killed supervisor is, until init sees to it. Its id still exists.
    killed = cluster.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
    successor = Cluster(cluster.data_dir)
    successor.start()
    assert successor.pid not in (None, killed)
    successor.stop()
    cluster.stop()  # it reaps the killed one


def test_a_folder_that_we_did_not_make_is_refused_and_left_alone(make: Maker, data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "thesis.txt").write_text("years of work")
    assert "was not made by Bandstand" in refusal(make(data_dir))
    assert [path.name for path in data_dir.iterdir()] == ["thesis.txt"]


def test_a_copy_of_a_data_directory_does_not_take_the_originals_database(cluster: Cluster, data_dir: Path) -> None:
    copy = data_dir
    copy.mkdir()
    for name in (MARKER, "postgres.json"):
        shutil.copy(cluster.data_dir / name, copy / name)
    assert "was copied or moved from" in refusal(Cluster(copy))
    assert cluster.pid is not None


def test_a_path_too_long_for_a_socket_gets_a_short_private_one(make: Maker, data_dir: Path) -> None:
    deep = data_dir
    while len(str(deep)) <= MAX_SOCKET_DIR_LENGTH:
        deep = deep / "a-rather-long-name-for-a-folder"
    if AS_ROOT:
        deep.parent.mkdir(parents=True)
        for folder in [deep.parent, *deep.parent.parents]:
            if folder.is_relative_to(data_dir):
                folder.chmod(0o711)
    cluster = make(deep)
    url = cluster.start()
    assert rows(url) == [0]
    assert len(str(cluster.socket)) <= MAX_SOCKET_DIR_LENGTH
    assert stat.S_IMODE(cluster.socket.stat().st_mode) == 0o700
    cluster.stop()
    assert cluster.start() == url  # the same one again


def test_a_socket_folder_that_somebody_planted_is_not_used(make: Maker, data_dir: Path) -> None:
    deep = data_dir / ("x" * MAX_SOCKET_DIR_LENGTH)
    deep.parent.mkdir(mode=0o711)
    cluster = make(deep)
    cluster.start()
    cluster.stop()
    planted = cluster.socket
    shutil.rmtree(planted)
    planted.mkdir()
    planted.chmod(0o777)
    try:
        cluster.start()
        assert cluster.socket != planted
        assert list(planted.iterdir()) == []
    finally:
        planted.rmdir()


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server under another account")
def test_root_behind_a_closed_door_keeps_the_cluster_elsewhere_and_opens_nothing(make: Maker, data_dir: Path) -> None:
    door = data_dir
    door.mkdir(mode=0o700)
    before = {folder: folder.stat().st_mode for folder in [door, *door.parents]}
    cluster = make(door / "clone" / "var")
    assert rows(cluster.start()) == [0]
    assert cluster.home.parent == FALLBACK_DIR
    assert {folder: folder.stat().st_mode for folder in before} == before
    assert os.stat(f"/proc/{cluster.pid}").st_uid != 0
    cluster.stop()
    assert rows(cluster.start()) == [0, 1]
    # The clone is deleted and made anew: the old rows are set aside, not taken over.
    cluster.stop()
    shutil.rmtree(door / "clone")
    assert rows(cluster.start()) == [0]
    assert [path.name[:14] for path in cluster.home.glob("data.*")] == ["data.abandoned"]


@pytest.mark.skipif(not AS_ROOT, reason="only root runs the server under another account")
def test_programs_that_the_account_cannot_reach_are_copied(
    make: Maker, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bandstand.embedded import binaries

    original = binaries.installed(18)
    hidden = data_dir.parent / "hidden" / original.parent.name
    hidden.parent.mkdir(mode=0o700)
    hidden.mkdir()
    (hidden / original.name).symlink_to(original)
    (hidden.parent / f"{hidden.name}.libs").symlink_to(original.parent.parent / f"{hidden.name}.libs")
    monkeypatch.setattr(binaries, "installed", lambda version: hidden / original.name)
    cluster = make(data_dir)
    assert rows(cluster.start()) == [0]
    assert cluster.programs.is_relative_to(cluster.home)
    assert stat.S_IMODE(hidden.parent.stat().st_mode) == 0o700


def test_an_empty_folder_is_taken_settings_can_be_changed_and_several_clusters_run_side_by_side(
    cluster: Cluster, make: Maker, data_dir: Path
) -> None:
    data_dir.mkdir()
    second = make(data_dir, settings={"synchronous_commit": "off"})
    before = rows(cluster.url)
    assert rows(second.start()) == [0]
    assert (data_dir / MARKER).exists()
    with psycopg.connect(second.url) as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
    assert rows(cluster.url) == [*before, len(before)]
    assert cluster.pid != second.pid


def test_the_end_can_be_waited_for(cluster: Cluster) -> None:
    with psycopg.connect(cluster.url) as connection, socket.socket(fileno=os.dup(connection.fileno())) as client:
        cluster.kill()
        cluster.wait()
        client.setblocking(True)
        client.settimeout(5)
        while client.recv(1000):  # a last word, perhaps, and then the end
            pass
