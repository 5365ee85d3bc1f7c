import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext
from structlog.testing import capture_logs

from accounts.actor import ALL_SCOPES
from accounts.first_owner import ensure_owner
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import Agent, AgentDraft, Release
from agents.releases.demo import ensure_demo_agent
from foundation.errors import Conflict
from tests.support.people import OFFLINE, configuration_of, person

pytestmark = pytest.mark.usefixtures("transactional_db")


def login(path: Path) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in path.read_text().splitlines())


def test_the_first_owner_logs_in_with_what_the_file_says(tmp_path: Path) -> None:
    path = ensure_owner(tmp_path / "new")
    assert path is not None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = login(path)
    user = authenticate(username=written["name"], password=written["password"])
    assert isinstance(user, User)
    assert user_actor(user).scopes == ALL_SCOPES
    assert not user.is_superuser


def test_the_owner_is_made_once(tmp_path: Path) -> None:
    assert ensure_owner(tmp_path) is not None
    before = login(tmp_path / "login.txt")
    assert ensure_owner(tmp_path) is None
    assert login(tmp_path / "login.txt") == before
    assert User.objects.count() == 1


def test_somebody_elses_owner_is_enough(tmp_path: Path) -> None:
    person("olga", Role.OWNER)
    assert ensure_owner(tmp_path) is None
    assert not (tmp_path / "login.txt").exists()


def test_a_file_left_by_a_start_that_died_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / "login.txt").write_text("name: owner\npassword: never committed\n")
    path = ensure_owner(tmp_path)
    assert path is not None
    assert authenticate(username="owner", password=login(path)["password"])


def test_the_demo_agent_is_published_once() -> None:
    release = ensure_demo_agent(["offline"])
    assert release is not None
    assert (release.number, configuration_of(release).model_chain) == (1, ("offline:",))
    assert Agent.objects.get().live_release == release
    assert ensure_demo_agent(["offline"]) is None


def test_another_model_in_the_environment_is_a_new_release_of_the_demo_agent() -> None:
    ensure_demo_agent(["offline"])
    release = ensure_demo_agent(["openai:some-model", "offline:"])
    assert release is not None
    assert (release.number, configuration_of(release).model_chain) == (2, ("openai:some-model", "offline:"))
    assert ensure_demo_agent(["openai:some-model", "offline:"]) is None
    back = ensure_demo_agent(["offline"])
    assert back is not None
    assert back.number == 3


@pytest.mark.parametrize("touch", ["draft", "published", "archived", "upgraded"])
def test_a_demo_agent_that_people_took_over_is_left_alone(touch: str) -> None:
    from django.utils import timezone

    from agents.releases import publish

    ensure_demo_agent(["offline"])
    if touch == "draft":
        AgentDraft.objects.update(version=2)
    elif touch == "published":
        publish(user_actor(person("bob", Role.BUILDER)), agent_id=Agent.objects.get().pk, expected_version=1)
    elif touch == "archived":
        Agent.objects.update(archived_at=timezone.now())
    else:  # by a newer version, which was taken back
        newer = Release.objects.create(agent=Agent.objects.get(), number=2, configuration=OFFLINE | {"schema": 99})
        Agent.objects.update(live_release=newer)
    before = Release.objects.count()
    assert ensure_demo_agent(["openai:some-model"]) is None
    assert Release.objects.count() == before


@pytest.mark.parametrize("unreadable", [OFFLINE | {"schema": 99}, OFFLINE | {"new_setting": 5}])
@pytest.mark.parametrize("where", ["release", "draft", "first draft"])
def test_a_demo_agent_that_cannot_be_read_is_left_alone_and_named_in_the_log(where: str, unreadable: Any) -> None:
    agent = Agent.objects.create(slug="demo", name="Demo")
    AgentDraft.objects.create(agent=agent, configuration=OFFLINE if where == "release" else unreadable)
    if where != "first draft":
        stored = unreadable if where == "release" else OFFLINE
        agent.live_release = Release.objects.create(agent=agent, number=1, configuration=stored)
        agent.save()
    before = Release.objects.count(), AgentDraft.objects.get().configuration
    with capture_logs() as logs:
        assert ensure_demo_agent(["openai:some-model"]) is None
    [line] = logs
    assert (line["event"], line["agent"]) == ("demo_agent.not_updated", "demo")
    assert line["fault"]
    assert (Release.objects.count(), AgentDraft.objects.get().configuration) == before


def test_the_command_does_nothing_in_three_queries_when_there_is_nothing_to_do(
    tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.BANDSTAND = SimpleNamespace(data_dir=tmp_path, model=("offline",))
    call_command("bootstrap")
    assert str(tmp_path / "login.txt") in capsys.readouterr().out
    with CaptureQueriesContext(connection) as queries:
        call_command("bootstrap")
    assert len(queries) <= 3
    assert capsys.readouterr().out == ""


def test_two_first_starts_at_once_make_one_owner(tmp_path: Path) -> None:
    barrier = Barrier(2)

    def start(_: int) -> Path | None:
        barrier.wait(10)
        try:
            return ensure_owner(tmp_path)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        made = [path for path in pool.map(start, range(2)) if path]
    assert len(made) == 1
    assert User.objects.count() == 1
    assert authenticate(username="owner", password=login(made[0])["password"])


def test_where_nobody_is_owner_and_the_name_is_taken_one_line_says_what_to_do(tmp_path: Path) -> None:
    user = person("owner")
    with pytest.raises(Conflict, match=r"bootstrap --owner owner"):
        ensure_owner(tmp_path)
    assert not list(tmp_path.iterdir())
    call_command("bootstrap", "--owner", "owner")
    assert user.groups.filter(name=Role.OWNER).exists()
    with pytest.raises(CommandError, match="no account 'nobody'"):
        call_command("bootstrap", "--owner", "nobody")
