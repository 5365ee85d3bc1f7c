"""How much of the evidence a search finds: stored and searched by the product's verbs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean, quantiles
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from django.db import connection

from agents.domain.token_estimates import estimate_tokens
from memory.embeddings import configured_embedder
from memory.embeddings.stored_models import stored_model
from memory.enums import MemoryScope
from memory.lifecycle.pending_texts import MEMORIES
from memory.models import Memory
from memory.ownership import OwnerKey
from memory.recall import Recall, RecallRequest, recall
from memory.writing import NewEpisode, Provenance, remember_episodes
from tests.bench.memory.cached_embedder import CachedEmbedder
from tests.bench.memory.database import FOLDER
from tests.bench.memory.locomo import CUTS, Question, Utterance, load, score

TARGETS: Final = "targets                                75.0  83.0  90.0  94.0   .650   multi 52.0"
TOKENS: Final = 1_000


def measure(path: Path, *, limit: int | None = None) -> None:
    """Print the recall of evidence for plain cosine and for the product, by time and by tokens."""
    utterances, questions = load(path)
    questions = questions[:limit]
    embedder = CachedEmbedder(configured_embedder(), FOLDER / "vectors")
    seconds = _remember(utterances, embedder)
    print(
        f"\nquality: LoCoMo, {len(questions):,} questions over {len(utterances):,} turns of "
        f"{len({item.conversation for item in utterances})} conversations; vectors of {embedder.model}"
    )
    print(f"  stored by the verb for ended turns: {len(utterances) / seconds:,.0f} messages/s, embedding apart")
    print("  evidence recall in %                    R@5  R@10  R@25  R@50    MRR   R@10 by kind of question")
    plain = score(questions, _plain_cosine(utterances, questions, embedder))
    print(f"  {'cosine over raw turns':36s} {plain.line()}")
    searches = _Searches(questions, embedder)
    print(f"  {'ours, the best 50':36s} {score(questions, searches.ranked(threshold=0.0)).line()}")
    print(f"  {TARGETS}")
    searches.print_time()
    kept = searches.recalls(threshold=None, k=10)
    found = score(questions, [_ids(one) for one in kept])
    count = fmean(len(one.memories) for one in kept)
    print(
        f"  with the threshold, 10 at most: R@10 {found.recall[10, 'all']:.1f} % with {count:.1f} memories; "
        f"low confidence for {100 * fmean(one.low_confidence for one in kept):.0f} % of the questions"
    )
    searches.print_tokens()


def _remember(utterances: Sequence[Utterance], embedder: CachedEmbedder) -> float:
    """Store all turns with their vectors; returns the seconds that storing took."""
    began = time.perf_counter()
    for (conversation, dialogue), group in groupby(utterances, key=lambda item: (item.conversation, item.dialogue)):
        episodes = [
            NewEpisode(message_id(item.id), item.speaker, item.text, item.said_at, item.position) for item in group
        ]
        thread = uuid5(NAMESPACE_URL, f"{conversation}/{dialogue}")
        # As turns come: a question and its answer at a time.
        for start in range(0, len(episodes), 2):
            before = [episode.text for episode in episodes[max(0, start - 2) : start]]
            remember_episodes(
                owner(conversation),
                episodes[start : start + 2],
                provenance=Provenance(session=thread),
                predecessors=before,
            )
    seconds = time.perf_counter() - began
    model = stored_model(embedder)
    while texts := MEMORIES.read(Memory.objects.filter(embedding__isnull=True), 256):
        vectors = embedder.embed([text.text for text in texts], timeout=600)
        MEMORIES.write(texts, vectors, model)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE memory_memory")
    return seconds


def owner(conversation: str) -> OwnerKey:
    return OwnerKey(MemoryScope.AGENT, agent_id=uuid5(NAMESPACE_URL, conversation))


_names: dict[UUID, str] = {}


def message_id(name: str) -> UUID:
    key = uuid5(NAMESPACE_URL, name)
    _names[key] = name
    return key


def _ids(found: Recall) -> list[str]:
    # A long turn is stored in parts; it counts where its first part stands.
    return list(dict.fromkeys(_names[memory.message] for memory in found.memories if memory.message is not None))


def _plain_cosine(
    utterances: Sequence[Utterance], questions: Sequence[Question], embedder: CachedEmbedder
) -> list[list[str]]:
    """What peers ship: the nearest raw texts to the raw question."""
    vectors = embedder.embed([item.text for item in utterances], timeout=600)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE raw (conversation text, id text, embedding halfvec)")
        with cursor.copy("COPY raw FROM STDIN") as copy:
            for item, vector in zip(utterances, vectors, strict=True):
                copy.write_row((item.conversation, item.id, str(vector)))
        asked = embedder.embed([question.text for question in questions], timeout=600)
        retrieved = []
        for question, vector in zip(questions, asked, strict=True):
            cursor.execute(
                "SELECT id FROM raw WHERE conversation = %s ORDER BY embedding <=> %s::halfvec LIMIT %s",
                [question.conversation, str(vector), max(CUTS)],
            )
            retrieved.append([row[0] for row in cursor.fetchall()])
    return retrieved


class _Searches:
    """The questions, asked once by each setting."""

    def __init__(self, questions: Sequence[Question], embedder: CachedEmbedder) -> None:
        self._questions = questions
        self._embedder = embedder
        self._times: list[float] = []
        self._ranked: list[Recall] = []

    def recalls(self, *, threshold: float | None, k: int) -> list[Recall]:
        found = []
        for question in self._questions:
            request = RecallRequest(query=question.text, k=k)
            if threshold is not None:
                request = RecallRequest(query=question.text, k=k, threshold=threshold)
            began = time.perf_counter()
            found.append(recall([owner(question.conversation)], request, embedder=self._embedder))
            self._times.append(time.perf_counter() - began)
        return found

    def ranked(self, *, threshold: float) -> list[list[str]]:
        self._ranked = self.recalls(threshold=threshold, k=max(CUTS))
        return [_ids(found) for found in self._ranked]

    def print_time(self) -> None:
        cuts = quantiles(self._times, n=20)
        print(
            f"  a search, its question's vector at hand: p50 {cuts[9] * 1000:.1f} ms, p95 {cuts[18] * 1000:.1f} ms "
            f"(three statements, the best 50)"
        )

    def print_tokens(self) -> None:
        """How much evidence stands in the first thousand tokens of what a model would read."""
        counts, cut = [], []
        for found in self._ranked:
            used, count = 0, 0
            for memory in found.memories:
                used += estimate_tokens(f"{memory.occurred_at:%Y-%m-%d}, {memory.actor}: {memory.text}")
                if used > TOKENS:
                    break
                count += 1
            counts.append(count)
            cut.append(_ids(found)[:count])
        recalls = [
            fmean(item in ids for item in question.evidence) if question.evidence else 1.0
            for question, ids in zip(self._questions, cut, strict=True)
        ]
        print(
            f"  within {TOKENS:,} estimated tokens: {100 * fmean(recalls):.1f} % of the evidence, "
            f"{fmean(counts):.1f} memories"
        )
