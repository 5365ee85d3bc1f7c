"""One PostgreSQL cluster: initialise, start, find, stop."""

import os
import secrets
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

from bandstand import data_dir as data_dirs
from bandstand.embedded import binaries, home, postgres_processes
from bandstand.embedded.errors import EmbeddedError
from bandstand.embedded.os_account import Account, server_account
from bandstand.embedded.record import DATABASE, PORT, ROLE, Record
from foundation.private_files import open_private

START_SECONDS: Final = 60.0  # long enough for the recovery after a crash
SETTINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cluster_name": "bandstand",
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": "128MB",
        "max_wal_size": "512MB",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_min_messages": "warning",
        "log_min_duration_statement": "1s",
        "log_min_error_statement": "panic",  # failing statements may contain users' messages
    }
)
PREPARE_SQL: Final = rf"""
\set ON_ERROR_STOP on
CREATE EXTENSION IF NOT EXISTS vector;
SELECT 'CREATE ROLE {ROLE} LOGIN CREATEDB' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{ROLE}') \gexec
ALTER ROLE {ROLE} PASSWORD :'password';
SELECT 'CREATE DATABASE {DATABASE} OWNER {ROLE}'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{DATABASE}') \gexec
\connect {DATABASE}
CREATE EXTENSION IF NOT EXISTS vector;
ALTER EXTENSION vector UPDATE;
"""  # noqa: S608  # our own constants


class Cluster:
    """The embedded PostgreSQL of one data directory.

    It listens on a Unix socket only, in a folder that only its account can enter, and asks the application role for a
    password. It runs in its own process session, so that Ctrl-C in a terminal does not reach it. Any process of the
    same user (or root) may read `url` and `pid`; the caller ensures that only one process starts and stops it.

    `settings` are added to, or replace, those of :data:`SETTINGS`. Every method raises EmbeddedError.
    """

    def __init__(self, data_dir: Path, version: int = 18, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.version = version
        self._settings = {**SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def exists(self) -> bool:
        """Whether the cluster has been initialised."""
        return Record.read(self.data_dir) is not None

    @property
    def url(self) -> str:
        """The DATABASE_URL of the application role (it holds the password), whether or not the server runs."""
        return self._record().url

    @property
    def superuser_url(self) -> str:
        """A URL for maintenance. It uses peer authentication: only for root and the account that runs the server."""
        return self._record().superuser_url

    @property
    def pid(self) -> int | None:
        """The process id of the running server, or None."""
        record = Record.read(self.data_dir)
        return postgres_processes.server_pid(Path(record.home) / "data") if record else None

    @property
    def log(self) -> Path:
        """The file that the server writes its messages to."""
        return self.data_dir / "logs" / "postgres.log"

    @property
    def home(self) -> Path:
        """The folder of the cluster's files; outside the data directory where the server's account cannot reach it."""
        return Path(self._record().home)

    @property
    def socket(self) -> Path:
        """The folder of the server's Unix socket."""
        return Path(self._record().socket)

    @cached_property
    def programs(self) -> Path:
        """The folder of the programs (`psql`, `pg_dump`, `pgbench`, …) that belong to this server."""
        return binaries.usable(self.version, account=self._account, home=self.home) / "bin"

    def start(self) -> str:
        """Initialise the cluster if needed, start it if it does not run, and return its DATABASE_URL."""
        try:
            return self._start()
        except data_dirs.DataDirError as error:
            raise EmbeddedError(str(error)) from None
        except OSError as error:
            raise EmbeddedError(f"the embedded PostgreSQL cannot be started: {error}") from None

    def stop(self, fast: bool = True, *, within_seconds: float = 8.0) -> None:
        """Shut the server down; unless `fast`, wait for clients to disconnect. After `within_seconds` it is killed,
        which loses no committed data."""
        data = self.home / "data"
        pid = postgres_processes.server_pid(data)
        if pid is not None:
            os.kill(pid, signal.SIGINT if fast else signal.SIGTERM)
            if not postgres_processes.wait_until_gone(pid, data, within_seconds=within_seconds):
                os.kill(pid, signal.SIGQUIT)
                if not postgres_processes.wait_until_gone(pid, data, within_seconds=2.0):
                    self.kill()
        self._reap()

    def wait(self) -> None:
        """Wait until the server that this object started has ended, however it ended."""
        if (process := self._process) is not None:
            process.wait()

    def kill(self) -> None:
        """SIGKILL the server, like a crash."""
        data = self.home / "data"
        if (pid := postgres_processes.server_pid(data)) is not None:
            os.kill(pid, signal.SIGKILL)
            postgres_processes.wait_until_gone(pid, data, within_seconds=10.0)
        self._reap()

    @cached_property
    def _account(self) -> Account:
        return server_account()

    def _record(self) -> Record:
        record = Record.read(self.data_dir)
        if record is None:
            raise EmbeddedError(f"there is no embedded database in {self.data_dir} yet; `make run` makes it")
        return record

    def _start(self) -> str:
        installation = data_dirs.claim(self.data_dir)
        record = Record.read(self.data_dir) or self._new_record(installation)
        self._refuse_copy(record)
        home.make(Path(record.home), installation=installation)
        data = Path(record.home) / "data"
        record = record.with_socket(home.make_socket_dir(Path(record.home), record.socket, self._account))
        record.write(self.data_dir)
        if postgres_processes.server_pid(data) is None:
            if not data.exists():
                self._initialise(data)
            self._refuse_other_version(data)
            self._launch(data, record)
        if not record.prepared:
            self._prepare(record)
            record = record.as_prepared()
            record.write(self.data_dir)
        return record.url

    def _new_record(self, installation: str) -> Record:
        return Record(
            home=str(home.choose_folder(self.data_dir, self._account)),
            socket="",
            password=secrets.token_urlsafe(24),
            installation=installation,
            data_dir=str(self.data_dir),
        )

    def _refuse_copy(self, record: Record) -> None:
        original = Path(record.data_dir)
        inside = Path(record.home).is_relative_to(original)
        if original == self.data_dir:
            return
        if inside or (original / data_dirs.MARKER).exists():
            raise EmbeddedError(
                f"{self.data_dir} was copied or moved from {original}, where its database is; "
                "move it back, or dump the database there and load it here"
            )

    def _refuse_other_version(self, data: Path) -> None:
        version = (data / "PG_VERSION").read_text(encoding="ascii").strip()
        if version != str(self.version):
            raise EmbeddedError(
                f"the database in {data} was made by PostgreSQL {version}, this is PostgreSQL {self.version}; "
                "dump it with the version that made it, or set DATABASE_URL"
            )

    def _initialise(self, data: Path) -> None:
        draft = data.with_name("data.draft")
        draft.mkdir(mode=0o700, exist_ok=True)
        self._account.own(draft)
        # Byte order for sorting; upper and lower case by Unicode.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        if self.version < 17:
            locale = ["--locale=C", "--lc-ctype=C.UTF-8"]
        command: list[str | Path] = [
            self.programs / "initdb",
            "-D",
            draft,
            "-U",
            "postgres",
            "--encoding=UTF8",
            "--auth=peer",
            *locale,
        ]
        subprocess.run(  # noqa: S603  # an interrupted attempt may have left files
            ["/bin/sh", "-c", 'rm -rf -- "$1"/* ', "sh", draft], check=True, cwd="/", **self._account.run_as()
        )
        self._run(command, program="initdb")
        draft.rename(data)

    def _launch(self, data: Path, record: Record) -> None:
        postgres_processes.end_leftovers(data)
        # Stale: their process does not run, even if its id still exists because init has not reaped it yet.
        for file in (data / postgres_processes.PID_FILE, Path(record.socket) / f".s.PGSQL.{PORT}.lock"):
            file.unlink(missing_ok=True)
        self._write_access_rules(data)
        settings = {**self._settings, "unix_socket_directories": record.socket}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        with open_private(self.log, "ab") as log:
            begin = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(  # noqa: S603  # our own binary
                [self.programs / "postgres", "-D", data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=self._environment(),
                start_new_session=True,
                umask=0o077,
                **self._account.run_as(),
            )
        self._wait_until_ready(data, self._process, begin)

    def _wait_until_ready(self, data: Path, process: "subprocess.Popen[bytes]", log_begin: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not postgres_processes.accepts_connections(data, process.pid):
            if process.poll() is not None:
                raise EmbeddedError(f"the embedded PostgreSQL did not start: {self._last_error(log_begin)}")
            if time.monotonic() > deadline:
                raise EmbeddedError(f"the embedded PostgreSQL is not ready after {START_SECONDS:.0f} s; see {self.log}")
            time.sleep(0.01)

    def _last_error(self, log_begin: int) -> str:
        with self.log.open("rb") as log:
            log.seek(log_begin)
            lines = log.read(65536).decode(errors="replace").rstrip("\n").split("\n")
        fatal = [line for line in lines if "FATAL:" in line or "PANIC:" in line] or lines[-1:]
        return f"{fatal[-1].split(': ', 1)[-1].strip() or 'no message'} (see {self.log})"

    def _write_access_rules(self, data: Path) -> None:
        # Peer identity for the superuser, a password for everybody else; there is no network line at all.
        accounts = [self._account.name, "root"] if self._account.switch else [self._account.name]
        names = "".join(f'bandstand "{name}" postgres\n' for name in accounts)
        rules = "local all,replication postgres peer map=bandstand\nlocal all all scram-sha-256\n"
        for file, content in (("pg_hba.conf", rules), ("pg_ident.conf", names)):
            # The folder belongs to the account: as root, do not follow symlinks in it.
            descriptor = os.open(data / file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "w", encoding="utf-8") as rules_file:
                rules_file.write(f"# Written anew at every start.\n{content}")

    def _prepare(self, record: Record) -> None:
        self._run(
            [self.programs / "psql", "-X", "-q", "-h", record.socket, "-p", str(PORT), "-U", "postgres", "template1"],
            program="psql",
            script=f"\\set password '{record.password}'\n{PREPARE_SQL}",
        )

    def _run(self, command: Sequence[str | Path], *, program: str, script: str = "") -> None:
        result = subprocess.run(  # noqa: S603  # our own binaries
            command,
            input=script.encode(),
            capture_output=True,
            check=False,
            cwd="/",
            env=self._environment(),
            **self._account.run_as(),
        )
        if result.returncode != 0:
            lines = (result.stderr + result.stdout).decode(errors="replace").strip().split("\n")
            error_lines = [line for line in lines if "ERROR: " in line or "FATAL: " in line or "error: " in line]
            raise EmbeddedError(f"{program} failed: {(error_lines or lines[-1:])[0] or 'no message'}")

    def _environment(self) -> dict[str, str]:
        # Not inherited: the environment holds secrets, and PG* variables would redirect the programs.
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None
