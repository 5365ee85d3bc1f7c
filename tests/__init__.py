"""Tests. `tests.provider` is also a program: a model provider with faults."""
