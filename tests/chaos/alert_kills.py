"""`python -m tests.chaos.alert_kills --kills 500`: the evaluator and the notifier of alerts, killed while alerts fire.

The alerts must be those of an evaluator that nobody kills, to the second; each notification must arrive, and at most
twice. After a kill that hit a delivery, the one that makes up for it is waited for: none is hit twice.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import psycopg

from bandstand.embedded import Cluster
from tests.chaos.alert_lives import INTERVAL, START, THRESHOLD, values_of
from tests.support import database
from tests.support.surroundings import ROOT, environment

if TYPE_CHECKING:
    from monitoring.models import AlertRule

DATABASE: Final = "alerts"
# At random: how long a life lasts after it has done so much.
LIFE_SECONDS: Final = (0.0, 0.04)
LIFE_PASSES: Final = 2
END_SECONDS: Final = 60.0
# How long a receiver thinks, so that there is something to hit.
ANSWER_SECONDS: Final = 0.01
RULES: Final[tuple[dict[str, Any], ...]] = (
    {"name": "each", "group_by": ["host"], "grouping": "alert", "for_seconds": 40, "keep_firing_for_seconds": 20},
    {"name": "together", "group_by": ["host"], "grouping": "rule", "for_seconds": 20, "repeat_seconds": 120},
    {"name": "single", "for_seconds": 60, "repeat_seconds": 0},
)
CHANNELS: Final = {"each": ("first", "second"), "together": ("first",), "single": ("second",)}

Episode = tuple[str, str, datetime, datetime, datetime]


@dataclass
class Report:
    """What came of it. `faults` is empty when every promise was kept."""

    kills: int = 0
    passes: int = 0
    transactions: int = 0
    deliveries: int = 0
    alerts: int = 0
    notifications: int = 0
    duplicates: int = 0
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self) -> str:
        return (
            f"{self.kills} kills, {self.transactions} in a transaction, {self.deliveries} in a delivery; "
            f"{self.passes} passes, {self.alerts} alerts, {self.notifications} notifications, "
            f"{self.duplicates} of them twice, {len(self.faults)} faults, {self.seconds:.0f} s"
        )


class Receiver:
    """Counts what arrives: the channel's path and the message's id."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                receiver.arrivals.append((self.path.strip("/"), self.headers["webhook-id"]))
                threading.Event().wait(ANSWER_SECONDS)
                # Whoever asked may be dead.
                self.close_connection = True
                with suppress(OSError):
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A connection that a kill has reset."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.origin = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Lives:
    """The process that forks what is killed."""

    def __init__(self, url: str, folder: Path, origin: str) -> None:
        with (folder / "alerts.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.alert_lives"],
                cwd=ROOT,
                env=environment(DATABASE_URL=url, BANDSTAND_DATA_DIR=str(folder), BANDSTAND_ALERT_HOSTS=origin),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._life = 0

    def begin(self, *, calm: bool = False) -> None:
        """Start a life; in a calm one nothing is above a threshold any more."""
        self._life = int(self._ask("begin calm" if calm else "begin"))

    def stop(self) -> None:
        """Have it stand still, wherever it is."""
        os.kill(self._life, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on for a moment."""
        os.kill(self._life, signal.SIGCONT)
        time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        os.kill(self._life, signal.SIGKILL)
        self._ask("reap")

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that forks has ended"
        return answer


def kill_evaluators(url: str, folder: Path, *, kills: int, seed: int) -> Report:
    """Kill `kills` processes that evaluate and notify on the database at `url`, which is that of this process, too."""
    report, began, rng = Report(), time.monotonic(), random.Random(seed)
    receiver = Receiver()
    _seed(receiver.origin)
    lives = Lives(url, folder, receiver.origin)
    try:
        while report.kills < kills:
            lives.begin()
            _let_live(rng)
            _kill(lives, report)
        calm_from = _passes()
        lives.begin(calm=True)
        _wait(_is_calm, "an end of all alerts and deliveries")
        lives.kill()
    finally:
        lives.close()
        receiver.close()
    report.passes = _passes()
    report.faults += _compare_alerts(report, calm_from)
    report.faults += _compare_notifications(report, receiver.arrivals)
    report.seconds = time.monotonic() - began
    return report


def _let_live(rng: random.Random) -> None:
    """Every other life gets as far as a delivery, if one comes up, the others through a few passes; then it goes on for
    a moment."""
    passes = _passes() + rng.randint(1, LIFE_PASSES)
    is_courier = rng.random() < 0.5
    _wait(lambda: _passes() >= passes or bool(is_courier and _deliveries()), "a pass")
    time.sleep(rng.uniform(*LIFE_SECONDS))


def _kill(lives: Lives, report: Report) -> None:
    """A kill wherever the life is. One that hits deliveries is followed by those that make up for them."""
    lives.stop()
    hit = _deliveries()
    report.transactions += _is_connected(writes=True)
    lives.kill()
    report.kills += 1
    _expire_claims()
    if not hit:
        return
    report.deliveries += 1
    lives.begin()
    _wait(lambda: not _are_waiting(hit), "the deliveries that make up for those that were hit")
    lives.stop()
    while _deliveries():
        lives.go_on()
        lives.stop()
    lives.kill()


def _expire_claims() -> None:
    """As if the time had passed after which what a dead process claimed is anybody's."""
    from django.db.models.functions import Now

    from monitoring.models import NotificationChannel

    _wait(lambda: not _is_connected(), "an end of what was killed")
    NotificationChannel.objects.filter(claimed_until__gt=Now()).update(claimed_until=Now())


def _deliveries() -> list[UUID]:
    """The notifications whose delivery is under way."""
    from monitoring.models import DeliveryAttempt

    return list(DeliveryAttempt.objects.filter(finished_at=None).values_list("notification_id", flat=True))


def _are_waiting(ids: Sequence[UUID]) -> bool:
    from monitoring.models import Notification

    return Notification.objects.filter(pk__in=ids, state=Notification.State.WAITING).exists()


def _is_connected(*, writes: bool = False) -> bool:
    """Whether the server has a connection of a life, if asked for one that has written something uncommitted."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name = 'bandstand-runner' AND (backend_xid IS NOT NULL OR NOT %s)",
            [writes],
        )
        return bool(cursor.fetchone()[0])


def _is_calm() -> bool:
    from monitoring.models import Alert, Notification

    waiting = Notification.objects.filter(state=Notification.State.WAITING)
    return not Alert.objects.open().exists() and not waiting.exists() and not _deliveries()


def _passes() -> int:
    """How many passes were committed."""
    from monitoring.models import AlertRule

    last = AlertRule.objects.order_by("-evaluated_at").values_list("evaluated_at", flat=True)[0]
    return 0 if last is None else (last - START) // INTERVAL + 1


def _wait(condition: Callable[[], bool], what: str) -> None:
    ends_at = time.monotonic() + END_SECONDS
    while not condition():
        assert time.monotonic() < ends_at, f"there was never {what}"
        time.sleep(0.02)


def _seed(origin: str) -> None:
    """The rules, and the channels that lead to the receiver."""
    from monitoring.models import AlertRule, NotificationChannel
    from monitoring.notifications.channel_secrets import encrypt_secret, set_webhook_url
    from monitoring.notifications.senders.webhook import make_secret

    channels: dict[str, NotificationChannel] = {}
    for name in sorted({name for names in CHANNELS.values() for name in names}):
        row = NotificationChannel(name=name, kind=NotificationChannel.Kind.WEBHOOK)
        set_webhook_url(row, f"http://{origin}/{name}")
        row.secret = encrypt_secret(row, make_secret())
        row.save()
        channels[name] = row
    for values in RULES:
        rule = AlertRule.objects.create(
            metric="queue_depth", threshold=THRESHOLD, window_seconds=0, interval_seconds=INTERVAL.seconds, **values
        )
        rule.channels.set(channels[name] for name in CHANNELS[rule.name])


# --- what should be ---


def expected_episodes(rule: AlertRule, *, calm_from: int, passes: int) -> Iterator[Episode]:
    """The alerts of a rule that nobody interrupts: rule, labels, and when each was pending, fired and ended."""
    from monitoring.alerts.state_machine import INACTIVE, Change, evaluate, read_terms

    statuses: dict[Any, Any] = {}
    for number in range(passes):
        at = START + number * INTERVAL
        for labels, value in values_of(rule.group_by, number, calm=number >= calm_from).items():
            before = statuses.get(labels, INACTIVE)
            statuses[labels], change = evaluate(before, read_terms(rule), value, at)
            if change is Change.RESOLVED:
                yield rule.name, str(dict(labels)), before.pending_at, before.firing_at, at


def _compare_alerts(report: Report, calm_from: int) -> Iterator[str]:
    from monitoring.models import Alert, AlertRule

    expected = {
        episode
        for rule in AlertRule.objects.all()
        for episode in expected_episodes(rule, calm_from=calm_from, passes=report.passes)
    }
    rows = Alert.objects.select_related("rule")
    actual = [(row.rule.name, str(row.labels), row.pending_at, row.firing_at, row.resolved_at) for row in rows]
    report.alerts = len(actual)
    if len(set(actual)) != len(actual):
        yield "an alert is there twice"
    for episode in expected.symmetric_difference(actual):
        yield f"{'lost' if episode in expected else 'invented'}: {' '.join(map(str, episode))}"


def _compare_notifications(report: Report, arrivals: Sequence[tuple[str, str]]) -> Iterator[str]:
    from monitoring.models import Alert, Notification

    rows = list(Notification.objects.select_related("channel", "rule"))
    queued = Counter((row.channel.name, f"{row.kind}-{row.dedup_key}") for row in rows)
    arrived = Counter(arrivals)
    report.notifications, report.duplicates = len(rows), sum(number > 1 for number in arrived.values())
    yield from (f"queued twice: {key}" for key, number in queued.items() if number > 1)
    yield from (f"lost: {key}" for key in queued.keys() - arrived.keys())
    yield from (f"invented: {key}" for key in arrived.keys() - queued.keys())
    yield from (f"{number} times: {key}" for key, number in arrived.items() if number > 2)
    yield from (f"{row.state}: {row}" for row in rows if row.state != Notification.State.SENT)
    for group_key, rule in set(Alert.objects.values_list("group_key", "rule__name")):
        members = set(Alert.objects.filter(group_key=group_key).values_list("pk", flat=True))
        for channel in CHANNELS[rule]:
            of_group = Notification.objects.filter(channel__name=channel, alerts__group_key=group_key)
            ends = of_group.filter(kind=Notification.Kind.RESOLVED).values("pk").distinct().count()
            if members != set(of_group.values_list("alerts", flat=True)) or ends != 1:
                yield f"{channel} does not hear of all of {rule} {group_key}, or of {ends} ends"
    order = [message for _, message in arrivals]
    for kind, key in (message.split("-", 1) for message in set(order)):
        if kind == "resolved" and order.index(f"resolved-{key}") < order.index(f"firing-{key}"):
            yield f"{key} ended before it began"


# --- the command ---


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.alert_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("DATABASE_URL", None)
    database.set_environment()
    home = database.take_slot(ROOT / ".cache" / "chaos")
    cluster = Cluster(home / "cluster")
    print(f"seed {options.seed}", flush=True)
    try:
        url = _make_database(cluster.start(), home / "alerts")
        report = kill_evaluators(url, home / "alerts", kills=options.kills, seed=options.seed)
    finally:
        cluster.stop()
    print(report.line(), *report.faults, sep="\n  ", flush=True)
    return 1 if report.faults else 0


def _make_database(base: str, folder: Path) -> str:
    """A database of its own, which Django in this process uses from now on."""
    import django

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    template = database.make_template(base)
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}".encode())
        connection.execute(f"CREATE DATABASE {DATABASE} TEMPLATE {template}".encode())
    url = urlunsplit(urlsplit(base)._replace(path=f"/{DATABASE}"))
    os.environ |= {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "bandstand.settings", "BANDSTAND_ROLE": "command"}
    django.setup()
    return url


if __name__ == "__main__":
    raise SystemExit(main())
