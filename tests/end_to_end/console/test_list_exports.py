"""Lists as files: who may, what is in them, how often, and what is recorded."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test import AsyncClient, Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts.admin import list_exports
from accounts.admin.list_exports import EXPORTS_PER_HOUR, begin_export
from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.admin import export_columns
from agents.models import Agent, AgentSession, Message, Turn
from console import list_export
from console.list_export import FileFormat
from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.errors import Forbidden, RateLimited
from scheduling.models import JobRun
from tests.support.console_pages import session_with_a_turn
from tests.support.consoles import client_of, list_of
from tests.support.people import agent, person

YES = {"confirm": "yes", "file_format": "jsonl"}


@pytest.fixture(autouse=True)
def _nobody_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_exports, "_active", {})


@pytest.fixture
def olga(db: None) -> User:
    return person("olga", Role.OPERATOR)


def begin(user: User, model: Any, query: str = "", *, file_format: str = "jsonl", **options: Any) -> Any:
    page: Any = admin.site._registry[model]
    request = RequestFactory().get(f"/?{query}")
    request.user = user
    values = {"with_contents": False, "is_limited": False, **options}
    changelist = page.get_changelist_instance(request)
    return begin_export(user_actor(user), page, changelist, file_format=FileFormat(file_format), **values)


def lines(user: User, model: Any, query: str = "", **options: Any) -> list[dict[str, Any]]:
    """The lines of the file. Its pieces are made here as a database thread would make them."""
    return [json.loads(line) for line in b"".join(begin(user, model, query, **options).pieces()).splitlines()]


def questions(*texts: str) -> Iterator[Turn]:
    demo = Agent.objects.filter(slug="demo").first() or agent()
    for number, text in enumerate(texts):
        name = ("ada", "bob")[number % 2]
        user = User.objects.filter(username=name).first() or person(name, Role.USER)
        yield session_with_a_turn(user, demo, text).turns.get()


def test_the_file_holds_what_the_list_holds_page_by_page(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_exports, "PAGE_ROWS", 2)
    turns = list(questions("a", "b", "c", "d", "e"))
    first = turns[0]
    Turn.objects.create(
        agent_session=first.agent_session, user=first.user, release=first.release, ordinal=9, status="failed",
        fingerprint=b"", deadline_at=now() + timedelta(hours=1), finished_at=now(), error_class="transient",
    )  # fmt: skip
    rows = lines(olga, Turn)
    assert [row["id"] for row in rows[1:]] == [str(turn.pk) for turn in reversed(turns)]
    assert (rows[0]["number"], rows[0]["status"], rows[0]["user"], rows[0]["agent"]) == (2, "failed", "ada", "demo")
    assert rows[0]["cost_usd"] is rows[0]["input_tokens"] is None
    assert "question" not in rows[0]
    assert [row["user"] for row in lines(olga, Turn, "user=ada&state=queued")] == ["ada"] * 3
    assert [row["user"] for row in lines(olga, Turn, f"q=bob&before={first.pk}")] == ["bob"] * 2
    assert [(row["turns"], row["open_turns"]) for row in lines(olga, AgentSession, "user=ada")] == [
        (1, 0),
        (1, 0),
        (2, 0),
    ]
    # Every page is a transaction of its own, however many there are.
    export = begin(olga, Turn)
    with CaptureQueriesContext(connection) as queries:
        assert len(list(export.pieces())) == 4
    assert sum(query["sql"].startswith("SAVEPOINT") for query in queries) == 4
    monkeypatch.setattr(
        list_exports, "list_pages", lambda *args, **kwargs: list_export.list_pages(*args, **kwargs, max_rows=3)
    )
    assert len(lines(olga, Turn)) == 3


def test_what_was_said_is_for_those_who_may_read_it(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    [turn, _] = questions("=secret", "x" * 200)
    answer = [{"type": "text", "text": "Forty-two"}]
    Message.objects.create(agent_session=turn.agent_session, ordinal=2, author="agent", parts=answer, turn=turn)
    monkeypatch.setattr(export_columns, "_MAX_BYTES", 150)
    rows = lines(olga, Turn, with_contents=True)
    assert [(row["question"], row["answer"]) for row in rows] == [
        ("(too long for a list: see the transcript)", None),
        ("=secret", "Forty-two"),
    ]
    [_, *table] = csv.reader(
        io.StringIO(b"".join(begin(olga, Turn, file_format="csv", with_contents=True).pieces()).decode())
    )
    assert table[1][-2:] == ["'=secret", "Forty-two"]
    assert [row["title"] for row in lines(olga, AgentSession, with_contents=True)] == ["Hello", "Hello"]
    assert "title" not in lines(olga, AgentSession)[0]
    Agent.objects.get().groups.add(Group.objects.create(name="lawyers"))
    assert [row["question"] for row in lines(olga, Turn, with_contents=True)] == [None, None]
    assert [row["title"] for row in lines(olga, AgentSession, with_contents=True)] == [None, None]
    with pytest.raises(Forbidden):
        begin(olga, AuditEntry, with_contents=True)


def test_each_export_is_recorded_and_lists_of_the_platform_have_one_too(olga: User) -> None:
    JobRun.objects.create(job="test", asked_by="tests", status="done", finished_at=now())
    [row] = lines(olga, JobRun, "status__exact=done")
    assert (row["job"], row["error"]) == ("test", "")
    [own, row] = lines(olga, AuditEntry, "target=contenttype")
    assert own["detail"]["filters"] == {"object": "list"}
    assert (row["actor"], row["action"]) == ("olga", "list.exported")
    assert row["detail"] == {"contents": False, "format": "jsonl", "filters": {"status": "Done"}}
    assert AuditEntry.objects.filter(action="list.exported").count() == 2


def test_what_was_searched_for_is_not_in_the_trail(olga: User) -> None:
    lines(olga, Turn, "words=my+secret")
    lines(olga, AgentSession, "q=another+secret")
    details = [entry.detail["filters"] for entry in AuditEntry.objects.filter(action="list.exported").order_by("id")]
    assert details == [{"words": "(not recorded)"}, {"search": "(not recorded)"}]
    names = AuditEntry.objects.filter(action="list.exported").order_by("id").values_list("target_name", flat=True)
    assert list(names) == ["Turns", "Sessions"]


def test_who_loses_the_right_gets_no_further_page(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_exports, "PAGE_ROWS", 1)
    list(questions("a", "b"))
    pieces = begin(olga, Turn).pieces()
    assert [next(pieces), bool(next(pieces))] == [b"", True]
    olga.groups.clear()
    with pytest.raises(Forbidden):
        next(pieces)


def test_exports_of_a_person_are_bounded(olga: User, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(olga, Turn, is_limited=True)
    with pytest.raises(RateLimited, match="still runs"):
        begin(olga, Turn, is_limited=True)
    monkeypatch.setattr(list_exports, "IDLE_SECONDS", 0.0)  # nobody reads it any more
    for _ in range(EXPORTS_PER_HOUR - 1):
        begin(olga, Turn, is_limited=True)
    with pytest.raises(RateLimited):
        begin(olga, Turn, is_limited=True)
    assert AuditEntry.objects.filter(action="list.exported").count() == EXPORTS_PER_HOUR
    client = Client()
    client.force_login(olga)
    refused = client.post(f"{list_of(Turn)}export/?state=failed", YES)
    assert (refused.status_code, refused["Location"]) == (302, "../?state=failed")
    assert len(list(get_messages(refused.wsgi_request))) == 1


@pytest.mark.django_db
def test_the_page_asks_first_and_only_those_who_may() -> None:
    olga, vera = client_of("olga", Role.OPERATOR), client_of("vera", Role.VIEWER)
    address = f"{list_of(Turn)}export/?state=any_failed"
    page = olga.get(address)
    assert page.context["facts"] == [("Status", "failed or expired")]
    assert "With what was said" in page.content.decode()
    assert "With what was said" not in olga.get(f"{list_of(AuditEntry)}export/").content.decode()
    assert 'href="export/?state=any_failed"' in olga.get(f"{list_of(Turn)}?state=any_failed").content.decode()
    assert "export/" not in vera.get(list_of(Turn)).content.decode()
    assert olga.post(address, YES | {"file_format": "xlsx"}).status_code == 200  # asks again
    assert [client.post(f"{list_of(Turn)}export/?title=x", YES).status_code for client in (olga, vera)] == [400, 403]
    assert not AuditEntry.objects.filter(action="list.exported").exists()


@pytest.mark.usefixtures("transactional_db")
async def test_the_download_is_a_stream_of_its_pages() -> None:
    def start() -> User:
        list(questions("a", "b"))
        return person("olga", Role.OPERATOR)

    olga = await in_db_thread(start)
    client = AsyncClient()
    await client.aforce_login(olga)
    response = await client.post(f"{list_of(Turn)}export/?user=ada", YES, headers={"accept-encoding": "gzip"})
    # Django compresses each piece of a stream by itself, and browsers read the first one only.
    assert "Content-Encoding" not in response
    assert response["Content-Type"] == "application/x-ndjson"
    assert "no-store" in response["Cache-Control"]
    assert response["Content-Disposition"].startswith('attachment; filename="turns-20')
    chunks = [chunk async for chunk in response.streaming_content]  # type: ignore[attr-defined]
    assert [json.loads(chunk)["user"] for chunk in chunks if chunk] == ["ada"]
    assert list_exports._active == {}
    await sync_to_async(connections.close_all)()


def test_the_command_writes_the_same_file(olga: User, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    list(questions("a", "b"))
    person("eve", Role.VIEWER)
    call_command("export_list", "turns", "--user", "olga", "--filter", "user=bob", "--contents")
    [line] = capfdbinary.readouterr().out.splitlines()
    assert json.loads(line)["question"] == "b"
    for options in (
        ["turns", "--user", "eve"],
        ["turns", "--user", "nobody"],
        ["turns", "--user", "olga", "--filter", "x"],
        ["turns", "--user", "olga", "--filter", "title=x"],
        ["job-runs", "--user", "olga", "--contents"],
    ):
        with pytest.raises(CommandError):
            call_command("export_list", *options)
