"""`manage.py deploy`."""

from __future__ import annotations

import json
from io import StringIO
from threading import Thread

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.roles import Role
from agents.deployments.deployment_changes import go_back, promote_deployment
from agents.domain.deployments import DeploymentState
from agents.models import Agent, Deployment, TestCase, TestSet
from tests.support.candidates import add_release
from tests.support.people import agent, person

pytestmark = pytest.mark.usefixtures("transactional_db")
SYSTEM = Actor.system("tests")
S = DeploymentState


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("deploy", *arguments, stdout=out)
    return out.getvalue()


def the_only_one() -> Deployment:
    return Deployment.objects.get()


def test_it_is_begun_moved_held_and_ended_by_command() -> None:
    demo = agent()
    add_release(demo)
    said = run("begin", "demo", "--release", "2", "--plan", "10:60,20:60", "--watch", "30", "--minimum-turns", "5")
    assert said == "demo: release 2 over 1: validating.\n"
    assert the_only_one().plan["steps"] == [{"percent": 10, "seconds": 60}, {"percent": 20, "seconds": 60}]
    assert (the_only_one().plan["watch_seconds"], the_only_one().plan["minimum_turns"]) == (30, 5)
    assert run("promote", "demo") == "demo: release 2 over 1: canary 10 %.\n"
    assert run("hold", "demo") == "demo: release 2 over 1: canary 10 %, held.\n"
    assert run("resume", "demo") == "demo: release 2 over 1: canary 10 %.\n"
    assert run("back", "demo", "--reason", "Rude.") == "demo: release 2 over 1: rolled back. Rude.\n"
    assert "rolled back. Rude." in run("show")
    [shown] = [json.loads(line) for line in run("show", "demo", "--json").splitlines()]
    assert (shown["state"], shown["release"], shown["reason"]) == ("rolled_back", 2, "Rude.")
    with pytest.raises(CommandError, match="under way"):
        run("promote", "demo")


def test_the_draft_becomes_the_next_release_and_stays_in_staging_if_wished() -> None:
    agent()
    assert run("begin", "demo", "--draft", "--hold", "--note", "new") == "demo: release 2 over 1: staging.\n"
    assert the_only_one().candidate.note == "new"
    assert Agent.objects.get().live_release != the_only_one().candidate


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--release", "9"), "no such release"),
        (("--release", "2", "--plan", "5"), "percent:seconds"),
        (("--release", "2", "--plan", "5:60,5:60"), r"/plan/steps/1/percent"),
        (("--release", "2", "--watch", "-1"), r"/plan/watch_seconds"),
        (("--release", "2", "--test-set", "smoke"), "no such test set"),
        (("--release", "2", "--as", "nobody"), "no such user"),
        (("--release", "2", "--as", "olga"), "does not allow"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], error: str) -> None:
    add_release(agent())
    person("olga", Role.OPERATOR)
    with pytest.raises(CommandError, match=error):
        run("begin", "demo", *arguments)
    assert not Deployment.objects.exists()


def test_a_test_set_needs_somebody_who_pays() -> None:
    demo = agent()
    add_release(demo)
    person("bob", Role.BUILDER)
    tests = TestSet.objects.create(agent=demo, name="smoke")
    TestCase.objects.create(test_set=tests, position=1, question=[])
    with pytest.raises(CommandError, match="who pays"):
        run("begin", "demo", "--release", "2", "--test-set", "smoke")
    run("begin", "demo", "--release", "2", "--test-set", "smoke", "--as", "bob")
    assert AuditEntry.objects.filter(action="deployment.begun").latest("pk").actor == "bob"
    assert the_only_one().evaluations.get().paid_by.username == "bob"


@pytest.mark.parametrize("is_good", [True, False])
def test_wait_says_how_it_ended_by_its_exit_code(is_good: bool) -> None:
    add_release(agent())

    def move() -> None:
        try:
            while not (deployment := Deployment.objects.filter(state=S.VALIDATING).first()):
                pass
            if not is_good:
                go_back(SYSTEM, deployment_id=deployment.pk, reason="Rude.")
            while is_good and deployment.state != S.DONE:
                deployment = promote_deployment(
                    SYSTEM, deployment_id=deployment.pk, expected_version=deployment.version
                )
        finally:
            connection.close()

    mover = Thread(target=move)
    mover.start()
    try:
        if is_good:
            assert run("begin", "demo", "--release", "2", "--wait").endswith("done.\n")
        else:
            with pytest.raises(SystemExit) as ended:
                run("begin", "demo", "--release", "2", "--wait")
            assert ended.value.code == 1
    finally:
        mover.join()


def test_wait_gives_up_in_time() -> None:
    add_release(agent())
    with pytest.raises(SystemExit) as ended:
        run("begin", "demo", "--release", "2", "--wait", "--timeout", "0")
    assert ended.value.code == 2
