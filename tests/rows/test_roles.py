import pytest
from django.contrib.auth.models import AnonymousUser, Group

from agents.access.actor import Actor, Scope
from agents.access.permissions import actor_of, may, need_permission, scopes_of
from agents.access.roles import ENTER_CONSOLE, PUBLISH_AGENT, ROLE_PERMISSIONS, USE_CHAT, Role
from foundation.errors import Forbidden, Unauthenticated
from tests.people import person

pytestmark = pytest.mark.django_db

SCOPES = {
    Role.USER: {Scope.READ, Scope.CHAT},
    Role.VIEWER: {Scope.READ, Scope.MANAGE},
    Role.OPERATOR: {Scope.READ, Scope.MANAGE},
    Role.BUILDER: {Scope.READ, Scope.MANAGE},
    Role.OWNER: {Scope.READ, Scope.CHAT, Scope.MANAGE},
}


@pytest.mark.parametrize("role", Role)
def test_the_migration_seeds_what_the_table_of_roles_says(role: Role) -> None:
    held = Group.objects.get(name=role).permissions.select_related("content_type")
    assert {f"{one.content_type.app_label}.{one.codename}" for one in held} == ROLE_PERMISSIONS[role]


def test_the_owner_holds_all_that_any_role_holds() -> None:
    everything = frozenset[str]().union(*ROLE_PERMISSIONS.values())
    assert ROLE_PERMISSIONS[Role.OWNER] == everything


@pytest.mark.parametrize("role", Role)
def test_a_login_gives_the_scopes_of_its_role(role: Role) -> None:
    user = person("ada", role)
    assert actor_of(user) == Actor.user(user_id=user.pk, name="ada", scopes=frozenset(SCOPES[role]))


def test_an_account_without_a_role_only_reads() -> None:
    assert actor_of(person("ada")).scopes == {Scope.READ}


@pytest.mark.parametrize("permissions", [[], [USE_CHAT], [ENTER_CONSOLE], [USE_CHAT, ENTER_CONSOLE, "x.y"]])
def test_scopes_follow_from_permissions(permissions: list[str]) -> None:
    scopes = scopes_of(permissions)
    assert (Scope.CHAT in scopes) == (USE_CHAT in permissions)
    assert (Scope.MANAGE in scopes) == (ENTER_CONSOLE in permissions)


def test_nobody_and_closed_accounts_are_not_actors() -> None:
    user = person("ada", Role.OWNER)
    user.is_active = False
    for refused in (user, AnonymousUser()):
        with pytest.raises(Unauthenticated):
            actor_of(refused)


def test_a_permission_is_asked_of_the_roles_held_now() -> None:
    user = person("bob", Role.BUILDER)
    actor = actor_of(user)
    need_permission(actor, PUBLISH_AGENT)
    user.groups.clear()
    assert not may(actor, PUBLISH_AGENT)
    with pytest.raises(Forbidden):
        need_permission(actor, PUBLISH_AGENT)


def test_a_key_without_manage_has_no_permission_of_its_user() -> None:
    user = person("bob", Role.BUILDER)
    chat_only = Actor.user(user_id=user.pk, name="bob", scopes=frozenset({Scope.CHAT, Scope.READ}))
    assert not may(chat_only, PUBLISH_AGENT)


def test_a_closed_account_has_no_permission_and_the_system_has_all() -> None:
    user = person("bob", Role.OWNER)
    actor = actor_of(user)
    user.is_active = False
    user.save()
    assert not may(actor, PUBLISH_AGENT)
    assert may(Actor.system("tests"), PUBLISH_AGENT)
