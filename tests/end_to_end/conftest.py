"""What files of this folder share; those that do are one unit in `tests/support/order.py`."""

from collections.abc import Iterator

import pytest

from tests.support.deployment import Deployment, deployment


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One installation for the guide, whose reader is Grace, and for the requests of Ada and Eve."""
    with deployment(tmp_path_factory.mktemp("deployment")) as started:
        yield started
