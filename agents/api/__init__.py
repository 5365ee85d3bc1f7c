"""REST `/api/v1`: each view parses, authenticates, calls a function, mostly of `agents.sessions`, renders the result."""
