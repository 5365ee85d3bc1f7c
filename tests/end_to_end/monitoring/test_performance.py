"""The page "Performance" and its command: what they show, and the buttons that do what is recommended."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.models import AuditEntry
from accounts.roles import Role
from agents.models import Runner
from monitoring.models import ProcessSample, Recommendation, RecommendationKind, RecommendationPolicy
from monitoring.performance.monitor import watch_performance
from monitoring.performance.situation import read_modes
from tests.support.consoles import client_of, list_of, page_of
from tests.support.performance import make_runner, sample

pytestmark = pytest.mark.django_db

_MINUTE = timedelta(seconds=60)


def full_runner() -> Runner:
    runner = make_runner()
    sample(runner, memory=78.0, failed=0.2)
    watch_performance()
    return runner


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("performance", *arguments, stdout=out)
    return out.getvalue()


def test_the_page_shows_each_process_and_what_is_recommended() -> None:
    runner = full_runner()
    ended = make_runner("host-2")
    sample(ended, status="draining", until=_MINUTE)
    ProcessSample.objects.create(
        process_id=UUID(int=5), kind="web", host="host-1", pid=9, at=ProcessSample.objects.latest("at").at,
        status="running", requests_total=1234, errors_total=0, queue_length=2, active_sessions=3,
    )  # fmt: skip
    page = client_of("vera", Role.VIEWER).get(list_of(Recommendation)).content.decode()
    for text in ("runner host-1:1", "780 MiB (78.0 %)", "20.0 %", "12.5 %", "2 of 8", str(runner.pk), "web host-1:9"):
        assert text in page, text
    assert "1,234" in page
    assert "ended" in page
    assert "<polyline" in page
    assert "It uses much of its memory." in page
    assert "Who applies what" not in page, "that is for owners"


def test_an_operator_applies_and_dismisses_after_a_confirmation() -> None:
    runner = full_runner()
    row = Recommendation.objects.get()
    operator = client_of("oskar", Role.OPERATOR)
    assert "78 % (threshold 70 %)" in operator.get(page_of(row)).content.decode()
    address = reverse("admin:monitoring_recommendation_apply", args=[row.pk])
    question = operator.get(address).content.decode()
    assert "drops its caches" in question
    assert Runner.objects.get(pk=runner.pk).action_id is None, "a GET asks only"
    operator.post(address, {"confirm": "yes"})
    assert Runner.objects.get(pk=runner.pk).action == "free_memory"
    assert Recommendation.objects.get().status == "applying"
    assert operator.get(address).status_code == 403, "it is not open any more"
    Recommendation.objects.update(status="open")
    operator.post(reverse("admin:monitoring_recommendation_dismiss", args=[row.pk]), {"confirm": "yes"})
    assert Recommendation.objects.get().status == "dismissed"


def test_the_last_runner_s_restart_says_that_turns_will_wait() -> None:
    runner = make_runner()
    sample(runner, memory=90.0)
    watch_performance()
    address = reverse("admin:monitoring_recommendation_apply", args=[Recommendation.objects.get().pk])
    operator = client_of("oskar", Role.OPERATOR)
    assert "the only runner" in operator.get(address).content.decode()
    make_runner("host-2")
    assert "the only runner" not in operator.get(address).content.decode()


def test_an_owner_sets_who_applies_what() -> None:
    address = reverse("admin:monitoring_recommendation_apply_modes")
    modes = {kind.value: mode.value for kind, mode in read_modes().items()}
    owner = client_of("olga", Role.OWNER)
    assert owner.get(address).status_code == 200
    owner.post(address, modes | {"memory_cleanup": "automatic", "agent_restart": "off"})
    assert {row.kind: row.mode for row in RecommendationPolicy.objects.all() if row.mode != "suggest"} == {
        "memory_cleanup": "automatic",
        "agent_restart": "off",
    }
    assert AuditEntry.objects.filter(action="recommendation_policy.changed").count() == 2
    answer = owner.post(address, modes | {"context_optimization": "automatic"})
    assert answer.status_code == 200
    assert "is not one of the available choices" in answer.content.decode()


def test_the_command_shows_and_does_the_same() -> None:
    assert "No process has said anything" in run()
    runner = full_runner()
    shown = json.loads(run("--json"))
    [process] = shown["processes"]
    assert (process["id"], process["requests_total"], process["memory_percent"]) == (str(runner.pk), 70, 78.0)
    assert (process["mean_seconds"], process["error_percent"], process["cpu_percent"]) == (2.0, 20.0, 12.5)
    [row] = shown["recommendations"]
    assert (row["kind"], row["status"], row["runner"]) == ("memory_cleanup", "open", str(runner.pk))
    assert shown["modes"]["agent_restart"] == "suggest"
    assert "host-1:1" in run()
    run("apply", row["id"])
    assert Runner.objects.get().action == "free_memory"
    with pytest.raises(CommandError, match="applying already"):
        run("dismiss", row["id"])
    run("mode", "agent_restart", "automatic")
    assert read_modes()[RecommendationKind.AGENT_RESTART] == "automatic"
    with pytest.raises(CommandError, match="person's decision"):
        run("mode", "context_optimization", "automatic")
