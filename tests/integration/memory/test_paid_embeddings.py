"""Embeddings of a server draw on budgets: what is reserved, reported, settled and refused, before a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal

import pytest

from accounts.models import User
from agents.budgets.reservations import settle_and_reserve
from agents.llm.embedding_ledger import EmbeddingLedger
from agents.llm.model_catalog import Prices, read_overrides
from agents.models import Budget, BudgetReservation, BudgetWindow
from memory.embeddings import EmbeddingBudgetExceeded, EmbeddingPayer, EmbeddingUnavailable
from memory.embeddings.embedding_budget import registered_embedding_budget, use_embedding_budget
from memory.embeddings.openai_embedder import OpenAIEmbedder, OpenAIEmbeddingsConfig
from memory.enums import MemoryScope
from memory.lifecycle import embed_pending as module
from memory.models import Memory
from memory.ownership import OwnerKey, get_or_create_owner
from tests.integration.memory.lifecycle.test_embed_pending import remember
from tests.provider import Provider, embeddings
from tests.provider.fixture import provider  # noqa: F401
from tests.support.people import person

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
def ledger() -> Iterator[None]:
    """A cent per token."""
    prices = Prices(providers={}, overrides=read_overrides("openai:embed=10000/0"))
    with use_embedding_budget(EmbeddingLedger(lambda: prices)):
        yield


def embedder(provider: Provider, model: str = "embed") -> OpenAIEmbedder:  # noqa: F811
    config = OpenAIEmbeddingsConfig(model, embeddings.DIMENSIONS, api_key="sk-1", base_url=provider.base_url)
    return OpenAIEmbedder(config, find_budget=registered_embedding_budget)


def dollars(amount: str, user: User | None = None) -> Budget:
    subject = "user" if user else "everybody"
    return Budget.objects.create(subject=subject, user=user, unit="usd", period="month", amount=Decimal(amount))


def used() -> tuple[Decimal, Decimal]:
    settle_and_reserve()
    window = BudgetWindow.objects.get()
    return window.spent, window.reserved


def test_what_the_server_reports_is_settled(provider: Provider) -> None:  # noqa: F811
    dollars("1")
    ada = person("ada")
    embedder(provider).embed(["0123456789"], timeout=5, payers=[EmbeddingPayer(ada.pk)])
    reservation = BudgetReservation.objects.get()
    # Ten bytes are ten tokens at most, at a cent; the server counts one.
    assert (reservation.purpose, reservation.user_id, reservation.usd) == ("embeddings", ada.pk, Decimal("0.1"))
    assert used() == (Decimal("0.01"), Decimal(0))


def test_without_a_budget_nothing_is_reserved(provider: Provider) -> None:  # noqa: F811
    assert embedder(provider).embed(["a"], timeout=5)
    assert not BudgetReservation.objects.exists()


def test_nothing_is_asked_without_money_nor_without_a_price(provider: Provider) -> None:  # noqa: F811
    dollars("0.05")
    with pytest.raises(EmbeddingBudgetExceeded):
        embedder(provider).embed(["0123456789"], timeout=5)
    with pytest.raises(EmbeddingBudgetExceeded, match="Nobody knows the price of openai:other"):
        embedder(provider, "other").embed(["a"], timeout=5)
    assert provider.count == 0


def test_what_nobody_knows_counts_whole_and_what_was_refused_is_free(provider: Provider) -> None:  # noqa: F811
    dollars("1")
    provider.queue.append({"fault": "503"})
    with pytest.raises(EmbeddingUnavailable):
        embedder(provider).embed(["0123456789"], timeout=5)
    assert used() == (Decimal(0), Decimal(0))
    provider.queue.append({"fault": "hang"})
    with pytest.raises(EmbeddingUnavailable):
        embedder(provider).embed(["0123456789"], timeout=0.3)
    assert used() == (Decimal("0.1"), Decimal(0))


async def test_a_search_in_an_event_loop_draws_too(provider: Provider) -> None:  # noqa: F811
    from foundation.db_threads import in_db_thread

    await in_db_thread(dollars, "1")
    one = embedder(provider)
    await asyncio.gather(*(one.aembed(["0123456789"], timeout=5) for _ in range(5)))
    assert await in_db_thread(used) == (Decimal("0.05"), Decimal(0))
    await one.aclose()


def test_who_has_no_money_left_keeps_nobody_else_waiting(
    provider: Provider,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    poor, rich = person("poor"), person("rich")
    dollars("0.01", poor)
    for user in (rich, poor):
        remember(get_or_create_owner(OwnerKey(MemoryScope.USER, user_id=user.pk)), *["some words"] * 3)
    monkeypatch.setattr(module, "configured_embedder", lambda: embedder(provider))
    assert module.embed_pending() == 3
    embedded = Memory.objects.filter(embedding__isnull=False).values_list("owner__user", flat=True)
    assert set(embedded) == {rich.pk}
