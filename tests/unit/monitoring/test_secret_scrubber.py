"""What leaves the installation for somebody to look into has no secret of it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from monitoring.secret_scrubber import secret_scrubber


def test_the_passwords_of_the_database_and_of_the_mail_server_are_replaced(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, mail = "a-password-of-postgres", "a-password-for-mail"
    monkeypatch.setitem(settings.DATABASES["default"], "PASSWORD", database)
    url = SecretStr(f"smtps://bob:{mail}@mail.example:465")
    settings.BANDSTAND = settings.BANDSTAND.model_copy(update={"email_url": url})
    scrub = secret_scrubber()
    for secret in (database, mail):
        assert secret not in scrub(f"said {secret} aloud")
