"""How long a search takes and whether it finds what an exact one does, in a table of many owners of very different
sizes: at 10,000 rows every design looks fine.

Vectors are random around common centres and texts of random words, so these figures say nothing about quality.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import Any, Final
from uuid import UUID

from django.db import connection, connections

from foundation.clock import now
from memory.embeddings import EmbeddingPayer
from memory.enums import MemoryScope
from memory.models import EmbeddingModel, MemoryOwner
from memory.ownership import OwnerKey, get_or_create_owner
from memory.recall import OwnerRow, RecallRequest, Weights, find_owner_rows, recall_from
from memory.recall.large_owners import count_due_lexemes, sync_vector_indexes
from memory.writing import NewEpisode, Provenance, remember_episodes

DIMENSIONS: Final = 384
WORDS: Final = 3_000
SEARCHES: Final = 60
CLIENTS: Final = 8
CLIENT_SECONDS: Final = 5.0
PUTS: Final = 400
MEANING_ONLY: Final = Weights(1, 0, 0, 0, 0, 0, 0, 0, 0, 0)

# Words by rank: of what is said, common ones make most.
_WEIGHTS: Final = [1 / (rank + 10) for rank in range(WORDS)]

PEERS: Final = (
    "peers at 100,000 rows, on another day on the same kind of machine: plain SQL 472 puts/s, 1.2 ms a search, recall "
    "1.00; LangGraph store 188 puts/s, 9.7 ms, 1.00; mem0 164 puts/s, 4.8 ms, .298"
)

_INSERT = """
WITH made AS (
    SELECT gen_random_uuid() AS id, * FROM unnest(%(owners)s::bigint[], %(texts)s::text[], %(vectors)s::halfvec[])
        AS made (owner_id, text, embedding)
), bodies AS (
    INSERT INTO memory_memorybody (memory_id, owner_id, text, metadata, source, origin)
    SELECT id, owner_id, text, '{}', 'turn', '' FROM made
)
INSERT INTO memory_memory (id, owner_id, tier, actor, occurred_at, thread, position, slot, words, context_words,
                           embedding, embedding_model_id, trust, valid_from, importance, hits)
SELECT id, owner_id, 'episodic', (ARRAY['Ada', 'Demo'])[1 + (random() * 1)::int],
       now() - random() * interval '700 days',
       ('00000000-0000-0000-0000-' || lpad((random() * 999)::int::text, 12, '0'))::uuid, (random() * 1000)::int, '',
       to_tsvector('english', text), to_tsvector('english', text), embedding, %(model)s, 2,
       now() - interval '701 days', 0.5, 0
FROM made
"""


_COUNT = """
UPDATE memory_memoryowner o SET memories = (SELECT count(*) FROM memory_memory m WHERE m.owner_id = o.id)
"""


@dataclass(frozen=True, slots=True)
class _Query:
    text: str
    vector: list[float]


class _FixedEmbedder:
    """Gives the vector of the query at hand: what an embedding takes is measured elsewhere."""

    model = "bench"
    dimensions = DIMENSIONS

    def __init__(self, vector: list[float]) -> None:
        self._vector = vector

    def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        return [self._vector for _ in texts]

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        return [self._vector for _ in texts]


def sizes(rows: int) -> list[int]:
    """How many memories each owner has: half of the rows belong to a few, the rest to many of some 200."""
    large = [rows // 4, rows // 10, rows // 20, rows // 40, rows // 100]
    rest = rows - sum(large)
    return [*large, *([200] * (rest // 200))]


def measure(rows: int) -> None:
    """Fill the tables with `rows` memories, and print what searches and writes take."""
    chance = random.Random(rows)
    words = [f"{chance.choice('bdfgklmnprst')}{vowel}{index}" for index, vowel in enumerate("aeiou" * (WORDS // 5))]
    centres = [_unit(chance) for _ in range(50)]
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE memory_memory, memory_memoryowner, memory_memorybody CASCADE")
    model, _ = EmbeddingModel.objects.get_or_create(name="bench", dimensions=DIMENSIONS)
    keys = {}
    began = time.perf_counter()
    for number, size in enumerate(sizes(rows)):
        key = OwnerKey(MemoryScope.AGENT, agent_id=UUID(int=number + 1))
        keys[key] = size
        _fill(get_or_create_owner(key), size, model.pk, chance, words, centres)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT)
        cursor.execute("VACUUM ANALYZE memory_memory")
        cursor.execute("VACUUM ANALYZE memory_memorybody")
    print(f"\nspeed: {rows:,} memories of {len(keys):,} owners, loaded in {time.perf_counter() - began:.0f} s")
    counted = count_due_lexemes(seconds=600)
    began = time.perf_counter()
    built = sync_vector_indexes(seconds=600)
    print(f"  words counted for {counted} owners; {built} vector indexes built in {time.perf_counter() - began:.0f} s")
    print("  one search, its vector at hand          p50 ms  p95 ms   recall@10 of vectors against exact")
    shown: set[int] = set()
    for key, size in keys.items():
        if size not in shown:
            shown.add(size)
            _print_searches(key, size, chance, words, centres)
    _print_clients([key for key, size in keys.items() if size == 200][:200] or list(keys), chance, words, centres)
    _print_puts(chance, words)
    print(f"  {PEERS}")


def _fill(
    owner_id: int, size: int, model_id: int, chance: random.Random, words: Sequence[str], centres: Sequence[list[float]]
) -> None:
    for start in range(0, size, 2_000):
        count = min(2_000, size - start)
        texts = [_text(chance, words, 14) for _ in range(count)]
        vectors = [_dump(_near(chance, chance.choice(centres))) for _ in range(count)]
        with connection.cursor() as cursor:
            cursor.execute(
                _INSERT, {"owners": [owner_id] * count, "texts": texts, "vectors": vectors, "model": model_id}
            )


def _text(chance: random.Random, words: Sequence[str], count: int) -> str:
    return " ".join(chance.choices(words, _WEIGHTS, k=count))


def _unit(chance: random.Random) -> list[float]:
    return _normalized([chance.gauss(0, 1) for _ in range(DIMENSIONS)])


def _near(chance: random.Random, centre: Sequence[float]) -> list[float]:
    return _normalized([value + 0.05 * chance.gauss(0, 1) for value in centre])


def _normalized(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector]


def _dump(vector: Sequence[float]) -> str:
    return "[" + ",".join(f"{value:.4f}" for value in vector) + "]"


def _queries(count: int, chance: random.Random, words: Sequence[str], centres: Sequence[list[float]]) -> list[_Query]:
    return [_Query(_text(chance, words, 8), _near(chance, chance.choice(centres))) for _ in range(count)]


def _print_searches(
    key: OwnerKey, size: int, chance: random.Random, words: Sequence[str], centres: Sequence[list[float]]
) -> None:
    queries = _queries(SEARCHES, chance, words, centres)
    hybrid, vector_only, recalls = [], [], []
    for query in queries:
        embedder = _FixedEmbedder(query.vector)
        rows = find_owner_rows([key], model="bench")
        request = RecallRequest(query=query.text)
        hybrid.append(_seconds(partial(recall_from, rows, request, embedder=embedder)))
        vector_only.append(_seconds(partial(_nearest, rows[0].id, query.vector)))
        recalls.append(_agreement(rows, query, embedder))
    name = f"owner of {size:,}"
    print(f"  {name:36s} {_cuts(hybrid)}   {sum(recalls) / len(recalls):.3f}")
    print(f"    {'vectors alone, exact, no verb':34s} {_cuts(vector_only)}")


def _agreement(rows: Sequence[OwnerRow], query: _Query, embedder: _FixedEmbedder) -> float:
    """The share of the ten nearest that a search finds which weighs nothing but vectors."""
    request = RecallRequest(query="zzz", k=10, threshold=0, weights=MEANING_ONLY)
    found = {memory.id for memory in recall_from(rows, request, embedder=embedder).memories}
    exact = _nearest(rows[0].id, query.vector)
    return len(found & set(exact)) / max(1, len(exact))


def _nearest(owner_id: int, vector: Sequence[float]) -> list[UUID]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM memory_memory WHERE owner_id = %s ORDER BY embedding <=> %s::halfvec LIMIT 10",
            [owner_id, _dump(vector)],
        )
        return [row[0] for row in cursor.fetchall()]


def _print_clients(
    keys: Sequence[OwnerKey], chance: random.Random, words: Sequence[str], centres: Sequence[list[float]]
) -> None:
    counts = [0] * CLIENTS
    stop_at = time.perf_counter() + CLIENT_SECONDS
    work = [_queries(50, chance, words, centres) for _ in range(CLIENTS)]

    def search(number: int) -> None:
        own = random.Random(number)
        try:
            while time.perf_counter() < stop_at:
                query = own.choice(work[number])
                rows = find_owner_rows([own.choice(keys)], model="bench")
                recall_from(rows, RecallRequest(query=query.text), embedder=_FixedEmbedder(query.vector))
                counts[number] += 1
        finally:
            connections.close_all()

    threads = [threading.Thread(target=search, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"  {CLIENTS} threads of one process, owners of 200: {sum(counts) / CLIENT_SECONDS:,.0f} searches/s")


def _print_puts(chance: random.Random, words: Sequence[str]) -> None:
    """Messages by the verb for ended turns, one at a time and two at a time, without their vectors."""
    key = OwnerKey(MemoryScope.AGENT, agent_id=UUID(int=2**64))
    for batch in (1, 2):
        episodes = [
            NewEpisode(UUID(int=chance.getrandbits(128)), "Ada", _text(chance, words, 14), now(), number)
            for number in range(PUTS)
        ]
        began = time.perf_counter()
        for start in range(0, PUTS, batch):
            remember_episodes(key, episodes[start : start + batch], provenance=Provenance(session=UUID(int=1)))
        print(
            f"  puts by the verb, {batch} at a time, embedding apart: "
            f"{PUTS / (time.perf_counter() - began):,.0f} messages/s"
        )
    MemoryOwner.objects.filter(key.condition()).update(memories=0)


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _cuts(seconds: Sequence[float]) -> str:
    return f"{median(seconds) * 1000:6.2f}  {quantiles(seconds, n=20)[18] * 1000:6.2f}"
