"""What a user may, told by SQL, is what Django tells."""

from __future__ import annotations

from itertools import product

import pytest
from django.contrib.auth.models import Group, Permission
from django.db import connection

from accounts.models import User
from accounts.permissions import held_permissions_sql
from accounts.role_permissions import ENTER_CONSOLE, USE_CHAT
from accounts.roles import Role
from agents.permissions.role_permissions import PUBLISH_AGENT
from tests.support.people import person

pytestmark = pytest.mark.django_db

ASKED = [USE_CHAT, ENTER_CONSOLE, PUBLISH_AGENT, "scheduling.view_schedule", "agents.view_schedule", "agents.nothing"]


def held() -> dict[str, set[str]]:
    """The permissions among `ASKED` of every user, by name."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT u.username, {held_permissions_sql(ASKED)} FROM {User._meta.db_table} u")
        return {name: set(permissions) for name, permissions in cursor.fetchall()}


def test_each_user_holds_what_django_says() -> None:
    for role in Role:
        person(f"a {role}", role)
    both = person("two roles", Role.BUILDER)
    both.groups.add(Group.objects.get(name=Role.VIEWER))
    own = User.objects.create(username="their own")
    own.user_permissions.add(Permission.objects.get(codename="publish_agent", content_type__app_label="agents"))
    for superuser, active in product([False, True], repeat=2):
        User.objects.create(username=f"{superuser=} {active=}", is_superuser=superuser, is_active=active)
    closed = person("closed", Role.OWNER)
    closed.is_active = False
    closed.save()
    found = held()
    # A superuser holds what there is; Django grants them also what is no permission at all.
    there = {
        f"{one.content_type.app_label}.{one.codename}" for one in Permission.objects.select_related("content_type")
    }
    for user in User.objects.all():
        assert found[user.username] == {name for name in ASKED if name in there and user.has_perm(name)}, user
    assert any(found.values())
