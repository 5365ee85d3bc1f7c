"""Two owners who remove each other at the same moment: one of them stays."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role
from accounts.users import deactivate_user, update_user
from foundation.errors import BandstandError
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")

Removal = Callable[[User, User], object]


def close(actor: User, other: User) -> object:
    return deactivate_user(user_actor(actor), user_id=other.pk)


def demote(actor: User, other: User) -> object:
    return update_user(user_actor(actor), user_id=other.pk, expected_version=1, details={}, groups=[])


@pytest.mark.parametrize("removal", [close, demote])
def test_of_two_owners_who_remove_each_other_one_stays(removal: Removal) -> None:
    olga, otto = person("olga", Role.OWNER), person("otto", Role.OWNER)
    barrier = Barrier(2)

    def start(actor: User, other: User) -> bool:
        barrier.wait()
        try:
            removal(actor, other)
        except BandstandError:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(start, olga, otto), pool.submit(start, otto, olga)]
        assert sum(one.result() for one in done) == 1
    assert User.objects.filter(groups__name=Role.OWNER, is_active=True).count() == 1
