"""The verb `recall`: from owners and a question to the memories that have to do with it. Reads only."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog
from django.conf import settings

from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.errors import InvalidInput
from memory.embeddings import Embedder, EmbeddingPayer, EmbeddingUnavailable, configured_embedder
from memory.enums import Tier
from memory.ownership import OwnerKey
from memory.recall.owner_rows import OwnerRow, find_owner_rows
from memory.recall.query_preparation import PreparedQuery, prepare_query
from memory.recall.ranking import CONFIDENT_COSINE, LEAST_PART_OF_BEST, rank
from memory.recall.recollection import Recall
from memory.recall.score_statement import Filters, find_candidates
from memory.recall.text_statement import read_texts
from memory.recall_weights import Weights

log = structlog.get_logger(__name__)

MAX_K: Final = 100
DEFAULT_K: Final = 10
# Candidates whose texts are read: what is left out later (duplicates, for one) must not leave gaps.
_CANDIDATES_PER_RESULT: Final = 2
_NOBODY: Final = EmbeddingPayer()
_MIN_CANDIDATES: Final = 40
EMBEDDING_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallRequest:
    """A search. `tiers` empty: all; `since` and `until` bound when it was said; `speaker` is an actor's exact name.

    `threshold` is the least part of the best score, 0 for none; `explain` asks for the share of each signal. `names`
    are participants beside the actors of the memories. What was said in the conversation `seen`, a session's id, from
    a position on is left out, since the reader sees it anyway, and so are up to 100 `excluded_messages`. `moment` is
    what relative dates are seen from, by default now.
    """

    query: str
    k: int = DEFAULT_K
    tiers: Collection[Tier] = ()
    since: datetime | None = None
    until: datetime | None = None
    speaker: str | None = None
    threshold: float = LEAST_PART_OF_BEST
    explain: bool = False
    names: Collection[str] = ()
    seen: tuple[UUID, int] | None = None
    excluded_messages: Collection[UUID] = ()
    moment: datetime | None = None
    weights: Weights | None = None
    embedding_seconds: float = field(default=EMBEDDING_SECONDS)

    def check(self) -> None:
        """Raise `InvalidInput` with a pointer for what is out of bounds."""
        if not self.query.strip():
            raise InvalidInput("A question is expected.", pointer="/query")
        if not 1 <= self.k <= MAX_K:
            raise InvalidInput(f"A whole number from 1 to {MAX_K} is expected.", pointer="/k")
        if not 0 <= self.threshold <= 1:
            raise InvalidInput("A number from 0 to 1 is expected.", pointer="/threshold")
        if len(self.excluded_messages) > MAX_K:
            raise InvalidInput(f"At most {MAX_K} messages are expected.", pointer="/excluded_messages")
        if Tier.WORKING in self.tiers:
            raise InvalidInput("Working memory is not searched; it is always in view.", pointer="/tiers")


def recall(owners: Sequence[OwnerKey], request: RecallRequest, *, embedder: Embedder | None = None) -> Recall:
    """The memories of `owners` that have to do with the question, best first: three statements. Who may read those
    owners is for the caller to know.

    Without an embedder that answers, or where nothing has a vector yet, the words decide alone. Raises `InvalidInput`.
    """
    request.check()
    embedder = embedder or configured_embedder()
    rows = find_owner_rows(owners, model=embedder.model)
    return recall_from(rows, request, embedder=embedder, payer=_payer(owners))


def recall_from(
    rows: Sequence[OwnerRow],
    request: RecallRequest,
    *,
    embedder: Embedder | None = None,
    payer: EmbeddingPayer = _NOBODY,
) -> Recall:
    """`recall` for owners whose rows are at hand: two statements. `payer` is whose budgets the question draws on."""
    request.check()
    embedder = embedder or configured_embedder()
    query = _prepare(rows, request)
    vector: Sequence[float] | None = None
    if _has_vectors(rows):
        try:
            [vector] = embedder.embed([query.embedded_text], timeout=request.embedding_seconds, payers=[payer])
        except EmbeddingUnavailable as error:
            log.warning("memory_search.degraded", error=error.detail)
    return _search(rows, query, vector, request)


async def arecall(
    owners: Sequence[OwnerKey],
    request: RecallRequest,
    *,
    pools_for: tuple[UUID, int] | None = None,
    embedder: Embedder | None = None,
) -> Recall:
    """`recall`, with the question embedded outside of a database thread. `pools_for` is an agent, and a user, whose
    pools are searched too."""
    request.check()
    embedder = embedder or configured_embedder()
    rows = await in_db_thread(find_owner_rows, owners, model=embedder.model, pools_for=pools_for)
    if not rows:
        return Recall()
    query = _prepare(rows, request)
    vector: Sequence[float] | None = None
    if _has_vectors(rows):
        try:
            payers = [_payer(owners, pools_for)]
            [vector] = await embedder.aembed([query.embedded_text], timeout=request.embedding_seconds, payers=payers)
        except EmbeddingUnavailable as error:
            log.warning("memory_search.degraded", error=error.detail)
    return await in_db_thread(_search, rows, query, vector, request)


def _payer(owners: Sequence[OwnerKey], pools_for: tuple[UUID, int] | None = None) -> EmbeddingPayer:
    """Who asks, as far as that follows from whose memories are searched."""
    agent_id, user_id = pools_for or (None, None)
    users = {owner.user_id for owner in owners if owner.user_id is not None}
    agents = {owner.agent_id for owner in owners if owner.agent_id is not None}
    return EmbeddingPayer(
        user_id if user_id is not None or len(users) != 1 else next(iter(users)),
        agent_id if agent_id is not None or len(agents) != 1 else next(iter(agents)),
    )


def _prepare(rows: Sequence[OwnerRow], request: RecallRequest) -> PreparedQuery:
    names = dict.fromkeys([*(name for row in rows for name in row.actors), *request.names])
    return prepare_query(request.query, names=names, now=request.moment or now(), language=_language())


def _has_vectors(rows: Sequence[OwnerRow]) -> bool:
    return any(row.model_id is not None for row in rows)


def _search(
    rows: Sequence[OwnerRow], query: PreparedQuery, vector: Sequence[float] | None, request: RecallRequest
) -> Recall:
    if not rows:
        return Recall()
    weights = request.weights or settings.BANDSTAND.memory_weights
    candidates = find_candidates(
        rows,
        query,
        vector,
        filters=Filters(request.tiers, request.since, request.until, request.speaker, request.seen),
        weights=weights,
        language=_language(),
        limit=max(_MIN_CANDIDATES, _CANDIDATES_PER_RESULT * request.k) + len(request.excluded_messages),
    )
    if not candidates:
        return Recall()
    texts = read_texts([candidate.id for candidate in candidates], [row.id for row in rows])
    ranking = rank(
        candidates,
        texts,
        weights=weights,
        asks_when=query.asks_when,
        limit=request.k,
        threshold=request.threshold,
        explain=request.explain,
        excluded_messages=request.excluded_messages,
    )
    best = ranking.best_cosine
    return Recall(ranking.memories, low_confidence=best is None or best < CONFIDENT_COSINE, by_text_only=best is None)


def _language() -> str:
    language: Any = settings.BANDSTAND.memory_language
    return str(language)
