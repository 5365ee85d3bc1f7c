import re
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pydantic import SecretStr

from accounts.actor import ALL_SCOPES, Actor, Scope
from accounts.api_keys import authenticate_key, create_api_key, revoke_api_key
from accounts.models import ApiKey
from accounts.permissions import user_actor
from accounts.roles import Role
from foundation.clock import now
from foundation.errors import Forbidden, InvalidInput, NotFound, Unauthenticated
from tests.support.people import key_of, person

pytestmark = pytest.mark.django_db

KEY = re.compile(r"bs_[a-z0-9]{12}_[A-Za-z0-9]{53}")


def rule_of(plain: str) -> str:
    with pytest.raises(Unauthenticated) as refusal:
        authenticate_key(plain)
    assert refusal.value.detail == Unauthenticated().detail, "the caller learns no reason"
    return str(refusal.value.context["rule"])


def test_a_key_acts_for_its_user_within_its_scopes() -> None:
    user = person("ada", Role.USER)
    key, plain = create_api_key(
        Actor.system("tests"), user=user, name="laptop", scopes=[Scope.CHAT], expires_at=now() + timedelta(days=1)
    )
    assert KEY.fullmatch(plain)
    assert authenticate_key(plain) == Actor.user(
        user_id=user.pk, name="ada", scopes=frozenset({Scope.CHAT}), key_id=key.pk
    )


def test_one_query_authenticates() -> None:
    plain = key_of(person("ada", Role.USER))
    with CaptureQueriesContext(connection) as queries:
        authenticate_key(plain)
    assert len(queries) == 1


def test_the_row_does_not_hold_the_key() -> None:
    plain = key_of(person("ada", Role.USER))
    secret = plain.rpartition("_")[2]
    row = ApiKey.objects.values().get()
    assert secret not in str(row)
    assert secret.encode() not in bytes(row["digest"])


@pytest.mark.parametrize(
    "plain",
    [
        "",
        "bs_",
        "x",
        "bs_abcdefghijkl_" + "é" * 53,
        "bs_abcdefghijkl_" + "A" * 54,
        " bs_abcdefghijkl_" + "A" * 53,
        "bs_abcdefghijkl_" + "A" * 53 + "\n",
        "\x00" * 60,
        "A" * 100_000,
    ],
)
def test_what_has_not_the_shape_of_a_key_is_refused_without_a_query(plain: str) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert rule_of(plain) == "key_malformed"
    assert not queries.captured_queries


def test_another_secret_and_another_prefix_are_refused() -> None:
    plain = key_of(person("ada", Role.USER))
    other = key_of(person("bob", Role.USER))
    assert rule_of(plain[:-1] + ("a" if plain[-1] != "a" else "b")) == "key_unknown"
    assert rule_of(plain[:16] + other[16:]) == "key_unknown"
    assert rule_of("bs_000000000000_" + plain[16:]) == "key_unknown"


def test_an_expired_key_is_refused() -> None:
    plain = key_of(person("ada", Role.USER))
    ApiKey.objects.update(expires_at=now() - timedelta(seconds=1))
    assert rule_of(plain) == "key_expired"


def test_a_revoked_key_is_refused_at_once() -> None:
    user = person("ada", Role.USER)
    plain = key_of(user)
    key_id = authenticate_key(plain).key_id
    assert key_id is not None
    first = revoke_api_key(user_actor(user), key_id=key_id).revoked_at
    assert rule_of(plain) == "key_revoked"
    assert revoke_api_key(user_actor(user), key_id=key_id).revoked_at == first, "a second time changes nothing"


def test_the_key_of_a_closed_account_is_refused() -> None:
    user = person("ada", Role.USER)
    plain = key_of(user)
    user.is_active = False
    user.save()
    assert rule_of(plain) == "user_inactive"


def test_a_key_can_do_no_more_than_its_user_may_now() -> None:
    user = person("ada", Role.OWNER)
    plain = key_of(user)
    assert authenticate_key(plain).scopes == ALL_SCOPES
    user.groups.clear()
    assert authenticate_key(plain).scopes == {Scope.READ}
    user.is_superuser = True
    user.save()
    assert authenticate_key(plain).scopes == ALL_SCOPES


def test_a_key_made_under_the_previous_pepper_still_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = key_of(person("ada", Role.USER))
    old = settings.BANDSTAND.key_pepper
    rotated: dict[str, Any] = {"key_pepper": SecretStr("another pepper"), "key_pepper_previous": old}
    monkeypatch.setattr(settings, "BANDSTAND", SimpleNamespace(**rotated))
    assert authenticate_key(plain)
    monkeypatch.setattr(settings, "BANDSTAND", SimpleNamespace(**{**rotated, "key_pepper_previous": None}))
    assert rule_of(plain) == "key_unknown"


def test_only_the_user_and_who_may_add_keys_make_one() -> None:
    ada, bob, owner = person("ada", Role.USER), person("bob", Role.USER), person("olga", Role.OWNER)

    def make(actor: Actor, scopes: set[Scope]) -> None:
        create_api_key(actor, user=ada, name="k", scopes=scopes, expires_at=None)

    make(user_actor(ada), {Scope.CHAT})
    make(user_actor(owner), {Scope.CHAT})
    with pytest.raises(Forbidden):
        make(user_actor(bob), {Scope.CHAT})
    with pytest.raises(Forbidden):
        make(user_actor(ada), {Scope.MANAGE})
    with pytest.raises(Forbidden):
        make(authenticate_key(key_of(ada, {Scope.CHAT})), {Scope.CHAT})


def test_a_foreign_key_looks_absent_unless_one_may_revoke() -> None:
    ada, bob, owner = person("ada", Role.USER), person("bob", Role.USER), person("olga", Role.OWNER)
    key_id = authenticate_key(key_of(ada)).key_id
    assert key_id is not None
    with pytest.raises(NotFound):
        revoke_api_key(user_actor(bob), key_id=key_id)
    assert revoke_api_key(user_actor(owner), key_id=key_id).revoked_at is not None


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        ("name", "", "/name"),
        ("name", "x" * 101, "/name"),
        ("name", "a\x00b", "/name"),
        ("scopes", [], "/scopes"),
        ("scopes", ["everything"], "/scopes"),
        ("expires_at", now() - timedelta(seconds=1), "/expires_at"),
    ],
)
def test_a_key_with_a_bad_field_is_refused(field: str, value: Any, pointer: str) -> None:
    given: dict[str, Any] = {"name": "k", "scopes": [Scope.CHAT], "expires_at": None, field: value}
    with pytest.raises(InvalidInput) as refusal:
        create_api_key(Actor.system("tests"), user=person("ada", Role.USER), **given)
    assert refusal.value.pointer == pointer
    assert not ApiKey.objects.exists()


def test_the_command_prints_the_key_once() -> None:
    user = person("ada", Role.USER)
    out, err = StringIO(), StringIO()
    call_command("create_api_key", "--user", "ada", "--scopes", "chat, read", "--days", "7", stdout=out, stderr=err)
    plain = out.getvalue().strip()
    assert authenticate_key(plain).user_id == user.pk
    key = ApiKey.objects.get()
    assert key.expires_at is not None
    assert timedelta(days=6) < key.expires_at - now() < timedelta(days=8)
    assert plain not in err.getvalue()


@pytest.mark.parametrize(
    "arguments", [["--user", "nobody"], ["--user", "ada", "--scopes", "x"], ["--user", "ada", "--days", "-1"]]
)
def test_the_command_names_what_is_wrong(arguments: list[str]) -> None:
    person("ada", Role.USER)
    with pytest.raises(CommandError) as refusal:
        call_command("create_api_key", *arguments)
    assert str(refusal.value)
    assert not ApiKey.objects.exists()
