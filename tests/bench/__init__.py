"""The bench: what a turn costs on real processes, beside what the database alone would need for it.

`python -m tests.bench` (`make bench`) prints one table and writes it as JSON; `--profile web|runner` says where a
process spends its time instead. Nothing here judges: the numbers and what they mean stand in docs/performance.md.
"""
