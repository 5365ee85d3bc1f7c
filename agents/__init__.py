"""Sessions, turns, releases: the road of a message from acceptance to its answer."""
