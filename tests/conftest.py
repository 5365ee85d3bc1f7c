"""What every test may use."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from foundation.db_threads import close_db_threads

# The same examples in every run: a gate must not fail by chance. `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("gate", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("gate")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """The test database; before it is dropped, the database threads give their connections back."""
    yield
    close_db_threads()
