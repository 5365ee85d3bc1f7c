"""Recall: the memories that have to do with a question, best first. Read-only.

`query_preparation` reads the question, `owner_rows` finds whose memories count, `score_statement` scores them by one
statement, `text_statement` reads the texts of the best by another, and `ranking` orders them. `memory_search` does all
of it.
"""

from memory.recall.memory_search import RecallRequest, arecall, recall, recall_from
from memory.recall.memory_text import is_trusted, memory_text
from memory.recall.owner_rows import OwnerRow, find_owner_rows, owner_keys
from memory.recall.recollection import EarlierValue, Recall, RecalledMemory
from memory.recall.reread import reread_memories
from memory.recall_weights import Weights

__all__ = [
    "EarlierValue",
    "OwnerRow",
    "Recall",
    "RecallRequest",
    "RecalledMemory",
    "Weights",
    "arecall",
    "find_owner_rows",
    "is_trusted",
    "memory_text",
    "owner_keys",
    "recall",
    "recall_from",
    "reread_memories",
]
