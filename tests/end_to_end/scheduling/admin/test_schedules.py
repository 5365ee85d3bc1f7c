"""The timetable in the console."""

import re
from typing import Any

import pytest
from django.test import Client
from django_q.models import OrmQ
from django_q.models import Schedule as Q2Schedule

from accounts.models import AuditEntry
from accounts.roles import Role
from scheduling import q2_sync
from scheduling.models import Heartbeat, JobRun, Schedule
from scheduling.tasks import record_scheduler_heartbeat
from tests.support.consoles import Fields, button_of, client_of, confirmed, fields_of, list_of, page_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def reap() -> Schedule:
    q2_sync.sync_schedules()
    return Schedule.objects.get(job="reap lost turns")


@pytest.fixture
def owner() -> Client:
    return client_of("olga", Role.OWNER)


def fields(client: Client, row: Schedule, **changes: Any) -> Fields:
    return fields_of(client.get(page_of(row)).context["adminform"].form) | changes


def maintenance(client: Client) -> tuple[str, str, str]:
    seen = {one.name: one for one in client.get("/admin/").context["metrics"]}["Maintenance"]
    return seen.value, seen.message, seen.level


def test_an_owner_changes_when_a_job_runs(owner: Client, reap: Schedule) -> None:
    assert "Ends or gives back turns whose runner is gone." in owner.get(page_of(reap)).content.decode()
    assert owner.post(page_of(reap), fields(owner, reap, every_minutes="", cron="*/5  * * * *")).status_code == 302
    reap.refresh_from_db()
    assert (reap.every_minutes, reap.cron, reap.version) == (None, "*/5 * * * *", 2)
    assert Q2Schedule.objects.get(name=reap.job).cron == "*/5 * * * *"
    sent = fields(owner, reap)
    sent.pop("enabled")
    assert owner.post(page_of(reap), sent).status_code == 302
    assert not Q2Schedule.objects.filter(name=reap.job).exists()
    assert AuditEntry.objects.filter(action="schedule.changed", actor="olga").count() == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"every_minutes": "", "cron": "0 0 31 2 *"}, "This never runs: there is no such day in the next 50 years."),
        ({"every_minutes": "", "cron": "every day"}, "Five fields are expected"),
        ({"every_minutes": "", "cron": "99 * * * *"}, "The minute cannot be read: &#x27;99&#x27;. It takes 0 to 59;"),
        ({"every_minutes": "", "cron": "1," * 100 + "1 * * * *"}, "at most 100 characters"),
        ({"every_minutes": "", "cron": "0 3 * * *", "time_zone": "Mars/Olympus"}, "There is no time zone of this name"),
        ({"time_zone": "x" * 200}, "at most 64 characters"),
        ({"time_zone": ""}, "This field is required."),
        ({"every_minutes": "x", "cron": "0 3 * * *", "time_zone": "Mars/Olympus"}, "Enter a whole number."),
        ({"every_minutes": ""}, "Give either the minutes"),
        ({"cron": "* * * * *"}, "Give either the minutes"),
        ({"every_minutes": "0"}, "From 1 to 10,080"),
        ({"every_minutes": "-1"}, "greater than or equal to 0"),
        ({"every_minutes": "99999"}, "From 1 to 10,080"),
        ({"every_minutes": "x"}, "Enter a whole number."),
    ],
)
def test_a_timing_that_makes_no_sense_is_said_and_not_saved(
    owner: Client, reap: Schedule, change: Fields, words: str
) -> None:
    answer = owner.post(page_of(reap), fields(owner, reap) | change)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    reap.refresh_from_db()
    assert (reap.every_minutes, reap.version) == (1, 1)


def test_a_time_zone_is_chosen_and_the_next_run_is_shown_by_its_clocks_and_in_utc(
    owner: Client, reap: Schedule
) -> None:
    page = owner.get(page_of(reap)).content.decode()
    assert 'list="time_zone-names"' in page
    assert '<datalist id="time_zone-names">' in page
    assert '<option value="Asia/Tokyo">' in page
    sent = fields(owner, reap, every_minutes="", cron="30 3 * * *", time_zone="Asia/Tokyo")
    assert owner.post(page_of(reap), sent).status_code == 302
    assert Schedule.objects.get(pk=reap.pk).time_zone == "Asia/Tokyo"
    for address in (page_of(reap), list_of(Schedule)):
        seen = owner.get(address).content.decode()
        assert re.search(r"03:30:00 JST</span> <small class=\"bs-ago\">[0-9-]+ 18:30:00 UTC</small>", seen)
        assert "every day 03:30, Tokyo" in seen


def test_the_second_of_two_tabs_is_told(owner: Client, reap: Schedule) -> None:
    first, second = fields(owner, reap, every_minutes="2"), fields(owner, reap, every_minutes="3")
    assert owner.post(page_of(reap), first).status_code == 302
    assert "Changed by olga at" in owner.post(page_of(reap), second).content.decode()
    reap.refresh_from_db()
    assert reap.every_minutes == 2


def test_an_operator_runs_a_job_now_and_changes_no_timetable(reap: Schedule) -> None:
    operator = client_of("oscar", Role.OPERATOR)
    page = confirmed(operator, button_of(reap, "run_job"))
    assert "will run in a moment" in page.content.decode()
    assert OrmQ.objects.get().task["args"] == (reap.job, "oscar")
    assert operator.post(page_of(reap), {"enabled": "", "version": "1"}).status_code == 403


@pytest.mark.parametrize("role", [Role.VIEWER, Role.BUILDER])
def test_others_only_look(role: Role, reap: Schedule) -> None:
    client = client_of("vera", role)
    run = JobRun.objects.create(job=reap.job, asked_by="tests")
    for address in (list_of(Schedule), list_of(JobRun), page_of(reap), page_of(run)):
        assert client.get(address).status_code == 200
    for address in (page_of(reap), button_of(reap, "run_job"), page_of(run)):
        assert client.post(address, {"confirm": "yes", "version": "1"}).status_code == 403
    assert not OrmQ.objects.exists()


def test_a_failed_run_is_on_the_start_page_until_one_goes_well(owner: Client, reap: Schedule) -> None:
    record_scheduler_heartbeat()
    assert maintenance(owner) == ("0", "every last run went well", "")
    JobRun.objects.create(job=reap.job, asked_by="tests", status="failed", error="<b>no</b> room")
    assert maintenance(owner) == ("1", "of the last runs failed", "bad")
    page = owner.get(page_of(reap)).content.decode()
    assert "&lt;b&gt;no&lt;/b&gt; room" in page
    JobRun.objects.create(job=reap.job, asked_by="tests", status="done", outcome="0 turns moved")
    assert maintenance(owner)[0] == "0"
    Heartbeat.objects.all().delete()
    assert maintenance(owner) == ("0", "the scheduler has never reported", "bad")


def test_the_stock_admin_of_the_scheduler_is_not_there(owner: Client) -> None:
    for name in ("schedule", "ormq", "task", "success", "failure"):
        assert owner.get(f"/admin/django_q/{name}/").status_code == 404
