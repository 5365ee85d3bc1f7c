"""Look for facts in what a user said, by one call of a model for side work after the turn, where a release says so."""

from __future__ import annotations

import asyncio

import structlog

from agents.domain.extracted_facts import extraction_instructions, parse_facts
from agents.engine.context import TurnContext
from agents.engine.ports import Services
from agents.engine.utility_calls import UtilityCallFailed, ask_utility_model
from agents.journal.utility_calls import UtilityOwner
from agents.sessions.fact_storage import FactVector, read_extraction_source, store_extracted_fact
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from foundation.errors import BandstandError, RateLimited
from memory.embeddings import EmbeddingPayer, EmbeddingUnavailable, configured_embedder

log = structlog.get_logger(__name__)

PURPOSE = "extraction"
_MAX_OUTPUT_TOKENS = 700
_SECONDS = 60.0
_EMBEDDING_SECONDS = 10.0


async def extract_facts(services: Services, context: TurnContext) -> None:
    """Remember the facts that a model finds in the user's message of an ended turn. Without an answer, without one that
    can be read, or beyond the user's budget for the day, nothing is remembered: the message itself is an episode."""
    claim = context.claim
    try:
        source = await in_db_thread(read_extraction_source, claim.turn_id)
        if source is None:
            return
        answer = await ask_utility_model(
            services,
            owner=UtilityOwner(claim.user_id, claim.session_id, claim.turn_id, context.agent_id),
            configuration=context.release,
            system=extraction_instructions(source.name, source.slots),
            text=source.text,
            max_output_tokens=_MAX_OUTPUT_TOKENS,
            purpose=PURPOSE,
            deadline=asyncio.get_running_loop().time() + _SECONDS,
        )
        facts = parse_facts(answer.text)
        payer = EmbeddingPayer(claim.user_id, context.agent_id)
        vectors = await _embed([f"{source.name}: {fact.text}" for fact in facts], payer)
        for fact, vector in zip(facts, vectors, strict=True):
            await in_db_thread(store_extracted_fact, source, fact, vector)
    except (UtilityCallFailed, RateLimited) as error:
        log.info("extraction.skipped", turn=str(claim.turn_id), reason=error.detail)
    except BandstandError as error:
        log.warning("extraction.not_parsed", turn=str(claim.turn_id), reason=error.detail)
    except DATABASE_FAULTS as error:
        log.warning("extraction.skipped", turn=str(claim.turn_id), reason=str(error)[:200])


async def _embed(texts: list[str], payer: EmbeddingPayer) -> list[FactVector | None]:
    if not texts:
        return []
    embedder = configured_embedder()
    try:
        vectors = await embedder.aembed(texts, timeout=_EMBEDDING_SECONDS, payers=[payer] * len(texts))
    except EmbeddingUnavailable:
        return [None] * len(texts)
    return [FactVector(embedder.model, vector) for vector in vectors]
