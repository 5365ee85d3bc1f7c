"""The rows of memory. `owners` says whose, `memories` what is remembered, `working` what a session is about."""

from memory.models.memories import Memory, MemoryBody, MemoryDerivation, MemoryKey, SimilarPair
from memory.models.owners import EmbeddingModel, MemoryOwner, MemoryPool, OwnerLexeme
from memory.models.working import WorkingItem

__all__ = [
    "EmbeddingModel",
    "Memory",
    "MemoryBody",
    "MemoryDerivation",
    "MemoryKey",
    "MemoryOwner",
    "MemoryPool",
    "OwnerLexeme",
    "SimilarPair",
    "WorkingItem",
]
