"""The pages of alert rules: the list, the form, what it refuses, and the buttons."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from accounts.roles import Role
from foundation.clock import now
from monitoring.models import Alert, AlertRule, GaugeSample, NotificationChannel
from tests.support.consoles import button_of, changelist_of, client_of, confirmed, fields_of, list_of, page_of
from tests.support.people import agent

pytestmark = pytest.mark.django_db

ADD = "/admin/monitoring/alertrule/add/"


def make_rule(name: str = "high_error_rate", **values: Any) -> AlertRule:
    fields = {"metric": "turn_error_rate", "threshold": 5, "for_seconds": 300, "severity": "critical"} | values
    return AlertRule.objects.create(name=name, **fields)


def make_alert(rule: AlertRule, state: str = "firing", **values: Any) -> Alert:
    times: dict[str, Any] = {"pending_at": now(), "evaluated_at": now()}
    if state != "pending":
        times["firing_at"] = now()
    if state == "resolved":
        times["resolved_at"] = now()
    return Alert.objects.create(rule=rule, state=state, **{**times, **values})


def text_of(answer: Any) -> str:
    return " ".join(answer.content.decode().split())


def test_the_list_says_what_each_rule_does() -> None:
    rule = make_rule(group_by=["agent"], value=7.25, evaluated_at=now())
    rule.channels.add(NotificationChannel.objects.create(name="ops", kind="email"))
    make_alert(rule, labels={"agent": "demo"})
    make_alert(rule, labels={"agent": "other"})
    make_alert(rule, "resolved")
    make_rule("quiet", evaluated_at=now(), metric="queue_depth", window_seconds=0)
    make_rule("off", enabled=False)
    make_rule("broken", evaluation_failures=3, evaluation_error="boom")
    make_alert(make_rule("soon", evaluated_at=now()), "pending")
    page = text_of(client_of("vera", Role.VIEWER).get(list_of(AlertRule)))
    for text in (
        "firing, 2 alerts", "Failed turns above 5 % over 5 min, for 5 min (each agent by itself)", "7.25 %", "3 times",
        "ops", "nobody", "quiet", "Turns in the queue above 5", "switched off", "cannot be evaluated", "pending",
    ):  # fmt: skip
        assert text in page, text
    assert "Add alert rule" not in page


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("state=firing", {"fires"}),
        ("state=pending", {"soon"}),
        ("state=off", {"off"}),
        ("state=failing", {"broken"}),
        ("metric=queue_depth", {"off"}),
        ("severity=critical", {"fires", "soon", "broken"}),
    ],
)
def test_the_list_is_filtered(query: str, names: set[str]) -> None:
    make_alert(make_rule("fires"))
    make_alert(make_rule("soon"), "pending")
    make_rule("off", enabled=False, metric="queue_depth", severity="info")
    make_rule("broken", evaluation_failures=1)
    rows = changelist_of(client_of("vera", Role.VIEWER), f"{list_of(AlertRule)}?{query}").result_list
    assert {row.name for row in rows} == names


def test_a_builder_adds_a_rule_by_plain_fields_and_changes_it() -> None:
    agent()
    channel = NotificationChannel.objects.create(name="ops", kind="email")
    builder = client_of("bob", Role.BUILDER)
    fields = fields_of(builder.get(ADD).context["form"]) | {
        "name": "many_failures", "metric": "turn_error_rate", "threshold": "5", "window_seconds": "10 min",
        "for_seconds": "5m", "severity": "critical", "channels": [str(channel.pk)], "agent_scope": "one",
        "agent_value": "demo", "release_scope": "each", "enabled": "on",
    }  # fmt: skip
    answer = builder.post(ADD, fields, follow=True)
    assert "many_failures is saved" in text_of(answer)
    rule = AlertRule.objects.get(name="many_failures")
    assert (rule.labels, rule.group_by, rule.window_seconds, rule.for_seconds) == (
        {"agent": "demo"},
        ["release"],
        600,
        300,
    )
    assert [one.name for one in rule.channels.all()] == ["ops"]
    fields = fields_of(builder.get(page_of(rule)).context["form"])
    assert (fields["window_seconds"], fields["agent_scope"], fields["agent_value"]) == ("10 min", "one", "demo")
    builder.post(page_of(rule), fields | {"threshold": "7.5", "agent_scope": "all"})
    rule.refresh_from_db()
    assert (rule.threshold, rule.labels, rule.version) == (7.5, {}, 2)


def test_all_that_is_wrong_is_marked_at_once_in_words() -> None:
    builder = client_of("bob", Role.BUILDER)
    fields = fields_of(builder.get(ADD).context["form"])
    page = text_of(builder.post(ADD, fields | {"name": "x y", "threshold": "much", "for_seconds": "soon"}))
    assert "such as 90 s, 5 min or 2 h" in page
    assert page.count('<div class="errors ') == 3
    fields |= {
        "name": "x", "threshold": "5", "clear_threshold": "9", "interval_seconds": "1 s", "agent_scope": "one",
        "metric": "turn_error_rate",
    }  # fmt: skip
    page = text_of(builder.post(ADD, fields))
    for text in ("not above its threshold", "each 10 seconds at most", "visible characters are expected"):
        assert text in page, text
    assert not AlertRule.objects.exists()


def test_labels_of_a_metric_that_was_chosen_before_do_not_count() -> None:
    builder = client_of("bob", Role.BUILDER)
    fields = fields_of(builder.get(ADD).context["form"]) | {"name": "queue", "threshold": "9", "window_seconds": "0"}
    builder.post(ADD, fields | {"metric": "queue_depth", "agent_scope": "each"})
    assert AlertRule.objects.get().group_by == []


def test_the_second_of_two_who_save_sees_what_differs() -> None:
    rule, builder = make_rule(), client_of("bob", Role.BUILDER)
    fields = fields_of(builder.get(page_of(rule)).context["form"])
    builder.post(page_of(rule), fields | {"threshold": "6"})
    page = text_of(builder.post(page_of(rule), fields | {"threshold": "8"}))
    assert "Changed by bob" in page
    assert "Threshold: from theirs to yours" in page
    assert AlertRule.objects.get().threshold == 6


def test_a_viewer_reads_a_rule_and_its_alerts() -> None:
    rule = make_rule(runbook_url="/admin/runbooks/#high_error_rate", evaluation_failures=1, evaluation_error="No table")
    alert = make_alert(rule, "resolved", labels={"agent": "demo"})
    viewer = client_of("vera", Role.VIEWER)
    page = text_of(viewer.get(page_of(rule)))
    for text in (
        "above 5 % over 5 min", "No table", page_of(alert), "agent demo", "/admin/runbooks/#high_error_rate", "4 h",
    ):  # fmt: skip
        assert text in page, text
    for text in ("Save", "Switch off", ">Silence<", ">Delete<"):
        assert text not in page, text
    assert viewer.post(page_of(rule), {"threshold": "1"}).status_code == 403
    assert viewer.get(ADD).status_code == 403


def test_the_buttons_switch_and_delete() -> None:
    rule, builder = make_rule(), client_of("bob", Role.BUILDER)
    page = text_of(builder.get(page_of(rule)))
    assert "Switch off" in page
    assert ">Silence<" not in page
    confirmed(builder, button_of(rule, "switch"))
    assert not AlertRule.objects.get().enabled
    assert "Switch on" in text_of(builder.get(page_of(rule)))
    make_alert(rule)
    assert "An alert of this rule is open" in text_of(confirmed(builder, button_of(rule, "remove")))
    Alert.objects.all().delete()
    AlertRule.objects.update(built_in=True)
    assert builder.get(button_of(rule, "remove")).status_code == 403
    AlertRule.objects.update(built_in=False)
    confirmed(builder, button_of(rule, "remove"))
    assert not AlertRule.objects.exists()


def test_two_who_switch_a_rule_off_at_once_leave_it_off() -> None:
    rule, ada, bob = make_rule(), client_of("ada", Role.BUILDER), client_of("bob", Role.BUILDER)
    forms = [fields_of(one.get(button_of(rule, "switch")).context["form"]) for one in (ada, bob)]
    for client, form in zip((ada, bob), forms, strict=True):
        client.post(button_of(rule, "switch"), form | {"confirm": "yes"})
    assert not AlertRule.objects.get().enabled


def test_an_id_of_no_rule_leads_to_the_list() -> None:
    builder = client_of("bob", Role.BUILDER)
    for key in ("0" * 32, "x"):
        assert builder.get(reverse("admin:monitoring_alertrule_change", args=[key])).status_code == 302


# --- the preview ---


def sample_queue(*values: float, minutes_ago: int = 60) -> None:
    """Samples of the queue's depth, a minute apart, the first so many minutes ago."""
    first = now() - timedelta(minutes=minutes_ago)
    GaugeSample.objects.bulk_create(
        GaugeSample(metric="queue_depth", at=first + timedelta(minutes=number), value=value)
        for number, value in enumerate(values)
    )


PREVIEW = "/admin/monitoring/alertrule/preview/"
QUEUE = {"metric": "queue_depth", "threshold": "10", "window_seconds": "0", "for_seconds": "2 min"}


def test_the_preview_says_how_often_a_rule_would_have_fired_before_it_is_saved() -> None:
    sample_queue(1, 2, 20, 21, 22, 23, 3, 1, 30, 1, 1)
    builder = client_of("bob", Role.BUILDER)
    fields = fields_of(builder.get(ADD).context["form"]) | QUEUE
    page = text_of(builder.post(PREVIEW, fields))
    assert "Would have fired once in the last 7 days" in page
    assert "also held once for less than 2 min" in page
    for text in ("Turns in the queue above 10, for 2 min", "fires above 10", "bs-chart__shade", "highest: 30"):
        assert text in page, text
    assert "Would not have fired" in text_of(builder.post(PREVIEW, fields | {"threshold": "40"}))
    assert not AlertRule.objects.exists(), "nothing is saved"


def test_without_script_a_button_shows_the_preview_in_the_page() -> None:
    sample_queue(20, 21, 22, 23, 24, minutes_ago=5)
    builder = client_of("bob", Role.BUILDER)
    fields = fields_of(builder.get(ADD).context["form"]) | QUEUE | {"name": "queue", "_preview": "yes"}
    answer = builder.post(ADD, fields)
    page = text_of(answer)
    assert "It would be firing now." in page
    assert fields_of(answer.context["form"])["name"] == "queue"
    assert not AlertRule.objects.exists()


def test_the_preview_says_what_keeps_it_from_judging_and_does_not_mind_the_name() -> None:
    builder = client_of("bob", Role.BUILDER)
    fields = fields_of(builder.get(ADD).context["form"])
    page = text_of(builder.post(PREVIEW, fields))
    assert "Threshold: This field is required." in page
    page = text_of(builder.post(PREVIEW, fields | QUEUE | {"clear_threshold": "99", "name": "X Y"}))
    assert "Clear threshold: This rule fires at high values" in page
    assert "Name:" not in page
    assert "There are no values in the last 7 days." in text_of(builder.post(PREVIEW, fields | QUEUE))


def test_the_page_of_a_rule_begins_with_what_it_would_have_done() -> None:
    sample_queue(20, 21, 22, 23, 24, 1, 1)
    rule = make_rule("queue", metric="queue_depth", threshold=10, window_seconds=0, for_seconds=60)
    assert "Would have fired once" in text_of(client_of("vera", Role.VIEWER).get(page_of(rule)))
    rule = make_rule("gone", metric="happiness")
    page = text_of(client_of("eve", Role.VIEWER).get(page_of(rule)))
    assert "could not be read" in page
