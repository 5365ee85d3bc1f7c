"""Tools: typed Python functions that a model may call."""
