"""Test sets and the runs of releases against them."""
