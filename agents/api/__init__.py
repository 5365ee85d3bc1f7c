"""REST `/api/v1`: each view parses, authenticates, calls one function, mostly of `agents.sessions`, and renders the result."""
