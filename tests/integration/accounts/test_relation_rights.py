"""Rights that hang on groups: who may use an agent and read its transcripts. They are only widened by somebody who has
them, or by an owner; whatever way leads there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.test import Client
from pydantic import SecretStr

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.groups import change_group, copy_group, create_group
from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from accounts.users import (
    create_user,
    deactivate_user,
    mail_password_link,
    password_link,
    reactivate_user,
    update_user,
)
from agents.models import Agent
from agents.permissions.role_permissions import VIEW_TRANSCRIPT
from agents.permissions.transcripts import readable_agents
from agents.releases import change_agent, create_agent
from foundation.errors import BandstandError, Forbidden
from tests.support.consoles import fields_of, list_of, page_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db

PEOPLE_PERMISSIONS = (
    "add_user", "change_user", "view_user", "add_group", "change_group", "view_group", "add_apikey", "view_apikey",
)  # fmt: skip
NAMES = ["username", "first_name", "last_name", "email"]


class World:
    """An agent of the lawyers, who reads its transcripts, and those who may change agents, accounts or groups.

    Builders: `bea`, and `lea`, a lawyer. Of the staff office, which may change accounts and groups and reads
    transcripts: `una`, and `ula`, a lawyer. `olga` is an owner and no lawyer.
    """

    def __init__(self) -> None:
        self.lawyers, self.sales, self.bakers = (
            Group.objects.create(name=name) for name in ("lawyers", "sales", "bakers")
        )
        self.office = Group.objects.create(name="staff office")
        self.office.permissions.set(
            [
                *Permission.objects.filter(codename__in=PEOPLE_PERMISSIONS),
                *Group.objects.get(name=Role.VIEWER).permissions.all(),
                *Group.objects.get(name=Role.USER).permissions.all(),
            ]
        )
        self.law, self.open = agent("law", groups=[self.lawyers]), agent("open")
        self.actors = {
            "olga": self.person("olga", Role.OWNER),
            "bea": self.person("bea", Role.BUILDER, Role.USER),
            "lea": self.person("lea", Role.BUILDER, Role.USER, "lawyers"),
            "una": self.person("una", "staff office"),
            "ula": self.person("ula", "staff office", "lawyers"),
        }
        # A viewer who is no lawyer, one who is, and a lawyer who only chats.
        self.vic, self.lex = self.person("vic", Role.VIEWER), self.person("lex", Role.VIEWER, "lawyers")
        self.lou = self.person("lou", Role.USER, "lawyers")

    def person(self, name: str, *groups: str) -> User:
        user = person(name)
        user.groups.set(Group.objects.filter(name__in=groups))
        User.objects.filter(pk=user.pk).update(email=f"{name}@example.org")
        return User.objects.get(pk=user.pk)

    def regroup_agent(self, actor: Actor, row: Agent, *groups: Group) -> Any:
        return change_agent(actor, agent_id=row.pk, expected_version=row.version, details={}, groups=groups)

    def regroup(self, actor: Actor, user: User, *groups: Group, **details: str) -> Any:
        own = {name: getattr(user, name) for name in NAMES} | details
        return update_user(actor, user_id=user.pk, expected_version=user.version, details=own, groups=groups)

    def role(self, name: Role) -> Group:
        return Group.objects.get(name=name)

    def closed_lawyer(self) -> User:
        return deactivate_user(Actor.system("tests"), user_id=self.lex.pk)


@pytest.fixture
def world(settings: Any) -> World:
    # Nothing goes there: another process sends.
    mail = {"email_url": SecretStr("smtp+plain://127.0.0.1:9")}
    settings.BANDSTAND = settings.BANDSTAND.model_copy(update=mail)
    return World()


Act = Callable[[World, Actor], Any]
EVERY_BUILDER, EVERY_OFFICER = {"olga", "bea", "lea"}, {"olga", "una", "ula"}
LAWYERS_AND_OWNERS = {"olga", "lea", "ula"}

# Who may do it, of whom the permissions allow it.
ACTS: dict[str, tuple[set[str], set[str], Act]] = {
    "everybody reads": (EVERY_BUILDER, LAWYERS_AND_OWNERS, lambda w, a: w.regroup_agent(a, w.law)),
    "others read": (EVERY_BUILDER, LAWYERS_AND_OWNERS, lambda w, a: w.regroup_agent(a, w.law, w.sales)),
    "others read, too": (EVERY_BUILDER, LAWYERS_AND_OWNERS, lambda w, a: w.regroup_agent(a, w.law, w.lawyers, w.sales)),
    "fewer read": (EVERY_BUILDER, EVERY_BUILDER, lambda w, a: w.regroup_agent(a, w.open, w.sales)),
    "as many read": (EVERY_BUILDER, EVERY_BUILDER, lambda w, a: w.regroup_agent(a, w.law, w.lawyers)),
    "a new agent": (
        EVERY_BUILDER,
        EVERY_BUILDER,
        lambda w, a: create_agent(
            a, details={"slug": "new", "name": "New"}, groups=[w.lawyers], model_chain=["offline:"]
        ),
    ),
    "one more lawyer": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: w.regroup(a, w.vic, w.role(Role.VIEWER), w.lawyers),
    ),
    "one more baker": (
        EVERY_OFFICER,
        EVERY_OFFICER,
        lambda w, a: w.regroup(a, w.vic, w.role(Role.VIEWER), w.bakers),
    ),
    "a new lawyer": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: create_user(a, details={"username": "new"}, groups=[w.lawyers]),
    ),
    "a new baker": (
        EVERY_OFFICER,
        EVERY_OFFICER,
        lambda w, a: create_user(a, details={"username": "new"}, groups=[w.bakers]),
    ),
    "a lawyer becomes a viewer": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: w.regroup(a, w.lou, w.role(Role.VIEWER), w.lawyers),
    ),
    "a lawyer is back": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: reactivate_user(a, user_id=w.closed_lawyer().pk),
    ),
    "a lawyer's password": (EVERY_OFFICER, LAWYERS_AND_OWNERS, lambda w, a: password_link(a, user_id=w.lex.pk)),
    "a lawyer's password by mail": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: mail_password_link(a, user_id=w.lex.pk),
    ),
    "a lawyer's address": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: w.regroup(a, w.lex, *w.lex.groups.all(), email="una@example.org"),
    ),
    "a lawyer's key": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: create_api_key(a, user=w.lex, name="x", scopes=[Scope.READ], expires_at=None),
    ),
    "a viewer's key": (
        EVERY_OFFICER,
        EVERY_OFFICER,
        lambda w, a: create_api_key(a, user=w.vic, name="x", scopes=[Scope.READ], expires_at=None),
    ),
    "all lawyers read": (
        EVERY_OFFICER,
        LAWYERS_AND_OWNERS,
        lambda w, a: change_group(a, group_id=w.lawyers.pk, name="lawyers", permissions=[permission(VIEW_TRANSCRIPT)]),
    ),
    "all bakers read": (
        EVERY_OFFICER,
        EVERY_OFFICER,
        lambda w, a: change_group(a, group_id=w.bakers.pk, name="bakers", permissions=[permission(VIEW_TRANSCRIPT)]),
    ),
    "the lawyers are called otherwise": (
        EVERY_OFFICER,
        EVERY_OFFICER,
        lambda w, a: change_group(a, group_id=w.lawyers.pk, name="attorneys"),
    ),
    "a copy": (EVERY_OFFICER, EVERY_OFFICER, lambda w, a: copy_group(a, group_id=w.lawyers.pk, name="copy")),
    "a new group": (EVERY_OFFICER, EVERY_OFFICER, lambda w, a: create_group(a, name="new")),
}


def permission(name: str) -> Permission:
    app, codename = name.split(".")
    return Permission.objects.get(content_type__app_label=app, codename=codename)


def test_a_right_is_widened_only_by_who_has_it_or_an_owner(world: World) -> None:
    for what, (capable, allowed, act) in ACTS.items():
        done = {name for name in capable if _may(world, name, act)}
        assert done == capable & allowed, what


def _may(world: World, name: str, act: Act) -> bool:
    with transaction.atomic():
        try:
            act(world, user_actor(world.actors[name]))
        except Forbidden:
            return False
        finally:
            transaction.set_rollback(True)
    return True


def test_nobody_gives_themselves_a_group(world: World) -> None:
    for name in ("olga", "una"):
        own = world.actors[name]
        with pytest.raises(Forbidden):
            world.regroup(user_actor(own), own, *own.groups.all(), world.lawyers)


def test_two_steps_do_not_lead_where_one_does_not(world: World) -> None:
    """A second account, a group of one's own, a role for somebody inside."""
    una = user_actor(world.actors["una"])
    ally = create_user(una, details={"username": "ally"}, groups=[world.bakers, world.role(Role.VIEWER)])
    with pytest.raises(Forbidden), transaction.atomic():
        world.regroup(una, ally, world.bakers, world.lawyers)
    bea = user_actor(world.actors["bea"])
    with pytest.raises(Forbidden), transaction.atomic():
        world.regroup_agent(bea, world.law, world.lawyers, world.bakers)
    assert [row.slug for row in readable_agents(ally)] == ["open"]


def test_the_audit_names_what_was_added_and_removed(world: World) -> None:
    olga = user_actor(world.actors["olga"])
    world.regroup_agent(olga, world.law, world.sales, world.bakers)
    assert AuditEntry.objects.latest("id").detail == {
        "fields": ["groups"], "groups": {"added": ["bakers", "sales"], "removed": ["lawyers"]},
    }  # fmt: skip
    create_agent(olga, details={"slug": "new", "name": "New"}, groups=[world.sales], model_chain=["offline:"])
    assert AuditEntry.objects.latest("id").detail == {"groups": {"added": ["sales"], "removed": []}}
    world.regroup(olga, world.vic, world.lawyers)
    assert AuditEntry.objects.latest("id").detail == {"fields": [], "added": ["lawyers"], "removed": ["viewer"]}
    change_group(olga, group_id=world.bakers.pk, name="bakers", permissions=[permission(VIEW_TRANSCRIPT)])
    assert AuditEntry.objects.latest("id").detail == {"added": [VIEW_TRANSCRIPT], "removed": []}


def test_the_console_says_why_and_saves_nothing(world: World) -> None:
    browser = Client()
    browser.force_login(world.actors["bea"])
    page = browser.get(page_of(world.law))
    sent = fields_of(page.context["adminform"].form) | {"groups": [], "name": "Ours"}
    answer = browser.post(page_of(world.law), sent, follow=True)
    assert "Nothing is saved" in answer.content.decode()
    row = Agent.objects.get(pk=world.law.pk)
    assert (row.name, [group.name for group in row.groups.all()]) == ("Law", ["lawyers"])


def test_no_form_takes_what_makes_a_superuser(world: World) -> None:
    browser = Client()
    browser.force_login(world.actors["ula"])
    page = browser.get(page_of(world.vic))
    everything = [str(row.pk) for row in Permission.objects.all()]
    more = {"is_superuser": "on", "is_staff": "on", "user_permissions": everything, "permissions": everything}
    sent = fields_of(page.context["adminform"].form) | more | {"first_name": "Victor"}
    browser.post(page_of(world.vic), sent)
    vic = User.objects.get(pk=world.vic.pk)
    assert (vic.first_name, vic.is_superuser, vic.is_staff, vic.user_permissions.count()) == ("Victor", False, False, 0)
    page = browser.get(page_of(world.bakers))
    sent = fields_of(page.context["adminform"].form) | {"permissions": everything}
    browser.post(page_of(world.bakers), sent)
    assert not world.bakers.permissions.count()


def test_no_list_action_changes_accounts_groups_or_agents(world: World) -> None:
    browser = Client()
    browser.force_login(world.actors["olga"])
    for model in (User, Group, Agent):
        changelist = browser.get(list_of(model)).context["cl"]
        assert [name for name, _ in changelist.model_admin.get_action_choices(_request(browser))] in ([""], [])


def _request(browser: Client) -> Any:
    return browser.get("/admin/").wsgi_request


def test_a_superuser_and_the_system_may(world: World) -> None:
    root = User.objects.create(username="root", is_superuser=True)
    for actor in (user_actor(root), Actor.system("tests")):
        with transaction.atomic():
            world.regroup_agent(actor, world.law)
            transaction.set_rollback(True)


def test_a_key_without_manage_changes_no_groups(world: World) -> None:
    lea = world.actors["lea"]
    key = Actor.user(user_id=lea.pk, name="lea", scopes=frozenset({Scope.CHAT, Scope.READ}))
    with pytest.raises(BandstandError):
        world.regroup_agent(key, world.law)
