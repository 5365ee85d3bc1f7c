"""People, roles and keys in the console: who may change whom, and what is shown once."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from accounts.admin.users import UserAdmin
from accounts.api_keys import authenticate_key
from accounts.models import ApiKey, AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import TurnSchedule
from agents.sessions.turn_schedules import create_schedule
from foundation.errors import Unauthenticated
from tests.support.consoles import Fields, button_of, client_of, confirmed, fields_of, list_of, page_of
from tests.support.people import PASSWORD, agent, key_of, person

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> Client:
    return client_of("olga", Role.OWNER)


@pytest.fixture
def ada() -> User:
    return person("ada", Role.USER)


@pytest.fixture
def secretary() -> Client:
    """Somebody who may change accounts, and nothing else."""
    clerks = Group.objects.create(name="clerks")
    wanted = ["enter_console", "view_user", "add_user", "change_user", "use_chat"]
    clerks.permissions.set(Permission.objects.filter(codename__in=wanted))
    client = client_of("cleo")
    User.objects.get(username="cleo").groups.add(clerks)
    return client


def olga() -> User:
    return User.objects.get(username="olga")


def group(name: str) -> str:
    return str(Group.objects.get(name=name).pk)


def person_fields(client: Client, user: User, **changes: Any) -> Fields:
    return fields_of(client.get(page_of(user)).context["adminform"].form) | changes


def groups_of(user: User) -> list[str]:
    return sorted(user.groups.values_list("name", flat=True))


def acts() -> list[str]:
    return list(AuditEntry.objects.exclude(actor__startswith="system:").order_by("id").values_list("action", flat=True))


def secret_of(answer: Any) -> str:
    return str(answer.context["secret"])


def test_an_owner_invites_somebody_who_chooses_a_password_and_comes_in(owner: Client) -> None:
    form = fields_of(owner.get(reverse("admin:accounts_user_add")).context["adminform"].form)
    assert form["groups"] == [group("user")]
    form |= {"username": "new", "email": "new@example.org", "groups": [group("user"), group("viewer")]}
    made = owner.post(reverse("admin:accounts_user_add"), form)
    new = User.objects.get(username="new")
    assert made["Location"] == button_of(new, "password_link")
    assert not new.has_usable_password()
    shown = owner.post(made["Location"], {"confirm": "yes"})
    assert "no-store" in shown.headers["Cache-Control"]
    assert "The old password" not in owner.get(made["Location"]).content.decode()
    path = secret_of(shown).removeprefix("http://127.0.0.1:8000")
    guest = Client()
    page = guest.get(path, follow=True)
    assert path not in page.redirect_chain[-1][0]
    weak = guest.post(page.redirect_chain[-1][0], {"new_password1": "short", "new_password2": "short"})
    assert "too short" in weak.content.decode()
    chosen = {"new_password1": "a long and new one", "new_password2": "a long and new one"}
    saved = guest.post(page.redirect_chain[-1][0], chosen, follow=True)
    assert "Your password is saved" in saved.content.decode()
    assert guest.login(username="new", password="a long and new one")
    assert guest.get("/admin/").status_code == 200
    assert "no longer good" in Client().get(path, follow=True).content.decode()
    assert acts() == ["user.created", "user.password_link_made", "user.password_chosen"]
    assert not any(path.split("/")[-2] in str(vars(entry)) for entry in AuditEntry.objects.all())


@pytest.mark.parametrize("path", ["/password/x/y/", "/password/MQ/set-password/", "/password/OTk5OTk5OTk5OTk5OQ/a-b/"])
def test_a_made_up_link_opens_nothing(path: str) -> None:
    assert "no longer good" in Client().get(path, follow=True).content.decode()


def test_the_link_of_an_account_that_was_closed_since_opens_nothing(owner: Client, ada: User) -> None:
    path = secret_of(owner.post(button_of(ada, "password_link"), {"confirm": "yes"})).removeprefix(
        "http://127.0.0.1:8000"
    )
    confirmed(owner, button_of(ada, "close_or_reopen"))
    assert "no longer good" in Client().get(path, follow=True).content.decode()


def test_roles_are_explained_and_given(owner: Client, ada: User) -> None:
    page = owner.get(page_of(ada)).content.decode()
    assert "builder: Reads the console; makes agents" in page
    sent = person_fields(owner, ada, groups=[group("user"), group("builder")])
    assert owner.post(page_of(ada), sent).status_code == 302
    assert groups_of(ada) == ["builder", "user"]
    assert AuditEntry.objects.latest("id").detail == {"fields": [], "added": ["builder"], "removed": []}


def test_nobody_changes_their_own_roles(owner: Client) -> None:
    person("second", Role.OWNER)
    sent = person_fields(owner, olga(), first_name="Olga", groups=[group("user")])
    assert owner.post(page_of(olga()), sent).status_code == 302
    assert (olga().first_name, groups_of(olga())) == ("Olga", ["owner"])


def test_who_may_change_accounts_gives_no_more_than_they_hold(secretary: Client, ada: User) -> None:
    sent = person_fields(secretary, ada, groups=[group("owner")])
    page = secretary.post(page_of(ada), sent, follow=True).content.decode()
    assert "you cannot give it" in page
    assert groups_of(ada) == ["user"]
    add = {"username": "eve", "groups": [group("owner")]}
    secretary.post(reverse("admin:accounts_user_add"), add)
    assert not User.objects.filter(username="eve").exists()
    assert acts() == []


def test_who_may_make_keys_makes_none_of_somebody_who_may_more(secretary: Client) -> None:
    person("boss", Role.OWNER)
    Group.objects.get(name="clerks").permissions.add(Permission.objects.get(codename="add_apikey"))
    page = secretary.post(reverse("admin:accounts_apikey_add"), key_fields(secretary, user="boss", name="x"))
    assert page.status_code == 302
    assert not ApiKey.objects.exists()


def test_who_may_change_accounts_does_not_take_over_an_owner(secretary: Client) -> None:
    boss = person("boss", Role.OWNER)
    secretary.post(page_of(boss), person_fields(secretary, boss, username="mine", groups=[]))
    for button in ("password_link", "close_or_reopen"):
        answer = secretary.post(button_of(boss, button), {"confirm": "yes"}, follow=True)
        assert "may do more than you" in answer.content.decode()
    boss.refresh_from_db()
    assert (boss.username, boss.is_active, groups_of(boss)) == ("boss", True, ["owner"])


def test_a_superuser_is_nobody_elses_to_change(owner: Client) -> None:
    root = User.objects.create_superuser("root", password=PASSWORD)
    assert (
        "may do more" in owner.post(button_of(root, "password_link"), {"confirm": "yes"}, follow=True).content.decode()
    )


def test_the_last_owner_stays(owner: Client) -> None:
    second = person("second", Role.OWNER)
    client = Client()
    client.force_login(second)
    confirmed(client, button_of(olga(), "close_or_reopen"))
    assert not olga().is_active
    page = client.post(button_of(second, "close_or_reopen"), {"confirm": "yes"}, follow=True)
    assert "cannot close your own account" in page.content.decode()
    sent = person_fields(client, olga(), groups=[])
    assert client.post(page_of(olga()), sent).status_code == 302
    assert groups_of(second) == ["owner"]


def test_a_helper_with_the_same_rights_cannot_remove_the_last_owner(owner: Client) -> None:
    twin = Group.objects.create(name="twin")
    twin.permissions.set(Group.objects.get(name=Role.OWNER).permissions.all())
    client = client_of("tom")
    User.objects.get(username="tom").groups.add(twin)
    for answer in (
        client.post(page_of(olga()), person_fields(client, olga(), groups=[]), follow=True),
        client.post(button_of(olga(), "close_or_reopen"), {"confirm": "yes"}, follow=True),
    ):
        assert "This is the last owner" in answer.content.decode()
    assert (olga().is_active, groups_of(olga())) == (True, ["owner"])


def test_a_closed_account_is_out_and_comes_back_with_what_it_had(owner: Client, ada: User) -> None:
    plain = key_of(ada)
    browser = Client()
    browser.force_login(ada)
    confirmed(owner, button_of(ada, "close_or_reopen"))
    assert browser.get("/")["Location"].startswith("/login/")
    with pytest.raises(Unauthenticated):
        authenticate_key(plain)
    confirmed(owner, button_of(ada, "close_or_reopen"))
    authenticate_key(plain)
    assert acts() == ["user.closed", "user.reopened"]


def test_the_second_of_two_tabs_on_a_person_is_told(owner: Client, ada: User) -> None:
    first, second = person_fields(owner, ada, email="a@example.org"), person_fields(owner, ada, email="b@example.org")
    assert owner.post(page_of(ada), first).status_code == 302
    answer = owner.post(page_of(ada), second)
    assert "Changed by olga at" in answer.content.decode()
    assert "marked below" not in answer.content.decode()
    ada.refresh_from_db()
    assert ada.email == "a@example.org"
    assert owner.post(page_of(ada), fields_of(answer.context["adminform"].form)).status_code == 302
    ada.refresh_from_db()
    assert ada.email == "b@example.org"


def test_the_form_of_an_account_grants_no_superuser(owner: Client, ada: User) -> None:
    sent = person_fields(owner, ada, is_superuser="on", is_staff="on", is_active="", password="x", version="1")
    assert owner.post(page_of(ada), sent).status_code == 302
    before = User.objects.values("is_superuser", "is_staff", "is_active", "password").get(pk=ada.pk)
    assert before == {"is_superuser": False, "is_staff": False, "is_active": True, "password": ada.password}


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.BUILDER])
def test_who_is_no_owner_sees_no_people_no_groups_and_no_keys(role: Role, ada: User) -> None:
    key_of(ada)
    client = client_of("vera", role)
    viewer, key = Group.objects.get(name=Role.VIEWER), ApiKey.objects.get()
    addresses = [list_of(model) for model in (User, Group, ApiKey)]
    addresses += [page_of(row) for row in (ada, viewer, key)]
    addresses += [button_of(ada, "password_link"), button_of(ada, "close_or_reopen"), button_of(key, "revoke_one")]
    addresses += [button_of(viewer, "delete_group"), *(f"{list_of(model)}add/" for model in (User, Group, ApiKey))]
    for address in addresses:
        assert client.get(address).status_code == 403, address
        assert client.post(address, {"confirm": "yes"}).status_code == 403, address
    assert acts() == []


def test_a_group_is_made_renamed_and_deleted(owner: Client) -> None:
    assert owner.post(reverse("admin:auth_group_add"), {"name": "lawyers"}).status_code == 302
    lawyers = Group.objects.get(name="lawyers")
    legal = agent("legal", groups=[lawyers])
    sent = fields_of(owner.get(page_of(lawyers)).context["adminform"].form)
    assert owner.post(page_of(lawyers), sent | {"name": "Law"}).status_code == 302
    assert "Changed by olga" in owner.post(page_of(lawyers), sent | {"name": "Legal"}).content.decode()
    assert "only for some groups" in confirmed(owner, button_of(lawyers, "delete_group")).content.decode()
    legal.groups.clear()
    confirmed(owner, button_of(lawyers, "delete_group"))
    assert not Group.objects.filter(name="Law").exists()
    assert acts() == ["group.created", "group.renamed", "group.deleted"]


def test_a_role_is_copied_and_the_copy_is_changed(owner: Client) -> None:
    viewer = Group.objects.get(name=Role.VIEWER)
    confirmed(owner, button_of(viewer, "copy_group"), name="readers")
    readers = Group.objects.get(name="readers")
    assert permissions_of(readers) == permissions_of(viewer) != []
    sent = fields_of(owner.get(page_of(readers)).context["adminform"].form)
    cancel = Permission.objects.get(codename="cancel_turn")
    owner.post(page_of(readers), sent | {"permissions": [str(cancel.pk)]})
    assert permissions_of(readers) == ["cancel_turn"]
    assert "Changed by olga" in owner.post(page_of(readers), sent | {"permissions": []}).content.decode()
    confirmed(owner, button_of(viewer, "copy_group"), name="readers")
    assert Group.objects.filter(name="readers").count() == 1
    assert acts() == ["group.created", "group.permissions_changed"]


def test_nobody_gives_a_group_what_they_do_not_hold(owner: Client, secretary: Client) -> None:
    clerks, owners = Group.objects.get(name="clerks"), Group.objects.get(name=Role.OWNER)
    clerks.permissions.add(*Permission.objects.filter(codename__in=("add_group", "change_group", "view_group")))
    confirmed(secretary, button_of(owners, "copy_group"), name="mine")
    assert not Group.objects.filter(name="mine").exists()
    before = permissions_of(clerks)
    sent = fields_of(secretary.get(page_of(clerks)).context["adminform"].form)
    publish = str(Permission.objects.get(codename="publish_agent").pk)
    secretary.post(page_of(clerks), sent | {"permissions": [*sent["permissions"], publish]})
    assert permissions_of(clerks) == before


def permissions_of(group: Group) -> list[str]:
    return sorted(group.permissions.values_list("codename", flat=True))


def test_a_role_is_neither_renamed_nor_deleted(owner: Client) -> None:
    viewer = Group.objects.get(name=Role.VIEWER)
    assert owner.get(page_of(viewer)).status_code == 200
    assert owner.post(page_of(viewer), {"name": "x"}).status_code == 403
    assert owner.post(button_of(viewer, "delete_group"), {"confirm": "yes"}).status_code == 403
    assert owner.post(reverse("admin:auth_group_delete", args=[viewer.pk]), {"post": "yes"}).status_code == 403
    viewer.refresh_from_db()
    assert viewer.name == "viewer"


def key_fields(owner: Client, **changes: Any) -> Fields:
    return fields_of(owner.get(reverse("admin:accounts_apikey_add")).context["form"]) | {"confirm": "yes"} | changes


def test_a_key_is_shown_once_and_kept_nowhere(owner: Client, ada: User, caplog: pytest.LogCaptureFixture) -> None:
    sent = key_fields(owner, user="ada", name="report", scopes=["read"], days="30")
    answer = owner.post(reverse("admin:accounts_apikey_add"), sent)
    plain = secret_of(answer)
    assert re.fullmatch(r"bs_[a-z0-9]{12}_[A-Za-z0-9]{53}", plain)
    assert "no-store" in answer.headers["Cache-Control"]
    assert authenticate_key(plain).name == "ada"
    key = ApiKey.objects.get()
    assert key.expires_at is not None
    assert (round((key.expires_at - key.created_at) / timedelta(days=1)), key.scopes) == (30, ["read"])
    secret = plain.split("_")[2]
    again = owner.post(reverse("admin:accounts_apikey_add"), sent, follow=True)
    assert "made already" in again.content.decode()
    for page in (again, owner.get(list_of(ApiKey)), owner.get(page_of(key)), owner.get("/admin/")):
        assert secret not in page.content.decode()
    assert secret not in caplog.text
    assert not any(secret in str(vars(entry)) for entry in AuditEntry.objects.all())
    assert ApiKey.objects.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"user": "nobody"},
        {"user": ""},
        {"name": ""},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"days": "-1"},
        {"days": "99999"},
        {"key_id": "x"},
        {"key_id": ""},
        {"name": "a\x00b"},
        {"name": "a\u202eb"},
    ],
)
def test_a_bad_form_makes_no_key(owner: Client, ada: User, change: Fields) -> None:
    sent = key_fields(owner, user="ada", name="report") | change
    assert owner.post(reverse("admin:accounts_apikey_add"), sent).status_code in {200, 302}
    assert not ApiKey.objects.exists()


def test_keys_are_revoked_from_the_list_and_from_their_page_after_a_question(owner: Client, ada: User) -> None:
    first, second = key_of(ada), key_of(ada)
    keys = list(ApiKey.objects.order_by("created_at"))
    action = {"action": "revoke", "_selected_action": [str(keys[0].pk)]}
    asked = owner.post(list_of(ApiKey), action)
    assert "of ada" in asked.content.decode()
    assert "goes on" not in asked.content.decode()
    authenticate_key(first)
    owner.post(list_of(ApiKey), {**dict(asked.context["hidden_values"]), "confirm": "yes"})
    agent()
    create_schedule(user_actor(ada), text="My secret", agent_slug="demo", cron="0 8 * * *", time_zone="Europe/Zurich")
    assert (
        "What their users have planned goes on without a key: 1 schedule."
        in owner.get(button_of(keys[1], "revoke_one")).content.decode()
    )
    confirmed(owner, button_of(keys[1], "revoke_one"))
    assert TurnSchedule.objects.get().next_at is not None
    for plain in (first, second):
        with pytest.raises(Unauthenticated):
            authenticate_key(plain)
    assert acts() == ["api_key.revoked"] * 2


def test_the_page_of_a_person_stays_within_its_budget(
    owner: Client, ada: User, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        ada.groups.add(Group.objects.create(name=f"group {number}"))
    with django_assert_max_num_queries(UserAdmin.page_query_budget):
        assert owner.get(page_of(ada)).status_code == 200
