"""Canaries: a secret in each key, password, prompt and header of a running installation, and where they must not come
out: log lines, error answers, error reports, what `manage.py` prints, and rows that a dump would carry away."""

from __future__ import annotations

import gzip
import json
import tempfile
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, LiteralString

import brotli
import psycopg
import pytest
from psycopg import sql
from websockets.sync.client import connect

from bandstand.embedded.record import Record
from tests.support.mailbox import Mailbox
from tests.support.running import Running, wait_for
from tests.support.surroundings import share_static_files

PROMPT = "canary-prompt-Lq7w"
# What is a secret from the environment, and what people type or send along.
PROVIDER, MAIL, METRICS = "sk-canary-provider-R2d8", "canary-mail/Tz5p", "canary-metrics-token-Kq8s"
GUESS, HEADER, QUERY = "canary-guess-Hn3c", "canary-header-Vb9k", "canary-query-Ws4j"
# A password where the name belongs.
NAME = "canary-name-Jf6m"
# The token in the address of a channel for notifications of alerts.
CHANNEL = "canary-channel-Gt5x"
BAD_KEY = "bs_canarybadkey_" + "Xy7Qw2" * 7 + "Z"


@dataclass
class Outside:
    """A provider that repeats in its refusals whatever it was told, and a place where error reports arrive."""

    reports: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


# The SDK takes Brotli where it is installed.
_UNPACK: Final[dict[str | None, Callable[[bytes], bytes]]] = {
    None: bytes,
    "gzip": gzip.decompress,
    "br": brotli.decompress,
}


def _handler(outside: Outside) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if "envelope" in self.path:
                outside.reports.append(_UNPACK[self.headers.get("Content-Encoding")](body).decode())
                self.reply(200, {})
                return
            told = f"{self.headers['Authorization']} said {body.decode()} to {self.path}"
            outside.asked.append(told)
            self.reply(401, {"error": {"message": f"Incorrect API key provided: {told}", "code": "invalid_api_key"}})

        def reply(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Quiet."""

    return Handler


@dataclass
class House:
    """The installation, and all that came out of it."""

    running: Running
    outside: Outside
    secrets: dict[str, str]
    answers: list[tuple[int, str]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)

    def ask(self, path: str, body: Any = None, *, opener: Any = None, method: str | None = None, **headers: str) -> str:
        """The text of an answer; all answers are kept."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        request = urllib.request.Request(self.address + path, data, sent, method=method)
        try:
            with (opener or urllib.request.build_opener()).open(request, timeout=60) as answer:
                status, text = answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read().decode()
        self.answers.append((status, text))
        return str(text)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.running.port}"

    def logged(self) -> str:
        return "".join(path.read_text("utf-8", "replace") for path in (self.running.data_dir / "logs").iterdir())

    def change(self, statement: LiteralString) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute(statement)

    @property
    def _url(self) -> str:
        record = Record.read(self.running.data_dir)
        assert record is not None
        return record.url

    def rows(self) -> str:
        """Every row of every table, as text."""
        with psycopg.connect(self._url) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            found = [
                connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))).fetchall()
                for (name,) in tables
            ]
        return "\n".join(text for rows in found for (text,) in rows)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    outside = Outside()
    with tempfile.TemporaryDirectory(prefix="bandstand-test-") as name, Mailbox() as box:
        Path(name).chmod(0o711)
        box.greeting = "554 no mail here"
        share_static_files(Path(name) / "data")
        running = Running(
            Path(name) / "data",
            OPENAI_API_KEY=PROVIDER,
            OPENAI_BASE_URL=f"http://{outside.address}/v1",
            BANDSTAND_MODEL="openai:canary",
            EMAIL_URL=f"smtp://bandstand:{urllib.parse.quote(MAIL, safe='')}@127.0.0.1:{box.port}",
            EMAIL_FROM="chat@example.org",
            SENTRY_DSN=f"http://public@{outside.address}/1",
            BANDSTAND_METRICS_TOKEN=METRICS,
            BANDSTAND_ALERT_HOSTS=outside.address,
            LOG_LEVEL="DEBUG",
            BANDSTAND_LOG_FORMAT="json",
        )
        try:
            running.wait_until_ready()
            made = _live(
                House(running, outside, {"provider": PROVIDER, "mail": MAIL, "metrics": METRICS, "guess": GUESS})
            )
            yield made
        finally:
            running.end()
            outside.server.shutdown()
            outside.server.server_close()


def _live(house: House) -> House:
    """Everybody says their secrets, at every door."""
    running = house.running
    login = (running.data_dir / "login.txt").read_text()
    house.secrets["password"] = login.split("password: ")[1].strip()
    house.secrets |= {path.name: path.read_text().strip() for path in (running.data_dir / "keys").iterdir()}
    house.secrets["key"] = running.manage("create_api_key", "--user", "owner", "--scopes", "chat,read,manage").strip()
    house.secrets["bad key"] = BAD_KEY
    house.change("UPDATE accounts_user SET email = 'owner@example.org'")
    house.secrets["link"] = _in_a_browser(house)
    _in_programs(house, house.secrets["key"])
    # An error that is reported, from the process that knows the mail server's password.
    wait_for(lambda: any("mail.failed" in report for report in house.outside.reports), 120)
    for command in (["check"], ["unlock_account", "owner"]):
        house.printed.append(running.manage(*command))
    _in_notifications(house)
    return house


def _in_notifications(house: House) -> None:
    """A channel whose receiver refuses, and repeats the channel's token."""
    file = house.running.data_dir / "channel.txt"
    file.write_text(f"http://{house.outside.address}/{CHANNEL}")
    house.printed.append(house.running.manage("alerts", "channels", "add", "slack", "--secret-file", str(file)))
    file.unlink()
    house.secrets["channel"] = CHANNEL
    # Queued here, so that it is sent by the installation's own processes.
    house.change(
        "INSERT INTO monitoring_notification (id, channel_id, kind, dedup_key, content, state, attempts, requested_by, "
        "priority) "
        "SELECT gen_random_uuid(), id, 'firing', 'one', "
        """'{"title": "slow", "incident_key": "one"}', 'waiting', 0, '', 2 FROM monitoring_notificationchannel """
        "WHERE name = 'slack'"
    )
    wait_for(lambda: any("notification.failed" in report for report in house.outside.reports), 60)


def _in_a_browser(house: House) -> str:
    """Signs in, wrongly and rightly, asks for links, makes one; the token of the link."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar := CookieJar()))

    def form(path: str, **fields: str) -> str:
        house.ask(path, opener=opener)
        token = next(cookie.value for cookie in jar if "csrf" in cookie.name)
        body = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": str(token)}).encode()
        return house.ask(path, body, opener=opener, Content_Type="application/x-www-form-urlencoded")

    form("/login/", username="owner", password=GUESS)
    form("/login/", username=NAME, password=GUESS)
    form("/password/forgotten/", who=NAME)
    form("/password/forgotten/", who="owner")
    form("/login/", username="owner", password=house.secrets["password"])
    house.secrets["login"] = str(next(cookie.value for cookie in jar if cookie.name.startswith("bandstand")))
    form("/account/password/", old_password=GUESS, new_password1=GUESS, new_password2=GUESS)
    page = form("/admin/accounts/user/1/password-link/", confirm="yes", way="hand")
    path = page.split(f'value="{house.address}')[1].split('"')[0]
    house.ask(path, opener=opener)
    house.ask(path.replace("/password/", "/password/x"), opener=opener)
    house.answers.pop(-3)  # the page that shows the link is the one place for it
    return str(path.split("/")[-2])


def _in_programs(house: House, key: str) -> None:
    mine = {"Authorization": f"Bearer {key}", "X_Anything": HEADER, "User_Agent": HEADER, "X_Request_Id": HEADER}
    session = json.loads(house.ask("/api/v1/sessions", {"agent": "demo"}, **mine))["id"]
    turns = f"/api/v1/sessions/{session}/turns"
    house.ask(turns, {"input": PROMPT}, **mine, Prefer="wait=30", Idempotency_Key="one")
    house.ask(turns, {"input": PROMPT, "unknown": PROMPT}, **mine)
    house.ask(turns, {"input": f"{PROMPT}\ud800"}, **mine)
    house.ask(turns, f'{{"input": "{PROMPT}"'.encode(), **mine)
    house.ask(f"/api/v1/sessions?search={QUERY}&limit={QUERY}", **mine)
    house.ask(f"/api/v1/sessions/{QUERY.upper()}", **mine)
    house.ask(f"/nowhere?{QUERY}", **mine)
    chat = {
        "model": "demo",
        "messages": [{"role": "user", "content": PROMPT}],
        "user": PROMPT,
        "metadata": {"a": PROMPT},
    }
    house.ask("/v1/chat/completions", chat, **mine)
    house.ask("/v1/chat/completions", chat | {"temperature": PROMPT}, **mine)
    house.ask("/v1/chat/completions", chat | {"messages": [{"role": PROMPT, "content": PROMPT}]}, **mine)
    # Keys where they do not belong, and keys that are none.
    for wrong in (BAD_KEY, PROVIDER, f"{key}x"):
        house.ask("/api/v1/sessions", Authorization=f"Bearer {wrong}")
        house.ask("/v1/models", Authorization=f"Bearer {wrong}")
        house.ask("/api/v1/sessions", X_Api_Key=wrong)
    house.ask(f"/api/v1/sessions?api_key={key}")
    house.ask(f"/api/v1/{key}", Cookie=f"bandstand_1={key}")
    house.ask("/api/v1/sessions", Authorization=f"Basic {key}")
    assert "bandstand_turns_total" in house.ask("/metrics", Authorization=f"Bearer {METRICS}")
    for token in (f"{METRICS}x", key):
        house.ask(f"/metrics?token={METRICS}", Authorization=f"Bearer {token}")
    house.ask("/api/v1/sessions", Authorization=f"Bearer {METRICS}")
    _over_a_socket(house, session, key)


def _over_a_socket(house: House, session: str, key: str) -> None:
    address = f"ws://127.0.0.1:{house.running.port}/ws/sessions/{session}/"
    with connect(address, additional_headers={"Authorization": f"Bearer {key}"}, subprotocols=["bandstand.v1"]) as ws:  # type: ignore[list-item]
        for frame in ({"type": PROMPT}, {"type": "message.create", "text": PROMPT}, {"type": "ping", PROMPT: PROMPT}):
            ws.send(json.dumps(frame))
        ws.send(PROMPT)
        ws.send(json.dumps({"type": "message.create", "client_msg_id": "two", "text": PROMPT}))
        while "turn.failed" not in (said := str(ws.recv(timeout=60))):
            kind = json.loads(said)["type"]
            house.answers.append((400 if kind == "error" else 200, said))


def found_in(text: str, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if secret in text]


def people_said(house: House) -> dict[str, str]:
    return house.secrets | {"prompt": PROMPT, "header": HEADER, "query": QUERY, "name": NAME}


def test_the_provider_was_told_its_key_and_the_prompt(house: House) -> None:
    """Else there would be nothing to find."""
    assert any(PROVIDER in asked and PROMPT in asked for asked in house.outside.asked)
    assert any(CHANNEL in asked for asked in house.outside.asked)


def test_no_log_line_holds_one(house: House) -> None:
    logged = house.logged()
    assert "login.failed" in logged
    assert "mail.failed" in logged
    assert "notification.failed" in logged
    assert found_in(logged, people_said(house)) == []


def test_no_error_report_holds_one(house: House) -> None:
    assert any("mail.failed" in report for report in house.outside.reports)
    assert found_in("\n".join(house.outside.reports), people_said(house)) == []


def test_no_answer_repeats_a_secret_and_no_error_what_was_said(house: House) -> None:
    assert sum(status >= 400 for status, _ in house.answers) > 20
    for status, text in house.answers:
        assert status != 500, text
        repeated = people_said(house) if status >= 400 else house.secrets
        assert found_in(text, repeated) == [], (status, text)


def test_no_command_prints_one(house: House) -> None:
    assert "did not have to wait" in "".join(house.printed)
    assert found_in("\n".join(house.printed), people_said(house)) == []


def test_no_row_holds_a_secret_and_what_was_said_is_where_it_belongs(house: House) -> None:
    rows = house.rows()
    assert PROMPT in rows
    assert "The receiver answers 401: " in rows
    assert found_in(rows, {"name": NAME, "header": HEADER, "query": QUERY}) == []
    # Django's own rows of logins hold their keys; a dump is as private as its conversations.
    assert found_in(rows, {name: secret for name, secret in house.secrets.items() if name != "login"}) == []
