"""What is waiting for the model, and in which order it is embedded: pure.

A text of a search goes before those of the bulk; a batch is bounded in tokens, so that a search waits for one batch of
the bulk at most.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

# A request of so few texts is a search's, or a memory's that has just been written.
URGENT_TEXTS: Final = 4
# Of padded tokens: the number of texts, times the longest of them.
BATCH_TOKENS: Final = 1024


class EncodingFailed(Exception):
    """The texts of `request` cannot be turned into tokens."""

    def __init__(self, request: EmbeddingRequest) -> None:
        self.request = request
        super().__init__("the texts cannot be turned into tokens")


@dataclass(slots=True, eq=False)
class EmbeddingRequest:
    """Texts of one question. `key` is the asker's; nobody waits after `ends_at` (monotonic)."""

    key: Hashable
    texts: Sequence[str]
    ends_at: float
    tokens: list[list[int]] = field(default_factory=list)
    vectors: list[bytes] = field(default_factory=list)
    # The texts that are not embedded yet, the longest last.
    remaining: list[int] = field(default_factory=list)
    has_failed: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether each text has its vector."""
        return all(self.vectors) and not self.has_failed


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts that are embedded at once: each is a request and the position of its text in it."""

    items: list[tuple[EmbeddingRequest, int]]

    def tokens(self) -> list[list[int]]:
        """The tokens of each text."""
        return [request.tokens[index] for request, index in self.items]

    def finish(self, vectors: Sequence[bytes]) -> list[EmbeddingRequest]:
        """Put `vectors` where they belong; return the requests that are complete now."""
        for (request, index), vector in zip(self.items, vectors, strict=True):
            request.vectors[index] = vector
        requests = dict.fromkeys(request for request, _ in self.items)
        return [request for request in requests if request.is_complete]


class BatchQueue:
    """Requests, urgent ones first, else in their order."""

    def __init__(self, encode: Callable[[Sequence[str]], list[list[int]]], *, batch_tokens: int = BATCH_TOKENS) -> None:
        self._encode = encode
        self._batch_tokens = batch_tokens
        self._urgent: deque[EmbeddingRequest] = deque()
        self._bulk: deque[EmbeddingRequest] = deque()

    def __bool__(self) -> bool:
        return bool(self._urgent or self._bulk)

    def add(self, request: EmbeddingRequest) -> None:
        """Let `request` wait."""
        (self._urgent if len(request.texts) <= URGENT_TEXTS else self._bulk).append(request)

    def expired(self, now: float) -> list[EmbeddingRequest]:
        """Take out the requests for which nobody waits any more."""
        late = [request for request in (*self._urgent, *self._bulk) if request.ends_at <= now]
        for request in late:
            (self._urgent if request in self._urgent else self._bulk).remove(request)
        return late

    def discard(self, request: EmbeddingRequest) -> None:
        """Take `request` out, if it is still in."""
        for requests in (self._urgent, self._bulk):
            if request in requests:
                requests.remove(request)

    def take(self) -> Batch:
        """The next batch; empty if nothing is waiting. Raises `EncodingFailed`, and forgets the request of it."""
        requests = self._urgent or self._bulk
        items: list[tuple[EmbeddingRequest, int]] = []
        longest = 0
        while requests:
            request = requests[0]
            try:
                if not request.tokens:
                    self._prepare(request)
            except Exception as error:
                if items:
                    return Batch(items)
                requests.popleft()
                raise EncodingFailed(request) from error
            while request.remaining:
                length = max(longest, len(request.tokens[request.remaining[-1]]))
                if items and length * (len(items) + 1) > self._batch_tokens:
                    return Batch(items)
                longest = length
                items.append((request, request.remaining.pop()))
            requests.popleft()
        return Batch(items)

    def _prepare(self, request: EmbeddingRequest) -> None:
        request.tokens = self._encode(request.texts)
        request.vectors = [b""] * len(request.texts)
        request.remaining = sorted(range(len(request.texts)), key=lambda index: len(request.tokens[index]))
