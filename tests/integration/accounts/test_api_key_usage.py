from datetime import timedelta

import pytest

from accounts import api_key_usage
from accounts.api_keys import authenticate_key
from accounts.models import ApiKey
from accounts.roles import Role
from foundation.clock import now
from tests.support.people import key_of, person

pytestmark = pytest.mark.usefixtures("transactional_db")


def use(plain: str) -> None:
    authenticate_key(plain)
    api_key_usage.wait_for_writes()


def test_the_first_use_is_written() -> None:
    plain = key_of(person("ada", Role.USER))
    use(plain)
    written = ApiKey.objects.get().last_used_at
    assert written is not None
    assert abs(now() - written) < timedelta(minutes=1)


def test_within_a_minute_no_second_write_is_started() -> None:
    plain = key_of(person("ada", Role.USER))
    use(plain)
    ApiKey.objects.update(last_used_at=None)
    use(plain)
    assert ApiKey.objects.get().last_used_at is None


def test_another_process_that_wrote_within_the_minute_is_not_overwritten() -> None:
    plain = key_of(person("ada", Role.USER))
    moment = now() - timedelta(seconds=30)
    ApiKey.objects.update(last_used_at=moment)
    api_key_usage._write(ApiKey.objects.get().pk)
    assert ApiKey.objects.get().last_used_at == moment
    use(plain)
    assert ApiKey.objects.get().last_used_at == moment


def test_an_old_use_is_written_anew() -> None:
    plain = key_of(person("ada", Role.USER))
    ApiKey.objects.update(last_used_at=now() - timedelta(days=1))
    use(plain)
    written = ApiKey.objects.get().last_used_at
    assert written is not None
    assert now() - written < timedelta(minutes=1)
