"""The page of what is recorded of an agent's turns."""

from __future__ import annotations

import pytest

from accounts.models import AuditEntry
from accounts.roles import Role
from agents.models import Agent
from monitoring.models import TraceSettings
from tests.support.consoles import client_of, list_of, page_of
from tests.support.people import agent

pytestmark = pytest.mark.django_db

ADD = "/admin/monitoring/tracesettings/add/"


@pytest.fixture
def demo() -> Agent:
    return agent()


def test_a_builder_gives_an_agent_settings_of_its_own_and_changes_them(demo: Agent) -> None:
    builder = client_of("bob", Role.BUILDER)
    page = builder.get(ADD).content.decode()
    assert "10 percent, 30 days" in page
    builder.post(ADD, {"agent": str(demo.pk), "sample_percent": "50", "retention_days": "7", "exports_content": "on"})
    settings = TraceSettings.objects.get()
    assert (settings.agent, settings.sample_percent, settings.retention_days) == (demo, 50, 7)
    assert settings.exports_content
    assert f'value="{demo.pk}"' not in builder.get(ADD).content.decode()  # it has some
    form = builder.get(page_of(settings)).context["adminform"].form
    fields = {"sample_percent": "100", "retention_days": "7", **{n: form.initial[n] for n in ("version", "base")}}
    assert builder.post(page_of(settings), fields).status_code == 302
    settings.refresh_from_db()
    assert (settings.sample_percent, settings.exports_content, settings.version) == (100, False, 2)
    actions = AuditEntry.objects.filter(target_type="tracesettings").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["trace_settings.added", "trace_settings.changed"]


@pytest.mark.parametrize(("percent", "days"), [("101", "7"), ("-1", "7"), ("10", "0"), ("10", "366"), ("x", "7")])
def test_what_is_no_share_or_no_number_of_days_is_refused(demo: Agent, percent: str, days: str) -> None:
    builder = client_of("bob", Role.BUILDER)
    answer = builder.post(ADD, {"agent": str(demo.pk), "sample_percent": percent, "retention_days": days})
    assert answer.context["adminform"].form.errors
    assert not TraceSettings.objects.exists()


def test_a_viewer_reads_them_only(demo: Agent) -> None:
    settings = TraceSettings.objects.create(agent=demo)
    viewer = client_of("vera", Role.VIEWER)
    assert demo.name in viewer.get(list_of(TraceSettings)).content.decode()
    assert viewer.post(page_of(settings), {"sample_percent": "1", "retention_days": "1"}).status_code == 403
    assert viewer.get(ADD).status_code == 403
