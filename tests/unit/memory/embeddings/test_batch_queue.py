"""Searches go before the bulk, a batch is bounded, and each text gets its own vector."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.embeddings.embedder_process.batch_queue import BatchQueue, EmbeddingRequest, EncodingFailed


def encode(texts: Sequence[str]) -> list[list[int]]:
    if "unreadable" in texts:
        raise ValueError
    return [[0] * (len(text) + 2) for text in texts]


def request(*texts: str, ends_at: float = 100.0) -> EmbeddingRequest:
    return EmbeddingRequest(texts[0], texts, ends_at)


def queued(*requests: EmbeddingRequest, batch_tokens: int = 20) -> BatchQueue:
    queue = BatchQueue(encode, batch_tokens=batch_tokens)
    for each in requests:
        queue.add(each)
    return queue


def vectors_of(texts: Sequence[str]) -> list[bytes]:
    return [text.encode() for text in texts]


def test_a_search_waits_for_one_batch_of_the_bulk_at_most() -> None:
    bulk, search = request(*["aaaaaa"] * 8), request("who?")
    queue = queued(bulk)
    assert [item[0] for item in queue.take().items] == [bulk, bulk]
    queue.add(search)
    assert queue.take().items == [(search, 0)]
    assert queue.take().items[0][0] is bulk


def test_searches_share_a_batch() -> None:
    one, other = request("a"), request("b", "c")
    assert len(queued(one, other).take().items) == 3


def test_a_text_longer_than_a_batch_is_embedded_alone() -> None:
    long = request("x" * 100, *["a"] * 5)
    assert queued(long).take().items == [(long, 0)]


def test_a_request_is_complete_when_its_last_text_is() -> None:
    bulk = request(*["aaaaaa"] * 5)
    queue = queued(bulk)
    finished = [batch.finish([b"v"] * len(batch.items)) for batch in (queue.take(), queue.take(), queue.take())]
    assert finished == [[], [], [bulk]]
    assert not queue


def test_nobody_is_waited_for_that_has_gone() -> None:
    gone, there = request("a", ends_at=1.0), request("b")
    queue = queued(gone, there)
    assert queue.expired(2.0) == [gone]
    assert queue.take().items == [(there, 0)]


def test_texts_without_tokens_fail_alone() -> None:
    good, bad, later = request("a"), request("unreadable"), request("b")
    queue = queued(good, bad, later)
    assert queue.take().items == [(good, 0)]
    with pytest.raises(EncodingFailed) as failure:
        queue.take()
    assert failure.value.request is bad
    assert queue.take().items == [(later, 0)]


@settings(max_examples=40)
@given(st.lists(st.lists(st.text(max_size=30), min_size=1, max_size=12), max_size=8), st.integers(1, 100))
def test_every_text_is_embedded_once_and_gets_its_own_vector(texts: list[list[str]], batch_tokens: int) -> None:
    requests = [request(*group) for group in texts if "unreadable" not in group]
    queue = queued(*requests, batch_tokens=batch_tokens)
    finished: list[EmbeddingRequest] = []
    while queue:
        batch = queue.take()
        lengths = [len(tokens) for tokens in batch.tokens()]
        assert len(lengths) == 1 or max(lengths) * len(lengths) <= batch_tokens
        finished += batch.finish([f"v{each.texts[index]}".encode() for each, index in batch.items])
    assert sorted(map(id, finished)) == sorted(map(id, requests))
    for each in requests:
        assert each.vectors == [f"v{text}".encode() for text in each.texts]
