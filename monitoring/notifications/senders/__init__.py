"""One module for each kind of channel: how its messages look."""
