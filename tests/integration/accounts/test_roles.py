import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission

from accounts import roles
from accounts.actor import Actor, Scope
from accounts.permissions import has_permission, permission_scopes, require_permission, user_actor
from accounts.role_permissions import ENTER_CONSOLE, USE_CHAT
from accounts.roles import Role, role_permissions, sync_roles
from agents.permissions.role_permissions import PUBLISH_AGENT
from foundation.errors import Forbidden, Unauthenticated
from tests.support.people import person

pytestmark = pytest.mark.django_db

SCOPES = {
    Role.USER: {Scope.READ, Scope.CHAT},
    Role.VIEWER: {Scope.READ, Scope.MANAGE},
    Role.OPERATOR: {Scope.READ, Scope.MANAGE},
    Role.BUILDER: {Scope.READ, Scope.MANAGE},
    Role.OWNER: {Scope.READ, Scope.CHAT, Scope.MANAGE},
}


@pytest.mark.parametrize("role", Role)
def test_each_role_holds_what_the_apps_declare(role: Role) -> None:
    assert held_by(role) == role_permissions()[role]


def test_a_sync_mends_the_built_in_roles_and_leaves_other_groups_alone() -> None:
    own = Group.objects.create(name="friends of the house")
    viewer = Group.objects.get(name=Role.VIEWER)
    stray, missing = Permission.objects.get(codename="delete_user"), viewer.permissions.first()
    assert missing is not None
    own.permissions.add(stray)
    viewer.permissions.add(stray)
    viewer.permissions.remove(missing)
    Group.objects.get(name=Role.USER).delete()
    sync_roles()
    assert {role: held_by(role) for role in Role} == role_permissions()
    assert list(own.permissions.all()) == [stray]


def test_a_second_sync_changes_nothing() -> None:
    sync_roles()
    before = list(Group.permissions.through.objects.order_by("pk").values_list())
    sync_roles()
    assert list(Group.permissions.through.objects.order_by("pk").values_list()) == before


def test_a_declared_permission_that_no_model_has_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(roles._declared, Role.USER, {"agents.fly"})
    with pytest.raises(LookupError, match=r"agents\.fly"):
        sync_roles()


def held_by(role: Role) -> set[str]:
    held = Group.objects.get(name=role).permissions.select_related("content_type")
    return {f"{one.content_type.app_label}.{one.codename}" for one in held}


def test_the_owner_holds_all_that_any_role_holds() -> None:
    everything = frozenset[str]().union(*role_permissions().values())
    assert role_permissions()[Role.OWNER] == everything


@pytest.mark.parametrize("role", Role)
def test_a_login_gives_the_scopes_of_its_role(role: Role) -> None:
    user = person("ada", role)
    assert user_actor(user) == Actor.user(user_id=user.pk, name="ada", scopes=frozenset(SCOPES[role]))


def test_an_account_without_a_role_only_reads() -> None:
    assert user_actor(person("ada")).scopes == {Scope.READ}


@pytest.mark.parametrize("permissions", [[], [USE_CHAT], [ENTER_CONSOLE], [USE_CHAT, ENTER_CONSOLE, "x.y"]])
def test_scopes_follow_from_permissions(permissions: list[str]) -> None:
    scopes = permission_scopes(permissions)
    assert (Scope.CHAT in scopes) == (USE_CHAT in permissions)
    assert (Scope.MANAGE in scopes) == (ENTER_CONSOLE in permissions)


def test_nobody_and_closed_accounts_are_not_actors() -> None:
    user = person("ada", Role.OWNER)
    user.is_active = False
    for refused in (user, AnonymousUser()):
        with pytest.raises(Unauthenticated):
            user_actor(refused)


def test_a_permission_is_asked_of_the_roles_held_now() -> None:
    user = person("bob", Role.BUILDER)
    actor = user_actor(user)
    require_permission(actor, PUBLISH_AGENT)
    user.groups.clear()
    assert not has_permission(actor, PUBLISH_AGENT)
    with pytest.raises(Forbidden):
        require_permission(actor, PUBLISH_AGENT)


def test_a_key_without_manage_has_no_permission_of_its_user() -> None:
    user = person("bob", Role.BUILDER)
    chat_only = Actor.user(user_id=user.pk, name="bob", scopes=frozenset({Scope.CHAT, Scope.READ}))
    assert not has_permission(chat_only, PUBLISH_AGENT)


def test_a_closed_account_has_no_permission_and_the_system_has_all() -> None:
    user = person("bob", Role.OWNER)
    actor = user_actor(user)
    user.is_active = False
    user.save()
    assert not has_permission(actor, PUBLISH_AGENT)
    assert has_permission(Actor.system("tests"), PUBLISH_AGENT)
