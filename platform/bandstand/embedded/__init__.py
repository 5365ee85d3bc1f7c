"""An embedded PostgreSQL below the data directory, for machines without a server."""

from bandstand.embedded.cluster import Cluster
from bandstand.embedded.errors import EmbeddedError

__all__ = ["Cluster", "EmbeddedError"]
