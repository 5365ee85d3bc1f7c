"""Each check of the area of security passes, and fails where it should."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from pydantic import SecretStr

from accounts.roles import Role
from monitoring.readiness_validator.areas.security_checks import check
from tests.support.people import person
from tests.support.readiness import outcomes, scope

pytestmark = pytest.mark.django_db

SAME = SecretStr("0123456789abcdef" * 4)


def found(**config: Any) -> dict[str, str]:
    return outcomes(check(scope(**config)))


def test_what_is_as_it_should_be_passes() -> None:
    person("olga", Role.OWNER)
    assert {name: outcome for name, outcome in found().items() if outcome != "passed"} == {"encryption": "warning"}


def test_without_an_owner_nobody_can_give_access() -> None:
    assert found()["owners"] == "failed"


def test_two_keys_that_are_the_same_fail() -> None:
    assert found(secret_key=SAME, key_pepper=SAME)["keys"] == "failed"


def test_a_file_of_secrets_that_others_can_read_fails(tmp_path: Path) -> None:
    key = tmp_path / "keys" / "secret_key"
    key.parent.mkdir()
    key.write_text("secret")
    key.chmod(0o600)
    assert found(data_dir=tmp_path)["files of secrets"] == "passed"
    key.chmod(0o640)
    assert found(data_dir=tmp_path)["files of secrets"] == "failed"


def test_any_host_fails() -> None:
    with override_settings(ALLOWED_HOSTS=["*"]):
        assert found()["hosts"] == "failed"


def test_an_origin_without_encryption_fails() -> None:
    with override_settings(CSRF_TRUSTED_ORIGINS=["http://chat.example.org"]):
        assert found()["origins"] == "failed"
    with override_settings(CSRF_TRUSTED_ORIGINS=["http://127.0.0.1:8000", "https://chat.example.org"]):
        assert found()["origins"] == "passed"


def test_debug_fails() -> None:
    with override_settings(DEBUG=True):
        assert found()["debug"] == "failed"


def test_what_a_check_of_the_deployment_finds_is_said() -> None:
    # Secure, as far as the environment says, and yet cookies go over plain HTTP.
    assert not settings.SESSION_COOKIE_SECURE
    assert found(public_url="https://chat.example.org")["deployment check security.W012"] == "warning"
    with override_settings(Q_CLUSTER={**settings.Q_CLUSTER, "max_attempts": 3}):
        assert found()["deployment check bandstand.E001"] == "failed"
