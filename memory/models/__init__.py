"""The rows of memory. `owners` says whose, `memories` what is remembered, `working` what a session is about."""

from memory.models.memories import Memory, MemoryBody, MemoryDerivation, MemoryKey
from memory.models.owners import EmbeddingModel, MemoryOwner, MemoryPool
from memory.models.working import WorkingItem

__all__ = [
    "EmbeddingModel",
    "Memory",
    "MemoryBody",
    "MemoryDerivation",
    "MemoryKey",
    "MemoryOwner",
    "MemoryPool",
    "WorkingItem",
]
