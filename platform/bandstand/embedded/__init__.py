"""A PostgreSQL of our own, below the data directory, for a machine that has none."""

from bandstand.embedded.cluster import Cluster
from bandstand.embedded.errors import EmbeddedError

__all__ = ["Cluster", "EmbeddedError"]
