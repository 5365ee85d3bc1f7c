"""The statement that scores memories: vectors and words, of several owners at once.

Every row of an owner is scored, which is exact, up to `LARGE_OWNER`. Beyond that its candidates are: those nearest to
the question, and those with the rarest of its words. How rare a word is comes then from `memory_ownerlexeme`, which a
job keeps (`large_owners`); a large owner's vectors may have an index of their own, so it stands in the statement as a
literal.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection

from memory.enums import Tier, Trust
from memory.recall.date_phrases import TimeRange
from memory.recall.owner_rows import OwnerRow
from memory.recall.query_preparation import PreparedQuery
from memory.recall.ranking import Candidate
from memory.recall_weights import Weights

# Memories of an owner that are scored one and all.
LARGE_OWNER: Final = 2_000
# Above that, an owner may have an index of its vectors (`large_owners`).
INDEXED_OWNER: Final = 20_000
NEAREST: Final = 200
LEXICAL_HITS: Final = 2_000
RAREST_LEXEMES: Final = 3
# Different words of a question that count.
MAX_LEXEMES: Final = 64


@dataclass(frozen=True, slots=True)
class Filters:
    """Which memories count. `speaker` is an actor's exact name; `since` and `until` bound when it was said; `seen` is a
    conversation, and the position from which on what was said in it is left out."""

    tiers: Collection[Tier] = ()
    since: datetime | None = None
    until: datetime | None = None
    speaker: str | None = None
    seen: tuple[UUID, int] | None = None


_CURRENT = """m.superseded_by_id IS NULL AND m.trust >= %(trust)s AND m.valid_from <= now()
  AND (m.expires_at IS NULL OR m.expires_at > now()) AND (m.valid_until IS NULL OR m.valid_until > now())"""

_COLUMNS = """m.id, m.owner_id, m.actor, m.occurred_at, m.thread, m.position, m.words, m.context_words"""
# Vectors of two models are never compared: they may differ in length, which is an error, or in meaning.
_COSINE = """CASE WHEN m.embedding_model_id = %(model)s THEN 1 - (m.embedding <=> %(vector)s::halfvec) END"""
_KEYS = """
keys AS MATERIALIZED (
    SELECT k.memory_id, max(1 - (k.embedding <=> %(vector)s::halfvec)) AS cosine
    FROM memory_memorykey k WHERE k.owner_id = ANY(%(owners)s) AND k.embedding_model_id = %(model)s
    GROUP BY k.memory_id
),"""

_LEXEMES = f"""
q AS MATERIALIZED (
    SELECT lex, (quote_literal(lex))::tsquery AS query
    FROM unnest((tsvector_to_array(to_tsvector(%(language)s::regconfig, %(text)s)))[:{MAX_LEXEMES}]) AS lex
)"""

_SCORES = """
hit AS MATERIALIZED (
    SELECT m.id, m.is_large, q.lex, m.words @@ q.query AS own FROM m JOIN q ON m.context_words @@ q.query
), counted AS (
    SELECT lex, count(*) FILTER (WHERE own AND NOT is_large) AS df, count(*) FILTER (WHERE NOT is_large) AS cf,
           count(*) FILTER (WHERE own AND is_large) AS large_df, count(*) FILTER (WHERE is_large) AS large_cf
    FROM hit GROUP BY lex
), size AS (
    SELECT count(*) FILTER (WHERE NOT is_large)
           + greatest(%(large_size)s, count(*) FILTER (WHERE is_large))::float8 AS n FROM m
), frequency AS (
    SELECT c.lex, (c.df + greatest(c.large_df, coalesce(k.df, 0)))::float8 AS df,
           (c.cf + greatest(c.large_cf, coalesce(k.cf, 0)))::float8 AS cf
    FROM counted c LEFT JOIN known k USING (lex)
), idf AS (
    SELECT lex, ln(1 + (greatest(n - df, 0) + 0.5) / (df + 0.5)) AS own,
           ln(1 + (greatest(n - cf, 0) + 0.5) / (cf + 0.5)) AS near
    FROM frequency, size
), lexical AS (
    SELECT h.id, coalesce(sum(i.own) FILTER (WHERE h.own), 0::float8) AS own, sum(i.near) AS near
    FROM hit h JOIN idf i USING (lex) GROUP BY h.id
), best AS (
    SELECT greatest(max(own), 1e-6::float8) AS own, greatest(max(near), 1e-6::float8) AS near FROM lexical
), base AS (
    SELECT m.id, m.owner_id, m.thread, m.cosine, l.id IS NOT NULL AS is_hit,
           coalesce(l.own / b.own, 0::float8) AS own, coalesce(l.near / b.near, 0::float8) AS near,
           CASE WHEN m.actor = ANY(%(actors)s) THEN 1::float8 ELSE 0 END AS speaker,
           CASE WHEN m.occurred_at <@ %(spans)s::tstzmultirange THEN 1::float8
                WHEN m.occurred_at <@ %(wide)s::tstzmultirange THEN 0.5 ELSE 0 END AS date,
           CASE WHEN m.thread IS NOT NULL THEN coalesce(
               lead(m.cosine) OVER (PARTITION BY m.thread ORDER BY m.position, m.id), 0) ELSE 0 END AS reply,
           least(ln((1 + length(m.words))::float8) / ln(41::float8), 1) AS detail
    FROM m LEFT JOIN lexical l ON l.id = m.id CROSS JOIN best b
), summed AS MATERIALIZED (
    SELECT *, %(w_meaning)s::float8 * coalesce(cosine, 0) + %(w_words)s::float8 * own + %(w_context)s::float8 * near
              + %(w_speaker)s::float8 * speaker + %(w_date)s::float8 * date + %(w_detail)s::float8 * detail
              + %(w_reply)s::float8 * reply AS total
    FROM base
), thread AS (
    SELECT thread, max(total) AS best FROM summed WHERE thread IS NOT NULL GROUP BY thread
)
SELECT s.id, s.owner_id, s.cosine, s.is_hit, s.own, s.near, s.speaker, s.date, s.detail, s.reply,
       coalesce(t.best, s.total) AS conversation
FROM summed s LEFT JOIN thread t ON t.thread = s.thread
ORDER BY s.total + %(w_conversation)s::float8 * coalesce(t.best, s.total) DESC, s.id DESC
LIMIT %(limit)s
"""


def find_candidates(
    owners: Sequence[OwnerRow],
    query: PreparedQuery,
    vector: Sequence[float] | None,
    *,
    filters: Filters,
    weights: Weights,
    language: str,
    limit: int,
) -> list[Candidate]:
    """The best memories of `owners` by what can be seen without their texts; one statement. `vector` is the question's;
    None: by text alone."""
    model = next((owner.model_id for owner in owners if owner.model_id is not None), None)
    if vector is None or model is None:
        vector, model = None, None
    params: dict[str, Any] = {
        "owners": [owner.id for owner in owners],
        "model": model,
        "vector": None if vector is None else "[" + ",".join(f"{value:.6g}" for value in vector) + "]",
        "text": query.text,
        "language": language,
        "actors": list(query.actors),
        "spans": _multirange(query.dates.spans),
        "wide": _multirange(query.dates.wide),
        "trust": Trust.DEFAULT.value,
        "large_size": sum(owner.memories for owner in owners if is_large(owner)),
        "limit": limit,
        **_weight_params(weights),
    }
    statement = _statement(owners, None if model is None else (model, len(vector or ())), filters, params)
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return [Candidate(*row) for row in cursor.fetchall()]


def is_large(owner: OwnerRow) -> bool:
    """Whether only its candidates are scored."""
    return owner.memories > LARGE_OWNER


def _statement(
    owners: Sequence[OwnerRow], vectors: tuple[int, int] | None, filters: Filters, params: dict[str, Any]
) -> str:
    conditions = " AND ".join([_CURRENT, *_filter_conditions(filters, params)])
    small = [owner.id for owner in owners if not is_large(owner)]
    large = [owner.id for owner in owners if is_large(owner)]
    cosine = _COSINE if vectors else "NULL::float8"
    branches = []
    if small or not large:
        params["small"] = small
        branches.append(
            f"SELECT {_COLUMNS}, {cosine} AS cosine, false AS is_large FROM memory_memory m"
            f" WHERE m.owner_id = ANY(%(small)s) AND {conditions}"
        )
    branches += [
        f"SELECT {_COLUMNS}, {cosine} AS cosine, true AS is_large FROM memory_memory m"
        f" WHERE m.id IN ({_candidate_ids(owner, vectors, conditions)})"
        for owner in owners
        if is_large(owner)
    ]
    rows = " UNION ALL ".join(branches)
    known = "SELECT NULL::text AS lex, 0::bigint AS df, 0::bigint AS cf WHERE false"
    if large:
        params["large"] = large
        known = (
            "SELECT x.lexeme AS lex, sum(x.own_count)::bigint AS df, sum(x.context_count)::bigint AS cf"
            " FROM memory_ownerlexeme x WHERE x.owner_id = ANY(%(large)s) AND x.lexeme IN (SELECT lex FROM q)"
            " GROUP BY x.lexeme"
        )
    if vectors:
        scored = (
            "m AS MATERIALIZED (SELECT r.id, r.owner_id, r.actor, r.occurred_at, r.thread, r.position, r.words,"
            " r.context_words, greatest(r.cosine, k.cosine) AS cosine, r.is_large"
            f" FROM ({rows}) r LEFT JOIN keys k ON k.memory_id = r.id),"
        )
    else:
        scored = f"m AS MATERIALIZED ({rows}),"
    return f"WITH {_LEXEMES}, {_KEYS if vectors else ''} {scored} known AS ({known}), {_SCORES}"


def _candidate_ids(owner: OwnerRow, vectors: tuple[int, int] | None, conditions: str) -> str:
    """The ids of a large owner's candidates. Owner, model and length are numbers of our own rows, and literals: they
    must match the condition of the owner's partial index."""
    owner_id = owner.id
    rarest = (
        "SELECT string_agg(query::text, ' | ')::tsquery FROM ("
        " SELECT q.query, x.context_count IS NULL AS is_new,"
        " row_number() OVER (PARTITION BY x.context_count IS NULL ORDER BY x.context_count, q.lex) AS rank"
        f" FROM q LEFT JOIN memory_ownerlexeme x ON x.owner_id = {owner_id:d} AND x.lexeme = q.lex) r"
        # A word that is not counted yet is rare.
        f" WHERE r.rank <= {RAREST_LEXEMES:d}"
    )
    parts = [
        f"(SELECT m.id FROM memory_memory m WHERE m.owner_id = {owner_id:d} AND m.context_words @@ ({rarest})"
        f" AND {conditions} LIMIT {LEXICAL_HITS:d})"
    ]
    if vectors:
        model, dimensions = vectors
        # The cast is what an index is over; without one, it would double the time.
        length = f"({dimensions:d})" if owner.memories > INDEXED_OWNER else ""
        cast = f"::halfvec{length}" if length else ""
        parts.append(
            f"(SELECT m.id FROM memory_memory m WHERE m.owner_id = {owner_id:d} AND m.embedding_model_id = {model:d}"
            f" AND {conditions} ORDER BY (m.embedding{cast}) <=> %(vector)s::halfvec{length} LIMIT {NEAREST:d})"
        )
        parts.append(
            f"(SELECT m.id FROM memory_memory m JOIN keys k ON k.memory_id = m.id WHERE m.owner_id = {owner_id:d}"
            f" AND {conditions} ORDER BY k.cosine DESC LIMIT {NEAREST:d})"
        )
    return " UNION ".join(parts)


def _filter_conditions(filters: Filters, params: dict[str, Any]) -> list[str]:
    conditions: list[str] = []
    if filters.tiers:
        params["tiers"] = [tier.value for tier in filters.tiers]
        conditions.append("m.tier = ANY(%(tiers)s)")
    if filters.since is not None:
        params["since"] = filters.since
        conditions.append("m.occurred_at >= %(since)s")
    if filters.until is not None:
        params["until"] = filters.until
        conditions.append("m.occurred_at < %(until)s")
    if filters.speaker is not None:
        params["said_by"] = filters.speaker
        conditions.append("m.actor = %(said_by)s")
    if filters.seen is not None:
        params["seen"], params["seen_from"] = filters.seen
        conditions.append("(m.thread IS DISTINCT FROM %(seen)s OR m.position < %(seen_from)s)")
    return conditions


def _multirange(spans: Sequence[TimeRange]) -> str:
    return "{" + ",".join(f"[{span.start.isoformat()},{span.end.isoformat()})" for span in spans) + "}"


def _weight_params(weights: Weights) -> dict[str, float]:
    return {
        "w_meaning": weights.meaning,
        "w_words": weights.words,
        "w_context": weights.context,
        "w_speaker": weights.speaker,
        "w_date": weights.date,
        "w_conversation": weights.conversation,
        "w_detail": weights.detail,
        "w_reply": weights.reply,
    }
