"""The traces of a turn that really ran: in the console, by the command, and in the export of its session."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.core.management import CommandError, call_command
from django.db import connections
from django.test import AsyncClient, Client
from django.urls import reverse

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import Agent, Step, Turn
from agents.tools.toolbox import Toolbox
from foundation.db_threads import in_db_thread
from foundation.errors import Forbidden, NotFound
from monitoring.trace.export import SessionExport, begin_export, export_pieces
from tests.support.conversations import Conversation
from tests.support.people import person
from tests.support.scripted import Outcome, calls, says, scripted
from tests.support.turns import begin, run

pytestmark = pytest.mark.usefixtures("transactional_db")

SECRET = "sk-canary-0123456789abcdef"


class RealSpecs:
    """Tools of the test that describe themselves as the installed ones do."""

    def __init__(self, tools: Any) -> None:
        self._tools, self._box = tools, Toolbox()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._box if name == "specs" else self._tools, name)


async def noon(_: str) -> Outcome:
    return Outcome(f"noon, by {SECRET}")


async def asked(*replies: Any) -> Conversation:
    """A session with one turn that has called a tool and answered."""
    ada = await begin("What is the time?", tools=["clock"])
    services, _, _ = scripted(*replies or (calls(("a", "clock", "{}")), says("It is noon.")), tools={"clock": noon})
    object.__setattr__(services, "tools", RealSpecs(services.tools))
    await run(services)
    return ada


async def page_as(role: Role, name: str, *args: Any) -> Any:
    def get() -> Any:
        client = Client()
        client.force_login(person(f"p-{uuid4()}", role))
        return client.get(reverse(f"admin:{name}", args=args))

    return await in_db_thread(get)


async def first(rows: Callable[[], Any]) -> Any:
    return await in_db_thread(rows)


async def test_the_page_of_a_turn_shows_its_parts_and_where_the_time_went() -> None:
    ada = await asked()
    turn = await in_db_thread(ada.turn)
    answer = await page_as(Role.VIEWER, "agents_turn_trace", turn.pk)
    text = answer.content.decode()
    assert answer.status_code == 200
    for expected in (
        "1. ",
        "2. clock",
        "3. ",
        "queue",
        "It had 2 calls of models, 1 call of a tool.",
        "req-1",
        "noon, by",
    ):
        assert expected in text, expected
    assert (await page_as(Role.VIEWER, "agents_turn_trace", uuid4())).status_code == 404


async def test_what_was_sent_is_proved_on_its_page_and_only_for_those_who_may_read() -> None:
    ada = await asked()
    step = await first(lambda: Step.objects.filter(kind="model").order_by("-number")[0])
    text = (await page_as(Role.VIEWER, "agents_step_sent", step.pk)).content.decode()
    assert "This is exactly what was sent" in text
    assert "What is the time?" in text
    assert "It is noon." in text

    def close() -> None:
        agent = Agent.objects.get(sessions=ada.session_id)
        from django.contrib.auth.models import Group

        agent.groups.add(Group.objects.create(name="few"))

    await in_db_thread(close)
    assert (await page_as(Role.OPERATOR, "agents_step_sent", step.pk)).status_code == 403
    turn = await in_db_thread(ada.turn)
    text = (await page_as(Role.OPERATOR, "agents_turn_trace", turn.pk)).content.decode()
    assert "What was said is hidden" in text
    assert "noon, by" not in text
    assert (await page_as(Role.OPERATOR, "agents_agentsession_export_traces", ada.session_id)).status_code == 403


def exported(export: SessionExport, **bounds: Any) -> Any:
    return json.loads(b"".join(export_pieces(export, **bounds)))


async def test_the_export_holds_everything_but_secrets_and_is_noted() -> None:
    ada = await asked()

    def read() -> tuple[Any, Any, Any]:
        export = begin_export(Actor.system("tests"), ada.session_id)
        return exported(export), exported(export, max_bytes=1), exported(export, max_request_bytes=-1)

    whole, small, unbuilt = await in_db_thread(read)
    [turn] = whole["turns"]
    assert [step["kind"] for step in turn["steps"]] == ["model", "tool", "model"]
    assert [step["sent"]["equal"] for step in turn["steps"] if step["kind"] == "model"] == [True, True]
    assert turn["steps"][2]["sent"]["messages"][-1] == {
        "role": "tool",
        "text": "noon, by [scrubbed]",
        "tool_call_id": "a",
    }
    assert SECRET not in json.dumps(whole)
    assert [message["author"] for message in turn["messages"]] == ["user", "agent"]
    assert whole["left_out"] == {"turns": 0, "requests": 0}
    assert (small["turns"], small["left_out"]) == ([], {"turns": 1, "requests": 0})
    assert unbuilt["left_out"] == {"turns": 0, "requests": 2}
    assert await first(lambda: AuditEntry.objects.filter(action="traces.exported").count()) == 1

    def refuse() -> None:
        with pytest.raises(Forbidden):
            begin_export(user_actor(person("vera", Role.VIEWER)), ada.session_id)
        with pytest.raises(NotFound):
            begin_export(Actor.system("tests"), uuid4())

    await in_db_thread(refuse)


async def test_a_browser_downloads_the_whole_export() -> None:
    ada = await asked()
    client = AsyncClient(headers={"accept-encoding": "gzip"})
    await client.aforce_login(await in_db_thread(person, "olga", Role.OPERATOR))
    address = reverse("admin:agents_agentsession_export_traces", args=[ada.session_id])
    answer: Any = await client.post(address, {"confirm": "yes"})
    assert answer["Content-Disposition"] == f'attachment; filename="traces-{ada.session_id}.json"'
    assert answer["Content-Encoding"] == "identity"
    whole = json.loads(b"".join([piece async for piece in answer.streaming_content]))
    assert len(whole["turns"]) == 1
    await sync_to_async(connections.close_all)()


async def test_the_command_shows_exports_and_begins_debug_mode(tmp_path: Path) -> None:
    ada = await asked()
    turn: Turn = await in_db_thread(ada.turn)

    def traces(*arguments: str) -> str:
        out = io.StringIO()
        call_command("traces", *arguments, stdout=out, stderr=io.StringIO())
        return out.getvalue()

    def use() -> None:
        assert "2. clock" in traces("show", str(turn.pk))
        shown = json.loads(traces("show", str(turn.pk), "--json"))
        assert (shown["summary"]["model_calls"], shown["summary"]["tool_calls"]) == (2, 1)
        file = tmp_path / "traces.json"
        traces("export", str(ada.session_id), "--out", str(file))
        assert json.loads(file.read_bytes())["session"]["id"] == str(ada.session_id)
        assert file.stat().st_mode & 0o077 == 0
        assert "Nothing is in debug mode." in traces("debug")
        [mode] = json.loads(traces("debug", "on", "--session", str(ada.session_id), "--reason", "Why?", "--json"))
        assert (mode["session"], mode["reason"]) == (str(ada.session_id), "Why?")
        assert "agent special  until" in traces("debug", "on", "--agent", "special", "--for", "10m", "--reason", "Why?")
        assert "Nothing is in debug mode." in traces("debug", "off", "--agent", "special")
        for wrong in (
            ["show", str(uuid4())],
            ["export", str(uuid4())],
            ["debug", "on", "--reason", "Why?"],
            ["debug", "on", "--agent", "special"],
            ["debug", "on", "--agent", "nobody", "--reason", "Why?"],
            ["debug", "on", "--agent", "special", "--for", "soon", "--reason", "Why?"],
        ):
            with pytest.raises(CommandError):
                traces(*wrong)

    await in_db_thread(use)
