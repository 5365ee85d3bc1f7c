"""People, keys and agents that tests start from."""

from collections.abc import Iterable
from datetime import datetime
from functools import cache
from typing import Any

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import transaction

from accounts.actor import ALL_SCOPES, Actor, Scope
from accounts.api_keys import create_api_key
from accounts.models import User
from accounts.roles import Role
from agents.domain.configuration import AgentConfiguration
from agents.models import Agent, AgentDraft, Release
from agents.releases import publish

PASSWORD = "correct horse battery"
# A configuration as rows keep it.
OFFLINE = AgentConfiguration(model_chain=("offline:",)).dump()


def person(name: str, *roles: Role) -> User:
    """An account with these roles."""
    user = User.objects.create(username=name, password=_hashed())
    if roles:
        user.groups.set(Group.objects.filter(name__in=roles))
    return user


@cache
def _hashed() -> str:
    """Once for everybody: the product's hasher takes its time."""
    return make_password(PASSWORD)


def key_of(user: User, scopes: Iterable[Scope] = ALL_SCOPES, expires_at: datetime | None = None) -> str:
    """The text of a new API key."""
    return create_api_key(Actor.system("tests"), user=user, name="test", scopes=scopes, expires_at=expires_at)[1]


@transaction.atomic
def agent(slug: str = "demo", *, groups: Iterable[Group] = (), tools: Iterable[str] = ()) -> Agent:
    """A published agent on the offline model."""
    made = Agent.objects.create(slug=slug, name=slug.title())
    if members := list(groups):
        made.groups.set(members)
    AgentDraft.objects.create(agent=made, configuration=OFFLINE | {"tools": list(tools)})
    publish(Actor.system("tests"), agent_id=made.pk, expected_version=1)
    made.refresh_from_db()
    return made


def write_draft(agent: Agent | None = None, *, version: int | None = None, **settings: Any) -> None:
    """Put `settings` into the JSON of a draft as they are, past every check. Without `agent`: into the only draft."""
    drafts = AgentDraft.objects.filter(agent=agent) if agent else AgentDraft.objects.all()
    draft = drafts.get()
    drafts.update(configuration=draft.configuration | settings, version=version or draft.version)


def configuration_of(row: AgentDraft | Release) -> AgentConfiguration:
    return AgentConfiguration.parse(row.configuration)
