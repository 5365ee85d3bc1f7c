"""Embeddings of a server draw on budgets: what is reserved, reported, settled and refused, before a real server."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from functools import partial

import pytest

from accounts.models import User
from agents.budgets.reservations import settle_and_reserve
from agents.journal.usage_rollups import count_usage_of_call
from agents.llm.embedding_ledger import EmbeddingLedger
from agents.llm.model_catalog import Prices, read_overrides
from agents.models import Budget, BudgetReservation, BudgetWindow, UsageRollup
from foundation.db_threads import in_db_thread
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
    with use_embedding_budget(EmbeddingLedger(lambda: prices, count_usage=count_usage_of_call)):
        yield


def embedder(provider: Provider, model: str = "embed") -> OpenAIEmbedder:  # noqa: F811
    config = OpenAIEmbeddingsConfig(model, embeddings.DIMENSIONS, api_key="sk-1", base_url=provider.base_url)
    return OpenAIEmbedder(config, find_budget=registered_embedding_budget)


async def embed(
    provider: Provider,  # noqa: F811
    *,
    model: str = "embed",
    payer: EmbeddingPayer = EmbeddingPayer(),  # noqa: B008
    timeout: float = 5,  # noqa: ASYNC109
) -> None:
    one = embedder(provider, model)
    try:
        await one.aembed(["0123456789"], timeout=timeout, payers=[payer])
    finally:
        await one.aclose()


def dollars(amount: str, user: User | None = None) -> Budget:
    subject = "user" if user else "everybody"
    return Budget.objects.create(subject=subject, user=user, unit="usd", period="month", amount=Decimal(amount))


def used() -> tuple[Decimal, Decimal]:
    settle_and_reserve()
    window = BudgetWindow.objects.get()
    return window.spent, window.reserved


async def test_what_the_server_reports_is_settled(provider: Provider) -> None:  # noqa: F811
    await in_db_thread(dollars, "1")
    ada = await in_db_thread(person, "ada")
    await embed(provider, payer=EmbeddingPayer(ada.pk))
    reservation = await in_db_thread(BudgetReservation.objects.get)
    # Ten bytes are ten tokens at most, at a cent, with a mark at either end; the server counts one.
    assert (reservation.purpose, reservation.user_id, reservation.usd) == ("embeddings", ada.pk, Decimal("0.12"))
    assert await in_db_thread(used) == (Decimal("0.01"), Decimal(0))


async def test_a_thread_without_an_event_loop_draws_too(provider: Provider) -> None:  # noqa: F811
    await in_db_thread(dollars, "10")
    await in_db_thread(partial(embedder(provider).embed, ["0123456789"] * 70, timeout=5))
    # In two requests.
    assert provider.count == 2
    assert await in_db_thread(used) == (Decimal("0.02"), Decimal(0))


async def test_without_a_budget_nothing_is_reserved(provider: Provider) -> None:  # noqa: F811
    await embed(provider)
    assert not await in_db_thread(BudgetReservation.objects.exists)
    # What is used is counted all the same.
    usage = await in_db_thread(UsageRollup.objects.get)
    assert (usage.purpose, usage.calls, usage.input_tokens, usage.cost_usd) == ("embeddings", 1, 1, Decimal("0.01"))


async def test_nothing_is_asked_without_money_nor_without_a_price(provider: Provider) -> None:  # noqa: F811
    await in_db_thread(dollars, "0.05")
    with pytest.raises(EmbeddingBudgetExceeded, match="is used up"):
        await embed(provider)
    with pytest.raises(EmbeddingBudgetExceeded, match="Nobody knows the price of openai:other"):
        await embed(provider, model="other")
    assert provider.count == 0


async def test_what_nobody_knows_counts_whole_and_what_was_refused_is_free(provider: Provider) -> None:  # noqa: F811
    await in_db_thread(dollars, "1")
    provider.queue.append({"fault": "503"})
    with pytest.raises(EmbeddingUnavailable):
        await embed(provider)
    assert await in_db_thread(used) == (Decimal(0), Decimal(0))
    provider.queue.append({"fault": "hang"})
    with pytest.raises(EmbeddingUnavailable):
        await embed(provider, timeout=0.3)
    assert await in_db_thread(used) == (Decimal("0.12"), Decimal(0))


async def test_who_has_no_money_left_keeps_nobody_else_waiting(
    provider: Provider,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def prepare() -> int:
        poor, rich = person("poor"), person("rich")
        dollars("0.01", poor)
        for user in (rich, poor):
            remember(get_or_create_owner(OwnerKey(MemoryScope.USER, user_id=user.pk)), *["some words"] * 3)
        return rich.pk

    rich = await in_db_thread(prepare)
    monkeypatch.setattr(module, "configured_embedder", lambda: embedder(provider))
    assert await in_db_thread(module.embed_pending) == 3
    rows = Memory.objects.filter(embedding__isnull=False).values_list("owner__user", flat=True)
    assert set(await in_db_thread(lambda: list(rows))) == {rich}
