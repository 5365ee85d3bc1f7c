"""Measures memory through the product's own verbs. `make bench-memory DATA=/path/to/locomo.json`."""
