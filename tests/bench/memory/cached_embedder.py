"""An embedder that asks another one once for each text, over all runs of the bench."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from memory.embeddings import Embedder, EmbeddingPayer

_BATCH = 32
_SECONDS = 120.0


class CachedEmbedder:
    """`embedder` with a file of vectors. `asked` are the texts that it was asked for, and `seconds` how long they took
    in all."""

    def __init__(self, embedder: Embedder, folder: Path) -> None:
        self.model, self.dimensions = embedder.model, embedder.dimensions
        self._embedder = embedder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(folder / f"{self.model}.sqlite3", check_same_thread=False)
        self._file.execute("CREATE TABLE IF NOT EXISTS vector (digest BLOB PRIMARY KEY, floats BLOB) WITHOUT ROWID")
        self.asked, self.seconds = 0, 0.0

    def embed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        """See `Embedder.embed`."""
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        vectors = {digest: vector for digest in set(digests) if (vector := self._read(digest)) is not None}
        missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in vectors}
        items = list(missing.items())
        for start in range(0, len(items), _BATCH):
            batch = items[start : start + _BATCH]
            began = time.perf_counter()
            made = self._embedder.embed([text for _, text in batch], timeout=_SECONDS)
            self.seconds += time.perf_counter() - began
            self.asked += len(batch)
            for (digest, _), vector in zip(batch, made, strict=True):
                vectors[digest] = vector
                self.store(digest, vector)
            self._file.commit()
        return [vectors[digest] for digest in digests]

    async def aembed(
        self,
        texts: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109
        payers: Sequence[EmbeddingPayer] = (),
    ) -> list[list[float]]:
        """See `Embedder.aembed`."""
        return self.embed(texts, timeout=timeout)

    def store(self, digest: bytes, vector: Sequence[float]) -> None:
        """Keep the vector of the text with this SHA-256."""
        packed = struct.pack(f"<{len(vector)}f", *vector)
        self._file.execute("INSERT OR REPLACE INTO vector VALUES (?, ?)", (digest, packed))

    def _read(self, digest: bytes) -> list[float] | None:
        row = self._file.execute("SELECT floats FROM vector WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else list(struct.unpack(f"<{self.dimensions}f", row[0]))
