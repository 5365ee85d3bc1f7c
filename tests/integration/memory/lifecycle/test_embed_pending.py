"""Memories get their vectors, whatever happens in between: newest first, once, and of the model that is set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from django.db import connections, transaction

from accounts.models import User
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock
from memory.embeddings.fake import FakeEmbedder
from memory.embeddings.interface import EmbeddingPayer, EmbeddingUnavailable
from memory.enums import MemoryScope, MemorySource, Tier
from memory.lifecycle import embed_pending as module
from memory.lifecycle.embed_pending import BATCH_ROWS, embed_memories, embed_pending
from memory.models import EmbeddingModel, Memory, MemoryBody, MemoryKey
from memory.ownership import OwnerKey, get_or_create_owner

pytestmark = pytest.mark.usefixtures("transactional_db")


class Recorder(FakeEmbedder):
    """What is embedded, in which batches; some texts and some moments are bad."""

    def __init__(self, model: str = FakeEmbedder.model) -> None:
        self.model = model
        self.batches: list[list[str]] = []
        self.bad_words: set[str] = set()
        self.before: Callable[[], None] = lambda: None

    def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        self.before()
        if any(word in text for text in texts for word in self.bad_words):
            raise EmbeddingUnavailable
        self.batches.append(list(texts))
        return super().embed(texts, timeout=timeout)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return use(monkeypatch, Recorder())


def use(monkeypatch: pytest.MonkeyPatch, embedder: Recorder) -> Recorder:
    monkeypatch.setattr(module, "configured_embedder", lambda: embedder)
    return embedder


@pytest.fixture
def owner() -> int:
    user = User.objects.create_user("anna")
    return get_or_create_owner(OwnerKey(MemoryScope.USER, user_id=user.pk))


def remember(owner: int, *texts: str, actor: str = "") -> list[Memory]:
    rows = [
        Memory.objects.create(owner_id=owner, tier=Tier.LONG_TERM, actor=actor, words="", context_words="")
        for _ in texts
    ]
    for row, text in zip(rows, texts, strict=True):
        MemoryBody.objects.create(memory=row, owner_id=owner, text=text, source=MemorySource.API)
    return rows


def models_of(rows: Sequence[Memory]) -> list[str | None]:
    names = dict(Memory.objects.values_list("pk", "embedding_model__name"))
    return [names[row.pk] for row in rows]


def test_what_is_new_is_embedded_newest_first_with_its_actor(owner: int, embedder: Recorder) -> None:
    rows = remember(owner, *(f"text {number}" for number in range(BATCH_ROWS + 1)), actor="Anna")
    key = MemoryKey.objects.create(memory=rows[0], owner_id=owner, text="a situation")
    assert embed_pending(10) == BATCH_ROWS + 2
    assert embedder.batches[0][0] == f"Anna: text {BATCH_ROWS}"
    assert embedder.batches[1:] == [["Anna: text 0"], ["a situation"]]
    [vector] = FakeEmbedder().embed(["Anna: text 0"], timeout=1)
    rows[0].refresh_from_db()
    key.refresh_from_db()
    assert rows[0].embedding == pytest.approx(vector, abs=1e-3)
    assert (key.embedding_model_id, rows[0].version) == (rows[0].embedding_model_id, 1)
    assert embed_pending(10) == 0
    assert len(embedder.batches) == 3


def test_nothing_to_do_costs_no_model_and_few_statements(
    embedder: Recorder, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    with django_assert_max_num_queries(7):  # type: ignore[attr-defined]
        assert embed_pending(10) == 0
    assert embedder.batches == []
    assert not EmbeddingModel.objects.exists()


def test_a_text_that_cannot_be_embedded_keeps_nobody_waiting(owner: int, embedder: Recorder) -> None:
    rows = remember(owner, "old", "bad", "new")
    embedder.bad_words = {"bad"}
    assert embed_pending(10) == 2
    assert models_of(rows) == [embedder.model, None, embedder.model]


def test_a_model_that_does_not_answer_ends_the_run(owner: int, embedder: Recorder) -> None:
    remember(owner, *(f"bad {number}" for number in range(BATCH_ROWS)))
    embedder.bad_words = {"bad"}
    calls: list[int] = []
    embedder.before = lambda: calls.append(1)
    with pytest.raises(EmbeddingUnavailable):
        embed_pending(10)
    assert len(calls) < 12
    with try_advisory_lock(AdvisoryLock.EMBED_MEMORIES) as free:
        assert free


def test_another_model_embeds_everything_anew_and_goes_on_where_it_stopped(
    owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = remember(owner, *(f"text {number}" for number in range(BATCH_ROWS + 5)))
    MemoryKey.objects.create(memory=rows[0], owner_id=owner, text="a situation")
    use(monkeypatch, Recorder("first"))
    embed_pending(10)
    second = use(monkeypatch, Recorder("second"))

    def stop() -> None:
        if second.batches:
            raise KeyboardInterrupt

    second.before = stop
    with pytest.raises(KeyboardInterrupt):
        embed_pending(10)
    assert models_of(rows) == ["first"] * 5 + ["second"] * BATCH_ROWS
    second.before = lambda: None
    assert embed_pending(10) == 6
    assert models_of(rows) == ["second"] * (BATCH_ROWS + 5)
    assert list(EmbeddingModel.objects.values_list("name", flat=True)) == ["second"]


def test_a_row_that_somebody_holds_is_left_for_the_next_time(owner: int, embedder: Recorder) -> None:
    rows = remember(owner, "held", "free")
    locked, release = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                Memory.objects.select_for_update().get(pk=rows[0].pk)
                locked.set()
                release.wait(30)
        finally:
            connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(30)
    try:
        assert embed_pending(10) == 1
    finally:
        release.set()
        holder.join()
    assert models_of(rows) == [None, embedder.model]
    assert embed_pending(10) == 1


def test_a_memory_that_is_forgotten_meanwhile_stays_forgotten(owner: int, embedder: Recorder) -> None:
    rows = remember(owner, "forgotten", "kept")
    embedder.before = lambda: Memory.objects.filter(pk=rows[0].pk).delete() and None
    assert embed_pending(10) == 1
    assert list(Memory.objects.values_list("pk", flat=True)) == [rows[1].pk]


def test_what_is_written_while_another_is_at_it_is_embedded_by_that_one(owner: int, embedder: Recorder) -> None:
    remember(owner, "first")
    results: list[int] = []

    def write_and_ask() -> None:
        def work() -> None:
            try:
                remember(owner, "second")
                results.append(embed_pending(10))
            finally:
                connections.close_all()

        embedder.before = lambda: None
        other = threading.Thread(target=work)
        other.start()
        other.join()

    embedder.before = write_and_ask
    assert embed_pending(10) == 2
    assert results == [0]
    assert embedder.batches == [["first"], ["second"]]


async def test_what_was_just_written_is_embedded_at_once(embedder: Recorder) -> None:
    from foundation.db_threads import in_db_thread

    def write() -> list[Memory]:
        user = User.objects.create_user("bert")
        return remember(get_or_create_owner(OwnerKey(MemoryScope.USER, user_id=user.pk)), "now", "later")

    now, later = await in_db_thread(write)
    assert await embed_memories([now.pk], timeout=5) == 1
    assert await embed_memories([now.pk], timeout=5) == 0
    assert await in_db_thread(models_of, [now, later]) == [embedder.model, None]
