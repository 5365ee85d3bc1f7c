"""`/metrics`, through all layers of the web application: who may read it, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.test import override_settings
from pydantic import SecretStr
from structlog.testing import capture_logs

from bandstand import VERSION, metrics_endpoint
from foundation.db_threads import in_db_thread
from monitoring.prometheus import scrapes
from monitoring.prometheus.exposition import TextFormat
from tests.support.conversations import conversation
from tests.support.surroundings import database_url
from tests.support.wire import Answer, ask

TOKEN = "canary-metrics-token-Kq8s"
pytestmark = pytest.mark.usefixtures("transactional_db", "fresh")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is cached yet."""
    monkeypatch.setattr(metrics_endpoint, "_cache", metrics_endpoint.make_cache())


@pytest.fixture
def token() -> Iterator[None]:
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"metrics_token": SecretStr(TOKEN)})):
        yield


def bearer(token: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


async def scrape(headers: Any = (), **how: Any) -> Answer:
    return await ask("GET", "/metrics", headers=headers, **how)


def samples(answer: Answer) -> dict[str, float]:
    """Values by name and labels, as they stand in the text."""
    lines = (line for line in answer.body.decode().splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def expect_refusal(answer: Answer, what: object) -> None:
    assert answer.status == 401, what
    assert answer.headers["content-type"] == "application/problem+json", what
    assert answer.headers["www-authenticate"].startswith("Bearer"), what
    assert answer.json["code"] == "unauthenticated", what
    assert "BANDSTAND_METRICS_TOKEN" in answer.json["detail"], what
    assert answer.json["instance"].removeprefix("urn:uuid:") == answer.headers["x-request-id"], what
    assert b"bandstand_" not in answer.body, what


async def test_a_program_on_this_machine_reads_the_figures() -> None:
    await in_db_thread(lambda: conversation().ask("Hi"))
    answer = await scrape()
    assert (answer.status, answer.headers["content-type"]) == (200, TextFormat.PLAIN.value)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["vary"] == "Accept"
    read = samples(answer)
    assert read["bandstand_queue_depth"] == 1
    assert read["bandstand_database_up"] == 1
    assert read['bandstand_turns_total{agent="demo",status="completed"}'] == 0
    assert read[f'bandstand_build_info{{version="{VERSION}"}}'] == 1
    openmetrics = await scrape([("Accept", "application/openmetrics-text; version=1.0.0")])
    assert openmetrics.headers["content-type"] == TextFormat.OPENMETRICS.value
    assert openmetrics.body.endswith(b"# EOF\n")
    assert (await ask("HEAD", "/metrics")).status == 200
    assert (await ask("POST", "/metrics")).status == 405


async def test_without_a_token_nobody_else_reads_them() -> None:
    for what, how in {
        "from elsewhere": {"client": "192.0.2.7"},
        "from elsewhere, by IPv6": {"client": "2001:db8::7"},
        "by a name of its own": {"host": b"rebound.example.org:8000"},
        "by no name": {"host": b"["},
        "by nothing": {"host": b""},
        "by a name that begins well": {"host": b"localhost.example.org"},
        "through a proxy": {"headers": [("X-Forwarded-For", "127.0.0.1")]},
        "through a proxy that says who": {"headers": [("Forwarded", "for=127.0.0.1")]},
        "through a proxy that says the scheme": {"headers": [("X-Forwarded-Proto", "https")]},
        "through a proxy that says its own name": {"headers": [("Via", "1.1 proxy")]},
    }.items():
        expect_refusal(await scrape(**how), what)  # type: ignore[arg-type]
    for client, host in (("127.0.0.2", b"127.0.0.1:8000"), ("::1", b"[::1]:8000"), ("::ffff:127.0.0.1", b"localhost")):
        assert (await scrape(client=client, host=host)).status == 200, client


@pytest.mark.usefixtures("token")
async def test_with_a_token_everybody_needs_it() -> None:
    with capture_logs() as logs:
        for what, headers in {
            "none": [],
            "another": bearer("canary-metrics-token-Kq8t"),
            "its beginning": bearer(TOKEN[:-1]),
            "nothing behind the word": bearer(""),
            "another scheme": [("Authorization", f"Basic {TOKEN}")],
            "letters of elsewhere": [("Authorization", f"Bearer {TOKEN}\xe9".encode("latin1"))],
            "in another header": [("X-Api-Key", TOKEN)],
            "twice": bearer(TOKEN) * 2,
        }.items():
            expect_refusal(await scrape(headers), what)
        expect_refusal(await ask("GET", f"/metrics?token={TOKEN}"), "in the address")
    assert {line["rule"] for line in logs if line["event"] == "request.refused"} == {"no_credentials", "bad_token"}
    assert TOKEN[:-1] not in repr(logs)
    # From anywhere, by whatever name.
    for how in ({}, {"client": "192.0.2.7", "host": b"10.1.2.3:8000"}, {"client": "192.0.2.7", "host": b"x"}):
        assert (await scrape(bearer(TOKEN), **how)).status == 200, how


async def test_a_database_that_cannot_be_read_is_a_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "STATEMENT_SECONDS", 0.05)
    url = database_url(settings.DATABASES["default"]["NAME"])
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute("LOCK TABLE agents_turn IN ACCESS EXCLUSIVE MODE")
        answer = await scrape()
        await other.rollback()
    assert answer.status == 200
    assert samples(answer) == {f'bandstand_build_info{{version="{VERSION}"}}': 1, "bandstand_database_up": 0}
