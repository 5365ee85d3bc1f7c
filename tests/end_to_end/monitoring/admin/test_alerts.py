"""The pages of alerts and silences."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.roles import Role
from foundation.clock import now
from monitoring.alerts.rule_values import series_key
from monitoring.models import Alert, GaugeSample, Notification, NotificationChannel, Silence
from tests.end_to_end.console.test_list_exports import lines
from tests.end_to_end.monitoring.admin.test_alert_rules import make_alert, make_rule, text_of
from tests.support.consoles import button_of, changelist_of, client_of, confirmed, fields_of, list_of, page_of
from tests.support.people import person

pytestmark = pytest.mark.django_db

ADD = "/admin/monitoring/silence/add/"


def test_the_list_has_a_tab_for_each_state() -> None:
    rule = make_rule(group_by=["agent"])
    firing = make_alert(rule, labels={"agent": "demo"}, value=12.5, suppressed_by="the silence of oskar")
    pending = make_alert(rule, "pending", labels={"agent": "other"})
    resolved = make_alert(make_rule("slow", severity="info"), "resolved")
    viewer = client_of("vera", Role.VIEWER)
    page = text_of(viewer.get(list_of(Alert)))
    for text in ("agent demo", "12.5 %", "held back by the silence of oskar", "not yet", "slow"):
        assert text in page, text
    for query, found in [
        ("state=firing", [firing]),
        ("state=pending", [pending]),
        ("state=resolved", [resolved]),
        (f"rule={rule.pk}", [pending, firing]),
        ("severity=info", [resolved]),
        ("q=slow", [resolved]),
        (f"q={firing.pk}", [firing]),
    ]:
        assert list(changelist_of(viewer, f"{list_of(Alert)}?{query}").result_list) == found, query


def test_the_page_of_an_alert_tells_its_course() -> None:
    rule = make_rule(runbook_url="/admin/runbooks/#high_error_rate", description="Many turns fail.")
    start = now() - timedelta(minutes=20)
    alert = make_alert(
        rule, "resolved", pending_at=start, firing_at=start + timedelta(minutes=5), value=9.0,
        clear_at=start + timedelta(minutes=9), resolved_at=start + timedelta(minutes=10),
    )  # fmt: skip
    channel = NotificationChannel.objects.create(name="ops", kind="email")
    notification = Notification.objects.create(channel=channel, kind="firing", dedup_key="x", content={}, rule=rule)
    notification.alerts.add(alert)
    Silence.objects.create(rule=rule, reason="Known", created_by="oskar", starts_at=start, ends_at=now())
    Silence.objects.create(reason="Elsewhere", labels={"agent": "x"}, created_by="eve", starts_at=start, ends_at=now())
    page = text_of(client_of("vera", Role.VIEWER).get(page_of(alert)))
    for text in (
        "Many turns fail.", "9 %", "5 min 00 s", "/admin/runbooks/#high_error_rate", "The condition began to hold",
        "It fires", "It has ended", "Notification to ops", "Silenced by oskar", "/admin/agents/turn/",
    ):  # fmt: skip
        assert text in page, text
    assert "Elsewhere" not in page
    assert ">Silence<" not in page


def test_the_chart_of_an_alert_that_has_just_begun_has_its_value() -> None:
    rule = make_rule("queue", metric="queue_depth", threshold=10, window_seconds=0)
    GaugeSample.objects.create(metric="queue_depth", at=now(), value=17)
    page = text_of(client_of("vera", Role.VIEWER).get(page_of(make_alert(rule, value=17))))
    assert "highest: 17" in page
    assert "fires above 10" in page


def test_alerts_are_exported() -> None:
    make_alert(make_rule(), labels={"agent": "demo"})
    [row] = lines(person("olga", Role.OWNER), Alert)
    assert (row["rule"], row["severity"], row["state"]) == ("high_error_rate", "critical", "firing")
    assert row["labels"] == {"agent": "demo"}


def test_an_operator_silences_an_alert_from_its_page_and_ends_the_silence() -> None:
    rule = make_rule(group_by=["agent"])
    alert = make_alert(rule, labels={"agent": "demo"})
    operator = client_of("oskar", Role.OPERATOR)
    assert f"{ADD}?alert={alert.pk}" in text_of(operator.get(page_of(alert)))
    fields = fields_of(operator.get(f"{ADD}?alert={alert.pk}").context["form"])
    assert (fields["rule"], fields["labels"]) == (str(rule.pk), "agent=demo")
    answer = operator.post(f"{ADD}?alert={alert.pk}", fields | {"reason": "Known"}, follow=True)
    assert "1 open alert of now matches" in text_of(answer)
    silence = Silence.objects.get()
    assert (silence.rule, silence.labels, silence.created_by) == (rule, {"agent": "demo"}, "oskar")
    page = text_of(operator.get(list_of(Silence) + "?state=active"))
    assert "high_error_rate, agent demo" in page
    confirmed(operator, button_of(silence, "end_now"))
    assert Silence.objects.get().ended_by == "oskar"
    assert operator.get(button_of(silence, "end_now")).status_code == 403
    assert not operator.get(list_of(Silence) + "?state=active").context["cl"].result_list


def test_what_is_wrong_with_a_silence_is_said_at_its_field() -> None:
    operator, rule = client_of("oskar", Role.OPERATOR), make_rule()
    fields = {"rule": str(rule.pk), "seconds": "7200", "reason": "x"}
    for changes, text in [
        ({"labels": "agent"}, "is no label: write label=value"),
        ({"labels": "agent=demo"}, "No alert of high_error_rate has the label agent"),
        ({"reason": "\u200b"}, "A reason of at most"),
        ({"rule": "nothing"}, "is not one of the available choices"),
    ]:
        assert text in text_of(operator.post(ADD, fields | changes)), text
    assert not Silence.objects.exists()
    viewer = client_of("vera", Role.VIEWER)
    assert viewer.get(ADD).status_code == viewer.post(ADD, fields).status_code == 403


def test_the_value_of_an_alert_has_not_the_unit_of_what_its_rule_measures_since() -> None:
    rule = make_rule()
    alert = make_alert(rule, value=50.0, series_key=series_key(rule))
    viewer = client_of("vera", Role.VIEWER)
    assert "50 %" in text_of(viewer.get(page_of(alert)))
    rule.metric = "turn_seconds_p95"
    rule.save()
    page = text_of(viewer.get(page_of(alert)))
    assert "measures something else now" in page
    for text in (page, text_of(viewer.get(list_of(Alert)))):
        assert "50 s" not in text
        assert "50 %" not in text
