"""Agents as files: `export_agent` and `import_agent`."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command

from accounts.actor import Actor
from accounts.models import AuditEntry
from agents.domain.configuration import AgentConfiguration, MemoryPolicy
from agents.models import Agent, AgentDraft, Release
from agents.releases import create_agent, publish
from agents.releases.agent_editing import change_draft
from agents.releases.agent_files import MAX_BYTES, parse_agent_file
from foundation.errors import BandstandError, InvalidInput, Malformed, TooLarge

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")
INSTRUCTIONS = "Be brief.\n\nAnswer in the language of the question: ja, 日本語.\n  - \"quotes\" and 'more'\n"


@pytest.fixture
def agent() -> Agent:
    group = Group.objects.create(name="sales")
    details = {
        "slug": "helper",
        "name": "Helper",
        "description": "Helps.",
        "capabilities": ["b", "a"],
        "when_busy": "reject",
        "moves_sessions": True,
    }
    agent = create_agent(SYSTEM, details=details, groups=[group], model_chain=["offline:"])
    configuration = AgentConfiguration(
        model_chain=("offline:",),
        instructions=INSTRUCTIONS,
        tools=("clock", "calculator"),
        memory=MemoryPolicy(recall=True),
    )
    change_draft(SYSTEM, agent_id=agent.pk, expected_version=1, configuration=configuration)
    return agent


def _export(*arguments: str) -> str:
    out = StringIO()
    call_command("export_agent", *arguments, stdout=out)
    return out.getvalue()


def _import(*arguments: str) -> str:
    out = StringIO()
    call_command("import_agent", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_what_is_exported_is_imported_as_it_was(agent: Agent, tmp_path: Path, flags: tuple[str, ...]) -> None:
    text = _export("helper", *flags)
    path = tmp_path / "helper.yaml"
    path.write_text(text, encoding="utf-8")
    stored = AgentDraft.objects.get(agent=agent).configuration
    entries = AuditEntry.objects.count()
    assert _import(str(path)) == "helper: unchanged\n"
    assert AuditEntry.objects.count() == entries

    AgentDraft.objects.all().delete()
    Agent.objects.all().delete()
    assert _import(str(path)) == "helper: created\n"
    agent = Agent.objects.get(slug="helper")
    assert AgentDraft.objects.get(agent=agent).configuration == stored
    assert (agent.capabilities, agent.when_busy, agent.moves_sessions) == (["b", "a"], "reject", True)
    assert [group.name for group in agent.groups.all()] == ["sales"]
    assert agent.live_release is None  # nothing is published
    assert _export("helper", *flags) == text


def test_texts_of_many_lines_are_lines_of_the_file(agent: Agent) -> None:
    text = _export("helper")
    assert "  instructions: |\n    Be brief.\n\n    Answer in the language of the question: ja, 日本語.\n" in text
    assert text.startswith("format: bandstand-agent/1\nslug: helper\n")


def test_the_live_release_another_one_or_the_draft(agent: Agent) -> None:
    publish(SYSTEM, agent_id=agent.pk, expected_version=2)
    changed = AgentConfiguration(model_chain=("offline:",), instructions="Second.")
    change_draft(SYSTEM, agent_id=agent.pk, expected_version=2, configuration=changed)
    assert "Second." in _export("helper", "--draft")
    assert "Second." not in _export("helper")
    publish(SYSTEM, agent_id=agent.pk, expected_version=3)
    assert "Second." in _export("helper")
    assert "Second." not in _export("helper", "--release", "1")
    with pytest.raises(CommandError, match="has none"):
        _export("helper", "--release", "9")


def test_all_agents_into_a_folder(agent: Agent, tmp_path: Path) -> None:
    assert "helper: " in _export("all", "--output", str(tmp_path / "agents"))
    assert (tmp_path / "agents" / "helper.yaml").read_text(encoding="utf-8") == _export("helper")
    with pytest.raises(CommandError, match="folder"):
        _export("all")


def test_check_writes_nothing_and_says_what_would_change(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "helper.yaml"
    path.write_text(_export("helper").replace("Be brief.", "Be long."), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        _import(str(path), "--check")
    assert ended.value.code == 3
    assert "Be brief." in AgentDraft.objects.get().configuration["instructions"]
    assert _import(str(path)) == "helper: changed\n"
    assert "Be long." in AgentDraft.objects.get().configuration["instructions"]
    assert _import(str(path), "--check") == "helper: unchanged\n"


def test_one_bad_file_imports_none(agent: Agent, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(_export("helper").replace("slug: helper", "slug: other"), encoding="utf-8")
    bad.write_text(_export("helper").replace("- sales", "- strangers").replace("slug: helper", "slug: third"))
    with pytest.raises(CommandError, match=r"no group 'strangers' here. \(/groups/0\)"):
        _import(str(good), str(bad))
    assert set(Agent.objects.values_list("slug", flat=True)) == {"helper"}


GOOD = {"format": "bandstand-agent/1", "slug": "x", "name": "X", "configuration": {"schema": 1, "model_chain": []}}


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        ({**GOOD, "format": "bandstand-agent/2"}, "/format"),
        ({**GOOD, "secret": "x"}, "/secret"),
        ({**GOOD, "slug": "Not a slug!"}, "/slug"),
        ({**GOOD, "slug": "s" * 64}, "/slug"),
        ({**GOOD, "name": 7}, "/name"),
        ({**GOOD, "name": ""}, "/name"),
        ({**GOOD, "when_busy": "never"}, "/when_busy"),
        ({**GOOD, "groups": [1]}, "/groups"),
        ({**GOOD, "moves_sessions": 1}, "/moves_sessions"),
        ({**GOOD, "configuration": {"schema": 1, "colour": "red"}}, "/colour"),
    ],
)
def test_what_is_wrong_is_named(content: dict[str, object], pointer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_agent_file(json.dumps(content).encode())
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"a: &x [1]\nb: *x\n",
        b"slug: a\nslug: b\n",
        b"slug: 2026-11-30\n",
        b"slug: !!python/object/apply:os.system [id]\n",
        b"? [a]\n: b\n",
        b"{" * 5000,
        b"x: .nan\n",
    ],
)
def test_rubbish_is_refused(raw: bytes) -> None:
    with pytest.raises((Malformed, InvalidInput)):
        parse_agent_file(raw)


def test_a_file_that_is_too_large() -> None:
    with pytest.raises(TooLarge):
        parse_agent_file(b"#" * (MAX_BYTES + 1))


def test_a_route_that_cannot_be_used_here_is_refused(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "helper.yaml"
    path.write_text(_export("helper").replace("offline:", "nobody:gpt"), encoding="utf-8")
    with pytest.raises(CommandError, match="model_chain"):
        _import(str(path))
    assert Release.objects.count() == 0
    assert issubclass(InvalidInput, BandstandError)
