"""Trials of the real code on scratch rows: in a process of their own, on copies of the tables in a schema of their own.

So nothing that they do can be counted: no list, figure, rollup, rate or memory reads that schema, and no other process
runs its turns, evaluates its rules or sends its notifications.
"""
