"""The page of what is kept for how long."""

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission
from django.test import Client, override_settings

from accounts.roles import Role
from foundation.job_registry import jobs
from scheduling import q2_sync
from scheduling.models import Schedule
from tests.support.consoles import client_of, page_of
from tests.support.people import person

pytestmark = pytest.mark.django_db
ADDRESS = "/admin/retention/"


def test_it_says_what_is_kept_for_how_long_and_by_which_job_and_setting() -> None:
    q2_sync.sync_schedules()
    Schedule.objects.filter(job="delete old samples").update(enabled=False)
    changed = settings.BANDSTAND.model_copy(update={"job_run_days": 3, "audit_days": 0, "log_days": 1})
    with override_settings(BANDSTAND=changed):
        answer = client_of("vera", Role.VIEWER).get(ADDRESS)
    rows = {row.kind: row for row in answer.context["rows"]}
    runs = rows["Job runs"]
    job = Schedule.objects.get(job="delete old job runs")
    assert (runs.kept, runs.setting, runs.address) == ("3 days", "BANDSTAND_JOB_RUN_DAYS", page_of(job))
    assert runs.timing == "every day 03:30, UTC"
    assert rows["Audit trail"].kept == "for ever"
    assert rows["Log files"].kept == "1 day, and 100 MB of each process"
    assert rows["Samples of gauges and processes"].is_off
    assert "switched off" in answer.content.decode()


def test_before_the_first_start_of_the_scheduler_it_has_no_times() -> None:
    answer = client_of("vera", Role.VIEWER).get(ADDRESS)
    assert {row.address for row in answer.context["rows"]} == {""}


def test_who_may_not_see_schedules_may_not_see_it() -> None:
    eve = person("eve")
    eve.user_permissions.add(Permission.objects.get(codename="enter_console"))
    client = Client()
    client.force_login(eve)
    assert client.get(ADDRESS).status_code == 403


def test_every_job_that_deletes_by_age_says_when() -> None:
    others = {"delete full buckets", "delete slots of lost web processes", "delete old spans"}
    silent = {job.name for job in jobs if job.name.startswith("delete ") and not job.retentions}
    assert silent == others
