"""What every test may use."""

from collections.abc import Iterator

import pytest

from foundation.db_threads import close_db_threads


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The test database; before it is dropped, the database threads give their connections back."""
    yield
    close_db_threads()
