"""The compute pool: processes for work on strangers' bytes that could hold the interpreter's lock, or all memory.

Such a process has an empty environment, no descriptors of ours, no database, a bounded address space and the lowest
priority; all of them together use all cores but one. What takes too long, or writes too much, is killed, with every
process that it started. It is no sandbox: the code that runs there is trusted, what it works on is not.
"""

from foundation.compute_pool.errors import ComputeFailed, ComputeOverloaded
from foundation.compute_pool.pool import ComputePool

__all__ = ["ComputeFailed", "ComputeOverloaded", "ComputePool"]
