"""What every test may use."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
from django.db import connection
from django.template import Context, RequestContext, Template
from django.test.signals import template_rendered
from django.utils.safestring import SafeString
from hypothesis import settings
from pytest_django import DjangoDbBlocker
from xdist.remote import Producer
from xdist.scheduler.loadfile import LoadFileScheduling

from accounts.roles import sync_roles
from foundation.db_threads import close_db_threads
from tests.support.cleaning import real_commits
from tests.support.order import rank_of, unit_of

# The same examples in every run: a gate must not fail by chance. `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("gate", derandomize=True, deadline=None, database=None, max_examples=60)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("gate")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """The test database with its roles; before it is dropped, the database threads give their connections back."""
    with django_db_blocker.unblock():
        sync_roles()  # changes nothing where the database is a copy of the template
    yield
    close_db_threads()


@pytest.fixture(scope="session", autouse=True)
def _contexts_of_pages_only(django_test_environment: None) -> Iterator[None]:
    """In Django's test environment each template hands the test client a copy of its context. A page of the console has
    hundreds, one for each widget, which takes a tenth of the page's time: let only the page's own template do so."""

    def render(template: Template, context: Context) -> SafeString:
        if isinstance(context, RequestContext) and context.template is template:
            template_rendered.send(sender=template, template=template, context=context)
        return template.nodelist.render(context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Template, "_render", render)
        yield


@pytest.fixture
def transactional_db(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """For tests that need more than one transaction: in place of pytest-django's, which truncates all tables, those
    with the roles among them."""
    with real_commits(django_db_blocker):
        yield


@pytest.fixture(autouse=True)
def _as_long_as_the_test(request: pytest.FixtureRequest) -> None:
    """A transaction around a whole test is no request's: on a busy machine the server would end it in the middle."""
    if request.node.get_closest_marker("django_db") or "db" in request.fixturenames:
        request.getfixturevalue("db")
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            if cursor.connection.info.server_version >= 170000:
                cursor.execute("SET LOCAL transaction_timeout = 0")


class Units(LoadFileScheduling):  # type: ignore[misc]  # not typed
    """`pytest -n`: whole files, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling:
    config.option.loadscopereorder = False
    return Units(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("django_db")
        truncates = marker and (
            marker.kwargs.get("transaction") or "transactional_db" in getattr(item, "fixturenames", ())
        )
        assert not truncates, f"{item.nodeid}: with the marker, pytest-django empties every table, the roles' too"
    twice = [nodeid for nodeid, count in Counter(item.nodeid for item in items).items() if count > 1]
    assert not twice, f"of tests with one id a worker runs one: {twice}"
    items.sort(key=lambda item: rank_of(item.nodeid))


def pytest_collectstart() -> None:
    """What is imported and collected lives until the end: the collector need not go through it again and again, which
    is a third of the time that each worker collects for."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
