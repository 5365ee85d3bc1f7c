"""Chaos: real processes are killed, paused and cut off, and a ledger outside the database says what had to survive.

`python -m tests.chaos` runs the real pass and two negative controls; `python -m tests.chaos short` a small real pass.
"""
