import pytest
from django.core.exceptions import ImproperlyConfigured

from foundation.job_registry import Job, JobRegistry, jobs


def sweep() -> int:
    return 7


def a_job(name: str, function: object = sweep) -> Job:
    return Job(name, function, "Sweeps.", "rooms swept", every_minutes=5)  # type: ignore[arg-type]


def test_jobs_stand_in_the_order_of_their_registration() -> None:
    registry = JobRegistry()
    for name in ("sweep", "air", "dust"):
        registry.register(a_job(name))
    assert registry.names() == [job.name for job in registry] == ["sweep", "air", "dust"]
    assert registry.get("air") == a_job("air")
    assert registry.get("cook") is None


def test_a_second_job_of_the_same_name_is_refused() -> None:
    registry = JobRegistry()
    registry.register(a_job("sweep"))
    with pytest.raises(ImproperlyConfigured, match="'sweep'"):
        registry.register(a_job("sweep"))
    assert len(registry) == 1


def test_a_job_holds_its_function_or_where_it_stands() -> None:
    assert a_job("sweep").load()() == 7
    assert a_job("sweep", "calendar.isleap").load()(2028) is True  # type: ignore[call-arg]
    with pytest.raises(ImportError):
        a_job("sweep", "calendar.nothing_of_that_name").load()


def test_the_apps_have_registered_theirs() -> None:
    # In the order of INSTALLED_APPS: ratelimits, accounts, scheduling, rest, agents.
    one_of_each = [
        "delete full buckets",
        "send waiting mail",
        "delete old job runs",
        "delete idempotency keys",
        "compact ended turns",
    ]
    assert [name for name in jobs.names() if name in one_of_each] == one_of_each
